//! Ends connections: those that a previous owner still has once its claim to them is over (F8), and
//! all of a node whose checker says so.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeSet;
use std::io;
use std::prelude::rust_2024::*;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use ha_farm::{Filter, HashOn, Mac, NoSockets};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::turn::Letter;
use crate::driver::Clock;
use crate::linux::reset;

/// A thread that looks through the sockets: the node's own must not wait for a hundred thousand
/// of them. Its queue is bounded by the views whose drain ends or whose rules drop an address and the
/// checkers that fail, one in an interval at most, and it takes all that wait at once.
#[derive(Debug)]
pub(super) struct Sweeper {
    jobs: Option<Sender<Job>>,
    leaving: Leaving,
    thread: Option<JoinHandle<()>>,
}

/// What is to end.
enum Job {
    /// Connections of buckets that this filter gives to others for good.
    Sweep(Arc<Filter>),
    /// All to these addresses.
    Cut(Vec<IpAddr>),
    /// Likewise as long as they leave, and the number of this cut.
    Leave(Vec<IpAddr>, u64),
}

/// The addresses that leave, as the node's thread says: one that has come back is no more to be cut.
#[derive(Clone, Debug, Default)]
struct Leaving(Arc<Mutex<BTreeSet<IpAddr>>>);

impl Leaving {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeSet<IpAddr>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sweeper {
    /// In this thread's network namespace.
    pub(super) fn start(letters: mpsc::Sender<Letter>) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let leaving = Leaving::default();
        let left = leaving.clone();
        let work = move || {
            // Dropped in the other order: what is posted to a queue that is there is answered.
            let letters = Letters(letters);
            let queue = queue;
            serve(&queue, &letters, &left);
        };
        let thread = thread::Builder::new().name(THREAD.into()).spawn(work)?;
        Ok(Self { jobs: Some(jobs), leaving, thread: Some(thread) })
    }

    /// Ends the connections of buckets that this filter gives to others for good.
    pub(super) fn sweep(&self, filter: Arc<Filter>) {
        self.post(Job::Sweep(filter));
    }

    /// Ends the connections to these addresses until it finds none.
    pub(super) fn cut(&self, vips: Vec<IpAddr>) {
        self.post(Job::Cut(vips));
    }

    /// Likewise to those that leave, and says the number then ([`Letter::Cut`]); whether it can.
    pub(super) fn leave(&self, vips: Vec<IpAddr>, number: u64) -> bool {
        self.go_on(vips.iter().copied());
        self.post(Job::Leave(vips, number))
    }

    /// These are about to come back, if they leave: who connects from now on stays. Which of them
    /// did leave, in case they do not come back after all ([`Sweeper::go_on`]).
    pub(super) fn spare(&self, vips: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
        self.leaving.with(|leaving| {
            let back = leaving.intersection(vips).copied().collect();
            leaving.retain(|vip| !vips.contains(vip));
            back
        })
    }

    /// These do leave.
    pub(super) fn go_on(&self, vips: impl IntoIterator<Item = IpAddr>) {
        self.leaving.with(|leaving| leaving.extend(vips));
    }

    fn post(&self, job: Job) -> bool {
        let jobs = self.jobs.as_ref().expect("it ends when it is dropped");
        // A thread that has panicked has said so.
        jobs.send(job).is_ok()
    }

