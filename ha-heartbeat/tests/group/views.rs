//! F1 to F4: which views are installed, what is taken in them, to which a member yields, and who
//! proposes the next one.

use bytes::Bytes;
use ha_heartbeat::group::{Cause, Config, Input, Output, Said, State};
use ha_proto::NodeSet;

use crate::rig::{Rig, at, blank, boot, config, id, millis, node, part, proposal, set, words};

#[test]
fn a_member_lets_go_then_speaks_then_takes() {
    let mut rig = Rig::linked(3);
    let view = proposal(1, 1, &[0, 1, 2]);
    let said = words(&rig.propose(1, &view));
    let first = ["check 1.1", "install 1.1", "in view 1.1", "beat Takes", "lease"];
    assert_eq!(said, first, "F1, F5: the lease is written after the beat");
    assert_eq!(rig.group.waits_for(), set(&[1, 2]), "F2: neither has said that it is there");
    assert_eq!(words(&rig.say(1, &at(&view, State::Takes, 3))), [""; 0]);
    assert_eq!(words(&rig.say(2, &at(&view, State::Nothing, 3))), ["take 1.1"]);
    assert_eq!(rig.group.waits_for(), NodeSet::EMPTY);
    // What it takes already it keeps in the next view.
    let next = proposal(2, 1, &[0, 1, 2]);
    let said = words(&rig.propose(1, &next));
    assert_eq!(said[1], "install 2.1, keep");
}

#[test]
fn a_member_waits_for_each_that_it_is_linked_to() {
    let view = proposal(5, 1, &[0, 1]);
    let lower = at(&proposal(4, 2, &[2]), State::Nothing, 3);
    let higher = at(&proposal(6, 2, &[2]), State::Nothing, 3);
    let cases: [(&str, Said, bool); 5] = [
        ("at a lower view it may still take", lower, false),
        ("in no view it has promised nothing", blank(3), false),
        ("it takes at a higher one", Said { state: State::Takes, ..higher }, false),
        ("it takes nothing at a higher one", higher, true),
        ("it is at the same one", at(&view, State::Nothing, 3), true),
    ];
    for (why, third, takes) in cases {
        let mut rig = Rig::linked(3);
        rig.say(2, &third);
        rig.propose(1, &view);
        rig.say(1, &at(&view, State::Takes, 3));
        assert_eq!(rig.group.view().unwrap().id, view.id, "it installs the view");
        assert_eq!(rig.group.is_full(), takes, "F2: {why}");
    }
}

#[test]
fn a_later_word_takes_the_place_of_an_earlier_one() {
    let view = proposal(5, 1, &[0, 1]);
    let promise = at(&proposal(6, 2, &[2]), State::Nothing, 3);
    let mut rig = Rig::linked(3);
    rig.say(2, &promise);
    rig.propose(1, &view);
    // F2: "has said, last".
    rig.say(2, &Said { state: State::Takes, ..promise });
    rig.say(1, &at(&view, State::Takes, 3));
    assert!(!rig.group.is_full(), "what it said before does not hold any more");
}

#[test]
fn a_member_that_is_heard_and_not_linked_is_waited_for_until_it_is_silent() {
    let mut rig = Rig::linked(3);
    let view = proposal(1, 1, &[0, 1, 2]);
    rig.propose(1, &view);
    rig.say(1, &at(&view, State::Takes, 3));
    let deaf = Said { hears: set(&[1, 2]), ..at(&view, State::Takes, 3) };
    rig.say(2, &deaf);
    assert_eq!(rig.group.waits_for(), set(&[2]), "F2: it is neither linked nor silent");
    let without = proposal(2, 1, &[0, 1]);
    rig.say(1, &at(&without, State::Takes, 3));
    rig.propose(1, &without);
    assert_eq!(rig.group.view().unwrap().id, id(2, 1), "a subset of its own view");
    assert!(rig.group.is_full(), "who is no member and not linked is not waited for");
}

