//! What is seen at the socket.

use ha_core::control::protocol::{EventLine, Reply, Request};
use ha_core::control::{Client, Exit};
use ha_proto::Role;

use crate::desk::{PATIENCE, Station, pair};
use crate::rig::Pair;

#[test]
fn both_nodes_of_a_whole_pair_say_the_same_of_it() {
    let mut rig = Pair::new();
    let _arbiter = rig.arbiter();
    let [first, second] = pair(&rig);
    let (here, there) = (first.status(), second.status());
    assert_eq!((here.verdict.as_str(), there.verdict.as_str()), ("PROTECTED", "PROTECTED"));
    assert_eq!((here.here.role, there.here.role), (Role::Prim, Role::Second));
    assert_eq!((&*here.node, &*here.peer), ("node0", "node1"));
    assert_eq!((&here.set, &there.set), (&vec!["node0".into(), "node1".into()], &here.set));
    assert_eq!(here.explain.now, "node0 serves, and the other node could take over");
    assert!(here.links.iter().all(|link| link.up && link.round_trip_us.is_some()));
    assert!(here.witness.is_some_and(|witness| witness.answers && witness.set.len() == 2));
    let other = here.there.expect("it is heard");
    assert!(other.up && other.role == Role::Second && other.able);
    assert_eq!(here.blockers, []);
}

#[test]
fn the_loss_of_a_node_is_seen_with_its_age_and_in_the_events() {
    let mut rig = Pair::new();
    let _arbiter = rig.arbiter();
    let [mut first, second] = pair(&rig);
    drop(first.running.take());
    let alone = second.watch(|status| status.here.role == Role::Alone && status.here.ready);
    assert_eq!((&*alone.verdict, &*alone.blockers[0].kind), ("UNPROTECTED", "no_peer"));
    second.watch(|status| {
        status.blockers.first().is_some_and(|it| it.since_ms.is_some_and(|age| age > 0))
    });
    let answers = second.ask(&Request::Events { module: None, since: 0, follow: false });
    let [Reply::Status(_), events @ .., Reply::Ready(next)] = &answers[..] else {
        panic!("a snapshot, events, ready: {answers:?}");
    };
    let lines: Vec<&EventLine> = events
        .iter()
        .map(|reply| match reply {
            Reply::Event(line) => line,
            other => panic!("{other:?}"),
        })
        .collect();
    let numbers: Vec<u64> = lines.iter().map(|line| line.seq).collect();
    assert!(numbers.is_sorted() && numbers.last().is_some_and(|last| last < next));
    let lost = lines.iter().find(|line| line.event == "peer_down").expect("it is told");
    assert_eq!((&*lost.text, &*lost.level), ("node0 is lost on every network", "warn"));
    let answers = second.ask(&Request::History { module: None });
    let [Reply::History(past)] = &answers[..] else { panic!("{answers:?}") };
    let past = &past["web"];
    assert_eq!((past.len(), &*past[0].cause, &past[0].at_risk), (1, "peer_lost", &None));
    assert!(past[0].decide_ms.is_some_and(|took| took > 0), "the lease has to end");
}

#[test]
fn whoever_follows_hears_what_comes() {
    let rig = Pair::new();
    let mut raw = rig.raw(0, 0);
    (raw.autostart, raw.bootstrap) = (false, false);
    let station = Station::run(&rig, raw);
    station.is(Role::Stop);
    let request = Request::Events { module: None, since: 0, follow: true };
    let mut client = Client::ask(&station.socket, &request).unwrap();
    while !matches!(client.next(Some(PATIENCE)).unwrap(), Some(Reply::Ready(_))) {}
    let forced = station.order(ha_core::control::protocol::Verb::Prim, false);
    assert!(matches!(forced[0], Reply::Accepted(1)), "{forced:?}");
    loop {
        match client.next(Some(PATIENCE)).unwrap() {
            Some(Reply::Event(line)) if line.event == "serving" => break,
            Some(Reply::Event(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    drop(station.server);
    let end = loop {
        match client.next(Some(PATIENCE)) {
            Ok(Some(Reply::Event(_))) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Ok(None)), "the daemon's end is seen: {end:?}");
}

#[test]
fn what_is_not_there_is_named() {
    let rig = Pair::new();
    let station = Station::start(&rig, 0);
    let answers = station.ask(&Request::Status { module: Some("db".into()), watch: false });
    let [Reply::Refused(refused)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((refused.exit, &*refused.text), (Exit::Usage, "no module \"db\": there are web"));
    let answers = station.ask(&Request::Op { id: 9, wait_ms: 0 });
    let [Reply::Refused(refused)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(refused.text, "no order 9 is remembered: see `ha events`");
    let answers = station.ask(&Request::Reload);
    assert!(matches!(&answers[..], [Reply::Refused(refused)] if refused.exit == Exit::Config));
    let answers = station.ask(&Request::Config);
    assert!(matches!(&answers[..], [Reply::Config(texts)] if texts.path == "/etc/toy"));
}
