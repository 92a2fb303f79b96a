//! Faults as they begin and end.

use ha_core::{Input, Order};
use ha_proto::{DataState, Incarnation, NodeSet};
use ha_quorum::Vote;

use super::World;
use super::build::blank_saved;
use crate::check::Seen;
use crate::disk::Disk;
use crate::fault::{Fault, HARMLESS, RESOURCES};
use crate::host::Host;
use crate::node::Process;
use crate::queue::Event;
use crate::trace::Column;
use crate::weather::MS;

impl World {
    /// A planned fault begins, unless faults are over.
    pub(super) fn fault_begins(&mut self, index: usize) {
        if self.liveness {
            return;
        }
        let fault = self.plan[index].fault;
        if let Some(lasts) = fault.lasts() {
            self.at(lasts, Event::Heal { index });
        }
        self.inject(fault);
    }

    /// A planned fault ends, unless all did already.
    pub(super) fn fault_ends(&mut self, index: usize) {
        if self.liveness {
            return;
        }
        match self.plan[index].fault {
            Fault::Cut { channels, .. } => {
                self.note(Column::World, || format!("mended {channels:08b}"));
                self.scene.network.heal(channels);
            }
            Fault::Resource { node, which, .. } => self.resource(node, which, true),
            // Another hang may last longer.
            Fault::DiskHang { node, .. } => {
                if self.scene.nodes[node].ailments.disk_hang <= self.scene.now {
                    self.disk_answers(node);
                }
            }
            Fault::Kill { .. }
            | Fault::PowerCut { .. }
            | Fault::Pause { .. }
            | Fault::Reset
            | Fault::WitnessKill { .. }
            | Fault::WitnessPause { .. }
            | Fault::WitnessReplace { .. }
            | Fault::NodeReplace { .. }
            | Fault::DiskSlow { .. }
            | Fault::DiskFail { .. }
            | Fault::DiskFull { .. }
            | Fault::AppFail { .. }
            | Fault::WitnessDiskFail
            | Fault::Upgrade { .. }
            | Fault::Unset { .. }
            | Fault::Intruder { .. }
            | Fault::Order { .. } => {}
        }
    }

    /// Lets something go wrong now.
    pub fn inject(&mut self, fault: Fault) {
        let now = self.scene.now;
        self.note(Column::World, || format!("{fault:?}"));
        match fault {
            Fault::Kill { node, down } => self.kill(node, false, down),
            Fault::PowerCut { node, down } => self.kill(node, true, down),
            Fault::Pause { node, lasts } => self.pause(node, lasts),
            Fault::Cut { channels, .. } => self.cut(channels),
            Fault::Reset => self.break_stream(),
            Fault::WitnessKill { down } => {
                self.witness_kill();
                let life = self.scene.witness.life;
                self.at(down, Event::WitnessBoot { life });
            }
            Fault::WitnessPause { lasts } if self.scene.witness.runs() => {
                self.scene.witness.process = Process::Paused;
                let life = self.scene.witness.life;
                self.at(lasts, Event::WitnessResume { life });
            }
            Fault::WitnessPause { .. } => {}
            Fault::WitnessReplace { down } if self.may_lose_witness() => self.lose_witness(down),
            Fault::NodeReplace { node, down } if self.may_lose_node(node) => {
                self.lose_node(node, down);
            }
            Fault::WitnessReplace { .. } | Fault::NodeReplace { .. } => {
                self.note(Column::World, || "(not now)".into());
            }
            Fault::DiskSlow { node, lasts } => {
                self.scene.nodes[node].ailments.disk_slow = now + lasts;
            }
            Fault::DiskFail { node } => self.scene.nodes[node].ailments.disk_fail = true,
            Fault::DiskFull { node, lasts } => {
                self.scene.nodes[node].ailments.disk_full = now + lasts;
            }
            Fault::DiskHang { node, lasts } => {
                let hang = &mut self.scene.nodes[node].ailments.disk_hang;
                *hang = (*hang).max(now + lasts);
            }
            Fault::AppFail { node, lasts } => {
                self.scene.nodes[node].ailments.app_fail = now + lasts;
            }
            Fault::Resource { node, which, .. } => self.resource(node, which, false),
            // Without a witness nobody records an override: it is `prim` at either side.
            Fault::Order { order: Order::PrimForce, .. } if !self.scene.has_arbiter() => {
                self.note(Column::World, || "(not without a witness)".into());
            }
            // Whoever overrides waits until the pair knows: two who override each other's choice ask
            // for two primaries, and get them (G2).
            Fault::Order { order: Order::PrimForce, .. } if self.scene.may_overlap() => {
                self.note(Column::World, || "(one override at a time)".into());
            }
            // An operator who bootstraps a blank node beside a pair makes two of it.
            Fault::Order { node, order: Order::Prim } if self.is_replacement(node) => {
                self.note(Column::World, || "(not there)".into());
            }
            Fault::Order { node, order } => self.order(node, order),
            Fault::WitnessDiskFail => self.scene.witness.disk_fail = true,
            Fault::Upgrade { node, gap, lost } => self.upgrade(node, gap, lost),
            Fault::Unset { node, place } => self.meddle(node, place),
            Fault::Intruder { place, claims, lasts } => self.intrude(place, claims, lasts),
        }
    }