#[test]
fn a_member_installs_only_what_f1_lets_it() {
    let whole = proposal(3, 1, &[0, 1, 2]);
    let mut wrong_boot = proposal(4, 1, &[0, 1, 2]);
    wrong_boot.members.insert(node(2), boot(9));
    let mut not_me = proposal(4, 1, &[0, 1, 2]);
    not_me.members.insert(node(0), boot(9));
    let cases = [
        ("a lower id than its own", proposal(2, 2, &[0, 1, 2]), false),
        ("its own id", proposal(3, 1, &[0, 1, 2]), false),
        ("a higher one", proposal(4, 1, &[0, 1, 2]), true),
        ("of another coordinator", proposal(3, 2, &[0, 1, 2]), true),
        ("a subset", proposal(4, 1, &[0, 1]), true),
        ("a subset without it", proposal(4, 1, &[1, 2]), true),
        ("a member that it is not linked to", proposal(4, 1, &[0, 1, 2, 3]), false),
        ("worse, and no subset, while its own is whole", proposal(4, 1, &[1, 3]), false),
        ("a member in another boot", wrong_boot, false),
        ("itself in another boot", not_me, false),
    ];
    for (why, view, installs) in cases {
        let mut rig = Rig::linked(4);
        // Node 3 does not hear this node: they are not linked.
        rig.say(3, &Said { hears: set(&[1, 2]), ..blank(4) });
        let three = Said { hears: set(&[0, 1, 2, 3]), ..at(&whole, State::Takes, 4) };
        rig.propose(1, &whole);
        rig.say(1, &three);
        rig.say(2, &three);
        assert_eq!(rig.group.stands_by(), None, "{:?}", rig.group);
        let sender = view.id.coordinator.as_u8();
        rig.propose(sender, &view);
        let expected = if installs { &view } else { &whole };
        assert_eq!(rig.group.view(), Some(expected), "F1: {why}");
    }
}

#[test]
fn a_view_of_worse_rank_is_installed_once_its_own_is_not_whole() {
    let mut rig = Rig::taking(3);
    let own = at(&proposal(1, 1, &[0, 1, 2]), State::Takes, 3);
    let other = proposal(5, 2, &[0, 2]);
    // Node 1 is elsewhere: its own view is not whole any more.
    rig.say(1, &at(&proposal(4, 1, &[1]), State::Takes, 3));
    rig.say(2, &own);
    rig.propose(2, &other);
    assert_eq!(rig.group.view().unwrap().id, id(5, 2));
}

/// Its maker may have stood by since, and by that have let this node take by a view of which it did
/// not know (F2): what moved by that would be forgotten (F7).
#[test]
fn a_view_that_is_not_said_any_more_is_not_installed() {
    let (own, worse) = (proposal(1, 1, &[0, 1]), proposal(5, 2, &[0, 2]));
    for (waits, installs) in [(90, true), (210, false)] {
        let mut rig = Rig::linked(3);
        // 1 and 2 do not hear each other.
        let deaf = |said: Said| Said { hears: set(&[0]), ..said };
        rig.say(1, &deaf(blank(3)));
        rig.say(2, &deaf(blank(3)));
        rig.propose(1, &own);
        rig.say(1, &deaf(at(&own, State::Takes, 3)));
        rig.propose(2, &worse);
        assert_eq!(rig.group.view(), Some(&own), "it is whole, and of better rank");
        rig.pass(millis(waits));
        rig.say(2, &deaf(at(&worse, State::Nothing, 3)));
        assert_eq!(rig.group.view(), Some(&own), "and still is");
        rig.say(1, &deaf(at(&proposal(4, 1, &[1]), State::Takes, 3)));
        let there = rig.group.view() == Some(&worse);
        assert_eq!(there, installs, "1 is elsewhere, {waits} ms later");
    }
}

