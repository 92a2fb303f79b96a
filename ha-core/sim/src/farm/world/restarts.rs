//! Hosts and daemons that begin, end, stand still and go on.

use ha_core::farm::Farm;
use ha_proto::Boot;

use super::{Event, World};
use crate::farm::check::Seen;
use crate::farm::fact::Id;
use crate::farm::kernel::Kernel;
use crate::farm::node::Numbers;
use crate::node::Process;
use crate::trace::Column;

impl World {
    /// A host or a daemon boots, unless something else came first.
    pub(super) fn boot_after(&mut self, node: usize, life: u32) {
        let here = &self.scene.nodes[node];
        if here.life == life && here.process == Process::Down {
            self.boot(node);
        }
    }

    /// A daemon begins, with its host if that is down.
    pub fn boot(&mut self, node: usize) {
        self.read_file(node);
        self.boots += 1;
        let here = &mut self.scene.nodes[node];
        here.up = true;
        self.begin_life(node, 1_000 + self.boots);
        let here = &mut self.scene.nodes[node];
        let local = here.clock.local(self.scene.now);
        // It is started with the weights that the operator gave it last, as its file says.
        let config = self.setup.config(node, &self.scene.sets[here.file], here.weights);
        here.farm = Some(Farm::new(config, self.keys.clone(), Boot(here.boot), local));
        self.note(Column::Member(node), || "boots".into());
        self.see(&Seen::Booted { node });
        self.repeat_orders(node);
        self.drain(node);
    }

    fn begin_life(&mut self, node: usize, boot: u64) {
        let now = self.scene.now;
        self.scene.forget(node);
        let here = &mut self.scene.nodes[node];
        here.life += 1;
        here.boot = boot;
        here.process = Process::Running;
        (here.said, here.view, here.highest) = (None, Id::default(), 0);
        here.numbers.fill(Numbers::default());
        here.beats.clear();
        here.fresh = 0;
        here.write_failed = false;
        (here.begun, here.begun_at) = (here.clock.local(now), now);
        here.acted = here.begun;
        here.own.clear();
        here.gap_view = None;
        (here.timer, here.expected) = (None, None);
    }

    /// A daemon is there no more; its kernel goes on.
    pub(super) fn end_daemon(&mut self, node: usize) {
        let here = &mut self.scene.nodes[node];
        here.life += 1;
        here.process = Process::Down;
        here.farm = None;
        here.baton = None;
        // What was being written was written or not; here it was not, which is what harms.
        here.busy = None;
        here.outputs.clear();
        here.answers.clear();
        here.inbox.clear();
        here.orders.clear();
        here.announces = false;
        (here.timer, here.expected) = (None, None);
        here.stopped_at = self.scene.now;
        here.hurt_at = self.scene.now;
    }

    /// A host dies.
    pub fn kill_host(&mut self, node: usize) {
        self.end_daemon(node);
        let here = &mut self.scene.nodes[node];
        here.up = false;
        here.app = false;
        here.kernel = Kernel::default();
        self.note(Column::Member(node), || "host dies".into());
    }

    /// A daemon dies.
    pub fn kill_daemon(&mut self, node: usize) {
        self.end_daemon(node);
        self.note(Column::Member(node), || "daemon dies".into());
    }

    /// A daemon hands over to the next one, which begins after `gap`.
    pub fn hand_over(&mut self, node: usize, gap: u64) {
        let here = &mut self.scene.nodes[node];
        if !here.runs() || here.busy.is_some() {
            return;
        }
        let local = here.clock.local(self.scene.now);
        let farm = here.farm.as_mut().expect("it runs");
        let Some(baton) = farm.hand_over(local) else {
            return self.note(Column::Member(node), || "does not hand over now".into());
        };
        let expected = farm.poll_timeout().map(|deadline| deadline.at);
        let hurt = here.hurt_at;
        self.end_daemon(node);
        let here = &mut self.scene.nodes[node];
        (here.hurt_at, here.expected) = (hurt, expected);
        here.baton = Some(baton);
        let life = here.life;
        self.note(Column::Member(node), || "hands over".into());
        self.at(gap, Event::Succeed { node, life });
    }

    /// The next process begins with what was handed over.
    pub(super) fn succeed(&mut self, node: usize, life: u32) {
        let here = &mut self.scene.nodes[node];
        if here.life != life || here.process != Process::Down {
            return;
        }
        self.read_file(node);
        let here = &mut self.scene.nodes[node];
        let baton = here.baton.take().expect("it was handed over");
        let local = here.clock.local(self.scene.now);
        let config = self.setup.config(node, &self.scene.sets[here.file], here.weights);
        match Farm::adopt(config, self.keys.clone(), &baton, local) {
            Ok(farm) => {
                here.life += 1;
                here.process = Process::Running;
                here.farm = Some(farm);
                here.acted = local;
                // A boot that was not believed yet is not handed over.
                here.numbers.iter_mut().for_each(|numbers| numbers.other = None);
                self.note(Column::Member(node), || "adopts".into());
                self.see(&Seen::Adopted { node });
                self.observe_gap(node);
                self.repeat_orders(node);
                self.drain(node);
            }
            Err(_) => self.boot(node),
        }
    }

    /// A daemon stands still.
    pub fn pause(&mut self, node: usize, lasts: u64) {
        let here = &mut self.scene.nodes[node];
        if here.runs() {
            here.process = Process::Paused;
            here.stopped_at = self.scene.now;
            let life = here.life;
            self.note(Column::Member(node), || "is paused".into());
            self.at(lasts, Event::Resume { node, life });
        }
    }

    /// A paused daemon goes on.
    pub(super) fn resume(&mut self, node: usize, life: u32) {
        let here = &mut self.scene.nodes[node];
        if here.life != life || here.process != Process::Paused {
            return;
        }
        here.process = Process::Running;
        self.note(Column::Member(node), || "goes on".into());
        if self.scene.nodes[node].busy.is_none() {
            self.catch_up(node);
            if self.scene.nodes[node].runs() && self.scene.nodes[node].busy.is_none() {
                self.wake(node);
            }
        }
    }

    /// Before a machine is called: whether it did not run for longer than the slack (F6).
    pub(super) fn observe_gap(&mut self, node: usize) {
        let now = self.scene.now;
        let here = &mut self.scene.nodes[node];
        let local = here.clock.local(now);
        let Some(expected) = here.expected else { return };
        let late = local.saturating_since(expected).as_nanos();
        if late <= u128::from(self.scene.spans.slack) {
            return;
        }
        self.begin_anew(node, late);
    }

    /// A member did not run for so many nanoseconds longer than it may.
    pub(super) fn begin_anew(&mut self, node: usize, late: u128) {
        let now = self.scene.now;
        let here = &mut self.scene.nodes[node];
        let local = here.clock.local(now);
        here.expected = None;
        here.fresh = here.said.as_ref().map_or(0, |said| said.number) + 1;
        here.hurt_at = now;
        here.gap_view = Some(here.view);
        (here.begun, here.begun_at) = (local, now);
        self.scene.forget(node);
        self.note(Column::Member(node), || format!("was {} ms late", late / 1_000_000));
        self.see(&Seen::Gap { node });
    }
}
