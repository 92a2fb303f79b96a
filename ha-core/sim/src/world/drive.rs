//! What a driver does: feeds a node, performs what it wants, wakes it in time.

use ha_core::{Destination, Effect, Event as Told, Input, Order, Output};
use ha_proto::{Deadline, Ticket};

use super::World;
use crate::check::Seen;
use crate::fact::Fact;
use crate::network::{Channel, Parcel, Site};
use crate::node::{Fate, Process};
use crate::queue::Event;
use crate::trace::Column;
use crate::weather::MS;

/// The queues in which effects keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Save,
    Log,
    Apply,
    App,
    Address,
}

impl World {
    /// A node's deadline may have come.
    pub(super) fn timer(&mut self, node: usize) {
        let now = self.scene.now;
        let here = &mut self.scene.nodes[node];
        if here.timer != Some(now) {
            return;
        }
        here.timer = None;
        let Some(mirror) = here.mirror.as_ref().filter(|_| here.process == Process::Running) else {
            return;
        };
        let deadline = mirror.poll_timeout();
        if deadline.is_some_and(|deadline| deadline.at <= here.local(now)) {
            self.feed(node, Input::Timeout);
        } else {
            self.arm(node, deadline);
        }
    }

    /// Gives a running node one fact, and does what it wants.
    pub(crate) fn feed(&mut self, node: usize, input: Input<'_>) {
        let here = &mut self.scene.nodes[node];
        assert!(here.process == Process::Running, "a process that does not run was fed");
        let local = here.clock.local(self.scene.now);
        let mirror = here.mirror.as_mut().expect("a running process has its machine");
        mirror.handle_input(local, input);
        self.drain(node);
    }

    /// Gives a running node an order, and does what it wants.
    pub(crate) fn give(&mut self, node: usize, order: Order) {
        let here = &mut self.scene.nodes[node];
        let local = here.clock.local(self.scene.now);
        let mirror = here.mirror.as_mut().expect("a running process has its machine");
        if let Err(error) = mirror.order(local, order) {
            self.note(Column::of(node), || format!("refused: {error:?}"));
        }
        self.drain(node);
    }

    /// Does everything that a node wants now.
    pub(super) fn drain(&mut self, node: usize) {
        for turn in 0.. {
            self.poll(node);
            self.pump(node);
            let here = &mut self.scene.nodes[node];
            let local = here.clock.local(self.scene.now);
            let mirror = here.mirror.as_mut().expect("it runs");
            let deadline = mirror.poll_timeout();
            let Some(due) = deadline.filter(|deadline| deadline.at <= local) else {
                return self.arm(node, deadline);
            };
            assert!(turn < TURNS_MAX, "node {node} spins: {} is due again", due.why);
            mirror.handle_input(local, Input::Timeout);
        }
    }

    fn poll(&mut self, node: usize) {
        loop {
            let mirror = self.scene.nodes[node].mirror.as_mut().expect("it runs");
            match mirror.poll_output() {
                Some(Output::Transmit { to, datagram }) => {
                    let (to, link) = match to {
                        Destination::Peer(link) => (Site::Node(1 - node), link),
                        Destination::Witness => (Site::Witness, ha_proto::LinkId(0)),
                    };
                    let fact = Fact::read(&datagram);
                    self.observe_sent(node, &fact);
                    if let (Fact::Ask(ask), true) = (&fact, self.scene.witness.plain.is_some()) {
                        self.plain_ask(node, ask);
                        continue;
                    }
                    self.send(Parcel { from: Site::Node(node), to, link, datagram, fact });
                }
                Some(Output::Effect { ticket, effect }) => self.begin_effect(node, ticket, effect),
                Some(Output::Event(event)) => self.told(node, &event),
                None => break,
            }
        }
    }

    /// Sees that a node wakes for its deadline.
    fn arm(&mut self, node: usize, deadline: Option<Deadline>) {
        let now = self.scene.now;
        let here = &mut self.scene.nodes[node];
        let Some(deadline) = deadline else { return };
        let at = here.clock.true_at(deadline.at);
        assert!(at > now, "a deadline that is due was just handled");
        if here.timer.is_none_or(|timer| at < timer || timer < now) {
            here.timer = Some(at);
            self.queue.push(at, Event::Timer { node });
        }
    }

