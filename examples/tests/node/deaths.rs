//! FIELD.md, row 4: a daemon that is killed or stopped leaves neither address nor service.

use std::io;
use std::time::Duration;

use ha_lab::{Process, now, within};
use ha_proto::Instant;

use crate::SOON;
use crate::ends::{Ends, until_renewed};
use crate::rig::{Rig, Vote, until_answers};

/// The longer of D and a second: how long a service runs from a heartbeat on where no lease rules.
const PATIENCE: Duration = Duration::from_secs(1);

/// How much longer than its lifetime an address may be there, as the kernel counts.
const SPARE: Duration = Duration::from_millis(500);

#[test]
fn field_04_a_killed_daemon_leaves_neither_address_nor_service() {
    without_daemon("field_04_killed", Vote::Arbiter, &[Process::kill]);
}

#[test]
fn field_04_a_stopped_daemon_leaves_neither_address_nor_service() {
    without_daemon("field_04_stopped", Vote::Arbiter, &[Process::stop]);
}

/// Without a lease the service goes all the same, a second after the last heartbeat, and the address
/// when its lifetime ends.
#[test]
fn field_04_a_daemon_without_a_witness_leaves_neither_address_nor_service() {
    without_daemon("field_04_alone", Vote::None, &[Process::kill, Process::stop]);
}

#[test]
fn field_04_a_daemon_that_looks_outside_leaves_neither_address_nor_service() {
    without_daemon("field_04_ping", Vote::Ping, &[Process::kill, Process::stop]);
}

/// L: also the lifetime of an address, which the kernel counts in whole seconds. The shortest that
/// leaves a guardian half a second, where it rules.
const fn lease(vote: Vote) -> Duration {
    match vote {
        Vote::Arbiter | Vote::Etcd => Duration::from_secs(3),
        Vote::None | Vote::Ping => Duration::from_secs(2),
    }
}

/// Strikes the primary's daemon in these ways, each time that of another pair of roles.
fn without_daemon(test: &str, vote: Vote, strikes: &[fn(&Process) -> io::Result<()>]) {
    let Some(mut rig) = Rig::new(test, vote, 1) else { return };
    rig.configure("", "");
    let lease = format!("lease = \"{}s\"", lease(vote).as_secs());
    for node in 0..2 {
        rig.replace(node, &[("lease = \"1500ms\"", &lease)]);
        rig.start(node);
    }
    rig.until_whole(0);
    let mut primary = 0;
    for strike in strikes {
        strike_daemon(&mut rig, primary, *strike);
        // Without a lease the one that was stopped may win when the two meet.
        let whole =
            |node: usize| rig.role(node) == "Prim ready" && rig.role(1 - node) == "Second ready";
        assert!(within(SOON, || whole(0) || whole(1)), "{} {}", rig.role(0), rig.role(1));
        primary = usize::from(whole(1));
        rig.until_whole(primary);
    }
}

fn strike_daemon(rig: &mut Rig, primary: usize, strike: fn(&Process) -> io::Result<()>) {
    let [name, next] = [primary, 1 - primary].map(|node| rig.hosts[node].name().to_owned());
    let lease = lease(rig.vote);
    let probers = rig.probers();
    until_answers(&probers, &name);
    until_renewed(rig, primary, lease);
    let struck = now();
    strike(rig.daemon(primary)).unwrap();
    let ends = Ends::watch(rig, primary);
    // That of a heartbeat begins whenever it was sent, and a guardian may be late by less than this.
    let right = if rig.vote == Vote::Arbiter { lease } else { PATIENCE + SPARE };
    // What held up this thread for so long may have held up the guardian, too.
    let (bound, gone) = (struck + right + ends.pause, struck + lease + ends.pause);
    let after = |at: Instant| at.saturating_since(struck);
    println!("frozen after {:?}, with looks {:?} apart", after(ends.frozen), ends.pause);
    assert!(ends.runs <= bound, "it ran after {:?}, {:?}", after(ends.runs), ends.pause);
    println!("no address after {:?}", ends.gone.map(after));
    for held in ends.held {
        assert!(held <= gone + SPARE, "an address after {:?}, {:?}", after(held), ends.pause);
    }
    until_answers(&probers, &next);
    assert!(rig.holds(primary, false));
    let killed = || rig.events(primary).contains("populated 0");
    assert!(within(SOON, killed), "what is frozen is killed");
    for report in probers.map(|prober| prober.finish().unwrap()) {
        let last = report.answers.iter().rfind(|answer| *answer.by == *name).unwrap();
        assert!(last.sent <= bound, "it answered after {:?}", after(last.sent));
        // Nobody who was not entitled has answered: the first answer of the next one is its turn.
        // Without a lease that one cannot know that nobody answers there.
        let strays = report.strays(&report.turns(&[&name, &next]));
        assert!(rig.vote != Vote::Arbiter || strays.is_empty(), "{strays:?}");
    }
    if rig.daemon(primary).ended().unwrap().is_some() {
        rig.start(primary);
    } else {
        rig.daemon(primary).cont().unwrap();
    }
}
