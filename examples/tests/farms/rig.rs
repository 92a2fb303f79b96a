//! Servers with a service, and a client, for all tests here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use ha_lab::{Bridge, Host, Lab, Node, Process, within};
use serde_json::Value;

use crate::SOON;

/// Of the service.
pub(crate) const PORT: u16 = 7000;

/// Lines of a file that most tests want: a loaded machine may hold a process up, and what it costs
/// then is not what they are about.
pub(crate) const CALM: &str = "interval = \"200ms\"\n";

/// Buckets that have moved are free to move again soon: those that drain are left where they are.
pub(crate) const SHORT: &str = "interval = \"200ms\"\ndrain = \"1s\"\n";

/// Servers `a`, `b`, … with a daemon each and a service that answers with their number, and a
/// client.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) network: Bridge,
    /// A second network of the servers alone, if they have one.
    pub(crate) back: Option<Bridge>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) client: Host,
    pub(crate) daemons: Vec<Option<Process>>,
    pub(crate) nodes: Vec<Node>,
    /// Last: it goes when nothing of it is used any more.
    pub(crate) lab: Lab,
}

/// A connection of the client's, and the number of who serves it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) by: u8,
}

/// What `ha` printed, and ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Rig {
    /// Servers whose files are not written yet. `None`, said aloud, where there can be no lab.
    /// The test's name is part of paths: keep it short.
    pub(crate) fn new(test: &str, servers: usize) -> Option<Self> {
        Self::made(test, servers, false)
    }

    /// Likewise with a second network between the servers, `back`.
    pub(crate) fn doubled(test: &str, servers: usize) -> Option<Self> {
        Self::made(test, servers, true)
    }

    fn made(test: &str, servers: usize, doubled: bool) -> Option<Self> {
        let mut lab = Lab::root_or_skip(test)?;
        let network = lab.bridge().unwrap();
        let back = doubled.then(|| lab.bridge().unwrap());
        let bridges: Vec<&Bridge> = [&network].into_iter().chain(&back).collect();
        let names = ["a", "b", "c"].iter().take(servers);
        let hosts: Vec<Host> = names.map(|name| lab.host(name, &bridges).unwrap()).collect();
        let client = lab.host("client", &[&network]).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_farm-node"));
        let nodes = hosts.iter().map(|host| Node::new(&lab, host, program).unwrap()).collect();
        for (id, host) in (0..).zip(&hosts) {
            serve(host, id);
        }
        let daemons = hosts.iter().map(|_| None).collect();
        Some(Self { network, back, hosts, client, daemons, nodes, lab })
    }

    /// Likewise with all daemons at work in one view.
    pub(crate) fn whole(test: &str, servers: usize, shared: &str, rest: &str) -> Option<Self> {
        let mut rig = Self::new(test, servers)?;
        rig.configure(shared, rest);
        rig.start_all();
        Some(rig)
    }

    /// Writes all files: lines of the file's own, then `rest`; the service is `web`.
    pub(crate) fn configure(&self, shared: &str, rest: &str) {
        for me in 0..self.nodes.len() {
            self.nodes[me].configure(&self.text(me, shared, rest)).unwrap();
        }
    }

    /// The file of one.
    pub(crate) fn text(&self, me: usize, shared: &str, rest: &str) -> String {
        let node = &self.nodes[me];
        let mut text = String::new();
        let key = ha_lab::key(&self.lab).unwrap();
        let folder = node.folder().display();
        let back = ", { name = \"back\", interface = \"eth1\" }";
        let back = if self.back.is_some() { back } else { "" };
        write!(
            text,
            "cluster = \"{}\"\nmodule = \"{}\"\nnode = {me}\ninterface = \"eth0\"\n\
             links = [{{ name = \"clients\", interface = \"eth0\" }}{back}]\nkey_file = \"{}\"\n\
             state = \"{folder}/state\"\nrun = \"{folder}/run\"\nlog = \"{folder}/log\"\n{shared}",
            self.lab.name(),
            self.module(me),
            key.display(),
        )
        .unwrap();
        for (id, host) in self.hosts.iter().enumerate() {
            let bridges = [&self.network].into_iter().chain(&self.back);
            let addresses: Vec<_> =
                bridges.map(|bridge| format!("\"{}:7500\"", host.v4(bridge))).collect();
            let (name, addresses) = (host.name(), addresses.join(", "));
            write!(text, "\n[[member]]\nid = {id}\nname = \"{name}\"\naddresses = [{addresses}]\n")
                .unwrap();
        }
        write!(
            text,
            "\n[[service]]\nname = \"web\"\nvip = \"{}\"\nport = {PORT}\non = \"on_addr_port\"\n\
             {rest}",
            self.vip()
        )
        .unwrap();
        text
    }

    /// The name of a server's module: all of them share one kernel, where it names the filter.
    pub(crate) fn module(&self, node: usize) -> String {
        format!("{}-{}", self.lab.name(), self.hosts[node].name()).to_lowercase()
    }

    /// Where the filter of a server is pinned.
    pub(crate) fn pins(&self, node: usize) -> PathBuf {
        Path::new("/sys/fs/bpf/ha-node").join(self.module(node))
    }

    pub(crate) fn vip(&self) -> IpAddr {
        self.network.v4(100).into()
    }

    pub(crate) fn start(&mut self, node: usize) {
        self.daemons[node] = Some(self.nodes[node].start().unwrap());
    }

    /// Likewise without the rights for BPF, as a kernel that has none.
    pub(crate) fn start_without_bpf(&mut self, node: usize) {
        let program = env!("CARGO_BIN_EXE_farm-node");
        let daemon = self.hosts[node].spawn("setpriv", |it| {
            let rights = ["--bounding-set", "-bpf,-sys_admin", program, "--config"];
            it.args(rights).arg(self.nodes[node].file())
        });
        self.daemons[node] = Some(daemon.unwrap());
    }

    /// Starts all, and waits until each has its share.
    pub(crate) fn start_all(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.start(node));
        self.until_serve(&(0..self.nodes.len()).collect::<Vec<_>>());
    }

    pub(crate) fn daemon(&self, node: usize) -> &Process {
        self.daemons[node].as_ref().expect("it was started")
    }

    /// Waits until these, and no others, have a share, as each of them sees it.
    pub(crate) fn until_serve(&self, nodes: &[usize]) {
        for &node in nodes {
            let mut seen = Value::Null;
            let so = within(SOON, || {
                seen = self.status(node).unwrap_or_default();
                let owns = |id: usize| seen["members"][id]["buckets"][0].as_u64() > Some(0);
                let all = (0..self.nodes.len()).all(|id| owns(id) == nodes.contains(&id));
                all && seen["full"] == true && seen["verdict"] != "DOWN"
            });
            assert!(so, "{nodes:?} do not serve: {seen:#}\n{}", self.daemon(node).output());
        }
    }

    /// Waits until nothing drains, and equal members have equal shares: what is opened before may be
    /// moved once more, and has a drain's time then.
    pub(crate) fn until_rests(&self) {
        let rests = || {
            let seen = self.status(0).unwrap_or_default();
            let shares = self.shares(0);
            let (least, most) = (shares.iter().min(), shares.iter().max());
            seen["services"][0]["draining"] == 0
                && least.zip(most).is_some_and(|(least, most)| least + 1 >= *most)
        };
        assert!(within(SOON, rests), "{}", self.done(0, &["status"]));
    }

    /// What a server's daemon says of its farm.
    pub(crate) fn status(&self, node: usize) -> Option<Value> {
        let said = self.ha(node, &["status", "--json"]);
        let line: Value = serde_json::from_str(&said.out).ok()?;
        line["farms"].get(0).cloned()
    }

    /// Buckets of each member, as a server sees them.
    pub(crate) fn shares(&self, node: usize) -> Vec<u64> {
        let status = self.status(node).expect("its daemon runs");
        let members = status["members"].as_array().unwrap();
        members.iter().map(|member| member["buckets"][0].as_u64().unwrap_or(0)).collect()
    }

    /// `ha` on a server.
    pub(crate) fn ha(&self, node: usize, words: &[&str]) -> Said {
        let mut ha = Command::new(env!("CARGO_BIN_EXE_ha"));
        ha.arg("--socket").arg(self.nodes[node].folder().join("run/control.sock")).args(words);
        let output = ha.stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        Said { code, out: text(output.stdout), err: text(output.stderr) }
    }

    /// Likewise, and it is done.
    pub(crate) fn done(&self, node: usize, words: &[&str]) -> String {
        let said = self.ha(node, words);
        assert_eq!(said.code, 0, "{words:?}: {said:?}\n{}", self.daemon(node).output());
        said.out
    }

    /// Connections of the client to the virtual address.
    pub(crate) fn connect(&self, count: usize) -> Vec<Connection> {
        self.connect_to(self.vip(), count)
    }

    /// Likewise to another one.
    pub(crate) fn connect_to(&self, vip: IpAddr, count: usize) -> Vec<Connection> {
        self.try_connect(vip, count, SOON).unwrap_or_else(|error| {
            let said: Vec<_> = self.daemons.iter().flatten().map(Process::output).collect();
            panic!("{error}\n{}", said.join("\n---\n"))
        })
    }

    pub(crate) fn try_connect(
        &self,
        vip: IpAddr,
        count: usize,
        patience: Duration,
    ) -> io::Result<Vec<Connection>> {
        let to = SocketAddr::new(vip, PORT);
        self.client.inside(|| {
            let open = |_| {
                let stream = TcpStream::connect_timeout(&to, patience)?;
                stream.set_read_timeout(Some(patience))?;
                let mut connection = Connection { stream, by: 0 };
                connection.by = connection.ask()?;
                Ok(connection)
            };
            (0..count).map(open).collect()
        })?
    }

    /// What a server answers over HTTP, as the client asks for it: status and page.
    pub(crate) fn http(&self, node: usize, path: &str) -> (u16, String) {
        let at = SocketAddr::new(self.hosts[node].v4(&self.network).into(), 9010);
        let page = self.client.inside(|| {
            let mut stream = TcpStream::connect_timeout(&at, SOON)?;
            stream.set_read_timeout(Some(SOON))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
            let mut page = String::new();
            stream.read_to_string(&mut page).map(|_| page)
        });
        let page: String = page.unwrap().unwrap_or_default();
        let code = page.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
        (code, page)
    }
}

