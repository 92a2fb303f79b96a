//! Bare servers, each with a systemd of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ha_core::linux::cgroup::Cgroup;
use ha_lab::{Bridge, Host, Lab, Process, within};

use crate::SOON;

/// Servers on one switch, and a client beside them.
#[derive(Debug)]
pub(crate) struct Machines {
    pub(crate) all: Vec<Machine>,
    client: Host,
    network: Bridge,
    /// Last: it goes when nothing of it is used any more.
    _lab: Lab,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Machine {
    host: Host,
    group: PathBuf,
    disk: PathBuf,
    /// `None` while its power is off.
    process: Option<Process>,
}

impl Machines {
    /// `None`, said aloud, where there can be none.
    pub(crate) fn boot(test: &str, names: &[&str]) -> Option<Self> {
        let mut lab = Lab::root_or_skip(test)?;
        let lacks = ["/lib/systemd/systemd", "/lib/systemd/system/nginx.service"];
        if let Some(lacks) = lacks.iter().find(|path| !Path::new(path).exists()) {
            ha_lab::skip(lacks);
            return None;
        }
        let network = lab.bridge().unwrap();
        let home = Cgroup::home().unwrap();
        let make = |name: &&str| {
            let host = lab.host(name, &[&network]).unwrap();
            let group = Cgroup::make(&home, &format!("{}-{name}", lab.name())).unwrap();
            let disk = lab.folder().join(format!("{name}-disk"));
            Machine::new(host, group.folder().into(), disk)
        };
        let mut all: Vec<Machine> = names.iter().map(make).collect();
        let client = lab.host("client", &[&network]).unwrap();
        all.iter_mut().for_each(Machine::power_on);
        Some(Self { all, client, network, _lab: lab })
    }

    pub(crate) fn named(&mut self, name: &str) -> &mut Machine {
        let found = self.all.iter_mut().find(|it| it.host.name() == name);
        found.unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// What the documents say, with the addresses of this network.
    pub(crate) fn here(&self, text: &str) -> String {
        let network = self.network.v4(0).to_string();
        text.replace("10.0.0.", network.strip_suffix('0').expect("it ends with .0"))
    }

    /// Runs a line of the client's, which has only a shell; what it prints.
    pub(crate) fn client(&self, line: &str) -> String {
        let line = self.here(line).replace("curl ", "curl --silent --max-time 1 ");
        text(&self.client.command("sh").args(["-c", &line]).output().unwrap().stdout)
    }
}

impl Machine {
    fn new(host: Host, group: PathBuf, disk: PathBuf) -> Self {
        fs::create_dir(&disk).unwrap();
        let mut mount = Command::new("mount");
        assert!(mount.args(["-t", "tmpfs", "disk"]).arg(&disk).status().unwrap().success());
        for folder in ["upper", "work", "root"] {
            fs::create_dir(disk.join(folder)).unwrap();
        }
        Self { host, group, disk, process: None }
    }

    pub(crate) fn name(&self) -> &str {
        self.host.name()
    }

    /// Returns when it has booted.
    pub(crate) fn power_on(&mut self) {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let programs = Path::new(env!("CARGO_BIN_EXE_ha")).parent().unwrap();
        let process = self.host.spawn("sh", |it| {
            it.arg(here.join("tests/documents/machine.sh")).arg(&self.group).arg(&self.disk);
            it.arg(self.host.name()).arg(programs).arg(here)
        });
        self.process = Some(process.unwrap());
        assert!(within(SOON, || self.init().is_some()), "{self:?}");
        let booted = || {
            let state = self.try_sh("systemctl is-system-running --wait");
            matches!(&*text(&state.stdout), "running\n" | "degraded\n")
        };
        assert!(within(SOON, booted), "{}", text(&self.try_sh("systemctl --failed").stdout));
    }

    /// All that runs on it ends at once; its disk stays.
    pub(crate) fn power_off(&mut self) {
        let init = self.init().expect("it runs");
        let kill = Command::new("kill").args(["-KILL", &init]).status();
        assert!(kill.unwrap().success());
        self.process = None;
    }

    /// The number of its first process, out here.
    fn init(&self) -> Option<String> {
        let processes = fs::read_to_string(self.group.join("init.scope/cgroup.procs")).ok()?;
        processes.lines().next().map(String::from)
    }

    /// Runs these lines, each of which must succeed, where the documents have them run; what they
    /// print.
    pub(crate) fn sh(&self, lines: &str) -> String {
        let output = self.try_sh(&format!("set -e\n{lines}"));
        let printed = text(&output.stdout);
        let name = self.name();
        assert!(output.status.success(), "{name}: {lines}\n{printed}{}", text(&output.stderr));
        printed
    }

    /// Likewise, whether they succeed or not.
    pub(crate) fn try_sh(&self, lines: &str) -> Output {
        let shell = Cgroup::make(&self.group, "shell").unwrap();
        let mut enter = shell.command(Path::new("nsenter"));
        enter.args(["--all", "--target", &self.init().expect("its power is on")]);
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        enter.args(["env", "-i", path, "HOME=/root", "sh", "-c"]);
        enter.arg(format!("cd /bare\n{lines}")).stdin(Stdio::null()).output().unwrap()
    }

    /// Writes a file as an administrator would.
    pub(crate) fn write(&self, path: &str, text: &str) {
        self.sh(&format!("cat > {path} <<'THE END'\n{text}\nTHE END"));
    }

    /// Waits until these lines print this.
    pub(crate) fn until(&self, lines: &str, prints: &str) {
        let mut last = String::new();
        let so = within(SOON, || {
            last = text(&self.try_sh(lines).stdout);
            last.contains(prints)
        });
        let journal = || text(&self.try_sh("journalctl --no-pager --lines 60").stdout);
        assert!(so, "{}: {lines}: no {prints:?} in\n{last}\n{}", self.name(), journal());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.process.is_some() && self.init().is_some() {
            self.power_off();
        }
        within(SOON, || remove(&self.group).is_ok());
        // One that is still used goes with its last user.
        let _ = Command::new("umount").arg("--lazy").arg(&self.disk).status();
    }
}

/// Removes a group and all below it.
fn remove(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
