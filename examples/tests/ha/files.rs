//! The commands that need no daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use ha_core::driver::{Clock, Driver};
use ha_core::linux::node::config::Node;
use ha_core::proto::Instant;
use ha_core::raw::Key;
use serde_json::Value;

use crate::program::{Said, at, command, ha};

/// A folder with a node's file in it.
struct Rig(tempfile::TempDir);

impl Rig {
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().display();
        let text = format!(
            "cluster = \"shop\"\nnode = 0\npeer = 1\nname = \"left\"\nvote = \"none\"\n\
             insecure = true\n\
             links = [{{ local = \"127.0.0.1:7400\", peer = \"10.0.0.2:7400\" }}]\n\
             replication = {{ listen = \"127.0.0.1:7401\", connect = \"10.0.0.2:7401\" }}\n\
             state = \"{home}/state\"\n{more}[[module]]\nname = \"web\"\nid = 1\n\
             vips = [{{ address = \"192.0.2.1\", interface = \"none0\", source = \"preferred\" }},\n\
             {{ address = \"192.0.2.2\", interface = \"none0\" }}]\n"
        );
        fs::write(folder.path().join("node.toml"), text).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn ha(&self, words: &[&str]) -> Said {
        let file = self.path().join("node.toml");
        let said = ha(&[words, &[file.to_str().unwrap()]].concat());
        let home = self.path().display().to_string();
        Said { out: said.out.replace(&home, "/f"), err: said.err.replace(&home, "/f"), ..said }
    }
}

#[test]
fn a_key_is_made_once_and_read_by_the_driver() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let file = path.to_str().unwrap();
    assert_eq!(ha(&["keygen", file]).code, 0);
    let key = fs::read_to_string(&path).unwrap();
    assert_eq!(key.trim_end().len(), 64);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
    Driver::check_key(&Key::File(file.into())).unwrap();
    let again = ha(&["keygen", file]);
    let text = format!("ha: {file}: it exists, and a key is never overwritten\n");
    assert_eq!((again.code, again.err), (1, text));
    assert_eq!(fs::read_to_string(&path).unwrap(), key);
    let other = folder.path().join("other");
    assert_eq!(ha(&["keygen", other.to_str().unwrap()]).code, 0);
    assert_ne!(fs::read_to_string(other).unwrap(), key);
}

