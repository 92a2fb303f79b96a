//! A member of a farm at work: its datagrams, its filter in the kernel, its application.
//!
//! [`start`] runs a [`Farm`] on a thread of its own, named [`THREAD`]
//! ([`realtime::raise`] lets it go first), and performs what that
//! one wants on a [`Plane`]. A [`Handle`] orders and looks; [`Running::stop`] leaves the farm in
//! order.
//!
//! ```no_run
//! use ha_core::farm::{Config, Order};
//! use ha_core::linux::farm::{Front, Link, NoApplication, Setup, start};
//! use ha_core::linux::plane::Memory;
//! use ha_core::raw::Key;
//!
//! # async fn run(config: Config, links: Vec<Link>) -> Result<(), Box<dyn std::error::Error>> {
//! let running = start(Setup {
//!     config,
//!     key: Key::File("/etc/ha-node/key".into()),
//!     links,
//!     plane: Box::new(Memory::new()),
//!     front: Some(Front { interface: "eth0".into() }),
//!     application: Box::new(NoApplication),
//!     observer: Box::new(|event| println!("{event:?}")),
//! })?;
//! let handle = running.handle();
//! handle.order(Order::Drain(true)).await?;
//! println!("{:?}", handle.view().await?);
//! running.stop()?;
//! # Ok(())
//! # }
//! ```

mod application;
mod ask;
mod front;
mod keeper;
mod later;
mod sweep;
mod turn;

use core::fmt;
use core::future::poll_fn;
use core::time::Duration;
use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::prelude::rust_2024::*;
use std::thread::{self, JoinHandle};

use ha_farm::{Filter, Rule, Table};
use ha_proto::wire::LONG_MAX;
use ha_proto::{Boot, NodeId};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, info_span, warn};

use self::application::Caller;
use self::front::Desk;
use self::keeper::Keeper;
use self::later::Later;
use self::sweep::Sweeper;
use self::turn::{Awaited, Letter, Loop, Step};
use crate::driver::{self, Alarm, Clock, Port, Secrets, bind, random};
use crate::farm::{self, Baton, Config, Event, Farm, Identity, Order, View};
use crate::linux::plane::{Counters, Plane, PlaneError};
use crate::linux::realtime;
use crate::raw::Key;

pub use ha_vip::Stranger;

pub use self::application::{Application, NoApplication, Scripted};
pub use self::ask::{Asker, ask};
pub use self::front::{Front, FrontError, Reserved};

/// What a member is made of.
pub struct Setup {
    /// What its farm and its node are.
    pub config: Config,
    /// The cluster's key.
    pub key: Key,
    /// The networks, as many as `config` says, in the same order on all members.
    pub links: Vec<Link>,
    /// What decides on packets.
    pub plane: Box<dyn Plane + Send>,
    /// Where clients reach the virtual addresses, which are set on `lo` then, and told to the
    /// network by the announcer. `None` leaves all that to an administrator.
    pub front: Option<Front>,
    /// What serves. Called on a thread of its own.
    pub application: Box<dyn Application>,
    /// Called for each event, on the node's thread: it must return at once.
    pub observer: Box<dyn FnMut(&Event) + Send>,
}

/// One network that the members share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where this node's datagrams come in and go out.
    pub local: SocketAddr,
    /// Where the other members', each of them, come in.
    pub peers: BTreeMap<NodeId, SocketAddr>,
}

