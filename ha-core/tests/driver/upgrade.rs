//! A driver hands its modules over to another one, and their applications run on.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use ha_core::driver::{
    Driver, Guard, Handle, Host, HostError, NotHandedOver, ProposeError, Running, WhyUnready,
};
use ha_core::raw::{NodeConfig, RawConfig};
use ha_core::{Event, Order};
use ha_proto::{Epoch, ModuleId, NodeId, Role, Seq};

use crate::rig::{Node, Pair, Toy, block_on, ready, until, whole};

/// What a quiet moment may take on a busy machine; the timeout is 400 ms.
const PATIENCE: Duration = Duration::from_secs(5);

fn outliving() -> Toy {
    let host = Toy::default();
    host.look(|seen| seen.outlives = true);
    host
}

/// Nobody at the peer noticed.
fn unnoticed(peer: &Node) {
    let notices = |event: &Event| match event {
        Event::PeerDown(_) | Event::PeerRestarted(_) | Event::Excluded(_) => true,
        Event::Role { to, .. } => *to == Role::Alone,
        _ => false,
    };
    peer.host.look(|seen| assert!(!seen.events.iter().any(notices), "{:?}", seen.events));
}

/// Starts the next driver on the same folders and ports, around the application that runs.
fn succeed(pair: &Pair, node: u8, host: &Toy) -> Node {
    Pair::run_with(pair.raw(node, 0), host.clone())
}

async fn a_primary_goes_on(pair: &Pair) {
    let first = Pair::run_with(pair.raw(0, 0), outliving());
    let second = pair.start(1);
    whole(&first, &second).await;
    let before = first.handle.status().now().unwrap();
    second.host.look(|seen| seen.events.clear());

    // Records are proposed all the time, as fast as they are taken.
    let handle = first.handle.clone();
    let load = tokio::spawn(async move {
        let mut taken = 0_u64;
        loop {
            let record = Bytes::from(format!("record {taken}"));
            match handle.propose(record).await {
                Ok(_) => taken += 1,
                Err(ProposeError::Closed) => return taken,
                Err(refused) => panic!("{refused}"),
            }
        }
    });
    second.until("some records", |status| status.applied > Seq(20)).await;
    let Node { host, running, .. } = first;
    let handed = tokio::task::spawn_blocking(move || running.hand_over(PATIENCE));
    handed.await.unwrap().unwrap();
    let taken = load.await.unwrap();
    host.look(|seen| assert!(seen.serving && seen.address, "nothing was stopped"));

    let first = succeed(pair, 0, &host);
    whole(&first, &second).await;
    let after = first.until("all is applied", |status| status.applied == status.head.seq).await;
    assert_eq!(after.membership, before.membership, "the same reign of the same pair");
    assert_eq!(host.look(|seen| seen.calls), [1, 1, 0], "started once, adopted once");
    host.look(|seen| assert!(seen.serving && seen.address && seen.fenced == 0));
    // The last proposals were answered with their place; who got none may find it taken.
    assert!(after.applied.0 >= taken, "{after:?}, {taken} were taken");
    let last = first.propose(b"one more").await;
    assert_eq!(last, after.applied.next());
    first.until("applied", |status| status.applied == last).await;
    second.until("applied there", |status| status.applied == last).await;
    assert!(host.records() == second.host.records(), "the two copies differ");
    unnoticed(&second);
    let counters = second.handle.counters().await.unwrap();
    assert_eq!((counters.heartbeat.restarts, counters.peer_rejections.total()), (0, 0));
}

#[test]
fn a_primary_goes_on_in_another_driver() {
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        a_primary_goes_on(&pair).await;
    });
}

#[test]
fn a_primary_goes_on_in_another_driver_without_a_witness() {
    block_on(async { a_primary_goes_on(&Pair::new()).await });
}

#[test]
fn a_secondary_goes_on_in_another_driver_and_takes_over_when_asked() {
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (first, second) = (pair.start(0), pair.start(1));
        whole(&first, &second).await;
        first.propose(b"before").await;
        second.until("applied", |status| status.applied == Seq(1)).await;
        first.host.look(|seen| seen.events.clear());

        let running = second.running;
        running.hand_over(PATIENCE).unwrap();
        let second = pair.start(1);
        whole(&first, &second).await;
        first.propose(b"after").await;
        second.until("applied there", |status| status.applied == Seq(2)).await;
        unnoticed(&first);
        second.host.look(|seen| {
            assert_eq!(seen.events.first(), Some(&Event::Resumed(Role::Second)));
            let stays = |event: &Event| !matches!(event, Event::Role { to: Role::Wait, .. });
            assert!(seen.events.iter().all(stays), "it was one all the time: {:?}", seen.events);
        });
        assert_eq!(first.host.look(|seen| seen.calls), [1, 0, 0]);

        first.insist(Order::Swap, &second, |status| status.role == Role::Prim).await;
        whole(&second, &first).await;
        assert_eq!(second.propose(b"here").await, Seq(3));
    });
}

