//! Each thing that can be found, from facts in which it is the only one.

use alloc::string::ToString;
use alloc::vec;

use ha_heartbeat::{Margin, Resources, Status as Told};
use ha_proto::{
    DataId, DataState, Epoch, Incarnation, LinkId, Membership, NodeId, NodeSet, Position, Role,
    Seq, StoreId,
};
use ha_quorum::Vote;

use super::*;
use crate::view::{
    CopyView, LinkView, LogView, PeerView, Right, ServiceView, Stage, Wait, WitnessView,
};
use crate::{OrderError, Profile};

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn membership(holder: u8) -> Membership {
    let epoch = Epoch::new(7, node(holder));
    Membership {
        epoch,
        holder: node(holder),
        set: NodeSet::only(node(0)).with(node(1)),
        data: DataId(5),
    }
}

fn told(holder: u8, role: Role) -> Told {
    Told {
        membership: membership(holder),
        role,
        ready: true,
        state: DataState::Complete,
        store: StoreId(1),
        incarnation: Incarnation(1),
        position: Position::default(),
        asks: false,
        promise: None,
        able: true,
        broken: false,
        yields: false,
        waits: false,
        unanswered: false,
        resources: Resources::default(),
        preference: 0,
        joint: Epoch::NONE,
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Node 0 as primary (or as secondary of node 1), with nothing in the way.
fn view(primary: bool) -> View {
    let holder = u8::from(!primary);
    let (role, theirs) =
        if primary { (Role::Prim, Role::Second) } else { (Role::Second, Role::Prim) };
    let peer = PeerView {
        id: node(1),
        up: true,
        told: Some((Duration::from_millis(40), told(holder, theirs))),
        copy: ha_replicate::PeerView {
            connected: true,
            following: true,
            state: Some(DataState::Complete),
            ..ha_replicate::PeerView::default()
        },
    };
    let link = |id| LinkView { id: LinkId(id), up: true, round_trip: None, margin: None };
    View {
        me: node(0),
        vote: Vote::Arbiter,
        timing: Profile::Lan.timing(),
        uptime: seconds(900),
        role,
        ready: true,
        membership: membership(holder),
        epoch: membership(holder).epoch,
        state: DataState::Complete,
        head: Position::default(),
        durable: Position::default(),
        committed: Seq::ZERO,
        applied: Seq::ZERO,
        peer,
        links: vec![link(0), link(1)],
        witness: WitnessView {
            answering: Some(true),
            round_trip: Some(Duration::from_millis(1)),
            register: Some(membership(holder)),
            lease: None,
            held: None,
            grace: None,
            lease_differs: false,
            outside: None,
        },
        right: if primary { Right::Lease(seconds(2)) } else { Right::None },
        service: ServiceView {
            stage: if primary { Stage::Up } else { Stage::Down },
            failed: false,
            cooling: None,
        },
        log: LogView {
            bytes: 10,
            bytes_max: 100,
            unacked: 0,
            full: false,
            stalled: false,
            broken: false,
        },
        copy: None,
        bound: None,
        started: true,
        failover: true,
        yielding: false,
        blocking: 0,
        resources: Resources::default(),
        swap: if primary { Ok(()) } else { Err(OrderError::NotPrimary) },
        wait: None,
        takeover: seconds(4),
    }
}

fn names() -> Names {
    Names {
        me: "node1".into(),
        peer: "node2".into(),
        links: vec!["prod".into(), "repl".into()],
        resources: vec!["postgresql".into(), "disk".into()],
    }
}

/// The verdict, with the view and the host's facts changed.
fn judged(primary: bool, change: impl FnOnce(&mut View, &mut HostFacts)) -> Verdict {
    let (mut view, mut host, names) = (view(primary), HostFacts::default(), names());
    change(&mut view, &mut host);
    judge(&Facts { view: &view, host: &host, names: &names })
}

fn peer_says(view: &mut View) -> &mut Told {
    &mut view.peer.told.as_mut().expect("the peer was heard").1
}

/// The one blocker of a change.
fn one(primary: bool, change: impl FnOnce(&mut View, &mut HostFacts)) -> Finding {
    match judged(primary, change) {
        Verdict::Unprotected { blockers } if blockers.len() == 1 => blockers[0].clone(),
        other => panic!("{other:#?}"),
    }
}

fn down(primary: bool, change: impl FnOnce(&mut View, &mut HostFacts)) -> Down {
    match judged(primary, change) {
        Verdict::Down(down) => down,
        other @ (Verdict::Protected { .. } | Verdict::Unprotected { .. }) => panic!("{other:#?}"),
    }
}

fn said(finding: &Finding) -> (Kind, &str) {
    (finding.kind, &finding.why)
}

#[test]
fn a_pair_in_sync_is_protected_as_seen_from_both_sides() {
    let start = |_: &mut View, host: &mut HostFacts| host.start = Some(seconds(3));
    assert_eq!(judged(true, |_, _| {}), Verdict::Protected { takeover: seconds(4) });
    assert_eq!(judged(false, start), Verdict::Protected { takeover: seconds(7) });
}

#[test]
fn a_primary_names_what_is_wrong_with_its_secondary() {
    type Change = fn(&mut View, &mut HostFacts);
    let rows: [(Change, Kind, &str); 11] = [
        (|v, _| v.peer.up = false, Kind::NoPeer, "node2 is lost: silent for 40 ms"),
        (|v, _| peer_says(v).role = Role::Stop, Kind::Stopped, "the module is stopped on node2"),
        (|v, _| peer_says(v).broken = true, Kind::Storage, "the storage of node2 failed"),
        (
            |v, _| v.membership.set = NodeSet::only(node(0)),
            Kind::NotInSync,
            "node2 is not in sync yet",
        ),
        (|v, _| v.peer.copy.following = false, Kind::NotInSync, "node2 is not in sync yet"),
        (
            |v, _| (v.peer.copy.following, v.peer.copy.connected) = (false, false),
            Kind::NotInSync,
            "no replication stream to node2",
        ),
        (
            |v, _| {
                v.membership.set = NodeSet::only(node(0));
                let (done, goal) = (Seq(620), Seq(1_000));
                v.copy = Some(CopyView { to: node(1), done, goal, target: true });
            },
            Kind::NotInSync,
            "node2 copies: 62 % of 1000 records",
        ),
        (
            |v, _| {
                let register = v.witness.register.as_mut().expect("it answered");
                register.set = NodeSet::only(node(0));
            },
            Kind::NotInSync,
            "node2 is not in sync yet",
        ),
        (
            |v, _| {
                peer_says(v).resources.known = 0b11;
                peer_says(v).able = false;
                peer_says(v).able = false;
            },
            Kind::Resource,
            "down on node2: postgresql, disk",
        ),
        (
            |v, _| peer_says(v).able = false,
            Kind::Resource,
            "node2 could not run the application now",
        ),
        (
            |v, _| peer_says(v).waits = true,
            Kind::FailoverOff,
            "node2 does not take over by itself: failover is off or maintained",
        ),
    ];
    for (change, kind, why) in rows {
        assert_eq!(said(&one(true, change)), (kind, why));
    }
    let never = one(true, |view, _| (view.peer.up, view.peer.told) = (false, None));
    assert_eq!(said(&never), (Kind::NoPeer, "node2 was not heard since this daemon started"));
}

#[test]
fn a_secondary_names_what_is_wrong_with_itself() {
    type Change = fn(&mut View, &mut HostFacts);
    let rows: [(Change, Kind, &str); 9] = [
        (
            |v, _| (v.started, v.role) = (false, Role::Stop),
            Kind::Stopped,
            "the module is stopped on node1",
        ),
        (|v, _| v.log.broken = true, Kind::Storage, "the storage of node1 failed"),
        (|v, _| v.log.stalled = true, Kind::Storage, "the disk of node1 does not answer"),
        (|v, _| v.log.full = true, Kind::Storage, "the log of node1 is full: 10 of 100 bytes"),
        (|v, _| v.ready = false, Kind::NotInSync, "node1 is not in sync yet"),
        (
            |v, _| (v.role, v.wait) = (Role::Wait, Some(Wait::Connecting)),
            Kind::NotInSync,
            "node1 connects to node2",
        ),
        (|v, _| v.blocking = 2, Kind::Resource, "down on node1: disk"),
        (
            |v, _| v.service.cooling = Some(seconds(2)),
            Kind::Resource,
            "the application failed on node1",
        ),
        (
            |v, _| v.failover = false,
            Kind::FailoverOff,
            "node1 does not take over by itself: failover is off",
        ),
    ];
    for (change, kind, why) in rows {
        assert_eq!(said(&one(false, change)), (kind, why));
    }
}

#[test]
fn what_either_side_can_find_is_found_on_both() {
    type Change = fn(&mut View, &mut HostFacts);
    let rows: [(Change, Kind, &str); 7] = [
        (
            |v, _| v.witness.answering = Some(false),
            Kind::Witness,
            "the witness does not answer node1",
        ),
        (|v, _| peer_says(v).unanswered = true, Kind::Witness, "the witness does not answer node2"),
        (
            |v, _| {
                v.witness.answering = Some(false);
                peer_says(v).unanswered = true;
            },
            Kind::Witness,
            "the witness answers neither node1 nor node2",
        ),
        (
            |_, h| h.maintenance = Some(seconds(5_400)),
            Kind::Maintenance,
            "maintenance on node1 for another 90 min",
        ),
        (
            |v, _| v.vote = Vote::Manual,
            Kind::FailoverOff,
            "vote = \"manual\": nobody takes over without an operator",
        ),
        (
            |_, h| h.restarts_left = Some(0),
            Kind::Maxloop,
            "no automatic restart is left on node1 (maxloop)",
        ),
        (
            |v, _| v.witness.lease_differs = true,
            Kind::Config,
            "the witness leases for another time than node1",
        ),
    ];
    for (change, kind, why) in rows {
        for primary in [true, false] {
            let found = one(primary, change);
            assert_eq!(said(&found), (kind, why));
            assert!(!found.next.is_empty() && !found.if_dies.is_empty(), "{found:?}");
        }
    }
    let left = judged(true, |_, host| host.restarts_left = Some(1));
    assert_eq!(left.word(), Word::Protected);
}

#[test]
fn many_blockers_are_told_with_the_heaviest_first() {
    let found = judged(true, |view, host| {
        view.peer.up = false;
        view.witness.answering = Some(false);
        host.maintenance = Some(seconds(60));
        host.restarts_left = Some(0);
    });
    let kinds: Vec<Kind> = found.blockers().iter().map(|blocker| blocker.kind).collect();
    assert_eq!(kinds, [Kind::NoPeer, Kind::Witness, Kind::Maintenance, Kind::Maxloop]);
    assert!(kinds.is_sorted());
    assert_eq!(found.blockers()[0].if_dies, "no takeover (node2 is lost); the service stops");
}

#[test]
fn kinds_stand_in_the_order_of_their_weight() {
    assert!(Kind::ALL.is_sorted());
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, at, "an age would be another kind's");
    }
}