    /// The operator orders something at a node that runs.
    pub fn order(&mut self, node: usize, order: Order) {
        if self.scene.nodes[node].runs() {
            self.note(Column::of(node), || format!("order {order:?}"));
            self.see(&Seen::Ordered { node, order });
            let blank = !self.scene.nodes[node].disk.saved.is_initialised();
            self.scene.founders[node] |= blank && matches!(order, Order::Prim | Order::PrimForce);
            self.give(node, order);
        }
    }

    /// Whether a node was never initialised and its peer was; a witness knows it by itself.
    fn is_replacement(&self, node: usize) -> bool {
        let known = |node: usize| self.scene.nodes[node].disk.saved.is_initialised();
        !self.scene.has_arbiter() && !known(node) && known(1 - node)
    }

    /// Cuts channels; the stream breaks with them if they stay cut.
    pub fn cut(&mut self, channels: u16) {
        self.scene.network.cut(channels);
        if self.stream.up && !self.scene.network.carries_stream() {
            let life = self.stream.life;
            let after = 300 * MS + self.prng.below(2_700 * MS);
            self.at(after, Event::StreamTimeout { life });
        }
    }

    fn resource(&mut self, node: usize, which: usize, up: bool) {
        let down = &mut self.scene.nodes[node].ailments.resources_down[which];
        *down = if up { down.saturating_sub(1) } else { *down + 1 };
        let up = *down == 0;
        if self.scene.nodes[node].runs() {
            self.feed(node, Input::Resource { index: RESOURCES[which], up: Some(up), blocks: !up });
            if which == 0 {
                self.feed(node, Input::Resource { index: HARMLESS, up: Some(up), blocks: false });
            }
        }
    }

    /// Ends a node's process; it boots again after `down`. Without power its addresses go too.
    pub fn kill(&mut self, node: usize, power: bool, down: u64) {
        let between = self.scene.nodes[node].is_handed_over();
        if self.scene.nodes[node].process == Process::Down && !between {
            return;
        }
        if self.scene.nodes[node].serves() {
            self.see(&Seen::AppEnds { node });
        }
        self.crash_effects(node);
        let here = &mut self.scene.nodes[node];
        here.process = Process::Down;
        here.life += 1;
        here.mirror = None;
        here.upgrade = None;
        here.timer = None;
        here.inbox.clear();
        here.deferred.clear();
        here.host.crash();
        here.address.excused = true;
        if power {
            here.address.until = Default::default();
        }
        let life = here.life;
        self.note(Column::of(node), || "killed".into());
        self.addresses_end(node);
        self.plain_end(node);
        self.stream_end_dies(node);
        self.at(down, Event::Boot { node, life });
    }

    /// Stops a node's process from running for a while.
    pub fn pause(&mut self, node: usize, lasts: u64) {
        if !self.scene.nodes[node].runs() {
            return;
        }
        self.see(&Seen::RightsChange { node });
        let here = &mut self.scene.nodes[node];
        here.process = Process::Paused;
        here.address.excused = true;
        let life = here.life;
        self.at(lasts, Event::Resume { node, life });
    }

