//! The loop around the machine of the virtual addresses.

use core::future::poll_fn;
use core::mem;
use core::net::IpAddr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::prelude::rust_2024::*;
use std::vec;

use ha_proto::{Instant, Machine, Outbox, Ticket};
use ha_vip::{Address, AddressSet, Event, Frame, Input, InterfaceId, Output, sighting};
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::VipError;
use super::address::{Addresses, Found, Spot};
use super::frames::Frames;
use super::link::Link;
use super::plan::{Plan, VipSource};
use super::reset;
use super::source::{Preferred, Sources};
use super::vips::{Command, Reply};
use super::watch::{Notice, Watch};
use crate::driver::{Alarm, Clock, HostError};
use crate::metrics;

/// The machine of the virtual addresses, and all that it needs.
pub(super) struct Agent {
    clock: Clock,
    alarm: Alarm,
    plan: Plan,
    set: AddressSet,
    /// Facts for the machine: one for each effect that is done, and for each thing that was seen.
    facts: VecDeque<Input>,
    addresses: Addresses,
    sources: Sources,
    watch: Watch,
    cards: Vec<Card>,
    /// In the order of the plan.
    vips: Vec<Vip>,
    /// Until when each lives, as it was set last; in the order of the plan.
    lives: Vec<Instant>,
    /// When to look again although nothing was heard: a look failed, or routes changed.
    look: Option<Instant>,
    commands: Receiver<Command>,
    takes: Vec<Reply>,
    releases: Vec<Reply>,
    observe: Box<dyn FnMut(&Event) + Send>,
    /// What is told for metrics.
    seen: watch::Sender<metrics::Vips>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("set", &self.set).finish_non_exhaustive()
    }
}

/// An interface.
#[derive(Debug, Default)]
struct Card {
    /// As it was told to the machine.
    link: Option<Link>,
    frames: Option<Frames>,
}

/// What is believed of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vip {
    /// Not there.
    Off,
    /// Set by us, and not known to be gone.
    On,
    /// Set by somebody else, and said so.
    Foreign,
}

/// What becomes of addresses that an earlier process of ours left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leftover {
    /// They go at the start.
    Removed,
    /// They stay until they are taken or released.
    Kept,
}

/// Why the loop goes on.
enum Cause {
    /// `None` at the end.
    Asked(Option<Command>),
    Due,
    Changed(Notice),
    Heard(Option<Input>),
    Broken(io::Error),
}

/// Makes an agent on this thread and runs it; `started` hears of how it began.
pub(super) fn run(
    start: impl FnOnce() -> Result<Agent, VipError>,
    started: impl FnOnce(Result<(), VipError>),
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = match runtime.map_err(VipError::system("no runtime", "a thread")) {
        Ok(runtime) => runtime,
        Err(error) => return started(Err(error)),
    };
    runtime.block_on(async {
        match start() {
            Ok(mut agent) => {
                started(Ok(()));
                agent.work().await;
            }
            Err(error) => started(Err(error)),
        }
    });
}

impl Agent {
    /// Looks at everything once, and removes what is left over if it is to go. Needs the runtime's context.
    pub(super) fn start(
        plan: Plan,
        leftover: Leftover,
        clock: Clock,
        commands: Receiver<Command>,
        observe: impl FnMut(&Event) + Send + 'static,
        seen: watch::Sender<metrics::Vips>,
    ) -> Result<Self, VipError> {
        let unable = |what| VipError::system(what, "the capability CAP_NET_ADMIN");
        let mut addresses = Addresses::open().map_err(unable("no netlink"))?;
        addresses.may_change().map_err(unable("no netlink"))?;
        let cards = open_cards(&plan, &mut addresses)?;
        let count = plan.labels.len();
        let (vips, lives) = (vec![Vip::Off; count], vec![Instant::ZERO; count]);
        let sources = Sources::open(plan.machine.addresses()).map_err(unable("no netlink"))?;
        let mut agent = Self {
            clock,
            alarm: Alarm::new(clock).map_err(unable("no timer"))?,
            set: AddressSet::new(&plan.machine),
            facts: VecDeque::new(),
            addresses,
            sources,
            // Before the list, or what changes between would be missed.
            watch: Watch::open(plan.has_preferred()).map_err(unable("no netlink"))?,
            cards,
            vips,
            lives,
            look: None,
            plan,
            commands,
            takes: Vec::new(),
            releases: Vec::new(),
            observe: Box::new(observe),
            seen,
        };
        agent.sweep(leftover)?;
        agent.look();
        agent.settle();
        Ok(agent)
    }

