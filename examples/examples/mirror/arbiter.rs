//! The arbiter's process.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::thread;

use ha_core::driver::{Arbiter, ArbiterConfig};
use ha_core::raw::Key;

use crate::control::{die_with_parent, next_ask};

/// What it is started with.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Where it is asked
    #[arg(long)]
    listen: SocketAddr,
    /// Where it keeps its registers
    #[arg(long)]
    folder: PathBuf,
    /// The cluster's key
    #[arg(long)]
    key_file: String,
}

/// Answers until the parent is gone.
///
/// # Errors
/// Why it cannot start.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    die_with_parent()?;
    crate::node::log_to_stderr();
    let (listen, folder) = (args.listen, args.folder.clone());
    let key = Key::File(args.key_file.clone());
    let arbiter = Arbiter::start(&ArbiterConfig::new(listen, folder, key))?;
    thread::spawn(|| {
        while next_ask().is_some() {}
        process::exit(0);
    });
    arbiter.wait()?;
    Ok(ExitCode::SUCCESS)
}
