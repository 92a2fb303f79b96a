//! Each kind of checker, up and down with the real thing.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use ha_core::checker::{Action, Loops, ModuleState, State, When};
use ha_core::heartbeat::Resources;
use ha_core::linux::checkers::{Checkers, Event};
use ha_core::linux::scripts::Scripts;
use ha_core::linux::service::{Bounds, NoAddresses, ScriptHost};
use ha_core::proto::Role;
use ha_core::raw::RawKind;
use ha_core::{Order, Status};
use ha_lab::Lab;

use crate::checkers_rig::{NEVER, Rig, Setup, quick};
use crate::processes::{Groups, SOON, wait};
use crate::rig::block_on;
use crate::scripts::{settings, write};

#[test]
fn tcp_is_up_while_somebody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let rig = Rig::serving(vec![quick(RawKind::Tcp, |raw| raw.address = Some(text(address)))]);
    assert_eq!(rig.becomes(State::Up), "");
    drop(listener);
    assert!(rig.becomes(State::Down).starts_with("no connection: "));
    let _listener = TcpListener::bind(address).unwrap();
    rig.becomes(State::Up);
}

/// Its file is of a server that is gone, or its process hangs in the kernel.
#[test]
fn a_look_that_never_ends_holds_up_no_other_and_not_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let nobody_writes = folder.path().join("pid");
    rustix::fs::mkfifoat(rustix::fs::CWD, &nobody_writes, rustix::fs::Mode::RWXU).unwrap();
    let stuck = quick(RawKind::Process, |raw| {
        raw.name = "stuck".into();
        raw.pid_file = Some(nobody_writes.display().to_string());
        raw.timeout = Some("50ms".parse().unwrap());
        raw.grace = Some("1ms".parse().unwrap());
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tcp = quick(RawKind::Tcp, |raw| raw.address = Some(text(address)));
    let rig = Rig::serving(vec![stuck, tcp]);
    let is = |name: &str, wanted: State| {
        rig.told(name, |event| match event {
            Event::Changed { checker, state, why } if checker == name && *state == wanted => {
                Some(why.clone())
            }
            _ => None,
        })
    };
    is("it", State::Up);
    let why = is("stuck", State::Down);
    assert!(["no answer in time", "the look before has not ended"].contains(&&*why), "{why}");
    drop(listener);
    is("it", State::Down);
    // Ends here, though a thread waits for a writer until the process does.
    drop(rig);
}

#[test]
fn http_is_up_while_the_answer_is_right() {
    let server = Server::start("HTTP/1.1 200 OK\r\n\r\nall is well\n");
    let web = quick(RawKind::Http, |raw| {
        raw.address = Some(text(server.address));
        raw.path = Some("/health?deep".into());
        raw.host = Some("shop.example".into());
        raw.body = Some("is well".into());
    });
    let rig = Rig::serving(vec![web]);
    rig.becomes(State::Up);
    let asked = server.asked();
    assert!(asked.starts_with("GET /health?deep HTTP/1.0\r\nHost: shop.example\r\n"), "{asked}");
    server.answers("HTTP/1.1 503 Service Unavailable\r\n\r\nall is well\n");
    assert_eq!(rig.becomes(State::Down), "status 503");
    server.answers("HTTP/1.1 200 OK\r\n\r\nall is well\n");
    rig.becomes(State::Up);
    server.answers("HTTP/1.1 200 OK\r\n\r\nit hurts\n");
    assert_eq!(rig.becomes(State::Down), "status 200, and no \"is well\" in the body");
}

#[test]
fn custom_talks_until_it_hears_what_is_expected() {
    let server = Server::start("+PONG\r\n");
    let redis = quick(RawKind::Custom, |raw| {
        raw.address = Some(text(server.address));
        raw.send = Some("PING\r\n".into());
        raw.expect = Some("PONG".into());
    });
    let rig = Rig::serving(vec![redis]);
    rig.becomes(State::Up);
    assert_eq!(server.asked(), "PING\r\n");
    server.answers("-LOADING\r\n");
    let why = rig.becomes(State::Down);
    assert_eq!(why, "expected \"PONG\", and heard \"-LOADING\\r\\n\"");
}

#[test]
fn custom_runs_an_executable_in_the_surroundings_of_the_scripts() {
    let Some(groups) = Groups::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let scripts = Scripts::new(settings(folder.path(), &groups)).unwrap();
    let look = "echo $HA_MODULE $HA_NODE $HA_CHECKER $HA_ACTION $1; pwd; exec test -f well";
    write(folder.path(), &[("look", look)]);
    fs::write(folder.path().join("well"), "").unwrap();
    let command = vec![folder.path().join("look").display().to_string(), "deep".into()];
    let custom = quick(RawKind::Custom, |raw| raw.command = Some(command));
    let surroundings = scripts.surroundings();
    let setup = Setup { surroundings, ..Setup::quiet("shop", vec![custom]) };
    let rig = Rig::start(vec![setup], Checkers::start).unwrap();
    block_on(rig.handles[0].order(Order::Prim)).unwrap();
    rig.becomes(State::Up);
    fs::remove_file(folder.path().join("well")).unwrap();
    assert_eq!(rig.becomes(State::Down), "exit status: 1");
    drop(rig);
    drop(scripts);
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains(" checker: shop n1 it check deep\n"), "{log}");
    let place = fs::canonicalize(folder.path()).unwrap();
    assert!(log.contains(&format!(" checker: {}\n", place.display())), "{log}");
}

