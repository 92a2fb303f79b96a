//! Bare servers, each with a systemd of its own.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ha_core::linux::cgroup::Cgroup;
use ha_lab::{Host, Lab, Process, within};

use crate::SOON;

/// Servers on one switch, and a client beside them.
#[derive(Debug)]
pub(crate) struct Machines {
    pub(crate) all: Vec<Machine>,
    client: Host,
    /// What was run, as it is written, anywhere but on them.
    elsewhere: RefCell<BTreeSet<String>>,
    /// Last: it goes when nothing of it is used any more.
    _lab: Lab,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Machine {
    host: Host,
    group: PathBuf,
    disk: PathBuf,
    /// Of what it can install.
    packages: PathBuf,
    /// What was run on it, as it is written.
    tried: RefCell<BTreeSet<String>>,
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
        if !ha_lab::installed_or_skip(&["dpkg-repack"]) {
            return None;
        }
        let packages = packages(lab.folder());
        let network = lab.bridge_of(NETWORK).unwrap();
        let home = Cgroup::home().unwrap();
        let make = |name: &&str| {
            let host = lab.host(name, &[&network]).unwrap();
            let group = Cgroup::make(&home, &format!("{}-{name}", lab.name())).unwrap();
            let disk = lab.folder().join(format!("{name}-disk"));
            Machine::new(host, group.folder().into(), disk, packages.clone())
        };
        let mut all: Vec<Machine> = names.iter().map(make).collect();
        let client = lab.host("client", &[&network]).unwrap();
        all.iter_mut().for_each(Machine::power_on);
        Some(Self { all, client, elsewhere: RefCell::default(), _lab: lab })
    }

    pub(crate) fn named(&mut self, name: &str) -> &mut Machine {
        let found = self.all.iter_mut().find(|it| it.host.name() == name);
        found.unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// Runs lines of the machine that builds the programs, which is this one; they are what the
    /// servers have afterwards.
    pub(crate) fn build(&self, lines: &str) {
        let built = ha_lab::in_repository(lines).unwrap();
        assert_eq!(built.join("release"), programs(), "where the servers look for them");
        self.elsewhere.borrow_mut().extend(lines.lines().map(String::from));
    }

    /// Runs a line of the client's, which has only a shell; what it prints.
    pub(crate) fn client(&self, line: &str) -> String {
        let mut shell = self.client.command("timeout");
        let output = shell.args(["2", "sh", "-c", line]).output().unwrap();
        if output.status.success() {
            self.elsewhere.borrow_mut().insert(line.trim_end().into());
        }
        text(&output.stdout)
    }

    /// Every line that was run without failing, as it is written, by whomever.
    pub(crate) fn tried(&self) -> BTreeSet<String> {
        let on = self.all.iter().map(|it| it.tried.borrow().clone());
        on.fold(self.elsewhere.borrow().clone(), |all, more| all.union(&more).cloned().collect())
    }
}

impl Machine {
    fn new(host: Host, group: PathBuf, disk: PathBuf, packages: PathBuf) -> Self {
        fs::create_dir(&disk).unwrap();
        let mut mount = Command::new("mount");
        assert!(mount.args(["-t", "tmpfs", "disk"]).arg(&disk).status().unwrap().success());
        for folder in ["upper", "work", "root"] {
            fs::create_dir(disk.join(folder)).unwrap();
        }
        Self { host, group, disk, packages, tried: RefCell::default(), process: None }
    }

    pub(crate) fn name(&self) -> &str {
        self.host.name()
    }

    /// Returns when it has booted.
    pub(crate) fn power_on(&mut self) {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        // They may be built while it runs.
        fs::create_dir_all(programs()).unwrap();
        let process = self.host.spawn("sh", |it| {
            it.arg(here.join("tests/documents/machine.sh")).arg(&self.group).arg(&self.disk);
            it.arg(self.host.name()).arg(programs()).arg(here).arg(&self.packages)
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
        self.succeeded(lines, &self.output(&each(lines), Stdio::null()))
    }

    /// Likewise by somebody who says yes to whatever is asked.
    pub(crate) fn sh_yes(&self, lines: &str) -> String {
        let mut yes = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
        let input = yes.stdout.take().expect("it is a pipe");
        let output = self.output(&each(lines), input.into());
        // By itself it ends with the last who could read it, which may be a daemon of theirs.
        yes.kill().unwrap();
        yes.wait().unwrap();
        self.succeeded(lines, &output)
    }

    /// Notes that these lines were run; what they printed.
    fn succeeded(&self, lines: &str, output: &Output) -> String {
        let printed = text(&output.stdout);
        let name = self.name();
        assert!(output.status.success(), "{name}: {lines}\n{printed}{}", text(&output.stderr));
        self.tried.borrow_mut().extend(lines.lines().map(String::from));
        printed
    }

    /// Likewise, whether they succeed or not.
    pub(crate) fn try_sh(&self, lines: &str) -> Output {
        self.output(lines, Stdio::null())
    }

    /// Runs a line at a terminal, and says yes where it asks.
    pub(crate) fn at_terminal(&self, line: &str) {
        self.sh(&format!("echo y | script --quiet --return --command '{line}' /dev/null"));
        self.tried.borrow_mut().insert(line.into());
    }

    /// Runs a line that goes on until it is ended, and ends it once it has printed this.
    pub(crate) fn follow(&self, line: &str, prints: &str) {
        self.sh(&format!("{line} > /tmp/followed 2>&1 &\necho $! > /tmp/follower"));
        self.until("cat /tmp/followed", prints);
        self.sh("kill $(cat /tmp/follower)");
        self.tried.borrow_mut().insert(line.into());
    }

    fn output(&self, lines: &str, input: Stdio) -> Output {
        let shell = Cgroup::make(&self.group, "shell").unwrap();
        let mut enter = shell.command(Path::new("nsenter"));
        enter.args(["--all", "--target", &self.init().expect("its power is on")]);
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        enter.args(["env", "-i", path, "HOME=/root", "sh", "-c"]);
        enter.arg(format!("cd /bare\n{lines}")).stdin(input).output().unwrap()
    }

    /// Writes a file as an administrator would.
    pub(crate) fn write(&self, path: &str, text: &str) {
        self.sh(&format!("cat > {path} <<'THE END'\n{text}\nTHE END"));
    }

    /// Waits until these lines print this.
    pub(crate) fn until(&self, lines: &str, prints: &str) {
        let (mut last, mut done) = (String::new(), false);
        let so = within(SOON, || {
            let output = self.try_sh(lines);
            let found = text(&output.stdout).contains(prints);
            done = output.status.success();
            last = text(&[output.stdout, output.stderr].concat());
            found
        });
        let journal = || text(&self.try_sh("journalctl --no-pager --lines 60").stdout);
        assert!(so, "{}: {lines}: no {prints:?} in\n{last}\n{}", self.name(), journal());
        if done {
            self.tried.borrow_mut().extend(lines.lines().map(String::from));
        }
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

/// The network of the documents: its first hosts are the servers, in their order.
const NETWORK: [u8; 3] = [10, 0, 0];

/// Where cargo puts what the documents have it build.
fn programs() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_ha")).ancestors().nth(2);
    beside.expect("it has a folder").join("release")
}

/// Lines of which each must succeed.
fn each(lines: &str) -> String {
    format!("set -e\n{lines}")
}

/// What Debian's registry has for the servers, in a folder in there.
fn packages(folder: &Path) -> PathBuf {
    let packages = folder.join("packages");
    fs::create_dir(&packages).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents/packages.sh");
    let output = Command::new("sh").arg(script).arg(&packages).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    packages
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
