//! Programs and a server that are told, some of them badly.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use ha_heartbeat::group::ViewId;
use ha_proto::{Boot, Instant, LinkId, NodeId, NodeSet};

use super::*;
use crate::farm::Why;
use crate::{Event, farm};

/// Far more than anything takes here that is expected to come.
const SOON: Duration = Duration::from_secs(20);

const SHOP: ModuleId = ModuleId(4);

fn node() -> NodeId {
    NodeId::new(1).unwrap()
}

fn epoch() -> Epoch {
    Epoch::new(3, node())
}

fn peer_down(hook: &Hook, sequence: u64) {
    hook.tell(sequence, SHOP, epoch(), &Event::PeerDown(node()));
}

/// One module, and that it is alone.
fn start(config: HookConfig) -> Hook {
    let names = Names { me: "left".into(), peer: "right".into(), ..Names::default() };
    let shop = Named { module: "a \"shop\"".into(), names };
    let hook = Hook::start(config, [(SHOP, shop)].into()).unwrap();
    let alone = Event::Role { from: Role::Second, to: Role::Alone, ready: true };
    hook.tell(0, SHOP, epoch(), &alone);
    hook
}

/// A program in a folder of its own, and what it left there.
struct Program {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Program {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (text, path) = (folder.path().join("text"), folder.path().join("tell"));
        fs::write(&text, format!("#!/bin/sh\ncd {}\n{script}\n", folder.path().display())).unwrap();
        // Written by another process: what a test beside this one forks meanwhile would hold it
        // open, and the kernel runs nothing that is open for writing.
        let install = Command::new("install").args(["-m", "755"]).args([&text, &path]).status();
        assert!(install.unwrap().success());
        Self { folder, path }
    }

    fn hook(&self, timeout: Duration) -> Hook {
        let target = Target::Exec(self.path.clone());
        start(HookConfig { target, level: Level::Warn, timeout })
    }

    fn left(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path().join(file)).unwrap_or_default()
    }

    fn wait(&self, file: &str) {
        let clock = Clock::start();
        while self.left(file).is_empty() {
            assert!(super::super::child::since(clock) < SOON, "{file} never comes");
            thread::yield_now();
        }
    }
}

const JSON: &str = "{\"module\":\"a \\\"shop\\\"\",\"node\":\"left\",\"role\":\"ALONE\",\
    \"event\":\"peer_down\",\"text\":\"right is lost on every network\",\"level\":\"warn\",\
    \"epoch\":769,\"sequence\":7,\"dropped\":0}";

#[test]
fn a_program_is_told_by_input_and_environment() {
    let program = Program::new("cat > json; env | grep ^HA_ | sort > env");
    let hook = program.hook(SOON);
    peer_down(&hook, 7);
    drop(hook);
    assert_eq!(program.left("json"), format!("{JSON}\n"));
    assert_eq!(
        program.left("env").lines().collect::<Vec<_>>(),
        [
            "HA_DROPPED=0",
            "HA_EPOCH=769",
            "HA_EVENT=peer_down",
            "HA_LEVEL=warn",
            "HA_MODULE=a \"shop\"",
            "HA_NODE=left",
            "HA_ROLE=ALONE",
            "HA_SEQUENCE=7",
            "HA_TEXT=right is lost on every network",
        ]
    );
}

#[test]
fn events_are_told_in_order_one_at_a_time_and_from_the_level_on() {
    // Two that ran at once would see each other's folder.
    let program =
        Program::new("mkdir one || echo two >> both; echo $HA_SEQUENCE >> told; rmdir one");
    let hook = program.hook(SOON);
    for sequence in 1..=9 {
        peer_down(&hook, sequence);
        hook.tell(99, SHOP, epoch(), &Event::InSync);
        hook.tell(99, ModuleId(5), epoch(), &Event::StorageFailed);
    }
    hook.tell(10, SHOP, epoch(), &Event::StorageFailed);
    drop(hook);
    let told: Vec<u64> = program.left("told").lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(told, (1..=10).collect::<Vec<_>>());
    assert_eq!(program.left("both"), "");
}

#[test]
fn after_a_reload_the_role_is_the_one_that_was_handed_over() {
    let program = Program::new("echo $HA_ROLE >> told");
    let target = Target::Exec(program.path.clone());
    let config = HookConfig { target, level: Level::Warn, timeout: SOON };
    let hook = Hook::start(config, [(SHOP, Named::default())].into()).unwrap();
    hook.tell(1, SHOP, epoch(), &Event::Resumed(Role::Prim));
    peer_down(&hook, 2);
    drop(hook);
    assert_eq!(program.left("told"), "PRIM\n");
}

