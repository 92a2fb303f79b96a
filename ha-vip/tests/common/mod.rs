//! A set of two addresses, one of each family, on one interface each, and words for its histories.
#![allow(dead_code, reason = "each test uses some of it")]

use std::net::IpAddr;
use std::time::Duration;

use ha_proto::{Epoch, Instant, Machine, NodeId, Outbox, Ticket};
use ha_vip::{
    Address, AddressSet, ArpForm, Config, Event, Input, InterfaceId, Mac, OnRemoved, Output,
    Sighting, arp_announcement, arp_probe, neighbor_advertisement, neighbor_question,
};

pub(crate) const MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
pub(crate) const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);

pub(crate) fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

pub(crate) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn epoch(counter: u64) -> Epoch {
    Epoch::new(counter, NodeId::new(0).expect("below 128"))
}

/// IPv4 on interface 0.
pub(crate) fn four() -> Address {
    Address { ip: "192.0.2.10".parse().expect("an address"), prefix: 24, interface: InterfaceId(0) }
}

/// IPv6 on interface 1.
pub(crate) fn six() -> Address {
    Address {
        ip: "2001:db8::10".parse().expect("an address"),
        prefix: 64,
        interface: InterfaceId(1),
    }
}

pub(crate) fn config(on_removed: OnRemoved) -> Config {
    Config::new(2, vec![four(), six()], Config::REFRESH, on_removed).expect("two addresses")
}

/// A set and the names of its facts.
pub(crate) struct Set(pub(crate) AddressSet);

impl Set {
    /// A set whose leftovers are removed, and whose interfaces are up.
    pub(crate) fn new(on_removed: OnRemoved) -> Self {
        let mut set = Self(AddressSet::new(&config(on_removed)));
        assert_eq!(set.tell(0, Input::Release), [remove(1, six()), remove(2, four())]);
        assert_eq!(set.done(0, 1, true), []);
        assert_eq!(set.done(0, 2, true), [event(Event::Released)]);
        for id in [0, 1] {
            assert_eq!(set.tell(0, interface(id, true)), []);
        }
        set
    }

    /// A set that is taken from 0 to 3 s; the next ticket is 5.
    pub(crate) fn taken(on_removed: OnRemoved) -> Self {
        let mut set = Self::new(on_removed);
        set.tell(0, take(1, 3_000));
        set.done(0, 3, true);
        let taken = [&[event(Event::Taken(epoch(1)))][..], &announce(four()), &announce(six())];
        assert_eq!(set.done(0, 4, true), taken.concat());
        set
    }

    pub(crate) fn tell(&mut self, millis: u64, input: Input) -> Vec<Output> {
        let mut out = Outbox::new(AddressSet::OUTPUTS_MAX);
        self.0.handle(at(millis), input, &mut out);
        std::iter::from_fn(|| out.pop()).collect()
    }

    pub(crate) fn done(&mut self, millis: u64, ticket: u64, done: bool) -> Vec<Output> {
        self.tell(millis, Input::Done { ticket: Ticket(ticket), done })
    }

    pub(crate) fn tick(&mut self, millis: u64) -> Vec<Output> {
        self.tell(millis, Input::Tick)
    }

    /// What it says at its own deadlines until then, with the times in milliseconds.
    pub(crate) fn run(&mut self, until: u64) -> Vec<(u64, Output)> {
        let mut said = vec![];
        while let Some(due) = self.0.deadline().filter(|due| due.at <= at(until)) {
            let now = due.at.as_nanos() / 1_000_000;
            said.extend(self.tick(now).into_iter().map(|output| (now, output)));
        }
        said
    }
}

pub(crate) fn take(counter: u64, lifetime: u64) -> Input {
    Input::Take { epoch: epoch(counter), lifetime: millis(lifetime) }
}

pub(crate) fn keep(lifetime: u64) -> Input {
    Input::Keep { lifetime: millis(lifetime) }
}

pub(crate) fn interface(id: u8, up: bool) -> Input {
    Input::Interface { id: InterfaceId(id), mac: Some(MACS[usize::from(id)]), up }
}

pub(crate) fn claim(address: Address, mac: Mac) -> Input {
    let sighting = Sighting { ip: address.ip, mac, card: mac };
    Input::Sighting { interface: address.interface, sighting }
}

pub(crate) fn event(event: Event) -> Output {
    Output::Event(event)
}

pub(crate) fn set(ticket: u64, address: Address, lifetime: u64) -> Output {
    Output::Set { ticket: Ticket(ticket), address, lifetime: millis(lifetime) }
}

pub(crate) fn remove(ticket: u64, address: Address) -> Output {
    Output::Remove { ticket: Ticket(ticket), address }
}

/// All frames of one announcement.
pub(crate) fn announce(address: Address) -> Vec<Output> {
    announce_as(address, MACS[usize::from(address.interface.0)])
}

/// The question who else has it.
pub(crate) fn question(address: Address) -> Output {
    let mac = MACS[usize::from(address.interface.0)];
    let frame = match address.ip {
        IpAddr::V4(ip) => arp_probe(ip, mac),
        IpAddr::V6(ip) => neighbor_question(ip, mac),
    };
    Output::Transmit { interface: address.interface, frame }
}

pub(crate) fn announce_as(address: Address, mac: Mac) -> Vec<Output> {
    let frames = match address.ip {
        IpAddr::V4(ip) => vec![
            arp_announcement(ip, mac, ArpForm::Request),
            arp_announcement(ip, mac, ArpForm::Reply),
        ],
        IpAddr::V6(ip) => vec![neighbor_advertisement(ip, mac)],
    };
    let send = |frame| Output::Transmit { interface: address.interface, frame };
    frames.into_iter().map(send).collect()
}