#[test]
fn who_is_left_out_lets_go_and_promises() {
    let mut rig = Rig::taking(3);
    let without = proposal(2, 1, &[1, 2]);
    let said = words(&rig.propose(1, &without));
    assert_eq!(said[..3], ["shut LeftOut", "out of view 2.1", "beat Waits"]);
    assert_eq!(rig.propose(1, &proposal(1, 2, &[0, 1, 2])), [], "nothing below it");
    let back = proposal(3, 1, &[0, 1, 2]);
    let said = words(&rig.propose(1, &back));
    assert!(said.contains(&"install 3.1".to_owned()), "it keeps nothing: {said:?}");
}

#[test]
fn a_member_yields_to_a_better_view_that_was_never_its_own() {
    let mut rig = Rig::linked(4);
    let small = proposal(1, 1, &[0, 1]);
    rig.propose(1, &small);
    rig.say(1, &at(&small, State::Takes, 4));
    rig.say(2, &at(&small, State::Nothing, 4));
    rig.say(3, &at(&small, State::Nothing, 4));
    assert!(rig.group.is_full());
    // F3 (a): three take in another view.
    let large = at(&proposal(9, 2, &[1, 2, 3]), State::Takes, 4);
    let said = words(&rig.say(2, &large));
    assert_eq!(said[0], format!("shut {:?}", Cause::Yields(id(9, 2))));
    assert_eq!(rig.group.view().unwrap().id, id(1, 1), "it says so at its own id");
    // A promise: it does not open by itself while that view is there.
    let said = words(&rig.say(2, &large));
    assert!(!said.iter().any(|word| word == "lease" || word.starts_with("build")), "{said:?}");
}

#[test]
fn a_member_does_not_yield_to_a_view_that_was_its_own() {
    let mut rig = Rig::taking(3);
    let (first, second) = (proposal(1, 1, &[0, 1, 2]), proposal(2, 1, &[0, 1]));
    rig.propose(1, &second);
    rig.say(1, &at(&second, State::Takes, 3));
    // Node 2 is still in the first view, which is better and has this node as a member.
    rig.say(2, &at(&first, State::Takes, 3));
    assert_eq!(rig.group.stands_by(), None, "it left that view for this one");
}

#[test]
fn a_member_yields_to_a_whole_view_without_it_when_its_own_is_not() {
    let mut rig = Rig::taking(3);
    let own = at(&proposal(1, 1, &[0, 1, 2]), State::Takes, 3);
    let pair = proposal(2, 2, &[1, 2]);
    // F3 (b): worse than three, but whole once both are there, and its own is not any more.
    assert_eq!(words(&rig.say(1, &own)), [""; 0]);
    rig.say(1, &at(&pair, State::Takes, 3));
    let said = words(&rig.say(2, &at(&pair, State::Takes, 3)));
    let yields = Some(Cause::Yields(pair.id));
    assert_eq!(rig.group.stands_by(), yields, "{said:?}");
}

#[test]
fn the_lowest_of_the_best_clique_proposes() {
    let mut rig = Rig::linked(3);
    let said = words(&rig.go_on(millis(400), &blank(3)));
    let first = said.iter().position(|word| word.starts_with("build")).unwrap();
    let all = ["build 1.0", "propose 1.0 to 1", "propose 1.0 to 2", "install 1.0", "in view 1.0"];
    let after: Vec<_> = said[first..].iter().filter(|word| !word.starts_with("beat")).collect();
    assert_eq!(after[..5], all);
    // While a better view is in force next to it, it proposes none against it.
    let mut rig = Rig::linked(4);
    let apart = proposal(9, 1, &[1, 2, 3]);
    let takes = at(&apart, State::Takes, 4);
    let mut said = Vec::new();
    for _ in 0..12 {
        // It is linked to node 1 only: the pair of them would be worse.
        said.extend(rig.say(1, &takes));
        rig.say(2, &Said { hears: set(&[1, 3]), ..takes });
        rig.say(3, &Said { hears: set(&[1, 2]), ..takes });
        said.extend(rig.pass(millis(50)));
    }
    let said = words(&said);
    assert!(!said.iter().any(|word| word.starts_with("build")), "F4: {said:?}");
}

