//! The machine: all addresses of a node, as one.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use ha_proto::{Deadline, Epoch, Instant, Machine, Outbox, Ticket};

use crate::slot::{Ended, Slot, Touched};
use crate::{
    Address, ArpForm, Config, Counters, Event, Input, InterfaceId, Mac, OnRemoved, Output,
    Sighting, arp_announcement, arp_probe, neighbor_advertisement, neighbor_question,
};

/// The virtual addresses of a node, owned by one epoch and moving as one.
///
/// - Facts: [`handle`](Machine::handle) and [`deadline`](Machine::deadline).
/// - Questions: [`epoch`](Self::epoch), [`counters`](Self::counters).
///
/// What it keeps to:
/// - taken is what is set and confirmed, all of it; where one address fails, all are released;
/// - an address is believed to be there until its lifetime is over, counted from when its setting
///   was asked and not from when that was done, and not a moment longer (R10);
/// - only what is taken is announced: never before, never after the release was asked, never an
///   address that others removed;
/// - one effect for each address is under way at a time, so none overtakes another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSet {
    phase: Phase,
    slots: Vec<Slot>,
    interfaces: Vec<Interface>,
    refresh: Duration,
    on_removed: OnRemoved,
    tickets: u64,
    counters: Counters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is asked; at the start, addresses may be left over.
    Off,
    Taking(Claim),
    Owning(Claim),
    Releasing {
        /// What waits for the end of it.
        then: Option<Claim>,
    },
}

/// A right to the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    epoch: Epoch,
    until: Instant,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Interface {
    mac: Option<Mac>,
    up: bool,
}

impl Claim {
    /// Both rights, in the name of the newer one; an older one adds nothing (R3).
    fn extended(self, other: Self) -> Self {
        if other.epoch < self.epoch {
            return self;
        }
        Self { epoch: other.epoch, until: self.until.max(other.until) }
    }
}

impl Interface {
    /// Who sends on it, if anybody can.
    fn sender(self) -> Option<Mac> {
        self.mac.filter(|_| self.up)
    }
}

impl AddressSet {
    /// The shortest time between two [`Event::Conflict`]s of one address: enough for an operator's
    /// log, and no more than a log can take.
    pub const CONFLICT_PACE: Duration = Duration::from_secs(1);

    /// A set that owns nothing, and does not know what an earlier process left.
    pub fn new(config: &Config) -> Self {
        let slots: Vec<_> = config.addresses.iter().copied().map(Slot::new).collect();
        assert!(slots.len() <= Config::ADDRESSES_MAX, "a call would not fit in the outbox");
        Self {
            phase: Phase::Off,
            slots,
            interfaces: (0..config.interfaces).map(|_| Interface::default()).collect(),
            refresh: config.refresh,
            on_removed: config.on_removed,
            tickets: 0,
            counters: Counters::default(),
        }
    }

    /// In whose name all addresses are taken; `None` when they are not, or not all.
    pub fn epoch(&self) -> Option<Epoch> {
        match self.phase {
            Phase::Owning(claim) => Some(claim.epoch),
            Phase::Off | Phase::Taking(_) | Phase::Releasing { .. } => None,
        }
    }