#[test]
fn who_comes_too_late_boots() {
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let first = Pair::run_with(pair.raw(0, 0), outliving());
        let second = pair.start(1);
        whole(&first, &second).await;
        let Node { host, running, .. } = first;
        running.hand_over(PATIENCE).unwrap();
        // Nobody goes on in time.
        second.until("alone", ready(Role::Alone)).await;

        let first = succeed(&pair, 0, &host);
        whole(&second, &first).await;
        second.told(Event::PeerRestarted(NodeId::new(0).unwrap())).await;
        assert_eq!(host.look(|seen| seen.calls[1]), 0, "nothing is adopted");
        let resumed = |event: &Event| matches!(event, Event::Resumed(_));
        assert!(!host.look(|seen| seen.events.iter().any(resumed)));
    });
}

#[test]
fn what_is_handed_over_is_used_once() {
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (first, second) = (pair.start(0), pair.start(1));
        whole(&first, &second).await;
        second.running.hand_over(PATIENCE).unwrap();
        let baton = pair.folder.path().join("1-0/baton");
        assert!(baton.exists());

        // The next driver takes it away although it ends before it does anything.
        let mut driver = Driver::new();
        let config = NodeConfig::try_from(pair.raw(1, 0)).unwrap();
        driver.add(config, Toy::default()).unwrap();
        assert!(!baton.exists());
        drop(driver);
        first.host.look(|seen| seen.events.clear());
        let second = pair.start(1);
        whole(&first, &second).await;
        first.told(Event::PeerRestarted(NodeId::new(1).unwrap())).await;
    });
}

#[test]
fn what_is_damaged_or_of_another_folder_is_a_boot() {
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (first, second) = (pair.start(0), pair.start(1));
        whole(&first, &second).await;
        let baton = |node: u8| pair.folder.path().join(format!("{node}-0/baton"));
        let mut second = second;
        for cut in [true, false] {
            second.running.hand_over(PATIENCE).unwrap();
            if cut {
                let bytes = fs::read(baton(1)).unwrap();
                fs::write(baton(1), &bytes[..bytes.len() - 1]).unwrap();
            } else {
                // Whole, and with a sound checksum.
                fs::copy(other_folder(&pair).await, baton(1)).map(drop).unwrap();
            }
            first.host.look(|seen| seen.events.clear());
            second = pair.start(1);
            whole(&first, &second).await;
            first.told(Event::PeerRestarted(NodeId::new(1).unwrap())).await;
        }
    });
}

/// What a node of another pair has handed over.
async fn other_folder(pair: &Pair) -> PathBuf {
    let other = Pair::new();
    let (node, peer) = (other.start(0), other.start(1));
    whole(&node, &peer).await;
    peer.running.hand_over(PATIENCE).unwrap();
    let kept = pair.folder.path().join("of-another");
    fs::copy(other.folder.path().join("1-0/baton"), &kept).unwrap();
    kept
}

fn unready(result: Result<(), NotHandedOver>) -> (Running, ModuleId, WhyUnready) {
    match result.unwrap_err() {
        NotHandedOver::Unready { running, module, why } => (running, module, why),
        NotHandedOver::Ended(failure) => panic!("{failure}"),
    }
}

#[test]
fn an_application_that_ends_with_its_process_is_not_handed_over() {
    block_on(async {
        let pair = Pair::new();
        let (first, second) = (pair.start(0), pair.start(1));
        whole(&first, &second).await;
        let (running, module, why) = unready(first.running.hand_over(PATIENCE));
        assert_eq!((module, why), (ModuleId(0), WhyUnready::Ends));
        let said = NotHandedOver::Unready { running, module, why }.to_string();
        let expected = "module 0 cannot hand over: it serves, and its application is a part of \
                        this process: swap first";
        assert_eq!(said, expected);
    });
}

/// A node with two modules, the first of which outlives its driver.
fn two(pair: &Pair, hosts: &[Toy; 2]) -> ([Handle; 2], Running) {
    let mut driver = Driver::new();
    let handles = [0, 1].map(|module| {
        // The second one never got its data.
        let raw = RawConfig { bootstrap: module == 0, ..pair.raw(0, module) };
        let host = hosts[usize::from(module)].clone();
        driver.add(NodeConfig::try_from(raw).unwrap(), host).unwrap()
    });
    (handles, driver.start().unwrap())
}