#[test]
fn a_view_is_made_once_an_interval_but_at_once_for_a_silence() {
    let mut rig = Rig::linked(3);
    rig.go_on(millis(300), &blank(3));
    let view = rig.group.view().unwrap().clone();
    rig.all_say(&at(&view, State::Takes, 3));
    let began = rig.now;
    // F4: weights change and change.
    rig.tell(Input::Wanted(true));
    let mut made = 0;
    while rig.now < began + millis(1_000) {
        let said = rig.pass(millis(10));
        made += said.iter().filter(|said| matches!(said, Output::Build { .. })).count();
        let view = rig.group.view().unwrap().clone();
        rig.all_say(&at(&view, State::Takes, 3));
    }
    assert!((8..=10).contains(&made), "{made} views in ten intervals");
    rig.tell(Input::Wanted(false));
    // Node 2 falls silent; the others see it 10 ms after they made a view.
    let last = rig.now;
    while rig.now < last + millis(290) {
        let view = rig.group.view().unwrap().clone();
        rig.say(1, &at(&view, State::Takes, 3));
        rig.pass(millis(1));
    }
    let before = rig.group.view().unwrap().id;
    rig.tell(Input::Wanted(true));
    rig.tell(Input::Wanted(false));
    let view = rig.group.view().unwrap().clone();
    assert!(view.id > before, "an interval has passed since the last view");
    rig.say(1, &at(&view, State::Takes, 3));
    rig.pass(millis(10));
    assert_eq!(rig.group.view().unwrap().set(), set(&[0, 1]), "D after the last beat, not D + i");
}

/// F4, F7: 2 passes on a view that leaves 0 out, and has not said yet that it takes in it. Whom 0
/// did not hear before is no silence: at once, 0 would go on from what 2 took before.
#[test]
fn who_follows_a_view_goes_on_from_it_an_interval_later() {
    let mut rig = Rig::new(3);
    rig.tell(Input::Tick);
    rig.tell(Input::Able(true));
    let (before, view) = (proposal(3, 2, &[2]), proposal(5, 1, &[1, 2]));
    // 1 and 2 hear each other; 0 hears 2 only.
    for _ in 0..13 {
        rig.say(2, &at(&before, State::Takes, 3));
        rig.pass(millis(30));
    }
    rig.propose(2, &view);
    assert_eq!(rig.group.view(), Some(&view), "it follows, and may propose in 10 ms");
    let said = words(&rig.pass(millis(50)));
    assert!(!said.iter().any(|word| word.starts_with("build")), "from 3.2: {said:?}");
    rig.say(2, &at(&view, State::Takes, 3));
    let said = rig.pass(millis(50));
    let base = said.iter().find_map(|said| match said {
        Output::Build { base, .. } => Some(*base),
        _ => None,
    });
    assert_eq!(base, Some(Some(view.id)), "an interval after it followed: {said:?}");
}

#[test]
fn who_follows_a_view_goes_on_at_once_when_one_that_it_heard_falls_silent() {
    let mut rig = Rig::new(3);
    rig.tell(Input::Tick);
    rig.tell(Input::Able(true));
    let view = proposal(5, 1, &[1, 2]);
    let pass = |rig: &mut Rig, steps: u32, both: bool| {
        for _ in 0..steps {
            if both {
                rig.say(1, &blank(3));
            }
            rig.say(2, &blank(3));
            rig.pass(millis(30));
        }
    };
    pass(&mut rig, 5, true);
    pass(&mut rig, 8, false);
    rig.propose(2, &view);
    assert_eq!(rig.group.view(), Some(&view), "it follows, 270 ms after the last beat of 1");
    let said = words(&rig.pass(millis(40)));
    assert!(said.contains(&"build 6.0".into()), "D after that beat: {said:?}");
}