#[test]
fn an_executable_that_hangs_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    // The first look passes; the next ones hang, in a child too.
    let look = "cd $(dirname $0); if test -f hang; then sleep 1000 & echo $! >> pids; \
        echo $$ >> pids; wait; fi";
    write(folder.path(), &[("look", look)]);
    let custom = quick(RawKind::Custom, |raw| {
        raw.command = Some(vec![folder.path().join("look").display().to_string()]);
        raw.timeout = Some("300ms".parse().unwrap());
        // Busy machines start a shell slowly.
        raw.fall = Some(4);
    });
    let rig = Rig::serving(vec![custom]);
    rig.becomes(State::Up);
    fs::write(folder.path().join("hang"), "").unwrap();
    assert_eq!(rig.becomes(State::Down), "no answer in time");
    fs::remove_file(folder.path().join("hang")).unwrap();
    rig.becomes(State::Up);
    let pids = fs::read_to_string(folder.path().join("pids")).unwrap();
    assert!(pids.lines().count() >= 2, "{pids}");
    for pid in pids.lines() {
        wait("its end", || !is_alive(pid));
    }
}

#[test]
fn an_end_kills_what_looks() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("look", "cd $(dirname $0); echo $$ > new; mv new pid; sleep 1000")]);
    let custom = quick(RawKind::Custom, |raw| {
        raw.command = Some(vec![folder.path().join("look").display().to_string()]);
        raw.timeout = Some("1h".parse().unwrap());
    });
    let rig = Rig::serving(vec![custom]);
    wait("a look", || folder.path().join("pid").exists());
    let pid = fs::read_to_string(folder.path().join("pid")).unwrap();
    drop(rig);
    wait("its end", || !is_alive(pid.trim()));
}

#[test]
fn process_is_up_while_anything_of_the_module_runs() {
    let Some(groups) = Groups::new() else { return };
    let group = groups.group("prim");
    let mut service = group.command(Path::new("/bin/sleep")).arg("1000").spawn().unwrap();
    let setup = Setup::quiet("shop", vec![quick(RawKind::Process, |_| ())]);
    let mut surroundings = setup.surroundings.clone();
    surroundings.group = Some(group);
    let rig = Rig::start(vec![Setup { surroundings, ..setup }], Checkers::start).unwrap();
    block_on(rig.handles[0].order(Order::Prim)).unwrap();
    rig.becomes(State::Up);
    service.kill().unwrap();
    service.wait().unwrap();
    assert_eq!(rig.becomes(State::Down), "nothing runs in the module's control group");
}

#[test]
fn intf_is_up_while_the_link_is() {
    let Some(mut lab) = Lab::root_or_skip("intf_is_up_while_the_link_is") else { return };
    let network = lab.bridge().unwrap();
    let a = lab.host("a", &[&network]).unwrap();
    let here = quick(RawKind::Intf, |raw| raw.interface = Some("eth0".into()));
    let mut nowhere = quick(RawKind::Intf, |raw| raw.interface = Some("eth7".into()));
    nowhere.name = "nowhere".into();
    let rig = Rig::on(&a, vec![here, nowhere]);
    rig.becomes(State::Up);
    assert_eq!(rig.becomes(State::Down), "there is no interface \"eth7\"");
    a.link_down(&network).unwrap();
    assert_eq!(rig.becomes(State::Down), "it is down, or has no carrier");
    a.link_up(&network).unwrap();
    rig.becomes(State::Up);
    network.unplug(&a).unwrap();
    assert_eq!(rig.becomes(State::Down), "it is down, or has no carrier");
}