    fn observe_sent(&mut self, node: usize, fact: &Fact) {
        let now = self.scene.now;
        self.see(&Seen::Sent { from: Site::Node(node), fact });
        let here = &mut self.scene.nodes[node];
        let local = here.local(now);
        match fact {
            Fact::Beat(beat) => here.rights.beat_sent(local, beat),
            Fact::Ask(ask) => {
                here.rights.asked(local, ask);
                let text = || format!("-> W #{} {:?} at {}", ask.number, ask.request, ask.expected);
                self.note(Column::of(node), text);
            }
            Fact::Answer(_) => unreachable!("only the witness answers"),
        }
    }

    fn told(&mut self, node: usize, event: &Told) {
        self.note(Column::of(node), || format!("{event:?}"));
        if *event == Told::StorageFailed && !self.scene.nodes[node].storage_failed {
            self.scene.nodes[node].storage_failed = true;
            let life = self.scene.nodes[node].life;
            let after = self.prng.below(2 * self.options.lease());
            self.at(after, Event::StorageRestart { node, life });
        }
        self.see(&Seen::Told { node, event });
        self.addresses_told(node, event);
    }

    fn begin_effect(&mut self, node: usize, ticket: Ticket, effect: Effect) {
        self.note(Column::of(node), || describe(&effect));
        self.see(&Seen::Begins { node, effect: &effect });
        let lane = lane(&effect);
        let fate = self.draw_fate(node, &effect);
        let takes = self.draw_time(node, &effect);
        if let Effect::StartApp { epoch, head } = effect {
            self.app_starts(node, epoch, head);
        }
        let now = self.scene.now;
        let here = &mut self.scene.nodes[node];
        if let Effect::Fence { .. } = effect {
            here.host.stops_by = Some(here.rights.until().unwrap_or(here.local(now)));
        }
        let life = here.life;
        let mut at = now + takes;
        if let Some(lane) = lane {
            let end = &mut here.effects.ends[lane as usize];
            at = at.max(*end + 1);
            *end = at;
        }
        let slot = here.effects.push(now, ticket, effect, fate);
        self.queue.push(at, Event::Effect { node, life, slot });
    }

    fn draw_fate(&mut self, node: usize, effect: &Effect) -> Fate {
        let now = self.scene.now;
        let fail = self.prng.chance(self.weather.fail);
        let ailments = &mut self.scene.nodes[node].ailments;
        match effect {
            Effect::Save(_)
            | Effect::Append(_)
            | Effect::SetAside { .. }
            | Effect::Truncate { .. }
                if ailments.disk_fail =>
            {
                ailments.disk_fail = false;
                Fate::Failed
            }
            Effect::Append(_) if ailments.disk_full > now => Fate::Full,
            Effect::Probe { .. } => {
                let reached = self.reaches_outside(node) && !self.prng.chance(self.weather.loss);
                if reached { Fate::Done } else { Fate::Failed }
            }
            Effect::TakeAddress { .. }
            | Effect::KeepAddress { .. }
            | Effect::AdoptAddress { .. }
            | Effect::AdoptApp { .. }
            | Effect::DropAddress
            | Effect::StartApp { .. }
            | Effect::StopApp { force: false }
                if fail || ailments.app_fail > now =>
            {
                Fate::Failed
            }
            Effect::Save(_)
            | Effect::Append(_)
            | Effect::SetAside { .. }
            | Effect::Truncate { .. }
            | Effect::Read { .. }
            | Effect::Apply(_)
            | Effect::Reset
            | Effect::TakeAddress { .. }
            | Effect::KeepAddress { .. }
            | Effect::AdoptAddress { .. }
            | Effect::AdoptApp { .. }
            | Effect::DropAddress
            | Effect::StartApp { .. }
            | Effect::StopApp { .. }
            | Effect::Fence { .. } => Fate::Done,
        }
    }