/// Refused until its log leads on: a module that goes on says that it is primary from the start.
async fn insist(handle: &Handle, record: &'static [u8]) -> Seq {
    let proposed = async {
        loop {
            match handle.propose(Bytes::from_static(record)).await {
                Ok(seq) => return seq,
                Err(ProposeError::Refused(_)) => tokio::task::yield_now().await,
                Err(other) => panic!("not proposed: {other}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), proposed).await.expect("it leads on")
}

#[test]
fn a_module_with_nothing_to_lose_boots_and_holds_nobody_up() {
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let hosts = [outliving(), outliving()];
        let (mut handles, mut running) = two(&pair, &hosts);
        let second = pair.start(1);
        until(&handles[0], "primary", ready(Role::Prim)).await;
        second.until("secondary", ready(Role::Second)).await;
        until(&handles[1], "waiting", |status| status.role == Role::Wait).await;
        second.host.look(|seen| seen.events.clear());
        for adopted in 1..3 {
            running.hand_over(PATIENCE).unwrap();
            let baton = |module| pair.folder.path().join(format!("0-{module}/baton"));
            assert_eq!([baton(0).exists(), baton(1).exists()], [true, false]);
            hosts[1].look(|seen| seen.events.clear());
            (handles, running) = two(&pair, &hosts);
            until(&handles[0], "primary", ready(Role::Prim)).await;
            until(&handles[1], "waiting", |status| status.role == Role::Wait).await;
            let seq = insist(&handles[0], b"it goes on").await;
            until(&handles[0], "applied", |status| status.applied == seq).await;
            second.until("applied there", |status| status.applied == seq).await;
            assert_eq!(hosts[0].look(|seen| seen.calls), [1, adopted, 0]);
            let resumed = |event: &Event| matches!(event, Event::Resumed(_));
            assert!(!hosts[1].look(|seen| seen.events.iter().any(resumed)), "it boots");
        }
        unnoticed(&second);
    });
}

#[test]
fn a_driver_that_cannot_leave_anything_ends_as_any_other_and_its_peer_takes_over() {
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let first = Pair::run_with(pair.raw(0, 0), outliving());
        let second = pair.start(1);
        whole(&first, &second).await;
        let baton = pair.folder.path().join("0-0/baton");
        fs::create_dir(&baton).unwrap();
        let ended = first.running.hand_over(PATIENCE).unwrap_err().to_string();
        let says = "the driver has ended: writing what is handed over failed: ";
        assert!(ended.starts_with(says), "{ended}");
        let stopped = |seen: &mut crate::rig::Seen| !seen.serving && !seen.address;
        assert!(first.host.look(stopped), "nobody would go on with it");
        second.until("alone", ready(Role::Alone)).await;
    });
}

#[test]
fn modules_are_handed_over_together_or_not_at_all() {
    block_on(async {
        let pair = Pair::new();
        let start = |node: u8, outlives: [bool; 2]| {
            let mut driver = Driver::new();
            let nodes = [0, 1].map(|module| {
                let host = Toy::default();
                host.look(|seen| seen.outlives = outlives[usize::from(module)]);
                let config = NodeConfig::try_from(pair.raw(node, module)).unwrap();
                (driver.add(config, host.clone()).unwrap(), host)
            });
            (nodes, driver.start().unwrap())
        };
        let (first, running) = start(0, [true, false]);
        let (second, _peer) = start(1, [true, true]);
        for module in 0..2 {
            until(&first[module].0, "primary", ready(Role::Prim)).await;
            until(&second[module].0, "secondary", ready(Role::Second)).await;
        }
        let (_running, module, why) = unready(running.hand_over(PATIENCE));
        assert_eq!((module, why), (ModuleId(1), WhyUnready::Ends));
        for (handle, host) in &first {
            assert!(host.look(|seen| seen.serving && seen.calls == [1, 0, 0]));
            let seq = handle.propose(Bytes::from_static(b"it goes on")).await.unwrap();
            until(handle, "applied", |status| status.applied == seq).await;
        }
    });
}

