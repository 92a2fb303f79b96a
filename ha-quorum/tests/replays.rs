//! Asks that are said again by somebody who has no key: the arbiter's lease is for the boot that
//! got its epoch there, and each of its asks counts once (R12).

mod common;

use std::time::Duration;

use common::{CLUSTER, LEASE, LIFE, MODULE, ask, membership, node, register};
use ha_proto::{Boot, DataState, Epoch, Instant, Machine, Outbox};
use ha_quorum::arbiter::{Event, Input, Output};
use ha_quorum::{Answer, Arbiter, Ask, Outcome, Refusal, Register, Request};

struct World {
    now: Duration,
    arbiter: Arbiter,
    replays: u64,
}

impl World {
    fn new(register: Option<Register>) -> Self {
        let arbiter = Arbiter::new(Instant::ZERO, LIFE, register).expect("its own register");
        Self { now: Duration::ZERO, arbiter, replays: 0 }
    }

    /// The arbiter's answer, once all is stored; `None` when it is silent and counts a replay.
    fn say(&mut self, ask: Ask) -> Option<Answer> {
        let mut out = Outbox::new(Arbiter::OUTPUTS_MAX);
        let now = Instant::ZERO + self.now;
        let input = Input::Ask { cluster: CLUSTER, module: MODULE, ask };
        self.arbiter.handle(now, input, &mut out);
        let mut answer = None;
        while let Some(output) = out.pop() {
            match output {
                Output::Store { ticket, .. } => {
                    self.arbiter.handle(now, Input::Stored { ticket }, &mut out);
                }
                Output::Answer { answer: said, .. } => {
                    assert_eq!((said.to, said.boot, said.number), (ask.from, ask.boot, ask.number));
                    assert_eq!(answer.replace(said), None);
                }
                Output::Event(event) => {
                    let (cluster, module, by) = (CLUSTER, MODULE, ask.from);
                    let replayed = event == Event::Replayed { cluster, module, by };
                    assert!(replayed || matches!(event, Event::Changed { .. }));
                    self.replays += u64::from(replayed);
                }
            }
        }
        answer
    }

