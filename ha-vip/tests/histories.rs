//! Random histories of a set in a world with a kernel, checked against what is really so.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{MACS, OTHER, Set, announce, claim, config, epoch, four, interface, question, six};
use ha_proto::{Epoch, Instant, Machine, Ticket};
use ha_vip::{Address, AddressSet, Event, Input, InterfaceId, OnRemoved, Output};
use proptest::prelude::*;

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// The oldest or the newest effect is done, or fails.
    Answer {
        newest: bool,
        done: bool,
    },
    /// The same, but it was done before it was answered.
    Execute {
        newest: bool,
    },
    Wait {
        millis: u64,
    },
    Take {
        lifetime: u64,
    },
    Keep {
        lifetime: u64,
    },
    Release,
    Interface {
        id: u8,
        up: bool,
    },
    Remove {
        which: usize,
    },
    Claim {
        which: usize,
    },
}

/// An effect that was asked, and whether the kernel did it.
#[derive(Clone, Copy)]
struct Pending {
    ticket: Ticket,
    address: Address,
    lifetime: Option<Duration>,
    executed: bool,
}

/// A set, the kernel that it talks to, and what it said of itself.
struct World {
    set: Set,
    now: u64,
    kernel: BTreeMap<Address, Instant>,
    pending: Vec<Pending>,
    up: [bool; 2],
    epoch: Epoch,
    /// Between `Taken` and whatever ends it.
    owning: bool,
    /// The answers that are owed to takes and releases.
    released: bool,
    counter: u64,
}

impl World {
    fn new(on_removed: OnRemoved) -> Self {
        let set = Set(AddressSet::new(&config(on_removed)));
        Self {
            set,
            now: 0,
            kernel: BTreeMap::from([(four(), common::at(600_000))]),
            pending: vec![],
            up: [false; 2],
            epoch: epoch(1),
            owning: false,
            released: false,
            counter: 0,
        }
    }

    fn instant(&self) -> Instant {
        common::at(self.now)
    }

    /// Whether the kernel has the address now.
    fn has(&self, address: Address) -> bool {
        self.kernel.get(&address).is_some_and(|until| *until > self.instant())
    }

    fn tell(&mut self, input: Input) {
        match input {
            Input::Release => (self.owning, self.released) = (false, false),
            // In a new name they are ours again once all are there.
            Input::Take { .. } => self.owning = false,
            _ => {}
        }
        for output in self.set.tell(self.now, input) {
            self.hear(output);
        }
        assert!(self.pending.len() <= 2, "one effect for each address at a time");
        assert_eq!(self.set.0.epoch().is_some(), self.owning);
    }

    fn hear(&mut self, output: Output) {
        match output {
            Output::Set { ticket, address, lifetime } => {
                assert!(!lifetime.is_zero());
                let lifetime = Some(lifetime);
                self.released = false;
                self.pending.push(Pending { ticket, address, lifetime, executed: false });
            }
            Output::Remove { ticket, address } => {
                assert!(!self.owning, "what is ours is not removed");
                self.pending.push(Pending { ticket, address, lifetime: None, executed: false });
            }
            Output::Transmit { interface, .. } => {
                let says = |address: &Address| {
                    announce(*address).contains(&output) || question(*address) == output
                };
                let Some(address) = [four(), six()].into_iter().find(says) else {
                    panic!("{output:?} announces no address, or not from its own card");
                };
                assert!(self.owning, "a loser announces");
                assert!(self.has(address), "{address} is announced and is not there");
                assert!(self.up[usize::from(interface.0)], "nobody hears that");
            }
            Output::Event(event) => self.note(event),
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Taken(epoch) => {
                assert!(self.has(four()) && self.has(six()), "taken, and not all are set");
                assert_eq!(epoch, self.epoch);
                self.owning = true;
            }
            Event::Released => {
                let left: Vec<_> = self.kernel.keys().collect();
                assert!(left.is_empty(), "released, and {left:?} are there");
                (self.owning, self.released) = (false, true);
            }
            Event::Failed(_) => {
                assert!(!self.owning || self.set.0.epoch().is_none());
                self.owning = false;
            }
            Event::Lost(_) => {
                assert!(self.set.0.epoch().is_none(), "the node serves on without an address");
                self.owning = false;
            }
            Event::Conflict { mac, .. } => assert!(self.owning && mac == OTHER),
            Event::PutBack(address) => assert!(self.has(address)),
            Event::Foreign(_) => panic!("nobody set an address but us"),
        }
    }

    /// Time passes, and the set is called at each of its deadlines.
    fn wait(&mut self, millis: u64) {
        let end = self.now + millis;
        while let Some(due) = self.set.0.deadline().filter(|due| due.at <= common::at(end)) {
            assert!(due.at > self.instant());
            self.now = due.at.as_nanos().div_ceil(1_000_000);
            self.tell(Input::Tick);
        }
        self.now = end;
    }

