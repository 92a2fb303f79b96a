//! A kernel in memory: the filter, its lease, and the connections of one server.

use std::collections::BTreeSet;
use std::sync::Arc;

use ha_core::ha_farm::{Filter, Flow, Sockets, Verdict};
use ha_core::proto::Instant;

use crate::frame::{Reply, Segment, read};

/// What of a server is in its kernel.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    /// What it decides by.
    pub filter: Option<Arc<Filter>>,
    /// Until when it takes (F5).
    pub until: Option<Instant>,
    /// Its connections.
    connections: Connections,
}

/// The connections that a server has.
#[derive(Debug, Default)]
struct Connections(BTreeSet<Flow>);

impl Sockets for Connections {
    fn live(&self, flow: &Flow) -> bool {
        self.0.contains(flow)
    }

    fn release(&mut self, flow: &Flow) {
        self.0.remove(flow);
    }
}

impl Kernel {
    /// Whether its lease runs.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// The buckets that it takes now.
    pub(crate) fn buckets(&self, now: Instant) -> usize {
        let Some(filter) = self.filter.as_ref().filter(|_| self.is_open(now)) else { return 0 };
        filter.words(0).iter().filter(|&&word| word & Filter::TAKE != 0).count()
    }

    /// A frame that came in: the filter decides, and TCP answers what it lets through.
    pub(crate) fn receive(&mut self, now: Instant, frame: &[u8]) -> Option<(u16, Reply)> {
        let open = self.is_open(now);
        let filter = self.filter.as_ref()?;
        match filter.decide(frame, open, &mut self.connections) {
            Verdict::Accept => self.answer(frame),
            Verdict::Pass | Verdict::Neighbour | Verdict::Drop(_) | Verdict::Forward { .. } => None,
        }
    }

    fn answer(&mut self, frame: &[u8]) -> Option<(u16, Reply)> {
        let (flow, segment) = read(frame)?;
        let connections = &mut self.connections.0;
        let reply = match segment {
            Segment::Syn if connections.len() < CONNECTIONS_MAX || connections.contains(&flow) => {
                connections.insert(flow);
                Reply::SynAck
            }
            Segment::Syn => return None,
            Segment::Request(number) if connections.contains(&flow) => Reply::Answer(number),
            Segment::Request(_) => Reply::Reset,
            Segment::Fin => {
                connections.remove(&flow);
                return None;
            }
        };
        Some((flow.client_port, reply))
    }
}

/// More than the clients open at a time; those whose end was lost stay.
const CONNECTIONS_MAX: usize = 100_000;
