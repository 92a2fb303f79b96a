//! What a node knows of its resources: told to the peer, and obeyed where they block.

use ha_core::heartbeat::Resources;
use ha_proto::Role;

use crate::rig::{Pair, block_on, ready, whole};

#[test]
fn a_resource_that_blocks_nothing_is_only_told_to_the_peer() {
    block_on(async {
        let pair = Pair::new();
        let (first, second) = (pair.start(0), pair.start(1));
        whole(&first, &second).await;
        first.handle.tell_resource(3, Some(true), false);
        first.handle.tell_resource(5, Some(false), false);
        first.handle.tell_resource(9, Some(true), false);
        first.handle.tell_resource(9, None, false);
        let expected = Resources { known: 1 << 3 | 1 << 5, up: 1 << 3 };
        let seen = second.until("told", |status| status.peer_resources == Some(expected)).await;
        assert_eq!((seen.role, seen.resources), (Role::Second, Resources::default()));
        let here = first.until("ready", ready(Role::Prim)).await;
        assert_eq!((here.resources, here.peer_resources), (expected, Some(Resources::default())));
    });
}

#[test]
fn one_that_blocks_gives_the_service_away_and_is_missed_until_it_is_back() {
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (first, second) = (pair.start(0), pair.start(1));
        whole(&first, &second).await;
        first.handle.tell_resource(0, Some(false), true);
        second.until("primary", ready(Role::Prim)).await;
        first.until("secondary", ready(Role::Second)).await;
        // Nobody could do better: what runs goes on.
        second.handle.tell_resource(0, None, true);
        let seen = second.until("told", |status| status.peer_resources.is_some()).await;
        assert!(seen.serving, "{seen:#?}");
        // Back at the first one, which wakes up by itself.
        first.handle.tell_resource(0, Some(true), false);
        first.until("primary again", ready(Role::Prim)).await;
        let seen = second.until("secondary", ready(Role::Second)).await;
        assert_eq!(seen.peer_resources, Some(Resources { known: 1, up: 1 }));
    });
}
