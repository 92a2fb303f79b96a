//! What an arbiter refuses, counted by who sent it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::prelude::rust_2024::*;

use ha_proto::wire::{Reject, Rejections};

/// Counts refused datagrams, so that each kind is told once for each sender and counted always.
///
/// A sender whose seal was right has a place of its own: a crowd of forged addresses does not take
/// it, and does not hide what goes wrong there later.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    total: Rejections,
    /// From where asks came that counted.
    friends: BTreeMap<IpAddr, Rejections>,
    senders: BTreeMap<IpAddr, Rejections>,
    /// Those who came when there were too many.
    others: Rejections,
}

impl Strangers {
    /// Counts one; true when it is the first of its kind from there.
    pub(super) fn count(&mut self, from: IpAddr, reject: Reject) -> bool {
        self.total.count(reject);
        if let Some(friend) = self.friends.get_mut(&from) {
            return friend.count(reject);
        }
        if self.senders.len() < SENDERS_MAX || self.senders.contains_key(&from) {
            self.senders.entry(from).or_default().count(reject)
        } else {
            self.others.count(reject)
        }
    }

    /// An ask that counts came from there.
    pub(super) fn befriend(&mut self, from: IpAddr) {
        if self.friends.len() < FRIENDS_MAX && !self.friends.contains_key(&from) {
            let counted = self.senders.remove(&from).unwrap_or_default();
            self.friends.insert(from, counted);
        }
    }

    /// Those of all senders.
    pub(super) fn total(&self) -> Rejections {
        self.total
    }
}

/// Strange addresses that are told apart. An address can be forged, and must not cost memory
/// without end.
const SENDERS_MAX: usize = 256;
/// Addresses of nodes: both of each pair that an arbiter keeps.
const FRIENDS_MAX: usize = 2 * ha_quorum::Arbiter::REGISTERS_MAX;

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

    #[test]
    fn a_crowd_of_senders_does_not_hide_a_node() {
        let mut strangers = Strangers::default();
        let (node, later) = (sender(u16::MAX), sender(u16::MAX - 1));
        assert!(strangers.count(node, Reject::Mac));
        strangers.befriend(node);
        for from in 0..=SENDERS_MAX as u16 {
            strangers.count(sender(from), Reject::Magic);
        }
        strangers.befriend(later);
        for friend in [node, later] {
            assert!(strangers.count(friend, Reject::Magic));
            assert!(!strangers.count(friend, Reject::Magic));
        }
        assert!(!strangers.count(node, Reject::Mac), "it was told before");
    }

    #[test]
    fn no_more_friends_are_made_than_there_can_be() {
        let mut strangers = Strangers::default();
        for from in 0..FRIENDS_MAX as u16 + 10 {
            strangers.befriend(sender(from));
        }
        assert_eq!(strangers.friends.len(), FRIENDS_MAX);
        assert!(strangers.count(sender(FRIENDS_MAX as u16), Reject::Mac), "told like a stranger's");
    }
}
