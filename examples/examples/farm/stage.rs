//! What the story is played on.

use std::io;

/// Servers in the farm.
pub(crate) const SERVERS: usize = 3;

/// A farm of [`SERVERS`] servers, and clients that talk to it.
pub(crate) trait Stage {
    /// What it is, in a line or two.
    fn what(&self) -> String;

    /// A server dies with its kernel.
    fn kill(&mut self, server: usize);

    /// It comes back.
    fn start(&mut self, server: usize) -> io::Result<()>;

    /// It takes no new clients, or takes part again.
    fn drain(&mut self, server: usize, on: bool);

    /// How each server is doing.
    fn servers(&self) -> [Server; SERVERS];

    /// What the clients saw so far.
    fn tally(&self) -> Tally;

    /// The clients stop, then the servers.
    fn end(&mut self) -> Tally;

    /// What else is to be said then.
    fn closing(&self) -> Vec<String>;
}

/// How one server is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Server {
    /// Whether it runs, and what it says of itself.
    pub up: bool,
    /// Why it takes nothing, or what else is to be said.
    pub says: String,
    /// Its buckets, by its own kernel's filter.
    pub buckets: usize,
    /// Whether it takes all that is its own.
    pub full: bool,
}

/// What clients saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Requests that each server answered.
    pub served: [u64; SERVERS],
    /// Connections of each server that broke.
    pub broken: [u64; SERVERS],
    /// Connections that never came about, or requests that nobody answered.
    pub unopened: u64,
    /// Answers of a server to a connection of another one: there must be none.
    pub twice: u64,
}
