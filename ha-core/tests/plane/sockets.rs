//! Connections of two hosts, in every state that matters for F8.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use ha_core::ha_farm::{Flow, Protocol, Sockets};
use ha_lab::{Bridge, Host, within};
use socket2::{Domain, Socket, Type};

use crate::rig::SOON;

/// What the model knows of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) live: BTreeSet<Flow>,
    pub(crate) released: BTreeSet<Flow>,
}

impl Sockets for Model {
    fn live(&self, flow: &Flow) -> bool {
        self.live.contains(flow) && !self.released.contains(flow)
    }

    fn release(&mut self, flow: &Flow) {
        self.released.insert(*flow);
    }

    fn claim(&mut self, flow: &Flow) {
        self.released.remove(flow);
    }
}

/// Of the socket at the server's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    /// A handshake under way, of which the kernel keeps a request socket.
    Request,
    /// Likewise where both ends have asked: a whole socket.
    SynRecv,
    /// The server itself asks.
    SynSent,
}

impl State {
    const ALL: [Self; 10] = [
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
        Self::Request,
        Self::SynRecv,
        Self::SynSent,
    ];

    /// As `ss` calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTAB",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
            Self::Request | Self::SynRecv => "SYN-RECV",
            Self::SynSent => "SYN-SENT",
        }
    }

    /// F8.
    const fn is_live(self) -> bool {
        !matches!(self, Self::TimeWait | Self::SynSent)
    }

    /// Whether there was a whole handshake.
    const fn was_open(self) -> bool {
        !matches!(self, Self::Request | Self::SynRecv | Self::SynSent)
    }
}

/// One connection.
#[derive(Debug)]
struct One {
    state: State,
    flow: Flow,
    client: Option<Socket>,
    server: Option<Socket>,
}

/// The connections; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Connections {
    listeners: Vec<TcpListener>,
    all: Vec<One>,
    server: Host,
    /// All of them, and some that nobody has: only the listener would answer.
    pub(crate) flows: Vec<Flow>,
    /// Those whose socket at the server's end is live.
    pub(crate) live: BTreeSet<Flow>,
}

impl Connections {
    /// Some in each state, from the client to listeners on `vips`, which the server has.
    pub(crate) fn open(
        [server, client]: [&Host; 2],
        network: &Bridge,
        vips: &[IpAddr],
    ) -> io::Result<Self> {
        // Handshakes under way last as long as the test.
        for of in ["syn", "synack"] {
            server.sysctl(&format!("net.ipv4.tcp_{of}_retries"), "60")?;
        }
        let listen = |vip: &IpAddr| TcpListener::bind(SocketAddr::new(*vip, 0));
        let listeners = vips.iter().map(listen).collect::<io::Result<Vec<_>>>()?;
        let mut all = Vec::new();
        for (vip, listener) in vips.iter().zip(&listeners) {
            let from: IpAddr =
                if vip.is_ipv4() { client.v4(network).into() } else { client.v6(network).into() };
            let port = listener.local_addr()?.port();
            for state in State::ALL.into_iter().cycle().take(EACH * State::ALL.len()) {
                let number = all.len() as u16;
                let flow = Flow {
                    protocol: Protocol::Tcp,
                    client: from,
                    client_port: PORTS + number,
                    vip: *vip,
                    // No listener answers where the server asks.
                    port: if state.was_open() || state == State::Request {
                        port
                    } else {
                        ASKS + number
                    },
                };
                all.push(One { state, flow, client: None, server: None });
            }
        }
        let flows = all.iter().map(|one| one.flow).collect();
        let live = all.iter().filter(|one| one.state.is_live()).map(|one| one.flow).collect();
        let (server, client) = (server.clone(), client.clone());
        let mut connections = Self { listeners, all, server, flows, live };
        connections.shake_hands(&client)?;
        connections.half_close()?;
        connections.mute(&client)?;
        connections.leave_open(&client)?;
        connections.check();
        let ones = vips.iter().filter_map(|vip| connections.flows.iter().find(|it| it.vip == *vip));
        let nobodys = ones.flat_map(|one| (1..5).map(|port| Flow { client_port: port, ..*one }));
        let nobodys: Vec<Flow> = nobodys.collect();
        connections.flows.extend(nobodys);
        Ok(connections)
    }

    fn shake_hands(&mut self, client: &Host) -> io::Result<()> {
        for one in self.all.iter_mut().filter(|one| one.state.was_open()) {
            let (from, to) = ends(&one.flow);
            let socket = client.inside(|| {
                let socket = bound(from)?;
                socket.connect(&to.into()).map(|()| socket)
            })?;
            one.client = Some(socket?);
            let listener =
                self.listeners.iter().find(|it| it.local_addr().is_ok_and(|at| at == to));
            let (accepted, peer) = listener.expect("it is one of these").accept()?;
            assert_eq!(peer, from, "one at a time");
            one.server = Some(TcpStream::into(accepted));
        }
        Ok(())
    }

