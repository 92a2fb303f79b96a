//! What a driver does: feeds a member's machine, performs what it wants in order, wakes it in
//! time.

use bytes::Bytes;
use ha_core::farm::{Effect, Event as MachineEvent, Input, Output};
use ha_proto::{Deadline, Ticket};

use super::{Event, World};
use crate::farm::check::Seen;
use crate::farm::fact::{self, Fact};
use crate::farm::network::Parcel;
use crate::farm::node::Node;
use crate::farm::scene;
use crate::trace::Column;

impl World {
    /// A member's deadline may have come.
    pub(super) fn timer(&mut self, node: usize) {
        let now = self.scene.now;
        let here = &mut self.scene.nodes[node];
        if here.timer != Some(now) {
            return;
        }
        here.timer = None;
        if here.runs() && here.busy.is_none() {
            self.wake(node);
        }
    }

    /// Calls a running machine if it is due, and sees that it is called again.
    pub(super) fn wake(&mut self, node: usize) {
        let local = self.scene.nodes[node].local(self.scene.now);
        let farm = self.scene.nodes[node].farm.as_ref().expect("a running daemon has its machine");
        let deadline = farm.poll_timeout();
        if deadline.is_some_and(|deadline| deadline.at <= local) {
            self.feed(node, Input::Timeout);
        } else {
            self.arm(node, deadline);
        }
    }

    /// Gives a running machine one fact, and does what it wants.
    pub(super) fn feed(&mut self, node: usize, input: Input<'_>) {
        self.hand_in(node, input);
        self.drain(node);
    }

    fn hand_in(&mut self, node: usize, input: Input<'_>) {
        self.observe_gap(node);
        let here = &mut self.scene.nodes[node];
        let local = here.clock.local(self.scene.now);
        let farm = here.farm.as_mut().expect("a running daemon has its machine");
        here.acted = local;
        farm.handle_input(local, input);
    }

    /// Does everything that a machine wants now, until the driver has to wait for the kernel.
    pub(super) fn drain(&mut self, node: usize) {
        for turn in 0.. {
            if !self.perform_all(node) {
                return;
            }
            let here = &mut self.scene.nodes[node];
            if let Some((ticket, ok)) = here.answers.pop_front() {
                self.hand_in(node, Input::Done { ticket, ok });
                continue;
            }
            let local = here.clock.local(self.scene.now);
            let deadline = here.farm.as_ref().expect("it runs").poll_timeout();
            here.expected = deadline.map(|deadline| deadline.at);
            let Some(due) = deadline.filter(|deadline| deadline.at <= local) else {
                self.arm(node, deadline);
                break;
            };
            assert!(turn < TURNS_MAX, "member {node} spins: {} is due again", due.why);
            self.hand_in(node, Input::Timeout);
        }
        self.see(&Seen::Settled { node });
    }

    /// Performs what is wanted, in order; `false` when the driver waits.
    fn perform_all(&mut self, node: usize) -> bool {
        loop {
            let here = &mut self.scene.nodes[node];
            if here.busy.is_some() {
                return false;
            }
            let farm = here.farm.as_mut().expect("a running daemon has its machine");
            let Some(output) = here.outputs.pop_front().or_else(|| farm.poll_output()) else {
                return true;
            };
            match output {
                Output::Transmit { link, to, datagram } => {
                    assert!(datagram.len() <= DATAGRAM_MAX, "a datagram would be fragmented");
                    let fact = self.read(node, &datagram);
                    let to = usize::from(to.as_u8());
                    self.note_plan(&fact, &datagram);
                    self.observe_sent(node, &fact);
                    self.send(&Parcel { from: node, to, link: link.0, datagram, fact });
                }
                Output::Effect { ticket, effect } => self.begin_effect(node, ticket, effect),
                Output::Event(event) => {
                    self.note(Column::Member(node), || format!("{event:?}"));
                    self.observe_pause(node, event);
                    self.see(&Seen::Told { node, event });
                }
            }
        }
    }

