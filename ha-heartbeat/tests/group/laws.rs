//! The laws of a machine, on random inputs at random times.

use std::time::Duration;

use bytes::Bytes;
use ha_heartbeat::group::{Beat, Echo, Group, Input, Part, Proposal, Said, State, ViewId};
use ha_proto::{Boot, Instant, NodeId, NodeSet, laws};
use proptest::prelude::*;

use crate::rig::{MY_BOOT, config, node};

/// Few values, so that they meet; and one that is far from all others.
fn view() -> impl Strategy<Value = ViewId> {
    let counter = prop_oneof![8 => 1..6_u64, 1 => Just(1 << 40), 1 => Just(u64::MAX)];
    (counter, 0..4_u8, boot()).prop_map(|(counter, coordinator, boot)| ViewId {
        counter,
        coordinator: node(coordinator),
        boot,
    })
}

fn boot() -> impl Strategy<Value = Boot> {
    prop_oneof![4 => Just(MY_BOOT), 4 => Just(Boot(101)), 1 => Just(Boot(102))]
}

fn members() -> impl Strategy<Value = NodeSet> {
    (0..16_u128).prop_map(NodeSet::from_bits)
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![9 => 1..40_u64, 1 => Just(u64::MAX)]
}

fn said() -> impl Strategy<Value = Said> {
    let states = [State::Nothing, State::Takes, State::Unable, State::Waits];
    let state = prop::sample::select(states.to_vec());
    let highest = prop_oneof![8 => 0..6_u64, 1 => Just(u64::MAX)];
    (prop::option::of(view()), members(), state, highest, members(), 0..2_u64, 0..2_u64).prop_map(
        |(view, members, state, highest, hears, accord, next)| Said {
            view,
            members,
            state,
            highest,
            hears: hears.with(node(0)),
            accord,
            next,
        },
    )
}

fn from() -> impl Strategy<Value = NodeId> {
    (0..5_u8).prop_map(node)
}

fn beat() -> impl Strategy<Value = Input> {
    (from(), boot(), number(), said(), number(), any::<bool>()).prop_map(
        |(from, boot, number, said, echo, echoes)| {
            let echo = Echo { node: node(0), boot: MY_BOOT.0 as u32, number: echo };
            let echoes = if echoes { vec![echo] } else { Vec::new() };
            let beat = Beat { boot, number, said, echoes, facts: Bytes::new() };
            Input::Beat { from, beat }
        },
    )
}

fn proposal() -> impl Strategy<Value = Part> {
    (view(), members(), boot(), boot(), 0..3_u16, 1..3_u16).prop_map(
        |(id, set, mine, boot, part, parts)| {
            let set = set.with(id.coordinator);
            let boots = set.iter().map(|node| (node, if node.as_u8() == 0 { mine } else { boot }));
            let members = boots.collect();
            let mut bytes = Vec::new();
            Proposal { id, members, body: Bytes::new() }.encode(&mut bytes);
            Part { boot, id, part: part.min(parts - 1), parts, bytes: bytes.into() }
        },
    )
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        8 => beat(),
        4 => (from(), proposal()).prop_map(|(from, part)| Input::Propose { from, part }),
        1 => (from(), proposal()).prop_map(|(from, part)| Input::Part { from, part }),
        2 => Just(Input::Tick),
        1 => (0..400_u64).prop_map(|millis| Input::Gap(Duration::from_millis(millis))),
        2 => (view(), any::<bool>()).prop_map(|(id, known)| Input::Checked { id, known }),
        2 => view().prop_map(|id| Input::Built { id, body: Bytes::from_static(b"weights") }),
        1 => (view(), view()).prop_map(|(id, base)| Input::Lacks { id, base }),
        3 => (view(), any::<bool>()).prop_map(|(id, ok)| Input::Written { id, ok }),
        1 => (0..2_u64, 0..2_u64).prop_map(|(accord, next)| Input::Tell {
            facts: Bytes::from_static(b"facts"),
            accord,
            next,
        }),
        2 => prop::bool::weighted(0.8).prop_map(Input::Able),
        1 => any::<bool>().prop_map(Input::Wanted),
    ]
}

proptest! {
    #[test]
    fn a_group_keeps_the_laws(
        history in prop::collection::vec((0..90_000_u64, input()), 1..120),
    ) {
        let group = Group::new(config(4), MY_BOOT, Instant::ZERO);
        let timed = |(micros, input)| (Duration::from_micros(micros), input);
        laws::check(group, || Input::Tick, history.into_iter().map(timed));
    }
}
