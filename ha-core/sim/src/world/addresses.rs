//! The adapter of the virtual addresses: a node's [`AddressSet`], its kernel, and the frames on the
//! clients' network. It does what `ha_core::linux` does there, each system call in no time.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;

use ha_core::{Answer, Event as Told, Input as Fact};
use ha_proto::{Epoch, LinkId, Machine, Outbox};
use ha_vip::{
    Address, AddressSet, ArpForm, Config, Event as Vip, Frame, Input, InterfaceId, OnRemoved,
    Output, arp_announcement, neighbor_advertisement, question,
};

use super::World;
use crate::check::Seen;
use crate::lan::{Card, Flight, Lan};
use crate::queue::Event;
use crate::trace::Column;

impl World {
    /// A process begins: it knows nothing of the addresses that may be there.
    pub(super) fn addresses_begin(&mut self, node: usize) {
        let coin = self.options.seed >> node & 1 == 1;
        let steps_down = self.options.meddling && coin;
        let on_removed = if steps_down { OnRemoved::StepDown } else { OnRemoved::PutBack };
        let addresses = Lan::addresses().to_vec();
        let config =
            Config::new(1, addresses, Config::REFRESH, on_removed).expect("it is possible");
        let address = &mut self.scene.nodes[node].address;
        address.set = Some(AddressSet::new(&config));
        address.known = Default::default();
        address.timer = None;
        let mac = Some(Card::Node(node).mac());
        self.tell_addresses(node, Input::Interface { id: InterfaceId(0), mac, up: true });
    }

    /// A process ends, and leaves its addresses as they are.
    pub(super) fn addresses_end(&mut self, node: usize) {
        let address = &mut self.scene.nodes[node].address;
        address.set = None;
        address.timer = None;
        self.scene.lan.hears[node] = false;
    }

    /// The addresses are to be taken, or to be gone on with.
    pub(super) fn take_addresses(
        &mut self,
        node: usize,
        epoch: Epoch,
        lifetime: Duration,
        asked: u64,
    ) -> Answer {
        let lifetime = self.left(node, lifetime, asked);
        self.tell_addresses(node, Input::Take { epoch, lifetime });
        self.held(node, |held| held == Some(epoch))
    }

    /// They are to live on.
    pub(super) fn keep_addresses(&mut self, node: usize, lifetime: Duration, asked: u64) -> Answer {
        let lifetime = self.left(node, lifetime, asked);
        self.tell_addresses(node, Input::Keep { lifetime });
        self.held(node, |held| held.is_some())
    }

    /// They are to go.
    pub(super) fn drop_addresses(&mut self, node: usize) -> Answer {
        self.tell_addresses(node, Input::Release);
        let left = self.scene.nodes[node].has_address(self.scene.now);
        if left { Answer::Failed } else { Answer::Done }
    }

    /// What is left of a lifetime: it counts from when it was asked, so that a late step extends
    /// nothing.
    fn left(&self, node: usize, lifetime: Duration, asked: u64) -> Duration {
        let here = &self.scene.nodes[node];
        (here.local(asked) + lifetime).saturating_since(here.local(self.scene.now))
    }

    fn held(&self, node: usize, wanted: impl Fn(Option<Epoch>) -> bool) -> Answer {
        let set = self.scene.nodes[node].address.set.as_ref().expect("its process runs");
        if wanted(set.epoch()) { Answer::Done } else { Answer::Failed }
    }

    /// A node tells its driver something; of some things its addresses are to hear.
    pub(super) fn addresses_told(&mut self, node: usize, event: &Told) {
        if let Told::LinkUp(LinkId(0)) | Told::LinkDown(LinkId(0)) = event {
            self.scene.lan.hears[node] = matches!(event, Told::LinkUp(_));
        }
        if matches!(event, Told::PeerUp(_) | Told::LinkUp(_)) {
            self.tell_addresses(node, Input::Announce);
        }
    }

    /// The deadline of a node's addresses may have come.
    pub(super) fn addresses_due(&mut self, node: usize) {
        let now = self.scene.now;
        let here = &mut self.scene.nodes[node];
        if here.address.timer == Some(now) {
            here.address.timer = None;
            self.addresses_look(node);
        }
    }