    /// Looks after what a killed process left, and refuses to take what is somebody else's.
    fn sweep(&mut self, leftover: Leftover) -> Result<(), VipError> {
        let unable = |what| VipError::system(what, "the capability CAP_NET_ADMIN");
        let found = self.addresses.list().map_err(unable("no list of addresses"))?;
        refuse_foreign(&self.plan, &found)?;
        for address in self.plan.machine.addresses() {
            let here = |it: &&Found| it.spot.ip == address.ip;
            for left in found.iter().filter(here).filter(|_| leftover == Leftover::Removed) {
                info!(address = %left.spot.ip, "removed an address that a killed process left");
                self.addresses.remove(left.spot).map_err(unable("an address cannot be removed"))?;
            }
        }
        if leftover == Leftover::Removed {
            self.sources.settle(&[], &[], &BTreeMap::new());
        }
        Ok(())
    }

    /// Works until nobody can ask any more; then takes all off.
    async fn work(&mut self) {
        let mut bytes = [0; Frames::BYTES_MAX];
        let mut end = None;
        while end.is_none_or(|end| self.clock.now() < end && !self.releases.is_empty()) {
            let deadline = self.set.deadline().map(|deadline| deadline.at);
            let due = [deadline, self.look, end].into_iter().flatten().min();
            if let Some(Err(error)) = due.map(|due| self.alarm.arm(due)) {
                warn!(%error, "no timer: the virtual addresses end");
                end = Some(Instant::ZERO);
            }
            match poll_fn(|cx| self.poll(cx, end.is_some(), &mut bytes)).await {
                Cause::Asked(Some(Command::Leave)) => return,
                Cause::Asked(Some(command)) => self.command(command),
                Cause::Asked(None) => {
                    end = Some(self.clock.now() + END_MAX);
                    self.command(Command::Release { reply: Reply::to_nobody() });
                }
                Cause::Due => self.facts.push_back(Input::Tick),
                // Routes may change by thousands, and none is looked at in a hurry.
                Cause::Changed(Notice::Route) => {
                    self.look.get_or_insert(self.clock.now() + LOOK_AGAIN);
                }
                Cause::Changed(_) => self.look(),
                Cause::Heard(seen) => self.facts.extend(seen),
                Cause::Broken(error) => {
                    warn!(%error, "a socket of the virtual addresses fails: looking anew");
                    self.look = Some(self.clock.now() + LOOK_AGAIN);
                }
            }
            if self.look.is_some_and(|at| at <= self.clock.now()) {
                self.look();
            }
            self.settle();
        }
    }

