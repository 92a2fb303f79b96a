//! Orders: checked, given, and done only when what was wanted is so.

use ha_core::control::Exit;
use ha_core::control::protocol::{OpLine, Outcome, Reply, Request, Verb};
use ha_proto::Role;

use crate::desk::{Station, pair};
use crate::rig::Pair;

/// What became of an order that is not refused.
fn ended(answers: &[Reply]) -> OpLine {
    match answers {
        [Reply::Accepted(_), .., Reply::Op(line)] => line.clone(),
        other => panic!("{other:?}"),
    }
}

fn refused(answers: &[Reply]) -> (Exit, &str) {
    match answers {
        [Reply::Refused(refused)] => (refused.exit, &refused.text),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_swap_is_done_when_the_other_node_serves() {
    let mut rig = Pair::new();
    let _arbiter = rig.arbiter();
    let [first, second] = pair(&rig);
    let answers = second.order(Verb::Swap, false);
    let text = "this node is not the primary: order the swap at the other node";
    assert_eq!(refused(&answers), (Exit::Failed, text));
    let plan = first.ask(&Request::Plan { module: None, verb: Verb::Swap });
    let [Reply::Plan(plan)] = &plan[..] else { panic!("{plan:?}") };
    assert!(plan.confirm && plan.refused.is_none() && plan.away_ms.is_some());
    assert_eq!(plan.steps[1], "hand over to node1, which starts the application");
    assert_eq!(ended(&first.order(Verb::Swap, false)).outcome, Outcome::Done);
    assert!(second.host.look(|seen| seen.serving), "the other node serves when it is done");
    assert!(!first.host.look(|seen| seen.serving));
    second.is(Role::Prim);
    let again = first.ask(&Request::Op { id: 1, wait_ms: 0 });
    assert!(matches!(&again[..], [Reply::Op(line)] if line.outcome == Outcome::Done));
}

#[test]
fn an_application_is_restarted_and_a_module_stopped_and_started() {
    let mut rig = Pair::new();
    let _arbiter = rig.arbiter();
    let [first, second] = pair(&rig);
    let before = first.events.newest();
    assert_eq!(ended(&first.order(Verb::Restart, false)).outcome, Outcome::Done);
    assert!(first.events.newest() > before);
    assert_eq!(ended(&second.order(Verb::Stop, false)).outcome, Outcome::Done);
    second.is(Role::Stop);
    let text = "node0 serves and node1 cannot take over: the service would stop; --force stops it \
        all the same";
    first.watch(|status| status.blockers.iter().any(|it| it.kind == "stopped"));
    assert_eq!(refused(&first.order(Verb::Stop, false)), (Exit::Unsafe, text));
    assert_eq!(ended(&second.order(Verb::Start, false)).outcome, Outcome::Done);
    assert_eq!(second.status().here.role, Role::Second);
    assert_eq!(ended(&second.order(Verb::Stopstart, false)).outcome, Outcome::Done);
    assert_eq!(second.status().here.role, Role::Second);
}

#[test]
fn a_lone_primary_is_stopped_only_by_force() {
    let rig = Pair::new();
    let mut raw = rig.raw(0, 0);
    raw.bootstrap = false;
    let station = Station::run(&rig, raw);
    let waiting = station.watch(|status| status.here.role == Role::Wait);
    assert_eq!(waiting.down.map(|down| down.mover).as_deref(), Some("operator"));
    assert_eq!(ended(&station.order(Verb::Prim, false)).outcome, Outcome::Done);
    assert_eq!(station.status().here.role, Role::Alone);
    assert_eq!(refused(&station.order(Verb::Stop, false)).0, Exit::Unsafe);
    assert_eq!(ended(&station.order(Verb::Stop, true)).outcome, Outcome::Done);
    assert_eq!(station.status().verdict, "DOWN");
    let slow = station.ask(&Request::Order {
        module: None,
        verb: Verb::Restart,
        force: false,
        wait_ms: 50,
    });
    assert_eq!(ended(&slow).outcome, Outcome::Running, "nothing runs that could serve anew");
}

#[test]
fn settings_are_seen_when_they_are_ordered() {
    let mut rig = Pair::new();
    let _arbiter = rig.arbiter();
    let [first, second] = pair(&rig);
    assert_eq!(ended(&second.order(Verb::Failover { on: false }, false)).outcome, Outcome::Done);
    assert_eq!(second.status().blockers[0].kind, "failover_off");
    first.watch(|status| status.blockers.first().is_some_and(|it| it.kind == "failover_off"));
    assert_eq!(ended(&second.order(Verb::Failover { on: true }, false)).outcome, Outcome::Done);
    first.watch(|status| status.verdict == "PROTECTED");
    let hours = Verb::Maintenance { for_ms: Some(7_200_000) };
    assert_eq!(ended(&first.order(hours, false)).outcome, Outcome::Done);
    assert_eq!(first.status().maintenance_ms, Some(7_200_000));
    assert_eq!(first.status().blockers[0].kind, "maintenance");
    ended(&first.order(Verb::Maintenance { for_ms: None }, false));
    ended(&first.order(Verb::Checkers { on: false }, false));
    let status = first.status();
    assert_eq!((&*status.verdict, status.checkers_act), ("PROTECTED", false));
    assert_eq!(status.notes[0].kind, "checkers");
}