    /// What was counted since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn is_owning(&self) -> bool {
        matches!(self.phase, Phase::Owning(_))
    }

    /// Whether the addresses are taken or being taken.
    fn claim(&self) -> Option<Claim> {
        match self.phase {
            Phase::Taking(claim) | Phase::Owning(claim) => Some(claim),
            Phase::Off | Phase::Releasing { .. } => None,
        }
    }

    /// Notices what vanished by itself, before anything else can be believed.
    fn advance(&mut self, now: Instant, out: &mut Outbox<Output>) {
        for slot in &mut self.slots {
            slot.tick(now);
        }
        if self.claim().is_some() {
            let ended = |slot: &&Slot| slot.ends().is_some_and(|until| until <= now);
            let gone: Vec<_> = self.slots.iter().filter(ended).map(|slot| slot.address).collect();
            if !gone.is_empty() {
                self.lose(&gone, out);
            }
        }
    }

    /// Gives all up, because of these.
    fn lose(&mut self, gone: &[Address], out: &mut Outbox<Output>) {
        if self.is_owning() {
            for &address in gone {
                self.counters.lost += 1;
                out.push(Output::Event(Event::Lost(address)));
            }
        } else if let Some(&address) = gone.first() {
            out.push(Output::Event(Event::Failed(address)));
        }
        self.release();
    }

    fn release(&mut self) {
        // What is being released goes on at its own pace.
        if !matches!(self.phase, Phase::Releasing { .. }) {
            self.slots.iter_mut().for_each(Slot::give_up);
        }
        self.phase = Phase::Releasing { then: None };
        let quiet = self.slots.iter().all(|slot| !slot.announcer.is_on() && !slot.is_held());
        assert!(quiet, "a loser would announce (FIELD row 1)");
    }

    fn take(&mut self, now: Instant, claim: Claim, out: &mut Outbox<Output>) {
        self.phase = match self.phase {
            Phase::Off if claim.until <= now => return self.lose(&[self.slots[0].address], out),
            Phase::Off => Phase::Taking(claim),
            // A newer claim is answered as the first one: at once, if nothing is amiss.
            Phase::Taking(old) => Phase::Taking(old.extended(claim)),
            Phase::Owning(old) if claim.epoch >= old.epoch => Phase::Taking(old.extended(claim)),
            Phase::Owning(old) => Phase::Owning(old),
            Phase::Releasing { then } => {
                Phase::Releasing { then: Some(then.map_or(claim, |old| old.extended(claim))) }
            }
        };
    }

    fn keep(&mut self, until: Instant) {
        match &mut self.phase {
            Phase::Off | Phase::Releasing { then: None } => {}
            Phase::Taking(claim)
            | Phase::Owning(claim)
            | Phase::Releasing { then: Some(claim) } => {
                claim.until = claim.until.max(until);
            }
        }
    }

    fn interface(&mut self, now: Instant, id: InterfaceId, interface: Interface) {
        let Some(known) = self.interfaces.get_mut(usize::from(id.0)) else { return };
        let before = core::mem::replace(known, interface);
        // That it came up is seen when announcements begin; that it is another card, only here.
        if before.sender() != interface.sender() {
            let slots = self.slots.iter_mut().filter(|slot| slot.address.interface == id);
            slots.for_each(|slot| slot.announce_anew(now));
        }
    }

    fn end(&mut self, now: Instant, ticket: Ticket, done: bool, out: &mut Outbox<Output>) {
        let wanted = self.claim().is_some();
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.is_asked(ticket)) else { return };
        let address = slot.address;
        match slot.end(now, done, wanted) {
            Ended::Quiet => {}
            Ended::PutBack => {
                self.counters.put_backs += 1;
                out.push(Output::Event(Event::PutBack(address)));
            }
            Ended::NeverSet => self.lose(&[address], out),
        }
    }

    /// Others removed an address, or set it in their own way.
    fn touch(&mut self, now: Instant, address: Address, there: bool, out: &mut Outbox<Output>) {
        let claimed = self.claim().is_some();
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.address == address) else { return };
        if !claimed {
            if there && self.phase == Phase::Off {
                out.push(Output::Event(Event::Foreign(address)));
            }
            return;
        }
        let yields = self.on_removed == OnRemoved::StepDown && !there && slot.is_held();
        if yields || slot.touch(now) == Touched::TooOften {
            self.lose(&[address], out);
        }
    }

    fn see(&mut self, now: Instant, on: InterfaceId, seen: Sighting, out: &mut Outbox<Output>) {
        // Until this node knows its own card, it cannot tell a stranger from itself.
        let known = self.interfaces.get(usize::from(on.0)).is_some_and(|here| here.mac.is_some());
        let mine = self.interfaces.iter().any(|interface| interface.mac == Some(seen.mac));
        let owning = self.is_owning() && known && !mine;
        let mut slots = self.slots.iter_mut().filter(|slot| slot.address.interface == on);
        let found = slots.find(|slot| owning && slot.address.ip == seen.ip);
        let Some(slot) = found else { return };
        self.counters.conflicts += 1;
        let silent = |then: Instant| now.saturating_since(then) >= Self::CONFLICT_PACE;
        if slot.told.is_none_or(silent) {
            slot.told = Some(now);
            out.push(Output::Event(Event::Conflict { address: slot.address, mac: seen.mac }));
        }
        slot.announce_anew(now);
    }

    /// Brings wish and fact together: one effect for each address at a time.
    fn settle(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let Self { slots, tickets, .. } = self;
        let mut ticket = || {
            *tickets += 1;
            Ticket(*tickets)
        };
        if let Phase::Releasing { then } = self.phase {
            let asked = slots.iter_mut().rev().filter_map(|slot| slot.take_off(&mut ticket));
            asked.for_each(|effect| out.push(effect));
            if slots.iter().all(Slot::is_off) {
                self.phase = released(now, then, slots[0].address, out);
            }
        }
        let (Phase::Taking(claim) | Phase::Owning(claim)) = self.phase else { return };
        let asked = slots.iter_mut().filter_map(|slot| slot.put_on(now, claim.until, &mut ticket));
        asked.for_each(|effect| out.push(effect));
        if matches!(self.phase, Phase::Taking(_)) && slots.iter().all(Slot::is_held) {
            self.phase = Phase::Owning(claim);
            out.push(Output::Event(Event::Taken(claim.epoch)));
        }
    }

    /// Announces what is due, of what is ours and there, where anybody can hear it.
    fn announce(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let owning = self.is_owning();
        for slot in &mut self.slots {
            let interface = self.interfaces[usize::from(slot.address.interface.0)];
            let Some(mac) = interface.sender().filter(|_| owning && slot.is_held()) else {
                slot.announcer.stop();
                continue;
            };
            assert!(slot.ends() > Some(now), "R10: what is gone would be announced");
            if !slot.announcer.is_on() {
                slot.announcer.begin(now);
            }
            if slot.announcer.expire(now, self.refresh) {
                self.counters.announcements += 1;
                transmit(slot.address, mac, out);
                if slot.announcer.has_settled(now) {
                    ask(slot.address, mac, out);
                }
            }
        }
    }
}