    fn read(&mut self, node: usize, datagram: &Bytes) -> Fact {
        let same =
            |known: &Bytes| known.as_ptr() == datagram.as_ptr() && known.len() == datagram.len();
        match &self.sent {
            Some((from, known, fact)) if *from == node && same(known) => fact.clone(),
            Some(_) | None => {
                let fact = Fact::read(node, datagram);
                self.sent = Some((node, datagram.clone(), fact.clone()));
                fact
            }
        }
    }

    /// A machine that says that it was late was.
    fn observe_pause(&mut self, node: usize, event: MachineEvent) {
        let MachineEvent::Paused(late) = event else { return };
        if self.scene.nodes[node].begun_at != self.scene.now {
            self.see(&Seen::Paused { node, late });
        }
    }

    fn observe_sent(&mut self, node: usize, fact: &Fact) {
        self.see(&Seen::Sent { node, fact });
        let here = &mut self.scene.nodes[node];
        match fact {
            Fact::Beat(said) => {
                let before = here.said.replace(said.clone());
                here.view = here.view.max(said.view);
                if said.members.contains(scene::id(node)) {
                    here.own.insert(said.view);
                }
                here.beats.truncate(Node::BEATS_MAX - 1);
                here.beats.push_front((said.number, here.acted));
                here.highest = here.highest.max(said.view.counter).max(said.highest);
                here.beat_at = here.acted;
                let enters = before.as_ref().is_none_or(|before| before.view != said.view);
                let news = before.as_ref().is_none_or(|before| {
                    (before.view, before.takes, before.hears) != (said.view, said.takes, said.hears)
                });
                let accords = |said: &fact::Said| (said.accord, said.next);
                let differs = before.as_ref().is_none_or(|before| accords(before) != accords(said));
                if news {
                    self.note(Column::Member(node), || fact::show(said));
                }
                if differs {
                    // That may be over by the next look.
                    self.note_differing();
                }
                // Whoever installed a view has its table, whether it takes in it or not.
                if said.takes || (said.members.contains(scene::id(node)) && enters) {
                    self.note_view(node, said.view);
                }
            }
            Fact::Propose { id, .. } => {
                here.highest = here.highest.max(id.counter);
                self.note(Column::Member(node), || format!("proposes {id}"));
            }
            Fact::Passes { id, .. } => {
                self.note(Column::Member(node), || format!("passes {id} on"));
            }
            Fact::Part { .. } => {}
            Fact::Pull { id, .. } => {
                self.note(Column::Member(node), || format!("pulls {id}"));
            }
        }
    }

    fn begin_effect(&mut self, node: usize, ticket: Ticket, effect: Effect) {
        match effect {
            Effect::Filter(_) | Effect::Lease(_) | Effect::Shut => {
                if self.prng.chance(self.weather.slow) {
                    let life = self.scene.nodes[node].life;
                    self.hold_back(node);
                    self.scene.nodes[node].busy = Some((ticket, effect));
                    let delay = 1 + self.prng.below(self.weather.slow_max);
                    return self.at(delay, Event::Written { node, life });
                }
                self.write(node, ticket, &effect);
            }
            Effect::Announce(yes) => {
                self.note(Column::Member(node), || format!("announces: {yes}"));
                self.scene.nodes[node].announces = yes;
                if yes {
                    self.resolved = Some(node);
                }
                self.scene.nodes[node].answers.push_back((ticket, true));
                self.see(&Seen::Announce { node });
            }
            Effect::Start | Effect::Stop { .. } => {
                let starts = effect == Effect::Start;
                self.scene.nodes[node].app = starts;
                if !starts {
                    self.cut_connections(node);
                }
                let life = self.scene.nodes[node].life;
                let delay = 1 + self.prng.below(self.scene.spans.interval / 4);
                self.at(delay, Event::Answer { node, life, ticket });
            }
            Effect::Reset => {
                self.cut_connections(node);
                self.scene.nodes[node].answers.push_back((ticket, true));
            }
        }
    }

    /// The driver waits for the kernel: what the machine wants besides waits too, and the machine
    /// itself says when it is to be called.
    fn hold_back(&mut self, node: usize) {
        let here = &mut self.scene.nodes[node];
        let farm = here.farm.as_mut().expect("a running daemon has its machine");
        here.outputs.extend(core::iter::from_fn(|| farm.poll_output()));
        here.expected = farm.poll_timeout().map(|deadline| deadline.at);
    }

