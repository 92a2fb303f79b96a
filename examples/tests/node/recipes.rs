//! `examples/redis` and `examples/nginx` as they are shipped, with the configuration files of Debian:
//! the servers follow the role, as their own clients see it.
//!
//! Of the recipes only the addresses and the folder of the scripts are others here, and one socket more
//! is named to nginx. What two servers of one machine would share each node has for itself, at the
//! places that the files name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ha_lab::{installed_or_skip, within};

use crate::SOON;
use crate::rig::{PROMPT, Rig, Vote};

/// A pair with one recipe. Each of its files is changed at the places that are named here, and every
/// one of these must be there.
struct Recipe {
    /// Its folder, and its module.
    name: &'static str,
    /// The virtual addresses in the module's file.
    vips: [&'static str; 2],
    /// The unit of the package, which is in the way.
    unit: &'static str,
    /// What each node has for itself: folders of the machine.
    own: &'static [&'static str],
}

const REDIS: Recipe = Recipe {
    name: "redis",
    vips: ["10.0.0.12", "fd00::12"],
    unit: "redis-server",
    own: &["/var/lib/redis", "/etc/redis"],
};

const NGINX: Recipe = Recipe {
    name: "nginx",
    vips: ["10.0.0.13", "fd00::13"],
    unit: "nginx",
    own: &["/var/lib/nginx", "/var/log/nginx", "/var/www/html", "/etc/nginx/conf.d"],
};

impl Recipe {
    fn shipped(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.name)
    }

    /// Gives both nodes the recipe, as an administrator does; `settings` are the changes of each.
    fn install(&self, rig: &mut Rig, settings: [&[(&str, &str)]; 2]) {
        let folder = rig.lab.folder().to_owned();
        let path = std::env::var("PATH").unwrap();
        rig.environment = vec![("PATH".into(), format!("{}:{path}", folder.display()))];
        // The machine's own would say what is true of this machine.
        let systemctl =
            format!("echo \"$*\" >> '{0}/asked'\n[ -e '{0}/enabled' ]", folder.display());
        script(&folder.join("systemctl"), &systemctl);
        for (node, changes) in settings.into_iter().enumerate() {
            self.install_scripts(rig, node, changes);
            self.install_module(rig, node);
            self.set_apart(rig, node);
        }
    }

    fn install_scripts(&self, rig: &Rig, node: usize, settings: &[(&str, &str)]) {
        let to = rig.nodes[node].scripts(self.name);
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(self.shipped().join("scripts")).unwrap().flatten() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        let file = to.join("settings");
        fs::write(&file, changed(&fs::read_to_string(&file).unwrap(), settings)).unwrap();
    }

    fn install_module(&self, rig: &Rig, node: usize) {
        rig.write(node, PROMPT, "");
        let shipped = self.shipped().join(format!("{}.toml", self.name));
        let [v4, v6] = rig.addresses().map(|address| address.to_string());
        let scripts = rig.nodes[node].scripts(self.name).display().to_string();
        let shown = format!("/etc/ha-node/{}", self.name);
        let changes = [(self.vips[0], &*v4), (self.vips[1], &*v6), (&*shown, &*scripts)];
        let text = changed(&fs::read_to_string(shipped).unwrap(), &changes.map(quoted));
        let folder = rig.nodes[node].file().with_file_name("modules.d");
        fs::create_dir(&folder).unwrap();
        let text = format!("{text}bootstrap = {}\n", node == 0);
        fs::write(folder.join(format!("{}.toml", self.name)), text).unwrap();
    }

    /// Has the node's daemon, and all that it starts, find what is its own in the machine's place.
    fn set_apart(&self, rig: &mut Rig, node: usize) {
        let mount = |place: &&str| {
            let own = own(rig, node, place);
            fs::create_dir_all(&own).unwrap();
            format!("mount --rbind '{}' {place}\n", own.display())
        };
        let mounts: String = [RUN].iter().chain(self.own).map(mount).collect();
        // Where the hierarchy of groups is mounted below, it stays in sight.
        let groups = format!("{}/ha-node/cgroup", own(rig, node, RUN).display());
        let keep = format!(
            "[ ! -d /run/ha-node/cgroup ] || \
             {{ mkdir -p '{groups}' && mount --rbind /run/ha-node/cgroup '{groups}'; }}\n"
        );
        let inside = rig.lab.folder().join(format!("inside-{node}"));
        script(&inside, &format!("set -e\n{keep}{mounts}exec \"$@\""));
        let apart = rig.lab.folder().join(format!("apart-{node}"));
        let program = env!("CARGO_BIN_EXE_mirror-node");
        let line = format!("exec unshare --mount '{}' '{program}' \"$@\"", inside.display());
        script(&apart, &line);
        rig.nodes[node].set_program(&apart);
    }

    /// What the documentation wants done before is looked at: the unit of the package, which is
    /// there under that name, is asked about, and an enabled one is refused with what to do.
    fn check_unit(&self, rig: &Rig) {
        let installed = Path::new("/lib/systemd/system").join(format!("{}.service", self.unit));
        assert!(installed.exists(), "the package has no unit {}", self.unit);
        let asked = fs::read_to_string(rig.lab.folder().join("asked")).unwrap();
        assert_eq!(asked, format!("--quiet is-enabled {}\n", self.unit).repeat(2));
        fs::write(rig.lab.folder().join("enabled"), "").unwrap();
        let prestart = rig.nodes[0].scripts(self.name).join("prestart");
        let refused =
            rig.hosts[0].command(prestart).envs(rig.environment.clone()).output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        let mend = format!("systemctl disable --now {}\n", self.unit);
        assert!(!refused.status.success() && said.ends_with(&mend), "{said}");
        fs::remove_file(rig.lab.folder().join("enabled")).unwrap();
    }
}

