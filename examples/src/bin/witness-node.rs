//! The daemon of a witness: one small register for each module of each cluster that asks.
//!
//! `witness-node --config /etc/ha-node/witness.toml`; `ha_core::linux::node::witness` says what the
//! file holds, `examples/config/witness.toml` shows it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ha_core::linux::node::{EX_CONFIG, witness};
use ha_node::log;

/// Decides which node of a pair may serve
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The witness's configuration
    #[arg(long, default_value = "/etc/ha-node/witness.toml")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    log::to_stderr();
    let config = match witness::read(&args.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("witness-node: {error}");
            return ExitCode::from(EX_CONFIG);
        }
    };
    match witness::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("witness-node: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
