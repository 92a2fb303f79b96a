//! The table of requests (`CONTRACT.md` "Messages"), and how W is replaced: every change of W's
//! register is what one ask that it read makes of the register that it had.
//!
//! The table is written down here once more, by itself: nothing of it is `ha_quorum`'s.

use ha_proto::{DataState, Epoch, Incarnation, Instant, Membership, NodeSet};
use ha_quorum::{Answer, Ask, Outcome, Register, Request, longer};

use super::{Check, Seen};
use crate::fact::Fact;
use crate::network::Site;
use crate::scene::Scene;
use crate::witness::Storing;

/// Compares each register that is stored with the table. What it remembers is of one life of W's
/// process: leases and Adopts in hand are forgotten with it.
#[derive(Debug, Default)]
pub(super) struct Table {
    life: (u32, Incarnation),
    /// What is being read.
    reading: Option<Ask>,
    /// The end of the lease that W gave, by its own clock.
    lease: Option<Instant>,
    /// When W adopted a register in this life: its grace is of L from then.
    adopted: Option<Instant>,
    /// Every Adopt that was read.
    adopts: Vec<Ask>,
}

impl Table {
    fn live(&mut self, scene: &Scene) {
        // What a plain store knows is in it, whatever its processes do.
        let process = if scene.witness.plain.is_none() { scene.witness.life } else { 0 };
        let life = (process, scene.witness.incarnation);
        if self.life != life {
            *self = Self { life, ..Self::default() };
        }
    }

    /// "Lease until received + L(1+ρ)": a Renew is answered when it is read.
    fn answered(&mut self, scene: &Scene, answer: &Answer) {
        let Some(ask) = self.reading.filter(|ask| ask.request == Request::Renew) else { return };
        let same = (answer.to, answer.boot, answer.number) == (ask.from, ask.boot, ask.number);
        let same = same && scene.witness.plain.is_none();
        if same && answer.outcome == Outcome::Ok {
            let end = scene.witness.clock.local(scene.now) + longer(ask.lease);
            self.lease = self.lease.max(Some(end));
        }
    }

    fn stored(&mut self, scene: &Scene, new: &Register, step: &Storing) -> Result<(), String> {
        let witness = &scene.witness;
        let now = match &witness.plain {
            None => witness.clock.local(scene.now),
            Some(_) => step.at,
        };
        // A store that failed may have left anything: what W goes by is stored once more.
        if witness.kept == Some(*new) {
            return Ok(());
        }
        let (old, ask) = (witness.kept, &step.ask);
        let fits = match old {
            Some(old) => changes(&old, new, ask) && self.is_free(scene, &old, new, step),
            None => new.lease == ask.lease && self.begins(new, ask),
        };
        if !fits || new.incarnation != witness.incarnation {
            let old = old.map_or("nothing".into(), |old| old.membership.to_string());
            let (by, request) = (ask.from, ask.request);
            return Err(format!("W makes {} of {old}, as {by} asks {request:?}", new.membership));
        }
        match ask.request {
            Request::Give { .. } => self.lease = None,
            // In a plain store a renewal is a write. Whoever sees it counts L(1+ρ), on a clock that
            // may be too fast by as much: L of true time.
            Request::Renew => self.lease = Some(step.at + new.lease),
            Request::Adopt { .. } => self.adopted = Some(now),
            _ => {}
        }
        Ok(())
    }

    /// Take: "the lease has ended", unless the sender holds already. Force: "lease and grace are
    /// over". R9: no other holder within L of W's boot; nor of an adoption ("grace L").
    fn is_free(&self, scene: &Scene, old: &Register, new: &Register, step: &Storing) -> bool {
        let moved = old.membership.holder != new.membership.holder;
        let takes = moved && step.ask.request == Request::Take;
        let forces = matches!(step.ask.request, Request::Force { .. });
        let leased = self.lease.is_some_and(|end| step.at < end);
        let witness = &scene.witness;
        let (since, least) = match &witness.plain {
            None => {
                let booted = Some(witness.clock.local(witness.booted));
                (self.adopted.max(booted), longer(old.lease))
            }
            Some(_) => (self.adopted, old.lease),
        };
        let grace = since.is_some_and(|since| step.at < since + least);
        let held = (takes || forces) && leased;
        !held && !((moved || forces) && grace)
    }

