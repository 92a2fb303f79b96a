//! The daemon of a mirror node: protects the services of one of two servers.
//!
//! `mirror-node --config /etc/ha-node/ha-node.toml`; `ha_core::linux::node::config` says what the file
//! holds, `examples/config/ha-node.toml` shows it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ha_core::linux::node::daemon::Daemon;
use ha_node::log;

/// Protects the services of this server together with its peer
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The node's configuration; modules.d beside it may hold more modules
    #[arg(long, default_value = "/etc/ha-node/ha-node.toml")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    log::to_stderr();
    match Daemon::start(&args.config).and_then(Daemon::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mirror-node: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
