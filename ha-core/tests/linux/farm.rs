//! Members of a farm with their sockets, on loopback, each with a plane in memory.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ha_core::driver::{Clock, HostError};
use ha_core::farm::{Baton, Config, Identity, Order, Policy, Timing};
use ha_core::linux::farm::{
    Application, Handle, Link, OrderError, Running, Setup, StartError, resume, start,
};
use ha_core::linux::plane::Memory;
use ha_core::proto::{ClusterId, ModuleId, NodeId};
use ha_core::raw::Key;
use ha_lab::within;

use crate::farm_hands;

const BUCKETS: usize = 256;
/// Far more than anything here takes on a loaded machine.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn three_members_share_all_buckets_and_two_take_those_of_the_third() {
    let mut farm = Farm::start(3);
    assert!(farm.until(&[85, 86]), "{:?}", farm.shares());
    farm.members[1] = None;
    assert!(farm.until(&[128]), "{:?}", farm.shares());
    assert_eq!(farm.planes[1].written().filter, None, "its filter is out of the kernel");
    farm.boot(1);
    assert!(farm.until(&[85, 86]), "{:?}", farm.shares());
}

#[test]
fn a_member_that_stops_in_order_says_so_and_stops_its_application() {
    let mut farm = Farm::start(2);
    assert!(farm.until(&[128]), "{:?}", farm.shares());
    assert_eq!(farm.calls(0), ["start"]);
    let before = farm.clock.now();
    farm.members[0].take().unwrap().stop().unwrap();
    assert_eq!(farm.calls(0), ["start", "stop"]);
    assert!(farm.until(&[256]), "{:?}", farm.shares());
    let took = farm.clock.now().saturating_since(before);
    println!("the other one has all {took:?} after the order");
}

#[test]
fn orders_are_obeyed_or_refused_and_after_the_end_there_is_nobody() {
    let mut farm = Farm::start(2);
    assert!(farm.until(&[128]), "{:?}", farm.shares());
    let handle = farm.handle(0);
    wait(handle.order(Order::Drain(true))).unwrap();
    assert!(within(SOON, || farm.shares() == [0, 256]), "{:?}", farm.shares());
    assert!(wait(handle.view()).unwrap().drained);
    wait(handle.order(Order::Drain(false))).unwrap();
    assert!(farm.until(&[128]), "{:?}", farm.shares());
    let refused = wait(handle.order(Order::Weight { service: Some(7), weight: 1 }));
    assert!(matches!(refused, Err(OrderError::Refused(_))), "{refused:?}");
    assert!(wait(handle.counters()).unwrap().is_ok());
    farm.members[0] = None;
    assert_eq!(wait(handle.view()), Err(OrderError::Closed));
    assert_eq!(wait(handle.order(Order::Drain(true))), Err(OrderError::Closed));
}

#[test]
fn links_that_name_a_stranger_or_leave_a_member_out_are_refused() {
    let farm = Farm::start(2);
    let mut setup = farm.setup(0);
    setup.links[0].peers.clear();
    assert!(start(setup).is_err(), "nothing would ever be sent to a member");
    let mut setup = farm.setup(0);
    setup.links[0].peers.insert(node(9), farm.addresses[0]);
    assert!(start(setup).is_err(), "a node that is no member would be told");
    let mut setup = farm.setup(0);
    setup.links.clear();
    assert!(start(setup).is_err(), "no link at all");
}

/// Its application runs, and its addresses are set.
#[test]
fn a_process_that_cannot_go_on_leaves_a_filter_that_is_shut() {
    let mut farm = Farm::start(2);
    assert!(farm.until(&[128]), "{:?}", farm.shares());
    let baton = farm.members[0].take().unwrap().hand_over(SOON).unwrap();
    let mut setup = farm.setup(0);
    // RFC 5737: nobody's.
    setup.links[0].local.set_ip("192.0.2.9".parse().unwrap());
    let refused = resume(setup, &baton).unwrap_err();
    assert!(matches!(refused, StartError::NotHere { link: 0, .. }), "{refused}");
    let written = farm.planes[0].written();
    assert!(written.filter.is_some(), "the kernel would answer for what is another one's");
    assert_eq!(written.until, ha_core::proto::Instant::ZERO);
    assert_eq!(farm.calls(0), ["start"]);
}