    /// A paused process goes on: its timers are due, its buffers full.
    pub(super) fn resume(&mut self, node: usize, life: u32) {
        let now = self.scene.now;
        let here = &mut self.scene.nodes[node];
        if here.life != life || here.process != Process::Paused {
            return;
        }
        here.process = Process::Running;
        let slack = self.options.profile.timing().heartbeat * 2;
        here.excused_until = now + here.clock.true_span(self.scene.stop + slack);
        let over = here.excused_until + 1;
        let inbox = std::mem::take(&mut here.inbox);
        let deferred = std::mem::take(&mut here.deferred);
        self.note(Column::of(node), || "goes on".into());
        self.queue.push(over, Event::Recheck { node });
        self.addresses_look(node);
        if self.prng.chance(500_000) {
            self.feed(node, Input::Timeout);
        }
        for parcel in inbox {
            self.receive(node, &parcel);
        }
        for slot in deferred {
            self.finish(node, slot);
        }
        self.plain_resume(node);
        self.feed(node, Input::Timeout);
        self.schedule_stream(node);
    }

    /// A node whose storage failed is restarted, unless something else happened to it.
    pub(super) fn storage_restart(&mut self, node: usize, life: u32) {
        let here = &self.scene.nodes[node];
        if here.life == life && here.process == Process::Running {
            self.kill(node, false, 100 * MS);
        }
    }

    /// One permanent loss at a time: the storage of both nodes must be there, and W's register. An
    /// override that not everybody heard of counts as one: its witness alone knows who lost.
    fn may_lose_witness(&self) -> bool {
        if self.scene.may_overlap() {
            return false;
        }
        let known = |node: &crate::node::Node| {
            node.disk.saved.incarnation == self.scene.witness.incarnation && !node.lost_storage
        };
        // A blank node does not count at an adoption: then the other must be able to go alone.
        let blank = |node: &crate::node::Node| node.disk.saved.state == DataState::Blank;
        let alone = (0..2).any(|node| self.scene.may_run_alone(node));
        (alone || !self.scene.nodes.iter().any(blank))
            && self.scene.has_arbiter()
            && self.scene.witness.told
            && self.scene.nodes.iter().all(known)
    }

    fn lose_witness(&mut self, down: u64) {
        self.witness_kill();
        let witness = &mut self.scene.witness;
        witness.stored = None;
        witness.told = false;
        witness.told_record = None;
        witness.disk_fail = false;
        witness.incarnation = Incarnation(self.prng.next_u64() | 1);
        let life = witness.life;
        self.plain_lost();
        self.note(Column::W, || "replaced".into());
        self.at(down, Event::WitnessBoot { life });
    }

    /// Only while the set is {A,B}, and nothing else is lost (G4).
    fn may_lose_node(&self, node: usize) -> bool {
        if self.scene.may_overlap() {
            return false;
        }
        let both = NodeSet::from_bits(3);
        let peer = &self.scene.nodes[1 - node];
        let complete = |node: &crate::node::Node| {
            node.disk.saved.state == DataState::Complete && !node.lost_storage
        };
        let sound = self.scene.nodes.iter().all(complete);
        match self.scene.vote {
            Vote::Arbiter => {
                let register = self.scene.register();
                let life = self.scene.witness.incarnation;
                let known = peer.disk.saved.incarnation == life;
                sound
                    && known
                    && self.scene.witness.told
                    && self.scene.witness.told_record.is_some_and(|told| told.set == both)
                    && register.is_some_and(|register| register.membership.set == both)
            }
            Vote::None | Vote::Manual | Vote::Ping => {
                let head = self.scene.nodes[node].disk.log.head();
                let same = peer.disk.log.has(head.seq, head.chain);
                let set = |node: &crate::node::Node| node.disk.saved.membership;
                let (here, there) = (set(&self.scene.nodes[node]), set(peer));
                sound && same && here == there && here.set == both
            }
        }
    }

    fn lose_node(&mut self, node: usize, down: u64) {
        if self.scene.nodes[node].process == Process::Down {
            return;
        }
        self.kill(node, true, down);
        self.see(&Seen::Lost { node });
        let store = self.prng.next_u64();
        let here = &mut self.scene.nodes[node];
        here.disk = Disk::blank(blank_saved(here.id, store));
        here.host = Host::default();
        here.lost_storage = true;
        here.ailments.disk_fail = false;
        self.note(Column::of(node), || "replaced by a blank one".into());
    }
}
