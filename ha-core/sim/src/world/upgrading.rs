//! Upgrades: a node's process is replaced by another one, and its application runs on.

use ha_core::{Baton, HandOverError, Input, Mirror};

use super::World;
use super::build::recovered;
use crate::check::Seen;
use crate::fault::RESOURCES;
use crate::node::{Process, Upgrade};
use crate::queue::Event;
use crate::trace::Column;
use crate::weather::MS;

impl World {
    /// A running process is to be replaced, as soon as it can hand over.
    pub(super) fn upgrade(&mut self, node: usize, gap: u64, lost: bool) {
        let patience = self.scene.now + self.options.lease() / 2;
        let here = &mut self.scene.nodes[node];
        if !here.runs() || here.upgrade.is_some() {
            return;
        }
        here.upgrade = Some(Upgrade { gap, lost, patience, baton: None });
        self.hand_over(node);
    }

    pub(super) fn hand_over_again(&mut self, node: usize, life: u32) {
        let here = &self.scene.nodes[node];
        if here.life != life || here.upgrade.is_none() {
            return;
        }
        if here.runs() {
            self.hand_over(node);
        } else {
            // Paused: it goes on trying when it does.
            self.at(MS, Event::HandOver { node, life });
        }
    }

    /// Ends the process if it can hand over; else it tries again, for a while.
    fn hand_over(&mut self, node: usize) {
        let here = &mut self.scene.nodes[node];
        let local = here.clock.local(self.scene.now);
        let mirror = here.mirror.take().expect("it runs");
        match mirror.hand_over(local) {
            Ok(baton) => self.between(node, &baton),
            Err((_, why)) if why.is_a_boot() => self.boot_later(node, why),
            Err((mirror, why)) => {
                here.mirror = Some(*mirror);
                let patient = here.upgrade.as_ref().is_some_and(|up| up.patience > self.scene.now);
                let life = here.life;
                if !patient || !why.passes() {
                    here.upgrade = None;
                    return self.note(Column::of(node), || format!("no upgrade: {why}"));
                }
                let after = MS / 2 + self.prng.below(5 * MS);
                self.at(after, Event::HandOver { node, life });
            }
        }
    }

    /// There is nothing to hand over: the process ends all the same, and the next one boots.
    fn boot_later(&mut self, node: usize, why: HandOverError) {
        self.note(Column::of(node), || format!("nothing to hand over: {why}"));
        let here = &self.scene.nodes[node];
        if here.host.run.is_some() {
            return self.broken("hand-over", format!("node {node} leaves what runs: {why}"));
        }
        let gap = here.upgrade.as_ref().expect("it is under way").gap;
        self.kill(node, false, gap);
    }

    /// The old process is gone with its sockets; only what it handed over, the application and the
    /// addresses are left.
    fn between(&mut self, node: usize, baton: &Baton) {
        let mut bytes = Vec::new();
        baton.encode(&mut bytes);
        let here = &mut self.scene.nodes[node];
        // The late answer of an append may be missing whose records a later one has covered.
        if let Some(effect) = here.effects.under_way() {
            let text = format!("node {node} hands over during {effect:?}");
            return self.broken("hand-over", text);
        }
        here.effects.drain();
        here.process = Process::Down;
        here.life += 1;
        here.timer = None;
        let (life, upgrade) = (here.life, here.upgrade.as_mut().expect("it is under way"));
        upgrade.baton = Some(bytes);
        let gap = upgrade.gap;
        let serves = baton.serves();
        self.note(Column::of(node), || format!("hands over, its application runs: {serves}"));
        self.addresses_end(node);
        self.stream_end_dies(node);
        self.plain_end(node);
        self.at(gap, Event::Succeed { node, life });
    }

    /// The guardian: between two processes an application ends with its addresses' lifetime.
    pub(super) fn guard(&mut self, node: usize) {
        let here = &self.scene.nodes[node];
        if here.is_handed_over() && here.host.run.is_some() {
            self.note(Column::of(node), || "ended by its guardian".into());
            self.app_ends(node, true);
        }
    }

    pub(super) fn succeed_after(&mut self, node: usize, life: u32) {
        let here = &self.scene.nodes[node];
        if here.is_handed_over() && here.life == life {
            self.succeed(node);
        }
    }

    /// The next process begins: it goes on where the old one stopped, or boots.
    pub(super) fn succeed(&mut self, node: usize) {
        let config = self.config(node);
        self.recover(node);
        let here = &mut self.scene.nodes[node];
        let upgrade = here.upgrade.take().expect("it was handed over");
        let local = here.clock.local(self.scene.now);
        let bytes = upgrade.baton.expect("it was handed over");
        let baton = Baton::decode(&bytes).expect("encoded just now");
        let fits = baton.check(&config, &here.disk.saved, local);
        if upgrade.lost || fits.is_err() {
            self.note(Column::of(node), || format!("no baton: {fits:?}"));
            return self.boot_instead(node);
        }
        let (keys, seed) = (self.keys.clone(), self.prng.next_u64());
        let (saved, recovered) = (here.disk.saved.clone(), recovered(here));
        here.mirror = Some(Mirror::resume(config, keys, saved, recovered, baton, seed, local));
        here.process = Process::Running;
        here.life += 1;
        self.addresses_begin(node);
        self.plain_boot(node);
        let here = &self.scene.nodes[node];
        let down = here.ailments.resources_down;
        self.note(Column::of(node), || "goes on in another process".into());
        for (index, down) in RESOURCES.into_iter().zip(down) {
            let up = down == 0;
            self.feed(node, Input::Resource { index, up: Some(up), blocks: !up });
        }
        self.feed(node, Input::Timeout);
    }

    /// R9: what cannot go on boots. The application that runs is ended first.
    fn boot_instead(&mut self, node: usize) {
        if self.scene.nodes[node].host.may_serve() {
            self.see(&Seen::AppEnds { node });
        }
        self.scene.nodes[node].host.crash();
        self.boot(node);
    }
}
