//! Daemons that are killed, stopped and replaced.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ha_lab::{now, within};

use crate::SOON;
use crate::rig::{CALM, Rig, count, kept};

/// More work than the processors have time for, until it is dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..4 * thread::available_parallelism().unwrap().get() {
            let over = Arc::clone(&over);
            thread::spawn(move || while !over.load(Ordering::Relaxed) {});
        }
        Self(over)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_killed_daemon_is_a_dead_server_and_comes_back() {
    let Some(mut rig) = Rig::whole("farm_kill", 3, "", "") else { return };
    // Those of the dead one break; where its buckets drained already, without a word (F8).
    let (dead, mut open): (Vec<_>, Vec<_>) = rig.connect(60).into_iter().partition(|it| it.by == 2);
    assert!(!dead.is_empty(), "it has connections");
    rig.daemon(2).kill().unwrap();
    let killed = now();
    rig.daemons[2] = None;
    rig.until_serve(&[0, 1]);
    println!("replaced {:?} after its end, as `ha` sees it", now().saturating_since(killed));
    // Its filter is still there, and takes nothing.
    assert!(rig.pins(2).exists());
    assert!(!count(&rig.connect(60)).contains_key(&2));
    assert_eq!(kept(&mut open), open.len(), "no others break");
    let shown = rig.done(0, &["status"]);
    assert!(shown.contains("it is silent") && shown.contains("a does not hear c"), "{shown}");
    rig.start(2);
    rig.until_serve(&[0, 1, 2]);
}