    /// Vote `ping`: the address outside stands where the witness would, on the same channels.
    fn reaches_outside(&self, node: usize) -> bool {
        let (here, there) = (Site::Node(node), Site::Witness);
        let carries =
            |from, to| self.scene.network.carries(Channel::between(from, to, ha_proto::LinkId(0)));
        let up = self.scene.witness.process == Process::Running;
        up && carries(here, there) && carries(there, here)
    }

    fn draw_time(&mut self, node: usize, effect: &Effect) -> u64 {
        let slow = self.prng.chance(self.weather.slow);
        let extra = if slow { self.prng.below(self.weather.slow_max) } else { 0 };
        let sick = self.scene.nodes[node].ailments.disk_slow > self.scene.now;
        let disk = self.weather.disk_min + self.prng.below(self.weather.disk_jitter);
        let disk = if sick { disk * 30 } else { disk };
        match effect {
            Effect::Save(_)
            | Effect::Append(_)
            | Effect::SetAside { .. }
            | Effect::Truncate { .. } => disk + extra,
            Effect::Read { .. } => 1 + disk / 8,
            // An answer, or the end of the wait for one.
            Effect::Probe { within, .. } if self.reaches_outside(node) => {
                let there_and_back = self.weather.delay_min + self.weather.delay_jitter;
                1 + self.prng.below(2 * there_and_back).min(within.as_nanos() as u64 - 1)
            }
            Effect::Probe { within, .. } => self.scene.nodes[node].clock.true_span(*within).max(1),
            Effect::Apply(_) | Effect::Reset => 1_000 + self.prng.below(100_000),
            Effect::TakeAddress { .. }
            | Effect::KeepAddress { .. }
            | Effect::AdoptAddress { .. }
            | Effect::DropAddress => 100_000 + self.prng.below(MS) + extra / 4,
            Effect::StartApp { .. } | Effect::StopApp { .. } | Effect::AdoptApp { .. } => {
                MS + self.prng.below(30 * MS) + extra
            }
            Effect::Fence { .. } => {
                let most = self.scene.nodes[node].clock.true_span(self.scene.stop);
                let usual = self.prng.below(most / 8);
                if slow { most - usual } else { 1 + usual }
            }
        }
    }
}

/// What is sent may make a machine due again at once; a few times, not for ever.
const TURNS_MAX: u32 = 64;

fn lane(effect: &Effect) -> Option<Lane> {
    match effect {
        Effect::Save(_) => Some(Lane::Save),
        Effect::Append(_) | Effect::SetAside { .. } | Effect::Truncate { .. } => Some(Lane::Log),
        Effect::Apply(_) | Effect::Reset => Some(Lane::Apply),
        Effect::StartApp { .. } | Effect::StopApp { .. } | Effect::AdoptApp { .. } => {
            Some(Lane::App)
        }
        Effect::TakeAddress { .. }
        | Effect::KeepAddress { .. }
        | Effect::AdoptAddress { .. }
        | Effect::DropAddress => Some(Lane::Address),
        Effect::Read { .. } | Effect::Fence { .. } | Effect::Probe { .. } => None,
    }
}

/// An effect in a few words, for the trace.
fn describe(effect: &Effect) -> String {
    match effect {
        Effect::Save(saved) => format!(
            "save {} {:?} w{:04x} lineage {}",
            saved.membership,
            saved.state,
            saved.incarnation.0 >> 48,
            saved.lineage.entries().len()
        ),
        Effect::Append(batch) => format!("append {}..{}", batch.first, batch.last),
        Effect::Apply(batch) => format!("apply {}..{}", batch.first, batch.last),
        Effect::SetAside { .. }
        | Effect::Truncate { .. }
        | Effect::Read { .. }
        | Effect::Reset
        | Effect::TakeAddress { .. }
        | Effect::KeepAddress { .. }
        | Effect::AdoptAddress { .. }
        | Effect::AdoptApp { .. }
        | Effect::DropAddress
        | Effect::StartApp { .. }
        | Effect::StopApp { .. }
        | Effect::Probe { .. }
        | Effect::Fence { .. } => format!("{effect:?}"),
    }
}
