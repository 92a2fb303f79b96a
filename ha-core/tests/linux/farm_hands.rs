//! What could not be set, or is taken away, at a member: tried again, and nothing hangs on it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as Name, UnixListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ha_core::driver::Clock;
use ha_core::farm::{Config, Event, Identity, Isolated, Order, Policy, Timing};
use ha_core::ha_farm::{Buckets, Filter, Hash, HashOn, Mode, Protocol, Rule, Uncovered};
use ha_core::linux::farm::{Front, Link, NoApplication, Running, Setup, resume, start};
use ha_core::linux::plane::{Counters, Guard, Memory, Plane, PlaneError, Sure};
use ha_core::proto::{ClusterId, Instant, ModuleId, NodeId};
use ha_core::raw::Key;
use ha_lab::{Bridge, Host, Lab, within};

/// Far more than anything here takes on a loaded machine.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn an_address_that_cannot_be_set_is_set_once_it_can() {
    let Some(rig) = Rig::new("farm_late_vip") else { return };
    let member = rig.start(Looks::default());
    assert!(within(SOON, || rig.takes()));
    // Another farm of this machine has the second one.
    let taken = rig.host.inside(|| name(rig.vip(1))).unwrap();
    let rules = rig.rules(3);
    let weights = vec![1; rules.len()];
    wait(member.handle().order(Order::Rules { rules, weights })).unwrap();
    assert!(within(SOON, || rig.host.holds(rig.vip(2)).unwrap()), "those that can be set are");
    assert!(!rig.host.holds(rig.vip(1)).unwrap());
    drop(taken);
    assert!(within(SOON, || rig.host.holds(rig.vip(1)).unwrap()), "it is tried again");
    member.stop().unwrap();
    assert!((0..3).all(|n| !rig.host.holds(rig.vip(n)).unwrap()), "nothing is left");
}

/// What the process before lived with does not end the next one.
#[test]
fn an_address_that_cannot_be_set_keeps_nobody_from_going_on() {
    let Some(rig) = Rig::new("farm_late_next") else { return };
    // A next process is there long before the lease has ended, on loaded cores as well.
    let usual = Timing::default();
    let calm = Timing {
        interval: usual.interval * 10,
        lease: usual.lease * 10,
        slack: usual.slack * 10,
        ..usual
    };
    let member = rig.start_as(calm, Looks::default());
    assert!(within(SOON, || rig.takes()));
    let taken = rig.host.inside(|| name(rig.vip(1))).unwrap();
    let (rules, weights) = (rig.rules(3), vec![1; 3]);
    wait(member.handle().order(Order::Rules { rules, weights })).unwrap();
    assert!(within(SOON, || rig.host.holds(rig.vip(2)).unwrap()));
    let baton = member.hand_over(SOON).unwrap();
    let looks = Looks::default();
    let next = rig.host.inside(|| resume(rig.setup(calm, 3, looks.clone()), &baton)).unwrap();
    let next = next.expect("the service runs: it goes on");
    assert!(within(SOON, || looks.resumed() == 1), "the plane is told what it decides by");
    assert!(rig.takes() && rig.host.holds(rig.vip(2)).unwrap());
    drop(taken);
    assert!(within(SOON, || rig.host.holds(rig.vip(1)).unwrap()), "and tries it again");
    next.stop().unwrap();
}

/// The filter changed before the front was there. Nobody but the node's loop knows that it is not yet
/// what the front needs.
#[test]
fn an_address_that_left_before_the_front_came_is_taken_off_once_the_filter_can_be_written() {
    let Some(rig) = Rig::new("farm_late_front") else { return };
    let usual = Timing::default();
    let calm = Timing {
        interval: usual.interval * 10,
        lease: usual.lease * 10,
        slack: usual.slack * 10,
        ..usual
    };
    let member = rig.host.inside(|| start(rig.setup(calm, 2, Looks::default()))).unwrap().unwrap();
    assert!(within(SOON, || rig.takes() && rig.host.holds(rig.vip(1)).unwrap()));
    // Then the next view is made at once.
    let settled = ha_lab::now();
    assert!(within(SOON, || ha_lab::now().saturating_since(settled) > calm.interval));
    let baton = member.hand_over(SOON).unwrap();
    let looks = Looks::default();
    let refuses = looks.clone();
    let next = Setup {
        observer: Box::new(move |event| {
            if *event == Event::Rules {
                refuses.refuse(true);
            }
        }),
        ..rig.setup(calm, 1, looks.clone())
    };
    let next = rig.host.inside(|| resume(next, &baton)).unwrap().unwrap();
    assert!(within(SOON, || looks.refused() > 1), "it is tried once more");
    assert!(rig.takes() && rig.host.holds(rig.vip(1)).unwrap());
    looks.refuse(false);
    assert!(within(SOON, || !rig.host.holds(rig.vip(1)).unwrap()), "no rule is for it");
    assert!(rig.takes() && rig.host.holds(rig.vip(0)).unwrap());
    next.stop().unwrap();
}