#[test]
fn a_proposal_is_said_again_each_five_milliseconds_to_who_does_not_name_it() {
    let mut rig = Rig::linked(3);
    while rig.group.view().is_none() {
        rig.go_on(millis(50), &blank(3));
    }
    let view = rig.group.view().unwrap().clone();
    rig.say(1, &at(&view, State::Takes, 3));
    let said = words(&rig.pass(millis(12)));
    assert!(said.iter().filter(|word| *word == "propose 1.0 to 2").count() >= 2, "{said:?}");
    assert!(!said.contains(&"propose 1.0 to 1".to_owned()), "it named it: {said:?}");
    rig.say(2, &at(&view, State::Takes, 3));
    let said = words(&rig.pass(millis(12)));
    assert!(!said.iter().any(|word| word.starts_with("propose")), "all have named it");
}

#[test]
fn a_beat_with_a_lower_id_is_answered_by_ones_own_view() {
    let mut rig = Rig::taking(3);
    let own = proposal(1, 1, &[0, 1, 2]);
    // Node 2 has lost it, and does not hear its coordinator.
    let lost = Said { hears: set(&[0]), ..blank(3) };
    assert_eq!(words(&rig.say(2, &lost)), ["propose 1.1 to 2"]);
    let said = words(&rig.say(2, &blank(3)));
    assert_eq!(said, [""; 0], "the coordinator itself answers");
    assert_eq!(words(&rig.say(2, &at(&own, State::Takes, 3))), [""; 0]);
}

#[test]
fn tables_that_are_not_known_are_pulled_in_parts() {
    let mut rig = Rig::linked(3);
    let view = proposal(1, 1, &[0, 1, 2]);
    let mut out = ha_proto::Outbox::new(2_048);
    let mut tell = |rig: &mut Rig, input| {
        ha_proto::Machine::handle(&mut rig.group, rig.now, input, &mut out);
        let mut said = Vec::new();
        while let Some(output) = out.pop() {
            said.push(output);
        }
        words(&said)
    };
    let offer = Input::Propose { from: node(1), part: part(1, &view) };
    assert_eq!(tell(&mut rig, offer), ["check 1.1"]);
    let unknown = Input::Checked { id: view.id, known: false };
    assert_eq!(tell(&mut rig, unknown), ["pull 0+1 from 1"]);
    let table = |part| Input::Part {
        from: node(1),
        part: ha_heartbeat::group::Part {
            boot: boot(1),
            id: view.id,
            part,
            parts: 18,
            bytes: bytes::Bytes::from(vec![part as u8 + 1]),
        },
    };
    assert_eq!(tell(&mut rig, table(0)), ["pull 1+16 from 1"]);
    for part in (1..17).filter(|part| *part != 5) {
        let said = tell(&mut rig, table(part));
        assert_eq!(said, [""; 0], "part {part}: the rest is on its way");
    }
    rig.now += millis(5);
    assert_eq!(tell(&mut rig, Input::Tick), ["pull 5+13 from 1"], "5 was lost");
    assert_eq!(tell(&mut rig, table(17)), [""; 0]);
    assert_eq!(tell(&mut rig, table(5)), ["18 parts of 1.1", "check 1.1"]);
    let known = Input::Checked { id: view.id, known: true };
    assert_eq!(tell(&mut rig, known), ["install 1.1"]);
}

#[test]
fn who_does_not_agree_is_told_of_once_and_left_out() {
    let mut rig = Rig::linked(3);
    let other = Said { accord: 4, next: 4, ..blank(3) };
    let mut told = Vec::new();
    for _ in 0..16 {
        told.extend(rig.say(2, &other));
        let view = rig.group.view().cloned();
        let said = view.map_or(blank(3), |view| at(&view, State::Takes, 3));
        told.extend(rig.say(1, &said));
        told.extend(rig.pass(millis(50)));
    }
    let disagrees = words(&told).iter().filter(|word| *word == "disagrees 2").count();
    assert_eq!(disagrees, 1);
    assert_eq!(rig.group.view().unwrap().set(), set(&[0, 1]), "the farm goes on");
}

