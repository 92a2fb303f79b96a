//! The guardian as a process: what a service may do when its daemon is killed, stopped or replaced.
#![allow(clippy::unwrap_used, reason = "a test says what failed by where it stopped")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ha_core::driver::{Clock, Guard, Host};
use ha_core::linux::cgroup::Cgroup;
use ha_core::linux::guardian::{Guardian, Post};
use ha_core::linux::scripts::{Scripts, Settings};
use ha_core::linux::service::{Bounds, NoAddresses, ScriptHost};
use ha_core::proto::{Epoch, Instant, NodeId, Seq};
use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take that is expected to come.
const SOON: Duration = Duration::from_secs(20);

const BOUNDS: Bounds = Bounds { fence: SOON, patience: None };

/// How long each feed lets the service run: far more than a loaded machine takes to feed again.
const RIGHT: Duration = Duration::from_millis(1500);

/// How long a frozen service lives.
const GRACE: Duration = Duration::from_millis(400);

/// Where the daemon, which is this program again, reads what it is to be.
const DAEMON: &str = "HA_TEST_DAEMON";

fn epoch() -> Epoch {
    Epoch::new(7, NodeId::new(0).unwrap())
}

fn engage(post: &Post) -> Guardian {
    Guardian::engage(Path::new(env!("CARGO_BIN_EXE_ha-guardian")), post.clone()).unwrap()
}

/// Not a test: the daemon of the others, which feeds its guardian for ever.
#[test]
fn the_daemon() {
    let Ok(told) = std::env::var(DAEMON) else { return };
    let post = Post::from_args(told.split(' ').map(String::from)).unwrap();
    let mut guardian = engage(&post);
    loop {
        guardian.feed(epoch(), RIGHT).unwrap();
        fs::write(post.socket.with_extension("fed"), "").unwrap();
        assert!(Command::new("sleep").arg("0.02").status().unwrap().success());
    }
}

/// A service that counts, a group for it, and the post of its guardian. All gone at the drop.
struct Rig {
    group: Cgroup,
    post: Post,
    folder: tempfile::TempDir,
    service: Child,
    daemon: Option<Child>,
}

impl Rig {
    /// `None`, said once, where tests cannot have any.
    fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !ha_lab::root_or_skip() {
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ha-guardian-{}-{number}", std::process::id());
        let group = Cgroup::make(&Cgroup::home().unwrap(), &name).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let post = Post {
            socket: folder.path().join("guardian"),
            group: group.folder().into(),
            grace: GRACE,
            watchdog: None,
        };
        let script = "i=0; while :; do i=$((i+1)); echo $i > new; mv new count; sleep 0.005; done";
        let mut service = group.command(Path::new("/bin/sh"));
        let service = service.args(["-c", script]).current_dir(&folder).spawn().unwrap();
        let rig = Self { group, post, folder, service, daemon: None };
        wait("a service", || rig.count() > 1);
        Some(rig)
    }

    fn count(&self) -> u64 {
        let text = fs::read_to_string(self.folder.path().join("count")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// A process that feeds the guardian, and had it started.
    fn daemon(&mut self) {
        let [socket, group] = [&self.post.socket, &self.post.group].map(|path| path.display());
        let told = format!("{socket} {group} {}", self.post.grace.as_millis());
        let mut daemon = Command::new(std::env::current_exe().unwrap());
        daemon.args(["--exact", "the_daemon"]).env(DAEMON, told).stdout(Stdio::null());
        self.daemon = Some(daemon.spawn().unwrap());
        wait("a guardian that was fed", || self.post.socket.with_extension("fed").exists());
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.daemon.as_ref().unwrap()), signal).unwrap();
    }

    /// The process that listens, found by its arguments.
    fn guardian(&self) -> Option<Pid> {
        let socket = self.post.socket.to_str().unwrap();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let found = processes.filter_map(|entry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let mut words = line.split(|&byte| byte == 0);
            let is = words.next()?.ends_with(b"ha-guardian") && words.next()? == socket.as_bytes();
            is.then(|| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))?
        });
        found.last()
    }

    fn is_empty(&self) -> bool {
        self.group.is_empty().unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if let Some(guardian) = self.guardian() {
            let _ = kill_process(guardian, Signal::KILL);
        }
        let _ = self.group.kill();
        let _ = self.service.wait();
        let _ = self.group.wait_empty(SOON);
        for below in ["host/prim", "host/both", "host", ""] {
            // The tests without a host have none of the first three.
            let _ = fs::remove_dir(self.group.folder().join(below));
        }
    }
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !done() {
        assert!(clock.now() < Instant::ZERO + SOON, "never seen: {what}");
        std::thread::yield_now();
    }
}

