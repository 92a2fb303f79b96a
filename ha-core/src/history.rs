//! Which takeovers there were, how long each of their parts took, and what was at risk.

use core::time::Duration;

use ha_proto::{Epoch, Instant, Membership, NodeId, Role};

use crate::Event;

/// Watches the events of one module on one node, and says when the service has moved here.
///
/// ```
/// use core::time::Duration;
/// use ha_core::Event;
/// use ha_core::history::{Cause, History};
/// use ha_core::proto::{DataId, Epoch, Instant, Membership, NodeId, NodeSet};
///
/// let (me, peer) = (NodeId::new(0).unwrap(), NodeId::new(1).unwrap());
/// let epoch = Epoch::new(8, me);
/// let mine = Membership { epoch, holder: me, set: NodeSet::only(me), data: DataId(1) };
/// let at = |millis| Instant::ZERO + Duration::from_millis(millis);
///
/// let mut history = History::default();
/// assert_eq!(history.note(at(1_000), &Event::PeerDown(peer)), None);
/// assert_eq!(history.note(at(3_000), &Event::Membership(mine)), None);
/// let takeover = history.note(at(3_500), &Event::Serving(epoch)).unwrap();
/// assert_eq!(takeover.cause, Cause::PeerLost);
/// assert_eq!(takeover.decide, Some(Duration::from_secs(2)));
/// assert_eq!(takeover.start, Duration::from_millis(500));
/// ```
///
/// With `serde` another process goes on with it, on the same clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct History {
    /// Since when the peer is lost.
    lost: Option<Instant>,
    /// As saved here.
    reign: Option<Reign>,
    /// The application has served in it.
    served: bool,
    /// This node was a secondary since it served last.
    followed: bool,
    /// An operator's override.
    forced: Option<Epoch>,
}

/// Whose reign it is, and since when that node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Reign {
    owner: Option<NodeId>,
    since: Instant,
}

/// The service has moved to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Takeover {
    /// In which reign.
    pub epoch: Epoch,
    /// Why.
    pub cause: Cause,
    /// From the loss of the peer until this node held; `None` when no loss was the cause.
    pub decide: Option<Duration>,
    /// From then until the application served.
    pub start: Duration,
}

/// Why a service moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Cause {
    /// The other node was lost.
    PeerLost,
    /// The other node handed it over: a swap, a stop, or what it could not do any more.
    HandedOver,
    /// It was started here, where it was or belonged.
    Started,
    /// An operator's override (`primforce`): what only the other node had may be lost.
    Forced,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::PeerLost, Self::HandedOver, Self::Started, Self::Forced];

    /// Its word in metrics and JSON: part of the interface.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeerLost => "peer_lost",
            Self::HandedOver => "handed_over",
            Self::Started => "started",
            Self::Forced => "forced",
        }
    }
}

impl Takeover {
    /// From the first sign until the application served.
    pub fn took(&self) -> Duration {
        self.decide.unwrap_or_default() + self.start
    }
}

impl History {
    /// Takes one event, in the order in which they happened; the takeover that it ends.
    pub fn note(&mut self, now: Instant, event: &Event) -> Option<Takeover> {
        match event {
            Event::PeerDown(_) => self.lost = Some(now),
            Event::PeerUp(_) => self.lost = None,
            Event::Membership(Membership { epoch, .. }) => self.saved(now, *epoch),
            Event::DataLossPossible(epoch) => self.forced = Some(*epoch),
            Event::Role { to, .. } => self.followed |= *to == Role::Second,
            Event::Serving(epoch) => return self.serving(now, *epoch),
            Event::Stopped(_)
            | Event::LinkUp(_)
            | Event::LinkDown(_)
            | Event::PeerRestarted(_)
            | Event::Resumed(_)
            | Event::WitnessBack
            | Event::WitnessSilent
            | Event::WitnessReplaced
            | Event::LeaseDiffers { .. }
            | Event::Paused(_)
            | Event::Rejected(_)
            | Event::Replayed
            | Event::InSync
            | Event::Excluded(_)
            | Event::Progress { .. }
            | Event::Diverged { .. }
            | Event::KeptAside { .. }
            | Event::Outside { .. }
            | Event::LogFull
            | Event::LogWritable
            | Event::DiskStalled
            | Event::DiskBack
            | Event::StorageFailed
            | Event::ApplicationFailed
            | Event::NoCommonHistory => {}
        }
        None
    }