    /// A node's kernel tells that addresses changed; its process looks, if it runs.
    pub(super) fn addresses_look(&mut self, node: usize) {
        let now = self.scene.now;
        let here = &mut self.scene.nodes[node];
        if !here.runs() || here.address.set.is_none() {
            return;
        }
        for (place, address) in Lan::addresses().into_iter().enumerate() {
            let here = &mut self.scene.nodes[node].address;
            if here.known[place] && here.until[place] <= now {
                here.known[place] = false;
                self.tell_addresses(node, Input::Removed(address));
            }
        }
        self.tell_addresses(node, Input::Tick);
    }

    /// Somebody takes an address off with his own hands.
    pub(super) fn meddle(&mut self, node: usize, place: usize) {
        let here = &mut self.scene.nodes[node].address;
        if here.until[place] > self.scene.now {
            here.until[place] = 0;
            here.excused = true;
            self.note(Column::of(node), || format!("somebody removes address {place}"));
            self.addresses_look(node);
        }
    }

    /// Somebody else has an address from now on; `claims` it once, or is silent until he is asked.
    pub(super) fn intrude(&mut self, place: usize, claims: bool, lasts: u64) {
        let ip = Lan::addresses()[place].ip;
        self.scene.lan.strangers[place] = self.scene.now + lasts;
        self.note(Column::World, || format!("a stranger has {ip}"));
        if claims {
            let frame = claim_of(ip, Card::Stranger);
            self.put_on_wire(Flight { from: Card::Stranger, to: None, frame });
        }
    }

    /// Tells a node's addresses a fact, and does what they want.
    fn tell_addresses(&mut self, node: usize, fact: Input) {
        let mut facts = VecDeque::from([fact]);
        let mut out = Outbox::new(AddressSet::OUTPUTS_MAX);
        while let Some(fact) = facts.pop_front() {
            let here = &mut self.scene.nodes[node];
            let local = here.clock.local(self.scene.now);
            let Some(set) = &mut here.address.set else { return };
            set.handle(local, fact, &mut out);
            while let Some(said) = out.pop() {
                match said {
                    Output::Set { ticket, address, lifetime } => {
                        let done = self.set_address(node, place_of(address), lifetime);
                        facts.push_back(Input::Done { ticket, done });
                    }
                    Output::Remove { ticket, address } => {
                        let done = self.remove_address(node, place_of(address));
                        facts.push_back(Input::Done { ticket, done });
                    }
                    Output::Transmit { interface: _, frame } => self.announce(node, frame),
                    Output::Event(event) => self.addresses_say(node, event),
                }
            }
        }
        self.arm_addresses(node);
    }

    fn arm_addresses(&mut self, node: usize) {
        let now = self.scene.now;
        let here = &mut self.scene.nodes[node];
        let due = here.address.set.as_ref().and_then(Machine::deadline);
        let Some(due) = due.map(|due| here.clock.true_at(due.at)) else { return };
        assert!(due > now, "a deadline that is due was just handled");
        if here.address.timer.is_none_or(|timer| due < timer || timer < now) {
            here.address.timer = Some(due);
            self.queue.push(due, Event::AddressesDue { node });
        }
    }

    /// The kernel sets one, or lets it live longer.
    fn set_address(&mut self, node: usize, place: usize, lifetime: Duration) -> bool {
        let refused = self.kernel_refuses(node, place);
        let now = self.scene.now;
        let here = &mut self.scene.nodes[node];
        if refused {
            here.address.shaken = true;
            return false;
        }
        let until = here.clock.true_at(here.clock.local(now) + lifetime);
        here.address.until[place] = until;
        here.address.known[place] = true;
        here.address.excused = here.is_excused(now);
        here.address.shaken = false;
        self.queue.push(until, Event::AddressEnds { node });
        self.see(&Seen::Address { node, lifetime });
        true
    }