/// FIELD row 4: what runs on the node whose daemon died.
#[test]
fn field_04_a_service_does_not_outlive_the_right_of_a_daemon_that_was_killed() {
    let Some(mut rig) = Rig::new() else { return };
    rig.daemon();
    let clock = Clock::start();
    rig.signal(Signal::KILL);
    wait("frozen", || rig.group.is_frozen().unwrap());
    assert!(rig.group.wait_frozen(SOON).unwrap());
    let took = clock.now().saturating_since(Instant::ZERO);
    assert!(took <= RIGHT + Duration::from_millis(500), "{took:?}");
    wait("killed", || rig.is_empty());
}

/// FIELD row 8: a daemon that is paused.
#[test]
fn field_08_a_service_does_not_outlive_the_right_of_a_daemon_that_is_paused() {
    let Some(mut rig) = Rig::new() else { return };
    rig.daemon();
    rig.signal(Signal::STOP);
    wait("frozen", || rig.group.is_frozen().unwrap());
    assert!(rig.group.wait_frozen(SOON).unwrap());
    let seen = rig.count();
    wait("killed", || rig.is_empty());
    assert_eq!(rig.count(), seen, "it did nothing between");
}

#[test]
fn a_service_that_is_fed_goes_on_past_the_first_deadline() {
    let Some(mut rig) = Rig::new() else { return };
    rig.daemon();
    let clock = Clock::start();
    wait("twice the right", || clock.now() > Instant::ZERO + RIGHT * 2);
    assert!(!rig.group.is_frozen().unwrap());
    let seen = rig.count();
    wait("it counts", || rig.count() > seen);
}

#[test]
fn a_daemon_that_was_paused_for_less_than_the_grace_lets_its_service_go_on() {
    let Some(mut rig) = Rig::new() else { return };
    rig.post.grace = SOON;
    rig.daemon();
    rig.signal(Signal::STOP);
    wait("frozen", || rig.group.is_frozen().unwrap());
    rig.signal(Signal::CONT);
    wait("thawed", || !rig.group.is_frozen().unwrap());
    let seen = rig.count();
    wait("it counts", || rig.count() > seen);
}

#[test]
fn the_next_daemon_finds_the_guardian_of_the_one_before() {
    let Some(mut rig) = Rig::new() else { return };
    rig.daemon();
    let guardian = rig.guardian();
    assert!(guardian.is_some());
    rig.signal(Signal::KILL);
    let mut next = engage(&rig.post);
    next.feed(epoch(), SOON).unwrap();
    let clock = Clock::start();
    wait("the old right's end", || clock.now() > Instant::ZERO + RIGHT + GRACE);
    assert!(!rig.group.is_frozen().unwrap());
    assert_eq!(rig.guardian(), guardian, "no second one was started");
    next.fence(epoch()).unwrap();
    wait("frozen", || rig.group.is_frozen().unwrap());
    wait("killed", || rig.is_empty());
    next.rest().unwrap();
    next.dismiss().unwrap();
    wait("its end", || rig.guardian().is_none());
    assert!(!rig.post.socket.exists());
}

/// A daemon that comes after the end of the right knows of nothing that ran.
#[test]
fn a_guardian_that_has_killed_all_is_dismissed_by_a_daemon_that_ran_nothing() {
    let Some(mut rig) = Rig::new() else { return };
    rig.daemon();
    rig.signal(Signal::KILL);
    wait("killed", || rig.is_empty());
    engage(&rig.post).dismiss().unwrap();
    wait("its end", || rig.guardian().is_none());
}

