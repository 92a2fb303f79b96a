//! What is still to happen, in the order of (time, number).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Debug;

/// One thing that happens at an instant.
///
/// `life` names the life of whatever it is meant for: an event for an earlier one is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A node's deadline.
    Timer {
        /// Which node.
        node: usize,
    },
    /// A datagram arrives.
    Deliver {
        /// Its place among the parcels.
        slot: usize,
    },
    /// The next message of the replication stream arrives.
    StreamDeliver {
        /// Of which session.
        life: u32,
        /// At which node.
        to: usize,
    },
    /// A node notices that the session is gone.
    StreamNotice {
        /// Which session.
        life: u32,
        /// Which node.
        node: usize,
    },
    /// A session's retransmissions end, unless its network is back.
    StreamTimeout {
        /// Which session.
        life: u32,
    },
    /// The dialling node tries to connect.
    Dial,
    /// A node's effect is performed, or its answer arrives.
    Effect {
        /// Which node.
        node: usize,
        /// Which boot of it.
        life: u32,
        /// Its place among the pending.
        slot: usize,
    },
    /// A client acts.
    Client {
        /// Which one.
        client: usize,
    },
    /// A fault begins.
    Fault {
        /// Its place in the plan.
        index: usize,
    },
    /// A fault that lasts ends.
    Heal {
        /// Its place in the plan.
        index: usize,
    },
    /// A node boots.
    Boot {
        /// Which one.
        node: usize,
        /// The boot that it follows; void if another one came between.
        life: u32,
    },
    /// A paused process goes on.
    Resume {
        /// Which node.
        node: usize,
        /// In which boot.
        life: u32,
    },
    /// An address may have reached the end of its lifetime.
    AddressEnds {
        /// At which node.
        node: usize,
    },
    /// The deadline of the machine that looks after the addresses.
    AddressesDue {
        /// At which node.
        node: usize,
    },
    /// A frame arrives on the clients' network.
    Frame {
        /// Its place among the frames.
        slot: usize,
    },
    /// A clerk's wish reaches the plain store.
    PlainDo {
        /// Its number.
        number: u64,
    },
    /// The plain store's answer reaches a clerk.
    PlainReply {
        /// Its number.
        number: u64,
    },
    /// A clerk's adapter waits no longer.
    PlainTimeout {
        /// Which node's.
        node: usize,
        /// In which boot.
        life: u32,
        /// For which effect.
        ticket: u64,
    },
    /// A clerk's deadline.
    PlainWake {
        /// Which node's.
        node: usize,
        /// In which boot.
        life: u32,
    },
    /// The witness's store is done.
    WitnessStore {
        /// In which boot.
        life: u32,
    },
    /// The witness boots.
    WitnessBoot {
        /// The boot that it follows.
        life: u32,
    },
    /// The paused witness goes on.
    WitnessResume {
        /// In which boot.
        life: u32,
    },
    /// What a resumed process is excused for ends.
    Recheck {
        /// Which node.
        node: usize,
    },
    /// A node whose storage failed is restarted by its supervisor.
    StorageRestart {
        /// Which node.
        node: usize,
        /// In which boot.
        life: u32,
    },
    /// A node tries again to hand over to its next process.
    HandOver {
        /// Which one.
        node: usize,
        /// In which boot.
        life: u32,
    },
    /// The next process of a node that handed over begins.
    Succeed {
        /// Which one.
        node: usize,
        /// The life between the two.
        life: u32,
    },
    /// The operator looks after the pair.
    Operator,
    /// The liveness phase looks whether the pair is whole.
    Inspect,
}

/// One heap for the whole world, of a pair's events or of others. Equal times keep the order in
/// which they were scheduled, so that one seed gives one history.
#[derive(Debug)]
pub struct Queue<E = Event> {
    heap: BinaryHeap<Reverse<(u64, u64, E)>>,
    number: u64,
}

impl<E: Ord> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), number: 0 }
    }
}

impl<E: Copy + Debug + Ord> Queue<E> {
    /// Schedules `event` at true time `at`.
    pub fn push(&mut self, at: u64, event: E) {
        self.number += 1;
        self.heap.push(Reverse((at, self.number, event)));
        assert!(self.heap.len() <= EVENTS_MAX, "the world feeds on itself: {event:?} at {at}");
    }

    /// When the next event is.
    pub fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(u64, E)> {
        self.heap.pop().map(|Reverse((at, _, event))| (at, event))
    }
}

/// A pair at full speed has a few hundred events under way; far more is a loop.
const EVENTS_MAX: usize = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_keep_their_order() {
        let mut queue = Queue::default();
        queue.push(5, Event::Inspect);
        queue.push(3, Event::Timer { node: 1 });
        queue.push(5, Event::Dial);
        assert_eq!(queue.next_at(), Some(3));
        assert_eq!(queue.pop(), Some((3, Event::Timer { node: 1 })));
        assert_eq!(queue.pop(), Some((5, Event::Inspect)));
        assert_eq!(queue.pop(), Some((5, Event::Dial)));
        assert_eq!(queue.pop(), None);
    }
}