#[test]
fn notes_do_not_unprotect() {
    let (mut view, names) = (view(true), names());
    let host = HostFacts { checkers: false, config_differs: true, ..HostFacts::default() };
    view.links[1].up = false;
    view.links[0].margin =
        Some(Margin { longest_gap: Duration::from_millis(700), timeout: seconds(1) });
    view.log.full = true;
    let facts = Facts { view: &view, host: &host, names: &names };
    assert_eq!(judge(&facts).word(), Word::Protected);
    let said: Vec<_> = notes(&facts).into_iter().map(|note| (note.kind, note.why)).collect();
    let expected = [
        (Kind::Storage, "the log of node1 is full: 10 of 100 bytes"),
        (Kind::Config, "the file of the configuration is not what runs"),
        (Kind::Network, "repl is down between node1 and node2"),
        (Kind::Headroom, "beats on prod were late by up to 0.7 s of 1.0 s"),
        (Kind::Checkers, "checkers are suspended on node1"),
    ];
    assert_eq!(said, expected.map(|(kind, why)| (kind, why.to_string())));
}

/// Nobody serves: node 0 is in `WAIT` for this reason, and the peer is lost.
fn waiting(wait: Wait) -> Down {
    down(false, |view, _| {
        (view.role, view.ready, view.wait, view.peer.up) = (Role::Wait, false, Some(wait), false);
    })
}

