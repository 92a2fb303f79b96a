//! What a reader with fresh eyes found: each is red until it is mended.

use bytes::Bytes;
use ha_heartbeat::group::{Group, Input, Output, State};
use ha_proto::{Machine, Outbox};

use crate::rig::{Rig, at, blank, millis, node, proposal};

/// Node 0 follows a view of 1 and 2 that leaves it out; both fall silent, and node 3, which took
/// alone, is there: nobody has the tables of the view that 0 followed.
#[test]
fn a_view_that_was_followed_and_whose_members_are_gone_is_not_asked_for_without_end() {
    let mut rig = Rig::linked(4);
    let followed = proposal(1, 1, &[1, 2]);
    rig.propose(1, &followed);
    assert_eq!(rig.group.view().map(|view| view.id), Some(followed.id), "it follows");
    let alone = proposal(1, 3, &[3]);
    let said = ha_heartbeat::group::Said { hears: blank(4).hears, ..at(&alone, State::Takes, 4) };
    let mut builds = Vec::new();
    let mut out = Outbox::new(Group::OUTPUTS_MAX);
    for _ in 0..12 {
        let beat = rig.beat(3, said);
        let mut inputs = vec![Input::Beat { from: node(3), beat }];
        while let Some(input) = inputs.pop() {
            rig.group.handle(rig.now, input, &mut out);
            while let Some(output) = out.pop() {
                match output {
                    // As `Farm::build` answers.
                    Output::Build { id, taken: Some(base), .. } if base == followed.id => {
                        builds.push(id);
                        inputs.push(Input::Lacks { id, base });
                    }
                    Output::Build { id, .. } => {
                        inputs.push(Input::Built { id, body: Bytes::from_static(b"weights") });
                    }
                    Output::Install { proposal, .. } => {
                        inputs.push(Input::Written { id: proposal.id, ok: true });
                    }
                    _ => {}
                }
            }
            assert!(builds.len() < 20, "the node's thread asks itself for ever: {builds:?}");
        }
        rig.now += millis(50);
    }
    assert!(rig.group.view().is_some_and(|view| view.members.contains_key(&node(3))));
}
