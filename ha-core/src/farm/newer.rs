//! Members whose program is of a later version.

use ha_heartbeat::group::State;
use ha_proto::NodeId;

use crate::farm::{Event, Farm};

impl Farm {
    /// What this member wrote (of itself, a view, or tables that it gave) is of a later version than
    /// this program can read. Told once of each process of each member.
    pub(super) fn tell_newer(&mut self, node: NodeId) {
        if !self.newer.contains(node) {
            self.newer = self.newer.with(node);
            self.event(Event::Newer(node));
        }
    }

    /// Its process is another one, and may be of another version.
    pub(super) fn forget_newer(&mut self, node: NodeId) {
        self.newer = self.newer.without(node);
        self.unread = self.unread.without(node);
    }

    /// A view that this node was to be a member of, or its tables, which it cannot read: it says that
    /// it is unable, or its share would be in each view, and taken by nobody.
    pub(super) fn cannot_read(&mut self, node: NodeId) {
        self.unread = self.unread.with(node);
    }

    /// Whoever makes such views now, and would make the next one (F4): another one may be able to,
    /// whose views can be read, or this node itself.
    pub(super) fn later(&self) -> Option<NodeId> {
        let makes = |&node: &NodeId| {
            node == self.me()
                || self.group.peer(node).is_some_and(|peer| {
                    let able = |state| !matches!(state, State::Unable | State::Waits);
                    peer.linked && peer.agrees && peer.said.is_some_and(|said| able(said.state))
                })
        };
        let first = self.others().chain([self.me()]).filter(makes).min();
        first.filter(|&node| self.unread.contains(node))
    }
}

/// Whether what begins with its version is of a later one than this.
pub(super) fn is_newer(bytes: &[u8], version: u8) -> bool {
    bytes.first().is_some_and(|&first| first > version)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::time::Duration;

    use bytes::Bytes;
    use ha_farm::{Buckets, Hash, HashOn, Mode, Protocol, Rule, Uncovered, wire};
    use ha_heartbeat::group::{self, Proposal, ViewId};
    use ha_proto::wire::Keys;
    use ha_proto::{Boot, ClusterId, Instant, ModuleId, NodeSet};

    use super::*;
    use crate::farm::body::{Facts, Share};
    use crate::farm::{Config, Identity, Isolated, Output, Policy, Timing};

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn farm() -> Farm {
        let rule = Rule {
            vip: "192.0.2.1".parse().unwrap(),
            ports: 80..=80,
            protocol: Protocol::Tcp,
            on: HashOn::Addr,
        };
        let policy = Policy {
            rules: [rule].into(),
            weights: [1].into(),
            buckets: Buckets::Few,
            hash: Hash::Sip { key: [7; 16] },
            mode: Mode::Invisible,
            uncovered: Uncovered::Deny,
            mac: None,
            isolated: Isolated::All,
            drain: Duration::from_mins(1),
            warm_up: Duration::ZERO,
        };
        let members: NodeSet = (0..3).map(node).collect();
        let (cluster, module) = (ClusterId(1), ModuleId(1));
        let identity = Identity { cluster, module, me: node(0), members, links: 1 };
        let config = Config::new(identity, Timing::default(), policy).unwrap();
        Farm::new(config, Keys::insecure(), Boot(9), Instant::ZERO)
    }

    /// Of whom it is told that they are newer, since it was asked last.
    fn told(farm: &mut Farm) -> Vec<NodeId> {
        let outputs = core::iter::from_fn(|| farm.poll_output());
        let newer = |output| match output {
            Output::Event(Event::Newer(node)) => Some(node),
            _ => None,
        };
        outputs.filter_map(newer).collect()
    }

    fn proposal(version: u8) -> Proposal {
        let id = ViewId { counter: 1, coordinator: node(2), boot: Boot(5) };
        let members = [(node(0), Boot(9)), (node(2), Boot(5))].into();
        Proposal { id, members, body: Bytes::from(alloc::vec![version; 40]) }
    }

    #[test]
    fn who_speaks_a_later_version_is_named_once() {
        let mut farm = farm();
        let known = Facts { share: Share { mac: None, weights: alloc::vec![0] }, announcer: None };
        farm.facts.insert(node(1), known.clone());
        farm.learn(node(1), &[2, 0, 0]);
        assert_eq!(farm.facts.get(&node(1)), Some(&known), "what it told last stands");
        farm.learn(node(1), &[3, 0, 0]);
        assert_eq!(told(&mut farm), [node(1)], "by what it says of itself");
        assert_eq!(farm.check(&proposal(2)), None);
        assert_eq!(farm.check(&proposal(2)), None);
        assert_eq!(told(&mut farm), [node(2)], "by the views that it makes");
        let mut inputs = alloc::collections::VecDeque::new();
        let output = group::Output::Restarted(node(2), Boot(6));
        farm.perform(Instant::ZERO, output, &mut inputs);
        told(&mut farm);
        let part = Bytes::from(alloc::vec![wire::VERSION + 1, 8, 1]);
        farm.giver = Some(node(2));
        assert!(!farm.keep(proposal(1).id, &[part.clone(), part]));
        assert_eq!(told(&mut farm), [node(2)], "by its tables, and of its next process anew");
    }

    #[test]
    fn tables_are_of_who_gives_them_whoever_made_the_view() {
        let mut farm = farm();
        let part = Bytes::from(alloc::vec![wire::VERSION + 1, 8, 1]);
        farm.giver = Some(node(1));
        assert!(!farm.keep(proposal(1).id, &[part.clone(), part]));
        assert_eq!(told(&mut farm), [node(1)], "the view is of node 2");
    }

    #[test]
    fn what_cannot_be_read_for_another_reason_is_no_later_version() {
        let mut farm = farm();
        farm.learn(node(1), &[1, 9]);
        farm.learn(node(1), &[]);
        farm.learn(node(1), &[0]);
        assert_eq!(farm.check(&proposal(1)), None);
        assert!(!farm.keep(proposal(1).id, &[]));
        assert_eq!(told(&mut farm), []);
    }
}