/// A daemon in a process of its own, which replaces itself when it is told to.
struct Daemon {
    child: Child,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Daemon {
    fn start(pair: &Pair) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "upgrade::daemon", "--nocapture"]).env(WORDS, pair.words());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = child.stdin.take().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, orders, said }
    }

    /// What the host was called, up to and with `last`.
    fn until(&mut self, last: &str) -> Vec<String> {
        let mut calls = Vec::new();
        for line in &mut self.said {
            let line = line.unwrap();
            if let Some((_, call)) = line.split_once("host: ") {
                calls.push(call.to_owned());
                if call == last {
                    return calls;
                }
            }
        }
        panic!("never {last}: {calls:?}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_daemon_replaces_its_program_and_keeps_its_process_id() {
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let mut daemon = Daemon::start(&pair);
        let second = pair.start(1);
        second.until("secondary", ready(Role::Second)).await;
        let calls = daemon.until("start");
        let [files, ..] = &calls[..] else { panic!("{calls:?}") };
        assert_eq!(calls[1..], ["take", "start"]);
        second.host.look(|seen| seen.events.clear());
        for _ in 0..3 {
            daemon.orders.write_all(b"upgrade\n").unwrap();
            let mut calls = daemon.until("adopt");
            // Host and guard have threads of their own.
            calls[..2].sort();
            assert_eq!(calls[..2], ["leave", "leave the address"]);
            assert_eq!(calls[2], *files, "the old program's files are closed");
            assert_eq!(calls[3..], ["adopt the address", "adopt"]);
            second.until("still a secondary", ready(Role::Second)).await;
        }
        unnoticed(&second);
        let counters = second.handle.counters().await.unwrap();
        assert_eq!(counters.heartbeat.restarts, 0);
        let margin = second.handle.status().now().unwrap().margin.unwrap();
        println!("the longest gap between beats: {:?}", margin.longest_gap);
        assert!(margin.longest_gap < margin.timeout, "{margin:?}");
        assert!(daemon.child.try_wait().unwrap().is_none(), "it is the same process");
    });
}

const WORDS: &str = "HA_TEST_PAIR";

/// An application that needs no process: it runs on.
struct Said;

impl Said {
    fn say(what: &str) {
        println!("host: {what}");
    }
}

impl Host for Said {
    type Guard = Said;

    fn guard(&mut self) -> Said {
        Said
    }

    async fn start(&mut self, _: Epoch, _: Seq) -> Result<(), HostError> {
        Self::say("start");
        Ok(())
    }

    async fn stop(&mut self, _: bool) -> Result<(), HostError> {
        Self::say("stop");
        Ok(())
    }

    fn outlives(&self) -> bool {
        true
    }

    async fn adopt(&mut self, _: Epoch, _: Seq) -> Result<(), HostError> {
        Self::say("adopt");
        Ok(())
    }

    fn leave(&mut self) {
        Self::say("leave");
    }

    async fn apply(&mut self, _: Seq, _: Bytes) -> Result<(), HostError> {
        Ok(())
    }

    async fn reset(&mut self) -> Result<(), HostError> {
        Ok(())
    }
}

impl Guard for Said {
    async fn fence(&mut self, epoch: Epoch) -> Result<(), HostError> {
        if epoch != Epoch::NONE {
            Self::say("fence");
        }
        Ok(())
    }

    async fn take_address(&mut self, _: Epoch, _: Duration) -> Result<(), HostError> {
        Self::say("take");
        Ok(())
    }

    async fn adopt_address(&mut self, _: Epoch, _: Duration) -> Result<(), HostError> {
        Self::say("adopt the address");
        Ok(())
    }

    fn leave(&mut self) {
        Self::say("leave the address");
    }
}

/// Not a test: see [`Daemon`].
#[test]
fn daemon() {
    let Ok(words) = env::var(WORDS) else { return };
    // Input, output, errors, and the one by which they are counted.
    Said::say(&format!("{} files", fs::read_dir("/proc/self/fd").unwrap().count()));
    let (pair, folder) = Pair::read(&words);
    let home = folder.join("0-0").to_str().unwrap().into();
    let raw = ha_core::raw::RawConfig { folder: home, ..pair.raw(0, 0) };
    let mut driver = Driver::new();
    driver.add(NodeConfig::try_from(raw).unwrap(), Said).unwrap();
    let running = driver.start().unwrap();
    let mut order = String::new();
    // Byte by byte, so that what follows the line is left for the next program.
    std::io::stdin().read_line(&mut order).unwrap();
    assert_eq!(order, "upgrade\n");
    running.hand_over(PATIENCE).unwrap();
    let mut next = Command::new(env::current_exe().unwrap());
    let failed = next.args(env::args_os().skip(1)).exec();
    panic!("{failed}");
}
