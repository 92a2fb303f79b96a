//! `mirror-node` as a process: one of two that would use the same folders, and its end.
#![allow(clippy::unwrap_used, reason = "a test says what failed by where it stopped")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ha_core::driver::Clock;
use ha_core::linux::cgroup::Cgroup;
use ha_core::proto::Instant;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

/// How long anything may take that is expected to come.
const SOON: Duration = Duration::from_secs(30);

/// A node alone, without a witness. All gone at the drop.
struct Rig {
    folder: tempfile::TempDir,
    cluster: String,
    daemon: Option<Child>,
}

impl Rig {
    /// `None`, said once, where a daemon may not have control groups.
    fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !ha_lab::root_or_skip() {
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let cluster = format!("daemon-{}-{number}", std::process::id());
        let rig = Self { folder: tempfile::tempdir().unwrap(), cluster, daemon: None };
        rig.script("start_prim", "touch started");
        rig.script("stop_prim", "touch stopped");
        rig.write_config("state", "run");
        Some(rig)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.path("web").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn write_config(&self, state: &str, run: &str) {
        let home = ha_lab::own_loopback();
        let udp: Vec<_> = (0..2).map(|_| UdpSocket::bind((home, 0)).unwrap()).collect();
        let tcp: Vec<_> = (0..2).map(|_| TcpListener::bind((home, 0)).unwrap()).collect();
        let [udp0, udp1] = [0, 1].map(|at: usize| udp[at].local_addr().unwrap());
        let [tcp0, tcp1] = [0, 1].map(|at: usize| tcp[at].local_addr().unwrap());
        let (cluster, home) = (&self.cluster, self.folder.path().display());
        let text = format!(
            "cluster = \"{cluster}\"\nnode = 0\npeer = 1\nvote = \"none\"\ninsecure = true\n\
             links = [{{ local = \"{udp0}\", peer = \"{udp1}\" }}]\n\
             replication = {{ listen = \"{tcp0}\", connect = \"{tcp1}\" }}\n\
             state = \"{home}/{state}\"\nrun = \"{home}/{run}\"\nlog = \"{home}/log\"\n\
             [[module]]\nname = \"web\"\nid = 1\nscripts = \"{home}/web\"\nstop_timeout = \"1s\"\n"
        );
        fs::write(self.path("ha-node.toml"), text).unwrap();
    }

    fn command(&self) -> Command {
        self.behind("env")
    }

    /// The daemon, started by a program that becomes it.
    fn behind(&self, wrapper: &str) -> Command {
        let own = self.path("mirror-node");
        let program = if own.exists() { own } else { env!("CARGO_BIN_EXE_mirror-node").into() };
        let mut words = wrapper.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg(program);
        command.arg("--config").arg(self.path("ha-node.toml")).stdin(Stdio::null());
        command
    }

    fn refused(&self) -> String {
        let Output { status, stderr, .. } = self.command().env("RUST_LOG", "off").output().unwrap();
        assert!(!status.success());
        let text = String::from_utf8(stderr).unwrap();
        text.replace(&self.folder.path().display().to_string(), "/f")
    }

    fn groups(&self) -> PathBuf {
        Cgroup::home().unwrap().join(format!("ha-{}-0-web", self.cluster))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.daemon.as_ref().unwrap()), signal).unwrap();
    }

    fn guardian_listens(&self) -> bool {
        let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
        socket.connect(self.path("run/web/guardian.sock")).is_ok()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        for pid in ["hung", "looks"].into_iter().flat_map(|file| pids(&self.path(file))) {
            // Each leads a group; those that a red test left behind.
            let group = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        }
        // A guardian whose service is gone has nothing to watch, and ends when it is told to.
        if let Ok(prim) = Cgroup::open(self.groups().join("prim")) {
            let _ = prim.kill();
            let _ = prim.wait_empty(SOON);
        }
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let ours = self.path("run/web/guardian.sock");
            let named = |words: &[u8]| words == ours.as_os_str().as_encoded_bytes();
            if line.split(|&byte| byte == 0).any(named) {
                let pid = process.file_name().to_str().and_then(|name| name.parse().ok());
                let _ = pid.and_then(Pid::from_raw).map(|pid| kill_process(pid, Signal::KILL));
            }
        }
        for below in ["prim", "both", ""] {
            let _ = fs::remove_dir(self.groups().join(below));
        }
    }
}

fn wait(what: &str, done: impl Fn() -> bool) {
    let clock = Clock::start();
    while !done() {
        assert!(clock.now() < Instant::ZERO + SOON, "never seen: {what}");
        std::thread::yield_now();
    }
}