    fn execute(&mut self, at: usize) {
        let now = self.instant();
        let pending = &mut self.pending[at];
        if !std::mem::replace(&mut pending.executed, true) {
            match pending.lifetime {
                Some(lifetime) => self.kernel.insert(pending.address, now + lifetime),
                None => self.kernel.remove(&pending.address),
            };
        }
    }

    fn pick(&self, newest: bool) -> Option<usize> {
        let last = self.pending.len().checked_sub(1)?;
        Some(if newest { last } else { 0 })
    }

    fn act(&mut self, act: Act) {
        let which = |at: usize| [four(), six()][at];
        match act {
            Act::Answer { newest, done } => {
                let Some(at) = self.pick(newest) else { return };
                let done = done || self.pending[at].executed;
                if done {
                    self.execute(at);
                }
                let ticket = self.pending.remove(at).ticket;
                self.tell(Input::Done { ticket, done });
            }
            Act::Execute { newest } => {
                if let Some(at) = self.pick(newest) {
                    self.execute(at);
                }
            }
            Act::Wait { millis } => self.wait(millis),
            Act::Take { lifetime } => {
                self.counter += 1;
                self.epoch = epoch(self.counter);
                self.tell(common::take(self.counter, lifetime));
            }
            Act::Keep { lifetime } => self.tell(common::keep(lifetime)),
            Act::Release => self.tell(Input::Release),
            Act::Interface { id, up } => {
                self.up[usize::from(id)] = up;
                self.tell(interface(id, up));
            }
            Act::Remove { which: at } => {
                if self.kernel.remove(&which(at)).is_some() {
                    self.tell(Input::Removed(which(at)));
                }
            }
            Act::Claim { which: at } => {
                self.tell(claim(which(at), OTHER));
                self.tell(claim(which(at), MACS[0]));
            }
        }
    }

    /// From now on nothing fails: a release ends, and a take succeeds.
    fn recover(&mut self) {
        self.act(Act::Release);
        self.work(2_000);
        assert!(self.released && self.kernel.is_empty(), "a release ends");
        self.act(Act::Take { lifetime: 10_000 });
        self.work(2_000);
        assert!(self.owning, "a take succeeds");
        for id in [0, 1] {
            self.act(Act::Interface { id, up: false });
            self.wait(100);
            let before = self.set.0.counters().announcements;
            self.act(Act::Interface { id, up: true });
            assert!(self.set.0.counters().announcements > before, "a heal is announced");
        }
        self.act(Act::Release);
        self.work(2_000);
        assert!(self.released && self.set.0.deadline().is_none(), "and all is quiet");
    }

    fn work(&mut self, millis: u64) {
        for _ in 0..millis / 10 {
            while !self.pending.is_empty() {
                self.act(Act::Answer { newest: false, done: true });
            }
            self.wait(10);
        }
    }
}

fn act() -> impl Strategy<Value = Act> {
    let which = || 0..2_usize;
    prop_oneof![
        8 => (any::<bool>(), proptest::bool::weighted(0.85))
            .prop_map(|(newest, done)| Act::Answer { newest, done }),
        2 => any::<bool>().prop_map(|newest| Act::Execute { newest }),
        5 => prop_oneof![4 => 0..200_u64, 1 => 0..5_000_u64].prop_map(|millis| Act::Wait { millis }),
        3 => prop_oneof![1 => 0..100_u64, 4 => 1_000..60_000_u64]
            .prop_map(|lifetime| Act::Take { lifetime }),
        3 => (0..60_000_u64).prop_map(|lifetime| Act::Keep { lifetime }),
        1 => Just(Act::Release),
        2 => (0..2_u8, any::<bool>()).prop_map(|(id, up)| Act::Interface { id, up }),
        1 => which().prop_map(|which| Act::Remove { which }),
        2 => which().prop_map(|which| Act::Claim { which }),
    ]
}

proptest! {
    #[test]
    fn what_it_says_is_so(
        history in proptest::collection::vec(act(), 1..200),
        steps_down: bool,
    ) {
        let on_removed = if steps_down { OnRemoved::StepDown } else { OnRemoved::PutBack };
        let mut world = World::new(on_removed);
        for id in [0, 1] {
            world.act(Act::Interface { id, up: true });
        }
        for act in history {
            world.act(act);
        }
        world.recover();
    }
}

#[test]
fn the_world_itself_takes_and_releases() {
    let mut world = World::new(OnRemoved::PutBack);
    for id in [0, 1] {
        assert_eq!(InterfaceId(id).0, id);
        world.act(Act::Interface { id, up: true });
    }
    world.recover();
}