/// Where programs keep what this boot needs.
const RUN: &str = "/run";

/// What a node has in the place of one of the machine's.
fn own(rig: &Rig, node: usize, place: &str) -> PathBuf {
    rig.nodes[node].folder().join("own").join(place.trim_start_matches('/'))
}

/// The text with these replaced, each of which must be in it.
fn changed(text: &str, changes: &[(impl AsRef<str>, impl AsRef<str>)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        let (from, to) = (from.as_ref(), to.as_ref());
        assert_eq!(text.matches(from).count(), 1, "{from:?} is not once in {text}");
        text.replace(from, to)
    })
}

/// Both as TOML has a text.
fn quoted((from, to): (&str, &str)) -> (String, String) {
    (format!("\"{from}\""), format!("\"{to}\""))
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What a program on the client prints, whether it succeeds or not.
fn client(rig: &Rig, program: &str, arguments: &[&str]) -> String {
    let output = rig.client.command(program).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Waits until a program on the client prints it.
fn until_prints(rig: &Rig, program: &str, arguments: &[&str], expected: &str) {
    let prints = || client(rig, program, arguments) == expected;
    assert!(within(SOON, prints), "{program} {arguments:?}: {}", client(rig, program, arguments));
}

#[test]
fn redis_follows_the_role_and_keeps_its_data() {
    if !installed_or_skip(&["redis-server", "redis-cli"]) {
        return;
    }
    let Some(mut rig) = Rig::new("redis", Vote::Arbiter, 1) else { return };
    let network = rig.networks[0].clone();
    let own4 = [0, 1].map(|node: usize| rig.hosts[node].v4(&network).to_string());
    let own6 = [0, 1].map(|node: usize| rig.hosts[node].v6(&network).to_string());
    let peers = [1, 0].map(|other: usize| format!("PEER={}", own4[other]));
    let peer = |node: usize| [("PEER=10.0.0.2", &*peers[node])];
    REDIS.install(&mut rig, [&peer(0), &peer(1)]);
    // Debian's file, but that no copy waits five seconds for more replicas to want one.
    let config = fs::read_to_string("/etc/redis/redis.conf").unwrap();
    let config =
        changed(&config, &[("\nrepl-diskless-sync-delay 5\n", "\nrepl-diskless-sync-delay 0\n")]);
    for node in [0, 1] {
        fs::write(own(&rig, node, "/etc/redis/redis.conf"), &config).unwrap();
        let data = own(&rig, node, "/var/lib/redis");
        fs::set_permissions(data, fs::Permissions::from_mode(0o777)).unwrap();
    }
    rig.start(0);
    rig.start(1);
    rig.until_whole(0);
    REDIS.check_unit(&rig);
    let [vip, vip6] = rig.addresses().map(|address| address.to_string());
    let prints = |rig: &Rig, at: &str, words: &[&str], expected: &str| {
        until_prints(rig, "redis-cli", &[&["-h", at], words].concat(), expected);
    };
    prints(&rig, &vip, &["set", "k", "first"], "OK");
    prints(&rig, &own4[1], &["get", "k"], "first");
    // A replica takes no writes.
    assert!(client(&rig, "redis-cli", &["-h", &own6[1], "set", "k", "x"]).starts_with("READONLY"));
    rig.daemon(0).kill().unwrap();
    rig.until_role(1, &["Alone ready"]);
    prints(&rig, &vip6, &["get", "k"], "first");
    prints(&rig, &vip6, &["set", "k", "second"], "OK");
    prints(&rig, &own4[0], &["ping"], "");
    rig.start(0);
    rig.until_whole(1);
    prints(&rig, &own4[0], &["get", "k"], "second");
    rig.daemon(1).terminate().unwrap();
    rig.daemon(1).wait(SOON).unwrap().expect("it ends in order");
    rig.until_role(0, &["Alone ready"]);
    for at in [&vip, &vip6] {
        prints(&rig, at, &["get", "k"], "second");
    }
    prints(&rig, &vip, &["set", "k", "third"], "OK");
    rig.start(1);
    rig.until_whole(0);
    prints(&rig, &own4[1], &["get", "k"], "third");
}

#[test]
fn nginx_runs_where_the_module_is_primary() {
    if !installed_or_skip(&["nginx", "curl"]) {
        return;
    }
    let Some(mut rig) = Rig::new("nginx", Vote::Arbiter, 1) else { return };
    // Debian's site listens at no Unix socket; one more does.
    let sockets = [("SOCKETS=", "SOCKETS=/run/site.sock")];
    NGINX.install(&mut rig, [&sockets, &sockets]);
    for node in [0, 1] {
        let page = own(&rig, node, "/var/www/html/index.html");
        fs::write(page, rig.hosts[node].name()).unwrap();
        let site = own(&rig, node, "/etc/nginx/conf.d/site.conf");
        fs::write(site, "server { listen unix:/run/site.sock; }\n").unwrap();
        // As a crash leaves them.
        fs::write(own(&rig, node, "/run/nginx.pid"), "1\n").unwrap();
        let socket = own(&rig, node, "/run/site.sock");
        drop(std::os::unix::net::UnixListener::bind(socket).unwrap());
    }
    rig.start(0);
    rig.start(1);
    rig.until_whole(0);
    NGINX.check_unit(&rig);
    let [vip, vip6] = rig.addresses().map(|address| address.to_string());
    let urls = [format!("http://{vip}/"), format!("http://[{vip6}]/")];
    let served_by = |rig: &Rig, name: &str| {
        for url in &urls {
            until_prints(rig, "curl", &["-s", "-m", "1", url], name);
        }
    };
    served_by(&rig, "a");
    rig.daemon(0).kill().unwrap();
    rig.until_role(1, &["Alone ready"]);
    served_by(&rig, "b");
    rig.start(0);
    rig.until_whole(1);
    rig.daemon(1).terminate().unwrap();
    rig.daemon(1).wait(SOON).unwrap().expect("it ends in order");
    rig.until_role(0, &["Alone ready"]);
    served_by(&rig, "a");
    let events = rig.nodes[1].group().join("cgroup.events");
    let group = || fs::read_to_string(&events).unwrap();
    assert!(within(SOON, || group().contains("populated 0")), "b left something: {}", group());
}