/// Blank nodes wait for an operator, so that no service runs.
fn start(rig: &mut Rig) {
    let command = rig.command();
    start_by(rig, command);
}

fn start_by(rig: &mut Rig, mut command: Command) {
    let log = fs::File::create(rig.path("log.txt")).unwrap();
    rig.daemon = Some(command.stderr(log).spawn().unwrap());
}

#[test]
fn a_second_daemon_is_refused_and_touches_nothing() {
    let Some(mut rig) = Rig::new() else { return };
    start(&mut rig);
    wait("a daemon", || rig.guardian_listens() && said(&rig, "the node is up"));
    let run = "mirror-node: run: another daemon uses /f/run: stop it, or name another folder\n";
    assert_eq!(rig.refused(), run);
    rig.write_config("state", "other");
    let state = run.replace("run: another", "state: another").replace("/f/run", "/f/state");
    assert_eq!(rig.refused(), state);
    assert!(rig.guardian_listens(), "the first one's guardian is still there");
    rig.signal(Signal::TERM);
    assert!(rig.daemon.take().unwrap().wait().unwrap().success());
    wait("no guardian", || !rig.guardian_listens());
}

fn said(rig: &Rig, words: &str) -> bool {
    fs::read_to_string(rig.path("log.txt")).unwrap_or_default().contains(words)
}

#[test]
fn what_cannot_be_had_is_one_line_and_leaves_nothing() {
    let Some(rig) = Rig::new() else { return };
    let text = fs::read_to_string(rig.path("ha-node.toml")).unwrap();
    let vip = "vips = [{ address = \"192.0.2.1\", interface = \"none0\" }]\n";
    fs::write(rig.path("ha-node.toml"), format!("{text}{vip}")).unwrap();
    let told = "mirror-node: module web: vips: 192.0.2.1: there is no interface \"none0\": \
        `ip link` lists those of this machine\n";
    assert_eq!(rig.refused(), told);
    fs::write(rig.path("ha-node.toml"), text.replace("insecure = true", "key_file = \"/no\""))
        .unwrap();
    let told = rig.refused();
    assert!(told.starts_with("mirror-node: key_file = \"/no\" cannot be read"), "{told}");
    // A port may be let go yet: systemd must try again.
    fs::write(rig.path("ha-node.toml"), &text).unwrap();
    let link = text.split("local = \"").nth(1).unwrap().split('"').next().unwrap();
    let _taken = UdpSocket::bind(link).unwrap();
    let ended = rig.command().output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(!rig.guardian_listens(), "no guardian is left");
    assert!(!rig.groups().exists(), "no group is left");
    assert!(!rig.path("web/started").exists(), "nothing was started");
}

/// An order by `ha`, which must not wait for what never comes.
fn order(rig: &Rig, words: &[&str]) {
    let mut ha = Command::new(env!("CARGO_BIN_EXE_ha"));
    ha.arg("--socket").arg(rig.path("run/control.sock")).args(words).args(["--timeout", "100ms"]);
    let told = ha.stdin(Stdio::null()).output().unwrap();
    // 0 or 124: accepted; whether it was done yet does not matter here.
    assert!(matches!(told.status.code(), Some(0 | 124)), "{told:?}");
}

#[test]
fn an_application_that_cannot_be_started_is_not_started_for_ever() {
    let Some(mut rig) = Rig::new() else { return };
    rig.script("start_prim", "echo again >> starts; exit 1");
    start(&mut rig);
    wait("a daemon", || said(&rig, "the node is up"));
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    order(&rig, &["prim", "--keep", name.trim(), "--yes"]);
    let starts = || fs::read_to_string(rig.path("web/starts")).unwrap_or_default().lines().count();
    let spent = |times: usize| {
        let text = fs::read_to_string(rig.path("log.txt")).unwrap_or_default();
        text.matches("the module is stopped until an operator looks").count() == times
    };
    wait("no restart left", || spent(1) && said(&rig, "to: Stop"));
    assert_eq!(starts(), 4, "the first start, and maxloop = 3 more");
    order(&rig, &["start", "--yes"]);
    wait("no restart left again", || spent(2));
    assert_eq!(starts(), 8, "an order resets what is counted");
    rig.signal(Signal::TERM);
    assert!(rig.daemon.take().unwrap().wait().unwrap().success());
}

