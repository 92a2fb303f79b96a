//! What a plane counted.

use ha_farm::Reason;
use std::prelude::rust_2024::*;

/// Packets since the plane was opened, with `bpf` since its maps were made; all numbers wrap in 584 years at a thousand million a
/// second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Left alone: not to a VIP, or uncovered under `uncovered = pass`.
    pub passed: u64,
    /// ARP and neighbor discovery kept from the kernel.
    pub neighbour: u64,
    /// Dropped, by [`Reason::index`].
    pub dropped: [u64; Reason::ALL.len()],
    /// Those that belong to a service, by the rule's place in the list.
    pub services: Vec<Service>,
}

/// What became of one rule's packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Taken by this node.
    pub accepted: u64,
    /// Handed on to another node (mode directed); a copy to each of two counts twice.
    pub forwarded: u64,
    /// All of the rule's packets that reached a bucket, by the bucket's owner: `owners[id]`, ids
    /// 0 to 127; those of a bucket without an owner are in none. Empty where the plane does not
    /// count them: `nft` would have to look each packet up once more, also those that it drops.
    pub owners: Vec<u64>,
}