/// Why a member cannot start. Nothing runs then.
#[derive(Debug, Error)]
pub enum StartError {
    /// Not the links that are configured.
    #[error("{links} links are given, and {config} are configured")]
    Links {
        /// Given.
        links: usize,
        /// Configured.
        config: u8,
    },
    /// A member has no address on a link, or somebody else has one.
    #[error("link {link}: it must have one address of node {node}, and of members alone")]
    Peer {
        /// Which link, from 0.
        link: usize,
        /// Whose address is missing, or too many.
        node: NodeId,
    },
    /// This machine does not have the address that its file says is its own.
    #[error("link {link}: {address} is not an address of this machine: set it, or correct `node`")]
    NotHere {
        /// Which link, from 0.
        link: usize,
        /// The member's.
        address: IpAddr,
    },
    /// The filter.
    #[error(transparent)]
    Plane(#[from] PlaneError),
    /// The virtual addresses.
    #[error(transparent)]
    Front(#[from] FrontError),
    /// The key, a socket or a thread.
    #[error(transparent)]
    Driver(#[from] driver::StartError),
}

/// Why a member ended by itself.
#[derive(Debug, Error)]
pub enum Failure {
    /// A thread, a timer or a socket.
    #[error(transparent)]
    Driver(#[from] driver::Failure),
    /// The filter could not be shut: the member falls silent, so that the others wait longer than
    /// its lease.
    #[error("the filter cannot be shut: {0}")]
    Plane(#[from] PlaneError),
}

/// Why an order is not obeyed, or a question not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OrderError {
    /// The node refuses it.
    #[error(transparent)]
    Refused(#[from] farm::OrderError),
    /// The driver has ended.
    #[error("the driver has ended")]
    Closed,
}

/// A member at work. Dropping it ends it at once: the filter is shut and removed, the application
/// is stopped by force. The other members notice after D.
#[derive(Debug)]
pub struct Running {
    handle: Handle,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

/// Orders and questions to a member. Cheap to clone, usable on any thread and in any runtime.
#[derive(Clone, Debug)]
pub struct Handle {
    letters: mpsc::Sender<Letter>,
}

/// The name of the node's thread.
pub const THREAD: &str = "ha-farm";

/// Orders, questions and answers that may wait; who has one more waits itself.
const LETTERS_MAX: usize = 64;

/// Opens the sockets and runs a member on a thread of its own, in this thread's network namespace.
///
/// # Errors
/// [`StartError`]; nothing runs then, no address is set, and the filter is shut and removed.
pub fn start(setup: Setup) -> Result<Running, StartError> {
    run(setup, None)
}

/// Goes on in the place of the process that gave this baton ([`Running::hand_over`]): filter,
/// lease, addresses and application are as that one left them (F6). So `setup.plane` is one that
/// was adopted ([`Bpf::adopt`](crate::linux::plane::bpf::Bpf::adopt),
/// [`Nft::adopt`](crate::linux::plane::nft::Nft::adopt)).
///
/// A baton that is void, as after the end of its lease, is said in the log: then the filter is
/// shut, and all begins anew as with [`start`].
///
/// # Errors
/// As [`start`], but the filter is shut and stays: the application still runs then, if it did.
pub fn resume(setup: Setup, baton: &Baton) -> Result<Running, StartError> {
    run(setup, Some(baton))
}

fn run(mut setup: Setup, baton: Option<&Baton>) -> Result<Running, StartError> {
    let Ready { secrets, sockets, runtime, boot, successor, desk } =
        match prepare(&mut setup, baton) {
            Ok(ready) => ready,
            Err(error) => {
                // Before an application that runs, and addresses that are set, a filter stays.
                let closed = match baton {
                    Some(_) => setup.plane.lease(ha_proto::Instant::ZERO),
                    None => setup.plane.remove(),
                };
                if let Err(error) = closed {
                    error!(%error, "the filter may be left as it was");
                }
                return Err(error);
            }
        };
    let (letters, inbox) = mpsc::channel(LETTERS_MAX);
    let handle = Handle { letters: letters.clone() };
    let later = successor.as_ref().and_then(|(farm, _)| Later::of(&mut setup, farm));
    let context = runtime.handle().clone();
    let node = setup.config.identity().me.as_u8();
    let span = info_span!("farm", node);
    let (mut node, first) = span.in_scope(|| {
        let _context = context.enter();
        let begin =
            successor.map_or(Begin::Anew(boot), |(farm, until)| Begin::As(Box::new(farm), until));
        let goes_on = matches!(begin, Begin::As(..));
        let awaited = later.as_ref().map(|_| Awaited::default());
        let channel = (letters.clone(), inbox);
        let node = assemble(setup, secrets, sockets, (desk, awaited), begin, channel);
        let mut node = node.map_err(thread_failed)?;
        // The others have waited since the last beat, and a thread may wait for a processor.
        let first = if goes_on { node.go_on() } else { Ok(()) };
        Ok::<_, StartError>((node, first))
    })?;
    let thread = thread::Builder::new().name(THREAD.into()).spawn(move || {
        let _span = span.entered();
        let ended = runtime.block_on(async move {
            let ended = match first {
                Ok(()) => poll_fn(|cx| node.poll(cx)).await,
                Err(failure) => Err(failure),
            };
            node.end(ended)
        });
        match &ended {
            Ok(()) => info!("the member ends"),
            Err(failure) => error!(%failure, "the member ends"),
        }
        ended
    });
    let running = Running { handle, thread: Some(thread.map_err(thread_failed)?) };
    match later {
        Some(later) => later.meet(running, &letters, &context),
        None => Ok(running),
    }
}

/// How a node begins.
enum Begin {
    Anew(Boot),
    /// As what an earlier process was, with a lease until then.
    As(Box<Farm>, ha_proto::Instant),
}

/// What an earlier process was, if it may go on.
fn succeed(config: &Config, secrets: &Secrets, baton: &Baton) -> Option<(Farm, ha_proto::Instant)> {
    let now = Clock::of_the_machine().now();
    match Farm::adopt(config.clone(), secrets.datagrams.clone(), baton, now) {
        Ok(farm) => Some((farm, baton.until())),
        Err(void) => {
            warn!(%void, "begins anew, and cuts connections: what was handed over cannot be used");
            None
        }
    }
}

/// All that may fail before the thread runs.
struct Ready {
    secrets: Secrets,
    sockets: Vec<UdpSocket>,
    runtime: tokio::runtime::Runtime,
    boot: Boot,
    successor: Option<(Farm, ha_proto::Instant)>,
    desk: Option<Desk>,
}

fn prepare(setup: &mut Setup, baton: Option<&Baton>) -> Result<Ready, StartError> {
    let sockets = open(setup.config.identity(), &setup.links)?;
    let secrets = Secrets::load(&setup.key)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(thread_failed)?;
    let boot = Boot(random().map_err(thread_failed)?);
    let hastened = baton.is_some();
    let baton = baton.filter(|_| {
        let adopted = setup.plane.adopted();
        if !adopted {
            warn!("begins anew, and cuts connections: the filter that was handed over is gone");
        }
        adopted
    });
    let successor = baton.and_then(|baton| succeed(&setup.config, &secrets, baton));
    // Who begins without one is in somebody's process, who may have set what its threads run as.
    if hastened
        && successor.is_none()
        && let Err(refused) = realtime::calm(THREAD)
    {
        // What the application starts inherits it.
        warn!("{refused}");
    }
    let desk = if successor.is_some() {
        None
    } else {
        let _context = runtime.enter();
        begin(setup)?
    };
    Ok(Ready { secrets, sockets, runtime, boot, successor, desk })
}

fn thread_failed(error: io::Error) -> StartError {
    StartError::Driver(error.into())
}

/// Shuts what an earlier process left (F6), and sets the addresses behind a filter that takes
/// nothing: the application may need them to start.
fn begin(setup: &mut Setup) -> Result<Option<Desk>, StartError> {
    setup.plane.lease(ha_proto::Instant::ZERO)?;
    let Some(front) = setup.front.take() else { return Ok(None) };
    let nothing = nothing(&setup.config, setup.config.policy().rules.clone());
    let mut desk = open_desk(front, &setup.config)?;
    setup.plane.install(&nothing)?;
    sweep(&mut desk, &nothing);
    if let Err(error) = desk.follow(Clock::of_the_machine().now(), &nothing) {
        desk.close();
        return Err(error.into());
    }
    Ok(Some(desk))
}

/// A filter for these services that takes nothing.
fn nothing(config: &Config, rules: Vec<Rule>) -> Filter {
    let (me, policy) = (config.identity().me, config.policy());
    let tables = std::vec![Table::new(policy.buckets); rules.len()];
    let nothing = ha_farm::Setup {
        me,
        mode: policy.mode,
        uncovered: policy.uncovered,
        hash: policy.hash,
        rules,
        macs: policy.mac.map(|mac| (me, mac)).into_iter().collect(),
    };
    let nothing = Filter::new(nothing, &tables, |_, _| false);
    nothing.expect("a configuration is checked when it is made")
}

fn open_desk(front: Front, config: &Config) -> Result<Desk, FrontError> {
    Desk::open(front, config.policy().mode, config.timing().timeout())
}

/// Takes away what an earlier daemon left and this filter does not cover.
fn sweep(desk: &mut Desk, filter: &Filter) {
    if let Err(error) = desk.sweep(filter) {
        warn!(%error, "what an earlier daemon left may stay");
    }
}

/// Puts the loop together, inside its runtime.
fn assemble(
    setup: Setup,
    secrets: Secrets,
    sockets: Vec<UdpSocket>,
    (desk, awaited): (Option<Desk>, Option<Awaited>),
    begin: Begin,
    (letters, inbox): (mpsc::Sender<Letter>, mpsc::Receiver<Letter>),
) -> io::Result<Loop> {
    let Setup { config, key: _, links, mut plane, front: _, application, observer } = setup;
    // The kernel's filter ends its lease by the machine's clock.
    let clock = Clock::of_the_machine();
    let ports = ports(sockets)?;
    let peers = links.into_iter().map(|link| link.peers).collect();
    let eyes = desk.as_ref().map(Desk::eyes).transpose()?;
    let keeper = match &awaited {
        Some(_) => None,
        None => Some(Keeper::start(plane.guard(), eyes, letters.clone())?),
    };
    let application = Caller::start(application, letters.clone())?;
    let alarm = Alarm::new(clock)?;
    let adopted = plane.adopted();
    let (farm, until) = match begin {
        Begin::Anew(boot) => {
            let farm = Farm::new(config, secrets.datagrams, boot, clock.now());
            (farm, ha_proto::Instant::ZERO)
        }
        Begin::As(farm, until) => {
            application.adopt();
            (*farm, until)
        }
    };
    let filter = farm.filter_in_force();
    if let Some(filter) = &filter {
        plane.resume(filter, until);
    }
    Ok(Loop {
        clock,
        alarm,
        farm,
        ports,
        peers,
        plane: Some(plane),
        application,
        desk,
        awaited,
        observer,
        inbox,
        leaving: None,
        until,
        handing: None,
        handed: None,
        filter,
        closed: BTreeSet::new(),
        unclosed: false,
        sweeper: Sweeper::start(letters)?,
        keeper,
        renews: adopted,
        lost: None,
    })
}

/// Opens this member's end of each link.
fn open(identity: &Identity, links: &[Link]) -> Result<Vec<UdpSocket>, StartError> {
    if links.len() != usize::from(identity.links) {
        return Err(StartError::Links { links: links.len(), config: identity.links });
    }
    let others = identity.members.without(identity.me);
    for (link, Link { local, peers }) in links.iter().enumerate() {
        // Else it would neither hear nor be heard, and serve everything alone.
        let address = local.ip();
        if UdpSocket::bind(SocketAddr::new(address, 0)).is_err() {
            return Err(StartError::NotHere { link, address });
        }
        let missing = others.iter().find(|node| !peers.contains_key(node));
        let stranger = peers.keys().copied().find(|&node| !others.contains(node));
        if let Some(node) = missing.or(stranger) {
            return Err(StartError::Peer { link, node });
        }
    }
    let sockets = links.iter().map(|link| bind("links", link.local));
    Ok(sockets.collect::<Result<_, _>>()?)
}

/// The ports of sockets that are open. Needs the runtime's context.
fn ports(sockets: Vec<UdpSocket>) -> io::Result<Vec<Port>> {
    sockets.into_iter().map(|socket| Port::new(socket, LONG_MAX)).collect()
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("config", &self.config)
            .field("links", &self.links)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// For orders and questions.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Leaves the farm in order: tells the others that this node takes nothing, stops the
    /// application gracefully, and ends. Its clients' new packets go to the others at once.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn stop(mut self) -> Result<(), Failure> {
        // One that has ended takes no letters.
        let _ = self.handle.letters.blocking_send(Letter::Leave);
        self.join()
    }

    /// Ends, and leaves filter, lease, addresses and application to the next process, which goes
    /// on with what this gives ([`resume`]) and which nobody else notices: no connection breaks.
    /// It has F, 180 ms, less what it takes to get here: the next program should be one that is
    /// loaded already. What is given is used once.
    ///
    /// # Errors
    /// All goes on as before: within `patience` the node had nothing to hand over (it takes nothing,
    /// or a change was under way, which takes some intervals), or it has ended ([`Running::wait`]).
    pub fn hand_over(self, patience: Duration) -> Result<Baton, Self> {
        self.hand_over_after(patience, || ())
    }

    /// Likewise, and calls this once all is ready, before anything is done for it that clients may
    /// notice: for what is not to last until then, as that the whole process goes first
    /// ([`realtime::hasten`]). It is tried for a second after that.
    ///
    /// # Errors
    /// As [`Running::hand_over`], whether or not `soon` was called.
    pub fn hand_over_after(
        mut self,
        patience: Duration,
        soon: impl FnOnce(),
    ) -> Result<Baton, Self> {
        let until = Clock::of_the_machine().now() + patience;
        let (steps, asked) = std::sync::mpsc::channel();
        // One that has ended takes no letters; so below.
        let _ = self.handle.letters.blocking_send(Letter::HandOver { until, steps });
        let mut soon = Some(soon);
        loop {
            match asked.recv() {
                Ok(Step::Soon) => soon.take().into_iter().for_each(|soon| soon()),
                Ok(Step::Close(frames)) => drop(frames),
                Ok(Step::GoOn(baton)) => {
                    // It has nothing left to fail with.
                    let _ = self.join();
                    return Ok(*baton);
                }
                Err(_) => return Err(self),
            }
            let _ = self.handle.letters.blocking_send(Letter::Stepped);
        }
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// [`Failure`] when it ended by itself.
    pub fn wait(mut self) -> Result<(), Failure> {
        self.join()
    }

    fn join(&mut self) -> Result<(), Failure> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(driver::Failure::Panicked(THREAD.into()).into()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_none() {
            return;
        }
        // One that has ended takes no letters; a failure is in the log.
        let _ = self.handle.letters.blocking_send(Letter::End);
        let _ = self.join();
    }
}

impl Handle {
    /// Orders something of this node.
    ///
    /// # Errors
    /// [`OrderError`]; nothing has changed then.
    pub async fn order(&self, order: Order) -> Result<(), OrderError> {
        Ok(self.ask(|reply| Letter::Order { order, reply }).await??)
    }

    /// All that status and metrics show, as of now.
    ///
    /// # Errors
    /// [`OrderError::Closed`].
    pub async fn view(&self) -> Result<View, OrderError> {
        self.ask(Letter::View).await
    }

    /// Holds the names of addresses that it is about to have, and of those that it held before what
    /// is wanted still.
    ///
    /// # Errors
    /// [`OrderError::Closed`].
    pub async fn reserve(
        &self,
        names: Reserved,
        wanted: BTreeSet<IpAddr>,
    ) -> Result<(), OrderError> {
        self.ask(|reply| Letter::Reserve { names, wanted, reply }).await
    }

    /// The virtual addresses that it has now, or holds for services that are not in force yet.
    ///
    /// # Errors
    /// [`OrderError::Closed`].
    pub async fn addresses(&self) -> Result<BTreeSet<IpAddr>, OrderError> {
        self.ask(Letter::Addresses).await
    }

    /// Who else answers for the virtual addresses, as this node hears while it is the announcer;
    /// nobody while it is not.
    ///
    /// # Errors
    /// [`OrderError::Closed`].
    pub async fn strangers(&self) -> Result<Vec<Stranger>, OrderError> {
        self.ask(Letter::Strangers).await
    }

    /// What the filter counted.
    ///
    /// # Errors
    /// [`OrderError::Closed`], or why the plane cannot tell.
    pub async fn counters(&self) -> Result<Result<Counters, PlaneError>, OrderError> {
        self.ask(Letter::Counters).await
    }

    /// As [`Running::stop`], from anywhere: begins it, and does not wait.
    pub async fn leave(&self) {
        // One that has ended takes no letters.
        let _ = self.letters.send(Letter::Leave).await;
    }

    async fn ask<T>(
        &self,
        letter: impl FnOnce(oneshot::Sender<T>) -> Letter,
    ) -> Result<T, OrderError> {
        let (reply, answer) = oneshot::channel();
        self.letters.send(letter(reply)).await.map_err(|_| OrderError::Closed)?;
        answer.await.map_err(|_| OrderError::Closed)
    }
}