    /// What happens next: orders first, then time, then changes, then the network.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        ends: bool,
        bytes: &mut [u8; Frames::BYTES_MAX],
    ) -> Poll<Cause> {
        if !ends && let Poll::Ready(command) = self.commands.poll_recv(cx) {
            return Poll::Ready(Cause::Asked(command));
        }
        if let Poll::Ready(rang) = self.alarm.poll(cx) {
            return Poll::Ready(rang.map_or_else(Cause::Broken, |()| Cause::Due));
        }
        let ours = self.plan.machine.addresses();
        let matters = |notice| match notice {
            Notice::Address(ip) => ours.iter().any(|address| address.ip == ip),
            Notice::Link | Notice::Route | Notice::Anything => true,
        };
        if let Poll::Ready(said) = self.watch.poll(cx, matters) {
            return Poll::Ready(said.map_or_else(Cause::Broken, Cause::Changed));
        }
        for (id, card) in (0..).zip(&mut self.cards) {
            let Some(frames) = &card.frames else { continue };
            match frames.poll_receive(cx, bytes) {
                Poll::Pending => {}
                Poll::Ready(Ok(len)) => {
                    let seen = sighting(&bytes[..len], &self.plan.machine);
                    let interface = InterfaceId(id);
                    let seen = seen.map(|sighting| Input::Sighting { interface, sighting });
                    return Poll::Ready(Cause::Heard(seen));
                }
                Poll::Ready(Err(error)) => {
                    // A card that is down, or gone: its socket is made anew by the look.
                    card.frames = None;
                    return Poll::Ready(Cause::Broken(error));
                }
            }
        }
        Poll::Pending
    }

    fn command(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Take { epoch, until, reply } => {
                self.takes.push(reply);
                let lifetime = until.saturating_since(now);
                self.facts.push_back(Input::Take { epoch, lifetime });
            }
            Command::Keep { until, reply } => {
                let lifetime = until.saturating_since(now);
                self.facts.push_back(Input::Keep { lifetime });
                self.settle();
                let held = self.set.epoch().map(drop);
                reply.say(held.ok_or_else(|| HostError::new("they are not held")));
            }
            Command::Announce => self.facts.push_back(Input::Announce),
            Command::Leave => unreachable!("it ended the loop"),
            Command::Release { reply } => {
                self.answer_takes(|| Err(HostError::new("released before they were taken")));
                self.releases.push(reply);
                if self.plan.reset_connections && self.vips.contains(&Vip::On) {
                    self.reset();
                }
                self.facts.push_back(Input::Release);
            }
        }
    }

    fn reset(&mut self) {
        let ips: Vec<_> = self.plan.machine.addresses().iter().map(|address| address.ip).collect();
        match reset::connections_to(&ips, self.clock) {
            Ok(count) => debug!(count, "connections were reset"),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => warn!(
                "connections cannot be reset: this kernel is built without CONFIG_INET_DIAG_DESTROY"
            ),
            Err(error) => warn!(%error, "connections cannot be reset"),
        }
    }

    /// Tells the machine all that is known, and does what it says, until it is content.
    fn settle(&mut self) {
        let mut out = Outbox::new(AddressSet::OUTPUTS_MAX);
        while let Some(fact) = self.facts.pop_front() {
            self.set.handle(self.clock.now(), fact, &mut out);
            while let Some(said) = out.pop() {
                match said {
                    Output::Set { ticket, address, lifetime } => {
                        let result = self.put_on(address, lifetime);
                        let was_on = self.vips[self.place(address)] == Vip::On;
                        self.done(ticket, address, "set", &result, Vip::On);
                        if result.is_ok() {
                            self.direct(address, was_on);
                        }
                    }
                    Output::Remove { ticket, address } => {
                        let result = self.take_off(address);
                        self.done(ticket, address, "removed", &result, Vip::Off);
                    }
                    Output::Transmit { interface, frame } => self.transmit(interface, &frame),
                    Output::Event(event) => self.tell(event),
                }
            }
        }
        let counters = self.set.counters();
        self.seen.send_replace(metrics::Vips {
            assigned: self.set.epoch().is_some(),
            announcements: counters.announcements,
            conflicts: counters.conflicts,
            lost: counters.lost + counters.put_backs,
        });
    }

    fn put_on(&mut self, address: Address, lifetime: Duration) -> io::Result<()> {
        let spot = self.spot(address).ok_or_else(|| io::Error::other("no such interface"))?;
        let place = self.place(address);
        self.lives[place] = self.clock.now() + lifetime;
        let label = self.plan.labels[place].as_deref();
        self.addresses.set(spot, label, self.plan.sources[place], lifetime)
    }

    /// Lets the host's own connections begin from where they are to, now that this address is set,
    /// or lives longer.
    fn direct(&mut self, address: Address, was_on: bool) {
        let place = self.place(address);
        if !self.sources.are_settled() {
            self.route(None);
        } else if self.plan.sources[place] == VipSource::Preferred {
            if was_on {
                let lifetime = self.lives[place].saturating_since(self.clock.now());
                self.sources.extend(Preferred { address, lifetime });
            } else {
                self.route(None);
            }
        }
    }

    /// Brings the routes to what the addresses that are set need, but for one that is about to go.
    fn route(&mut self, leaving: Option<Address>) {
        let (mut preferred, mut later) = (Vec::new(), Vec::new());
        for (place, address) in self.plan.machine.addresses().iter().enumerate() {
            if self.plan.sources[place] == VipSource::Alias || leaving == Some(*address) {
                continue;
            }
            if self.vips[place] == Vip::On {
                let lifetime = self.lives[place].saturating_since(self.clock.now());
                preferred.push(Preferred { address: *address, lifetime });
            } else {
                later.push(address.ip);
            }
        }
        let numbers = (0..).map(InterfaceId).zip(&self.cards);
        let interfaces = numbers.filter_map(|(id, card)| Some((card.link?.index, id))).collect();
        self.sources.settle(&preferred, &later, &interfaces);
    }

    fn take_off(&mut self, address: Address) -> io::Result<()> {
        // With its interface it is gone.
        let Some(spot) = self.spot(address) else { return Ok(()) };
        let place = self.place(address);
        // First the address, which has no time to lose. Its routes of IPv4 go with it; those of IPv6
        // lead the same way without it.
        let removed = self.addresses.remove(spot);
        if self.plan.sources[place] == VipSource::Preferred || !self.sources.are_settled() {
            self.route(Some(address));
        }
        removed
    }

    fn done(
        &mut self,
        ticket: Ticket,
        address: Address,
        what: &str,
        result: &io::Result<()>,
        now: Vip,
    ) {
        let interface = self.plan.interface(address);
        match result {
            Ok(()) => {
                let place = self.place(address);
                self.vips[place] = now;
            }
            Err(error) => warn!(ip = %address.ip, interface, %error, "an address cannot be {what}"),
        }
        self.facts.push_back(Input::Done { ticket, done: result.is_ok() });
    }

    fn transmit(&mut self, interface: InterfaceId, frame: &Frame) {
        let Some(frames) = &self.cards[usize::from(interface.0)].frames else { return };
        if let Err(error) = frames.send(frame) {
            // The next announcement says the same.
            let interface = &self.plan.interfaces[usize::from(interface.0)];
            debug!(interface, %error, "an announcement was not sent");
        }
    }

    fn tell(&mut self, event: Event) {
        let name = |address| self.plan.interface(address);
        match event {
            Event::Taken(epoch) => {
                info!(%epoch, "the virtual addresses are taken");
                self.answer_takes(|| Ok(()));
            }
            Event::Released => {
                info!("the virtual addresses are released");
                for reply in mem::take(&mut self.releases) {
                    reply.say(Ok(()));
                }
            }
            Event::Failed(address) => {
                let why = std::format!("{} cannot be set on {}", address.ip, name(address));
                self.answer_takes(|| Err(HostError::new(why.clone())));
            }
            Event::Conflict { address, mac } => {
                let (ip, interface) = (address.ip, name(address));
                warn!(
                    interface,
                    "{mac} claims {ip} as well: unless that is the other node, take it off there"
                );
            }
            Event::PutBack(address) => {
                warn!(ip = %address.ip, interface = name(address), "put back: others removed it");
            }
            Event::Lost(address) => {
                warn!(ip = %address.ip, interface = name(address), "lost: the node steps down");
            }
            Event::Foreign(address) => {
                let interface = name(address);
                warn!(ip = %address.ip, interface, "somebody else set it here; it stays");
            }
        }
        (self.observe)(&event);
    }

    fn answer_takes(&mut self, answer: impl Fn() -> Result<(), HostError>) {
        for reply in mem::take(&mut self.takes) {
            reply.say(answer());
        }
    }

    /// Sees how everything is now, and says what changed behind our back.
    fn look(&mut self) {
        self.look = None;
        if let Err(error) = self.look_at_links().and_then(|()| self.look_at_addresses()) {
            warn!(%error, "the state of the virtual addresses cannot be seen");
            self.look = Some(self.clock.now() + LOOK_AGAIN);
        }
    }

    fn look_at_links(&mut self) -> io::Result<()> {
        for (id, card) in (0..).zip(&mut self.cards) {
            let name = &self.plan.interfaces[usize::from(id)];
            let link = self.addresses.link(name)?;
            let index = link.map(|link| link.index);
            if card.frames.as_ref().map(Frames::index) != index {
                let ips = self.plan.addresses_on(InterfaceId(id));
                let opened = index.map(|index| Frames::open(index, &ips)).transpose();
                card.frames = opened.unwrap_or_else(|error| {
                    warn!(interface = name, %error, "no announcements on it");
                    self.look = Some(self.clock.now() + LOOK_AGAIN);
                    None
                });
            }
            if card.link != link {
                card.link = link;
                let mac = link.and_then(|link| link.mac);
                let up = link.is_some_and(|link| link.up);
                self.facts.push_back(Input::Interface { id: InterfaceId(id), mac, up });
            }
        }
        Ok(())
    }

    fn look_at_addresses(&mut self) -> io::Result<()> {
        let found = self.addresses.list()?;
        for place in 0..self.vips.len() {
            let address = self.plan.machine.addresses()[place];
            let spot = self.spot(address);
            let there = found.iter().find(|found| Some(found.spot) == spot);
            let (fact, now) = match (self.vips[place], there.map(|found| found.ours)) {
                (Vip::On, None) => (Some(Input::Removed(address)), Vip::Off),
                (Vip::On | Vip::Off, Some(false)) => (Some(Input::Appeared(address)), Vip::Foreign),
                // One with our mark is left of an effect that failed; the machine tries it again.
                (Vip::Off | Vip::Foreign, None | Some(true)) => (None, Vip::Off),
                (Vip::On, Some(true)) => (None, Vip::On),
                (Vip::Foreign, Some(false)) => (None, Vip::Foreign),
            };
            self.vips[place] = now;
            self.facts.extend(fact);
        }
        // What an earlier process left is not touched before somebody takes or releases it.
        if self.plan.has_preferred() && self.vips.contains(&Vip::On) {
            self.route(None);
        }
        Ok(())
    }

    /// Where an address is in the plan.
    fn place(&self, address: Address) -> usize {
        let place = self.plan.machine.addresses().iter().position(|one| *one == address);
        place.expect("the machine names addresses of its configuration")
    }

    /// Where an address is in the kernel; `None` while its interface is not there.
    fn spot(&self, address: Address) -> Option<Spot> {
        let index = self.cards[usize::from(address.interface.0)].link?.index;
        Some(Spot { index, ip: address.ip, prefix: address.prefix })
    }
}