pub(crate) struct Farm {
    clock: Clock,
    addresses: Vec<SocketAddr>,
    planes: Vec<Memory>,
    calls: Vec<Arc<Mutex<Vec<&'static str>>>>,
    members: Vec<Option<Running>>,
    cluster: u32,
}

impl Farm {
    pub(crate) fn start(nodes: usize) -> Self {
        let mut farm = Self::new(nodes);
        (0..nodes).for_each(|place| farm.boot(place));
        farm
    }

    /// What the first of a farm that takes hands over.
    pub(crate) fn hand_over(mut self) -> Baton {
        assert!(within(SOON, || self.shares().iter().sum::<usize>() == BUCKETS));
        self.members[0].take().unwrap().hand_over(SOON).unwrap()
    }

    /// One whose first member goes on with this.
    pub(crate) fn resume(nodes: usize, baton: &Baton) -> Self {
        let mut farm = Self::new(nodes);
        farm.members[0] = Some(resume(farm.setup(0), baton).unwrap());
        farm
    }

    fn new(nodes: usize) -> Self {
        static CLUSTERS: AtomicU32 = AtomicU32::new(0);
        // Ports that are free now; who takes one meanwhile makes the test fail with its name.
        let sockets: Vec<_> =
            (0..nodes).map(|_| UdpSocket::bind(("127.0.0.1", 0)).unwrap()).collect();
        let addresses = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        drop(sockets);
        Self {
            clock: Clock::of_the_machine(),
            addresses,
            planes: (0..nodes).map(|_| Memory::new()).collect(),
            calls: (0..nodes).map(|_| Arc::default()).collect(),
            members: (0..nodes).map(|_| None).collect(),
            cluster: CLUSTERS.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn boot(&mut self, place: usize) {
        self.members[place] = Some(start(self.setup(place)).unwrap());
    }

    fn setup(&self, place: usize) -> Setup {
        let members = (0..self.addresses.len()).map(node);
        let me = node(place);
        let identity = Identity {
            cluster: ClusterId(0xfa_0000 + u64::from(self.cluster)),
            module: ModuleId(1),
            me,
            members: members.clone().collect(),
            links: 1,
        };
        let peers = members.zip(self.addresses.iter().copied()).filter(|(id, _)| *id != me);
        let peers: BTreeMap<_, _> = peers.collect();
        Setup {
            config: Config::new(identity, Timing::default(), policy()).unwrap(),
            key: Key::Insecure,
            links: vec![Link { local: self.addresses[place], peers }],
            plane: Box::new(self.planes[place].clone()),
            front: None,
            application: Box::new(Noted(self.calls[place].clone())),
            observer: Box::new(|_| {}),
        }
    }

    fn handle(&self, place: usize) -> Handle {
        self.members[place].as_ref().unwrap().handle()
    }

    fn calls(&self, place: usize) -> Vec<&'static str> {
        self.calls[place].lock().unwrap().clone()
    }

    /// How many buckets each takes now.
    fn shares(&self) -> Vec<usize> {
        let now = self.clock.now();
        let share = |plane: &Memory| (0..BUCKETS).filter(|&b| plane.takes(0, b, now)).count();
        self.planes.iter().map(share).collect()
    }

    /// Waits until all buckets are taken, by shares of these sizes.
    fn until(&self, sizes: &[usize]) -> bool {
        within(SOON, || {
            let shares = self.shares();
            let fair = shares.iter().all(|share| *share == 0 || sizes.contains(share));
            fair && shares.iter().sum::<usize>() == BUCKETS
        })
    }
}

/// An application that notes what it is told.
struct Noted(Arc<Mutex<Vec<&'static str>>>);

impl Application for Noted {
    fn start(&mut self) -> Result<(), HostError> {
        self.0.lock().unwrap().push("start");
        Ok(())
    }

    fn stop(&mut self, force: bool) -> Result<(), HostError> {
        self.0.lock().unwrap().push(if force { "force" } else { "stop" });
        Ok(())
    }
}

fn policy() -> Policy {
    farm_hands::policy(vec![farm_hands::rule("192.0.2.1".parse().unwrap())])
}

fn node(id: usize) -> NodeId {
    NodeId::new(id as u8).unwrap()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