    /// Waits until all that was posted has ended.
    pub(super) fn finish(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic was told where it happened.
            let _ = thread.join();
        }
    }

    /// Ends without being waited for, in the middle of a look that may take longer than a lease.
    pub(super) fn abandon(mut self) {
        self.thread = None;
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Who waits for a cut does not wait for ever, whatever becomes of the thread.
struct Letters(mpsc::Sender<Letter>);

impl Letters {
    /// A node that ends takes its addresses off by itself, and reads no letters.
    fn send(&self, number: u64) {
        let _ = self.0.blocking_send(Letter::Cut(number));
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        if thread::panicking() {
            self.send(u64::MAX);
        }
    }
}

fn serve(queue: &Receiver<Job>, letters: &Letters, leaving: &Leaving) {
    while let Ok(first) = queue.recv() {
        let (mut filter, mut last) = (None, None);
        let (mut vips, mut leave) = (BTreeSet::new(), BTreeSet::new());
        for job in core::iter::once(first).chain(queue.try_iter()) {
            match job {
                Job::Sweep(latest) => filter = Some(latest),
                Job::Cut(more) => vips.extend(more),
                Job::Leave(more, number) => {
                    leave.extend(more);
                    last = last.max(Some(number));
                }
            }
        }
        // Their clients wait.
        if !vips.is_empty() || !leave.is_empty() {
            let leaves = |vip: &IpAddr| leave.contains(vip) && leaving.with(|it| it.contains(vip));
            cut(|vip| vips.contains(&vip) || leaves(&vip));
        }
        if let Some(number) = last {
            letters.send(number);
        }
        if let Some(filter) = filter {
            sweep(&filter);
        }
    }
}

/// Asks of each connection anew.
fn cut(goes: impl Fn(IpAddr) -> bool) {
    let to_vips = |_: SocketAddr, server: SocketAddr| goes(server.ip());
    let clock = Clock::of_the_machine();
    let (deadline, mut all) = (clock.now() + CUT_MAX, 0);
    for _ in 0..LOOKS_MAX {
        let left = deadline.saturating_since(clock.now());
        match reset::connections(left, clock, to_vips) {
            Ok(0) => break,
            // Some may have come while it looked.
            Ok(count) => all += count,
            Err(error) => {
                warn!(%error, "connections cannot be reset");
                break;
            }
        }
    }
    info!(count = all, "connections were reset");
}

fn sweep(filter: &Filter) {
    let over = |client: SocketAddr, server: SocketAddr| is_over(filter, client, server);
    match reset::connections(SWEEP_MAX, Clock::of_the_machine(), over) {
        Ok(0) => {}
        Ok(count) => info!(count, "connections had their time to end, and were reset"),
        Err(error) => warn!(%error, "connections that nobody serves any more are left"),
    }
}

/// Whether this node has no claim to the connection, and somebody else has.
fn is_over(filter: &Filter, client: SocketAddr, server: SocketAddr) -> bool {
    let setup = filter.setup();
    let vips = setup.rules.iter().any(|rule| rule.vip == server.ip());
    let mac = setup.macs.get(&setup.me).copied().unwrap_or(Mac([0; 6]));
    let frame = match (client, server) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) | (SocketAddr::V6(_), SocketAddr::V6(_)) if vips => {
            frame(client, server, mac)
        }
        (SocketAddr::V4(_) | SocketAddr::V6(_), _) => return false,
    };
    let Some(place) = filter.examine(&frame, true, &mut NoSockets).place else { return false };
    let (service, bucket) = (usize::from(place.service), usize::from(place.bucket));
    if setup.rules[service].on == HashOn::IpId {
        // Its packets are not all of one bucket.
        return false;
    }
    let [owner, last, before, _] = filter.words(service)[bucket].to_le_bytes();
    let drains = filter.words(service)[bucket] & Filter::DRAIN != 0;
    let me = setup.me.as_u8();
    let claims = owner == me || drains && (last == me || before == me);
    owner != Filter::NONE && !claims
}