/// All interfaces are there and can tell of addresses.
/// Whether these addresses could be had here, as far as a look at the machine tells.
pub(super) fn look(plan: &Plan) -> Result<(), VipError> {
    let unable = |what| VipError::system(what, "the capability CAP_NET_ADMIN");
    let mut addresses = Addresses::open().map_err(unable("no netlink"))?;
    for (id, name) in (0..).zip(&plan.interfaces) {
        find_link(name, &plan.addresses_on(InterfaceId(id)), &mut addresses)?;
    }
    let found = addresses.list().map_err(unable("no list of addresses"))?;
    refuse_foreign(plan, &found)
}

/// Refuses to take what is somebody else's.
fn refuse_foreign(plan: &Plan, found: &[Found]) -> Result<(), VipError> {
    let mut ips = plan.machine.addresses().iter().map(|address| address.ip);
    let foreign = |ip: &IpAddr| found.iter().any(|it| it.spot.ip == *ip && !it.ours);
    ips.find(foreign).map_or(Ok(()), |ip| Err(VipError::Foreign(ip)))
}

/// The interface of some addresses, if it is there and of Ethernet.
fn find_link(name: &str, ips: &[IpAddr], addresses: &mut Addresses) -> Result<Link, VipError> {
    let unable = VipError::system("no list of interfaces", "the capability CAP_NET_ADMIN");
    let link = addresses.link(name).map_err(unable)?;
    let address = *ips.first().expect("an interface is in the list because of an address");
    let interface = name.to_owned();
    let Some(link) = link else { return Err(VipError::NoInterface { address, interface }) };
    if link.mac.is_none() {
        return Err(VipError::NotEthernet { address, interface });
    }
    Ok(link)
}

fn open_cards(plan: &Plan, addresses: &mut Addresses) -> Result<Vec<Card>, VipError> {
    let mut cards = Vec::new();
    for (id, name) in (0..).zip(&plan.interfaces) {
        let ips = plan.addresses_on(InterfaceId(id));
        let link = find_link(name, &ips, addresses)?;
        let unable = VipError::system("no packet socket", "the capability CAP_NET_RAW");
        let frames = Frames::open(link.index, &ips).map_err(unable)?;
        // The first look tells the machine.
        cards.push(Card { link: None, frames: Some(frames) });
    }
    Ok(cards)
}

/// How soon a look that failed is repeated: often enough for the contract's S, and no load.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long the end may take: longer than S of any profile but the slowest, and what a kernel
/// refuses for so long it will refuse for ever. The addresses' lifetimes see to the rest.
const END_MAX: Duration = Duration::from_secs(1);
