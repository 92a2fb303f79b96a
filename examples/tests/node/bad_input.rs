//! What cannot work: one clear line that says what to do, and nothing left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use ha_lab::{Process, within};

use crate::SOON;
use crate::rig::{MODULE, Rig, Vote};

/// The one line that a daemon ends with, its place in a folder of this test left out. Its code says
/// that the configuration is to be changed.
fn refusal(rig: &Rig, daemon: &Process) -> String {
    refusal_with(rig, daemon, 78)
}

/// Likewise with this code.
fn refusal_with(rig: &Rig, daemon: &Process, code: i32) -> String {
    let status = daemon.wait(SOON).unwrap();
    let whole =
        || daemon.output().rsplit_once("mirror-node: ").is_some_and(|(_, it)| it.ends_with('\n'));
    within(SOON, whole);
    let output = daemon.output();
    assert_eq!(status.and_then(|status| status.code()), Some(code), "{output}");
    assert_eq!(output.matches("mirror-node: ").count(), 1, "one line: {output}");
    let last = output.lines().rfind(|line| line.starts_with("mirror-node: "));
    let folder = rig.nodes[0].folder().display().to_string();
    last.unwrap_or_else(|| panic!("no line says why: {output}")).replace(&folder, "")
}

/// Nothing of a node is there: no address, no process of a service, no guardian.
fn nothing_left(rig: &Rig) {
    assert!(rig.holds(0, false));
    assert_eq!(rig.wrote(0, "calls"), "", "no half-started service");
    let empty = || {
        let events = fs::read_to_string(rig.nodes[0].group().join("cgroup.events"));
        events.unwrap().contains("populated 0")
    };
    assert!(within(SOON, empty), "a process is left");
}

/// Changes node 0's file, and returns what the daemon says.
fn with(rig: &mut Rig, from: &str, to: &str) -> String {
    let before = fs::read_to_string(rig.nodes[0].file()).unwrap();
    assert!(before.contains(from), "{from:?} is not in {before}");
    rig.nodes[0].configure(&before.replacen(from, to, 1)).unwrap();
    rig.start(0);
    let said = refusal(rig, rig.daemon(0));
    nothing_left(rig);
    rig.nodes[0].configure(&before).unwrap();
    said
}

#[test]
fn what_cannot_work_is_one_line_and_leaves_nothing() {
    let Some(mut rig) = Rig::new("bad_input", Vote::None, 1) else { return };
    rig.configure("", "");
    let said = with(&mut rig, "interface = \"eth0\"", "interface = \"eth9\"");
    assert_eq!(
        said,
        "mirror-node: module web: vips: 10.77.1.100: there is no interface \"eth9\": `ip link` \
         lists those of this machine"
    );
    let said = with(&mut rig, "bootstrap = ", "bootstrapp = ");
    assert!(said.starts_with("mirror-node: /ha-node.toml:"), "{said}");
    assert!(said.contains("unknown field `bootstrapp`"), "{said}");
    let ping = "vote = \"ping\"\nping = [\"10.77.1.4%eth9\"]";
    let before = fs::read_to_string(rig.nodes[1].file()).unwrap();
    rig.nodes[1].configure(&before.replacen("vote = \"none\"", ping, 1)).unwrap();
    let mut check = rig.hosts[1].command(env!("CARGO_BIN_EXE_ha"));
    let check = check.args(["config", "check"]).arg(rig.nodes[1].file()).output().unwrap();
    let said = String::from_utf8(check.stderr).unwrap();
    assert_eq!(check.status.code(), Some(78), "{said}");
    let late = "ping: 10.77.1.4%eth9: there is no interface \"eth9\": `ip link` lists those of this \
                machine";
    assert!(said.contains(late), "{said}");
    // A daemon starts all the same: an interface may be late.
    rig.start(1);
    assert!(rig.daemon(1).wait_for(late, SOON), "{}", rig.daemon(1).output());
    assert!(rig.daemon(1).wait_for("the node is up", SOON), "{}", rig.daemon(1).output());
    rig.daemon(1).terminate().unwrap();
    rig.daemon(1).wait(SOON).unwrap().expect("it ends in order");
    rig.nodes[1].configure(&before).unwrap();
    let [v4, _] = rig.addresses();
    rig.hosts[0].add_address(v4, &rig.networks[0]).unwrap();
    rig.start(0);
    assert_eq!(
        refusal(&rig, rig.daemon(0)),
        "mirror-node: module web: vips: 10.77.1.100 is set on this machine, and not by us: \
         `ip address show to 10.77.1.100`; remove it there"
    );
    assert!(rig.hosts[0].holds(v4).unwrap(), "an administrator's address stays");
    rig.hosts[0].remove_address(v4, &rig.networks[0]).unwrap();
    nothing_left(&rig);
    let script = rig.nodes[0].scripts(MODULE).join("start_prim");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o644)).unwrap();
    rig.start(0);
    let said = refusal(&rig, rig.daemon(0));
    assert!(said.contains("start_prim is not executable: chmod +x "), "{said}");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    nothing_left(&rig);
}

