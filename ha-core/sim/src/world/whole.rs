//! The operator, and the liveness phase: faults stop, and the pair must become whole (G7).

use ha_core::{Input, Order};
use ha_proto::{DataState, NodeSet, Role};
use ha_quorum::Vote;

use super::{Whole, World};
use crate::host::CLIENTS;
use crate::node::{Node, Process};
use crate::queue::Event;
use crate::trace::Column;
use crate::weather::MS;

impl World {
    /// All faults stop: what is down boots, what is paused goes on, the networks carry everything.
    pub fn stop_faults(&mut self) {
        self.note(Column::World, || "faults stop".into());
        self.weather.settle();
        self.scene.network.heal_all();
        self.scene.network.rules.clear();
        self.release();
        self.scene.witness.disk_fail = false;
        match self.scene.witness.process {
            Process::Down => self.witness_boot(),
            Process::Paused => self.witness_resume(self.scene.witness.life),
            Process::Running => {}
        }
        for node in 0..2 {
            self.mend(node);
        }
        self.liveness = true;
        self.at(MS, Event::Inspect);
    }

    fn mend(&mut self, node: usize) {
        let here = &mut self.scene.nodes[node];
        here.ailments = crate::node::Ailments::default();
        let life = here.life;
        match here.process {
            Process::Paused => self.resume(node, life),
            Process::Running => {}
            Process::Down => self.boot(node),
        }
        if self.scene.nodes[node].storage_failed {
            self.kill(node, false, 100 * MS);
            return;
        }
        self.feed(node, Input::Resource { index: 0, up: true });
        self.order(node, Order::Failover(self.options.vote != Vote::Manual));
        self.order(node, Order::Start);
    }

    /// What an operator does now and then: bootstraps a pair that never was; once faults stopped,
    /// starts what was stopped; with the vote `manual`, chooses.
    pub(super) fn look_after(&mut self) {
        self.at(300 * MS + self.options.lease() / 10, Event::Operator);
        if !self.operator {
            return;
        }
        let nodes = &self.scene.nodes;
        if nodes.iter().all(|node| !node.disk.saved.is_initialised()) {
            return self.order(0, Order::Prim);
        }
        if !self.liveness || self.options.vote != Vote::Manual {
            return;
        }
        if nodes.iter().all(|node| !node.serves()) {
            let rank = |node: &Node| {
                let saved = &node.disk.saved;
                let entitled = saved.membership.holder == node.id;
                (saved.state == DataState::Complete, saved.membership.epoch, entitled)
            };
            let best = usize::from(rank(&nodes[1]) > rank(&nodes[0]));
            self.order(best, Order::Prim);
        }
    }

    /// Looks whether the pair is whole, and since when.
    pub(super) fn inspect(&mut self) {
        self.at(20 * MS, Event::Inspect);
        match (self.is_whole(), self.whole) {
            (true, None) => {
                self.note(Column::World, || "whole".into());
                self.whole = Some(Whole { acknowledged: self.acknowledged });
            }
            (false, Some(_)) => self.whole = None,
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// One serves, the other is ready to, both have everything, and W knows.
    pub fn is_whole(&self) -> bool {
        let both = NodeSet::from_bits(3);
        let nodes = &self.scene.nodes;
        let sound = |node: &Node| {
            let saved = &node.disk.saved;
            node.runs() && saved.state == DataState::Complete && saved.membership.set == both
        };
        let witnessed = !self.scene.has_arbiter()
            || self.scene.register().is_some_and(|register| {
                register.membership.set == both
                    && nodes.iter().all(|node| node.disk.saved.membership == register.membership)
            });
        let same = nodes[0].disk.saved.membership == nodes[1].disk.saved.membership;
        let roles = |node: &Node| {
            let status = node.mirror.as_ref().map(ha_core::Mirror::status);
            status.filter(|status| status.ready).map(|status| status.role)
        };
        let (one, other) = (roles(&nodes[0]), roles(&nodes[1]));
        let pair = [(Role::Prim, Role::Second), (Role::Second, Role::Prim)];
        let matched = pair.iter().any(|(a, b)| one == Some(*a) && other == Some(*b));
        nodes.iter().all(sound) && witnessed && same && matched
    }

    /// Whether writes went on for every client since the pair is whole.
    pub(super) fn is_proven(&self) -> bool {
        let enough = 2 * CLIENTS as u64;
        self.whole.is_some_and(|whole| self.acknowledged >= whole.acknowledged + enough)
    }

    /// Whether the contract excuses that the pair is not whole (G7): a set with no `Complete`
    /// member, as when an Exclude of a node that is lost meanwhile arrives late; without a witness,
    /// no common lineage.
    pub fn is_excused(&self) -> bool {
        let complete = |id: ha_proto::NodeId| {
            let node = &self.scene.nodes[self.scene.index(id)];
            node.disk.saved.state == DataState::Complete
        };
        if self.options.vote != Vote::Arbiter && self.are_strangers() {
            return true;
        }
        let register = self.scene.register();
        register.is_some_and(|register| !register.membership.set.iter().any(complete))
    }

    /// Whether the two logs have no reign in common: an operator must decide.
    fn are_strangers(&self) -> bool {
        let [one, other] = [0, 1].map(|node| &self.scene.nodes[node].disk.saved);
        let known = |entry| other.lineage.entries().contains(entry);
        let common = one.lineage.entries().iter().any(known);
        one.membership.data != other.membership.data || !common
    }

    /// Why the pair is not whole, for the report.
    pub fn describe(&self) -> String {
        let node = |node: &Node| {
            let status = node.mirror.as_ref().map(ha_core::Mirror::status);
            let role = status.map(|status| (status.role, status.ready));
            let saved = &node.disk.saved;
            let head = node.disk.log.head().seq;
            format!("{role:?} {} {:?} log {head}", saved.membership, saved.state)
        };
        let register = self.scene.register().map(|register| register.membership.to_string());
        format!(
            "A {}; B {}; W {}; {} requests acknowledged",
            node(&self.scene.nodes[0]),
            node(&self.scene.nodes[1]),
            register.unwrap_or_else(|| "-".into()),
            self.acknowledged
        )
    }
}