#[test]
fn ping_is_up_while_it_is_answered_on_the_way_that_is_watched() {
    let Some(mut lab) = Lab::root_or_skip("ping_is_up_while_it_is_answered") else { return };
    let [one, other] = [(); 2].map(|()| lab.bridge().unwrap());
    let a = lab.host("a", &[&one, &other]).unwrap();
    let router = lab.router("router", &[&one, &other]).unwrap();
    for to in [IpAddr::from(router.v4(&other)), router.v6(&other).into()] {
        let ping = quick(RawKind::Ping, |raw| {
            raw.address = Some(to.to_string());
            raw.from = Some("eth1".into());
            raw.timeout = Some("300ms".parse().unwrap());
        });
        let rig = Rig::on(&a, vec![ping]);
        rig.becomes(State::Up);
        router.link_down(&other).unwrap();
        rig.becomes(State::Down);
        router.link_up(&other).unwrap();
        rig.becomes(State::Up);
    }
}

#[test]
fn ip_is_up_while_the_address_is_here_and_nowhere_else() {
    let Some(mut lab) = Lab::root_or_skip("ip_is_up_while_the_address_is_here") else { return };
    let network = lab.bridge().unwrap();
    let [a, b] = ["a", "b"].map(|name| lab.host(name, &[&network]).unwrap());
    for address in [IpAddr::from(network.v4(100)), network.v6(100).into()] {
        a.add_address(address, &network).unwrap();
        let ip = quick(RawKind::Ip, |raw| {
            raw.address = Some(address.to_string());
            raw.interface = Some("eth0".into());
        });
        let rig = Rig::on(&a, vec![ip]);
        rig.becomes(State::Up);
        b.add_address(address, &network).unwrap();
        let claimant = b.mac(&network).unwrap().to_string();
        assert_eq!(rig.becomes(State::Down), format!("{claimant} claims it too"));
        b.remove_address(address, &network).unwrap();
        rig.becomes(State::Up);
        a.remove_address(address, &network).unwrap();
        assert_eq!(rig.becomes(State::Down), "it is not set on eth0");
    }
}

#[test]
fn module_is_up_while_another_one_is_well() {
    let other = quick(RawKind::Module, |raw| {
        raw.module = Some("db".into());
        raw.state = Some(ModuleState::Serving);
    });
    let setups = vec![Setup::quiet("db", vec![]), Setup::quiet("web", vec![other])];
    let rig = Rig::start(setups, Checkers::start).unwrap();
    assert!(rig.becomes(State::Down).starts_with("it is "));
    block_on(rig.handles[0].order(Order::Prim)).unwrap();
    rig.becomes(State::Up);
    block_on(rig.handles[0].order(Order::Stop)).unwrap();
    assert!(rig.becomes(State::Down).starts_with("it is "));
}

#[test]
fn what_cannot_be_started_is_one_clear_line() {
    let refused = |kind, change: &dyn Fn(&mut ha_core::raw::RawChecker)| {
        let setup = Setup::quiet("shop", vec![quick(kind, |raw| change(raw))]);
        Rig::start(vec![setup], Checkers::start).err().unwrap().to_string()
    };
    let told = refused(RawKind::Module, &|raw| raw.module = Some("shop".into()));
    let says = "checker \"it\": there is no module \"shop\" beside its own in this process";
    assert_eq!(told, says);
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain").display().to_string();
    fs::write(&plain, "#!/bin/sh\n").unwrap();
    let told = refused(RawKind::Custom, &|raw| raw.command = Some(vec![plain.clone()]));
    let says = format!("checker \"it\": {plain} is not executable: chmod +x {plain}");
    assert_eq!(told, says);
    let told = refused(RawKind::Process, &|_| ());
    assert!(told.ends_with("name its process, cmdline or pid_file"), "{told}");
}