#[test]
fn a_view_of_the_future_is_not_believed() {
    let mut rig = Rig::taking(3);
    let far = at(&proposal(1 << 40, 2, &[2]), State::Takes, 3);
    assert_eq!(words(&rig.say(2, &far)), ["future 2"]);
    assert_eq!(words(&rig.say(2, &far)), [""; 0], "told once");
    assert_eq!(rig.group.peer(node(2)).unwrap().said.unwrap().highest, 1);
    assert_eq!(rig.propose(2, &proposal(1 << 40, 2, &[0, 1, 2])), []);
}

#[test]
fn a_member_of_two_cliques_goes_on_with_the_better_one() {
    let mut rig = Rig::linked(3);
    let (better, worse) = (proposal(5, 1, &[0, 1]), proposal(5, 2, &[0, 2]));
    // Their coordinators do not hear each other.
    rig.say(1, &Said { hears: set(&[0]), ..at(&better, State::Takes, 3) });
    rig.say(2, &Said { hears: set(&[0]), ..at(&worse, State::Takes, 3) });
    rig.propose(2, &worse);
    assert_eq!(rig.group.view(), None, "F3 would take away at once what it gives");
    rig.propose(1, &better);
    assert_eq!(rig.group.view().map(|view| view.id), Some(id(5, 1)), "its id is the lower one");
}

/// FG1. 0 takes in view 1 and missed view 2, in which 3 takes. View 3, without 3, has the worse rank,
/// and F3 takes away what it gives: but what it gives to others 0 must not take for ever.
#[test]
fn who_takes_in_an_old_view_lets_go_though_a_better_one_is_in_its_way() {
    let mut rig = Rig::taking(4);
    let (missed, next) = (proposal(2, 1, &[0, 1, 2, 3]), proposal(3, 1, &[0, 1, 2]));
    rig.say(3, &at(&missed, State::Takes, 4));
    for from in [1, 2] {
        rig.say(from, &at(&next, State::Takes, 4));
    }
    // Between two beats.
    rig.pass(millis(30));
    rig.propose(1, &next);
    let said = words(&rig.pass(millis(99)));
    assert_eq!(rig.group.view().map(|view| view.id), Some(id(1, 1)), "3 may be on its way");
    assert!(!said.iter().any(|word| word.starts_with("shut")), "{said:?}: FG4");
    let said = words(&rig.pass(millis(2)));
    assert!(said.contains(&"install 3.1, keep".into()), "{said:?}: F1");
    assert_eq!(rig.group.stands_by(), Some(Cause::Yields(missed.id)), "{said:?}: F3");
    let promised = rig.group.view().map(|view| view.id);
    assert_eq!(promised, Some(next.id), "the others wait for it no more (F2)");
}

/// FG4. The same, and 3 follows: nothing was to be taken away.
#[test]
fn who_takes_waits_for_the_others_to_leave_a_better_view() {
    let mut rig = Rig::taking(4);
    let (missed, next) = (proposal(2, 1, &[0, 1, 2, 3]), proposal(3, 1, &[0, 1, 2]));
    rig.say(3, &at(&missed, State::Takes, 4));
    let mut said = words(&rig.propose(1, &next));
    rig.pass(millis(50));
    said.extend(words(&rig.say(3, &at(&next, State::Nothing, 4))));
    assert!(said.contains(&"install 3.1, keep".into()), "{said:?}");
    assert_eq!(rig.group.stands_by(), None, "{said:?}");
}

