//! `ha doctor`: what is wrong with this machine's set-up, each with its mend.

mod farm;
mod holders;
mod rights;

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use ha_core::control::protocol::{Finding, Reply, Request};
use ha_core::control::{Exit, ModuleStatus};
use ha_core::driver::Driver;
use ha_core::linux::cgroup::Cgroup;
use ha_core::raw::{Key, PingFrom};

use self::rights::RunsAs;
use super::ask::Answers;
use super::output::Output;
use super::run::{At, End};
use super::{ask, files};
use ha_core::linux::node::config::Node;
use ha_core::linux::node::module::guardian_of_daemon;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// As it should be.
    Fine(String),
    /// Not, and how to mend it.
    Bad(String, String),
    /// It could be better, and how.
    Weak(String, String),
    /// Nothing to look at here, and why.
    Skipped(String),
}

/// Looks at everything; fails when anything is bad.
pub(super) fn run(at: &At<'_>, config: &Path) -> End {
    if files::is_farm(config) {
        return farm::run(at, config);
    }
    let mut found = Vec::new();
    let statuses = ask::status(at.socket, at.module, at.patience());
    match files::node(config) {
        Ok(node) => {
            found.push(Found::Fine(format!("{} can work", config.display())));
            of_node(&mut found, &node, statuses.is_ok());
            found.extend(holders::of_node(&node, statuses.as_deref().unwrap_or_default()));
            let key = &node.modules.first().expect("a node has modules").node.key;
            found.extend(unit_reads("ha-node", config, key));
        }
        Err(refused) => {
            let mend = "correct it; examples/config/ha-node.toml has every field".into();
            found.push(Found::Bad(refused.text, mend));
        }
    }
    found.push(clock());
    found.push(unit("ha-node"));
    match statuses {
        Ok(modules) => {
            for status in &modules {
                of_module(&mut found, status);
            }
            found.push(rejections(at));
        }
        Err(refused) if refused.exit == Exit::Denied => {
            found.push(Found::Bad(refused.text, "run it as root, or as a member of ha".into()));
        }
        Err(refused) => {
            found.push(Found::Weak(refused.text, "systemctl enable --now ha-node".into()));
        }
    }
    tell(at, &found)
}

/// Prints what was found; failed when anything is bad.
fn tell(at: &At<'_>, found: &[Found]) -> End {
    for it in found {
        if at.output.json {
            Output::json(&Reply::Found(it.finding()));
        } else {
            Output::line(&it.line());
        }
    }
    let bad = found.iter().any(|it| matches!(it, Found::Bad(..)));
    End::Exit(if bad { Exit::Failed } else { Exit::Done })
}

impl Found {
    fn finding(&self) -> Finding {
        let (level, what, mend) = match self {
            Self::Fine(what) => ("ok", what, None),
            Self::Bad(what, mend) => ("bad", what, Some(mend)),
            Self::Weak(what, mend) => ("weak", what, Some(mend)),
            Self::Skipped(why) => ("skipped", why, None),
        };
        Finding { level: level.into(), what: what.clone(), mend: mend.cloned() }
    }

    fn line(&self) -> String {
        match self {
            Self::Fine(what) => format!("ok    {what}"),
            Self::Bad(what, mend) => format!("BAD   {what}\n      mend: {mend}"),
            Self::Weak(what, mend) => format!("weak  {what}\n      mend: {mend}"),
            Self::Skipped(why) => format!("-     {why}"),
        }
    }
}

