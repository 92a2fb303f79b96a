//! One member: its process, its kernel, and what observers saw it read and say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ha_core::farm::{Baton, Effect, Farm, Order, Output};
use ha_proto::{Instant, Ticket};

use super::fact::{Id, Said};
use super::kernel::Kernel;
use super::network::Parcel;
use super::services::SERVICES;
use crate::clock::Clock;
use crate::node::Process;

/// One member of the farm.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
pub struct Node {
    /// Its id.
    pub id: usize,
    /// What its daemon does.
    pub process: Process,
    /// Whether the host is up: its kernel and its application run.
    pub up: bool,
    /// How often its daemon or its host began or ended.
    pub life: u32,
    /// The number of the present boot.
    pub boot: u64,
    /// The host's clock.
    pub clock: Clock,
    /// The machine under test, while the daemon is there.
    pub farm: Option<Farm>,
    /// What was handed over to the next process.
    pub baton: Option<Baton>,
    /// The kernel, a part of the host.
    pub kernel: Kernel,
    /// Whether the application runs.
    pub app: bool,
    /// Whether it answers ARP for the virtual address.
    pub announces: bool,
    /// What it wants done and has not begun: the driver is busy.
    pub outputs: VecDeque<Output>,
    /// Effects that are done and not answered.
    pub answers: VecDeque<(Ticket, bool)>,
    /// The write into the kernel that the driver waits for.
    pub busy: Option<(Ticket, Effect)>,
    /// What it was told while its driver was busy or it stood still.
    pub orders: VecDeque<Order>,
    /// Datagrams that nobody has read yet, in the sockets' buffers.
    pub inbox: VecDeque<Parcel>,
    /// The earliest scheduled wake-up, true nanoseconds.
    pub timer: Option<u64>,
    /// When the machine last said that it is to be called, on its clock.
    pub expected: Option<Instant>,
    /// When the machine was last called, on its clock.
    pub acted: Instant,
    /// When it was called that said the last beat, on its clock.
    pub beat_at: Instant,
    /// When it last booted, or went on after a gap, on its clock.
    pub begun: Instant,
    /// The same in true nanoseconds.
    pub begun_at: u64,
    /// When it last did not run for longer than the slack, lost its filter's write or was told to
    /// cut, true nanoseconds.
    pub hurt_at: u64,
    /// What numbers it read, by sender: of the boot that it believes, and of another one.
    pub numbers: Vec<Numbers>,
    /// After a gap only an echo of this number or a later one proves that a beat was not in the
    /// sockets all the while.
    pub fresh: u64,
    /// The beats that it read last, by sender; forgotten at a boot and after a gap.
    pub heard: Vec<Option<Heard>>,
    /// What it said last in this boot.
    pub said: Option<Arc<Said>>,
    /// Who proposed each view to it that it has read of, since it last began.
    pub offers: BTreeMap<Id, BTreeSet<usize>>,
    /// The last beats that it said, by number, and when it was called for them, on its clock.
    pub beats: VecDeque<(u64, Instant)>,
    /// When its daemon last stopped to run, for whichever time, true nanoseconds.
    pub stopped_at: u64,
    /// The highest view that it said in this boot.
    pub view: Id,
    /// The views that it was at as a member, in this boot.
    pub own: BTreeSet<Id>,
    /// The view that it was at when it last stood still for too long, in this boot.
    pub gap_view: Option<Id>,
    /// The highest counter that it read or said in this boot.
    pub highest: u64,
    /// Whether the last write of its filter failed.
    pub write_failed: bool,
    /// How many reasons there are for its filter not to be written.
    pub write_fails: u32,
    /// The weight that it was told last, by service.
    pub weights: [u16; SERVICES],
    /// Which set of services its file says.
    pub file: usize,
    /// The weight in the service that comes and goes that its file says.
    pub web: u16,
    /// Which set its daemon was told last, by its file or an operator.
    pub told: usize,
    /// When each service came into its kernel's filter last, true nanoseconds.
    pub came: [u64; SERVICES],
    /// When it was last seen to be linked to somebody with whom it has no rules in common.
    pub differs_at: u64,
    /// How many reasons there are for it to take no new clients: drained by order, its gate
    /// closed, a checker that fails.
    pub drained: [u32; 3],
    /// Whether an operator stopped it.
    pub stopped: u32,
}

/// The numbers that were read of one sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers {
    /// The boot that is believed, and its highest number.
    pub believed: Option<(u64, u64)>,
    /// Another boot, its highest number, and the reader's when it first read of it.
    pub other: Option<(u64, u64, u64)>,
}

impl Numbers {
    /// Whether a beat is new, and known to come from a process that runs: a boot is believed once
    /// it echoes what the reader sent since it first read of it.
    pub fn believe(&mut self, said: &Said, echo: u64, number: u64, fresh: u64) -> bool {
        match (self.believed, self.other) {
            (Some((boot, last)), _) if boot == said.boot => {
                if said.number <= last {
                    return false;
                }
                self.believed = Some((boot, said.number));
                self.other = None;
                echo >= fresh
            }
            (_, Some((boot, last, since))) if boot == said.boot => {
                if said.number <= last {
                    return false;
                }
                self.other = Some((boot, said.number, since));
                let proves = echo >= since.max(1);
                if proves {
                    *self = Self { believed: Some((boot, said.number)), other: None };
                }
                proves
            }
            (_, _) => {
                self.other = Some((said.boot, said.number, number));
                false
            }
        }
    }
}

/// A beat that was read.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When, on the reader's clock.
    pub at: Instant,
    /// What it said.
    pub said: Arc<Said>,
}

impl Node {
    /// How many beats are remembered: more than any that are lost in a row and promised for.
    pub const BEATS_MAX: usize = 4;

    /// What its clock shows at true time `at`.
    pub fn local(&self, at: u64) -> Instant {
        self.clock.local(at)
    }

    /// Whether its daemon runs.
    pub fn runs(&self) -> bool {
        self.process == Process::Running
    }

    /// Whether a view was ever its own, in this boot.
    pub fn was_at(&self, view: Id) -> bool {
        self.own.contains(&view)
    }

    /// Whether its lease had ended when its machine was last called.
    pub fn lease_is_over(&self) -> bool {
        self.kernel.until.is_none_or(|until| until <= self.acted)
    }

    /// Whether it takes new clients, as far as its orders go.
    pub fn is_wanted(&self) -> bool {
        self.stopped == 0 && self.drained == [0; 3] && self.weights[0] > 0
    }
}