/// A service that runs, and a reload that goes on with it.
fn reload(rig: &mut Rig) {
    serve(rig);
    rig.signal(Signal::HUP);
    let again = "the node is up";
    let log = || fs::read_to_string(rig.path("log.txt")).unwrap_or_default();
    wait("the next program", || log().matches(again).count() == 2);
    assert!(said(rig, "goes on where an earlier process stopped"), "{}", log());
}

/// With more lines behind those of the module.
fn append(rig: &Rig, lines: &str) {
    let file = rig.path("ha-node.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(file, format!("{text}{lines}")).unwrap();
}

fn serve(rig: &mut Rig) {
    start(rig);
    until_serves(rig);
}

fn until_serves(rig: &Rig) {
    wait("a daemon", || said(rig, "the node is up"));
    bootstrap(rig);
}

/// An operator says whose data count, and it serves.
fn bootstrap(rig: &Rig) {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    order(rig, &["prim", "--keep", name.trim(), "--yes"]);
    wait("a primary", || said(rig, "to: Alone, ready: true"));
}

/// It serves all the same: neither is needed for safety.
#[test]
fn what_the_machine_refuses_is_a_warning_that_says_what_would_help() {
    let Some(mut rig) = Rig::new() else { return };
    let less = "prlimit --memlock=65536:65536 --rtprio=0:0 \
                setpriv --bounding-set=-ipc_lock,-sys_nice,-sys_resource";
    let command = rig.behind(less);
    start_by(&mut rig, command);
    until_serves(&rig);
    let log = fs::read_to_string(rig.path("log.txt")).unwrap();
    for [begins, mend] in [
        ["memory is not locked (at most 65536 bytes are", "CAP_IPC_LOCK or LimitMEMLOCK=infinity"],
        ["ha-node has no real-time priority (chrt: ", "CAP_SYS_NICE or LimitRTPRIO=10"],
    ] {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(begins)).collect();
        let warns = |line: &&str| line.contains(" WARN ") && line.ends_with(mend);
        assert!(lines.len() == 1 && lines.iter().all(warns), "{begins}: {log}");
    }
    rig.signal(Signal::TERM);
    assert!(rig.daemon.take().unwrap().wait().unwrap().success());
}

/// A network that is late, or whose interface is down, kept the next program from starting, also
/// with the files of the one before.
#[test]
fn addresses_that_are_not_here_keep_no_daemon_from_starting_or_going_on() {
    let Some(mut rig) = Rig::new() else { return };
    let file = rig.path("ha-node.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("local = \"127.0.0.1:", "local = \"192.0.2.1:");
    let http = "[http]\nlisten = \"192.0.2.1:9010\"\n[[module]]";
    fs::write(&file, text.replace("[[module]]", http)).unwrap();
    rig.script("start_prim", "echo again >> starts");
    reload(&mut rig);
    let starts = || fs::read_to_string(rig.path("web/starts")).unwrap();
    assert_eq!(starts().lines().count(), 1, "it runs on");
    let log = || fs::read_to_string(rig.path("log.txt")).unwrap_or_default();
    assert!(!log().contains("cannot be run"), "{}", log());
}

/// What is handed over is worth something for a second here, and a server of alerts that is down
/// costs ten for each event.
#[test]
fn a_reload_does_not_wait_for_whoever_is_told_of_events() {
    let Some(mut rig) = Rig::new() else { return };
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    append(&rig, &format!("[notify]\nurl = \"{url}\"\nlevel = \"info\"\n"));
    reload(&mut rig);
    let hung = rig.path("hung");
    let dropped = rig.path("dropped");
    let tell = format!("echo $HA_DROPPED >> {}; echo $$ >> {}", dropped.display(), hung.display());
    rig.script("tell", &format!("{tell}; sleep 1000"));
    let file = rig.path("ha-node.toml");
    let tell = format!("exec = \"{}\"", rig.path("web/tell").display());
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(&format!("url = \"{url}\""), &tell)).unwrap();
    rig.signal(Signal::HUP);
    wait("an event that is told", || !pids(&hung).is_empty());
    rig.signal(Signal::HUP);
    let log = || fs::read_to_string(rig.path("log.txt")).unwrap_or_default();
    wait("the next program but two", || log().matches("the node is up").count() == 4);
    assert!(!said(&rig, "this is a boot"), "{}", log());
    wait("none of the first", || !lives(pids(&hung)[0]));
    // Nobody was told of what waited, and the next one to be told hears how much that is.
    wait("an event of the last program", || pids(&hung).len() == 2);
    let counts = pids(&dropped);
    assert!(counts[0] > 0 && counts[1] > counts[0], "{counts:?}");
}

