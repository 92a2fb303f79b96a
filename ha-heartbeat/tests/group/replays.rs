//! What an attacker recorded of members' earlier processes, or of this one, changes nothing.

use ha_heartbeat::group::{Beat, Echo, Input, Output, State};
use ha_proto::Boot;

use crate::rig::{Rig, at, boot, id, millis, node, part, proposal, words};

/// As an earlier process of node 1 said it, to an earlier one of this node.
fn recorded(number: u64) -> Beat {
    let view = proposal(9, 1, &[1]);
    let echo = Echo { node: node(0), boot: 3, number: 12 };
    let said = at(&view, State::Takes, 3);
    Beat { boot: Boot(55), number, said, echoes: vec![echo], facts: bytes::Bytes::new() }
}

#[test]
fn a_beat_of_an_older_boot_has_no_effect() {
    let mut rig = Rig::taking(3);
    let view = proposal(1, 1, &[0, 1, 2]);
    for number in 1..30 {
        let said = rig.tell(Input::Beat { from: node(1), beat: recorded(number) });
        assert_eq!(said, [], "the beat {number} of a process that ended");
        // It is due just before this node speaks.
        let said = rig.pass(millis(100));
        let [Output::Beat(beat), Output::Lease(_)] = &said[..] else { panic!("{said:?}") };
        let echo = beat.echoes.iter().find(|echo| echo.node == node(1)).unwrap();
        assert_eq!(u64::from(echo.boot), boot(1).0, "the process that runs is echoed");
        assert_eq!(rig.all_say(&at(&view, State::Takes, 3)), []);
    }
    let peer = rig.group.peer(node(1)).unwrap();
    assert_eq!((peer.boot, peer.linked), (Some(boot(1)), true));
}

#[test]
fn a_beat_of_an_older_number_has_no_effect() {
    let mut rig = Rig::taking(3);
    let view = proposal(1, 1, &[0, 1, 2]);
    let old = rig.beat(1, at(&view, State::Nothing, 3));
    rig.all_say(&at(&view, State::Takes, 3));
    let before = rig.group.peer(node(1));
    assert_eq!(rig.tell(Input::Beat { from: node(1), beat: old }), []);
    assert_eq!(rig.group.peer(node(1)), before);
}

#[test]
fn a_proposal_of_an_older_boot_has_no_effect() {
    let mut rig = Rig::taking(3);
    let mut view = proposal(9, 1, &[0, 1, 2]);
    view.id.boot = Boot(55);
    view.members.insert(node(1), Boot(55));
    let old = ha_heartbeat::group::Part { boot: Boot(55), ..part(1, &view) };
    assert_eq!(rig.tell(Input::Propose { from: node(1), part: old }), []);
    assert_eq!(rig.group.view().unwrap().id, id(1, 1));
}

#[test]
fn a_proposal_of_this_boot_is_installed_once() {
    let mut rig = Rig::taking(3);
    let (first, second) = (proposal(1, 1, &[0, 1, 2]), proposal(2, 1, &[0, 1, 2]));
    assert!(!rig.propose(1, &second).is_empty());
    rig.all_say(&at(&second, State::Takes, 3));
    assert_eq!(rig.propose(1, &first), [], "F1: only a higher id");
    assert_eq!(rig.propose(1, &second), []);
    assert_eq!(rig.group.view().unwrap().id, id(2, 1));
}

#[test]
fn two_processes_with_one_id_are_told_of() {
    let mut rig = Rig::taking(3);
    let view = proposal(1, 1, &[0, 1, 2]);
    let mut told = Vec::new();
    for number in 1..8 {
        let mut twin = rig.beat(1, at(&view, State::Takes, 3));
        (twin.boot, twin.number) = (Boot(56), number);
        // It runs: it echoes what this node has just said.
        told.extend(rig.tell(Input::Beat { from: node(1), beat: twin }));
        told.extend(rig.all_say(&at(&view, State::Takes, 3)));
        rig.pass(millis(50));
    }
    assert_eq!(words(&told), ["twice 1"]);
}