/// F3. Who takes nothing meanwhile would only go to and fro.
#[test]
fn who_is_behind_and_takes_no_more_does_not_let_go_twice() {
    let mut rig = Rig::taking(4);
    let (missed, next) = (proposal(2, 1, &[0, 1, 2, 3]), proposal(3, 1, &[0, 1, 2]));
    rig.say(3, &at(&missed, State::Takes, 4));
    rig.propose(1, &next);
    rig.tell(Input::Able(false));
    rig.tell(Input::Able(true));
    rig.pass(millis(150));
    rig.propose(1, &next);
    assert_eq!(rig.group.view().map(|view| view.id), Some(id(1, 1)), "3 takes in the better one");
}

/// While a view is held back, the better one's may come, by the lower id.
#[test]
fn who_takes_and_is_offered_two_views_goes_on_with_the_better_one() {
    let mut rig = Rig::taking(4);
    let (missed, next) = (proposal(2, 1, &[0, 1, 2, 3]), proposal(3, 1, &[0, 1, 2]));
    rig.say(3, &at(&missed, State::Takes, 4));
    rig.propose(1, &next);
    let said = words(&rig.propose(1, &missed));
    assert!(said.contains(&"install 2.1, keep".into()), "{said:?}");
    let said = words(&rig.propose(1, &next));
    assert!(
        said.contains(&"install 3.1, keep".into()),
        "{said:?}: what was its own is no stranger"
    );
    assert_eq!(rig.group.stands_by(), None);
}

/// Each time that it falls behind it waits for the others anew.
#[test]
fn who_caught_up_may_fall_behind_again() {
    let mut rig = Rig::taking(4);
    for counter in [2, 5] {
        let (missed, next) =
            (proposal(counter, 1, &[0, 1, 2, 3]), proposal(counter + 1, 1, &[0, 1, 2]));
        rig.say(3, &at(&missed, State::Takes, 4));
        rig.propose(1, &next);
        let said = words(&rig.pass(millis(60)));
        assert!(!said.iter().any(|word| word.starts_with("install")), "{said:?}: 3 may follow");
        rig.all_say(&at(&next, State::Nothing, 4));
        assert_eq!(rig.group.view().map(|view| view.id), Some(next.id), "3 followed");
        let back = proposal(counter + 2, 1, &[0, 1, 2, 3]);
        rig.propose(1, &back);
        rig.all_say(&at(&back, State::Takes, 4));
        assert!(rig.group.is_full(), "3 is back");
    }
}

#[test]
fn who_is_behind_is_told_by_a_member_that_hears_it() {
    let mut rig = Rig::linked(3);
    let view = proposal(1, 1, &[0, 1]);
    rig.propose(1, &view);
    // The coordinator is heard by node 2, and does not hear it.
    rig.say(1, &Said { hears: set(&[0]), ..at(&view, State::Takes, 3) });
    let said = words(&rig.say(2, &blank(3)));
    assert!(said.contains(&"propose 1.1 to 2".into()), "nobody else can tell it: {said:?}");
}

/// Else the members would wait for its next beat before they take what moved (F2).
#[test]
fn who_is_not_in_a_view_and_deaf_to_its_coordinator_is_told_at_once() {
    let mut rig = Rig::linked(3);
    // The coordinator is heard by node 2, and does not hear it.
    rig.say(1, &Said { hears: set(&[0]), ..blank(3) });
    let said = words(&rig.propose(1, &proposal(1, 1, &[0, 1])));
    assert!(said.contains(&"propose 1.1 to 2".into()), "2 has not spoken since: {said:?}");
}