#[test]
fn a_node_does_not_serve_before_it_has_what_it_waits_for() {
    let address = TcpListener::bind((ha_lab::own_loopback(), 0)).unwrap().local_addr().unwrap();
    let db = quick(RawKind::Tcp, |raw| {
        raw.address = Some(text(address));
        (raw.action, raw.when) = (Action::Wait, Some(When::Always));
    });
    let setup = vec![Setup::quiet("shop", vec![db])];
    let rig = Rig::start(setup, Checkers::start).unwrap();
    let shop = &rig.handles[0];
    block_on(shop.order(Order::Prim)).unwrap();
    rig.becomes(State::Down);
    let down = Resources { known: 1, up: 0 };
    let status = Rig::until(shop, "told", |status| status.resources == down);
    assert!(!status.serving, "{status:#?}");
    let listener = TcpListener::bind(address).unwrap();
    Rig::until(shop, "awake", |status| status.serving);
    // What runs goes on: there is no peer that could do better.
    drop(listener);
    rig.becomes(State::Down);
    let status = Rig::until(shop, "told", |status| status.resources == down);
    assert!(status.serving, "{status:#?}");
}

#[test]
fn nothing_is_known_of_what_is_suspended() {
    let address = TcpListener::bind((ha_lab::own_loopback(), 0)).unwrap().local_addr().unwrap();
    let db = quick(RawKind::Tcp, |raw| {
        raw.address = Some(text(address));
        (raw.action, raw.when) = (Action::Wait, Some(When::Always));
    });
    let rig = Rig::start(vec![Setup::quiet("shop", vec![db])], Checkers::start).unwrap();
    let shop = &rig.handles[0];
    block_on(shop.order(Order::Prim)).unwrap();
    let why = rig.becomes(State::Down);
    let report = rig.checkers.report("shop").remove(0);
    assert_eq!((report.name.as_str(), report.state), ("it", State::Down));
    assert_eq!((report.why, report.suspended), (why, false));
    rig.checkers.suspend("shop").unwrap();
    rig.becomes(State::Off);
    let status = Rig::until(shop, "serving all the same", |status| status.serving);
    assert_eq!(status.resources, Resources::default());
    let report = rig.checkers.report("shop").remove(0);
    assert_eq!((report.state, report.suspended), (State::Off, true));
    rig.checkers.resume("shop").unwrap();
    rig.becomes(State::Down);
    let told = rig.checkers.suspend("web").unwrap_err().to_string();
    assert_eq!(told, "there is no module \"web\" with checkers in this process");
}

const SERVICE: &str = "echo start >> said; sleep 1000 < /dev/null > /dev/null 2>&1 & echo $! > pid";

/// A module of scripts whose service is watched.
fn scripted(groups: &Groups, folder: &Path, action: Action, loops: u8) -> Rig {
    let scripts = [("start_prim", SERVICE), ("stop_prim", "echo stop >> said; kill $(cat pid)")];
    write(folder, &scripts);
    let scripts = Scripts::new(settings(folder, groups)).unwrap();
    let surroundings = scripts.surroundings();
    let bounds = Bounds { fence: SOON, patience: None };
    let host = ScriptHost::new(scripts, Box::new(NoAddresses), bounds, None, None).unwrap();
    let loops = Loops::new(loops, NEVER);
    let checkers = vec![quick(RawKind::Process, |raw| raw.action = action)];
    let setup = Setup { name: "shop", host, checkers, loops, surroundings };
    let rig = Rig::start(vec![setup], Checkers::start).unwrap();
    block_on(rig.handles[0].order(Order::Prim)).unwrap();
    rig
}

/// Kills the service of a module of scripts.
fn kill(folder: &Path) {
    let pid = fs::read_to_string(folder.join("pid")).unwrap();
    let status = Command::new("kill").args(["-9", pid.trim()]).status().unwrap();
    assert!(status.success());
}

fn acts(rig: &Rig) -> Action {
    rig.told("an action", |event| match event {
        Event::Acts { action, .. } => Some(*action),
        _ => None,
    })
}

fn runs_again(rig: &Rig, before: &Status) -> Status {
    Rig::until(&rig.handles[0], "again", |status| {
        status.serving && status.serving_since != before.serving_since
    })
}