/// A guardian watches for as long as its service runs, so a reload must tell it what has changed.
#[test]
fn the_next_daemon_s_terms_count_and_the_deadline_is_kept() {
    let Some(mut rig) = Rig::new() else { return };
    rig.post.grace = Duration::from_mins(10);
    let mut before = engage(&rig.post);
    let clock = Clock::start();
    before.feed(epoch(), RIGHT).unwrap();
    let guardian = rig.guardian();
    drop(before);
    let device = rig.folder.path().join("watchdog");
    fs::write(&device, "").unwrap();
    (rig.post.grace, rig.post.watchdog) = (GRACE, Some(device.clone()));
    let mut next = engage(&rig.post);
    wait("the next watchdog is fed", || !fs::read(&device).unwrap().is_empty());
    wait("frozen by the old deadline", || rig.group.is_frozen().unwrap());
    let took = clock.now().saturating_since(Instant::ZERO);
    assert!(took >= RIGHT, "the deadline went with the old terms: {took:?}");
    wait("killed by the new grace", || rig.is_empty());
    assert_eq!(rig.guardian(), guardian, "no second one was started");
    next.rest().unwrap();
    next.dismiss().unwrap();
    assert_eq!(fs::read(&device).unwrap().last(), Some(&b'V'));
}

/// Where it did not rest it would leave a service unguarded.
#[test]
fn a_guardian_changes_its_group_when_it_rests() {
    let Some(mut rig) = Rig::new() else { return };
    let mut before = engage(&rig.post);
    before.feed(epoch(), RIGHT).unwrap();
    drop(before);
    let name = format!("{}-next", rig.group.folder().file_name().unwrap().to_str().unwrap());
    let other = Cgroup::make(&Cgroup::home().unwrap(), &name).unwrap();
    rig.post.group = other.folder().into();
    let mut next = engage(&rig.post);
    wait("the old group is guarded", || rig.is_empty());
    next.rest().unwrap();
    next.feed(epoch(), Duration::from_millis(1)).unwrap();
    wait("the new group is guarded", || other.is_frozen().unwrap());
    next.rest().unwrap();
    next.dismiss().unwrap();
    fs::remove_dir(other.folder()).unwrap();
}

/// An upgrade is another program in the same process: nobody else waits for its children.
#[test]
fn no_guardian_is_left_a_zombie_by_the_next_program() {
    let Some(rig) = Rig::new() else { return };
    let there = |pid: Pid| Path::new("/proc").join(pid.to_string()).exists();
    drop(engage(&rig.post));
    let first = rig.guardian().unwrap();
    let mut next = engage(&rig.post);
    kill_process(first, Signal::KILL).unwrap();
    wait("the end of it", || rig.guardian() != Some(first));
    next.feed(epoch(), SOON).unwrap();
    assert!(!there(first), "killed, and never waited for");
    drop(next);
    let second = rig.guardian().unwrap();
    let mut last = engage(&rig.post);
    last.rest().unwrap();
    last.dismiss().unwrap();
    assert!(!there(second), "dismissed, and never waited for");
}

#[test]
fn a_guardian_that_was_killed_is_replaced_at_the_next_word() {
    let Some(rig) = Rig::new() else { return };
    let mut daemon = engage(&rig.post);
    daemon.feed(epoch(), SOON).unwrap();
    let first = rig.guardian().unwrap();
    kill_process(first, Signal::KILL).unwrap();
    wait("the end of it", || rig.guardian() != Some(first));
    daemon.feed(epoch(), Duration::from_millis(1)).unwrap();
    assert!(rig.guardian().is_some());
    wait("killed", || rig.is_empty());
}

/// Scripts whose service counts, and whose stop takes longer than the guardian's grace.
fn host(rig: &mut Rig) -> ScriptHost {
    host_within(rig, BOUNDS)
}

