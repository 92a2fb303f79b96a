//! FIELD.md, row 4: a daemon that is killed or stopped leaves neither address nor service.

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use ha_lab::{Process, now, within};
use ha_proto::Instant;

use crate::SOON;
use crate::rig::{Rig, Vote, until_answers};

/// L: also the lifetime of an address, which the kernel counts in whole seconds.
const LEASE: Duration = Duration::from_secs(3);

/// The longer of D and a second: how long a service runs from a heartbeat on where no lease rules.
const PATIENCE: Duration = Duration::from_secs(1);

/// How much longer than its lifetime an address may be there, as the kernel counts.
const SPARE: Duration = Duration::from_millis(500);

#[test]
fn field_04_a_killed_daemon_leaves_neither_address_nor_service() {
    without_daemon("field_04_killed", Vote::Arbiter, Process::kill);
}

#[test]
fn field_04_a_stopped_daemon_leaves_neither_address_nor_service() {
    without_daemon("field_04_stopped", Vote::Arbiter, Process::stop);
}

/// Without a lease the service goes all the same, a second after the last heartbeat, and the address
/// when its lifetime ends.
#[test]
fn field_04_a_killed_daemon_without_a_witness_leaves_neither_address_nor_service() {
    without_daemon("field_04_alone", Vote::None, Process::kill);
}

fn without_daemon(test: &str, vote: Vote, strike: fn(&Process) -> io::Result<()>) {
    let Some(mut rig) = Rig::new(test, vote, 1) else { return };
    rig.configure("", "");
    for node in 0..2 {
        rig.replace(node, &[("lease = \"1500ms\"", "lease = \"3s\"")]);
        rig.start(node);
    }
    rig.until_whole(0);
    let probers = rig.probers();
    until_answers(&probers, "a");
    until_renewed(&rig);
    let struck = now();
    strike(rig.daemon(0)).unwrap();
    let ends = Ends::watch(&rig);
    // That of a heartbeat begins whenever it was sent, and a guardian may be late by less than this.
    let right = if vote == Vote::Arbiter { LEASE } else { PATIENCE + SPARE };
    // What held up this thread for so long may have held up the guardian, too.
    let (bound, gone) = (struck + right + ends.pause, struck + LEASE + ends.pause);
    let after = |at: Instant| at.saturating_since(struck);
    println!("frozen after {:?}, with looks {:?} apart", after(ends.frozen), ends.pause);
    assert!(ends.runs <= bound, "it ran after {:?}, {:?}", after(ends.runs), ends.pause);
    println!("no address after {:?}", ends.gone.map(after));
    for held in ends.held {
        assert!(held <= gone + SPARE, "an address after {:?}, {:?}", after(held), ends.pause);
    }
    until_answers(&probers, "b");
    assert!(rig.holds(0, false));
    assert!(within(SOON, || rig.events(0).contains("populated 0")), "what is frozen is killed");
    for report in probers.map(|prober| prober.finish().unwrap()) {
        let last = report.answers.iter().rfind(|answer| &*answer.by == "a").unwrap();
        assert!(last.sent <= bound, "it answered after {:?}", after(last.sent));
        // Nobody who was not entitled has answered: the first answer of `b` is its turn. Without a
        // lease `b` cannot know that nobody answers there.
        let strays = report.strays(&report.turns(&["a", "b"]));
        assert!(vote == Vote::None || strays.is_empty(), "{strays:?}");
    }
    if rig.daemon(0).ended().unwrap().is_some() {
        rig.start(0);
    } else {
        rig.daemon(0).cont().unwrap();
    }
    rig.until_whole(1);
}

/// Waits for the middle between two renewals of the addresses, a third of a lease apart. So the
/// right by a lease of whoever is struck then ends half a second before the bound: a guardian that is
/// late by less, as any program is on a loaded machine, is seen to be in time.
fn until_renewed(rig: &Rig) {
    let [v4, _] = rig.addresses();
    let monitor = rig.hosts[0].spawn("ip", |ip| ip.args(["monitor", "address"])).unwrap();
    let renewals = || monitor.output().matches(&format!(" {v4}/")).count();
    assert!(within(SOON, || renewals() > 0), "{}", monitor.output());
    let quiet = || {
        let before = renewals();
        assert!(within(SOON, || renewals() > before), "{}", monitor.output());
        !within(LEASE / 6, || renewals() > before + 1)
    };
    assert!(within(SOON, quiet), "{}", monitor.output());
}

/// What the kernel of the first node shows, looked at each millisecond. Each end lies between the
/// last look before it and the first one after it, however far these were apart.
struct Ends {
    /// When its service was not frozen at last, and when it was at first.
    runs: Instant,
    frozen: Instant,
    /// When it had each address at last, and had it not at first.
    held: [Instant; 2],
    gone: [Instant; 2],
    /// The longest time between two looks.
    pause: Duration,
}

impl Ends {
    fn watch(rig: &Rig) -> Self {
        let events = rig.service(0).join("cgroup.events");
        let events = || fs::read_to_string(&events).unwrap_or_default();
        let addresses = rig.addresses();
        let watch = || {
            let began = now();
            let (mut runs, mut frozen, mut pause) = (began, None, Duration::ZERO);
            let (mut held, mut gone, mut before) = ([began; 2], [None; 2], began);
            let ended = within(SOON, || {
                // Before what is looked at: it was so then or later, and may have changed since.
                let at = now();
                pause = pause.max(at.saturating_since(before));
                before = at;
                let events = events();
                if events.contains("frozen 1") || events.contains("populated 0") {
                    frozen = frozen.or_else(|| Some(now()));
                } else {
                    runs = at;
                }
                for (place, address) in addresses.into_iter().enumerate() {
                    match UdpSocket::bind((address, 0)) {
                        Ok(_) => held[place] = at,
                        Err(_) => gone[place] = gone[place].or_else(|| Some(now())),
                    }
                }
                frozen.is_some() && gone.iter().all(Option::is_some)
            });
            assert!(ended, "it is as it was: frozen {frozen:?}, addresses gone {gone:?}");
            let ([Some(v4), Some(v6)], Some(frozen)) = (gone, frozen) else { unreachable!() };
            Self { runs, frozen, held, gone: [v4, v6], pause }
        };
        rig.hosts[0].inside(watch).unwrap()
    }
}