#[test]
fn a_dead_service_is_restarted_until_no_restart_is_left() {
    let Some(groups) = Groups::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let rig = scripted(&groups, folder.path(), Action::Restart, 1);
    rig.becomes(State::Up);
    let before = Rig::until(&rig.handles[0], "serving", |status| status.serving);
    kill(folder.path());
    assert_eq!(acts(&rig), Action::Restart);
    runs_again(&rig, &before);
    rig.becomes(State::Up);
    kill(folder.path());
    rig.told("no restart is left", |event| matches!(event, Event::LoopsSpent { .. }).then_some(()));
    assert_eq!(acts(&rig), Action::Stop);
    let stopped = |status: &Status| status.role == Role::Stop && status.ready;
    Rig::until(&rig.handles[0], "stopped", stopped);
    let said = fs::read_to_string(folder.path().join("said")).unwrap();
    assert_eq!(said.lines().collect::<Vec<_>>(), ["start", "stop", "start", "stop"]);

    // An operator looks, and all are left again.
    block_on(rig.handles[0].order(Order::Start)).unwrap();
    rig.checkers.ordered("shop", Order::Start).unwrap();
    rig.becomes(State::Up);
    kill(folder.path());
    assert_eq!(acts(&rig), Action::Restart);
}

#[test]
fn a_module_is_stopped_and_started() {
    let Some(groups) = Groups::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let rig = scripted(&groups, folder.path(), Action::StopStart, 3);
    rig.becomes(State::Up);
    let before = Rig::until(&rig.handles[0], "serving", |status| status.serving);
    kill(folder.path());
    assert_eq!(acts(&rig), Action::StopStart);
    runs_again(&rig, &before);
    rig.becomes(State::Up);
}

#[test]
fn a_service_that_fails_goes_to_a_peer_that_is_ready() {
    let address = TcpListener::bind((ha_lab::own_loopback(), 0)).unwrap().local_addr().unwrap();
    let listener = TcpListener::bind(address).unwrap();
    let web = quick(RawKind::Tcp, |raw| {
        raw.address = Some(text(address));
        raw.action = Action::Swap;
    });
    let rig = Rig::serving(vec![web]);
    rig.becomes(State::Up);
    let peer = rig.peer();
    Rig::until(&peer.handle, "ready", |status| status.role == Role::Second && status.ready);
    let up = Some(Resources { known: 1, up: 1 });
    Rig::until(&peer.handle, "told", |status| status.peer_resources == up);
    drop(listener);
    assert_eq!(acts(&rig), Action::Swap);
    Rig::until(&peer.handle, "primary", |status| status.serving);
    let status = Rig::until(&rig.handles[0], "secondary", |status| status.role == Role::Second);
    assert!(!status.serving, "{status:#?}");
    // What is not looked at any more is not known.
    let off = Some(Resources::default());
    Rig::until(&peer.handle, "told", |status| status.peer_resources == off);
}

#[test]
fn a_swap_waits_for_a_peer() {
    let Some(groups) = Groups::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let rig = scripted(&groups, folder.path(), Action::Swap, 3);
    rig.becomes(State::Up);
    kill(folder.path());
    let why = rig.told("refused", |event| match event {
        Event::Refused { why, .. } => Some(*why),
        _ => None,
    });
    assert_eq!(why, ha_core::OrderError::NotReady);
    let status = Rig::until(&rig.handles[0], "serving", |status| status.serving);
    assert_eq!(status.role, Role::Alone);
}

fn text(address: SocketAddr) -> String {
    address.to_string()
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Reads one piece of each connection, and answers with the same text and its end.
struct Server {
    address: SocketAddr,
    shared: Arc<Mutex<(String, String)>>,
}

impl Server {
    fn start(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new((String::new(), answer.to_owned())));
        let theirs = Arc::clone(&shared);
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut room = [0; 4096];
                let Ok(len) = stream.read(&mut room) else { continue };
                let answer = {
                    let mut shared = theirs.lock().unwrap();
                    shared.0 = String::from_utf8_lossy(&room[..len]).into_owned();
                    shared.1.clone()
                };
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, shared }
    }

    fn answers(&self, answer: &str) {
        answer.clone_into(&mut self.shared.lock().unwrap().1);
    }

    fn asked(&self) -> String {
        self.shared.lock().unwrap().0.clone()
    }
}
