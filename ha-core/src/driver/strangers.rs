//! What an arbiter refuses, counted by who sent it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::prelude::rust_2024::*;

use ha_proto::wire::{Reject, Rejections};

/// Counts refused datagrams, so that each kind is told once for each sender and counted always.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    total: Rejections,
    senders: BTreeMap<IpAddr, Rejections>,
    /// Those who came when there were too many.
    others: Rejections,
}

impl Strangers {
    /// Counts one; true when it is the first of its kind from there.
    pub(super) fn count(&mut self, from: IpAddr, reject: Reject) -> bool {
        self.total.count(reject);
        if self.senders.len() < SENDERS_MAX || self.senders.contains_key(&from) {
            self.senders.entry(from).or_default().count(reject)
        } else {
            self.others.count(reject)
        }
    }

    /// Those of all senders.
    pub(super) fn total(&self) -> Rejections {
        self.total
    }
}

/// Addresses that are told apart: more than the nodes of a site. An address can be forged, and
/// must not cost memory without end.
const SENDERS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn sender(number: u16) -> IpAddr {
        let [high, low] = number.to_be_bytes();
        Ipv4Addr::new(10, 0, high, low).into()
    }

    #[test]
    fn each_kind_is_told_once_for_each_sender() {
        let mut strangers = Strangers::default();
        for from in [1, 2] {
            for reject in [Reject::Mac, Reject::Version] {
                assert!(strangers.count(sender(from), reject));
                assert!(!strangers.count(sender(from), reject));
            }
        }
        assert_eq!(strangers.total().of(Reject::Mac), 4);
        assert_eq!(strangers.total().total(), 8);
    }

    #[test]
    fn a_crowd_of_senders_is_told_as_one() {
        let mut strangers = Strangers::default();
        for from in 0..SENDERS_MAX as u16 {
            assert!(strangers.count(sender(from), Reject::Magic));
        }
        assert!(strangers.count(sender(SENDERS_MAX as u16), Reject::Magic));
        assert!(!strangers.count(sender(SENDERS_MAX as u16 + 1), Reject::Magic));
        assert_eq!(strangers.senders.len(), SENDERS_MAX);
        assert_eq!(strangers.total().of(Reject::Magic), SENDERS_MAX as u64 + 2);
    }
}
