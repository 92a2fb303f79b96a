//! A farm of three servers: one is killed, one is drained, both come back, while clients go on.
//!
//! `cargo run --release --example farm` shows who has which share of the clients, and ends with the
//! requests that were served, by whom, and those that failed. The decision is made in user space:
//! each server has a kernel in memory that decides by [`ha_core::ha_farm::Filter`], and frames are
//! datagrams on loopback, which a "switch" floods to all servers. It needs no privileges and
//! no configuration. The exit code is not zero if a request failed that no rule allows to.
#![forbid(unsafe_code)]
// Threads, sockets and an audience, which live in real time: nothing here is simulated.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod clients;
mod frame;
mod kernel;
mod member;
mod picture;
mod stage;
mod story;
mod user_space;

use std::process::ExitCode;

use clap::Parser;

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
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match story::run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("farm: {error}");
            ExitCode::FAILURE
        }
    }
}
