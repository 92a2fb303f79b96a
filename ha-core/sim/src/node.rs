//! One node: its process, its disk, its application and its addresses.

use std::collections::VecDeque;

use ha_core::{Answer, Effect, Mirror, Saved};
use ha_proto::{Instant, NodeId, Ticket};
use ha_vip::AddressSet;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::host::Host;
use crate::lan::IPS;
use crate::network::Parcel;
use crate::rights::Rights;

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// It is not there.
    Down,
    /// It runs.
    Running,
    /// It is there and does not run.
    Paused,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its id; 0 is A and 1 is B.
    pub id: NodeId,
    /// What its process does.
    pub process: Process,
    /// How often its process started or ended.
    pub life: u32,
    /// Its clock.
    pub clock: Clock,
    /// The machine under test, while the process is there.
    pub mirror: Option<Mirror>,
    /// What survives.
    pub disk: Disk,
    /// The upgrade that it waits for, or that is under way.
    pub upgrade: Option<Upgrade>,
    /// Its application, a part of the process, but for an upgrade.
    pub host: Host,
    /// Its addresses, a part of the kernel.
    pub address: Address,
    /// What the present boot may do, seen from outside.
    pub rights: Rights,
    /// Effects under way.
    pub effects: Effects,
    /// The earliest scheduled wake-up.
    pub timer: Option<u64>,
    /// Datagrams for a paused process, in its socket's buffer.
    pub inbox: VecDeque<Parcel>,
    /// Effects that end while the process is paused.
    pub deferred: Vec<usize>,
    /// Until when a process that was paused is excused (G2), true nanoseconds.
    pub excused_until: u64,
    /// Storage was replaced, and the witness's set does not know it yet.
    pub lost_storage: bool,
    /// Whether the storage failed in this boot.
    pub storage_failed: bool,
    /// The log's writer failed in this boot, and refuses everything.
    pub log_failed: bool,
    /// What ails it.
    pub ailments: Ailments,
}

/// A process is to be replaced by another one.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// How long that takes, true nanoseconds.
    pub gap: u64,
    /// Whether what is handed over gets lost.
    pub lost: bool,
    /// Until when the process tries to hand over.
    pub patience: u64,
    /// What it handed over: the next one is to begin.
    pub baton: Option<Vec<u8>>,
}

/// Addresses, as the kernel has them, and whoever looks after them.
#[derive(Clone, Debug, Default)]
pub struct Address {
    /// When each vanishes, true nanoseconds; 0 when it is not set.
    pub until: [u64; IPS],
    /// Whether the process was paused or killed since they were last touched (G2's exception).
    pub excused: bool,
    /// Whether a step on them failed or was late since they were last kept.
    pub shaken: bool,
    /// Which ones the kernel refuses to set or to remove.
    pub refuses: [bool; IPS],
    /// The machine, a part of the process.
    pub set: Option<AddressSet>,
    /// Which ones the process knows to be set.
    pub known: [bool; IPS],
    /// The earliest scheduled wake-up of the machine.
    pub timer: Option<u64>,
}

/// What is wrong with a node, until when (true nanoseconds).
#[derive(Clone, Copy, Debug, Default)]
pub struct Ailments {
    /// Durable writes are slow.
    pub disk_slow: u64,
    /// There is no room.
    pub disk_full: u64,
    /// The disk answers nothing.
    pub disk_hang: u64,
    /// Application and addresses fail.
    pub app_fail: u64,
    /// The next durable write fails.
    pub disk_fail: bool,
    /// How many reasons keep each of the resources down.
    pub resources_down: [u32; crate::fault::RESOURCES.len()],
}

/// An effect under way.
#[derive(Clone, Debug)]
pub struct Pending {
    /// How it is to be answered.
    pub ticket: Ticket,
    /// What.
    pub effect: Effect,
    /// How it will end.
    pub fate: Fate,
    /// The answer, once it is performed and only its answer is late.
    pub answer: Option<Answer>,
    /// When it was asked, true nanoseconds.
    pub asked: u64,
    /// In the order in which they were asked.
    pub number: u64,
}

/// How an effect ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done.
    Done,
    /// It fails.
    Failed,
    /// There is no room for it.
    Full,
}

