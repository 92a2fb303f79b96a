//! Ends connections: those that a previous owner still has once its claim to them is over (F8), and
//! all of a node whose checker says so.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeSet;
use std::io;
use std::prelude::rust_2024::*;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
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
    thread: Option<JoinHandle<()>>,
}

/// What is to end.
enum Job {
    /// Connections of buckets that this filter gives to others for good.
    Sweep(Arc<Filter>),
    /// All to these addresses, and the number of this cut, if somebody waits for it.
    Cut(Vec<IpAddr>, Option<u64>),
}

impl Sweeper {
    /// In this thread's network namespace.
    pub(super) fn start(letters: mpsc::Sender<Letter>) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let work = move || {
            // Dropped in the other order: what is posted to a queue that is there is answered.
            let letters = Letters(letters);
            let queue = queue;
            serve(&queue, &letters);
        };
        let thread = thread::Builder::new().name(THREAD.into()).spawn(work)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Ends the connections of buckets that this filter gives to others for good.
    pub(super) fn sweep(&self, filter: Arc<Filter>) {
        self.post(Job::Sweep(filter));
    }

    /// Ends the connections to these addresses until it finds none, and says the number then
    /// ([`Letter::Cut`]), if there is one; whether it can.
    pub(super) fn cut(&self, vips: Vec<IpAddr>, number: Option<u64>) -> bool {
        self.post(Job::Cut(vips, number))
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
    pub(super) fn leave(mut self) {
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

fn serve(queue: &Receiver<Job>, letters: &Letters) {
    while let Ok(first) = queue.recv() {
        let (mut filter, mut vips, mut last) = (None, BTreeSet::new(), None);
        for job in core::iter::once(first).chain(queue.try_iter()) {
            match job {
                Job::Sweep(latest) => filter = Some(latest),
                Job::Cut(more, number) => {
                    vips.extend(more);
                    last = last.max(number);
                }
            }
        }
        // Their clients wait.
        if !vips.is_empty() {
            let vips: Vec<IpAddr> = vips.into_iter().collect();
            cut(&vips);
        }
        if let Some(number) = last {
            letters.send(number);
        }
        if let Some(filter) = filter {
            sweep(&filter);
        }
    }
}

fn cut(vips: &[IpAddr]) {
    let to_vips = |_: SocketAddr, server: SocketAddr| vips.contains(&server.ip());
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
    use std::vec;

    use ha_farm::{Buckets, Hash, Mode, Plan, Protocol, Rule, Setup, Table, Uncovered};
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

    #[test]
    fn what_is_not_the_farms_is_left_alone() {
        let filter = filter(Mode::Invisible, &[[1, 0]], 0);
        for server in ["192.0.2.1:81", "192.0.2.2:80", "[2001:db8::1]:80"] {
            assert!(!over(&filter, "192.0.2.9:5000", server), "{server} is no service");
        }
    }
}
