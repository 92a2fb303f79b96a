//! What is watched, how often, and what follows.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::raw::PingFrom;

/// One checker of a module, as [`checkers`](crate::raw::checkers) found it possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckerConfig {
    /// Its name, unique in the module.
    pub name: String,
    /// What is looked at.
    pub kind: Kind,
    /// What follows when it is down.
    pub action: Action,
    /// When it is looked at, and how often it must fail.
    pub pace: Pace,
}

/// What is looked at; each look passes or fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection is accepted.
    Tcp {
        /// Where.
        address: SocketAddr,
    },
    /// An ICMP echo is answered.
    Ping {
        /// By whom.
        address: IpAddr,
        /// Sent from there, whatever the routes say.
        from: Option<PingFrom>,
    },
    /// A request is answered as it should be: HTTP without TLS, asked by version 1.0.
    Http {
        /// Where.
        address: SocketAddr,
        /// What is asked for, with its query.
        path: String,
        /// The name of the host in the request; `None` is the address.
        host: Option<String>,
        /// The status that is right; `None` is any of 200 to 299.
        status: Option<u16>,
        /// A text that the answer's body must have in it.
        body: Option<String>,
    },
    /// An interface is set up and has a carrier.
    Intf {
        /// Its name.
        interface: String,
    },
    /// A virtual address is set here, and nobody else claims it.
    Ip {
        /// Which.
        address: IpAddr,
        /// On this interface, of Ethernet.
        interface: String,
    },
    /// A process lives.
    Process(Process),
    /// What an administrator thought of.
    Custom(Custom),
    /// Another module of this process is well here.
    Module {
        /// Its name.
        name: String,
        /// What is asked of it.
        state: ModuleState,
    },
}

/// Which process lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Process {
    /// One whose program is a file of this name.
    Name(String),
    /// One whose command line, its words joined by spaces, has this text in it.
    Cmdline(String),
    /// The one whose number stands in this file.
    PidFile(String),
    /// Any in the module's control group.
    Group,
}

/// A check of an administrator's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Custom {
    /// An executable with its arguments: it passes when it ends with 0.
    Run(Vec<String>),
    /// A connection, over which something is sent and something expected.
    Talk {
        /// Where.
        address: SocketAddr,
        /// What is sent first; may be empty.
        send: String,
        /// A text that must come.
        expect: String,
    },
}

/// What is asked of another module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum ModuleState {
    /// All that its role asks for is done, whichever role it has.
    #[default]
    Ready,
    /// Its application runs here.
    Serving,
}

/// What follows when a resource is down; with the feature `serde`, as text: `"restart"`.
///
/// Ordered by strength: of several that are due the last of these is done, and is enough for those
/// before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Action {
    /// It is told to the peer and to operators, and nothing else.
    None,
    /// This node is not able to serve until it is up again, or nobody watches it any more. A ready
    /// peer gets the service; alone, what runs goes on.
    Wait,
    /// The application is restarted where it serves, once for each time that it went down.
    Restart,
    /// The service goes to the peer, as soon as that is ready.
    Swap,
    /// The module is stopped here, and started again.
    StopStart,
    /// The module is stopped here until an operator starts it.
    Stop,
}

/// While what it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum When {
    /// While the application serves here.
    Serving,
    /// As long as the process runs.
    Always,
}

/// When a thing is looked at, and how often it must fail.
///
/// The defaults find a dead service 2 to 3 s after it died, and one that hangs in 3 to 4 s: products that
/// look every ten take up to 35. They are no shorter because a look may be lost without anything being wrong:
/// TCP sends a lost SYN again after a second, so one lost packet fails one look, and a machine
/// under load may answer late now and then. Three in a row is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From the begin of a look to that of the next one; 10 ms to a day. Default 1 s.
    pub interval: Duration,
    /// What takes longer has failed; 1 ms to an hour. Default 1 s: who waits so long for a
    /// connection on a local network has none.
    pub timeout: Duration,
    /// So many looks in a row must pass until what was down is up; at least 1. Default 2: what
    /// answers once and dies again is not well.
    pub rise: u8,
    /// So many looks in a row must fail until it is down; at least 1. Default 3.
    pub fall: u8,
    /// After the application was started, looks may fail for so long until the first one passes. A
    /// day at most. Default 30 s where it is looked at while the application serves, which is
    /// enough for databases that recover; else none.
    pub grace: Duration,
    /// While what it is looked at.
    pub when: When,
}

impl Pace {
    /// The defaults.
    pub const fn new(when: When) -> Self {
        let grace = match when {
            When::Serving => Duration::from_secs(30),
            When::Always => Duration::ZERO,
        };
        let second = Duration::from_secs(1);
        Self { interval: second, timeout: second, rise: 2, fall: 3, grace, when }
    }
}

/// Checkers of one module: each has a bit in the beat, and two are left for a host's own resources.
pub const CHECKERS_MAX: usize = 62;