/// What the node's own configuration asks of this machine.
fn of_node(found: &mut Vec<Found>, node: &Node, runs: bool) {
    let first = node.modules.first().expect("a node has modules");
    found.push(key(&first.node.key));
    let vips = node.modules.iter().filter_map(|module| module.vips.as_ref());
    let addresses: Vec<_> = vips.flat_map(|vips| &vips.addresses).collect();
    if !addresses.is_empty() {
        found.push(capabilities());
    }
    let mut interfaces: Vec<&str> = addresses.iter().map(|vip| &*vip.interface).collect();
    interfaces.sort_unstable();
    interfaces.dedup();
    found.extend(interfaces.into_iter().map(|name| interface(name, "vips")));
    if node.modules.iter().any(|module| module.service.is_some()) {
        found.push(groups());
        found.push(guardian(node));
    }
    let udp = |at: SocketAddr| UdpSocket::bind(at).map(drop);
    let tcp = |at: SocketAddr| TcpListener::bind(at).map(drop);
    for link in &node.raw.links {
        found.push(local("links", link.local, runs, udp));
    }
    // The node with the higher id listens, the other one dials.
    if node.raw.node > node.raw.peer {
        let listen = node.raw.replication.listen;
        found.push(local("replication.listen", listen, runs, tcp));
    }
    if let Some(from) = node.raw.witness_from {
        found.push(local("witness_from", SocketAddr::new(from, 0), runs, udp));
    }
    let places = node.raw.ping.iter().filter_map(|target| target.from.as_ref());
    found.extend(places.map(|from| match from {
        PingFrom::Interface(name) => interface(name, "ping"),
        PingFrom::Address(at) => local("ping", SocketAddr::new(*at, 0), runs, udp),
    }));
    if let Some(http) = &node.raw.http {
        found.push(local("http.listen", http.listen, runs, tcp));
    }
    if node.raw.links.len() == 1 {
        let what = "one network between the nodes: its loss looks like the other node's".into();
        found.push(Found::Weak(what, "a second entry in links, over another switch".into()));
    }
}

/// The cluster's key, or both while it is changed.
fn key(key: &Key) -> Found {
    if let Err(error) = Driver::check_key(key) {
        let mend = "ha keygen FILE on one node, and the same file on the others".into();
        return Found::Bad(error.to_string(), mend);
    }
    if *key == Key::Insecure {
        let what = "insecure = true: whoever reaches the ports can stop this cluster".into();
        return Found::Weak(what, "ha keygen FILE, and key_file in its place".into());
    }
    let open =
        |file: &&Path| fs::metadata(file).is_ok_and(|data| data.permissions().mode() & 0o077 != 0);
    match files_of(key).into_iter().find(open) {
        Some(file) => Found::Bad(
            format!("others than its owner may read {}", file.display()),
            format!("chmod 400 {}", file.display()),
        ),
        None => Found::Fine("the key can be read, and by its owner only".into()),
    }
}

fn files_of(key: &Key) -> Vec<&Path> {
    match key {
        Key::Insecure => Vec::new(),
        Key::File(file) => vec![file.as_ref()],
        Key::Rotating { signing, accepted } => vec![signing.as_ref(), accepted.as_ref()],
    }
}

/// Whether the user of a unit may read what the daemon needs; `None` without that unit.
fn unit_reads(unit: &str, config: &Path, key: &Key) -> Option<Found> {
    let files = [config].into_iter().chain(files_of(key));
    // What is not there is another complaint.
    let files = files.filter(|file| file.exists());
    RunsAs::of_unit(unit).map(|it| it.read(files))
}