#[test]
fn a_reload_leaves_no_program_of_a_checker_behind() {
    let Some(mut rig) = Rig::new() else { return };
    let looks = rig.path("looks");
    rig.script("look", &format!("echo $$ >> {}; sleep 1000", looks.display()));
    let command = rig.path("web/look").display().to_string();
    append(
        &rig,
        &format!(
            "[[module.checker]]\nname = \"own\"\nkind = \"custom\"\ntimeout = \"10m\"\n\
             command = [\"{command}\"]\naction = \"none\"\nwhen = \"always\"\n"
        ),
    );
    start(&mut rig);
    wait("a look", || pids(&looks).len() == 1);
    rig.signal(Signal::TERM);
    assert!(rig.daemon.take().unwrap().wait().unwrap().success());
    assert!(!lives(pids(&looks)[0]), "the end leaves none");
    fs::remove_file(&looks).unwrap();
    reload(&mut rig);
    wait("looks of both", || pids(&looks).len() == 2);
    assert!(!lives(pids(&looks)[0]), "not even as a zombie");
}

fn pids(file: &Path) -> Vec<u32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Whether there is such a process, dead or alive.
fn lives(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[test]
fn an_order_of_the_daemon_before_is_not_taken_for_another() {
    let Some(mut rig) = Rig::new() else { return };
    serve(&mut rig);
    let number = || {
        let (code, said) = ha(&rig, &["failover", "off", "--json"]);
        assert_eq!(code, Some(0), "{said}");
        let digits = said.split("\"id\":").nth(1).unwrap().split(',').next().unwrap();
        digits.to_owned()
    };
    let given = number();
    assert_eq!(ha(&rig, &["op", &given]).0, Some(0));
    rig.signal(Signal::HUP);
    let log = || fs::read_to_string(rig.path("log.txt")).unwrap_or_default();
    wait("the next program", || log().matches("the node is up").count() == 2);
    assert_ne!(number(), given);
    assert_eq!(ha(&rig, &["op", &given]).0, Some(64), "it is forgotten, and no other is told of");
}

/// What `ha` ends with, and says.
fn ha(rig: &Rig, words: &[&str]) -> (Option<i32>, String) {
    let mut ha = Command::new(env!("CARGO_BIN_EXE_ha"));
    ha.arg("--socket").arg(rig.path("run/control.sock")).args(words).stdin(Stdio::null());
    let Output { status, stdout, stderr } = ha.output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// Gives the module more time to stop.
fn change(rig: &Rig, from: &str, to: &str) {
    let file = rig.path("ha-node.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        file,
        text.replace(&format!("stop_timeout = \"{from}\""), &format!("stop_timeout = \"{to}\"")),
    )
    .unwrap();
}

#[test]
fn an_order_to_reload_returns_when_the_next_program_runs_the_new_files() {
    let Some(mut rig) = Rig::new() else { return };
    rig.script("start_prim", "echo again >> starts");
    serve(&mut rig);
    let starts = || fs::read_to_string(rig.path("web/starts")).unwrap();
    let before = starts();
    change(&rig, "1s", "3s");
    let (code, said) = ha(&rig, &["reload"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("the daemon goes on with the files as they are; "), "{said}");
    let (code, shown) = ha(&rig, &["config", "show"]);
    assert!(code == Some(0) && shown.contains("stop_timeout = \"3s\""), "{shown}");
    assert_eq!(starts(), before);
    assert_eq!(ha(&rig, &["reload"]), (Some(0), "the files say what runs: nothing to do\n".into()));
}

/// A node whose start script runs until the file `web/hold` is gone, with files that have changed.
fn starting() -> Option<Rig> {
    let mut rig = Rig::new()?;
    rig.script("start_prim", "touch began; while [ -e hold ]; do sleep 0.01; done");
    serve(&mut rig);
    fs::write(rig.path("web/hold"), "").unwrap();
    fs::remove_file(rig.path("web/began")).unwrap();
    order(&rig, &["restart", "--yes"]);
    wait("a start", || rig.path("web/began").exists());
    change(&rig, "1s", "3s");
    Some(rig)
}

#[test]
fn an_order_to_reload_that_cannot_be_now_says_so() {
    let Some(rig) = starting() else { return };
    let (code, said) = ha(&rig, &["reload"]);
    assert_eq!(code, Some(75), "{said}");
    let way = "ha: module web: not reloaded: its application or addresses are on their way";
    assert!(said.starts_with(way) && said.ends_with(": order it again\n"), "{said}");
    fs::remove_file(rig.path("web/hold")).unwrap();
    wait("the next program", || ha(&rig, &["reload"]).0 == Some(0));
}

/// Whoever is to start it again is of the program that ends.
#[test]
fn what_is_stopped_to_be_started_is_started_by_the_next_program() {
    let Some(mut rig) = Rig::new() else { return };
    rig.script("start_prim", "echo again >> starts");
    rig.script("stop_prim", "touch stops; while [ -e hold ]; do sleep 0.01; done");
    serve(&mut rig);
    let starts = || fs::read_to_string(rig.path("web/starts")).unwrap().lines().count();
    let before = starts();
    fs::write(rig.path("web/hold"), "").unwrap();
    order(&rig, &["stopstart", "--yes", "--force"]);
    wait("a stop", || rig.path("web/stops").exists());
    // It waits for the stop, and hands over the moment that this is done.
    rig.signal(Signal::HUP);
    wait("a reload", || said(&rig, "a reload: "));
    fs::remove_file(rig.path("web/hold")).unwrap();
    let log = || fs::read_to_string(rig.path("log.txt")).unwrap_or_default();
    wait("the next program", || log().matches("the node is up").count() == 2);
    wait("a start", || starts() == before + 1);
}

/// What was ordered of the process before holds from the first moment of the next one.
#[test]
fn checkers_do_not_act_after_a_reload_while_the_module_is_maintained() {
    let Some(mut rig) = Rig::new() else { return };
    rig.script("start_prim", "echo again >> starts");
    let checker = "name = \"front\"\nkind = \"tcp\"\naddress = \"127.0.0.1:1\"\naction = \"restart\"\n\
         fall = 1\ngrace = \"0s\"\ninterval = \"100ms\"\n";
    serve(&mut rig);
    order(&rig, &["maintenance", "on", "--for", "2h", "--yes"]);
    let starts = || fs::read_to_string(rig.path("web/starts")).unwrap().lines().count();
    let before = starts();
    append(&rig, &format!("[[module.checker]]\n{checker}"));
    for pause in 2..7 {
        change(&rig, &format!("{}s", pause - 1), &format!("{pause}s"));
        let (code, said) = ha(&rig, &["reload"]);
        assert_eq!(code, Some(0), "{said}");
        let (_, shown) = ha(&rig, &["status"]);
        assert!(shown.contains("maintenance on "), "{shown}");
    }
    assert_eq!(starts(), before);
    order(&rig, &["maintenance", "off", "--yes"]);
    wait("the checker acts now", || starts() > before);
}

#[test]
fn a_stop_that_comes_before_the_start_of_a_stopstart_stays() {
    let Some(mut rig) = Rig::new() else { return };
    rig.script("stop_prim", "touch stops; while [ -e hold ]; do sleep 0.01; done");
    serve(&mut rig);
    fs::write(rig.path("web/hold"), "").unwrap();
    let (code, said) = ha(&rig, &["stopstart", "--yes", "--force", "--json", "--timeout", "0s"]);
    assert_eq!(code, Some(124), "{said}");
    let number = said.split("\"id\":").nth(1).unwrap().split(',').next().unwrap();
    wait("a stop", || rig.path("web/stops").exists());
    order(&rig, &["stop", "--yes", "--force"]);
    fs::remove_file(rig.path("web/hold")).unwrap();
    let (code, said) = ha(&rig, &["op", number]);
    assert!(code == Some(1) && said.contains("another order came in between"), "{said}");
    assert_eq!(ha(&rig, &["role", "-q"]).0, Some(0));
}

#[test]
fn a_program_that_does_not_run_is_not_handed_over_to() {
    let Some(mut rig) = Rig::new() else { return };
    let place = rig.path("mirror-node");
    ha_lab::copy_program(env!("CARGO_BIN_EXE_mirror-node"), &place);
    let guardian = env!("CARGO_BIN_EXE_ha-guardian");
    let file = fs::read_to_string(rig.path("ha-node.toml")).unwrap();
    fs::write(rig.path("ha-node.toml"), format!("guardian = \"{guardian}\"\n{file}")).unwrap();
    serve(&mut rig);
    let good = rig.path("good");
    fs::rename(&place, &good).unwrap();
    fs::write(&place, "half a program").unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    let (code, told) = ha(&rig, &["reload"]);
    assert!(code == Some(1) && told.contains("cannot go on: "), "{told}");
    rig.signal(Signal::HUP);
    wait("a refusal", || said(&rig, "install it anew and order it again"));
    assert_eq!(ha(&rig, &["role", "-q"]).0, Some(2), "it serves alone");
    // The same files, and another program.
    ha_lab::copy_program(&good, rig.path("next"));
    fs::rename(rig.path("next"), &place).unwrap();
    let (code, said) = ha(&rig, &["reload"]);
    assert!(code == Some(0) && said.starts_with("the daemon goes on"), "{said}");
}

/// Whoever follows events misses none of the next process.
#[test]
fn events_are_numbered_on_after_a_reload() {
    let Some(mut rig) = Rig::new() else { return };
    serve(&mut rig);
    let newest = |rig: &Rig| -> u64 {
        let (_, said) = ha(rig, &["events", "--json"]);
        let mut numbers = said.lines().filter_map(|line| line.split("\"seq\":").nth(1));
        numbers.next_back().unwrap().split(',').next().unwrap().parse().unwrap()
    };
    let before = newest(&rig);
    change(&rig, "1s", "2s");
    assert_eq!(ha(&rig, &["reload"]).0, Some(0));
    wait("an event", || ha(&rig, &["events"]).1.contains("this daemon goes on"));
    assert!(newest(&rig) > before);
}

#[test]
fn takeovers_of_before_a_reload_are_shown_after_it() {
    let Some(mut rig) = Rig::new() else { return };
    serve(&mut rig);
    let history = |rig: &Rig| ha(rig, &["history", "--json"]);
    let (code, before) = history(&rig);
    assert!(code == Some(0) && before.contains("\"cause\":\"started\""), "{before}");
    // The second one goes on with what the first one had from the one before it.
    for time in ["2s", "3s"] {
        change(&rig, "1s", time);
        assert_eq!(ha(&rig, &["reload"]).0, Some(0));
        assert_eq!(history(&rig).1, before);
        change(&rig, time, "1s");
    }
}

/// One that was killed and started anew is not the one that was asked.
#[test]
fn a_daemon_that_is_killed_in_the_middle_of_a_reload_has_not_reloaded() {
    let Some(mut rig) = starting() else { return };
    let mut ha = Command::new(env!("CARGO_BIN_EXE_ha"));
    ha.arg("--socket").arg(rig.path("run/control.sock")).arg("reload");
    let asks = ha.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait("a reload", || said(&rig, "a reload: "));
    rig.signal(Signal::KILL);
    rig.daemon.take().unwrap().wait().unwrap();
    fs::remove_file(rig.path("web/hold")).unwrap();
    start(&mut rig);
    let asked = asks.wait_with_output().unwrap();
    let told = String::from_utf8(asked.stderr).unwrap();
    assert_eq!(asked.status.code(), Some(1), "{told}");
    assert!(told.contains("another one was started"), "{told}");
}

/// It answers as soon as its modules do, and what the process before kept came after that.
#[test]
fn an_order_right_after_a_reload_holds() {
    let Some(mut rig) = Rig::new() else { return };
    serve(&mut rig);
    for second in 2..10 {
        change(&rig, &format!("{}s", second - 1), &format!("{second}s"));
        assert_eq!(ha(&rig, &["reload"]).0, Some(0));
        let (code, said) = ha(&rig, &["maintenance", "on", "--for", "2h", "--yes"]);
        assert_eq!(code, Some(0), "{said}");
        // A later look than any that the start has.
        wait("it is up", || said_times(&rig, "the node is up") == second);
        let (_, shown) = ha(&rig, &["status"]);
        assert!(shown.contains("maintenance on "), "{second}: {shown}");
        assert_eq!(ha(&rig, &["maintenance", "off", "--yes"]).0, Some(0));
    }
}

fn said_times(rig: &Rig, words: &str) -> usize {
    fs::read_to_string(rig.path("log.txt")).unwrap_or_default().matches(words).count()
}

#[test]
fn files_that_cannot_be_read_are_not_those_that_run() {
    let Some(mut rig) = Rig::new() else { return };
    serve(&mut rig);
    append(&rig, "no_such_field = 1\n");
    let differs = || ha(&rig, &["status", "--json"]).1.contains("\"config_differs\":true");
    wait("a note", differs);
    assert_eq!(ha(&rig, &["reload"]).0, Some(78));
}

/// `maxloop` is one number, whoever has the application restarted.
#[test]
fn a_restart_by_a_checker_is_one_that_is_left_less() {
    let Some(mut rig) = Rig::new() else { return };
    append(
        &rig,
        "maxloop = 1\n[[module.checker]]\nname = \"front\"\nkind = \"tcp\"\n\
         address = \"127.0.0.1:1\"\naction = \"restart\"\nfall = 1\ngrace = \"0s\"\n\
         interval = \"100ms\"\n",
    );
    serve(&mut rig);
    let left = |count: u8| {
        let line = format!("\"restarts_left\":{count}");
        ha(&rig, &["status", "--json"]).1.contains(&line)
    };
    wait("a restart", || said(&rig, "a checker is down"));
    wait("none left", || left(0));
}

#[test]
fn checkers_that_are_off_do_nothing_until_they_are_on_again() {
    let Some(mut rig) = Rig::new() else { return };
    rig.script("start_prim", "echo again >> starts; touch well");
    let well = rig.path("web/well").display().to_string();
    append(
        &rig,
        &format!(
            "[[module.checker]]\nname = \"file\"\nkind = \"custom\"\naction = \"restart\"\n\
             command = [\"/usr/bin/test\", \"-e\", \"{well}\"]\nfall = 1\nrise = 1\n\
             grace = \"0s\"\ninterval = \"50ms\"\n"
        ),
    );
    serve(&mut rig);
    let is_up = || ha(&rig, &["status"]).1.contains("file up");
    wait("a look", is_up);
    let starts = || fs::read_to_string(rig.path("web/starts")).unwrap().lines().count();
    let before = starts();
    assert_eq!(ha(&rig, &["checkers", "off"]).0, Some(0));
    fs::remove_file(&well).unwrap();
    // Ten looks and more: nobody acts, and the next process goes on with that.
    let acts = || starts() > before;
    assert!(!ha_lab::within(Duration::from_millis(600), acts), "it was off");
    change(&rig, "1s", "2s");
    assert_eq!(ha(&rig, &["reload"]).0, Some(0));
    assert!(!ha_lab::within(Duration::from_millis(600), acts), "it was off before the reload");
    assert!(!is_up());
    assert_eq!(ha(&rig, &["checkers", "on"]).0, Some(0));
    wait("the checker acts again", acts);
    wait("what it had done helped", is_up);
}

/// Adds the page for load balancers; where it is.
fn with_health(rig: &Rig) -> SocketAddr {
    let free = TcpListener::bind((ha_lab::own_loopback(), 0)).unwrap().local_addr().unwrap();
    append(rig, &format!("[http]\nlisten = \"{free}\"\n"));
    free
}

/// The status of a page and what stands there.
fn page(at: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: ha\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().into(), body.into())
}

#[test]
fn clients_are_sent_to_a_primary_only_while_it_is_ready() {
    let Some(mut rig) = Rig::new() else { return };
    let health = with_health(&rig);
    rig.script("start_prim", "touch began; while [ -e hold ]; do sleep 0.01; done");
    start(&mut rig);
    wait("a daemon", || said(&rig, "the node is up"));
    let pages = ["/var/modules/web/ready.txt", "/ready?module=web"];
    let all_say = |status: &str, text: &str| {
        for path in pages {
            assert_eq!(page(health, path), (status.into(), text.into()), "{path}");
        }
    };
    let role = |rig: &Rig| ha(rig, &["role"]).1;
    assert_eq!(role(&rig), "WAIT not ready\n");
    all_say("404", "NOT FOUND");
    bootstrap(&rig);
    wait("a primary", || role(&rig) == "ALONE ready\n");
    all_say("200", "OK");
    assert_eq!(page(health, "/var/modules/none-such/ready.txt").0, "404");
    // Its application is on its way: it has the role, and nobody who could answer.
    fs::write(rig.path("web/hold"), "").unwrap();
    fs::remove_file(rig.path("web/began")).unwrap();
    order(&rig, &["restart", "--yes"]);
    wait("a start", || rig.path("web/began").exists());
    wait("one that is not ready", || role(&rig) == "ALONE not ready\n");
    all_say("404", "NOT FOUND");
    fs::remove_file(rig.path("web/hold")).unwrap();
    wait("a primary", || role(&rig) == "ALONE ready\n");
    all_say("200", "OK");
}

/// A server that is told of events: its address, and the head and the body of each request.
fn listen() -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind((ha_lab::own_loopback(), 0)).unwrap();
    let url = format!("http://{}/tell?me", listener.local_addr().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        // Until nobody wants to know any more.
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(&stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
            }
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let mut body = vec![0; length.unwrap().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            let body = serde_json::from_slice(&body).unwrap();
            if tell.send((head, body)).is_err() {
                return;
            }
        }
    });
    (url, told)
}

