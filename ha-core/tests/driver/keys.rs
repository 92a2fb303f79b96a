//! The cluster's key is changed while the cluster runs: two keys are valid at once.

use bytes::Bytes;
use ha_core::Event;
use ha_core::raw::{Key, RawConfig};
use ha_proto::Role;
use ha_proto::wire::{Reject, Rejections};

use crate::rig::{Node, Pair, block_on, whole};

/// Three keys; the configuration of a node with one of them that accepts another besides.
struct Keys([String; 3]);

impl Keys {
    fn new(pair: &Pair) -> Self {
        let key = |name: &str, digit: &str| pair.key_file(name, &digit.repeat(16));
        Self([key("first", "1"), key("second", "2"), key("third", "3")])
    }

    fn at(&self, raw: RawConfig, signing: usize, accepted: Option<usize>) -> RawConfig {
        let key_file = Some(self.0[signing].clone());
        let accept_key_file = accepted.map(|at| self.0[at].clone());
        RawConfig { key_file, accept_key_file, ..raw }
    }

    fn both(&self, signing: usize, accepted: usize) -> Key {
        Key::Rotating { signing: self.0[signing].clone(), accepted: self.0[accepted].clone() }
    }
}

async fn rejections(node: &Node) -> [Rejections; 2] {
    let counters = node.handle.counters().await.unwrap();
    [counters.peer_rejections, counters.witness_rejections]
}

#[test]
fn two_keys_are_valid_at_once_for_datagrams_the_stream_and_the_arbiter() {
    block_on(async {
        let mut pair = Pair::new();
        let keys = Keys::new(&pair);
        let arbiter = pair.arbiter_with(keys.both(1, 0));
        let first = Pair::run(keys.at(pair.raw(0, 0), 0, Some(1)));
        let second = Pair::run(keys.at(pair.raw(1, 0), 1, Some(0)));
        whole(&first, &second).await;
        first.propose(b"one").await;
        second.until("applied", |status| status.applied.0 == 1).await;
        second.until("a witness", |status| status.witness_up).await;
        for node in [&first, &second] {
            assert_eq!(rejections(node).await, [Rejections::default(); 2]);
        }
        assert_eq!(arbiter.rejections(), Rejections::default());
    });
}

#[test]
fn a_key_is_changed_in_three_steps_without_an_outage() {
    block_on(async {
        let pair = Pair::new();
        let keys = Keys::new(&pair);
        let config = |node, signing, accepted| keys.at(pair.raw(node, 0), signing, accepted);
        let mut first = Pair::run(config(0, 0, None));
        let mut second = Pair::run(config(1, 0, None));
        first.until("primary", |status| status.role == Role::Prim && status.ready).await;
        let mut sent = 0;
        for (signing, accepted) in [(0, Some(1)), (1, Some(0)), (1, None)] {
            // The secondary is restarted, the primary serves; then the other way round.
            second.until("secondary", |status| status.role == Role::Second && status.ready).await;
            second.running.shutdown();
            second = Pair::run(config(1, signing, accepted));
            second.until("back", |status| status.role == Role::Second && status.ready).await;
            first.running.shutdown();
            second.until("alone", |status| status.role == Role::Alone && status.ready).await;
            first = Pair::run(config(0, signing, accepted));
            first.until("back", |status| status.role == Role::Second && status.ready).await;
            second.until("whole", |status| status.role == Role::Prim && status.ready).await;
            second.propose(b"a record").await;
            sent += 1;
            second.insist(ha_core::Order::Swap, &first, |status| status.role == Role::Prim).await;
            first.until("primary", |status| status.role == Role::Prim && status.ready).await;
        }
        second.until("applied", |status| status.applied.0 == sent).await;
        assert_eq!(rejections(&first).await[0].total(), 0);
    });
}

#[test]
fn a_third_key_is_refused_counted_and_told_once() {
    block_on(async {
        let mut pair = Pair::new();
        let keys = Keys::new(&pair);
        let arbiter = pair.arbiter_with(keys.both(0, 1));
        let first = Pair::run(keys.at(pair.raw(0, 0), 0, Some(1)));
        let second = Pair::run(keys.at(pair.raw(1, 0), 2, None));
        let refused = async {
            loop {
                let counted = rejections(&first).await[0].of(Reject::Mac).min(20);
                if counted == 20 && arbiter.rejections().of(Reject::Mac) > 1 {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), refused).await.unwrap();
        let told = first.host.look(|seen| {
            seen.events.iter().filter(|event| **event == Event::Rejected(Reject::Mac)).count()
        });
        assert_eq!(told, 1);
        assert!(!first.handle.status().now().unwrap().peer_up);
        assert!(!second.handle.status().now().unwrap().witness_up);
        assert!(second.handle.propose(Bytes::from_static(b"no")).await.is_err());
    });
}
