//! Another process that runs with this node's id.

use bytes::Bytes;
use ha_heartbeat::group::{Beat, Cause, Echo, Input, Output, Said, State};
use ha_proto::Boot;

use crate::rig::{Rig, at, blank, boot, millis, node, proposal};

/// The beat of a process that has heard `number` of node 1.
fn twin(number: u64, of_node_1: u64, said: Said) -> Input {
    let echoes = vec![Echo { node: node(1), boot: boot(1).0 as u32, number: of_node_1 }];
    let beat = Beat { boot: Boot(99), number, said, echoes, facts: Bytes::new() };
    Input::Beat { from: node(0), beat }
}

/// What node 1 said last has this number.
fn last_of_node_1(rig: &mut Rig, said: Said) -> u64 {
    let beat = rig.beat(1, said);
    let number = beat.number;
    rig.tell(Input::Beat { from: node(1), beat });
    number
}

fn beats(said: &[Output]) -> usize {
    said.iter().filter(|output| matches!(output, Output::Beat(_))).count()
}

#[test]
fn who_hears_it_falls_silent_until_it_is_gone() {
    let mut rig = Rig::linked(3);
    let view = proposal(1, 1, &[0, 1, 2]);
    let last = last_of_node_1(&mut rig, blank(3));
    let said = rig.tell(twin(1, last, at(&view, State::Takes, 3)));
    assert!(said.contains(&Output::Twice(node(0))), "{said:?}");
    assert_eq!(rig.group.stands_by(), Some(Cause::Twice));
    for number in 2..20 {
        let last = last_of_node_1(&mut rig, blank(3));
        let mut said = rig.tell(twin(number, last, at(&view, State::Takes, 3)));
        said.extend(rig.pass(millis(100)));
        assert_eq!(beats(&said), 0, "the others would be linked to neither");
    }
    // Nobody hears it, so it hears nobody that is linked; and it is not alone.
    assert!(rig.group.view().is_none(), "it would serve everything, and so does the other one");
    // D, and up to 15 intervals by its boot.
    let said = rig.pass(millis(300 + 1_600));
    assert!(beats(&said) > 0, "the other one is gone");
}

#[test]
fn a_recording_of_it_has_no_effect() {
    let mut rig = Rig::linked(3);
    let view = proposal(1, 1, &[0, 1, 2]);
    let last = last_of_node_1(&mut rig, blank(3));
    assert!(last > 2, "node 1 has said {last}");
    let said = rig.tell(twin(1, last - 3, at(&view, State::Takes, 3)));
    assert!(said.contains(&Output::Twice(node(0))), "an operator is told all the same");
    assert!(beats(&rig.pass(millis(200))) > 0, "whoever plays it back would silence a member");
}

#[test]
fn who_takes_gives_way_only_to_one_that_takes() {
    let mut rig = Rig::taking(3);
    let view = proposal(1, 1, &[0, 1, 2]);
    let takes = at(&view, State::Takes, 3);
    for number in 1..10 {
        let last = last_of_node_1(&mut rig, takes);
        rig.tell(twin(number, last, blank(3)));
    }
    assert_eq!(rig.group.stands_by(), None, "the one that has just come waits");
    let last = last_of_node_1(&mut rig, takes);
    let said = rig.tell(twin(10, last, takes));
    assert!(said.contains(&Output::Shut(Cause::Twice)), "{said:?}");
}
