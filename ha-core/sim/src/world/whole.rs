//! The operator, and the liveness phase: faults stop, and the pair must become whole (G7).

use ha_core::{Input, Order};
use ha_proto::DataState;
use ha_quorum::Vote;

use super::{Whole, World};
use crate::check::g7;
use crate::fault::{HARMLESS, RESOURCES};
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
        self.scene.lan.strangers = Default::default();
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
        self.disk_answers(node);
        let here = &self.scene.nodes[node];
        let life = here.life;
        match here.process {
            Process::Paused => self.resume(node, life),
            Process::Running => {}
            Process::Down if self.scene.nodes[node].is_handed_over() => self.succeed(node),
            Process::Down => self.boot(node),
        }
        if self.scene.nodes[node].storage_failed {
            self.kill(node, false, 100 * MS);
            return;
        }
        for index in RESOURCES {
            self.feed(node, Input::Resource { index, up: Some(true), blocks: false });
        }
        // It stays so, and the pair becomes whole all the same.
        self.feed(node, Input::Resource { index: HARMLESS, up: Some(false), blocks: false });
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

    /// Whether the pair is whole (G7).
    pub fn is_whole(&self) -> bool {
        g7::is_whole(&self.scene)
    }

    /// Whether the contract excuses that it is not.
    pub fn is_excused(&self) -> bool {
        g7::is_excused(&self.scene)
    }

    /// Whether writes went on for every client since the pair is whole.
    pub(super) fn is_proven(&self) -> bool {
        let enough = 2 * CLIENTS as u64;
        self.whole.is_some_and(|whole| self.acknowledged >= whole.acknowledged + enough)
    }

    /// What the pair looks like, for the report.
    pub fn describe(&self) -> String {
        let text = g7::describe(&self.scene);
        format!("{text}; {} requests acknowledged", self.acknowledged)
    }
}
