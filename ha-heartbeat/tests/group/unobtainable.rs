//! Views whose tables nobody gives.

use bytes::Bytes;
use ha_heartbeat::group::{Group, Input, Output, Said, State};
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
    let said = Said { hears: blank(4).hears, ..at(&alone, State::Takes, 4) };
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

/// Node 0, which takes alone, makes a view for both, from the tables that node 1 takes by; the link
/// breaks while it asks for them, and is whole again: it asks again, and does not forget what 1
/// takes (F7).
#[test]
fn tables_that_were_asked_for_in_vain_are_asked_for_again_once_their_holder_is_back() {
    let mut rig = Rig::linked(2);
    rig.pass(millis(1_000));
    assert!(rig.group.view().is_some_and(|view| view.members.len() == 1), "it takes alone");
    let alone = proposal(9, 1, &[1]);
    let said = Said { hears: blank(2).hears, ..at(&alone, State::Takes, 2) };
    let mut asked = Vec::new();
    let mut out = Outbox::new(Group::OUTPUTS_MAX);
    for step in 0..60_u32 {
        // For a while it does not hear this node; it never gives its tables.
        let hears = if (5..20).contains(&step) { said.hears.without(node(0)) } else { said.hears };
        let beat = rig.beat(1, Said { hears, ..said });
        let mut inputs = vec![Input::Tick, Input::Beat { from: node(1), beat }];
        while let Some(input) = inputs.pop() {
            rig.group.handle(rig.now, input, &mut out);
            while let Some(output) = out.pop() {
                match output {
                    Output::Build { id, base, taken, .. }
                        if [base, taken].contains(&Some(alone.id)) =>
                    {
                        let base = alone.id;
                        inputs.push(Input::Lacks { id, base });
                    }
                    Output::Pull { .. } => asked.push(step),
                    Output::Build { id, .. } => {
                        inputs.push(Input::Built { id, body: Bytes::from_static(b"weights") });
                    }
                    Output::Install { proposal, .. } => {
                        inputs.push(Input::Written { id: proposal.id, ok: true });
                    }
                    _ => {}
                }
            }
        }
        rig.now += millis(40);
    }
    assert!(asked.iter().any(|step| *step < 5), "it has asked once, at {asked:?}");
    assert!(asked.iter().any(|step| *step >= 20), "it asks again, and not only at {asked:?}");
}