#[test]
fn a_daemon_that_is_told_to_end_leaves_nothing_behind_and_cuts_nobody_elses_connections() {
    let Some(mut rig) = Rig::whole("farm_end", 2, CALM, "") else { return };
    let mut open = rig.connect(40);
    open.retain(|it| it.by != 0);
    assert!(rig.hosts[0].holds(rig.vip()).unwrap());
    rig.daemon(0).terminate().unwrap();
    let status = rig.daemon(0).wait(SOON).unwrap().expect("it ends");
    assert!(status.success(), "{}", rig.daemon(0).output());
    rig.daemons[0] = None;
    assert!(!rig.hosts[0].holds(rig.vip()).unwrap(), "no address");
    assert!(!rig.pins(0).exists(), "no filter");
    let mut links = rig.hosts[0].command("ip");
    let links = links.args(["-d", "link", "show", "eth0"]).output().unwrap();
    let links = String::from_utf8(links.stdout).unwrap();
    assert!(!links.contains("prog/xdp"), "no XDP: {links}");
    assert!(!rig.nodes[0].folder().join("run/control.sock").exists(), "no socket");
    rig.until_serve(&[1]);
    assert_eq!(kept(&mut open), open.len());
    rig.start(0);
    rig.until_serve(&[0, 1]);
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() {
    let Some(rig) = Rig::whole("farm_second", 2, CALM, "") else { return };
    let mut open = rig.connect(20);
    let second = rig.nodes[0].start().unwrap();
    let status = second.wait(SOON).unwrap().expect("it ends");
    assert!(!status.success() && second.wait_for("another daemon uses", SOON));
    assert!(rig.daemon(0).ended().unwrap().is_none());
    assert!(within(SOON, || kept(&mut open) == open.len()));
    rig.until_serve(&[0, 1]);
}

#[test]
fn a_rolling_restart_of_all_daemons_cuts_nothing_and_moves_nobody() {
    // A second's lease: a loaded machine may take so long to start a program.
    let Some(rig) = Rig::whole("farm_roll", 3, "interval = \"1s\"\n", "") else { return };
    let mut open = rig.connect(120);
    let (shares, pids) = (rig.shares(0), [0, 1, 2].map(|node| rig.daemon(node).pid()));
    for node in 0..3 {
        let said = rig.done(node, &["restart-daemon"]);
        assert!(said.contains("restart-daemon: done in "), "{said}");
        let output = rig.daemon(node).output();
        assert!(output.contains("goes on where the daemon before it stopped"), "{output}");
        assert_eq!(kept(&mut open), open.len(), "connections broke: {output}");
        let renewed = "the filter's programs are this release's";
        assert!(rig.daemon(node).wait_for(renewed, SOON), "{}", rig.daemon(node).output());
        open.extend(rig.connect(20));
    }
    rig.until_serve(&[0, 1, 2]);
    assert_eq!(rig.shares(0), shares, "nobody was lost");
    assert_eq!([0, 1, 2].map(|node| rig.daemon(node).pid()), pids);
    // What was ordered stays so.
    rig.done(0, &["drain", "a", "--yes"]);
    rig.done(0, &["restart-daemon"]);
    assert_eq!(rig.status(0).unwrap()["drained"], true);
    // By a file that is another one nothing could be handed over.
    rig.nodes[1].configure(&rig.text(1, "interval = \"300ms\"\n", "")).unwrap();
    let refused = rig.ha(1, &["restart-daemon"]);
    assert_eq!((refused.code, refused.err.contains("interval of the file")), (78, true));
    rig.nodes[1].configure("nonsense").unwrap();
    assert_eq!(rig.ha(1, &["restart-daemon"]).code, 78);
    assert_eq!(kept(&mut open), open.len());
}

/// What takes long where the processors are busy is done before the last beat of one process, or
/// behind the first one of the next: at the usual interval a gap would begin after 75 ms (F6).
#[test]
fn a_rolling_restart_at_the_usual_interval_cuts_nothing_while_the_processors_are_busy() {
    let Some(rig) = Rig::whole("farm_roll_busy", 3, "", "") else { return };
    if rig.daemon(0).output().contains("has no real-time priority") {
        return ha_lab::skip("real-time priority, without which a busy machine is late");
    }
    let mut open = rig.connect(120);
    let shares = rig.shares(0);
    let _busy = Busy::start();
    // A beat that comes late makes a view, and meanwhile nothing is handed over: as it says then.
    let order = |node: usize| match rig.ha(node, &["restart-daemon"]) {
        it if it.code == 75 && it.err.contains("order it again in a moment") => false,
        it if it.code == 0 => true,
        it => panic!("{it:?}\n{}", rig.daemon(node).output()),
    };
    for node in 0..3 {
        assert!(within(SOON, || order(node)), "{}", rig.daemon(node).output());
        let output = rig.daemon(node).output();
        assert!(output.contains("goes on where the daemon before it stopped"), "{output}");
        assert_eq!(kept(&mut open), open.len(), "connections broke: {output}");
    }
    rig.until_serve(&[0, 1, 2]);
    assert_eq!(rig.shares(0), shares, "nobody was lost");
}

#[test]
fn services_that_wait_for_the_last_member_wait_on_through_a_rolling_restart() {
    let Some(rig) = Rig::whole("farm_roll_more", 3, "interval = \"1s\"\n", "") else { return };
    let mut open = rig.connect(60);
    let more = format!("\n[[service]]\nname = \"more\"\nvip = \"{}\"\nport = 7001\n", rig.vip());
    let file = |node: usize| rig.text(node, "interval = \"1s\"\n", &more);
    let services = |node: usize| rig.status(node).unwrap()["services"].as_array().unwrap().len();
    for node in 0..2 {
        rig.nodes[node].configure(&file(node)).unwrap();
        rig.done(node, &["reload"]);
    }
    for node in 0..3 {
        rig.done(node, &["restart-daemon"]);
        let output = rig.daemon(node).output();
        assert!(output.contains("goes on where the daemon before it stopped"), "{output}");
        assert_eq!(kept(&mut open), open.len(), "connections broke: {output}");
        assert_eq!(services(node), 1, "one member has it not yet");
    }
    // The last one never reloads: the next process reads its file.
    rig.nodes[2].configure(&file(2)).unwrap();
    rig.done(2, &["restart-daemon"]);
    assert!(within(SOON, || (0..3).all(|node| services(node) == 2)));
    rig.until_serve(&[0, 1, 2]);
    assert_eq!(kept(&mut open), open.len(), "nothing was cut");
}

#[test]
fn a_program_that_does_not_run_is_not_handed_over_to() {
    let Some(mut rig) = Rig::new("farm_broken", 2) else { return };
    let place = rig.nodes[0].folder().join("farm-node");
    ha_lab::copy_program(env!("CARGO_BIN_EXE_farm-node"), &place);
    rig.configure("interval = \"1s\"\n", "");
    let daemon = rig.hosts[0].spawn(&place, |it| it.arg("--config").arg(rig.nodes[0].file()));
    rig.daemons[0] = Some(daemon.unwrap());
    rig.start(1);
    rig.until_serve(&[0, 1]);
    let mut open = rig.connect(40);
    let good = rig.nodes[0].folder().join("good");
    fs::rename(&place, &good).unwrap();
    fs::write(&place, "half a program").unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = rig.ha(0, &["restart-daemon"]);
    let told = refused.err.contains("cannot go on: ") && refused.err.contains("order it again");
    assert_eq!((refused.code, told), (1, true), "{refused:?}");
    assert_eq!(kept(&mut open), open.len(), "{}", rig.daemon(0).output());
    ha_lab::copy_program(&good, &place);
    rig.done(0, &["restart-daemon"]);
    rig.until_serve(&[0, 1]);
    assert_eq!(kept(&mut open), open.len(), "{}", rig.daemon(0).output());
}

/// Who takes nothing has nothing to hand over. It tries for a while, and systemd would kill it then.
#[test]
fn a_daemon_that_tries_to_hand_over_is_alive_meanwhile() {
    let Some(mut rig) = Rig::new("farm_alive", 2) else { return };
    rig.configure("interval = \"300ms\"\nisolated = \"nothing\"\n", "");
    let socket = rig.nodes[0].folder().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(SOON)).unwrap();
    let told = [("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "1000000")];
    rig.nodes[0].set_environment(&told.map(|(name, value)| (name.into(), value.into())));
    rig.start(0);
    // What nobody reads fills the socket.
    let heard = || {
        let mut bytes = [0; 512];
        let len = systemd.recv(&mut bytes).expect("it is alive");
        String::from_utf8(bytes[..len].into()).unwrap()
    };
    while !heard().contains("READY=1") {}
    let (rig, mut alive) = (&rig, 0);
    thread::scope(|scope| {
        let refused = scope.spawn(|| rig.ha(0, &["restart-daemon", "--force"]));
        assert!((0..WORDS_MAX).any(|_| heard().contains("RELOADING=1")), "it is not ordered");
        loop {
            match heard() {
                said if said.contains("READY=1") => break,
                said => alive += usize::from(said == "WATCHDOG=1"),
            }
        }
        assert_eq!(refused.join().unwrap().code, 75);
    });
    assert!(alive > 0, "systemd heard nothing of it meanwhile");
}

/// Of a daemon that says twice in a second that it is alive.
const WORDS_MAX: usize = 100;

/// Whoever presses Ctrl-C twice does not want to wait for minutes.
#[test]
fn told_twice_to_end_it_does_so_without_its_scripts() {
    let Some(mut rig) = Rig::new("farm_told_twice", 2) else { return };
    let it = &rig.nodes[0];
    it.script("web", "start_both", "true").unwrap();
    let scripts = it.script("web", "stop_both", "echo $3 >> stopped\nsleep 1000").unwrap();
    let limits = "stop_timeout = \"5m\"\nforce_timeout = \"5m\"\n";
    let lines = format!("{CALM}{limits}scripts = \"{}\"\n", scripts.display());
    it.configure(&rig.text(0, &lines, "")).unwrap();
    rig.nodes[1].configure(&rig.text(1, CALM, "")).unwrap();
    rig.start_all();
    rig.daemon(0).terminate().unwrap();
    let stopped = || rig.nodes[0].wrote("web", "stopped");
    assert!(within(SOON, || stopped() == "stop\n"), "{}", rig.daemon(0).output());
    rig.daemon(0).terminate().unwrap();
    let status = rig.daemon(0).wait(SOON).unwrap().expect("it does not wait for the script");
    assert!(status.success(), "{}", rig.daemon(0).output());
    assert_eq!(stopped(), "stop\n", "nor does it begin another one");
    assert!(!rig.hosts[0].holds(rig.vip()).unwrap() && !rig.pins(0).exists());
    rig.until_serve(&[1]);
}

/// Before it hears signals a program is killed by them, and a lost one is never obeyed.
#[test]
fn a_daemon_that_is_told_to_end_while_it_is_replaced_ends_in_order() {
    let Some(mut rig) = Rig::whole("farm_end_roll", 2, CALM, "") else { return };
    let socket = rig.nodes[0].folder().join("run/control.sock");
    // At other moments of the exec each time.
    for pause in [0, 2, 5, 10, 20, 40] {
        let order = rig.hosts[0].spawn(env!("CARGO_BIN_EXE_ha"), |it| {
            it.arg("--socket").arg(&socket).arg("restart-daemon")
        });
        let daemon = rig.daemon(0);
        assert!(daemon.wait_for("handed over: the next program goes on", SOON));
        let at = now();
        while now().saturating_since(at) < Duration::from_millis(pause) {
            std::thread::yield_now();
        }
        daemon.terminate().unwrap();
        let status = daemon.wait(SOON).unwrap().expect("it was told to end");
        assert!(status.success(), "{pause} ms: {status}: {}", daemon.output());
        assert!(daemon.output().contains("told to end"), "{}", daemon.output());
        assert!(!rig.pins(0).exists(), "no filter");
        drop(order);
        rig.until_serve(&[1]);
        rig.start(0);
        rig.until_serve(&[0, 1]);
    }
}