    /// What needs both ends to hear each other.
    fn half_close(&mut self) -> io::Result<()> {
        for one in &self.all {
            match one.state {
                State::FinWait2 | State::TimeWait => one.end_server()?,
                State::CloseWait | State::LastAck => one.end_client()?,
                State::Established
                | State::FinWait1
                | State::Closing
                | State::Request
                | State::SynRecv
                | State::SynSent => {}
            }
        }
        self.wait(|one| match one.state {
            State::TimeWait => Some(State::FinWait2),
            State::LastAck => Some(State::CloseWait),
            State::FinWait2 | State::CloseWait => Some(one.state),
            State::Established
            | State::FinWait1
            | State::Closing
            | State::Request
            | State::SynRecv
            | State::SynSent => None,
        });
        for one in self.all.iter().filter(|one| one.state == State::TimeWait) {
            one.end_client()?;
        }
        self.wait(|one| (one.state == State::TimeWait).then_some(one.state));
        Ok(())
    }

    /// From now on the client hears nothing, and so acknowledges nothing.
    fn mute(&self, client: &Host) -> io::Result<()> {
        let (first, last) = (PORTS, PORTS + self.all.len() as u16);
        let table = format!(
            "table inet mute {{
                chain input {{
                    type filter hook input priority 0
                    tcp dport {first}-{last} drop
                }}
            }}"
        );
        run(client.command("nft").arg(table)).map(drop)
    }

    fn leave_open(&mut self, client: &Host) -> io::Result<()> {
        for one in &mut self.all {
            let (from, to) = ends(&one.flow);
            match one.state {
                State::FinWait1 | State::LastAck => one.end_server()?,
                State::Closing => {
                    one.end_server()?;
                    one.end_client()?;
                }
                State::SynRecv | State::SynSent => one.server = Some(asking(to, from)?),
                State::Established
                | State::FinWait2
                | State::CloseWait
                | State::TimeWait
                | State::Request => {}
            }
            if matches!(one.state, State::Request | State::SynRecv) {
                one.client = Some(client.inside(|| asking(from, to))??);
            }
        }
        Ok(())
    }

    /// Each is in its state, but for those that have waited out their time: no socket is as little
    /// live as they are.
    pub(crate) fn check(&self) {
        self.wait(|one| (one.state != State::TimeWait).then_some(one.state));
    }

    /// Until these are in these states.
    fn wait(&self, wanted: impl Fn(&One) -> Option<State>) {
        let mut wrong = Vec::new();
        let so = within(SOON, || {
            let states = self.states();
            let is = |one: &&One| {
                let state = wanted(one).map(State::name);
                state.is_some() && states.get(&ends(&one.flow)).map(String::as_str) != state
            };
            wrong = self.all.iter().filter(is).map(|one| (one.state, one.flow)).collect();
            wrong.is_empty()
        });
        assert!(so, "{wrong:?} are not: {:#?}", self.states());
    }

    /// Of all sockets of the server, by client's end and own.
    fn states(&self) -> BTreeMap<(SocketAddr, SocketAddr), String> {
        let shown = run(self.server.command("ss").arg("-Htan")).unwrap();
        let lines = shown.lines().filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [state, _, _, own, client, ..] = words[..] else { return None };
            Some(((client.parse().ok()?, own.parse().ok()?), state.to_owned()))
        });
        lines.collect()
    }
}

impl One {
    fn end_client(&self) -> io::Result<()> {
        self.client.as_ref().map_or(Ok(()), |socket| socket.shutdown(Shutdown::Write))
    }

    fn end_server(&self) -> io::Result<()> {
        self.server.as_ref().map_or(Ok(()), |socket| socket.shutdown(Shutdown::Write))
    }
}

/// The client's end, and the server's.
fn ends(flow: &Flow) -> (SocketAddr, SocketAddr) {
    (SocketAddr::new(flow.client, flow.client_port), SocketAddr::new(flow.vip, flow.port))
}

fn bound(from: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(from), Type::STREAM, None)?;
    socket.bind(&from.into()).map(|()| socket)
}

/// Asks for a connection, and does not wait for it.
fn asking(from: SocketAddr, to: SocketAddr) -> io::Result<Socket> {
    let socket = bound(from)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Err(error)
            if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Err(error)
        }
        _ => Ok(socket),
    }
}

fn run(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    assert!(output.status.success(), "{command:?}: {output:?}");
    Ok(String::from_utf8(output.stdout).expect("it is text"))
}

/// In each state, to each VIP.
const EACH: usize = 3;
/// The client's ports from here on, and the server's own where it asks.
const PORTS: u16 = 40_000;
const ASKS: u16 = 20_000;
