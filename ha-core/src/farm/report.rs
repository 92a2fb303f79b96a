//! What an operator may ask.

use core::time::Duration;

use ha_proto::{Instant, NodeSet};

use crate::farm::{Farm, Peer, Service, View};

impl Farm {
    /// All that status and metrics show of this node, as it sees the farm.
    pub fn view(&self, now: Instant) -> View {
        let now = now.max(self.now);
        let group = &self.group;
        let taking = group.stands_by().is_none();
        let lease = group.lease().filter(|_| taking);
        let services = self.present.iter().flat_map(|present| {
            present.tables.iter().enumerate().map(|(service, table)| Service {
                rule: self.rules.rules[service].clone(),
                weights: Self::weights_of(&present.body, service),
                table: table.clone(),
            })
        });
        let drains = self.drains.iter();
        let id = group.view().map(|view| view.id);
        let current = self.present.as_ref().filter(|present| Some(present.id) == id);
        View {
            me: self.me(),
            at: now,
            id,
            members: group.view().map(|view| view.members.clone()).unwrap_or_default(),
            peers: self.others().map(|node| (node, self.peer(node))).collect(),
            why: self.why(),
            full: taking && group.is_full(),
            waits_for: if taking && !group.is_full() { group.waits_for() } else { NodeSet::EMPTY },
            lease: lease.map_or(Duration::ZERO, |lease| lease.saturating_since(now)),
            announcer: current.map(|present| present.body.announcer),
            services: services.collect(),
            tables: self.present.as_ref().map(|present| present.id),
            drained: self.is_drained(),
            gate: self.asked.gate,
            checked: self.asked.checked,
            drains: drains.map(|(&c, until)| (c, until.saturating_since(now))).collect(),
            rejections: self.rejections,
        }
    }

    fn peer(&self, node: ha_proto::NodeId) -> Peer {
        let Some(status) = self.group.peer(node) else { return Peer::default() };
        let said = status.said;
        Peer {
            boot: status.boot,
            heard: status.heard,
            linked: status.linked,
            hears: said.map_or(NodeSet::EMPTY, |said| said.hears),
            view: said.and_then(|said| said.view),
            takes: said.is_some_and(|said| said.takes()),
            able: said.is_some_and(|said| said.state != ha_heartbeat::group::State::Unable),
            agrees: status.agrees,
            accord: said.map(|said| said.accord),
            last: status.last,
            links: self.links.of(node, status.heard),
        }
    }
}
