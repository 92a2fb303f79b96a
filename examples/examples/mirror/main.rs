//! A mirror pair that is killed, cut and healed while clients write to it.
//!
//! `cargo run --release --example mirror` starts two nodes and an arbiter as processes of their
//! own on loopback, feeds the lines of a file to the ledger that they replicate, makes one fault
//! after the other, and ends with what the clients saw. It needs no privileges and no
//! configuration; everything it writes is in one temporary folder. The exit code is not zero if a
//! line is lost or applied twice, if the copies differ, or if the pair does not do what it should.
#![forbid(unsafe_code)]
// Processes, sockets and an audience, which live in real time: nothing here is simulated.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod arbiter;
mod check;
mod control;
mod feed;
mod member;
mod node;
mod plan;
mod story;
mod table;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Kill, cut and heal a mirror pair while clients write to it.
#[derive(Debug, Parser)]
#[command(name = "mirror", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    show: Show,
    #[command(subcommand)]
    child: Option<Child>,
}

/// What the audience can choose.
#[derive(Clone, Debug, clap::Args)]
struct Show {
    /// A file whose lines are written; by default the sources of this project
    file: Option<PathBuf>,
    /// Who decides who serves: nobody, or an arbiter
    #[arg(long, value_enum, default_value_t = Vote::Arbiter)]
    vote: Vote,
    /// Timings: takeover within 0.4 s (fast), 4 s (lan) or 20 s (wan)
    #[arg(long, value_enum, default_value_t = Profile::Lan)]
    profile: Profile,
    /// Clients that write at the same time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
    /// Leave the temporary folder in place
    #[arg(long)]
    keep: bool,
}

/// The kinds of vote that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Vote {
    /// No witness: two primaries are possible, and handled when they meet.
    None,
    /// A stateful witness: one primary, whatever happens.
    Arbiter,
}

/// The named sets of durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// 10 ms beats, 300 ms lease.
    Fast,
    /// 100 ms beats, 3 s lease.
    Lan,
    /// 500 ms beats, 15 s lease.
    Wan,
}

impl std::fmt::Display for Profile {
    /// As it is written in a configuration.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fast => "fast",
            Self::Lan => "lan",
            Self::Wan => "wan",
        })
    }
}

/// What the processes of the pair are started with; not for people.
#[derive(Clone, Debug, Subcommand)]
enum Child {
    #[command(name = "__node", hide = true)]
    Node(node::Args),
    #[command(name = "__arbiter", hide = true)]
    Arbiter(arbiter::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.child {
        None => story::run(&cli.show),
        Some(Child::Node(args)) => node::run(&args),
        Some(Child::Arbiter(args)) => arbiter::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mirror: {error}");
            ExitCode::FAILURE
        }
    }
}