#[test]
fn a_right_that_is_missing_is_named_and_leaves_nothing() {
    let Some(rig) = Rig::new("no_rights", Vote::None, 1) else { return };
    rig.configure("", "");
    let program = env!("CARGO_BIN_EXE_mirror-node");
    let daemon = rig.hosts[0].spawn("setpriv", |it| {
        it.args(["--bounding-set", "-net_admin", program, "--config"]).arg(rig.nodes[0].file())
    });
    let said = refusal(&rig, &daemon.unwrap());
    assert!(
        said.ends_with(
            "virtual addresses need the capability CAP_NET_ADMIN: run as root, or grant it \
             (AmbientCapabilities= of systemd)"
        ),
        "{said}"
    );
    nothing_left(&rig);
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() {
    let Some(rig) = Rig::whole("second_daemon", Vote::None, 1) else { return };
    let second = rig.nodes[0].start().unwrap();
    let said = refusal_with(&rig, &second, 1);
    let says = "mirror-node: run: another daemon uses /run: stop it, or name another folder";
    assert_eq!(said, says);
    assert!(rig.daemon(0).ended().unwrap().is_none());
    assert!(rig.holds(0, true));
    rig.until_whole(0);
}

/// Whoever has it is not disturbed. A supervisor may try again: it is the file that is right.
#[test]
fn a_control_socket_in_use_is_one_line_and_leaves_nothing() {
    let Some(mut rig) = Rig::new("control_socket", Vote::None, 1) else { return };
    rig.configure("", "");
    let socket = rig.nodes[0].folder().join("run/control.sock");
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let other = UnixListener::bind(&socket).unwrap();
    rig.start(0);
    assert_eq!(
        refusal_with(&rig, rig.daemon(0), 1),
        "mirror-node: control socket /run/control.sock is in use: another daemon answers there: \
         stop it, or name another folder for this one"
    );
    nothing_left(&rig);
    UnixStream::connect(&socket).expect("the other one still listens");
    // One that a killed program left is nobody's.
    drop(other);
    rig.start(0);
    rig.start(1);
    rig.until_whole(0);
}

#[test]
fn a_wrong_key_on_one_side_is_said_on_both_and_nobody_serves_twice() {
    let Some(mut rig) = Rig::new("wrong_key", Vote::None, 1) else { return };
    rig.configure("", "");
    let key = rig.lab.folder().join("other-key");
    fs::write(&key, "08".repeat(32)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
    let file = fs::read_to_string(rig.nodes[1].file()).unwrap();
    let right = ha_lab::key(&rig.lab).unwrap();
    let wrong = file.replace(right.to_str().unwrap(), key.to_str().unwrap());
    rig.nodes[1].configure(&wrong).unwrap();
    rig.start(0);
    rig.start(1);
    for node in [0, 1] {
        let daemon = rig.daemon(node);
        let says = "another key: give both nodes one key_file";
        assert!(daemon.wait_for(says, SOON), "{}", daemon.output());
        assert_eq!(rig.wrote(node, "calls"), "", "no half-started service");
    }
    assert!(rig.holds(0, false) && rig.holds(1, false));
}

#[test]
fn a_script_that_never_ends_is_killed_with_all_that_it_started() {
    let Some(mut rig) = Rig::new("endless_script", Vote::None, 1) else { return };
    rig.configure("", "start_timeout = \"300ms\"");
    rig.nodes[0].script(MODULE, "start_prim", "sleep 86400 & exec sleep 86400").unwrap();
    rig.start(0);
    rig.start(1);
    let daemon = rig.daemon(0);
    let (what, mend) = ("start_prim did not end within 300ms and was killed: ", "raise the limit");
    assert!(daemon.wait_for(what, SOON), "{}", daemon.output());
    let output = daemon.output();
    let line = output.lines().find(|line| line.contains(what)).unwrap();
    assert!(line.contains(mend), "{line}");
    daemon.terminate().unwrap();
    daemon.wait(SOON).unwrap().expect("it ends in order");
    rig.nodes[0].script(MODULE, "start_prim", "").unwrap();
    fs::remove_file(rig.nodes[0].scripts(MODULE).join("calls")).unwrap();
    nothing_left(&rig);
}
