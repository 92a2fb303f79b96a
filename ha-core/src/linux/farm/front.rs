//! What the clients' network is told: where the virtual addresses are (F9).

use core::net::{IpAddr, Ipv6Addr};
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::fs;
use std::io;
use std::net::UdpSocket;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::string::String;

use ha_farm::{Filter, Mac, Mode};
use ha_proto::Instant;
use ha_vip::{
    Announcer, ArpForm, Frame, Lookout, Stranger, arp_announcement, arp_probe, claim,
    neighbor_advertisement, neighbor_question, question,
};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use thiserror::Error;
use tracing::{debug, error, info, warn};

use super::keeper::{Eyes, Sight, Wanted};
use crate::linux::address::{Addresses, Found, Spot};
use crate::linux::frames::Frames;
use crate::linux::netlink::Netlink;

/// Where clients reach the virtual addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Front {
    /// The interface on the clients' network, `eth0`; the plane filters the same one. On a VLAN it
    /// is the VLAN's own interface.
    pub interface: String,
}

/// Why the virtual addresses cannot be had here. None is set then.
#[derive(Debug, Error)]
pub enum FrontError {
    /// No interface of this name.
    #[error("there is no interface {0:?}: `ip link` lists those of this machine")]
    NoInterface(String),
    /// The interface is none of Ethernet.
    #[error("interface {0:?} has no Ethernet address: choose another one")]
    NotEthernet(String),
    /// The interface is another card now.
    #[error(
        "{interface} has another hardware address than {was}, which the others know: restart the \
         daemon"
    )]
    OtherCard {
        /// Its name.
        interface: String,
        /// As it was at the start.
        was: Mac,
    },
    /// Another farm of this machine has the address.
    #[error("{0} is the virtual address of another farm on this machine, which runs")]
    Taken(IpAddr),
    /// The process lacks a right.
    #[error(
        "the virtual addresses need {0}: run as root, or grant it (AmbientCapabilities= of systemd)"
    )]
    NotPermitted(&'static str),
    /// The system refuses something.
    #[error("the virtual addresses: {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// The virtual addresses at work: on `lo`, and told to those who ask while this node is the
/// announcer.
#[derive(Debug)]
pub(super) struct Desk {
    interface: String,
    /// The interface's and `lo`'s numbers.
    index: u32,
    lo: u32,
    /// The interface's own.
    mac: Mac,
    mode: Mode,
    addresses: Addresses,
    vips: BTreeMap<IpAddr, Vip>,
    /// The names of those that services that are not in force yet are for.
    reserved: BTreeMap<IpAddr, UnixListener>,
    /// Those whose names are held whether or not their services are in force.
    named: BTreeSet<IpAddr>,
    /// Still set although no filter covers them, until their clients were told.
    leaving: BTreeMap<IpAddr, Leaving>,
    /// The last cut that was asked for.
    cuts: u64,
    /// Those that the filter covers: all of `vips`, and what could not be set yet.
    covered: BTreeSet<IpAddr>,
    /// What could not be set again.
    stuck: Option<IpAddr>,
    frames: Option<Frames>,
    /// It is not to hear: a next process is about to go on.
    deaf: bool,
    /// Told so by the node.
    announces: bool,
    announcer: Announcer,
    lookout: Lookout,
    /// Nothing filters: the addresses are off `lo`.
    away: bool,
    wanted: Wanted,
    /// What was there before us.
    settings: Vec<(PathBuf, String)>,
}

/// An address that waits for the end of its connections.
#[derive(Debug)]
struct Leaving {
    held: Vip,
    /// In which cut. It may come back and leave again before an earlier one is done.
    cut: u64,
}

/// What is held for one address.
#[derive(Debug)]
pub(super) struct Vip {
    /// Whether it was set here: an administrator's own stays.
    ours: bool,
    /// Its name on this machine, which no other farm can have at the same time.
    name: UnixListener,
    /// Keeps the interface in the group in which IPv6 asks for it.
    _group: Option<UdpSocket>,
}

impl Desk {
    /// Looks at the interface; sets nothing yet. For longer than `timeout` no two members announce.
    /// Needs the runtime's context.
    pub(super) fn open(front: Front, mode: Mode, timeout: Duration) -> Result<Self, FrontError> {
        let interface = front.interface;
        let mut addresses = system("open netlink", Addresses::open())?;
        let link = system("look for the interface", addresses.link(&interface))?;
        let link = link.ok_or_else(|| FrontError::NoInterface(interface.clone()))?;
        let mac = link.mac.ok_or_else(|| FrontError::NotEthernet(interface.clone()))?;
        let lo = system("look for lo", addresses.link("lo"))?;
        let lo = lo.ok_or_else(|| FrontError::NoInterface("lo".into()))?;
        Ok(Self {
            interface,
            index: link.index,
            lo: lo.index,
            mac: Mac(mac.0),
            mode,
            addresses,
            vips: BTreeMap::new(),
            reserved: BTreeMap::new(),
            named: BTreeSet::new(),
            leaving: BTreeMap::new(),
            cuts: 0,
            covered: BTreeSet::new(),
            stuck: None,
            frames: None,
            deaf: false,
            announces: false,
            announcer: Announcer::default(),
            lookout: Lookout::new(timeout.clamp(SETTLE_MIN, Lookout::SETTLE_MAX)),
            away: false,
            wanted: Wanted::default(),
            settings: Vec::new(),
        })
    }

    /// What stays set here behind this filter, which does not cover it: until [`Desk::let_go`].
    pub(super) fn stays_set(&self, filter: &Filter) -> BTreeSet<IpAddr> {
        let (covered, ours) = (vips(filter), self.ours().into_iter().filter(|_| !self.away));
        let set = ours.chain(self.leaving.keys().copied());
        set.filter(|vip| !covered.contains(vip)).collect()
    }

    /// Answers no more for what this filter does not cover, once it is in force. The addresses that
    /// were set here stay until their connections were cut ([`Desk::let_go`]), since nobody hears of
    /// a reset from an address that is off; which those are, and the number of that cut.
    pub(super) fn leave(&mut self, filter: &Filter) -> Option<(u64, Vec<IpAddr>)> {
        let stay = vips(filter);
        let all: Vec<IpAddr> =
            self.vips.keys().copied().filter(|vip| !stay.contains(vip)).collect();
        let mut told = Vec::new();
        for vip in all {
            let held = self.vips.remove(&vip).expect("it is one of these");
            if held.ours && !self.away {
                self.leaving.insert(vip, Leaving { held, cut: self.cuts + 1 });
                told.push(vip);
            } else if self.named.contains(&vip) {
                self.reserved.insert(vip, held.name);
            }
        }
        self.want();
        if told.is_empty() {
            return None;
        }
        self.cuts += 1;
        Some((self.cuts, told))
    }

    /// Takes off `lo` what leaves, now that its clients were told, up to this cut. Who gets these
    /// holds the names that are not wanted any more.
    pub(super) fn let_go(&mut self, cut: u64) -> Vec<Vip> {
        let told: Vec<IpAddr> =
            self.leaving.iter().filter(|(_, it)| it.cut <= cut).map(|(vip, _)| *vip).collect();
        let mut free = Vec::new();
        for vip in told {
            let Leaving { held, cut: _ } = self.leaving.remove(&vip).expect("it is one of these");
            self.take_off(vip, &held);
            if self.named.contains(&vip) {
                self.reserved.insert(vip, held.name);
            } else {
                free.push(held);
            }
        }
        free
    }

    /// Whether an address waits for the end of its connections.
    pub(super) fn leaves(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Whether this one does.
    pub(super) fn is_leaving(&self, vip: IpAddr) -> bool {
        self.leaving.contains_key(&vip)
    }

    /// Sets what this filter covers: once it is in force. What cannot be set does not keep the rest
    /// from it, and is tried again at each look ([`Desk::see`]).
    pub(super) fn follow(&mut self, now: Instant, filter: &Filter) -> Result<(), FrontError> {
        self.tune();
        self.covered = vips(filter);
        self.forget_names();
        self.complete(now)
    }

    /// The virtual addresses that it has, or holds the names of.
    pub(super) fn held(&self) -> BTreeSet<IpAddr> {
        let held = self.vips.keys().chain(self.leaving.keys()).chain(self.reserved.keys());
        held.copied().collect()
    }

    /// Holds these names until the filter covers their addresses, and of those that it holds already
    /// what is wanted still.
    pub(super) fn reserve(&mut self, names: Reserved, wanted: &BTreeSet<IpAddr>) {
        self.reserved.extend(names.0);
        self.named.clone_from(wanted);
        self.forget_names();
    }

    /// What could not be set may be covered no more.
    fn forget_names(&mut self) {
        let Self { reserved, named, covered, .. } = self;
        reserved.retain(|vip, _| named.contains(vip) || covered.contains(vip));
    }

    /// Takes off `lo` what a farm's daemon set there that was killed, and no rule is for now. The
    /// addresses of another farm are named by it, but for the moment in which one process of it hands
    /// over to the next, which sets what it lacks.
    pub(super) fn sweep(&mut self, filter: &Filter) -> Result<(), FrontError> {
        let stay = vips(filter);
        let all = system("list the addresses", self.addresses.list())?;
        let ours = |it: &Found| it.ours && it.for_ever && it.spot.index == self.lo;
        let left = |it: &Found| ours(it) && !stay.contains(&it.spot.ip);
        for Found { spot, .. } in all.into_iter().filter(left).collect::<Vec<_>>() {
            // Held until it is off.
            let Ok(_name) = name(spot.ip) else { continue };
            system("take an address off lo", self.addresses.remove(spot))?;
            info!(vip = %spot.ip, "an earlier daemon left the address on lo: it is taken off");
        }
        Ok(())
    }

    /// Whether something of what the filter covers could not be set.
    pub(super) fn owes(&self) -> bool {
        self.frames.is_none() && !self.deaf || self.missing().next().is_some()
    }

    fn missing(&self) -> impl Iterator<Item = IpAddr> {
        self.covered.iter().copied().filter(|vip| !self.vips.contains_key(vip))
    }

    fn complete(&mut self, now: Instant) -> Result<(), FrontError> {
        if !self.owes() {
            return Ok(());
        }
        let missing: Vec<IpAddr> = self.missing().collect();
        let (mut added, before) = (Ok(()), self.vips.len());
        for vip in missing {
            added = added.and(self.add(vip));
        }
        self.want();
        let more = self.vips.len() > before;
        if self.announces && more {
            // Whoever had them before may stand in clients' caches.
            self.announcer.begin(now);
        }
        if self.frames.is_some() && !more {
            // A socket anew would lose the questions that wait.
            return added;
        }
        added.and(self.listen(now))
    }

    fn listen(&mut self, now: Instant) -> Result<(), FrontError> {
        if self.deaf {
            return Ok(());
        }
        let all: Vec<IpAddr> = self.vips.keys().copied().collect();
        let opened = system("listen on the interface", Frames::questions(self.index, &all));
        let (frames, listens) = match opened {
            Ok(frames) => (Some(frames), Ok(())),
            Err(error) => (None, Err(error)),
        };
        if self.announces && self.frames.is_none() && frames.is_some() {
            // What it had to say meanwhile nobody heard.
            self.announcer.begin(now);
        }
        self.frames = frames;
        listens
    }

    /// Hears and says nothing from now on. What heard is to be closed: the kernel does so only once
    /// no processor is at it, which takes tens of milliseconds.
    pub(super) fn deafen(&mut self) -> Option<Frames> {
        self.deaf = true;
        self.frames.take()
    }

    /// Hears again, from the next look on.
    pub(super) fn listen_again(&mut self) {
        self.deaf = false;
    }

    /// What is looked at to see whether all that is set here is still so.
    pub(super) fn eyes(&self) -> io::Result<Eyes> {
        let (interface, wanted) = (self.interface.clone(), self.wanted.clone());
        Ok(Eyes { addresses: Addresses::open()?, interface, lo: self.lo, wanted })
    }

    /// Says which addresses are to be there.
    fn want(&self) {
        let all = self.vips.keys().copied().filter(|_| !self.away);
        self.wanted.set(all.collect());
    }

    /// Whether the interface is another one than it was.
    pub(super) fn is_elsewhere(&self, sight: &Sight) -> bool {
        sight.link.is_some_and(|link| link.index != self.index)
    }

    /// Somebody made the interface anew, or took addresses away: goes where it is, and sets them.
    pub(super) fn see(&mut self, now: Instant, sight: &Sight) -> Result<(), FrontError> {
        let link = sight.link.ok_or_else(|| FrontError::NoInterface(self.interface.clone()))?;
        let mac = link.mac.ok_or_else(|| FrontError::NotEthernet(self.interface.clone()))?;
        if self.mode == Mode::Directed && mac.0 != self.mac.0 {
            return Err(FrontError::OtherCard { interface: self.interface.clone(), was: self.mac });
        }
        if self.is_elsewhere(sight) {
            self.go_to(now, link.index)?;
            warn!(interface = self.interface, "the interface was made anew");
        }
        self.mac = Mac(mac.0);
        if self.away {
            return Ok(());
        }
        self.mend(&sight.missing)?;
        if self.owes() {
            match self.complete(now) {
                Ok(()) => info!("what was missing of the virtual addresses is there"),
                Err(error) => debug!(%error, "something of the virtual addresses is missing"),
            }
        }
        Ok(())
    }

    fn go_to(&mut self, now: Instant, index: u32) -> Result<(), FrontError> {
        let before = core::mem::replace(&mut self.index, index);
        let gone = self.arrive(now);
        if gone.is_err() {
            // Once more at the next look.
            self.index = before;
        }
        gone
    }

    /// What is set at an interface, at one that has nothing of it.
    fn arrive(&mut self, now: Instant) -> Result<(), FrontError> {
        let own = self.conf();
        self.settings.retain(|(path, _)| !path.starts_with(&own));
        self.tune();
        let all: Vec<IpAddr> = self.vips.keys().copied().collect();
        for vip in all {
            let group = self.open_card(vip)?;
            let held = self.vips.remove(&vip).expect("it is one of these");
            self.vips.insert(vip, Vip { _group: group, ..held });
        }
        self.listen(now)
    }

    fn mend(&mut self, missing: &[IpAddr]) -> Result<(), FrontError> {
        for &vip in missing {
            let spot = self.spot(vip);
            // What was seen may be past.
            let Some(held) = self.vips.get_mut(&vip) else { continue };
            held.ours = true;
            self.stuck = Some(vip);
            system("set the address on lo", self.addresses.set_for_others(spot))?;
            self.stuck = None;
            warn!(%vip, "somebody took the address off lo: it is set again");
        }
        Ok(())
    }

    /// Those that were set here: an administrator's own stay where they are.
    pub(super) fn ours(&self) -> Vec<IpAddr> {
        self.vips.iter().filter(|(_, held)| held.ours).map(|(vip, _)| *vip).collect()
    }

    /// Takes the addresses off `lo`, and keeps all else.
    pub(super) fn withdraw(&mut self) {
        let again = core::mem::replace(&mut self.away, true);
        self.want();
        drop(self.let_go(u64::MAX));
        for vip in self.ours() {
            let spot = self.spot(vip);
            match self.addresses.remove(spot) {
                Ok(()) => {}
                Err(error) if again => debug!(%vip, %error, "the address is still set on lo"),
                Err(error) => {
                    error!(%vip, %error, "the address is still set on lo, and nothing filters");
                }
            }
        }
    }

    /// Sets them again.
    pub(super) fn put_back(&mut self) -> Result<(), String> {
        let mut all = self.ours();
        // First what failed last, or the others would come and go at each attempt.
        all.sort_by_key(|vip| self.stuck != Some(*vip));
        for vip in all {
            let spot = self.spot(vip);
            self.stuck = Some(vip);
            let set = self.addresses.set_for_others(spot);
            set.map_err(|error| format!("{vip} cannot be set on lo: {error}"))?;
        }
        self.stuck = None;
        self.away = false;
        self.want();
        Ok(())
    }

    /// Whether this node answers and announces, from now on.
    pub(super) fn announce(&mut self, now: Instant, on: bool) {
        self.announces = on;
        if on {
            self.announcer.begin(now);
            self.lookout.begin(now);
        } else {
            self.announcer.stop();
            self.lookout.stop();
        }
    }

    /// When something is to be announced or asked.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.announcer.next().at(), self.lookout.next().at()].into_iter().flatten().min()
    }

    /// Who else answers for the addresses, while this node announces them.
    pub(super) fn strangers(&self) -> Vec<Stranger> {
        self.lookout.strangers().collect()
    }

    /// Answers those who ask, and announces; both only under the lease (F5, F9). Whether there may
    /// be more questions.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Instant, until: Instant) -> bool {
        let may = self.announces && now < until;
        if self.announcer.expire(now, REFRESH) && may {
            self.vips.keys().for_each(|vip| self.tell(*vip));
        }
        if self.lookout.expire(now) && may {
            self.vips.keys().for_each(|vip| self.ask(*vip));
        }
        for Stranger { ip, card } in self.lookout.gone(now) {
            info!(%card, "nobody else answers for {ip} any more from there");
        }
        let mut bytes = [0; Frames::BYTES_MAX];
        for _ in 0..QUESTIONS_MAX {
            let Some(frames) = &self.frames else { return false };
            let len = match frames.poll_receive(cx, &mut bytes) {
                Poll::Pending => return false,
                Poll::Ready(Ok(len)) => len,
                Poll::Ready(Err(error)) => {
                    // The interface is down: it hears again when it is up.
                    debug!(%error, "the clients' network");
                    return true;
                }
            };
            if may {
                self.hear(now, &bytes[..len]);
            }
        }
        true
    }

    /// A frame came: a question, or somebody else's claim.
    fn hear(&mut self, now: Instant, frame: &[u8]) {
        let asked = question(frame).filter(|asked| self.vips.contains_key(&asked.ip()));
        if let Some(asked) = asked {
            self.send(&asked.answer(self.shown(asked.ip())));
        }
        let claimed = claim(frame).filter(|claim| self.vips.contains_key(&claim.ip));
        let claimed = claimed.filter(|claim| claim.card.0 != self.mac.0);
        let Some(stranger) = claimed.map(|it| Stranger { ip: it.ip, card: it.card }) else {
            return;
        };
        if self.lookout.heard(now, stranger) {
            let Stranger { ip, card } = stranger;
            warn!(
                "{card} answers for {ip} too: clients may go there and not to this farm; give one \
                 of the two another address"
            );
        }
    }

    /// Takes all addresses off, and puts the interface back as it was.
    pub(super) fn close(&mut self) {
        self.announce(Instant::ZERO, false);
        self.wanted.set(BTreeSet::new());
        self.covered.clear();
        for (vip, held) in core::mem::take(&mut self.vips) {
            self.take_off(vip, &held);
        }
        drop(self.let_go(u64::MAX));
        // Another farm on this interface needs them, too.
        if self.is_last().unwrap_or_default() {
            self.restore();
        }
    }

    /// Whether no other farm has an address on `lo`.
    fn is_last(&mut self) -> io::Result<bool> {
        let all = self.addresses.list()?;
        Ok(!all.iter().any(|found| found.ours && found.spot.index == self.lo))
    }

    fn restore(&mut self) {
        for (path, value) in self.settings.drain(..) {
            if let Err(error) = fs::write(&path, value) {
                warn!(path = %path.display(), %error, "a setting stays as the farm needs it");
            }
        }
    }

    fn tell(&self, vip: IpAddr) {
        let mac = self.shown(vip);
        match vip {
            IpAddr::V4(vip) => {
                for form in [ArpForm::Request, ArpForm::Reply] {
                    self.send(&arp_announcement(vip, mac, form));
                }
            }
            IpAddr::V6(vip) => self.send(&neighbor_advertisement(vip, mac)),
        }
    }

    /// Who else has it? From nobody, so that nobody's cache changes, and with the card's own address
    /// as no address's (F9).
    fn ask(&self, vip: IpAddr) {
        let card = ha_vip::Mac(self.mac.0);
        match vip {
            IpAddr::V4(vip) => self.send(&arp_probe(vip, card)),
            IpAddr::V6(vip) => self.send(&neighbor_question(vip, card)),
        }
    }

    /// Always from the card's own address: in mode invisible the switch must not learn the one that
    /// clients send to.
    fn send(&self, frame: &Frame) {
        let sent = self.frames.as_ref().map(|it| it.send(&frame.sent_by(ha_vip::Mac(self.mac.0))));
        if let Some(Err(error)) = sent {
            debug!(%error, "an answer is lost here");
        }
    }

    /// Where clients are told that the address is.
    fn shown(&self, vip: IpAddr) -> ha_vip::Mac {
        match self.mode {
            Mode::Invisible => ha_vip::Mac(Mac::of_vip(vip).0),
            Mode::Directed => ha_vip::Mac(self.mac.0),
        }
    }

    fn add(&mut self, vip: IpAddr) -> Result<(), FrontError> {
        if let Some(Leaving { held, cut: _ }) = self.leaving.remove(&vip) {
            self.vips.insert(vip, held);
            return Ok(());
        }
        let named = match self.reserved.remove(&vip) {
            Some(named) => named,
            None => name(vip)?,
        };
        match self.set(vip) {
            Ok((ours, group)) => {
                self.vips.insert(vip, Vip { ours, name: named, _group: group });
                Ok(())
            }
            Err(error) => {
                // It is tried again, and nobody else shall have it meanwhile.
                self.reserved.insert(vip, named);
                Err(error)
            }
        }
    }

    /// Has this machine have the address; whether it is set by us.
    fn set(&mut self, vip: IpAddr) -> Result<(bool, Option<UdpSocket>), FrontError> {
        let group = self.open_card(vip)?;
        let spot = self.spot(vip);
        let all = system("list the addresses", self.addresses.list())?;
        let before = all.iter().find(|found| found.spot.ip == vip);
        let ours = before.is_none_or(|found| found.ours);
        if ours {
            system("set the address on lo", self.addresses.set_for_others(spot))?;
        }
        Ok((ours, group))
    }

    /// Has the card take what is for the address, and what asks for it.
    fn open_card(&self, vip: IpAddr) -> Result<Option<UdpSocket>, FrontError> {
        match self.mode {
            Mode::Invisible => self.take_frames_to(Mac::of_vip(vip)),
            Mode::Directed => {}
        }
        match vip {
            IpAddr::V4(_) => Ok(None),
            IpAddr::V6(vip) => system("join a group", self.join(vip)).map(Some),
        }
    }

    /// Before its name is free again.
    fn take_off(&mut self, vip: IpAddr, held: &Vip) {
        let spot = self.spot(vip);
        if held.ours
            && let Err(error) = self.addresses.remove(spot)
        {
            error!(%vip, %error, "the address is still set on lo");
        }
    }

    fn spot(&self, vip: IpAddr) -> Spot {
        let prefix = if vip.is_ipv4() { 32 } else { 128 };
        Spot { index: self.lo, ip: vip, prefix }
    }

    /// Lets the card take frames to this address too. It stays there: without a filter behind it
    /// the kernel drops them.
    fn take_frames_to(&self, mac: Mac) {
        if let Err(error) = take_frames_to(self.index, mac) {
            warn!(
                interface = self.interface, %mac, %error,
                "the card may not take the farm's frames: `ip link set {} promisc on`",
                self.interface
            );
        }
    }

    /// In the group in which hosts ask for the address (RFC 4291 §2.7.1): the card takes its
    /// frames, and switches that listen to MLD send them.
    fn join(&self, vip: Ipv6Addr) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        let group = SOLICITED | u128::from(vip) & 0xff_ffff;
        socket.join_multicast_v6(&Ipv6Addr::from(group), self.index)?;
        Ok(socket)
    }

    /// The kernel neither answers for an address of `lo` nor names it when it asks others, at
    /// whichever interface: it goes by the higher of an interface's value and that of all.
    fn tune(&mut self) {
        for folder in [self.conf(), PathBuf::from(CONF).join("all")] {
            for (name, least) in [("arp_ignore", 1), ("arp_announce", 2)] {
                let path = folder.join(name);
                if self.settings.iter().any(|(known, _)| *known == path) {
                    continue;
                }
                match raise(&path, least) {
                    Ok(before) => self.settings.extend(before.map(|before| (path, before))),
                    Err(error) => warn!(
                        path = %path.display(), %error,
                        "the kernel itself may answer for the virtual addresses"
                    ),
                }
            }
        }
    }

    /// The kernel's settings of the interface.
    fn conf(&self) -> PathBuf {
        PathBuf::from(CONF).join(&self.interface)
    }
}