/// Where one address of its own cannot be set the member stands by, with all of them off.
#[test]
fn addresses_that_cannot_be_put_back_are_off_until_they_can() {
    let Some(rig) = Rig::new("farm_put_back") else { return };
    let member = rig.start(Looks::default());
    let rules = [rig.rules(1), vec![rule(rig.network.v6(100).into())]].concat();
    wait(member.handle().order(Order::Rules { rules, weights: vec![1, 1] })).unwrap();
    let holds = |so: bool| {
        [rig.vip(0), rig.network.v6(100).into()]
            .iter()
            .all(|vip| rig.host.holds(*vip).unwrap() == so)
    };
    assert!(within(SOON, || holds(true)));
    // The kernel takes all addresses of IPv6 away, and lets nobody set one.
    rig.host.sysctl("net.ipv6.conf.lo.disable_ipv6", "1").unwrap();
    assert!(within(SOON, || holds(false)), "the others have its clients");
    // It is tried again and again, and nothing of it comes and goes meanwhile.
    let began = ha_lab::now();
    while ha_lab::now().saturating_since(began) < LOOK * 5 {
        assert!(holds(false) && !rig.takes(), "a part of them is back");
    }
    rig.host.sysctl("net.ipv6.conf.lo.disable_ipv6", "0").unwrap();
    assert!(within(SOON, || holds(true) && rig.takes()), "it is tried again");
    member.stop().unwrap();
    assert!(holds(false));
}

#[test]
fn where_nothing_filters_a_member_has_no_address_and_takes_nothing() {
    let Some(rig) = Rig::new("farm_no_filter") else { return };
    let looks = Looks::default();
    let member = rig.start(looks.clone());
    let holds = || rig.host.holds(rig.vip(0)).unwrap();
    assert!(within(SOON, || rig.takes() && holds()));
    looks.answer(Answer::Gone);
    assert!(within(SOON, || !rig.takes() && !holds()));
    looks.answer(Answer::Well);
    assert!(within(SOON, || rig.takes() && holds()));
    member.stop().unwrap();
}

/// The kernel lets a look wait as long as somebody changes interfaces.
#[test]
fn a_hand_over_does_not_wait_for_a_look_at_the_interface() {
    let Some(rig) = Rig::new("farm_long_look") else { return };
    let looks = Looks::default();
    let member = rig.start(looks.clone());
    assert!(within(SOON, || rig.takes()));
    let (began, ends) = looks.hold();
    began.recv().unwrap();
    let refused = member.hand_over(Duration::from_millis(500));
    let takes = within(SOON, || rig.takes());
    drop(ends);
    let member = refused.expect_err("it goes on, and waits for nobody");
    assert!(takes);
    assert!(member.hand_over(SOON).is_ok());
}

/// Nobody answers ARP meanwhile, so it does not last from one beat to another.
#[test]
fn a_hand_over_waits_for_no_beat() {
    let Some(rig) = Rig::new("farm_no_beat") else { return };
    let usual = Timing::default();
    let far = Timing {
        interval: usual.interval * 20,
        lease: usual.lease * 20,
        slack: usual.slack * 20,
        ..usual
    };
    let member = rig.start_as(far, Looks::default());
    assert!(within(SOON, || rig.takes()));
    let lease = || rig.plane.written().until;
    let before = lease();
    // The next beat is two seconds away then, and a hand-over takes some hundredths of one.
    assert!(within(SOON, || lease() > before));
    let before = lease();
    let baton = member.hand_over(SOON).unwrap();
    let later = baton.until().saturating_since(before);
    assert!(!later.is_zero() && later < far.interval, "a beat was waited for: {later:?}");
}