/// `CAP_NET_ADMIN` and `CAP_NET_RAW`, which addresses and their announcements need.
fn capabilities() -> Found {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    let missing: Vec<&str> = [("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13)]
        .into_iter()
        .filter(|(_, bit)| bits >> bit & 1 == 0)
        .map(|(name, _)| name)
        .collect();
    if missing.is_empty() {
        return Found::Fine("virtual addresses may be set: CAP_NET_ADMIN and CAP_NET_RAW".into());
    }
    let mend = "the unit grants them to the daemon; run this as root to look as it does".into();
    Found::Weak(format!("missing here: {}", missing.join(" and ")), mend)
}

fn interface(name: &str, field: &str) -> Found {
    let folder = Path::new("/sys/class/net").join(name);
    if !folder.exists() {
        let mend = format!("`ip link` lists those of this machine; correct {field}");
        return Found::Bad(format!("there is no interface {name}"), mend);
    }
    match fs::read_to_string(folder.join("operstate")).as_deref().map(str::trim) {
        Ok("down" | "lowerlayerdown") => {
            let mend = format!("ip link set {name} up; then cable and switch");
            Found::Bad(format!("interface {name} is down"), mend)
        }
        Ok(_) | Err(_) => Found::Fine(format!("interface {name} is there")),
    }
}

fn groups() -> Found {
    match Cgroup::home() {
        Ok(home) => Found::Fine(format!("control groups at {}", home.display())),
        Err(error) => {
            let mend = "mount -t cgroup2 none /sys/fs/cgroup, or boot with cgroup v2".into();
            Found::Bad(format!("no control groups (v2): {error}"), mend)
        }
    }
}

fn guardian(node: &Node) -> Found {
    let program = guardian_of_daemon(node);
    if program.is_file() {
        return Found::Fine(format!("the guardian is {}", program.display()));
    }
    let mend = "install ha-guardian beside mirror-node, or name it: guardian".into();
    Found::Bad(format!("there is no {}", program.display()), mend)
}

/// Whether an address is this machine's, and its port free, unless the daemon has it.
fn local(
    field: &str,
    address: SocketAddr,
    runs: bool,
    bind: impl Fn(SocketAddr) -> io::Result<()>,
) -> Found {
    match bind(address) {
        Ok(()) if address.port() == 0 => Found::Fine(format!("{field}: {} is here", address.ip())),
        Ok(()) => Found::Fine(format!("{field}: {address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && runs => {
            Found::Fine(format!("{field}: {address} is the daemon's"))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let mend = format!("`ss -lntup` says whose; free {address}, or choose another port");
            Found::Bad(format!("{field}: {address} is in use"), mend)
        }
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            let mend = "`ip address` lists those of this machine; correct it".into();
            Found::Bad(format!("{field}: {} is not an address of this machine", address.ip()), mend)
        }
        Err(error) => Found::Bad(format!("{field}: {address}: {error}"), "see the error".into()),
    }
}

/// A clock that the kernel itself mistrusts makes leases wrong.
fn clock() -> Found {
    let folder = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    match fs::read_to_string(folder).as_deref().map(str::trim) {
        Ok("jiffies") => {
            let mend = "boot with another clocksource: hpet, acpi_pm or tsc".into();
            Found::Weak("the clock is jiffies: leases need a better one".into(), mend)
        }
        Ok(source) => Found::Fine(format!("the clock is {source}")),
        Err(error) => Found::Skipped(format!("the kernel does not name its clock: {error}")),
    }
}

fn unit(name: &str) -> Found {
    if !Path::new("/run/systemd/system").exists() {
        return Found::Skipped("no systemd here: see that the daemon starts at boot".into());
    }
    let asked = Command::new("systemctl")
        .args(["is-enabled", &format!("{name}.service")])
        .stdin(Stdio::null())
        .output();
    match asked {
        Ok(output) if output.status.success() => Found::Fine(format!("{name} starts at boot")),
        Ok(output) => {
            let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if state.is_empty() {
                let mend = format!("examples/systemd/{name}.service goes to /etc/systemd/system");
                return Found::Weak(format!("systemd knows no unit {name}"), mend);
            }
            let what = format!("{name} does not start at boot: {state}");
            Found::Weak(what, format!("systemctl enable {name}"))
        }
        Err(error) => Found::Skipped(format!("systemctl cannot be asked: {error}")),
    }
}

/// What a running module tells.
fn of_module(found: &mut Vec<Found>, status: &ModuleStatus) {
    let name = &status.module;
    if status.verdict == "PROTECTED" {
        found.push(Found::Fine(format!("{name}: a takeover would succeed now")));
    }
    if let Some(down) = &status.down {
        found.push(Found::Bad(format!("{name}: {}", down.why), down.next.clone()));
    }
    for blocker in &status.blockers {
        found.push(Found::Bad(format!("{name}: {}", blocker.why), blocker.next.clone()));
    }
    for note in &status.notes {
        found.push(Found::Weak(format!("{name}: {}", note.why), note.next.clone()));
    }
}

/// Another key on one side, a foreign cluster, a clash of ids: all are refused datagrams.
fn rejections(at: &At<'_>) -> Found {
    let request = Request::Events { module: at.named(), since: 0, follow: false };
    let Ok(mut answers) = Answers::of(at.socket, &request, Some(ask::PATIENCE)) else {
        return Found::Skipped("the daemon's events are not to be had".into());
    };
    let mut refused = None;
    while let Ok(Some(answer)) = answers.next() {
        if let Reply::Event(event) = answer
            && event.event == "rejected"
        {
            refused = Some(event.text);
        }
    }
    match refused {
        Some(text) => {
            let mend = "the same key file, cluster name and time settings on all nodes and the \
                witness: compare `sha256sum` of the key";
            Found::Weak(text, mend.into())
        }
        None => Found::Fine("no datagram was refused".into()),
    }
}