#[test]
fn a_program_that_is_given_up_is_killed_at_once_and_what_waits_is_dropped() {
    let program = Program::new("echo $$ >> pid; sleep 1000");
    let hook = program.hook(SOON);
    peer_down(&hook, 1);
    peer_down(&hook, 2);
    program.wait("pid");
    let clock = Clock::start();
    assert_eq!(hook.give_up(), 2, "one was under way, and one waited");
    assert!(super::super::child::since(clock) < SOON / 2, "it was waited for");
    let first: Vec<String> = program.left("pid").lines().map(Into::into).collect();
    let there = || std::path::Path::new("/proc").join(&first[0]).exists();
    while there() {
        assert!(super::super::child::since(clock) < SOON, "it lives on");
        thread::yield_now();
    }
    assert_eq!(program.left("pid").lines().count(), 1);
}

#[test]
fn the_next_process_counts_on_what_was_dropped() {
    let program = Program::new("echo $HA_DROPPED >> told");
    let hook = program.hook(SOON);
    peer_down(&hook, 1);
    program.wait("told");
    // What was told is not dropped; it may not have ended yet.
    let dropped = hook.give_up();
    assert!(dropped <= 1, "{dropped}");
    let target = Target::Exec(program.path.clone());
    let config = HookConfig { target, level: Level::Warn, timeout: SOON };
    let hook = Hook::resume(config, [(SHOP, Named::default())].into(), 41).unwrap();
    assert_eq!(hook.dropped(), 41);
    peer_down(&hook, 2);
    drop(hook);
    assert_eq!(program.left("told"), "0\n41\n");
}

#[test]
fn a_program_that_hangs_is_killed_with_all_that_it_started() {
    let program = Program::new("echo $$ > pid; sleep 1000 & wait");
    let hook = program.hook(Duration::from_millis(300));
    peer_down(&hook, 1);
    program.wait("pid");
    drop(hook);
    // The group that it led is empty.
    let pid = rustix::process::Pid::from_raw(program.left("pid").trim().parse().unwrap()).unwrap();
    let clock = Clock::start();
    while rustix::process::test_kill_process_group(pid).is_ok() {
        assert!(super::super::child::since(clock) < SOON, "its child lives on");
        thread::yield_now();
    }
}

#[test]
fn what_is_too_much_is_dropped_counted_and_told() {
    let program = Program::new("echo $HA_DROPPED >> told; read _ < go");
    rustix::fs::mkfifoat(rustix::fs::CWD, program.folder.path().join("go"), rustix::fs::Mode::RWXU)
        .unwrap();
    let hook = program.hook(SOON);
    peer_down(&hook, 0);
    program.wait("told");
    // The first one is under way, and these are more than may wait behind it.
    for sequence in 0..QUEUE_MAX as u64 + 5 {
        peer_down(&hook, sequence);
    }
    assert_eq!(hook.dropped(), 5);
    // From now on the program finds something to read at once.
    let go = program.folder.path().join("go");
    let mut go = fs::OpenOptions::new().read(true).write(true).open(go).unwrap();
    let clock = Clock::start();
    while program.left("told").lines().count() < 3 {
        assert!(super::super::child::since(clock) < SOON, "nothing more is told");
        go.write_all(b"\n").unwrap();
        thread::yield_now();
    }
    assert_eq!(program.left("told").lines().take(2).collect::<Vec<_>>(), ["0", "5"]);
    go.write_all(&[b'\n'; QUEUE_MAX]).unwrap();
    drop(hook);
}

/// A server that takes one request, and answers it.
fn serve(answer: &'static str) -> (Hook, JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let raw = RawNotify {
        url: Some(format!("http://{}/tell?me", listener.local_addr().unwrap())),
        ..RawNotify::default()
    };
    let hook = start(HookConfig::try_from(raw).unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = request(&stream);
        stream.write_all(answer.as_bytes()).unwrap();
        request
    });
    (hook, server)
}

/// The head and the body.
fn request(stream: &TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(bytes) = line.strip_prefix("Content-Length: ") {
            length = bytes.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = std::vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[test]
fn a_url_is_told_by_a_post() {
    let (hook, server) = serve("HTTP/1.1 204 No Content\r\n\r\n");
    peer_down(&hook, 7);
    let (head, body) = server.join().unwrap();
    assert!(head.starts_with("POST /tell?me HTTP/1.1\r\nHost: 127.0.0.1:"), "{head}");
    assert!(head.contains("\r\nContent-Type: application/json\r\n"), "{head}");
    assert_eq!(body, JSON);
}

/// Where nobody answers before the client gives up.
fn posted(answer: &'static str, limit: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let raw = RawNotify { url: Some(url), ..RawNotify::default() };
    let Target::Post(url) = HookConfig::try_from(raw).unwrap().target else { unreachable!() };
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        request(&stream);
        stream.write_all(answer.as_bytes()).unwrap();
        if answer.is_empty() {
            // Silent until the other side has gone.
            let _ = stream.read(&mut [0]);
        }
    });
    let error = post::post(&url, "{}", limit).unwrap_err();
    server.join().unwrap();
    format!("{error}")
}