/// The names of virtual addresses, which no other farm of this machine can have meanwhile.
#[derive(Debug, Default)]
pub struct Reserved(BTreeMap<IpAddr, UnixListener>);

impl Reserved {
    /// All of them or none.
    ///
    /// # Errors
    /// [`FrontError::Taken`]: another farm has one of them; or the system refuses.
    pub fn new(vips: impl IntoIterator<Item = IpAddr>) -> Result<Self, FrontError> {
        let named = vips.into_iter().map(|vip| Ok((vip, name(vip)?)));
        Ok(Self(named.collect::<Result<_, _>>()?))
    }
}

/// The address's name on this machine, to be held.
fn name(vip: IpAddr) -> Result<UnixListener, FrontError> {
    let name = SocketAddr::from_abstract_name(format!("ha-farm/{vip}"));
    let held = name.and_then(|name| UnixListener::bind_addr(&name));
    held.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => FrontError::Taken(vip),
        _ => FrontError::System { what: "name the address", source },
    })
}

/// Sets what is below `least`; what was there then. An administrator's stricter value stays.
fn raise(path: &Path, least: u8) -> io::Result<Option<String>> {
    let before = fs::read_to_string(path)?;
    if before.trim().parse::<u8>().is_ok_and(|value| value >= least) {
        return Ok(None);
    }
    fs::write(path, format!("{least}"))?;
    Ok(Some(before))
}