/// A segment of the connection, as it would come from the client.
fn frame(client: SocketAddr, server: SocketAddr, mac: Mac) -> Vec<u8> {
    // From this node itself: nothing is handed on.
    let mut bytes = [mac.0, mac.0].concat();
    match (client.ip(), server.ip()) {
        (IpAddr::V4(client), IpAddr::V4(server)) => {
            bytes.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
            bytes.extend([client.octets(), server.octets()].concat());
        }
        (IpAddr::V6(client), IpAddr::V6(server)) => {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
            bytes.extend([client.octets(), server.octets()].concat());
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => unreachable!("both are of one family"),
    }
    bytes.extend([client.port().to_be_bytes(), server.port().to_be_bytes()].concat());
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
    bytes
}

const THREAD: &str = "ha-farm-sweep";
/// For one look: some ten thousand connections; what is left waits for the next drain's end.
const SWEEP_MAX: Duration = Duration::from_secs(1);
/// For some hundred thousand: nobody comes back to what is left.
const CUT_MAX: Duration = Duration::from_secs(5);
/// Behind a filter that takes nothing new the second look finds none. Where it takes, clients may
/// come back for ever.
const LOOKS_MAX: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};
    use std::vec;

    use ha_farm::{Buckets, Hash, Mode, Plan, Protocol, Rule, Setup, Table, Uncovered};
    use ha_lab::Lab;
    use ha_proto::NodeId;

    /// What node 1 decides by, after these weights of nodes 0 and 1; drained up to `settled`.
    fn filter(mode: Mode, weights: &[[u16; 2]], settled: u64) -> Filter {
        let ids = [0, 1].map(|id| NodeId::new(id).unwrap());
        let mut table = Table::new(Buckets::Few);
        for (counter, of) in (1..).zip(weights) {
            let weights = ids.into_iter().zip(*of).collect();
            table = table.next(&Plan { counter, weights, settled, taken: None });
        }
        let rule = |vip: &str| Rule {
            vip: vip.parse().unwrap(),
            ports: 80..=80,
            protocol: Protocol::Tcp,
            on: HashOn::AddrPort,
        };
        let setup = Setup {
            me: ids[1],
            mode,
            uncovered: Uncovered::Deny,
            hash: Hash::Sip { key: [7; 16] },
            rules: vec![rule("192.0.2.1"), rule("2001:db8::1")],
            macs: ids.map(|id| (id, Mac([2, 0, 0, 0, 0, id.as_u8()]))).into(),
        };
        Filter::new(setup, &[table.clone(), table], |_, _| true).unwrap()
    }

    fn over(filter: &Filter, client: &str, server: &str) -> bool {
        is_over(filter, client.parse().unwrap(), server.parse().unwrap())
    }

    #[test]
    fn a_claim_lasts_until_the_drain_ends() {
        for mode in [Mode::Invisible, Mode::Directed] {
            for (client, server) in
                [("192.0.2.9:5000", "192.0.2.1:80"), ("[2001:db8::9]:5000", "[2001:db8::1]:80")]
            {
                let cases = [
                    (vec![[0, 1]], 0, false, "it is the owner"),
                    (vec![[0, 1], [1, 0]], 0, false, "it drains from here"),
                    (vec![[0, 1], [1, 0], [1, 0]], 2, true, "the drain has ended"),
                    (vec![[1, 0]], 0, true, "it never was an owner"),
                    (vec![[0, 1], [0, 0]], 2, false, "it is nobody's: nobody answers with RST"),
                ];
                for (weights, settled, expected, why) in cases {
                    let filter = filter(mode, &weights, settled);
                    assert_eq!(over(&filter, client, server), expected, "{mode:?} {server}: {why}");
                }
            }
        }
    }

    /// Whether this end of a connection was told of its end; the other one says nothing.
    fn is_reset(stream: &mut TcpStream) -> bool {
        stream.set_nonblocking(true).unwrap();
        match stream.read(&mut [0]).unwrap_err().kind() {
            ErrorKind::ConnectionReset => true,
            ErrorKind::WouldBlock => false,
            other => panic!("{other}"),
        }
    }

    /// Clients are there again at once, and the cut of before may go on for seconds.
    #[test]
    fn an_address_that_has_come_back_is_cut_no_more() {
        let Some(mut lab) = Lab::root_or_skip("cut_comes_back") else { return };
        let network = lab.bridge().unwrap();
        let host = lab.host("server", &[&network]).unwrap();
        let vips = ["127.0.0.2", "127.0.0.3"].map(|vip| vip.parse::<IpAddr>().unwrap());
        let (left, back) = (vips[0], vips[1]);
        let told = host.inside(|| {
            let listener = TcpListener::bind("0.0.0.0:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let mut clients = vips.map(|vip| TcpStream::connect((vip, port)).unwrap());
            let _servers = vips.map(|_| listener.accept().unwrap());
            let (letters, mut inbox) = mpsc::channel(2);
            let (letters, (jobs, queue)) = (Letters(letters), channel());
            let mut sweeper =
                Sweeper { jobs: Some(jobs), leaving: Leaving::default(), thread: None };
            // Two that left, of which one comes back before it is looked at.
            assert!(sweeper.leave(vips.into(), 1));
            assert_eq!(sweeper.spare(&[back].into()), [back]);
            let leaving = sweeper.leaving.clone();
            sweeper.finish();
            serve(&queue, &letters, &leaving);
            assert!(matches!(inbox.try_recv(), Ok(Letter::Cut(1))), "it is over all the same");
            let first = clients.each_mut().map(is_reset);
            // A filter without it could not be replaced: it leaves as before.
            let (jobs, queue) = channel();
            let mut sweeper = Sweeper { jobs: Some(jobs), leaving, thread: None };
            assert!(sweeper.leave(vips.into(), 2));
            let spared = sweeper.spare(&[back].into());
            sweeper.go_on(spared);
            let leaving = sweeper.leaving.clone();
            sweeper.finish();
            serve(&queue, &letters, &leaving);
            (first, clients[1..].iter_mut().map(is_reset).collect::<Vec<_>>())
        });
        let (first, then) = told.unwrap();
        assert_eq!(first, [true, false], "{left} leaves, {back} has come back");
        assert_eq!(then, [true]);
    }

    #[test]
    fn what_is_not_the_farms_is_left_alone() {
        let filter = filter(Mode::Invisible, &[[1, 0]], 0);
        for server in ["192.0.2.1:81", "192.0.2.2:80", "[2001:db8::1]:80"] {
            assert!(!over(&filter, "192.0.2.9:5000", server), "{server} is no service");
        }
    }
}
