//! R8, R10: a node that did not run for long looks around before it asks again for what it wanted.
#![allow(clippy::unwrap_used, reason = "a test fails where it is wrong")]

use core::time::Duration;

use ha_core::config::{Config, Identity, Limits, Policy};
use ha_core::proto::wire::{self, Keys};
use ha_core::proto::{
    Boot, ClusterId, DataId, DataState, Epoch, Incarnation, Instant, Membership, ModuleId, NodeId,
    NodeSet, Position, Seq, StoreId,
};
use ha_core::quorum::{Ask, Request};
use ha_core::replicate::Recovered;
use ha_core::{Destination, Event, Input, Mirror, Output, Profile, Saved};

const CLUSTER: ClusterId = ClusterId(5);

/// What a node says in one call: its requests, and whether it noticed a pause.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    asks: Vec<Request>,
    paused: bool,
}

/// A secondary in sync, whose holder is gone, and whose witness does not answer.
fn candidate() -> Mirror {
    let [me, peer] = [1, 0].map(|id| NodeId::new(id).unwrap());
    let module = ModuleId(1);
    let identity = Identity { cluster: CLUSTER, module, me, peer, links: 1 };
    let timing = Profile::Lan.timing();
    let config = Config::new(identity, timing, Policy::default(), Limits::default()).unwrap();
    let mut saved = Saved::blank(CLUSTER, module, me, StoreId(3));
    let (epoch, set) = (Epoch::new(2, peer), NodeSet::from_bits(0b11));
    saved.membership = Membership { epoch, holder: peer, set, data: DataId(77) };
    (saved.state, saved.incarnation) = (DataState::Complete, Incarnation(9));
    let recovered = Recovered {
        position: Position::default(),
        lineage: saved.lineage.clone(),
        state: saved.state,
        membership: Some(saved.membership),
        store: saved.store,
        applied: Seq::ZERO,
        bytes: 0,
    };
    Mirror::new(config, Keys::insecure(), saved, recovered, Boot(8), 4, Instant::ZERO)
}

fn wake(node: &mut Mirror, now: Instant) -> Said {
    node.handle_input(now, Input::Timeout);
    let mut said = Said::default();
    while let Some(output) = node.poll_output() {
        match output {
            Output::Transmit { to: Destination::Witness, datagram } => {
                let packet = wire::open(datagram.as_bytes(), &Keys::insecure(), CLUSTER).unwrap();
                said.asks.push(Ask::decode(packet.header.sender, packet.body).unwrap().request);
            }
            Output::Event(Event::Paused(_)) => said.paused = true,
            Output::Transmit { .. } | Output::Event(_) | Output::Effect { .. } => {}
        }
    }
    said
}

#[test]
fn a_candidate_that_resumes_does_not_repeat_what_it_asked_before() {
    let mut node = candidate();
    let mut now = Instant::ZERO;
    let mut taken = 0;
    while now < Instant::ZERO + Duration::from_secs(6) {
        now = node.poll_timeout().unwrap().at.max(now);
        let said = wake(&mut node, now);
        taken += said.asks.iter().filter(|ask| **ask == Request::Take).count();
    }
    assert!(taken > 1, "it asks until it is answered");

    now += Duration::from_secs(10);
    assert_eq!(wake(&mut node, now), Said { asks: vec![Request::Read], paused: true });

    now += Profile::Lan.timing().heartbeat;
    let said = wake(&mut node, now);
    assert!(said.asks.contains(&Request::Take), "its turn has come again: {said:?}");
}
