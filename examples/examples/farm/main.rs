//! A farm of three servers: one is killed, one is drained, both come back, while clients go on.
//!
//! `cargo run --release --example farm` shows who has which share of the clients, and ends with the
//! requests that were served, by whom, and those that failed. The exit code is not zero if one
//! failed that no rule allows to.
//!
//! - As root: servers are network namespaces on a switch, each with the daemon, its filter in the
//!   kernel and a web server; `wrk` asks through the virtual address. It needs `iproute2`,
//!   `nftables` and `wrk`, and leaves nothing behind.
//! - Otherwise: each server has a kernel in memory that decides by [`ha_core::ha_farm::Filter`], and
//!   frames are datagrams on loopback, which a "switch" floods to all servers.
#![forbid(unsafe_code)]
// Threads, sockets and an audience, which live in real time: nothing here is simulated.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod clients;
mod frame;
mod in_lab;
mod kernel;
mod member;
mod picture;
mod stage;
mod story;
mod user_space;
mod web;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use ha_core::linux::node::farm::daemon::Daemon;
use ha_node::log;

/// Kill and drain servers of a farm while clients talk to it.
#[derive(Debug, Parser)]
#[command(name = "farm")]
struct Cli {
    /// Clients that ask at the same time
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u16).range(1..=1024))]
    clients: u16,
    /// Seconds that each scene lasts
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    scene: u64,
    /// In user space, although this is root
    #[arg(long)]
    user_space: bool,
    /// One of its servers
    #[arg(long, hide = true, value_name = "FILE")]
    daemon: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(file) = &cli.daemon {
        return daemon(file);
    }
    match story::run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("farm: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What `farm-node` does.
fn daemon(file: &Path) -> ExitCode {
    log::to_stderr();
    match Daemon::start(file).and_then(Daemon::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("farm: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