/// A script that asks for JSON can read every line that it gets.
#[test]
fn what_looks_at_files_says_it_in_json_too() {
    let rig = Rig::new("");
    let lines = |words: &[&str]| -> Vec<Value> {
        let out = rig.ha(&[&["--json"], words].concat()).out;
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let [fine, here] = &lines(&["config", "check"])[..] else { panic!("two lines") };
    assert_eq!(fine["said"], "/f/node.toml: fine: web");
    let why = here["refused"]["text"].as_str().unwrap();
    assert!(why.contains("none0"), "{why}");
    let [aside] = &lines(&["set-aside", "--config"])[..] else { panic!("one line") };
    assert_eq!(aside["said"], "nothing is kept aside");
    let found = lines(&["doctor", "--config"]);
    assert_eq!(found[0]["found"]["level"], "ok");
    assert_eq!(found[0]["found"]["what"], "/f/node.toml can work");
    let known = |line: &Value| {
        let level = line["found"]["level"].as_str().unwrap();
        let mends = line["found"]["mend"].is_string();
        mends == matches!(level, "bad" | "weak")
            && matches!(level, "ok" | "bad" | "weak" | "skipped")
    };
    assert!(found.iter().all(known), "{found:?}");
}

#[test]
fn a_configuration_is_checked_by_line_and_shown_with_its_defaults() {
    let sections = "[http]\nlisten = \"127.0.0.1:9010\"\n[notify]\nexec = \"/bin/true\"\n";
    let rig = Rig::new(sections);
    let fine = rig.ha(&["config", "check"]);
    assert_eq!((fine.code, &*fine.out), (78, "/f/node.toml: fine: web\n"));
    assert_eq!(
        fine.err,
        "ha: a daemon could not run it on this machine: module web: vips: 192.0.2.1: there is no \
         interface \"none0\": `ip link` lists those of this machine\n"
    );
    let shown = rig.ha(&["config", "show", "--effective"]);
    assert_eq!(shown.code, 0);
    assert!(shown.out.contains("lease = \"3s\"\n"), "{}", shown.out);
    let again = rig.path().join("again.toml");
    fs::write(&again, shown.out.replace("/f", &rig.path().display().to_string())).unwrap();
    let (before, after) =
        (Node::read(&rig.path().join("node.toml")).unwrap(), Node::read(&again).unwrap());
    assert_eq!(before.modules[0].node, after.modules[0].node, "it means the same");
    assert_eq!(before.modules[0].vips, after.modules[0].vips);
    let sources = ["prefix = 32, source = \"preferred\" }", "prefix = 32, source = \"alias\" }"];
    assert!(sources.iter().all(|source| shown.out.contains(source)), "{}", shown.out);
    assert_eq!((&before.name, before.names()), (&after.name, after.names()));
    assert_eq!((before.raw.http, before.hook), (after.raw.http, after.hook));

    let wrong = Rig::new("timeout = \"1ms\"\n").ha(&["config", "check"]);
    assert_eq!(wrong.code, 78);
    assert!(wrong.err.starts_with("ha: /f/node.toml:10: "), "{wrong:?}");
    let unknown = Rig::new("leese = \"1s\"\n").ha(&["config", "check"]);
    assert_eq!(unknown.code, 78);
    assert!(unknown.err.contains(":10: unknown field `leese`"), "{unknown:?}");
}

const CHECKERS: &str = r#"maxloop = 7
loop_interval = "1h"
checker = [
    { name = "tcp", kind = "tcp", address = "127.0.0.1:80", action = "stop", rise = 4, fall = 5 },
    { name = "ping", kind = "ping", address = "10.0.0.9", from = "eth0", action = "wait" },
    { name = "from", kind = "ping", address = "10.0.0.9", from = "10.0.0.1", action = "none" },
    { name = "http", kind = "http", address = "127.0.0.1:80", path = "/a", host = "h", status = 204,
      body = "say \"yes\"", action = "restart", grace = "7s", when = "always" },
    { name = "intf", kind = "intf", interface = "eth0", action = "swap" },
    { name = "ip", kind = "ip", address = "10.0.0.10", interface = "eth0", action = "stopstart" },
    { name = "name", kind = "process", process = "nginx", action = "restart", interval = "3s" },
    { name = "words", kind = "process", cmdline = "nginx: master", action = "restart" },
    { name = "file", kind = "process", pid_file = "/run/nginx.pid", action = "restart" },
    { name = "group", kind = "process", action = "restart", timeout = "500ms" },
    { name = "run", kind = "custom", command = ["/bin/test", "-e", "/a b"], action = "restart" },
    { name = "talk", kind = "custom", address = "127.0.0.1:25", send = "HELO\n", expect = "250",
      action = "restart" },
    { name = "other", kind = "module", module = "db", state = "serving", action = "none" },
]
"#;

#[test]
fn checkers_are_shown_as_they_mean() {
    let rig = Rig::new("");
    let file = rig.path().join("node.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}{CHECKERS}")).unwrap();
    let shown = rig.ha(&["config", "show", "--effective"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    let again = rig.path().join("again.toml");
    fs::write(&again, shown.out.replace("/f", &rig.path().display().to_string())).unwrap();
    let [before, after] = [&file, &again].map(|file| Node::read(file).unwrap());
    let [before, after] = [&before.modules[0], &after.modules[0]];
    assert_eq!(before.checkers.len(), 13);
    assert_eq!(before.checkers, after.checkers);
    assert_eq!(before.loops, after.loops);
}

#[test]
fn what_was_set_aside_is_listed_with_its_size() {
    let rig = Rig::new("");
    let none = rig.ha(&["set-aside", "--config"]);
    assert_eq!((none.code, &*none.out), (0, "nothing is kept aside\n"));
    let kept = rig.path().join("state/web/aside-0000000000000700-0000000000000029");
    fs::create_dir_all(&kept).unwrap();
    fs::write(kept.join("0000000000000029.log"), [0; 120]).unwrap();
    fs::create_dir_all(rig.path().join("state/web/aside.next")).unwrap();
    let listed = rig.ha(&["set-aside", "web", "--config"]);
    let line = "web  from record 41 of epoch 7.0  120 bytes  \
        /f/state/web/aside-0000000000000700-0000000000000029\n";
    assert_eq!((listed.code, &*listed.out), (0, line));
    let other = rig.ha(&["set-aside", "db", "--config"]);
    assert_eq!((other.code, &*other.err), (64, "ha: no module \"db\": there are web\n"));
}

#[test]
fn doctor_names_what_is_wrong_and_how_to_mend_it() {
    let rig = Rig::new("");
    let none = rig.path().join("none.sock");
    let said = rig.ha(&["--socket", none.to_str().unwrap(), "doctor", "--config"]);
    assert_eq!(said.code, 1, "{said:?}");
    for line in [
        "ok    /f/node.toml can work\n",
        "weak  insecure = true: whoever reaches the ports can stop this cluster\n",
        "BAD   there is no interface none0\n      mend: `ip link` lists those of this machine; \
         correct vips\n",
        "weak  one network between the nodes: its loss looks like the other node's\n",
        "weak  no daemon at /f/none.sock: start it (systemctl start ha-node), or name its socket\n",
    ] {
        assert!(said.out.contains(line), "{line}\n{}", said.out);
    }
    assert!(!said.out.contains("the key can be read"), "there is none\n{}", said.out);
    let key = rig.path().join("key");
    assert_eq!(ha(&["keygen", key.to_str().unwrap()]).code, 0);
    let path = rig.path().join("node.toml");
    let text = fs::read_to_string(&path).unwrap();
    let keyed = format!("key_file = \"{}\"", key.display());
    fs::write(&path, text.replace("insecure = true", &keyed)).unwrap();
    let fine = "ok    the key can be read, and by its owner only\n";
    assert!(rig.ha(&["doctor", "--config"]).out.contains(fine));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o444)).unwrap();
    let open = "BAD   others than its owner may read /f/key\n      mend: chmod 400 /f/key\n";
    assert!(rig.ha(&["doctor", "--config"]).out.contains(open));
    let away = Rig::new("http = { listen = \"192.0.2.7:9010\" }\n").ha(&["doctor", "--config"]);
    let mend = "      mend: `ip address` lists those of this machine; correct it\n";
    let told = format!("BAD   http.listen: 192.0.2.7 is not an address of this machine\n{mend}");
    assert!(away.out.contains(&told), "{}", away.out);
    let ping = "ping = [\"192.0.2.9%none1\", \"192.0.2.9:53%192.0.2.8\"]\n";
    let places = Rig::new(ping);
    let path = places.path().join("node.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("vote = \"none\"", "vote = \"ping\"")).unwrap();
    let said = places.ha(&["doctor", "--config"]).out;
    for told in [
        "BAD   there is no interface none1\n      mend: `ip link` lists those of this machine; \
         correct ping\n",
        &format!("BAD   ping: 192.0.2.8 is not an address of this machine\n{mend}"),
    ] {
        assert!(said.contains(told), "{told}\n{said}");
    }
    let wrong = Rig::new("lease = 1\n").ha(&["doctor", "--config"]);
    assert!(wrong.code == 1 && wrong.out.starts_with("BAD   /f/node.toml:10: "), "{wrong:?}");
}

