//! The daemon of a farm's node: one of 2 to 64 servers that share the clients of their services.
//!
//! `farm-node --config /etc/ha-node/farm.toml`; `ha_core::linux::node::farm::config` says what the file holds,
//! `examples/config/farm-node.toml` shows it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ha_core::linux::node::farm::daemon::Daemon;
use ha_node::log;

/// Shares the clients of this server's services with the other members of a farm
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The node's configuration
    #[arg(long, default_value = "/etc/ha-node/farm.toml")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    log::to_stderr();
    match Daemon::start(&args.config).and_then(Daemon::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("farm-node: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