    fn saved(&mut self, now: Instant, epoch: Epoch) {
        let owner = epoch.owner();
        if self.reign.is_none_or(|before| before.owner != owner) {
            self.reign = Some(Reign { owner, since: now });
            self.served = false;
        }
    }

    /// `None` when the application was only started anew.
    fn serving(&mut self, now: Instant, epoch: Epoch) -> Option<Takeover> {
        self.saved(now, epoch);
        if core::mem::replace(&mut self.served, true) {
            return None;
        }
        let followed = core::mem::take(&mut self.followed);
        let since = self.reign.expect("it was set above").since;
        let cause = if self.forced == Some(epoch) {
            Cause::Forced
        } else if self.lost.is_some() {
            Cause::PeerLost
        } else if followed {
            Cause::HandedOver
        } else {
            Cause::Started
        };
        let decide = self.lost.map(|lost| since.saturating_since(lost));
        let start = now.saturating_since(since);
        Some(Takeover { epoch, cause, decide, start })
    }
}

#[cfg(test)]
mod tests {
    use ha_proto::{DataId, NodeSet};

    use super::*;

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn epoch(counter: u64, owner: u8) -> Epoch {
        Epoch::new(counter, node(owner))
    }

    fn saved(counter: u64, owner: u8) -> Event {
        let (epoch, holder) = (epoch(counter, owner), node(owner));
        let set = NodeSet::only(holder);
        Event::Membership(Membership { epoch, holder, set, data: DataId(1) })
    }

    fn second() -> Event {
        Event::Role { from: Role::Wait, to: Role::Second, ready: true }
    }

    /// What comes of events, each a second after the one before.
    fn takeovers(events: &[Event]) -> Vec<(Cause, Option<u64>, u64)> {
        let (mut history, mut found) = (History::default(), Vec::new());
        for (at, event) in (0..).zip(events) {
            let now = Instant::ZERO + Duration::from_secs(at);
            if let Some(it) = history.note(now, event) {
                found.push((it.cause, it.decide.map(|span| span.as_secs()), it.start.as_secs()));
            }
        }
        found
    }

    #[test]
    fn a_lost_peer_a_swap_and_a_start_are_told_apart() {
        let serving = |counter| Event::Serving(epoch(counter, 0));
        let lost = [second(), Event::PeerDown(node(1)), saved(5, 0), serving(5)];
        assert_eq!(takeovers(&lost), [(Cause::PeerLost, Some(1), 1)]);
        let swapped = [saved(4, 1), second(), saved(5, 0), Event::InSync, serving(5)];
        assert_eq!(takeovers(&swapped), [(Cause::HandedOver, None, 2)]);
        assert_eq!(takeovers(&[saved(1, 0), serving(1)]), [(Cause::Started, None, 1)]);
        assert_eq!(takeovers(&[serving(1)]), [(Cause::Started, None, 0)], "of an earlier boot");
    }

    #[test]
    fn a_service_that_stays_where_it_is_is_no_takeover() {
        let (first, risen) = (Event::Serving(epoch(5, 0)), Event::Serving(epoch(6, 0)));
        let restarted = [saved(5, 0), first, Event::Stopped(epoch(5, 0)), saved(6, 0), risen];
        assert_eq!(takeovers(&restarted).len(), 1);
        let back = [saved(5, 0), first, saved(6, 1), second(), saved(7, 0)];
        let again = Event::Serving(epoch(7, 0));
        let found = takeovers(&[&back[..], &[again]].concat());
        assert_eq!(found.last(), Some(&(Cause::HandedOver, None, 1)));
    }

    #[test]
    fn an_override_is_told_although_the_peer_is_lost() {
        let forced = epoch(4, 1).overridden_by(node(0));
        let membership =
            Membership { epoch: forced, holder: node(0), set: NodeSet::EMPTY, data: DataId(1) };
        let events = [
            Event::PeerDown(node(1)),
            Event::DataLossPossible(forced),
            Event::Membership(membership),
            Event::Serving(forced),
        ];
        assert_eq!(takeovers(&events), [(Cause::Forced, Some(2), 1)]);
    }
}