#[test]
fn every_reason_to_wait_says_whose_move_it_is() {
    let rows = [
        (Wait::NeverInitialised, Mover::Operator, None),
        (Wait::Founding, Mover::Witness, None),
        (Wait::StorageFailed, Mover::Operator, None),
        (Wait::DiskStalled, Mover::Operator, None),
        (Wait::DiskFull, Mover::Operator, None),
        (Wait::Resources(1), Mover::Operator, None),
        (Wait::Cooling(seconds(1)), Mover::Node, Some(seconds(1))),
        (Wait::NoCommonHistory, Mover::Operator, None),
        (Wait::GivesWay, Mover::Peer, None),
        (Wait::Incomplete, Mover::Peer, None),
        (Wait::Stale, Mover::Peer, None),
        (Wait::CutOff, Mover::Operator, None),
        (Wait::Connecting, Mover::Node, None),
        (Wait::Bound(seconds(2)), Mover::Node, Some(seconds(2))),
        (Wait::FailoverOff, Mover::Operator, None),
        (Wait::Shy, Mover::Peer, None),
        (Wait::PeerUnseen, Mover::Peer, None),
        (Wait::WitnessSilent, Mover::Witness, None),
        (Wait::LeaseHeld(seconds(3)), Mover::Witness, Some(seconds(3))),
        (Wait::OnItsWay, Mover::Node, None),
    ];
    for (wait, mover, within) in rows {
        let down = waiting(wait);
        assert_eq!((down.mover, down.within), (mover, within), "{wait:?}");
        assert!(!down.why.is_empty() && !down.next.is_empty(), "{wait:?}");
    }
    assert_eq!(waiting(Wait::Resources(1)).why, "down on node1: postgresql");
    let never = waiting(Wait::NeverInitialised);
    assert_eq!(never.next, "on the node whose data count: `ha prim --keep node1` (or node2)");
}

