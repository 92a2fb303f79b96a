//! Datagrams that are not what they should be: counted, told once for each peer and kind, and
//! without effect.

use std::net::UdpSocket;
use std::time::Duration;

use ha_core::Event;
use ha_proto::wire::{Reject, Rejections};

use crate::rig::{Pair, block_on, whole};

const TIMES: u64 = 3;

/// A genuine datagram, spoilt in one way each.
fn spoilt(genuine: &[u8]) -> [(Reject, Vec<u8>); 5] {
    let changed = |at: usize| {
        let mut bytes = genuine.to_vec();
        bytes[at] ^= 0x40;
        bytes
    };
    [
        // Sealed with a wrong key, it would look like this.
        (Reject::Mac, changed(genuine.len() - 1)),
        (Reject::Cluster, changed(8)),
        (Reject::Version, changed(4)),
        (Reject::Magic, changed(0)),
        (Reject::Truncated, genuine[..40].to_vec()),
    ]
}

fn received(tap: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 600];
    let len = tap.recv(&mut buffer).unwrap();
    buffer[..len].to_vec()
}

async fn until(mut done: impl AsyncFnMut() -> bool) {
    let reached = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reached).await.expect("it is counted");
}

fn all(rejections: &Rejections) -> bool {
    spoilt(&[0; 64]).iter().all(|(kind, _)| rejections.of(*kind) == TIMES)
}

#[test]
fn wrong_key_other_cluster_other_version_replayed_truncated_are_counted_and_told_once() {
    block_on(async {
        let pair = Pair::new();
        // The second network from the first node to the second leads through here.
        let tap = UdpSocket::bind("127.0.0.1:0").unwrap();
        tap.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut raw = pair.raw(0, 0);
        let to = raw.links[1].peer;
        raw.links[1].peer = tap.local_addr().unwrap();
        let (first, second) = (Pair::run(raw), pair.start(1));
        whole(&first, &second).await;
        let before = second.handle.status().now().unwrap();
        let genuine = &received(&tap);
        for _ in 0..TIMES {
            for (_, bytes) in spoilt(genuine) {
                tap.send_to(&bytes, to).unwrap();
            }
        }
        // The first of them is news, though old.
        for _ in 0..=TIMES {
            tap.send_to(genuine, to).unwrap();
        }
        until(async || {
            let counters = second.handle.counters().await.unwrap();
            all(&counters.peer_rejections) && counters.heartbeat.replayed >= TIMES
        })
        .await;
        second.told(Event::Replayed).await;
        let events = second.host.look(|seen| seen.events.clone());
        let told = |wanted: Event| events.iter().filter(|event| **event == wanted).count();
        for (kind, _) in spoilt(genuine) {
            assert_eq!(told(Event::Rejected(kind)), 1, "{kind:?}");
        }
        assert_eq!(told(Event::Replayed), 1);
        let after = second.handle.status().now().unwrap();
        assert_eq!((after.role, after.ready), (before.role, before.ready));
        assert_eq!(after.membership, before.membership);
    });
}

#[test]
fn what_an_arbiter_cannot_use_is_counted_and_has_no_effect() {
    block_on(async {
        let mut pair = Pair::new();
        let arbiter = pair.arbiter();
        let tap = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut raw = pair.raw(0, 0);
        raw.links[1].peer = tap.local_addr().unwrap();
        let (first, second) = (Pair::run(raw), pair.start(1));
        whole(&first, &second).await;
        let before = second.handle.status().now().unwrap();
        let genuine = &received(&tap);
        for _ in 0..TIMES {
            for (_, bytes) in spoilt(genuine) {
                // An arbiter serves any cluster of its key: another one's seal is what is wrong.
                tap.send_to(&bytes, arbiter.address()).unwrap();
            }
            // A beat is no question.
            tap.send_to(genuine, arbiter.address()).unwrap();
        }
        until(async || arbiter.rejections().total() == 6 * TIMES).await;
        let counted = arbiter.rejections();
        for (kind, times) in [(Reject::Mac, 2), (Reject::Version, 1), (Reject::Magic, 1)] {
            assert_eq!(counted.of(kind), times * TIMES, "{kind:?}");
        }
        assert_eq!((counted.of(Reject::Truncated), counted.of(Reject::Misplaced)), (TIMES, TIMES));
        let after = second.handle.status().now().unwrap();
        assert_eq!(after.membership, before.membership);
        assert!(after.witness_up);
    });
}