/// What a whole process does for it (it goes before all others) is not to last.
#[test]
fn who_hands_over_is_told_when_it_is_soon_and_not_kept_waiting_from_then_on() {
    let Some(rig) = Rig::new("farm_soon") else { return };
    let looks = Looks::default();
    let member = rig.start(looks.clone());
    assert!(within(SOON, || rig.takes()));
    looks.renews(true);
    let called = AtomicUsize::new(0);
    let soon = || {
        called.fetch_add(1, Ordering::Relaxed);
    };
    let member = member.hand_over_after(Duration::from_millis(300), soon).unwrap_err();
    assert_eq!(called.load(Ordering::Relaxed), 0, "it is long to go");
    looks.renews(false);
    // A change begins in this moment.
    let began = ha_lab::now();
    let member = member.hand_over_after(SOON * 10, || looks.renews(true)).unwrap_err();
    assert!(ha_lab::now().saturating_since(began) < SOON, "it does not wait until that is over");
    assert!(within(SOON, || rig.takes()));
    looks.renews(false);
    member.hand_over_after(SOON, soon).unwrap();
    assert_eq!(called.load(Ordering::Relaxed), 1);
}

/// An exec between two of its steps would leave the kernel half done.
#[test]
fn a_hand_over_waits_until_the_filters_programs_are_renewed() {
    let Some(rig) = Rig::new("farm_renews") else { return };
    let looks = Looks::default();
    let member = rig.start(looks.clone());
    assert!(within(SOON, || rig.takes()));
    looks.renews(true);
    let member = member.hand_over(Duration::from_millis(500)).expect_err("it is half done");
    looks.renews(false);
    assert!(member.hand_over(SOON).is_ok());
}

/// One member of a farm of two, which is alone and serves everything.
struct Rig {
    network: Bridge,
    host: Host,
    plane: Memory,
    /// Last: it goes when nothing of it is used any more.
    _lab: Lab,
}

impl Rig {
    fn new(test: &str) -> Option<Self> {
        let mut lab = Lab::root_or_skip(test)?;
        let network = lab.bridge().unwrap();
        let host = lab.host("a", &[&network]).unwrap();
        Some(Self { network, host, plane: Memory::new(), _lab: lab })
    }

    fn vip(&self, n: u8) -> IpAddr {
        self.network.v4(100 + n).into()
    }

    fn rules(&self, vips: u8) -> Vec<Rule> {
        (0..vips).map(|n| rule(self.vip(n))).collect()
    }

    fn start(&self, looks: Looks) -> Running {
        self.start_as(Timing::default(), looks)
    }

    fn start_as(&self, timing: Timing, looks: Looks) -> Running {
        self.host.inside(|| start(self.setup(timing, 1, looks))).unwrap().unwrap()
    }

    fn setup(&self, timing: Timing, vips: u8, looks: Looks) -> Setup {
        let [me, other] = [0, 1].map(|id| NodeId::new(id).unwrap());
        let identity = Identity {
            cluster: ClusterId(0xfa_0001),
            module: ModuleId(1),
            me,
            members: [me, other].into_iter().collect(),
            links: 1,
        };
        let at = |n: u8| SocketAddr::new(self.network.v4(n).into(), 7500);
        let here = SocketAddr::new(self.host.v4(&self.network).into(), 7500);
        Setup {
            config: Config::new(identity, timing, policy(self.rules(vips))).unwrap(),
            key: Key::Insecure,
            links: vec![Link { local: here, peers: BTreeMap::from([(other, at(99))]) }],
            plane: Box::new(Looked(self.plane.clone(), looks)),
            front: Some(Front { interface: "eth0".into() }),
            application: Box::new(NoApplication),
            observer: Box::new(|_| {}),
        }
    }

    fn takes(&self) -> bool {
        self.plane.takes(0, 0, Clock::of_the_machine().now())
    }
}

/// A plane in memory with somebody who looks after it.
struct Looked(Memory, Looks);