/// It would take part again once the silence of the dead one is told: its connections are to live on
/// (FG4).
#[test]
fn who_yielded_to_a_view_with_a_dead_member_is_waited_for() {
    let mut rig = Rig::linked(4);
    rig.go_on(millis(300), &blank(4));
    let before = proposal(1, 1, &[0, 1, 2, 3]);
    let view = rig.group.view().expect("it made one of all").clone();
    assert_eq!(view.set(), set(&[0, 1, 2, 3]), "all are linked");
    // 3 yielded to it from an older one, and hears 2 no more, who is dead.
    let yields = Said { hears: set(&[0, 1]), ..at(&before, State::Nothing, 4) };
    rig.say(1, &at(&view, State::Takes, 4));
    rig.say(2, &at(&view, State::Takes, 4));
    let mut said = words(&rig.say(3, &yields));
    said.extend(words(&rig.pass(millis(90))));
    said.extend(words(&rig.say(1, &at(&view, State::Takes, 4))));
    said.extend(words(&rig.say(3, &yields)));
    said.extend(words(&rig.pass(millis(60))));
    assert!(!said.iter().any(|word| word.starts_with("build")), "{said:?} leaves 3 out");
    assert_eq!(rig.group.view().map(|view| view.id), Some(view.id), "3 is still its member");
}

/// 2 takes with 0; 1 joins, which 2 does not hear yet, so that {0, 1} would go before {0, 2}: D
/// counts from when one of them tells that it hears the other, since a beat may be lost.
#[test]
fn who_joins_is_waited_for_while_it_gets_on() {
    let mut rig = Rig::linked(3);
    while rig.group.view().is_none_or(|view| view.set() != set(&[0, 2])) {
        rig.say(2, &blank(3));
        rig.pass(millis(50));
    }
    let view = rig.group.view().expect("it was just looked at").clone();
    let joins = Said { hears: set(&[0]), ..blank(3) };
    let stays = |hears: &[u8]| Said { hears: set(hears), ..at(&view, State::Takes, 3) };
    let mut go_on = |hears: &[u8], span: u64| {
        let end = rig.now + millis(span);
        while rig.now < end {
            rig.say(2, &stays(hears));
            rig.say(1, &joins);
            rig.pass(millis(25));
        }
        rig.group.view().map(|view| view.id)
    };
    assert_eq!(go_on(&[0], 200), Some(view.id), "1 and 2 may hear each other soon");
    assert_eq!(go_on(&[0, 1], 250), Some(view.id), "2 hears 1: a beat may be lost");
    assert!(go_on(&[0, 1], 150) > Some(view.id), "not for ever");
}

/// F4: nothing is proposed that nothing asks for any more.
#[test]
fn what_is_wanted_is_forgotten_when_another_one_says_something_else() {
    let mut rig = Rig::linked(2);
    rig.go_on(millis(300), &blank(2));
    let own = rig.group.view().expect("it made one of both").clone();
    let there = at(&own, State::Takes, 2);
    rig.say(1, &there);
    rig.pass(millis(50));
    // Too soon after the last one.
    rig.tell(Input::Wanted(true));
    assert_eq!(rig.group.view().map(|view| view.id), Some(own.id), "a view each interval");
    rig.now += millis(51);
    let mut beat = rig.beat(1, there);
    beat.facts = Bytes::from_static(b"it drains no more");
    let said = words(&rig.tell(Input::Beat { from: node(1), beat }));
    assert_eq!(rig.group.view().map(|view| view.id), Some(own.id), "{said:?}: its node is asked");
    rig.tell(Input::Wanted(true));
    assert!(rig.group.view().map(|view| view.id) > Some(own.id), "now it is wanted");
}

#[test]
fn who_hears_nobody_any_more_serves_nothing_in_a_view_of_its_own_either() {
    let mut rig = Rig::with(2, Config { alone: false, ..config(2) });
    rig.tell(Input::Tick);
    rig.tell(Input::Able(true));
    let unable = Said { state: State::Unable, ..blank(2) };
    rig.go_on(millis(1_000), &unable);
    assert_eq!(rig.group.stands_by(), None, "the other one cannot serve, and is there");
    rig.pass(millis(700));
    assert_eq!(rig.group.stands_by(), Some(Cause::Isolated), "isolated = nothing");
}
