//! What the kernel says of a process that asked to be favoured. It asks for all its threads, so
//! each test is a process of its own: this program again.

use std::fs;
use std::process::Command;

use ha_core::linux::realtime::{calm, hasten, lock_memory, raise, raise_first};

use super::processes::wait;

/// Where the other process reads what it is to do.
const TODO: &str = "HA_TEST_REALTIME";

/// Runs one of the tests below in a process of its own, behind `wrapper`.
fn run(wrapper: &str, test: &str) {
    let mut words = wrapper.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words).arg(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("realtime::{test}"), "--nocapture"]).env(TODO, "yes");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn asked() -> bool {
    std::env::var_os(TODO).is_some()
}

/// Kilobytes, as `/proc/self/status` has them.
fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_matches([':', '\t', ' ']).split(' ').next().unwrap().parse().unwrap()
}

/// The policy and the priority of each thread of this name (proc(5), fields 41 and 40).
fn scheduled(name: &str) -> Vec<(u32, u32)> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    let seen = stats.filter_map(|stat| {
        let (named, rest) = stat.split_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        // The first one behind the name is number 3.
        let number = |field: usize| fields[field - 3].parse::<u32>().unwrap();
        named.ends_with(&format!("({name}")).then(|| (number(41), number(40)))
    });
    seen.collect()
}

const SCHED_RR: u32 = 2;

/// Starts a thread that is there until the sender goes.
fn thread(name: &str) -> std::sync::mpsc::Sender<()> {
    let (end, ended) = std::sync::mpsc::channel();
    let started = std::thread::Builder::new().name(name.into());
    started.spawn(move || ended.recv()).unwrap();
    wait("the thread's name", || !scheduled(name).is_empty());
    end
}

#[test]
fn memory_is_locked_as_it_is_touched() {
    if !asked() {
        if ha_lab::root_or_skip() {
            run("env", "memory_is_locked_as_it_is_touched");
        }
        return;
    }
    lock_memory().unwrap();
    let (locked, resident) = (status("VmLck"), status("VmRSS"));
    assert!(locked > resident, "all of it is locked: {locked} of {resident}");
    let _threads = [(); 4].map(|()| thread("later"));
    let (more, grown) = (status("VmLck") - locked, status("VmRSS") - resident);
    // Four stacks of two megabytes are locked, and a few pages of each are there.
    assert!(more >= 4 * 2048, "what comes later is locked too: {more} kB");
    assert!(grown < 2048, "what is not touched is not there: {grown} kB");
}

#[test]
fn a_thread_goes_first_and_nothing_that_it_starts() {
    if !asked() {
        if ha_lab::root_or_skip() {
            run("env", "a_thread_goes_first_and_nothing_that_it_starts");
        }
        return;
    }
    let _others = ["ha-other", "ha-nodes", "ha-node-3"].map(thread);
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let node = std::thread::Builder::new().name("ha-node".into()).spawn(move || {
        ended.recv().unwrap();
        let child = Command::new("cat").arg("/proc/self/stat").output().unwrap();
        String::from_utf8(child.stdout).unwrap()
    });
    wait("the thread's name", || !scheduled("ha-node").is_empty());
    raise("ha-node").unwrap();
    let policies = scheduled("ha-node").into_iter().map(|(policy, at)| (policy & 0xff, at));
    assert_eq!(policies.collect::<Vec<_>>(), [(SCHED_RR, 1)]);
    assert_eq!(scheduled("ha-other"), [(0, 0)]);
    assert_eq!(scheduled("ha-nodes"), [(0, 0)]);
    assert_eq!(scheduled("ha-node-3"), [(SCHED_RR, 1)]);
    raise_first("ha-node").unwrap();
    assert_eq!(scheduled("ha-node").first(), Some(&(SCHED_RR, 2)));
    end.send(()).unwrap();
    let stat = node.unwrap().join().unwrap();
    let fields: Vec<&str> = stat.split_once(") ").unwrap().1.split(' ').collect();
    assert_eq!(fields[41 - 3], "0", "what it started is scheduled like anything else");
}

/// What the first thread of a process runs as, and by that the next program in its place.
fn first() -> String {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    format!("{} {}", fields[41 - 3], fields[40 - 3])
}

#[test]
fn before_an_exec_more_threads_go_first_than_behind_it() {
    if !asked() {
        if ha_lab::root_or_skip() {
            run("env", "before_an_exec_more_threads_go_first_than_behind_it");
        }
        return;
    }
    let _threads = ["ha-node", "ha-other", "ha-more"].map(thread);
    calm("ha-node").unwrap();
    hasten("ha-more").unwrap();
    assert_eq!(scheduled("ha-node"), [(SCHED_RR, 1)]);
    assert_eq!(scheduled("ha-other"), [(SCHED_RR, 1)]);
    assert_eq!((scheduled("ha-more"), first()), (vec![(0, 0)], "2 1".into()));
    calm("ha-node").unwrap();
    assert_eq!(scheduled("ha-node"), [(SCHED_RR, 1)]);
    assert_eq!(scheduled("ha-other"), [(0, 0)]);
    assert_eq!(first(), "0 0");
    // Once more, as far as a process without rights can.
    hasten("nobody").unwrap();
    calm("nobody").unwrap();
    let all = ["ha-node", "ha-other", "ha-more"].map(|name| scheduled(name)[0]);
    assert_eq!((all, first()), ([(0, 0); 3], "0 0".into()));
}

/// Who embeds it may have set what its threads run as; after a hand-over they run as that left them.
#[test]
fn a_member_that_begins_without_a_baton_leaves_the_process_as_it_is() {
    if !asked() {
        if ha_lab::root_or_skip() {
            run("env", "a_member_that_begins_without_a_baton_leaves_the_process_as_it_is");
        }
        return;
    }
    hasten("nobody").unwrap();
    let farm = super::farm::Farm::start(2);
    assert_eq!(first(), "2 1");
    let baton = farm.hand_over();
    // It is another member's: what begins with it begins anew.
    drop(super::farm::Farm::resume(2, &baton));
    assert_eq!(first(), "0 0");
}

#[test]
fn whoever_may_not_is_told_what_would_help() {
    if !asked() {
        if ha_lab::root_or_skip() {
            let less = "prlimit --memlock=65536:65536 --rtprio=0:0 \
                        setpriv --bounding-set=-ipc_lock,-sys_nice,-sys_resource";
            run(less, "whoever_may_not_is_told_what_would_help");
        }
        return;
    }
    let _node = thread("ha-node");
    let refused = lock_memory().unwrap_err().to_string();
    assert!(refused.starts_with("memory is not locked (at most 65536 bytes are"), "{refused}");
    assert!(refused.contains("CAP_IPC_LOCK or LimitMEMLOCK=infinity"), "{refused}");
    assert_eq!(status("VmLck"), 0);
    let refused = raise("ha-node").unwrap_err().to_string();
    assert!(refused.starts_with("ha-node has no real-time priority (chrt: failed to"), "{refused}");
    assert!(refused.contains("CAP_SYS_NICE or LimitRTPRIO=10"), "{refused}");
    assert_eq!(scheduled("ha-node"), [(0, 0)]);
    let nobody = raise("nobody").unwrap_err().to_string();
    assert!(nobody.contains("there is no such thread"), "{nobody}");
}
