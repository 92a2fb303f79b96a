//! A node's process: a driver with one module, the ledger.

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::thread;

use ha_core::driver::{Driver, Handle, OrderError};
use ha_core::raw::{NodeConfig, RawConfig};
use ha_core::{Event, Order};
use ha_node::ledger::{Application, LedgerHost, Server};
use tokio::runtime::{Builder, Runtime};

use crate::control::{Ask, Say, die_with_parent, next_ask, say};

/// What it is started with.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration
    #[arg(long)]
    config: PathBuf,
    /// The ledger's virtual address
    #[arg(long)]
    vip: SocketAddr,
    /// Whether another process may listen there at the same time
    #[arg(long)]
    share_vip: bool,
}

/// Runs until the parent is gone.
///
/// # Errors
/// Why it cannot start.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    die_with_parent()?;
    log_to_stderr();
    let raw: RawConfig = toml::from_str(&fs::read_to_string(&args.config)?)?;
    let config = NodeConfig::try_from(raw)?;
    let server = Server::start()?;
    let application = server.application();
    let mut driver = Driver::new();
    let host = LedgerHost {
        application: application.clone(),
        vip: args.vip,
        share_vip: args.share_vip,
        observer: tell,
    };
    let handle = driver.add(config, host)?;
    application.connect(handle.clone());
    let running = driver.start()?;
    // A driver that cannot go on ends the process, so that the audience sees it.
    let waiter = thread::spawn(move || {
        if running.wait().is_err() {
            process::exit(1);
        }
    });
    let runtime = Builder::new_current_thread().build()?;
    let follower = (Builder::new_current_thread().build()?, handle.clone());
    thread::spawn(move || follow(&follower.0, &follower.1));
    while let Some(ask) = next_ask() {
        say(&match ask {
            Ok(ask) => obey(ask, &handle, &application, &runtime),
            Err(unknown) => Say::Failed(unknown.to_string()),
        })?;
    }
    handle.shutdown();
    waiter.join().expect("it waits and nothing else");
    Ok(ExitCode::SUCCESS)
}

/// What happens goes to the process's log; `RUST_LOG` says how much.
pub(crate) fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
}

fn obey(ask: Ask, handle: &Handle, application: &Application, runtime: &Runtime) -> Say {
    match ask {
        Ask::Swap => match runtime.block_on(handle.order(Order::Swap)) {
            Ok(()) => Say::Done,
            Err(OrderError::Refused(why)) if why.passes() => Say::NotYet(why.to_string()),
            Err(error) => Say::Failed(error.to_string()),
        },
        Ask::Dump(path) => match runtime.block_on(application.dump(path)) {
            Ok(_) => Say::Done,
            Err(error) => Say::Failed(error.to_string()),
        },
    }
}

/// Tells the parent every change of role.
fn follow(runtime: &Runtime, handle: &Handle) {
    let mut watch = handle.status();
    let mut told = None;
    while let Some(status) = runtime.block_on(watch.changed()) {
        let now = (status.role, status.ready, status.witness_up);
        if told == Some(now) {
            continue;
        }
        told = Some(now);
        let (role, ready, witness) = (status.role.to_string(), status.ready, status.witness_up);
        if say(&Say::Role { role, ready, witness }).is_err() {
            return;
        }
    }
}

/// Tells the parent what the audience wants to see.
fn tell(event: &Event) {
    let what = match event {
        Event::Progress { done, goal } => Say::Progress { done: done.0, goal: goal.0 },
        Event::Stopped(_) => Say::Stopped,
        _ => return,
    };
    // A parent that is gone ends this process, too.
    let _ = say(&what);
}