    /// Where W has no register.
    fn begins(&self, new: &Register, ask: &Ask) -> bool {
        let new = &new.membership;
        match ask.request {
            Request::Create { data, .. } => {
                new.is_alone(ask.from) && new.data == data && new.epoch > ask.expected
            }
            Request::Adopt { membership, state, .. } => {
                let alone = state == DataState::Complete && membership.is_alone(ask.from);
                let others = self.adopts.iter().filter(|other| other.from != ask.from);
                let mut both = others.filter(|other| other.lease == ask.lease);
                alone && follows(new, &membership, membership.set)
                    || both.any(|other| reconciles(new, ask, other))
            }
            _ => false,
        }
    }
}

impl Check for Table {
    fn rule(&self) -> &'static str {
        "table of requests"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Asked { ask } => {
                self.live(scene);
                self.reading = Some(*ask);
                if let Request::Adopt { incarnation, .. } = ask.request
                    && incarnation == scene.witness.incarnation
                {
                    self.adopts.push(*ask);
                }
                Ok(())
            }
            Seen::Stored { step } => {
                let Some(new) = scene.register() else { return Ok(()) };
                self.stored(scene, new, step)
            }
            Seen::Sent { from: Site::Witness, fact: Fact::Answer(answer) } => {
                self.answered(scene, answer);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// One row of the table: whether `ask` makes `new` of `old`. "L is the register's; a node
/// configured otherwise is refused."
fn changes(old: &Register, new: &Register, ask: &Ask) -> bool {
    let (was, is) = (&old.membership, &new.membership);
    let same = new.lease == old.lease && ask.lease == old.lease && is.data == was.data;
    if !same || ask.expected != was.epoch {
        return false;
    }
    let only = NodeSet::only(ask.from);
    let holds = was.holder == ask.from;
    let rises = is.epoch > was.epoch;
    match ask.request {
        Request::Renew => holds && is == was,
        Request::Take => {
            let member = was.set.contains(ask.from);
            member && rises && is.holder == ask.from && is.set == was.set
        }
        Request::Exclude => holds && rises && is.holder == was.holder && is.set == only,
        Request::Admit { peer } => {
            let both = only.with(peer);
            holds && rises && both.len() == 2 && is.holder == was.holder && is.set == both
        }
        Request::Give { to } => {
            let other = to != ask.from && was.set.contains(to);
            holds && rises && other && is.holder == to && is.set == was.set
        }
        Request::Force { membership } => {
            let above = is.epoch.counter() > was.epoch.counter().max(membership.epoch.counter());
            above && is.is_alone(ask.from)
        }
        Request::Read | Request::Create { .. } | Request::Adopt { .. } => false,
    }
}

/// "W writes the higher record, counter + 2", with this set.
fn follows(new: &Membership, record: &Membership, set: NodeSet) -> bool {
    let epoch = Epoch::new(record.epoch.counter() + 2, record.holder);
    *new == Membership { epoch, set, ..*record }
}

/// "With both in hand, neither `Blank`": whoever else is in the higher set stays there only as one
/// that G4's *Member* can ask for everything: by its own record too, and `Complete`.
fn reconciles(new: &Membership, one: &Ask, other: &Ask) -> bool {
    let (Some(mine), Some(theirs)) = (adopts(one), adopts(other)) else { return false };
    if mine.0 == DataState::Blank || theirs.0 == DataState::Blank || mine.1.data != theirs.1.data {
        return false;
    }
    let higher = if mine.1.epoch > theirs.1.epoch { mine.1 } else { theirs.1 };
    let mut set = higher.set;
    for (node, (state, record)) in [(one.from, mine), (other.from, theirs)] {
        let counts = state == DataState::Complete && record.set.contains(node);
        if node != higher.holder && !counts {
            set = set.without(node);
        }
    }
    // "W's set is always a subset of" the holder's: by every record that can tell what that is.
    for (node, (_, record)) in [(one.from, mine), (other.from, theirs)] {
        if node == higher.holder || record.epoch == higher.epoch {
            set = NodeSet::from_bits(set.bits() & record.set.bits());
        }
    }
    follows(new, &higher, set.with(higher.holder))
}

fn adopts(ask: &Ask) -> Option<(DataState, Membership)> {
    match ask.request {
        Request::Adopt { membership, state, .. } => Some((state, membership)),
        _ => None,
    }
}