#[test]
fn an_answer_that_is_no_success_is_told() {
    let refused = posted("HTTP/1.1 500 Oh no\r\nX: y\r\n\r\n", SOON);
    assert_eq!(refused, "it answered \"HTTP/1.1 500 Oh no\"");
    assert_eq!(posted("SSH-2.0-x\r\n", SOON), "it answered \"SSH-2.0-x\"");
}

#[test]
fn a_server_that_is_silent_costs_no_more_than_its_time() {
    let limit = Duration::from_millis(100);
    assert_eq!(posted("", limit), "it did not answer within 100ms");
}

/// A member `a` of a farm with a member `b`.
fn member(config: HookConfig, members: BTreeMap<NodeId, String>) -> FarmHook {
    let named =
        FarmNamed { module: "web".into(), node: "a".into(), members, links: vec!["prod".into()] };
    FarmHook::resume(config, named, 5).unwrap()
}

fn view(members: NodeSet) -> farm::Event {
    let id = ViewId { counter: 7, coordinator: node(), boot: Boot(9) };
    farm::Event::View { id, members, moved: 12, cut: 0 }
}

#[test]
fn a_farms_events_are_told_with_its_view_and_what_the_member_is_then() {
    let program = Program::new("cat >> json; env | grep ^HA_ | sort > env");
    let target = Target::Exec(program.path.clone());
    let config = HookConfig { target, level: Level::Warn, timeout: SOON };
    let hook = member(config, [(node(), "b".into())].into());
    hook.tell(1, &farm::Event::Unlinked(node()));
    let before = ViewId { counter: 6, coordinator: node(), boot: Boot(9) };
    hook.tell(0, &farm::Event::Resumed { view: before, until: Instant::ZERO });
    hook.tell(0, &farm::Event::Unlinked(node()));
    hook.tell(2, &view(NodeSet::only(node())));
    let id = ViewId { counter: 7, coordinator: node(), boot: Boot(9) };
    hook.tell(3, &farm::Event::Takes(id));
    hook.tell(4, &farm::Event::LinkDown(node(), LinkId(0)));
    hook.tell(5, &farm::Event::StandsBy(Why::Lease));
    hook.tell(6, &farm::Event::StandsBy(Why::Stopped));
    drop(hook);
    let told = |role: &str, event: &str, text: &str, view: &str, sequence: u64| {
        format!(
            "{{\"module\":\"web\",\"node\":\"a\",\"role\":\"{role}\",\"event\":\"{event}\",\
             \"text\":\"{text}\",\"level\":\"warn\",\"view\":\"{view}\",\"sequence\":{sequence},\
             \"dropped\":5}}"
        )
    };
    let nothing = "this member takes nothing";
    let expected = [
        told("WAIT", "unlinked", "b is not linked any more", "-", 1),
        told("UP", "unlinked", "b is not linked any more", &format!("{before}"), 0),
        told("UP", "link_down", "prod to b is lost", &format!("{id}"), 4),
        told("WAIT", "stands_by", &format!("{nothing}: its lease ended"), &format!("{id}"), 5),
        told(
            "STOP",
            "stands_by",
            &format!("{nothing}: its application does not run"),
            &format!("{id}"),
            6,
        ),
    ];
    assert_eq!(program.left("json").lines().collect::<Vec<_>>(), expected);
    let env = program.left("env");
    assert!(env.contains(&format!("HA_VIEW={id}\n")) && !env.contains("HA_EPOCH"), "{env}");
    assert!(env.contains("HA_ROLE=STOP\n") && env.contains("HA_DROPPED=5\n"), "{env}");
}

/// A program need not read: what it is told must fit into the pipe, however its members are called.
#[test]
fn the_longest_event_fits_into_a_pipe() {
    let program = Program::new("cat > json");
    let target = Target::Exec(program.path.clone());
    let config = HookConfig { target, level: Level::Info, timeout: SOON };
    let all: NodeSet = (0..64).filter_map(NodeId::new).collect();
    let hook = member(config, all.iter().map(|id| (id, "\u{1}".repeat(99))).collect());
    hook.tell(1, &view(all));
    drop(hook);
    let json = program.left("json");
    assert!(json.contains("a view is in force: \\u0001"), "{json}");
    assert!(json.contains("…\",\"level\":\"info\",") && json.ends_with("}\n"), "{json}");
}
