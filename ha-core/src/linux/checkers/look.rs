//! One look at a thing.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::format;
use std::io;
use std::prelude::rust_2024::*;
use std::string::String;
use std::sync::{Arc, Mutex, PoisonError};
use std::vec;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::command::Executable;
use super::processes::Finder;
use super::vip::Vip;
use super::{Surroundings, http, told};
use crate::checker::{Custom, Kind, ModuleState, Process};
use crate::driver::{Ping, Watch, watch};
use crate::linux::address::Addresses;
use crate::linux::cgroup::Cgroup;
use crate::raw::PingFrom;

/// What is looked at, with what is kept from one look to the next.
pub(super) enum Look {
    Tcp(SocketAddr),
    Ping { address: IpAddr, from: Option<PingFrom> },
    Http(http::Request),
    Intf { interface: String, addresses: Arc<Mutex<Addresses>> },
    Ip(Vip),
    Process(Arc<Finder>),
    Group(Cgroup),
    Run(Executable),
    Talk { address: SocketAddr, send: String, expect: String },
    Module { watch: Watch, state: ModuleState },
}

/// What checkers share.
pub(super) struct Others {
    /// All modules of the process, by name.
    pub(super) modules: Vec<(String, Watch)>,
    pub(super) addresses: Arc<Mutex<Addresses>>,
}

impl Look {
    pub(super) fn new(
        kind: Kind,
        name: &str,
        module: &str,
        around: &Surroundings,
        others: &Others,
    ) -> Self {
        let addresses = || Arc::clone(&others.addresses);
        match kind {
            Kind::Tcp { address } => Self::Tcp(address),
            Kind::Ping { address, from } => Self::Ping { address, from },
            Kind::Http { address, path, host, status, body } => {
                Self::Http(http::Request { address, path, host, status, body })
            }
            Kind::Intf { interface } => Self::Intf { interface, addresses: addresses() },
            Kind::Ip { address, interface } => Self::Ip(Vip::new(address, interface, addresses())),
            Kind::Process(Process::Group) => {
                let group = around.group.clone().expect("it was looked for at the start");
                Self::Group(group)
            }
            Kind::Process(process) => Self::Process(Arc::new(Finder::new(process))),
            Kind::Custom(Custom::Run(command)) => {
                Self::Run(Executable::new(command, name, module, around.clone()))
            }
            Kind::Custom(Custom::Talk { address, send, expect }) => {
                Self::Talk { address, send, expect }
            }
            Kind::Module { name, state } => {
                let other = others.modules.iter().find(|(other, _)| *other == name);
                let watch = other.expect("it was looked for at the start").1.clone();
                Self::Module { watch, state }
            }
        }
    }

    /// Whether it is well, and if not, why. Dropped when it takes longer than `within`.
    pub(super) async fn look(&self, within: Duration) -> Result<(), String> {
        match self {
            Self::Tcp(address) => connect(*address).await.map(drop),
            Self::Ping { address, from } => {
                ping(*address, from.as_ref()).await.map_err(told("echo"))
            }
            Self::Http(request) => request.ask().await,
            Self::Intf { interface, addresses } => {
                let mut addresses = addresses.lock().unwrap_or_else(PoisonError::into_inner);
                match addresses.link(interface).map_err(told("netlink"))? {
                    None => Err(format!("there is no interface {interface:?}")),
                    Some(link) if !link.up => Err("it is down, or has no carrier".into()),
                    Some(_) => Ok(()),
                }
            }
            Self::Ip(vip) => vip.look(within).await,
            Self::Process(finder) => aside(finder).await,
            Self::Group(group) => {
                let empty = group.is_empty().map_err(told("the control group"))?;
                if empty {
                    Err("nothing runs in the module's control group".into())
                } else {
                    Ok(())
                }
            }
            Self::Run(executable) => executable.run().await,
            Self::Talk { address, send, expect } => talk(*address, send, expect).await,
            Self::Module { watch, state } => module(watch, *state),
        }
    }
}

/// A connection.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(told("no connection"))
}

async fn ping(address: IpAddr, from: Option<&PingFrom>) -> io::Result<()> {
    let ping = Ping::send(address, from)?;
    ping.socket().set_nonblocking(true)?;
    let ping = watch(ping)?;
    loop {
        let mut ready = ping.readable().await?;
        match ready.try_io(|ping| ping.get_ref().hear()) {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) | Err(_) => {}
            Ok(Err(error)) => return Err(error),
        }
    }
}

/// Looks on a thread of its own: to read the words of a process that hangs in the kernel may take for
/// ever, as may a file of a server that is gone, and all other checkers would stand still with it.
async fn aside(finder: &Arc<Finder>) -> Result<(), String> {
    let finder = Arc::clone(finder);
    let looked = tokio::task::spawn_blocking(move || finder.look()).await;
    looked.unwrap_or_else(|_| Err("the look came to no end".into()))
}

async fn talk(address: SocketAddr, send: &str, expect: &str) -> Result<(), String> {
    let mut stream = connect(address).await?;
    stream.write_all(send.as_bytes()).await.map_err(told("cannot send"))?;
    let heard = read_until(&mut stream, ANSWER_MAX, |heard| contains(heard, expect)).await?;
    if contains(&heard, expect) {
        return Ok(());
    }
    let shown = String::from_utf8_lossy(&heard[..heard.len().min(SHOWN_MAX)]).into_owned();
    Err(format!("expected {expect:?}, and heard {shown:?}"))
}

fn module(watch: &Watch, state: ModuleState) -> Result<(), String> {
    let status = watch.now().ok_or("it has not begun")?;
    let well = match state {
        ModuleState::Ready => status.ready && status.role != ha_proto::Role::Stop,
        ModuleState::Serving => status.serving,
    };
    let ready = if status.ready { "ready" } else { "not ready" };
    if well { Ok(()) } else { Err(format!("it is {}, {ready}", status.role)) }
}

/// Reads until `enough`, the end, or `max` bytes.
pub(super) async fn read_until(
    stream: &mut TcpStream,
    max: usize,
    enough: impl Fn(&[u8]) -> bool,
) -> Result<Vec<u8>, String> {
    let mut heard = Vec::new();
    let mut room = vec![0; READ];
    while heard.len() < max && !enough(&heard) {
        let len = stream.read(&mut room).await.map_err(told("cannot read"))?;
        if len == 0 {
            break;
        }
        heard.extend_from_slice(&room[..len]);
    }
    Ok(heard)
}

/// Whether these bytes have this text in them.
pub(super) fn contains(bytes: &[u8], text: &str) -> bool {
    text.is_empty() || bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Bytes that are read at once.
const READ: usize = 4096;
/// Bytes of an answer: what is expected comes early, or something else talks there.
pub(super) const ANSWER_MAX: usize = 64 * 1024;
/// Bytes of an answer that a line of the log shows.
const SHOWN_MAX: usize = 80;