#[test]
fn a_service_that_is_stopped_starting_or_changing_hands_is_down() {
    let stopped = down(true, |view, _| {
        (view.role, view.started, view.service.stage) = (Role::Stop, false, Stage::Down);
        peer_says(view).role = Role::Stop;
    });
    assert_eq!(stopped.why, "the module is stopped on both nodes");
    assert_eq!(stopped.mover, Mover::Operator);
    let starting = down(true, |view, _| view.service.stage = Stage::Starting);
    assert_eq!(starting.why, "node1 is starting the application");
    let failed = down(true, |view, _| {
        (view.service.stage, view.service.cooling) = (Stage::Down, Some(seconds(1)));
    });
    assert_eq!((failed.mover, failed.within), (Mover::Node, Some(seconds(1))));
    let there = down(false, |view, _| peer_says(view).ready = false);
    assert_eq!(there.mover, Mover::Peer);
    let taking = down(false, |view, _| view.peer.up = false);
    assert_eq!((taking.mover, taking.within), (Mover::Node, Some(seconds(4))));
}

#[test]
fn ages_last_as_long_as_what_they_are_of() {
    let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
    let (mut ages, mut none) = (Ages::default(), Vec::new());
    let mut blocked = judged(true, |view, _| view.peer.up = false);
    ages.stamp(at(10), &mut blocked, &mut none);
    assert_eq!(blocked.blockers()[0].since, Some(Duration::ZERO));
    ages.stamp(at(24), &mut blocked, &mut none);
    assert_eq!(blocked.blockers()[0].since, Some(seconds(14)));
    assert_eq!(ages.age(at(24)), Some(seconds(14)));
    ages.stamp(at(30), &mut judged(true, |_, _| {}), &mut none);
    assert_eq!(ages.age(at(31)), Some(seconds(1)));
    ages.stamp(at(40), &mut blocked, &mut none);
    assert_eq!(blocked.blockers()[0].since, Some(Duration::ZERO), "it was over in between");
}