impl Machine for AddressSet {
    type Input = Input;
    type Output = Output;

    /// For each address what happened to it, an effect, both forms of an announcement, and a
    /// question; and the answers to a release and to the take that waited for it.
    const OUTPUTS_MAX: usize = 5 * Config::ADDRESSES_MAX + 3;

    fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        self.advance(now, out);
        match input {
            Input::Tick => {}
            Input::Take { epoch, lifetime } => {
                self.take(now, Claim { epoch, until: now + lifetime }, out);
            }
            Input::Keep { lifetime } => self.keep(now + lifetime),
            Input::Release => self.release(),
            Input::Interface { id, mac, up } => self.interface(now, id, Interface { mac, up }),
            Input::Announce => self.slots.iter_mut().for_each(|slot| slot.announce_anew(now)),
            Input::Done { ticket, done } => self.end(now, ticket, done, out),
            Input::Removed(address) => self.touch(now, address, false, out),
            Input::Appeared(address) => self.touch(now, address, true, out),
            Input::Sighting { interface, sighting } => self.see(now, interface, sighting, out),
        }
        self.settle(now, out);
        self.announce(now, out);
        assert!(self.deadline().is_none_or(|due| due.at > now), "the driver would spin");
    }

    fn deadline(&self) -> Option<Deadline> {
        let claimed = self.claim().is_some();
        let of = |slot: &Slot| {
            let until = slot.ends().filter(|_| claimed);
            let ends = until.map(|at| Deadline { at, why: "address lifetime" });
            let announces = slot.announcer.next().deadline("announce");
            Deadline::sooner(ends, Deadline::sooner(slot.retries(), announces))
        };
        self.slots.iter().map(of).fold(None, Deadline::sooner)
    }
}

/// All are off; what waited for that begins, unless it waited for too long.
fn released(now: Instant, then: Option<Claim>, first: Address, out: &mut Outbox<Output>) -> Phase {
    let late = then.is_some_and(|claim| claim.until <= now);
    if late {
        out.push(Output::Event(Event::Failed(first)));
    }
    out.push(Output::Event(Event::Released));
    then.filter(|_| !late).map_or(Phase::Off, Phase::Taking)
}

/// Asks who else has it: a host on which it was set long ago says nothing unless it is asked, and
/// hears no claim. What it answers is a [`Sighting`], and comes to this node alone.
fn ask(address: Address, mac: Mac, out: &mut Outbox<Output>) {
    let frame = match address.ip {
        IpAddr::V4(ip) => arp_probe(ip, mac),
        IpAddr::V6(ip) => neighbor_question(ip, mac),
    };
    out.push(Output::Transmit { interface: address.interface, frame });
}

fn transmit(address: Address, mac: Mac, out: &mut Outbox<Output>) {
    let mut send = |frame| out.push(Output::Transmit { interface: address.interface, frame });
    match address.ip {
        IpAddr::V4(ip) => {
            send(arp_announcement(ip, mac, ArpForm::Request));
            send(arp_announcement(ip, mac, ArpForm::Reply));
        }
        IpAddr::V6(ip) => send(neighbor_advertisement(ip, mac)),
    }
}
