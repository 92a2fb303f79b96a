//! What a detector is told once.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use ha_proto::{Boot, NodeId};
use thiserror::Error;

/// What a detector is told once; cannot be built wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(crate) me: NodeId,
    pub(crate) boot: Boot,
    pub(crate) peers: Vec<NodeId>,
    pub(crate) links: u8,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// Why a configuration is refused; nothing was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// No peer, or more than [`Config::PEERS_MAX`].
    #[error("{0} peers: a detector watches 1 to 16")]
    Peers(usize),
    /// This node is among its peers.
    #[error("this node is among its peers")]
    Myself,
    /// One peer is named twice.
    #[error("peer {0} is named twice")]
    Twice(NodeId),
    /// No link, or more than [`Config::LINKS_MAX`].
    #[error("{0} links: a detector uses 1 to 8")]
    Links(u8),
    /// The interval is below [`Config::INTERVAL_MIN`].
    #[error("an interval of {0:?} is below the least, 100 µs")]
    Interval(Duration),
    /// The timeout is below [`Config::INTERVALS_MIN`] intervals.
    #[error("a timeout of {0:?} is shorter than 3 intervals: one lost beat would look like death")]
    Timeout(Duration),
}

impl Config {
    /// The most peers of one detector: the members of the largest farm.
    pub const PEERS_MAX: usize = 16;
    /// The most links; more networks than that are not shared by two servers.
    pub const LINKS_MAX: usize = 8;
    /// The shortest interval: below it a beat to every peer on every link costs a whole core.
    pub const INTERVAL_MIN: Duration = Duration::from_micros(100);
    /// The fewest intervals in a timeout: one beat may be lost and one may wait for its turn.
    pub const INTERVALS_MIN: u32 = 3;

    /// The configuration of the node `me` in this `boot`, a random number for each start.
    ///
    /// - `peers`: whom it watches, 1 to 16 other nodes, in any order.
    /// - `links`: over how many networks, 1 to 8; they are called `LinkId(0)` and so on.
    /// - `interval`: between beats, at least 100 µs. Default profile: 100 ms.
    /// - `timeout`: the contract's D, at least three intervals. A peer is down after so long
    ///   without proof of life: choose it above the worst pause that is not a failure.
    ///
    /// # Errors
    /// [`ConfigError`] when a value is out of its range.
    pub fn new(
        me: NodeId,
        boot: Boot,
        peers: Vec<NodeId>,
        links: u8,
        interval: Duration,
        timeout: Duration,
    ) -> Result<Self, ConfigError> {
        if peers.is_empty() || peers.len() > Self::PEERS_MAX {
            return Err(ConfigError::Peers(peers.len()));
        }
        let mut named = BTreeSet::from([me]);
        for &peer in &peers {
            if !named.insert(peer) {
                return Err(if peer == me {
                    ConfigError::Myself
                } else {
                    ConfigError::Twice(peer)
                });
            }
        }
        if links == 0 || usize::from(links) > Self::LINKS_MAX {
            return Err(ConfigError::Links(links));
        }
        if interval < Self::INTERVAL_MIN {
            return Err(ConfigError::Interval(interval));
        }
        if timeout < interval.saturating_mul(Self::INTERVALS_MIN) {
            return Err(ConfigError::Timeout(timeout));
        }
        assert!(interval < timeout, "every peer would be down between two beats");
        assert!(!peers.contains(&me), "this node would prove itself alive to itself");
        Ok(Self { me, boot, peers, links, interval, timeout })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn config(peers: &[u8], links: u8, interval: u64, timeout: u64) -> Result<(), ConfigError> {
        let peers = peers.iter().map(|&id| node(id)).collect();
        let (interval, timeout) = (Duration::from_micros(interval), Duration::from_micros(timeout));
        Config::new(node(1), Boot(7), peers, links, interval, timeout).map(|_| ())
    }

    #[test]
    fn every_bound_is_checked_at_its_edge() {
        let many: Vec<u8> = (2..18).collect();
        let too_many: Vec<u8> = (2..19).collect();
        assert_eq!(config(&[2], 1, 100, 300), Ok(()));
        assert_eq!(config(&many, 8, 100, 300), Ok(()));
        assert_eq!(config(&[], 1, 100, 300), Err(ConfigError::Peers(0)));
        assert_eq!(config(&too_many, 1, 100, 300), Err(ConfigError::Peers(17)));
        assert_eq!(config(&[2, 1], 1, 100, 300), Err(ConfigError::Myself));
        assert_eq!(config(&[2, 3, 2], 1, 100, 300), Err(ConfigError::Twice(node(2))));
        assert_eq!(config(&[2], 0, 100, 300), Err(ConfigError::Links(0)));
        assert_eq!(config(&[2], 9, 100, 300), Err(ConfigError::Links(9)));
        let short = Duration::from_micros(99);
        assert_eq!(config(&[2], 1, 99, 300), Err(ConfigError::Interval(short)));
        let short = Duration::from_micros(299);
        assert_eq!(config(&[2], 1, 100, 299), Err(ConfigError::Timeout(short)));
    }

    #[test]
    fn the_profiles_of_the_contract_are_accepted() {
        for (interval, timeout) in [(100, 1_000), (10, 30), (500, 5_000)] {
            assert_eq!(config(&[0], 2, interval * 1_000, timeout * 1_000), Ok(()));
        }
        let whole =
            Config::new(node(1), Boot(7), vec![node(0)], 1, Duration::from_secs(1), Duration::MAX);
        assert!(whole.is_ok(), "the longest timeout does not overflow");
    }

    #[test]
    fn errors_name_the_bound() {
        assert_eq!(ConfigError::Links(9).to_string(), "9 links: a detector uses 1 to 8");
        let text = "a timeout of 1ms is shorter than 3 intervals: one lost beat would look like \
                    death";
        assert_eq!(ConfigError::Timeout(Duration::from_millis(1)).to_string(), text);
    }
}