    fn outcome(&mut self, ask: Ask) -> Outcome {
        self.say(ask).expect("it is news").outcome
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

fn of(boot: u64, number: u64, ask: Ask) -> Ask {
    Ask { boot: Boot(boot), number, ..ask }
}

fn epoch(counter: u64, owner: u8) -> Epoch {
    Epoch::new(counter, node(owner))
}

/// A of boot 7 has taken epoch 5 with its ask 1 and renewed it with its ask 2.
fn held() -> (World, Ask) {
    let mut world = World::new(Some(register(4, 0, 0b11)));
    world.pass(LEASE * 2);
    let take = of(7, 1, ask(0, epoch(4, 0), Request::Take));
    assert_eq!(world.outcome(take), Outcome::Ok);
    let renew = of(7, 2, ask(0, epoch(5, 0), Request::Renew));
    assert_eq!(world.outcome(renew), Outcome::Ok);
    (world, renew)
}

#[test]
fn a_replayed_renewal_keeps_no_lease_alive() {
    let (mut world, recorded) = held();
    // A dies now; somebody says its last ask again, twice a second, for ten minutes.
    for _ in 0..1200 {
        assert_eq!(world.say(recorded), None);
        world.pass(Duration::from_millis(500));
    }
    assert_eq!(world.replays, 1200);
    let take = of(9, 1, ask(1, epoch(5, 0), Request::Take));
    assert_eq!(world.outcome(take), Outcome::Ok);
}

#[test]
fn a_duplicate_has_no_effect_and_the_next_ask_has() {
    let (mut world, renewed) = held();
    world.pass(LEASE / 3);
    let before = world.arbiter.clone();
    assert_eq!(world.say(renewed), None);
    assert_eq!(world.arbiter, before);
    let left = world.say(of(7, 3, renewed)).map(|answer| answer.left);
    assert_eq!(left, Some(Duration::from_millis(3003)));
    assert_eq!(world.say(renewed), None, "nor one that comes behind a later one");
    assert_eq!(
        world.say(of(7, 3, ask(0, epoch(5, 0), Request::Exclude))),
        None,
        "whatever it asks"
    );
    assert_eq!(world.replays, 3);
}

#[test]
fn another_boot_takes_before_it_renews() {
    let (mut world, old) = held();
    let refused = world.say(of(8, 1, old)).expect("it is news");
    assert_eq!(refused.outcome, Outcome::Refused(Refusal::Boot));
    assert_eq!(refused.left, Duration::from_millis(3003), "of the lease that the last boot got");
    let take = of(8, 2, ask(0, epoch(5, 0), Request::Take));
    assert_eq!(world.outcome(take), Outcome::Ok);
    let renew = of(8, 3, ask(0, epoch(6, 0), Request::Renew));
    assert_eq!(world.outcome(renew), Outcome::Ok);
    assert_eq!(world.outcome(of(7, 99, old)), Outcome::Refused(Refusal::Epoch));
    let late = of(7, 99, ask(0, epoch(6, 0), Request::Renew));
    assert_eq!(world.outcome(late), Outcome::Refused(Refusal::Boot), "its boot is over");
}

#[test]
fn after_a_boot_of_the_arbiter_nothing_old_keeps_a_lease_alive() {
    let (world, recorded) = held();
    let stored = world.arbiter.registers().next().copied();
    let mut world = World::new(stored);
    for _ in 0..10 {
        assert_eq!(world.outcome(recorded), Outcome::Refused(Refusal::Boot));
        world.pass(LEASE / 2);
    }
    let take = of(9, 1, ask(1, epoch(5, 0), Request::Take));
    assert_eq!(world.outcome(take), Outcome::Ok);
}

#[test]
fn after_a_boot_of_the_arbiter_its_holder_has_its_lease_by_one_take() {
    for set in [0b01, 0b11] {
        let mut world = World::new(Some(register(5, 0, set)));
        let renew = of(7, 3, ask(0, epoch(5, 0), Request::Renew));
        assert_eq!(world.outcome(renew), Outcome::Refused(Refusal::Boot));
        let take = of(7, 4, ask(0, epoch(5, 0), Request::Take));
        assert_eq!(world.outcome(take), Outcome::Ok, "also in the grace time");
        let renew = of(7, 5, ask(0, epoch(6, 0), Request::Renew));
        assert_eq!(world.outcome(renew), Outcome::Ok);
    }
}

#[test]
fn a_change_is_made_once_however_often_it_is_said() {
    let (mut world, _) = held();
    let exclude = of(7, 3, ask(0, epoch(5, 0), Request::Exclude));
    assert_eq!(world.outcome(exclude), Outcome::Ok);
    assert_eq!(world.say(exclude), None);
    // Nor by one of another boot, which nobody remembers.
    let old = of(6, 5, ask(0, epoch(4, 0), Request::Take));
    for _ in 0..3 {
        assert_eq!(world.outcome(old), Outcome::Refused(Refusal::Epoch));
    }
}

#[test]
fn whoever_only_asks_is_always_answered() {
    let (mut world, _) = held();
    let read = of(9, 1, ask(1, epoch(5, 0), Request::Read));
    let before = world.arbiter.clone();
    for _ in 0..3 {
        assert_eq!(world.outcome(read), Outcome::Ok);
    }
    assert_eq!(world.arbiter, before, "and changes nothing");
}

#[test]
fn an_older_adopt_does_not_replace_the_one_in_hand() {
    let mut world = World::new(None);
    let adopt = |number, counter| {
        let membership = membership(counter, 0, 0b11);
        let request = Request::Adopt { incarnation: LIFE, membership, state: DataState::Complete };
        of(7, number, ask(0, Epoch::NONE, request))
    };
    assert_eq!(world.outcome(adopt(1, 4)), Outcome::Refused(Refusal::Waiting));
    assert_eq!(world.outcome(adopt(2, 5)), Outcome::Refused(Refusal::Waiting));
    assert_eq!(world.say(adopt(1, 4)), None);
    assert_eq!(world.replays, 1);
}
