//! The newest events of a farm's node, for whoever asks or follows.

use std::format;
use std::prelude::rust_2024::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ha_proto::NodeId;
use tokio::sync::watch;

use crate::control::EventLog;
use crate::control::protocol::EventLine;
use crate::control::ring::{Ring, Since};
use crate::control::wall::Wall;
use crate::farm::Event;

/// The newest events of a farm's node, numbered from 1 in the order in which they happened, as they
/// are told: [`EventLog`] is what a mirror has.
#[derive(Debug)]
pub struct FarmLog {
    farm: String,
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Kept {
    ring: Ring<EventLine>,
    /// In force, as far as events told.
    view: String,
}

impl FarmLog {
    /// Events that are kept; 0.5 MiB.
    pub const KEPT: usize = 2_048;

    /// An empty log of the farm of this name.
    pub fn new(farm: impl Into<String>) -> Self {
        let (newest, _) = watch::channel(0);
        let kept = Kept { ring: Ring::after(0, Self::KEPT), view: "-".into() };
        Self { farm: farm.into(), kept: Mutex::new(kept), newest }
    }

    /// Takes an event, and what members and networks are called in it; its number. Returns at once.
    pub fn note(&self, event: &Event, name: impl Fn(NodeId) -> String, links: &[String]) -> u64 {
        let mut kept = self.kept();
        if let Event::View { id, .. } = event {
            kept.view = format!("{id}");
        }
        let view = kept.view.clone();
        let seq = kept.ring.push(|seq| EventLine {
            seq,
            module: self.farm.clone(),
            epoch: view,
            at: format!("{}", Wall::now()),
            level: event.level().name().into(),
            event: event.name().into(),
            text: event.told(name, links),
        });
        drop(kept);
        self.newest.send_replace(seq);
        seq
    }

    /// The events from number `from` on.
    pub fn since(&self, from: u64) -> Since<EventLine> {
        self.kept().ring.since(from, EventLog::CHUNK)
    }

    /// Says when there is a newer event.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whoever panicked left a log that lacks one entry at most.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use ha_heartbeat::group::ViewId;
    use ha_proto::{Boot, LinkId, NodeSet};

    use super::*;

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    #[test]
    fn events_are_told_with_names_and_the_view_that_was_in_force() {
        let log = FarmLog::new("web");
        let mut follower = log.follow();
        let name = |node: NodeId| if node.as_u8() == 0 { "a".into() } else { format!("n{node}") };
        let links = ["prod".into()];
        log.note(&Event::Linked(node(3)), name, &links);
        let id = ViewId { counter: 7, coordinator: node(0), boot: Boot(9) };
        let members = NodeSet::only(node(0)).with(node(3));
        log.note(&Event::View { id, members, moved: 12, cut: 0 }, name, &links);
        log.note(&Event::Unlinked(node(0)), name, &links);
        log.note(&Event::LinkDown(node(3), LinkId(0)), name, &links);
        log.note(&Event::LinkUp(node(3), LinkId(1)), name, &links);
        assert_eq!(*follower.borrow_and_update(), 5);
        let found = log.since(0);
        let told: Vec<_> =
            found.entries.iter().map(|it| (&*it.epoch, &*it.level, &*it.text)).collect();
        let view = format!("{id}");
        let expected = [
            ("-", "info", "n3 is linked"),
            (&*view, "info", "a view is in force: a n3; 12 buckets moved"),
            (&*view, "warn", "a is not linked any more"),
            (&*view, "warn", "prod to n3 is lost"),
            (&*view, "info", "network 1 to n3 works"),
        ];
        assert_eq!(told, expected);
        assert_eq!((found.next, found.entries[0].module.as_str()), (6, "web"));
    }
}