fn explained(primary: bool, change: impl FnOnce(&mut View)) -> Explanation {
    let (mut view, names) = (view(primary), names());
    let (stop, start) = (Some(seconds(1)), Some(seconds(2)));
    let host = HostFacts { start, stop, ..HostFacts::default() };
    change(&mut view);
    explain(&Facts { view: &view, host: &host, names: &names })
}

#[test]
fn a_whole_pair_is_explained() {
    let carries_on = "an event; nobody stops, the other network carries on";
    let networks = ["prod", "repl"].map(|name| alloc::format!("{name}: {carries_on}"));
    let expected = Explanation {
        now: "node1 serves, and the other node could take over".into(),
        this_dies: "node2 takes over within 6.0 s".into(),
        peer_dies: "node1 goes on alone; writes wait for at most 1.3 s".into(),
        networks: networks.into(),
        witness_dies: Some("nothing stops; no takeover and no swap until it is back".into()),
        swap: "node2 takes over; the service is away for 3.0 s".into(),
    };
    assert_eq!(explained(true, |_| {}), expected);
    let mirrored = explained(false, |_| {});
    assert_eq!(mirrored.peer_dies, "node1 takes over within 6.0 s");
    assert_eq!(mirrored.this_dies, "node2 goes on alone; writes wait for at most 1.3 s");
    assert!(mirrored.swap.starts_with("refused: this node is not the primary"));
}

#[test]
fn the_last_network_means_what_the_vote_can_promise() {
    let rows = [
        (Vote::Arbiter, "prod: the last one; node1 goes on alone by the witness"),
        (Vote::None, "prod: the last one; two primaries (vote = \"none\")"),
        (Vote::Ping, "prod: the last one; two primaries if both nodes reach the outside"),
        (Vote::Manual, "prod: the last one; node1 goes on alone"),
    ];
    for (vote, said) in rows {
        let found = explained(true, |view| {
            view.vote = vote;
            view.links[1].up = false;
        });
        assert_eq!(found.networks, [said, "repl: down already"]);
        assert_eq!(found.witness_dies.is_some(), vote == Vote::Arbiter);
    }
}

#[test]
fn a_silent_witness_makes_the_loss_of_the_secondary_an_end() {
    let here = |view: &mut View| view.witness.answering = Some(false);
    let found = explained(true, here);
    assert_eq!(found.peer_dies, "node1 stops within 3.0 s: the witness does not answer either");
    assert_eq!(found.witness_dies.as_deref(), Some("it does not answer already"));
    assert_eq!(found.this_dies, "node2 takes over; if that dies instead, the service stops");
    // Whoever is told of it by the other node says the same.
    let found = explained(false, |view| peer_says(view).unanswered = true);
    assert_eq!(found.this_dies, "node2 stops within 3.0 s: the witness does not answer either");
    assert_eq!(found.peer_dies, "node1 takes over; if that dies instead, the service stops");
}

#[test]
fn a_secondary_without_the_witness_takes_nothing_over() {
    let dies = "no takeover until the witness answers node2; the service stops";
    let found = explained(true, |view| peer_says(view).unanswered = true);
    assert_eq!(found.this_dies, dies);
    assert_eq!(found.peer_dies, "node1 goes on alone; writes wait for at most 1.3 s");
    let found = explained(false, |view| view.witness.answering = Some(false));
    assert_eq!(found.peer_dies, dies.replace("node2", "node1"));
}