    fn remove_address(&mut self, node: usize, place: usize) -> bool {
        if self.kernel_refuses(node, place) {
            return false;
        }
        let address = &mut self.scene.nodes[node].address;
        address.until[place] = 0;
        address.known[place] = false;
        true
    }

    fn kernel_refuses(&mut self, node: usize, place: usize) -> bool {
        let fails = self.options.meddling && self.scene.lan.chance(self.weather.fail);
        fails || self.scene.nodes[node].address.refuses[place]
    }

    /// An address's lifetime may be over.
    pub(super) fn address_ends(&mut self, node: usize) {
        let now = self.scene.now;
        let address = &mut self.scene.nodes[node].address;
        let ended = address.until.iter_mut().filter(|until| **until == now);
        if ended.map(|until| *until = 0).count() == 0 {
            return;
        }
        self.note(Column::of(node), || "address expires".into());
        self.see(&Seen::AddressExpired { node });
        self.guard(node);
        self.addresses_look(node);
    }

    fn announce(&mut self, node: usize, frame: Frame) {
        if let Some((_, place, _)) = Lan::claim(&frame) {
            self.see(&Seen::Announced { node, place });
        }
        self.put_on_wire(Flight { from: Card::Node(node), to: None, frame });
    }

    fn put_on_wire(&mut self, flight: Flight) {
        let (slot, takes) = self.scene.lan.post(flight);
        self.at(takes, Event::Frame { slot });
    }

    /// A frame arrives wherever it is heard.
    pub(super) fn frame_arrives(&mut self, slot: usize) {
        let Flight { from, to, frame } = self.scene.lan.take(slot);
        let for_clients = to.is_none() && self.scene.lan.clients_hear(&self.scene.network, from);
        if let Some((card, place, sighting)) = Lan::claim(&frame) {
            if for_clients {
                self.scene.lan.cached[place] = Some(card);
                self.scene.lan.unheard[place] = [false; 2];
            }
            for node in (0..2).filter(|node| to.is_none_or(|to| to == *node)) {
                let reached = self.scene.lan.node_hears(&self.scene.network, from, node);
                let heard = reached && self.scene.nodes[node].runs();
                let stranger = for_clients && card == Card::Stranger;
                self.scene.lan.unheard[place][node] |= stranger && !heard;
                if heard {
                    let interface = InterfaceId(0);
                    self.tell_addresses(node, Input::Sighting { interface, sighting });
                }
            }
        } else if let (Some(asked), Card::Node(asker)) = (question(frame.as_bytes()), from) {
            self.answer(asker, asked);
        }
    }

    /// Kernels answer for what is set on them, whoever looks after it.
    fn answer(&mut self, asker: usize, question: ha_vip::Question) {
        let place = Lan::place(question.ip()).expect("nobody asks for others");
        let now = self.scene.now;
        let (lan, network) = (&self.scene.lan, &self.scene.network);
        let other = 1 - asker;
        let has = self.scene.nodes[other].address.until[place] > now;
        let node = has && lan.node_hears(network, Card::Node(asker), other);
        let stranger = lan.strangers[place] > now && lan.clients_hear(network, Card::Node(asker));
        let owners = [(node, Card::Node(other)), (stranger, Card::Stranger)];
        for (_, from) in owners.into_iter().filter(|(answers, _)| *answers) {
            let frame = question.answer(from.mac());
            self.put_on_wire(Flight { from, to: Some(asker), frame });
        }
    }

    fn addresses_say(&mut self, node: usize, event: Vip) {
        self.note(Column::of(node), || format!("{event:?}"));
        if matches!(event, Vip::Lost(_)) {
            self.feed(node, Fact::AddressLost);
        }
    }
}

fn place_of(address: Address) -> usize {
    Lan::place(address.ip).expect("a machine names its own addresses")
}

/// The claim by which a host makes an address its own.
fn claim_of(ip: IpAddr, card: Card) -> Frame {
    match ip {
        IpAddr::V4(ip) => arp_announcement(ip, card.mac(), ArpForm::Request),
        IpAddr::V6(ip) => neighbor_advertisement(ip, card.mac()),
    }
}