fn host_within(rig: &mut Rig, bounds: Bounds) -> ScriptHost {
    let folder = rig.folder.path().to_owned();
    let start = "setsid sh -c 'while :; do echo . >> served; sleep 0.005; done' \
        < /dev/null > /dev/null 2>&1 &";
    for (name, text) in [("start_prim", start), ("stop_prim", "sleep 1; echo $3 > stopped")] {
        fs::write(folder.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let settings = Settings {
        run: folder.join("run"),
        log: folder.join("log"),
        log_bytes: 10_000,
        group: rig.group.folder().join("host"),
        module: "shop".into(),
        node: "n1".into(),
        start: SOON,
        stop: SOON,
        force: SOON,
        folder,
    };
    rig.post.group = settings.group.join("prim");
    let scripts = Scripts::new(settings).unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_ha-guardian"));
    let guardian = Some((program, rig.post.clone()));
    ScriptHost::new(scripts, Box::new(NoAddresses), bounds, guardian, None).unwrap()
}

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn the_guardian_does_not_hit_the_stop_that_follows_a_fence() {
    let Some(mut rig) = Rig::new() else { return };
    let mut host = host(&mut rig);
    let mut guard = host.guard();
    now(guard.take_address(epoch(), SOON)).unwrap();
    now(host.start(epoch(), Seq::ZERO)).unwrap();
    wait("a service", || rig.folder.path().join("served").exists());
    now(guard.fence(epoch())).unwrap();
    now(guard.drop_address()).unwrap();
    now(host.stop(true)).unwrap();
    let said = fs::read_to_string(rig.folder.path().join("stopped")).unwrap();
    assert_eq!(said, "force\n", "it ran to its end, longer than the grace");
    assert!(Cgroup::open(rig.post.group.clone()).unwrap().is_empty().unwrap());
}

#[test]
fn a_host_that_does_not_renew_in_time_is_frozen_and_killed_and_can_serve_again() {
    let Some(mut rig) = Rig::new() else { return };
    let mut host = host(&mut rig);
    let mut guard = host.guard();
    now(guard.take_address(epoch(), RIGHT)).unwrap();
    now(host.start(epoch(), Seq::ZERO)).unwrap();
    let group = Cgroup::open(rig.post.group.clone()).unwrap();
    assert!(!group.is_empty().unwrap());
    wait("killed", || group.is_empty().unwrap());
    now(guard.fence(epoch())).unwrap();
    now(guard.drop_address()).unwrap();
    now(host.stop(true)).unwrap();
    now(guard.take_address(epoch(), SOON)).unwrap();
    now(host.start(epoch(), Seq::ZERO)).unwrap();
    assert!(!group.is_empty().unwrap());
    assert!(!group.is_frozen().unwrap());
}

/// Where no lease rules; the addresses live for far longer.
const BEATS: Bounds = Bounds { fence: SOON, patience: Some(RIGHT) };

#[test]
fn without_a_lease_a_service_runs_from_one_heartbeat_to_the_next() {
    let Some(mut rig) = Rig::new() else { return };
    let mut host = host_within(&mut rig, BEATS);
    let mut guard = host.guard();
    let mut pulse = guard.pulse().expect("it wants to hear of heartbeats");
    pulse.beat();
    now(guard.take_address(epoch(), SOON)).unwrap();
    now(host.start(epoch(), Seq::ZERO)).unwrap();
    let group = Cgroup::open(rig.post.group.clone()).unwrap();
    let clock = Clock::start();
    wait("twice the right", || {
        pulse.beat();
        // However many words that are, and the addresses are kept meanwhile.
        now(guard.keep_address(SOON)).unwrap();
        clock.now() > Instant::ZERO + RIGHT * 2
    });
    assert!(!group.is_frozen().unwrap());
    wait("frozen", || group.is_frozen().unwrap());
    let took = clock.now().saturating_since(Instant::ZERO + RIGHT * 2);
    assert!(took <= RIGHT + Duration::from_millis(500), "{took:?}");
    wait("killed", || group.is_empty().unwrap());
    pulse.beat();
    now(guard.fence(epoch())).unwrap();
    pulse.beat();
    now(host.stop(true)).unwrap();
    pulse.beat();
    now(guard.drop_address()).unwrap();
    drop((host, guard, pulse));
    wait("the end of a guardian that watches nothing", || rig.guardian().is_none());
}

/// The kernel keeps ten words for one that is not at its socket.
#[test]
fn heartbeats_leave_room_for_the_words_that_must_be_heard() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("guardian");
    let asleep = UnixDatagram::bind(&socket).unwrap();
    let post = Post { socket, group: "/nowhere".into(), grace: GRACE, watchdog: None };
    let mut daemon = Guardian::engage(Path::new("/nowhere"), post).unwrap();
    daemon.feed(epoch(), SOON).unwrap();
    for _ in 0..100 {
        daemon.beat(SOON);
    }
    daemon.fence(epoch()).unwrap();
    for _ in 0..100 {
        daemon.beat(SOON);
    }
    daemon.watch().unwrap();
    asleep.set_nonblocking(true).unwrap();
    let words = std::iter::from_fn(|| asleep.recv(&mut [0; 64]).ok()).count();
    assert_eq!(words, 3, "its terms, the feed, the fence");
}

#[test]
fn a_heartbeat_does_not_let_go_on_what_was_fenced() {
    let Some(mut rig) = Rig::new() else { return };
    rig.post.grace = SOON;
    let mut host = host_within(&mut rig, BEATS);
    let mut guard = host.guard();
    let mut pulse = guard.pulse().unwrap();
    now(guard.take_address(epoch(), SOON)).unwrap();
    now(host.start(epoch(), Seq::ZERO)).unwrap();
    let group = Cgroup::open(rig.post.group.clone()).unwrap();
    now(guard.fence(epoch())).unwrap();
    assert!(group.wait_frozen(SOON).unwrap());
    let clock = Clock::start();
    wait("a while with heartbeats", || {
        pulse.beat();
        assert!(group.is_frozen().unwrap());
        clock.now() > Instant::ZERO + RIGHT
    });
    now(host.stop(true)).unwrap();
}

#[test]
fn without_a_lease_the_next_daemon_has_the_lifetime_of_the_addresses() {
    let Some(mut rig) = Rig::new() else { return };
    let mut old = host_within(&mut rig, BEATS);
    let mut old_guard = old.guard();
    now(old_guard.take_address(epoch(), SOON)).unwrap();
    now(old.start(epoch(), Seq::ZERO)).unwrap();
    old.leave();
    old_guard.leave();
    drop((old, old_guard));
    let group = Cgroup::open(rig.post.group.clone()).unwrap();
    let clock = Clock::start();
    wait("more than a heartbeat's time", || clock.now() > Instant::ZERO + RIGHT + GRACE);
    assert!(!group.is_frozen().unwrap());
    let mut next = host_within(&mut rig, BEATS);
    let mut guard = next.guard();
    // The wait below is over long before that, and not before a heartbeat's time.
    now(guard.adopt_address(epoch(), SOON * 3)).unwrap();
    now(next.adopt(epoch(), Seq::ZERO)).unwrap();
    wait("frozen without heartbeats", || group.is_frozen().unwrap());
    now(next.stop(true)).unwrap();
}

/// A checker that fails may have a service stopped and started while its addresses stay.
#[test]
fn what_is_started_again_at_its_addresses_is_watched_again() {
    for bounds in [BEATS, BOUNDS] {
        let Some(mut rig) = Rig::new() else { return };
        let mut host = host_within(&mut rig, bounds);
        let pid = rig.folder.path().join("pid");
        let script = |name, text: String| {
            fs::write(rig.folder.path().join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        };
        script("start_prim", format!("setsid sleep 60 > /dev/null 2>&1 & echo $! > {pid:?}"));
        script("stop_prim", format!("kill $(cat {pid:?})"));
        let mut guard = host.guard();
        now(guard.take_address(epoch(), RIGHT * 2)).unwrap();
        now(host.start(epoch(), Seq::ZERO)).unwrap();
        now(host.stop(false)).unwrap();
        // However long that took.
        match guard.pulse() {
            Some(mut pulse) => pulse.beat(),
            None => now(guard.keep_address(RIGHT * 2)).unwrap(),
        }
        now(host.start(epoch(), Seq::ZERO)).unwrap();
        let group = Cgroup::open(rig.post.group.clone()).unwrap();
        wait("killed", || group.is_empty().unwrap());
        now(host.stop(true)).unwrap();
    }
}

/// The processes of a group.
fn processes(group: &Cgroup) -> String {
    fs::read_to_string(group.folder().join("cgroup.procs")).unwrap()
}

#[test]
fn a_service_runs_on_while_one_daemon_hands_over_to_the_next() {
    let Some(mut rig) = Rig::new() else { return };
    let mut old = host(&mut rig);
    let mut old_guard = old.guard();
    now(old_guard.take_address(epoch(), RIGHT)).unwrap();
    now(old.start(epoch(), Seq::ZERO)).unwrap();
    let group = Cgroup::open(rig.post.group.clone()).unwrap();
    let (guardian, served) = (rig.guardian(), processes(&group));
    assert!(!served.is_empty());
    assert!(old.outlives());
    old.leave();
    old_guard.leave();
    drop((old, old_guard));

    let mut next = host(&mut rig);
    let mut guard = next.guard();
    now(guard.adopt_address(epoch(), SOON)).unwrap();
    now(next.adopt(epoch(), Seq::ZERO)).unwrap();
    let clock = Clock::start();
    wait("the old right's end", || clock.now() > Instant::ZERO + RIGHT + GRACE);
    assert!(!group.is_frozen().unwrap());
    assert_eq!(rig.guardian(), guardian, "no second one was started");
    // It sleeps by a child now and then: the one that counts is the same.
    let first = |all: &str| all.lines().next().map(String::from);
    assert_eq!(first(&processes(&group)), first(&served), "nothing was started again");
    now(next.stop(false)).unwrap();
    assert!(group.is_empty().unwrap());
}

#[test]
fn a_service_that_no_daemon_goes_on_with_ends_with_its_right() {
    let Some(mut rig) = Rig::new() else { return };
    let mut old = host(&mut rig);
    let mut old_guard = old.guard();
    now(old_guard.take_address(epoch(), RIGHT)).unwrap();
    let clock = Clock::start();
    now(old.start(epoch(), Seq::ZERO)).unwrap();
    old.leave();
    old_guard.leave();
    drop((old, old_guard));
    let group = Cgroup::open(rig.post.group.clone()).unwrap();
    wait("frozen", || group.is_frozen().unwrap());
    assert!(group.wait_frozen(SOON).unwrap());
    let took = clock.now().saturating_since(Instant::ZERO);
    assert!(took <= RIGHT + Duration::from_millis(500), "{took:?}");
    let mut next = host(&mut rig);
    let late = now(next.adopt(epoch(), Seq::ZERO)).unwrap_err().to_string();
    assert!(late.ends_with("the right to serve in it is over"), "{late}");
    wait("killed", || group.is_empty().unwrap());
    now(next.stop(true)).unwrap();
}

#[test]
fn addresses_that_went_before_a_service_came_hold_nothing_back() {
    let Some(mut rig) = Rig::new() else { return };
    let mut host = host(&mut rig);
    let mut guard = host.guard();
    now(guard.take_address(epoch(), Duration::from_millis(1))).unwrap();
    let group = Cgroup::open(rig.post.group.clone()).unwrap();
    wait("frozen", || group.is_frozen().unwrap());
    now(guard.drop_address()).unwrap();
    now(guard.take_address(epoch(), RIGHT)).unwrap();
    now(host.start(epoch(), Seq::ZERO)).unwrap();
    assert!(!group.is_frozen().unwrap());
    wait("frozen when its own right ends", || group.is_frozen().unwrap());
}

#[test]
fn a_watchdog_is_fed_and_let_go() {
    let Some(mut rig) = Rig::new() else { return };
    let device: PathBuf = rig.folder.path().join("watchdog");
    fs::write(&device, "").unwrap();
    rig.post.watchdog = Some(device.clone());
    let guardian = engage(&rig.post);
    wait("two feeds", || fs::read(&device).unwrap().len() >= 2);
    guardian.dismiss().unwrap();
    let fed = fs::read(&device).unwrap();
    assert_eq!(fed.last(), Some(&b'V'), "{fed:?}");
}

#[test]
fn what_cannot_be_guarded_is_said_in_one_line() {
    let guardian = |args: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_ha-guardian"));
        let output = program.args(args).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let said = errors.lines().last().map(String::from);
        (output.status.code(), said.unwrap())
    };
    let usage = "ha-guardian: usage: ha-guardian SOCKET GROUP MILLISECONDS [WATCHDOG]";
    assert_eq!(guardian(&[]), (Some(1), usage.into()));
    let (code, said) = guardian(&["/tmp/ha-no-socket", "/no/such/group", "10"]);
    let says = "ha-guardian: there is no control group /no/such/group";
    assert_eq!((code, said.as_str()), (Some(1), says));
}
