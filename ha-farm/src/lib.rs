//! The bucket table and the packet decision of a farm, in which all nodes serve at once.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod decide;
mod filter;
mod hash;
mod mac;
mod packet;
mod quota;
mod rule;
mod sharing;
mod table;
mod verdict;

pub use decide::{Decision, Place};
pub use filter::{Filter, FilterError, Setup};
pub use hash::Hash;
pub use mac::Mac;
pub use rule::{HashOn, Mode, Protocol, Rule, RuleError, Uncovered};
pub use table::{Bucket, Buckets, Plan, Step, Table};
pub use verdict::{Flow, Nodes, Reason, Sockets, Verdict};
