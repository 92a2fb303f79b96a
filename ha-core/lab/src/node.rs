//! A mirror node on a host.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::bridge::Bridge;
use crate::group::Group;
use crate::host::Host;
use crate::lab::Lab;
use crate::process::Process;

/// A mirror node on a host: its files in a folder of their own, and a control group that holds
/// whatever it starts. Dropping it kills that and removes the group; the folder goes with the lab.
#[derive(Debug)]
pub struct Node {
    host: Host,
    folder: PathBuf,
    program: PathBuf,
    group: Group,
    environment: Vec<(String, String)>,
}

impl Node {
    /// The folder and the group; nothing runs yet. `program` is `mirror-node`.
    ///
    /// # Errors
    /// The folder or the group cannot be made.
    pub fn new(lab: &Lab, host: &Host, program: &Path) -> io::Result<Self> {
        let folder = lab.folder().join(host.name());
        fs::create_dir(&folder)?;
        let group = Group::make(&format!("{}-{}", lab.name(), host.name()))?;
        let (program, environment) = (program.into(), Vec::new());
        Ok(Self { host: host.clone(), folder, program, group, environment })
    }

    /// Its host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its folder: `ha-node.toml`, and `state`, `run` and `log` once it runs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The control group that its modules' groups are in.
    pub fn group(&self) -> &Path {
        self.group.folder()
    }

    /// Its file `ha-node.toml`, whether it is there or not.
    pub fn file(&self) -> PathBuf {
        self.folder.join("ha-node.toml")
    }

    /// Writes its file.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn configure(&self, text: &str) -> io::Result<()> {
        fs::write(self.file(), text)
    }

    /// Writes one of a module's scripts, for `/bin/sh`, and returns their folder. They run in it.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn script(&self, module: &str, name: &str, text: &str) -> io::Result<PathBuf> {
        let folder = self.scripts(module);
        fs::create_dir_all(&folder)?;
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\ncd '{}' || exit 1\n{text}\n", folder.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(folder)
    }

    /// The folder of a module's scripts.
    pub fn scripts(&self, module: &str) -> PathBuf {
        self.folder.join("scripts").join(module)
    }

    /// A file that a module's scripts wrote into their folder; empty while it is not there.
    pub fn wrote(&self, module: &str, name: &str) -> String {
        fs::read_to_string(self.scripts(module).join(name)).unwrap_or_default()
    }

    /// What the program finds in its environment beside what this process has there.
    pub fn set_environment(&mut self, variables: &[(String, String)]) {
        self.environment = variables.into();
    }

    /// Runs this in the program's place, with its arguments: a script that ends as the program.
    pub fn set_program(&mut self, program: &Path) {
        self.program = program.into();
    }

    /// Starts the program on the host, in the group.
    ///
    /// # Errors
    /// It cannot be started. One that refuses its configuration ends.
    pub fn start(&self) -> io::Result<Process> {
        let enter = format!("echo $$ > '{}/cgroup.procs' && exec \"$@\"", self.group().display());
        self.host.spawn("sh", |command| {
            let program = self.program.as_os_str();
            let variables = self.environment.iter().map(|(name, value)| format!("{name}={value}"));
            command.args(["-c", &enter, "sh", "env"]).args(variables);
            command.arg(program).arg("--config").arg(self.file())
        })
    }
}

/// What the two nodes of a pair share, to be written into each one's file.
#[derive(Clone, Debug)]
pub struct PairFile<'a> {
    /// The hosts; the first has the lower number.
    pub hosts: [&'a Host; 2],
    /// The networks that both are at; a link each, and the replication in the last.
    pub networks: &'a [&'a Bridge],
    /// Names the cluster, whose control groups and registers are its own.
    pub lab: &'a Lab,
}

impl PairFile<'_> {
    /// The file of one node (0 or 1): who and where it is, `shared` lines, and the modules.
    ///
    /// # Errors
    /// The key's file cannot be written.
    pub fn text(&self, node: &Node, shared: &str, modules: &str) -> io::Result<String> {
        let me = usize::from(node.host.name() != self.hosts[0].name());
        let (here, there) = (self.hosts[me], self.hosts[1 - me]);
        let links = self.networks.iter().map(|network| {
            let at = |host: &Host| SocketAddr::from((host.v4(network), LINK_PORT));
            format!("{{ local = \"{}\", peer = \"{}\" }}", at(here), at(there))
        });
        let links: Vec<String> = links.collect();
        let last = self.networks.last().expect("a pair shares a network");
        let at = |host: &Host| SocketAddr::from((host.v4(last), STREAM_PORT));
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            writeln!(text, "{name} = {value}").expect("a text takes whatever is written");
        };
        line("cluster", quoted(self.lab.name()));
        line("node", me.to_string());
        line("peer", (1 - me).to_string());
        line("name", quoted(here.name()));
        line("links", format!("[{}]", links.join(", ")));
        let stream = format!("{{ listen = \"{}\", connect = \"{}\" }}", at(here), at(there));
        line("replication", stream);
        line("key_file", quoted(&key(self.lab)?.display().to_string()));
        for folder in ["state", "run", "log"] {
            line(folder, quoted(&node.folder.join(folder).display().to_string()));
        }
        Ok(format!("{text}{shared}\n{modules}"))
    }
}

/// The key of a lab's cluster, made once.
///
/// # Errors
/// Its file cannot be written.
pub fn key(lab: &Lab) -> io::Result<PathBuf> {
    let path = lab.folder().join("key");
    if !path.exists() {
        fs::write(&path, "07".repeat(32))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400))?;
    }
    Ok(path)
}

/// As TOML writes a text that has no characters to be escaped.
fn quoted(text: &str) -> String {
    assert!(!text.contains(['"', '\\']), "{text:?} would need escapes");
    format!("\"{text}\"")
}

/// Of the heartbeats, UDP.
const LINK_PORT: u16 = 7400;

/// Of the replication, TCP.
const STREAM_PORT: u16 = 7401;