/// Root reads all, so who looks must look as the user of the unit.
#[test]
fn doctor_sees_what_the_units_user_may_not_read() {
    if !ha_lab::root_or_skip() {
        return;
    }
    let rig = Rig::new("");
    fs::set_permissions(rig.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = rig.path().join("node.toml");
    let key = rig.path().join("key");
    assert_eq!(ha(&["keygen", key.to_str().unwrap()]).code, 0);
    let keyed = format!("key_file = \"{}\"", key.display());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("insecure = true", &keyed)).unwrap();
    // What systemd would say of the unit.
    let systemctl = rig.path().join("systemctl");
    let says = "#!/bin/sh\n[ \"$1\" = show ] && printf 'LoadState=loaded\\nUser=nobody\\n\
        Group=nogroup\\nCapabilityBoundingSet=cap_net_admin\\n'\n";
    fs::write(&systemctl, says).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let doctor = || {
        let paths = format!("{}:{}", rig.path().display(), std::env::var("PATH").unwrap());
        let mut doctor = command(&["doctor", "--config", path.to_str().unwrap()]);
        Said::of(doctor.env("PATH", paths).output().unwrap())
    };
    let (said, key) = (doctor().out, key.display());
    let line = format!("BAD   nobody, as the unit runs the daemon, may not read {key}\n");
    assert!(
        said.contains(&line) && said.contains(&format!("mend: chown nobody {key}; ")),
        "{said}"
    );
    std::os::unix::fs::chown(rig.path().join("key"), Some(65_534), None).unwrap();
    let said = doctor().out;
    assert!(
        said.contains("ok    nobody, as the unit runs the daemon, may read its files"),
        "{said}"
    );
}

#[test]
fn completions_and_manual_pages_are_made_of_the_command_line() {
    for shell in ["bash", "zsh", "fish"] {
        let made = ha(&["completions", shell]);
        assert!(made.code == 0 && made.out.contains("primforce"), "{shell}");
    }
    // Whoever reads may stop in the middle: that is no fault to tell of.
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let left = command(&["completions", "bash"]).stdout(write).output().unwrap();
    assert_eq!((left.status.code(), left.stderr), (Some(1), Vec::new()));
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(ha(&["man", folder.path().to_str().unwrap()]).code, 0);
    let page = fs::read_to_string(folder.path().join("ha-swap.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("Hand over to the other node"), "{page}");
    assert!(folder.path().join("ha.1").exists());
}

/// A monitor names the time that it has, and a daemon may stand still.
#[test]
fn whoever_only_looks_waits_as_long_as_told() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("silent.sock");
    let _silent = UnixListener::bind(&socket).unwrap();
    let clock = Clock::start();
    for (verb, code) in [
        ("check", 3),
        ("status", 69),
        ("role", 69),
        ("explain", 69),
        ("history", 69),
        ("events", 69),
    ] {
        let said = at(&socket, &[verb, "--timeout", "50ms"]);
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.err.contains("does not answer"), "{said:?}");
    }
    let took = clock.now().saturating_since(Instant::ZERO);
    assert!(took < Duration::from_secs(10), "it takes as long by itself: {took:?}");
}