/// What each look finds.
#[derive(Clone, Default)]
struct Looks(Arc<Mutex<Answer>>, Arc<AtomicUsize>, Arc<AtomicBool>, Arc<Refusals>);

/// What cannot be written, and how often that was tried.
#[derive(Default)]
struct Refusals(AtomicBool, AtomicUsize);

#[derive(Default)]
enum Answer {
    #[default]
    Well,
    Gone,
    /// It says that it began, and ends when this does; the next ones find all well.
    Waits(Sender<()>, Receiver<()>),
}

impl Looks {
    fn answer(&self, answer: Answer) {
        *self.0.lock().unwrap() = answer;
    }

    /// How often it was gone on with what an earlier process left.
    fn resumed(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }

    fn renews(&self, so: bool) {
        self.2.store(so, Ordering::Relaxed);
    }

    fn refuse(&self, so: bool) {
        self.3.0.store(so, Ordering::Relaxed);
    }

    fn refused(&self) -> usize {
        self.3.1.load(Ordering::Relaxed)
    }

    /// The next look says when it begins, and lasts until the other end is dropped.
    fn hold(&self) -> (Receiver<()>, Sender<()>) {
        let ((began, begins), (ends, end)) = (channel(), channel());
        self.answer(Answer::Waits(began, end));
        (begins, ends)
    }
}

impl Guard for Looks {
    fn look(&mut self) -> Result<Sure, PlaneError> {
        let mut answer = self.0.lock().unwrap();
        match std::mem::take(&mut *answer) {
            Answer::Well => Ok(Sure::Yes),
            Answer::Gone => {
                *answer = Answer::Gone;
                Err(PlaneError::NoInterface("eth0".into()))
            }
            Answer::Waits(began, end) => {
                drop(answer);
                began.send(()).unwrap();
                // Nobody says anything there: it is dropped.
                let _ = end.recv();
                Ok(Sure::Yes)
            }
        }
    }
}

impl Plane for Looked {
    fn install(&mut self, filter: &Filter) -> Result<(), PlaneError> {
        let Refusals(refuses, count) = &*self.1.3;
        if refuses.load(Ordering::Relaxed) {
            count.fetch_add(1, Ordering::Relaxed);
            return Err(PlaneError::NoInterface("eth0".into()));
        }
        self.0.install(filter)
    }

    fn lease(&mut self, until: Instant) -> Result<(), PlaneError> {
        self.0.lease(until)
    }

    fn adopted(&self) -> bool {
        self.0.adopted()
    }

    fn resume(&mut self, filter: &Filter, until: Instant) {
        let left = self.0.written();
        assert!(left.filter.as_deref() == Some(filter) && left.until == until);
        self.1.1.fetch_add(1, Ordering::Relaxed);
    }

    fn rests(&self) -> bool {
        !self.1.2.load(Ordering::Relaxed)
    }

    fn guard(&mut self) -> Option<Box<dyn Guard + Send>> {
        Some(Box::new(self.1.clone()))
    }

    fn counters(&mut self) -> Result<Counters, PlaneError> {
        self.0.counters()
    }

    fn remove(self: Box<Self>) -> Result<(), PlaneError> {
        Box::new(self.0).remove()
    }
}

/// The name that a farm has an address by, on a machine.
fn name(vip: IpAddr) -> UnixListener {
    let name = Name::from_abstract_name(format!("ha-farm/{vip}")).unwrap();
    UnixListener::bind_addr(&name).unwrap()
}

pub(crate) fn rule(vip: IpAddr) -> Rule {
    Rule { vip, ports: 80..=80, protocol: Protocol::Tcp, on: HashOn::AddrPort }
}

pub(crate) fn policy(rules: Vec<Rule>) -> Policy {
    Policy {
        weights: vec![1; rules.len()],
        rules,
        buckets: Buckets::Few,
        hash: Hash::Sip { key: [7; 16] },
        mode: Mode::Invisible,
        uncovered: Uncovered::Deny,
        mac: None,
        isolated: Isolated::All,
        drain: Duration::from_millis(500),
        warm_up: Duration::ZERO,
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// As often as it is looked, or more rarely.
const LOOK: Duration = Duration::from_millis(200);