pub(super) fn vips(filter: &Filter) -> BTreeSet<IpAddr> {
    filter.setup().rules.iter().map(|rule| rule.vip).collect()
}

/// `bridge fdb replace MAC dev INTERFACE self permanent`.
fn take_frames_to(index: u32, mac: Mac) -> io::Result<()> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    Netlink::open(None)?.order(flags, RouteNetlinkMessage::NewNeighbour(message))
}

fn system<T>(what: &'static str, result: io::Result<T>) -> Result<T, FrontError> {
    result.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => FrontError::NotPermitted("CAP_NET_ADMIN"),
        _ => FrontError::System { what, source },
    })
}

/// Between two announcements once the burst is over: below the ageing time of switches.
const REFRESH: Duration = Duration::from_secs(30);
/// The kernel's settings of IPv4, by interface.
const CONF: &str = "/proc/sys/net/ipv4/conf";
/// At a change of announcer both may answer for less than that, whatever the interval.
const SETTLE_MIN: Duration = Duration::from_secs(1);
/// Questions that are answered before datagrams come to their turn again.
const QUESTIONS_MAX: usize = 64;
/// `ff02::1:ff00:0`.
const SOLICITED: u128 = 0xff02 << 112 | 0x1_ff00_0000;

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicBool, Ordering};
    use core::task::Waker;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread;
    use std::vec;

    use ha_farm::{Buckets, Hash, HashOn, Plan, Protocol, Rule, Setup, Table, Uncovered};
    use ha_lab::{Bridge, Host, Lab, within};
    use ha_proto::NodeId;

    const SOON: Duration = Duration::from_secs(30);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn lab(test: &str) -> Option<(Lab, Bridge, [Host; 2])> {
        let mut lab = Lab::root_or_skip(test)?;
        let network = lab.bridge().unwrap();
        let hosts = ["server", "client"].map(|name| lab.host(name, &[&network]).unwrap());
        Some((lab, network, hosts))
    }

    fn filter(vips: &[IpAddr]) -> Filter {
        let me = NodeId::new(0).unwrap();
        let rule =
            |&vip: &IpAddr| Rule { vip, ports: 80..=80, protocol: Protocol::Tcp, on: HashOn::Addr };
        let setup = Setup {
            me,
            mode: Mode::Directed,
            uncovered: Uncovered::Deny,
            hash: Hash::Sip { key: [7; 16] },
            rules: vips.iter().map(rule).collect(),
            macs: [(me, Mac([2, 0, 0, 0, 0, 0]))].into(),
        };
        let plan = Plan { counter: 1, weights: [(me, 1)].into(), settled: 1, taken: None };
        let table = Table::new(Buckets::Few).next(&plan);
        Filter::new(setup, &vec![table; vips.len()], |_, _| true).unwrap()
    }

    /// Works with a desk on a host.
    fn with_desk<T: Send>(host: &Host, work: impl FnOnce(Desk) -> T + Send) -> T {
        let done = host.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let front = Front { interface: "eth0".into() };
            let open = || Desk::open(front, Mode::Directed, Duration::from_millis(300)).unwrap();
            runtime.unwrap().block_on(async { work(open()) })
        });
        done.unwrap()
    }

    #[test]
    fn addresses_are_announced_again_and_again_under_the_lease() {
        let Some((_lab, network, [server, client])) = lab("announced_again") else { return };
        let (v4, v6) = (network.v4(100), network.v6(100));
        let capture = client.capture(&network, "arp or icmp6").unwrap();
        with_desk(&server, |mut desk| {
            desk.follow(at(0), &filter(&[v4.into(), v6.into()])).unwrap();
            desk.announce(at(0), true);
            let mut cx = Context::from_waker(Waker::noop());
            // A burst of seven, and three times after that; then the lease is over.
            let until = at(120_000);
            while let Some(due) = desk.due().filter(|due| *due <= at(300_000)) {
                desk.poll(&mut cx, due, until);
            }
            desk.close();
        });
        let asks = format!("Request who-has {v4} tell {v4}");
        let (answers, advertises) = (format!("Reply {v4} is-at"), format!("tgt is {v6}"));
        let mut counts = [0; 3];
        let count = |lines: &[String]| {
            let of = |sign: &String| lines.iter().filter(|line| line.contains(sign)).count();
            [&asks, &answers, &advertises].map(of)
        };
        let all = within(SOON, || {
            counts = capture.lines().map_or(counts, |lines| count(&lines));
            counts.iter().all(|count| *count >= 10)
        });
        assert!(all, "{counts:?}");
        assert_eq!(
            count(&capture.all().unwrap()),
            [10; 3],
            "at 10, 40, 70 and 100 s, and not without a lease"
        );
    }

    /// A socket that was opened meanwhile would be closed between the two processes.
    #[test]
    fn addresses_that_come_while_it_is_deaf_are_set_and_heard_afterwards() {
        let Some((_lab, network, [server, _])) = lab("deaf_more") else { return };
        let vips: [IpAddr; 2] = [network.v4(100).into(), network.v4(101).into()];
        with_desk(&server, |mut desk| {
            desk.follow(at(0), &filter(&vips[..1])).unwrap();
            drop(desk.deafen().expect("it heard"));
            desk.follow(at(100), &filter(&vips)).unwrap();
            assert_eq!((desk.frames.is_none(), desk.ours().len()), (true, 2));
            assert!(!desk.owes(), "it is not looked at for that");
            desk.listen_again();
            assert!(desk.owes());
            desk.complete(at(200)).unwrap();
            assert!(desk.frames.is_some() && !desk.owes());
            desk.close();
        });
    }

    #[test]
    fn what_it_had_to_announce_while_it_was_deaf_is_said_again() {
        let Some((_lab, network, [server, _])) = lab("deaf_mute") else { return };
        with_desk(&server, |mut desk| {
            desk.follow(at(0), &filter(&[network.v4(100).into()])).unwrap();
            drop(desk.deafen().expect("it heard"));
            desk.announce(at(0), true);
            let mut cx = Context::from_waker(Waker::noop());
            while let Some(due) = desk.due().filter(|due| *due <= at(15_000)) {
                desk.poll(&mut cx, due, at(20_000));
            }
            assert!(desk.announcer.next().at() > Some(at(15_000)), "the burst is over");
            desk.listen_again();
            desk.complete(at(15_000)).unwrap();
            assert_eq!(desk.announcer.next().at(), Some(at(15_000)));
            desk.close();
        });
    }

    /// A farm that begins on this machine meanwhile would find the address set, and lose it then.
    #[test]
    fn a_name_is_held_until_its_address_is_off() {
        let Some((_lab, network, [server, _])) = lab("a_name_is_held") else { return };
        let vips: [IpAddr; 2] = [network.v4(100).into(), network.v6(100).into()];
        let (over, free) = (AtomicBool::new(false), AtomicBool::new(false));
        let look = || {
            let mut lo = Addresses::open().unwrap();
            let mut seen = 0;
            while !over.load(Ordering::Relaxed) {
                for vip in vips {
                    // Held here while it is looked at.
                    let Ok(_name) = name(vip) else { continue };
                    free.store(true, Ordering::Relaxed);
                    let set = lo.list().unwrap().iter().any(|found| found.spot.ip == vip);
                    seen += usize::from(set);
                }
            }
            seen
        };
        let seen = thread::scope(|scope| {
            let looks = scope.spawn(|| {
                server.inside(|| {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.unwrap().block_on(async { look() })
                })
            });
            let ended = catch_unwind(AssertUnwindSafe(|| {
                with_desk(&server, |mut desk| {
                    let (all, none) = (filter(&vips), filter(&["192.0.2.1".parse().unwrap()]));
                    for _ in 0..TIMES {
                        // Refused while the other one looks.
                        assert!(within(SOON, || desk.follow(at(0), &all).is_ok()));
                        free.store(false, Ordering::Relaxed);
                        let (cut, _) = desk.leave(&none).unwrap();
                        drop(desk.let_go(cut));
                        assert!(within(SOON, || free.load(Ordering::Relaxed)), "nobody looked");
                    }
                    desk.close();
                });
            }));
            over.store(true, Ordering::Relaxed);
            ended.unwrap();
            looks.join().unwrap().unwrap()
        });
        assert_eq!(seen, 0, "addresses that were set and had no name");
    }

    /// It leaves, comes back and leaves again, all before the first cut is done.
    #[test]
    fn an_address_is_set_until_its_own_cut_is_done_and_its_name_held_while_it_is_wanted() {
        let Some((_lab, network, [server, _])) = lab("own_cut") else { return };
        let vip: IpAddr = network.v4(100).into();
        with_desk(&server, |mut desk| {
            let (all, none) = (filter(&[vip]), filter(&["192.0.2.1".parse().unwrap()]));
            let mut lo = Addresses::open().unwrap();
            let mut is_set = || lo.list().unwrap().iter().any(|found| found.spot.ip == vip);
            desk.follow(at(0), &all).unwrap();
            let (first, _) = desk.leave(&none).unwrap();
            desk.follow(at(0), &none).unwrap();
            desk.follow(at(0), &all).unwrap();
            let (second, _) = desk.leave(&none).unwrap();
            desk.follow(at(0), &none).unwrap();
            drop(desk.let_go(first));
            assert!(is_set(), "its connections were not looked through yet");
            // A file names it once more, and waits for other members.
            desk.reserve(Reserved::default(), &[vip].into());
            drop(desk.let_go(second));
            assert!(!is_set());
            assert!(matches!(name(vip), Err(FrontError::Taken(_))), "it is wanted");
            desk.reserve(Reserved::default(), &BTreeSet::new());
            name(vip).unwrap();
            desk.close();
        });
    }

    const TIMES: u32 = 50;
}