impl Connection {
    /// Who serves it now.
    fn ask(&mut self) -> io::Result<u8> {
        let mut answer = [0];
        self.stream.write_all(&[0])?;
        self.stream.read_exact(&mut answer)?;
        Ok(answer[0])
    }
}

impl Drop for Rig {
    /// After a panic too: pins outlive namespaces.
    fn drop(&mut self) {
        self.daemons.clear();
        for node in 0..self.nodes.len() {
            drop(std::fs::remove_dir_all(self.pins(node)));
        }
    }
}

/// How many of them are still served, each by the one that it began with.
pub(crate) fn kept(connections: &mut [Connection]) -> usize {
    let kept = |it: &mut Connection| it.ask().is_ok_and(|by| by == it.by);
    connections.iter_mut().filter_map(|it| kept(it).then_some(())).count()
}

/// How many connections each server has.
pub(crate) fn count(connections: &[Connection]) -> BTreeMap<u8, usize> {
    let mut count = BTreeMap::new();
    for connection in connections {
        *count.entry(connection.by).or_default() += 1;
    }
    count
}

/// A service on every address of a host that answers each byte with `id`.
fn serve(host: &Host, id: u8) {
    let listener = host.inside(|| TcpListener::bind(("::", PORT))).unwrap().unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() {
                    if stream.write_all(&[id]).is_err() {
                        break;
                    }
                }
            });
        }
    });
}
