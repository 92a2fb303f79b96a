//! The bucket table and the packet decision of a farm, in which all nodes serve at once.
//!
//! Every member runs the service and has the virtual address. A hash of the client's side of a
//! packet names a bucket, a [`Table`] says whose that is, and each member's [`Filter`] takes its
//! own packets and drops the others'. From one table to the next the fewest buckets move; while
//! one that moved drains, its connections stay where their sockets are (`CONTRACT-FARM.md` F7 to
//! F10).
//!
//! The crate is pure, needs no other part of the family but its vocabulary, and allocates nothing
//! for a packet:
//!
//! ```
//! use ha_farm::*;
//!
//! let nodes = [0, 1, 2].map(|id| NodeId::new(id).expect("below 128"));
//! let weights = nodes.map(|node| (node, 1)).into();
//! let plan = Plan { counter: 1, weights, settled: 0, taken: None };
//! let table = Table::new(Buckets::Many).next(&plan);
//! let (vip, hash) = ("192.0.2.1".parse()?, Hash::Sip { key: [7; 16] });
//! let rule = Rule { vip, ports: 80..=80, protocol: Protocol::Tcp, on: HashOn::Addr };
//!
//! let mut frame = [0; 54]; // A SYN from 198.51.100.7 to port 80.
//! frame[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6]);
//! frame[26..38].copy_from_slice(&[198, 51, 100, 7, 192, 0, 2, 1, 4, 0, 0, 80]);
//! frame[47] = 2;
//! let takers = nodes.into_iter().filter(|&me| {
//!     let (mode, uncovered, rules) = (Mode::Invisible, Uncovered::Deny, vec![rule.clone()]);
//!     let setup = Setup { me, mode, uncovered, hash, rules, macs: [].into() };
//!     let filter = Filter::new(setup, &[table.clone()], |_, _| true).expect("it fits");
//!     filter.decide(&frame, true, &mut NoSockets) == Verdict::Accept
//! });
//! assert_eq!(takers.count(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a kernel knows of connections is asked by [`Sockets`]; here none is live.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bpf;
mod decide;
mod filter;
#[cfg(feature = "generate")]
pub mod generate;
mod hash;
mod mac;
mod packet;
mod quota;
mod rule;
mod sharing;
mod table;
mod verdict;
pub mod wire;

pub use decide::{Decision, Place};
pub use filter::{Filter, FilterError, Setup};
pub use ha_proto::NodeId;
pub use hash::Hash;
pub use mac::Mac;
pub use rule::{HashOn, Mode, Protocol, Rule, RuleError, Uncovered};
pub use table::{Bucket, Buckets, Plan, Step, Table};
pub use verdict::{Flow, NoSockets, Nodes, Reason, Sockets, Verdict};