    /// A slow write is done.
    pub(super) fn written(&mut self, node: usize, life: u32) {
        let here = &mut self.scene.nodes[node];
        if here.life != life {
            return;
        }
        let (ticket, effect) = here.busy.take().expect("it waits for this");
        self.write(node, ticket, &effect);
        if self.scene.nodes[node].runs() {
            self.catch_up(node);
        }
    }

    /// A driver goes on: what is left to perform, then what came meanwhile.
    pub(super) fn catch_up(&mut self, node: usize) {
        self.drain(node);
        if self.scene.nodes[node].busy.is_none() {
            self.hear_orders(node);
        }
        self.drain(node);
        while self.scene.nodes[node].runs() && self.scene.nodes[node].busy.is_none() {
            let Some(parcel) = self.scene.nodes[node].inbox.pop_front() else { break };
            self.receive(&parcel);
        }
    }

    /// An effect that took its time is answered.
    pub(super) fn answered(&mut self, node: usize, life: u32, ticket: Ticket) {
        let here = &mut self.scene.nodes[node];
        if here.life != life {
            return;
        }
        here.answers.push_back((ticket, true));
        if here.runs() && here.busy.is_none() {
            self.drain(node);
        }
    }

    /// Writes into a kernel, or fails to, and has the answer ready.
    fn write(&mut self, node: usize, ticket: Ticket, effect: &Effect) {
        let fails = match effect {
            Effect::Filter(_) => {
                self.scene.nodes[node].write_fails > 0 || self.prng.chance(self.weather.fail)
            }
            Effect::Lease(_)
            | Effect::Shut
            | Effect::Announce(_)
            | Effect::Start
            | Effect::Stop { .. }
            | Effect::Reset => false,
        };
        self.scene.nodes[node].answers.push_back((ticket, !fails));
        if matches!(effect, Effect::Filter(_)) {
            self.scene.nodes[node].write_failed = fails;
        }
        if fails {
            self.scene.nodes[node].hurt_at = self.scene.now;
            return self.note(Column::Member(node), || "the filter cannot be written".into());
        }
        let was_open = self.scene.is_open(node);
        let old = self.scene.nodes[node].kernel.filter.clone();
        let kernel = &mut self.scene.nodes[node].kernel;
        let was = kernel.until;
        match effect {
            Effect::Filter(filter) => {
                kernel.filter = Some(filter.clone());
                self.scene.written_at = self.scene.now;
                self.note_moves(node, old.as_deref());
                self.note(Column::Member(node), || super::settle::show(filter));
            }
            Effect::Lease(until) => kernel.until = Some(*until),
            Effect::Shut => {
                kernel.until = None;
                self.note(Column::Member(node), || "shut".into());
            }
            Effect::Announce(_) | Effect::Start | Effect::Stop { .. } | Effect::Reset => {
                unreachable!("not written into the kernel")
            }
        }
        if let Effect::Lease(until) = *effect {
            if !was_open {
                self.note(Column::Member(node), || format!("open until {until}"));
            }
            self.see(&Seen::Leased { node, until, was, was_open });
        }
        self.see(&Seen::Kernel { node, old: old.as_deref(), was_open });
    }

    /// Sees that a machine wakes for its deadline.
    pub(super) fn arm(&mut self, node: usize, deadline: Option<Deadline>) {
        let now = self.scene.now;
        let here = &mut self.scene.nodes[node];
        here.expected = deadline.map(|deadline| deadline.at);
        let Some(deadline) = deadline else { return };
        let at = here.clock.true_at(deadline.at);
        assert!(at > now, "a deadline that is due was just handled");
        if here.timer.is_none_or(|timer| at < timer || timer < now) {
            here.timer = Some(at);
            self.queue.push(at, Event::Timer { node });
        }
    }
}

/// More calls at one instant are a machine that spins.
const TURNS_MAX: u32 = 1_000;
/// No datagram of a farm is longer (`CONTRACT-FARM.md` "Messages").
const DATAGRAM_MAX: usize = 1_200;
