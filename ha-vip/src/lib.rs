//! The virtual addresses of a node as one state machine: taken together, kept alive, announced,
//! defended and released together.
//!
//! Clients talk to addresses that are set only on the node that serves. An [`AddressSet`] has all
//! of them, of IPv4 and IPv6, on any number of interfaces; one epoch owns them, so they are never
//! at two nodes (`FIELD.md` row 7). What the crate sees to:
//! - every address has a finite lifetime, which each renewal of the lease extends (R10): a node
//!   whose process died has none left soon after;
//! - the network is told at once where an address is now: a burst at 0, 50, 150, 400 ms, 1, 3 and
//!   10 s, by both forms of ARP or by an unsolicited neighbor advertisement; again whenever an
//!   interface comes up, an address had to be put back, or somebody else claims it; and in every
//!   refresh for ever;
//! - who does not own an address never announces it;
//! - what others remove is put back, or the node steps down.
//!
//! Beside it, [`detours`] says which routes make an address the source of its host's own connections.
//!
//! The crate is pure: no clock, no sockets, no netlink, no `std`. The loop of its host:
//! - tell it by [`handle`](ha_proto::Machine::handle) what the node wants, what netlink says of
//!   interfaces and addresses, and what [`sighting()`] finds in frames;
//! - do what it says, and tell how each effect ended;
//! - call again when the [`deadline`](ha_proto::Machine::deadline) passes.
//!
//! ```
//! use std::collections::VecDeque;
//! use std::time::Duration;
//!
//! use ha_proto::{Epoch, Instant, Machine, NodeId, Outbox};
//! use ha_vip::{Address, AddressSet, Config, Event, Input, InterfaceId, Mac, OnRemoved, Output};
//!
//! let interface = InterfaceId(0);
//! let addresses = ["192.0.2.10/24", "2001:db8::10/64"].map(|text| {
//!     let (ip, prefix) = text.split_once('/').expect("both are there");
//!     let (ip, prefix) = (ip.parse().expect("an address"), prefix.parse().expect("a number"));
//!     Address { ip, prefix, interface }
//! });
//! let config = Config::new(1, addresses.to_vec(), Config::REFRESH, OnRemoved::PutBack)?;
//! let mut set = AddressSet::new(&config);
//!
//! // A kernel that does everything at once, and a host that says what it saw.
//! let epoch = Epoch::new(1, NodeId::new(0).expect("below 128"));
//! let lifetime = Duration::from_secs(3);
//! let card = Input::Interface { id: interface, mac: Some(Mac([2, 0, 0, 0, 0, 1])), up: true };
//! let mut facts = VecDeque::from([card, Input::Take { epoch, lifetime }]);
//! let mut out = Outbox::new(AddressSet::OUTPUTS_MAX);
//! let mut seen = Vec::new();
//! while let Some(fact) = facts.pop_front() {
//!     set.handle(Instant::ZERO, fact, &mut out);
//!     while let Some(said) = out.pop() {
//!         match said {
//!             Output::Set { ticket, .. } | Output::Remove { ticket, .. } => {
//!                 facts.push_back(Input::Done { ticket, done: true });
//!             }
//!             Output::Transmit { frame, .. } => seen.push(frame.as_bytes().len()),
//!             Output::Event(event) => assert_eq!(event, Event::Taken(epoch)),
//!         }
//!     }
//! }
//! assert_eq!(set.epoch(), Some(epoch));
//! assert_eq!(seen, [42, 42, 86], "two of ARP, one of neighbor discovery");
//! # Ok::<(), ha_vip::ConfigError>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod address;
mod announcer;
mod config;
mod counters;
mod detour;
mod frame;
#[cfg(test)]
mod golden;
mod io;
mod lookout;
mod question;
mod set;
mod sighting;
mod slot;

pub use address::{Address, InterfaceId, Mac};
pub use announcer::Announcer;
pub use config::{Config, ConfigError, OnRemoved};
pub use counters::Counters;
pub use detour::{DETOURS_MAX, Detour, Network, Route, detours, undecided};
pub use frame::{
    ArpForm, Frame, arp_announcement, arp_answer, arp_probe, neighbor_advertisement,
    neighbor_answer, neighbor_probe, neighbor_question,
};
pub use io::{Event, Input, Output};
pub use lookout::{Lookout, Stranger};
pub use question::{Question, question};
pub use set::AddressSet;
pub use sighting::{Sighting, claim, sighting};
