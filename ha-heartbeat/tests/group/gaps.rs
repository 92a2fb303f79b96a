//! F5 and F6: leases that ended, processes that did not run.

use ha_heartbeat::group::{Cause, Config, Input, State};

use crate::rig::{Rig, at, blank, boot, config, id, millis, node, proposal, words};

#[test]
fn a_node_that_starts_proposes_nothing_for_d_and_an_interval() {
    let mut rig = Rig::new(2);
    let said = words(&rig.tell(Input::Able(true)));
    assert_eq!(said, ["beat Waits"], "it takes nothing, and says that it exists");
    let said = words(&rig.pass(millis(399)));
    assert_eq!(said, ["beat Waits", "beat Waits", "beat Waits"]);
    let said = words(&rig.pass(millis(1)));
    let alone = ["build 1.0", "beat Nothing", "install 1.0", "in view 1.0", "beat Takes", "lease"];
    assert_eq!(said[..6], alone, "linked to nobody for D it serves everything");
    assert_eq!(said[6..], ["take 1.0"]);
}

#[test]
fn a_node_that_hears_nobody_and_is_to_serve_nothing_then_shuts() {
    let mut rig = Rig::with(2, Config { alone: false, ..config(2) });
    rig.tell(Input::Able(true));
    let said = words(&rig.pass(millis(1_000)));
    assert!(said.iter().all(|word| word.starts_with("beat ")), "{said:?}");
    rig.all_say(&blank(2));
    rig.pass(millis(50));
    rig.all_say(&blank(2));
    let view = proposal(1, 0, &[0, 1]);
    rig.say(1, &at(&view, State::Takes, 2));
    assert!(rig.group.is_full());
    let said = words(&rig.pass(millis(300)));
    let shut = ["unlinked 1", "shut Isolated", "beat Nothing"];
    assert_eq!(said[said.len() - 3..], shut, "F4: D after the last beat");
    assert_eq!(rig.group.stands_by(), Some(Cause::Isolated));
}

#[test]
fn an_ended_lease_is_not_extended() {
    let mut rig = Rig::taking(3);
    let ends = rig.group.lease().unwrap();
    rig.now = ends;
    let said = words(&rig.tell(Input::Tick));
    assert_eq!(said[0], "paused", "its beat was due 80 ms ago");
    assert!(!said.contains(&"lease".to_owned()), "F5: {said:?}");
    assert_eq!(rig.group.stands_by(), Some(Cause::Gap));
}

#[test]
fn a_lease_that_ended_within_the_slack_is_not_extended_either() {
    let mut rig = Rig::with(2, Config { slack: millis(250), ..config(2) });
    rig.tell(Input::Able(true));
    for _ in 0..3 {
        rig.all_say(&blank(2));
        rig.pass(millis(100));
    }
    let view = proposal(1, 1, &[0, 1]);
    rig.propose(1, &view);
    rig.all_say(&at(&view, State::Takes, 2));
    assert!(rig.group.is_full());
    rig.now = rig.group.lease().unwrap();
    let said = words(&rig.tell(Input::Tick));
    // Its own view does not open again: only a new one does, of which nothing was taken before.
    let again = ["shut Lease", "build 2.0", "beat Nothing", "propose 2.0 to 1", "install 2.0"];
    assert_eq!(said[..5], again);
    assert_eq!(said[5..], ["in view 2.0", "beat Takes", "lease"], "and not all of it is taken");
}

#[test]
fn a_pause_beyond_the_slack_shuts_and_forgets() {
    let mut rig = Rig::taking(3);
    let due = ha_proto::Machine::deadline(&rig.group).unwrap().at;
    rig.now = due + millis(75);
    assert!(!words(&rig.tell(Input::Tick)).contains(&"paused".to_owned()), "free");
    let due = ha_proto::Machine::deadline(&rig.group).unwrap().at;
    rig.now = due + millis(76);
    let said = words(&rig.tell(Input::Tick));
    assert_eq!(said, ["paused", "shut Gap", "unlinked 1", "unlinked 2", "beat Waits"]);
    // What waits in the sockets is of before the pause: it echoes nothing newer.
    let view = proposal(1, 1, &[0, 1, 2]);
    let old = rig.beat(1, at(&view, State::Takes, 3));
    let mut old = ha_heartbeat::group::Beat { number: old.number, ..old };
    old.echoes[0].number = 1;
    rig.tell(Input::Beat { from: node(1), beat: old });
    assert!(!rig.group.peer(node(1)).unwrap().heard, "F6");
}

#[test]
fn a_view_that_is_written_across_a_gap_is_not_taken_in() {
    // Alone, so that no member's silence tells that something is wrong.
    let mut rig = Rig::new(2);
    rig.tell(Input::Able(true));
    rig.writes = None;
    let said = words(&rig.pass(millis(400)));
    assert_eq!(said.last().unwrap(), "install 1.0");
    rig.now += millis(500);
    let said = words(&rig.tell(Input::Written { id: id(1, 0), ok: true }));
    assert_eq!(said, ["paused", "shut Boot", "out of view 1.0", "beat Waits"], "F6");
    assert!(rig.group.stands_by().is_some(), "others may have taken over meanwhile");
    let said = words(&rig.pass(millis(399)));
    assert!(said.iter().all(|word| word == "beat Waits"), "{said:?}");
}

#[test]
fn a_write_that_fails_shuts_and_stays_a_promise() {
    let mut rig = Rig::linked(3);
    let view = proposal(1, 1, &[0, 1, 2]);
    rig.writes = Some(false);
    let said = words(&rig.propose(1, &view));
    assert_eq!(said, ["check 1.1", "install 1.1", "shut Unable", "out of view 1.1", "beat Waits"]);
    assert_eq!(rig.group.view().unwrap().id, id(1, 1), "nothing below it is installed");
    assert_eq!(rig.group.stands_by(), Some(Cause::Unable));
    // All that it may take cannot be written: it takes nothing.
    let mut rig = Rig::linked(3);
    rig.propose(1, &view);
    rig.writes = Some(false);
    let said = words(&rig.all_say(&at(&view, State::Takes, 3)));
    assert_eq!(said, ["take 1.1", "shut Unable", "beat Waits"]);
    assert_eq!(boot(1).0, 101);
}
