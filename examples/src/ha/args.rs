//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ha_core::raw::Span;

/// See and order what the daemon of this node protects
#[derive(Clone, Debug, Parser)]
#[command(name = "ha", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Ha {
    /// The module; may be left out when there is one
    #[arg(short, long, global = true, value_name = "NAME")]
    pub module: Option<String>,
    /// Print JSON: a line, or a line for each event
    #[arg(long, global = true)]
    pub json: bool,
    /// How long to wait at most: 500ms, 90s, 5m, 2h
    #[arg(long, global = true, value_parser = span, value_name = "TIME")]
    pub timeout: Option<Duration>,
    /// The daemon's socket
    #[arg(long, global = true, default_value = "/run/ha-node/control.sock", value_name = "PATH")]
    pub socket: PathBuf,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 not so, 64 usage, 69 no daemon, 75 busy, \
    77 not allowed or not confirmed, 78 configuration, 106 no vote, 107 refused as unsafe, \
    124 still running. `check`: 0 protected, 1 serving unprotected, 2 not serving, 3 cannot tell.";

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// How the modules are doing, and whether a takeover would succeed now
    Status {
        /// Again at each change
        #[arg(short, long)]
        watch: bool,
    },
    /// Why it is so, and what would happen if a node, a network or the witness died, or on a swap
    Explain,
    /// What happened, ordered by number
    Events {
        /// Go on with what comes
        #[arg(short, long)]
        follow: bool,
        /// From this number on
        #[arg(long, default_value_t = 0, value_name = "NUMBER")]
        since: u64,
    },
    /// For a monitor: 0 protected, 1 serving unprotected, 2 not serving, 3 cannot tell
    Check,
    /// The role of this node
    Role {
        /// Print nothing; exit code STOP 0, WAIT 1, ALONE 2, PRIM 3, SECOND 4
        #[arg(short, long)]
        quiet: bool,
    },
    /// The takeovers: cause, how long each part took, what was at risk
    History,
    /// Wait until the module is in a state
    Wait {
        /// Which
        state: State,
    },
    /// Take part: become whatever the pair needs
    Start(Confirm),
    /// Stop serving and taking part; a primary with a ready secondary hands over first
    Stop(Confirm),
    /// Stop and start the application where it runs
    Restart(Confirm),
    /// Stop the module, then start it
    Stopstart(Confirm),
    /// Hand over to the other node
    Swap(Confirm),
    /// Become primary where that is safe, or make a pair out of two blank nodes
    Prim {
        /// The node whose data are kept
        #[arg(long, value_name = "NODE")]
        keep: String,
        /// How it is confirmed
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Start, and ask for nothing before the other node is seen
    Second(Confirm),
    /// Serve although it may lose what only the other node has
    Primforce(Confirm),
    /// Maintenance: for a time no failover, and checkers do not act
    Maintenance {
        /// Begin or end it
        switch: Switch,
        /// For how long; it ends by itself
        #[arg(long = "for", value_parser = span, value_name = "TIME",
              required_if_eq("switch", "on"))]
        span: Option<Duration>,
        /// How it is confirmed
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Whether this node takes over by itself
    Failover {
        /// It does, or not
        switch: Switch,
        /// How it is confirmed
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Whether checkers act
    Checkers {
        /// They do, or not
        switch: Switch,
        /// How it is confirmed
        #[command(flatten)]
        confirm: Confirm,
    },
    /// The words of a farm.
    #[command(flatten)]
    Farm(OfFarm),
    /// Wait for an order that was given before
    Op {
        /// Its number
        id: u64,
    },
    /// Read the configuration again, without a failover
    Reload,
    /// What is wrong with this machine's set-up, and how to mend it
    Doctor {
        /// The node's configuration
        #[arg(long, default_value = "/etc/ha-node/ha-node.toml", value_name = "FILE")]
        config: PathBuf,
    },
    /// Look at a configuration
    Config {
        /// How
        #[command(subcommand)]
        action: Config,
    },
    /// Make a cluster's key: 64 hexadecimal digits, readable by their owner only
    Keygen {
        /// Where; never overwritten
        file: PathBuf,
    },
    /// What was kept aside of records that the other node did not have
    SetAside {
        /// The node's configuration
        #[arg(long, default_value = "/etc/ha-node/ha-node.toml", value_name = "FILE")]
        config: PathBuf,
        /// Of this module only
        name: Option<String>,
    },
    /// Print the completions of a shell
    Completions {
        /// Which
        shell: Shell,
    },
    /// Write the manual pages
    Man {
        /// Into this folder
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
}

/// What is a farm's alone.
#[derive(Clone, Debug, Subcommand)]
pub enum OfFarm {
    /// Of a farm: a member takes no new clients, and its connections end; or takes part again
    Drain {
        /// The member: this one
        node: String,
        /// Take part again
        #[arg(long)]
        off: bool,
        /// How it is confirmed
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Of a farm: how large a member's share is, until the daemon starts anew
    Weight {
        /// The member: this one
        node: String,
        /// 0 (no new clients) to 1000
        weight: u16,
        /// In this service only
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
        /// How it is confirmed
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Of a farm, for scripts: whether new clients come to this member
    Gate {
        /// They do, or not
        gate: Gate,
        /// How it is confirmed
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Of a farm: the daemon goes on as the program and the file that are there now; its filter
    /// stays in the kernel meanwhile, and no connection breaks
    RestartDaemon(Confirm),
    /// Of a farm: who owns which buckets
    Table {
        /// Of this service only
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
    },
}

/// How an order is confirmed. `--yes` answers what would be asked; `--force` overrides a check.
#[derive(Clone, Copy, Debug, Args)]
pub struct Confirm {
    /// Only show what would be done
    #[arg(long)]
    pub plan: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Do it although it is refused as unsafe
    #[arg(long)]
    pub force: bool,
}

/// What can be done with a configuration.
#[derive(Clone, Debug, Subcommand)]
pub enum Config {
    /// Say what is wrong with a file, by line and field
    Check {
        /// Which
        #[arg(default_value = "/etc/ha-node/ha-node.toml")]
        file: PathBuf,
    },
    /// Print the configuration that runs, or with --effective what a file means
    Show {
        /// Everything, defaults and profiles resolved
        #[arg(long)]
        effective: bool,
        /// A file instead of what runs
        file: Option<PathBuf>,
    },
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// Open or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Gate {
    /// New clients come.
    Open,
    /// None do.
    Close,
}

/// A state to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Stopped.
    Stop,
    /// Blocked, or starting.
    Wait,
    /// Secondary, ready.
    Second,
    /// Primary with a secondary, ready.
    Prim,
    /// Primary without, ready.
    Alone,
    /// Of a farm: this member has all that is its own, and takes new clients.
    Up,
    /// The service runs on one of the nodes.
    Serving,
    /// A takeover would succeed.
    Protected,
}

fn span(text: &str) -> Result<Duration, String> {
    text.parse().map(|Span(span)| span).map_err(|error: ha_core::raw::SpanError| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Ha::command().debug_assert();
    }

    #[test]
    fn maintenance_names_its_end() {
        let parse = |words: &[&str]| Ha::try_parse_from([&["ha"], words].concat());
        assert!(parse(&["maintenance", "on"]).is_err());
        assert!(parse(&["maintenance", "off"]).is_ok());
        let on = parse(&["maintenance", "on", "--for", "2h", "-m", "web"]).expect("complete");
        assert_eq!(on.module.as_deref(), Some("web"));
        let Verb::Maintenance { span, .. } = on.verb else { panic!("another verb") };
        assert_eq!(span, Some(Duration::from_hours(2)));
        let wrong = parse(&["status", "--timeout", "soon"]).expect_err("no time");
        assert!(wrong.to_string().contains("\"soon\" is no duration"));
    }
}
