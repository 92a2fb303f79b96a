//! What one host's kernel has of the farm: the filter in force, its lease, and the sockets.

use std::collections::BTreeMap;
use std::sync::Arc;

use ha_farm::{Filter, Flow, Sockets, Verdict};
use ha_proto::Instant;

use super::services;

/// A host's kernel: it outlives the daemon, and decides on packets by what was written last.
#[derive(Debug, Default)]
pub struct Kernel {
    /// The filter in force, if one was ever written since the host booted.
    pub filter: Option<Arc<Filter>>,
    /// It takes until this instant of the host's clock; not at all with `None`.
    pub until: Option<Instant>,
    /// Its sockets of the virtual address.
    pub sockets: Table,
}

/// How far a connection of a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The first of a handshake came (a request socket, half-open).
    Request,
    /// The handshake is done.
    Established,
    /// It is over, and late segments of it are known.
    TimeWait,
}

/// One socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// How far it is.
    pub state: State,
    /// Which of the client's connections of this 4-tuple.
    pub number: u64,
    /// Whether the claim to it ended (F8).
    pub released: bool,
}

/// A host's sockets, by 4-tuple.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// All of them; a client has one at most for each of its ports.
    pub all: BTreeMap<Flow, Socket>,
}

impl Sockets for Table {
    fn live(&self, flow: &Flow) -> bool {
        self.all.get(flow).is_some_and(|socket| match socket.state {
            State::Request | State::Established => !socket.released,
            State::TimeWait => false,
        })
    }

    fn claim(&mut self, flow: &Flow) {
        if let Some(socket) = self.all.get_mut(flow) {
            socket.released = false;
        }
    }

    fn release(&mut self, flow: &Flow) {
        if let Some(socket) = self.all.get_mut(flow) {
            socket.released = true;
        }
    }
}

impl Kernel {
    /// Whether it takes anything at `now` of its own clock.
    pub fn is_open(&self, now: Instant) -> bool {
        self.filter.is_some() && self.until.is_some_and(|until| now < until)
    }

    /// What becomes of a frame. Without a filter nothing is served: the virtual address is set
    /// behind it.
    pub fn decide(&mut self, now: Instant, frame: &[u8]) -> Option<Verdict> {
        let open = self.is_open(now);
        let filter = self.filter.clone()?;
        Some(filter.decide(frame, open, &mut self.sockets))
    }

    /// Whether it takes new clients of a bucket at `now` (F2), the lease included.
    pub fn takes(&self, now: Instant, service: usize, bucket: usize) -> bool {
        let Some(filter) = self.filter.as_ref().filter(|_| self.is_open(now)) else { return false };
        services::word(filter, service, bucket) & Filter::TAKE != 0
    }
}