/// The effects under way, and when each queue of them is free again.
#[derive(Debug, Default)]
pub struct Effects {
    slots: Vec<Option<Pending>>,
    free: Vec<usize>,
    number: u64,
    /// What the disk would have ended if it did not hang, in that order.
    pub hung: Vec<usize>,
    /// When the saved file, the log, the application's records, the application and the addresses
    /// are free again, true nanoseconds.
    pub ends: [u64; 5],
}

impl Node {
    /// Whether its process runs.
    pub fn runs(&self) -> bool {
        self.process == Process::Running
    }

    /// Whether its application could be answering someone now.
    pub fn serves(&self) -> bool {
        (self.runs() || self.is_handed_over()) && self.host.may_serve()
    }

    /// Whether it is between two processes of one boot, where its application runs on.
    pub fn is_handed_over(&self) -> bool {
        self.upgrade.as_ref().is_some_and(|upgrade| upgrade.baton.is_some())
    }

    /// What its clock shows.
    pub fn local(&self, now: u64) -> Instant {
        self.clock.local(now)
    }

    /// Whether its addresses are set.
    pub fn has_address(&self, now: u64) -> bool {
        self.address.last() > now
    }

    /// Whether the contract excuses that it still serves: it was paused.
    pub fn is_excused(&self, now: u64) -> bool {
        now <= self.excused_until
    }
}

impl Address {
    /// When the last of them vanishes, true nanoseconds.
    pub fn last(&self) -> u64 {
        self.until.into_iter().max().unwrap_or_default()
    }
}

impl Effects {
    /// Adds one; its slot.
    pub fn push(&mut self, asked: u64, ticket: Ticket, effect: Effect, fate: Fate) -> usize {
        self.number += 1;
        let number = self.number;
        let pending = Pending { ticket, effect, fate, answer: None, asked, number };
        if let Some(slot) = self.free.pop() {
            self.slots[slot] = Some(pending);
            return slot;
        }
        self.slots.push(Some(pending));
        self.slots.len() - 1
    }

    /// Whether a step of the application or the addresses is under way, or its answer: there is
    /// one at a time.
    pub fn is_moving(&self) -> bool {
        self.slots.iter().flatten().any(|pending| match pending.effect {
            Effect::StartApp { .. }
            | Effect::StopApp { .. }
            | Effect::TakeAddress { .. }
            | Effect::KeepAddress { .. }
            | Effect::AdoptAddress { .. }
            | Effect::AdoptApp { .. }
            | Effect::DropAddress => true,
            Effect::Save(_)
            | Effect::Append(_)
            | Effect::SetAside { .. }
            | Effect::Truncate { .. }
            | Effect::Read { .. }
            | Effect::Apply(_)
            | Effect::Reset
            | Effect::Probe { .. }
            | Effect::Fence { .. } => false,
        })
    }

    /// A step of the application that is not performed yet.
    pub fn application_step(&self) -> Option<&Effect> {
        let open = self.slots.iter().flatten().filter(|pending| pending.answer.is_none());
        let step = |effect: &&Effect| {
            matches!(
                effect,
                Effect::StartApp { .. } | Effect::StopApp { .. } | Effect::AdoptApp { .. }
            )
        };
        open.map(|pending| &pending.effect).find(step)
    }

    /// One that is not performed yet.
    pub fn under_way(&self) -> Option<&Effect> {
        let open = |pending: &&Pending| pending.answer.is_none();
        self.slots.iter().flatten().find(open).map(|pending| &pending.effect)
    }

    /// What is being saved.
    pub fn saving(&self) -> Option<&Saved> {
        self.slots.iter().flatten().find_map(|pending| match &pending.effect {
            Effect::Save(saved) if pending.answer.is_none() => Some(saved),
            _ => None,
        })
    }

    /// One under way.
    pub fn at(&mut self, slot: usize) -> &mut Pending {
        self.slots[slot].as_mut().expect("an effect ends once")
    }

    /// Takes one that ended.
    pub fn take(&mut self, slot: usize) -> Pending {
        self.free.push(slot);
        self.slots[slot].take().expect("an effect ends once")
    }

    /// Takes all that did not end, in the order in which they were asked.
    pub fn drain(&mut self) -> Vec<Pending> {
        self.free.clear();
        self.hung.clear();
        self.ends = [0; 5];
        let mut left: Vec<_> = self.slots.drain(..).flatten().collect();
        left.sort_by_key(|pending| pending.number);
        left
    }
}