/// All that `ha events` has of one daemon.
fn events(rig: &Rig) -> Vec<Value> {
    let (_, said) = ha(rig, &["events", "--json"]);
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| line["event"].clone()).filter(Value::is_object).collect()
}

#[test]
fn events_are_posted_and_a_program_is_told_those_of_its_level() {
    let Some(mut rig) = Rig::new() else { return };
    let (url, posts) = listen();
    append(&rig, &format!("[notify]\nurl = \"{url}\"\nlevel = \"info\"\n"));
    rig.script("start_prim", "echo $4 > epoch");
    serve(&mut rig);
    let node = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    let serves = |it: &Value| it["event"] == "role" && it["role"] == "ALONE";
    let (head, it) = loop {
        let (head, it) = posts.recv_timeout(SOON).unwrap();
        if serves(&it) {
            break (head, it);
        }
    };
    assert!(head.starts_with("POST /tell?me HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: application/json\r\n"), "{head}");
    let words = ["module", "node", "level"].map(|field| it[field].as_str().unwrap());
    assert_eq!(words, ["web", &node, "info"]);
    let epoch = fs::read_to_string(rig.path("web/epoch")).unwrap();
    assert_eq!(it["epoch"], epoch.trim().parse::<u64>().unwrap(), "as scripts get it");
    assert_eq!(it["dropped"], 0);
    let same = |event: &Value| event["seq"] == it["sequence"] && event["text"] == it["text"];
    assert!(events(&rig).iter().any(same), "{it} is none of {:?}", events(&rig));

    // From the next process on a program is told, and of the worst only.
    let (told, environment) = (rig.path("told"), rig.path("environment"));
    let [to, also] = [&told, &environment].map(|path| path.display());
    rig.script("tell", &format!("cat >> {to}; env | grep ^HA_ > {also}"));
    let program = rig.path("web/tell").display().to_string();
    let file = rig.path("ha-node.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace(&format!("url = \"{url}\""), &format!("exec = \"{program}\""));
    fs::write(&file, text.replace("level = \"info\"", "level = \"error\"")).unwrap();
    assert_eq!(ha(&rig, &["reload"]).0, Some(0));
    rig.script("start_prim", "exit 1");
    order(&rig, &["restart", "--yes"]);
    wait("no restart left", || said(&rig, "the module is stopped until an operator looks"));
    wait("its stop", || ha(&rig, &["role"]).1 == "STOP ready\n");
    let all = events(&rig);
    rig.signal(Signal::TERM);
    assert!(rig.daemon.take().unwrap().wait().unwrap().success(), "it tells what waits");
    let told = fs::read_to_string(&told).unwrap();
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers = |all: &[Value], name: &str| -> Vec<u64> {
        all.iter().map(|it| it[name].as_u64().unwrap()).collect()
    };
    let worst: Vec<Value> = all.iter().filter(|it| it["level"] == "error").cloned().collect();
    assert!(worst.len() < all.len(), "there was something to leave out");
    assert_eq!(numbers(&told, "sequence"), numbers(&worst, "seq"));
    assert!(told.len() == 4 && told.iter().all(|it| it["event"] == "application_failed"));
    let environment = fs::read_to_string(environment).unwrap();
    for line in ["HA_EVENT=application_failed", "HA_LEVEL=error", "HA_MODULE=web"] {
        assert!(environment.lines().any(|it| it == line), "{line}: {environment}");
    }
}

#[test]
fn the_watchdog_of_the_file_is_fed_and_let_go_at_an_orderly_end() {
    let Some(mut rig) = Rig::new() else { return };
    let device = rig.path("watchdog");
    let file = rig.path("ha-node.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("watchdog = \"{}\"\n{text}", device.display())).unwrap();
    fs::write(&device, "").unwrap();
    serve(&mut rig);
    let fed = || fs::read(&device).unwrap();
    wait("two feeds", || fed().len() >= 2);
    assert!(fed().iter().all(|&byte| byte == 0), "{:?}", fed());
    rig.signal(Signal::TERM);
    assert!(rig.daemon.take().unwrap().wait().unwrap().success());
    wait("no guardian", || !rig.guardian_listens());
    let fed = fed();
    let (last, others) = fed.split_last().unwrap();
    assert_eq!(*last, b'V', "a machine that ends in order is not reset");
    assert!(others.iter().all(|&byte| byte == 0), "{fed:?}");
    // One that is not there is told of, and nothing runs unwatched.
    fs::remove_file(&device).unwrap();
    let refused = rig.refused();
    assert!(refused.contains("watchdog /f/watchdog: No such file or directory"), "{refused}");
}
