//! A leader and its peer.

use alloc::vec;
use core::time::Duration;

use ha_proto::{Comparison, Deadline};

use super::*;
use crate::event::{Event, PeerEvent, ReadFor, Run};
use crate::message::Commit;
use crate::{PeerView, ProposeError};

/// A serves; its log had `count` records.
fn leader(count: usize, membership: Membership) -> Log {
    let mut log = Log::new(config(A), recovered(count));
    lead(&mut log, membership);
    log
}

fn lead(log: &mut Log, membership: Membership) -> Vec<Output> {
    let lineage = log.next_lineage(membership.epoch);
    say(log, 0, Input::Lead { membership, lineage })
}

/// The same, and B has greeted and been answered.
fn leader_of(count: usize, membership: Membership, hello: &Hello) -> Log {
    let mut log = leader(count, membership);
    say(&mut log, 0, Input::Connected);
    say(&mut log, 0, message(&Message::Hello(hello.clone())));
    told(&mut log);
    log
}

fn ack(log: &Log, durable: u64) -> Ack {
    Ack {
        state: DataState::Complete,
        epoch: log.membership.unwrap().epoch,
        store: StoreId(0xb),
        run: Run::from(log.lineage().last().unwrap()),
        received: Seq(durable),
        written: Seq(durable),
        durable: Seq(durable),
        bytes: 60 * durable,
    }
}

fn acked(log: &mut Log, ack: Ack) -> Vec<Output> {
    say(log, 0, message(&Message::Ack(ack)))
}

fn propose(log: &mut Log, count: u64) -> Vec<Output> {
    for _ in 0..count {
        log.propose(at(0), &[1; 4]).unwrap();
    }
    say(log, 0, Input::Tick)
}

/// The order of A's second reign, in answer to B's first greeting.
fn order(log: &Log, copy: bool, keep: Position) -> Message {
    let (membership, goal) = (log.membership.unwrap(), log.head().seq);
    Message::Sync(Sync { answers: 1, copy, keep, goal, membership, lineage: log.lineage().clone() })
}

#[test]
fn alone_it_commits_what_is_durable() {
    let mut log = leader(0, alone(2));
    assert_eq!(log.propose(at(5), b"one"), Ok(Seq(1)));
    assert_eq!(log.propose(at(6), b"two"), Ok(Seq(2)));
    assert_eq!(log.deadline(), Some(Deadline { at: at(6), why: "append or read" }));
    let said = say(&mut log, 6, Input::Tick);
    let [Output::Append(batch)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((batch.first, batch.last, batch.end), (Seq(1), Seq(2), log.head()));
    assert_eq!(log.deadline(), None);
    assert_eq!(
        say(&mut log, 7, durable(2)),
        [Output::Committed(Seq(2)), Output::Apply(batch.clone())]
    );
    assert_eq!(say(&mut log, 8, Input::Applied { seq: Seq(2) }), []);
    assert_eq!((log.durable(), log.committed(), log.applied()), (batch.end, Seq(2), Seq(2)));
}

#[test]
fn with_a_peer_in_the_set_it_waits_for_its_acknowledgement() {
    let mut log = leader_of(0, both(2), &greeting(0));
    let mine = ack(&log, 0);
    assert_eq!(acked(&mut log, mine), [Output::Peer(PeerEvent::CaughtUp)]);
    let said = propose(&mut log, 1);
    let [Output::Append(batch)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(told(&mut log), [frames(2, 0, batch)]);
    assert_eq!(say(&mut log, 0, durable(1)), []);
    let mine = ack(&log, 1);
    let committed = [Output::Committed(Seq(1)), Output::Apply(batch.clone())];
    assert_eq!(acked(&mut log, mine), committed);
    let commit = Commit { epoch: epoch(2), commit: Seq(1) };
    assert_eq!(told(&mut log), [Message::Commit(commit)]);
}

#[test]
fn an_acknowledgement_of_something_else_counts_for_nothing() {
    let mut log = leader_of(0, both(2), &greeting(0));
    let mine = ack(&log, 0);
    acked(&mut log, mine);
    propose(&mut log, 1);
    told(&mut log);
    say(&mut log, 0, durable(1));
    let right = ack(&log, 1);
    let run = Run { first: Seq(2), ..right.run };
    let (received, written) = (Seq(2), Seq(2));
    for wrong in [
        Ack { epoch: epoch(1), ..right },
        Ack { epoch: epoch(3), ..right },
        Ack { store: StoreId(0xc), ..right },
        Ack { run, ..right },
        Ack { received, written, durable: Seq(2), ..right },
    ] {
        assert_eq!(acked(&mut log, wrong), [], "{wrong:?}");
        assert_eq!((log.committed(), log.peer().caught_up_to), (Seq(0), Seq(0)));
    }
    assert_eq!(log.counters().ignored, 5);
}

#[test]
fn it_greets_and_orders_a_prefix_to_go_on() {
    let mut log = leader(3, both(2));
    assert_eq!(say(&mut log, 0, Input::Connected), []);
    let hello = Hello {
        leading: true,
        store: StoreId(0xa),
        membership: Some(both(2)),
        lineage: log.lineage().clone(),
        ..greeting(3)
    };
    assert_eq!(told(&mut log), [Message::Hello(hello)]);
    let said = say(&mut log, 0, message(&Message::Hello(greeting(2))));
    let read = Output::Read { what: ReadFor::Check, from: Seq(2), max: 1 };
    let hello = Output::Peer(PeerEvent::Hello {
        comparison: Comparison::Ahead,
        membership: Some(both(1)),
        lineage: first_reign(),
        position: head(2),
        store: StoreId(0xb),
        state: DataState::Complete,
        leading: false,
    });
    assert_eq!(said, [hello, read]);
    assert_eq!(told(&mut log), []);
    let read = |batch| Input::Read { what: ReadFor::Check, from: Seq(2), batch };
    assert_eq!(say(&mut log, 0, read(batch(2, 3).bytes)), []);
    assert_eq!(told(&mut log), [order(&log, false, head(2))]);
}

#[test]
fn what_memory_has_forgotten_is_read_and_sent() {
    let mut log = leader_of(3, both(2), &greeting(3));
    say(&mut log, 0, message(&Message::Hello(Hello { number: 2, ..greeting(0) })));
    told(&mut log);
    let mine = ack(&log, 0);
    let read = Output::Read { what: ReadFor::Peer, from: Seq(1), max: 256 << 10 };
    assert_eq!(acked(&mut log, mine), [read]);
    let commit = Commit { epoch: epoch(2), commit: Seq(3) };
    assert_eq!(told(&mut log), [Message::Commit(commit)]);
    let read = |from, batch: Batch| Input::Read { what: ReadFor::Peer, from, batch: batch.bytes };
    let more = Output::Read { what: ReadFor::Peer, from: Seq(3), max: 256 << 10 };
    assert_eq!(say(&mut log, 0, read(Seq(1), batch(1, 2))), [more]);
    assert_eq!(told(&mut log), [frames(2, 3, &batch(1, 2))]);
    assert_eq!(say(&mut log, 0, read(Seq(3), batch(3, 3))), []);
    assert_eq!(told(&mut log), [frames(2, 3, &batch(3, 3))]);
    let mine = ack(&log, 3);
    assert_eq!(acked(&mut log, mine), [Output::Peer(PeerEvent::CaughtUp)]);
}

#[test]
fn what_cannot_be_read_is_not_sent() {
    let mut log = leader_of(3, alone(2), &greeting(0));
    let mine = ack(&log, 0);
    acked(&mut log, mine);
    let what = ReadFor::Peer;
    let read = Input::Read { what, from: Seq(1), batch: Bytes::from_static(&[0; 100]) };
    let said = say(&mut log, 0, read);
    assert_eq!(said, [Output::Event(Event::Unreadable { what, from: Seq(1) })]);
    assert_eq!(told(&mut log), []);
    assert!(log.propose(at(0), b"still serving").is_ok());
}

#[test]
fn a_blank_member_is_copied_to_only_once_it_is_excluded() {
    let blank = Hello { state: DataState::Blank, membership: None, ..greeting(0) };
    let mut log = leader(1, both(2));
    say(&mut log, 0, Input::Connected);
    let said = say(&mut log, 0, message(&Message::Hello(blank)));
    assert_eq!(said[1..], [Output::Peer(PeerEvent::NeedsExclusion)]);
    assert!(log.peer().needs_exclusion);
    assert_eq!(told(&mut log).len(), 1, "a greeting, and no order");
    assert_eq!(lead(&mut log, alone(3)), []);
    assert!(!log.peer().needs_exclusion);
    assert_eq!(told(&mut log).last(), Some(&order(&log, true, Position::default())));
    let target = Ack { state: DataState::Target, ..ack(&log, 0) };
    let said = acked(&mut log, target);
    assert_eq!(said, [Output::Read { what: ReadFor::Peer, from: Seq(1), max: 256 << 10 }]);
}

#[test]
fn a_peer_with_more_is_cut_to_our_end() {
    let mut log = leader_of(2, alone(2), &greeting(0));
    let more = Hello { number: 2, ..greeting(3) };
    say(&mut log, 0, message(&Message::Hello(more)));
    let Message::Sync(sync) = order(&log, true, head(2)) else { unreachable!() };
    assert_eq!(told(&mut log), [Message::Sync(Sync { answers: 2, ..sync })]);
}

#[test]
fn another_history_under_the_same_entry_is_found_by_its_chain() {
    let mut log = leader(3, alone(2));
    say(&mut log, 0, Input::Connected);
    told(&mut log);
    let position = Position { chain: Chain(1), ..head(2) };
    say(&mut log, 0, message(&Message::Hello(Hello { position, ..greeting(2) })));
    let (what, from) = (ReadFor::Check, Seq(2));
    say(&mut log, 0, Input::Read { what, from, batch: batch(2, 2).bytes });
    assert_eq!(log.peer().comparison, Some(Comparison::Diverged { common: Seq(0) }));
    assert_eq!(told(&mut log), [order(&log, true, Position::default())]);
}

#[test]
fn the_data_of_another_bootstrap_are_left_alone() {
    let mut log = leader(1, alone(2));
    say(&mut log, 0, Input::Connected);
    told(&mut log);
    let foreign = Membership { data: DataId(8), ..both(1) };
    let hello = Hello { membership: Some(foreign), ..greeting(1) };
    let said = say(&mut log, 0, message(&Message::Hello(hello)));
    assert_eq!(said[1..], [Output::Peer(PeerEvent::OtherData)]);
    assert_eq!(told(&mut log), []);
}

#[test]
fn a_rising_epoch_voids_acknowledgements_until_the_new_run_is_saved() {
    let mut log = leader_of(0, both(2), &greeting(0));
    let old = ack(&log, 0);
    acked(&mut log, old);
    propose(&mut log, 1);
    told(&mut log);
    say(&mut log, 0, durable(1));
    let old = ack(&log, 1);
    acked(&mut log, old);
    assert_eq!(log.peer().caught_up_to, Seq(1));
    assert_eq!(lead(&mut log, both(3)), []);
    assert_eq!(log.peer().caught_up_to, Seq(0));
    propose(&mut log, 1);
    say(&mut log, 0, durable(2));
    assert_eq!(acked(&mut log, old), []);
    let keep = log.lineage().last().unwrap().chain;
    let keep = Position { epoch: epoch(2), seq: Seq(1), chain: keep };
    assert_eq!(told(&mut log), [order(&log, false, keep)]);
    let new = ack(&log, 1);
    assert_eq!(acked(&mut log, new), [Output::Peer(PeerEvent::CaughtUp)]);
    assert_eq!((log.committed(), told(&mut log).len()), (Seq(1), 1));
    let new = ack(&log, 2);
    assert_eq!(acked(&mut log, new)[0], Output::Committed(Seq(2)));
}

#[test]
fn a_growing_set_takes_nothing_back_and_waits_from_then_on() {
    let mut log = leader_of(0, alone(2), &greeting(0));
    let mine = ack(&log, 0);
    acked(&mut log, mine);
    propose(&mut log, 1);
    say(&mut log, 0, durable(1));
    assert_eq!(log.committed(), Seq(1));
    let lineage = log.lineage().clone();
    assert_eq!(say(&mut log, 0, Input::Lead { membership: both(2), lineage }), []);
    told(&mut log);
    propose(&mut log, 1);
    assert_eq!(say(&mut log, 0, durable(2)), []);
    assert_eq!(log.committed(), Seq(1));
    let mine = ack(&log, 1);
    assert_eq!(acked(&mut log, mine), [Output::Peer(PeerEvent::CaughtUp)]);
}

#[test]
fn a_member_without_progress_is_reported_once() {
    let mut log = leader(0, both(2));
    propose(&mut log, 1);
    let stall = Deadline { at: at(1000), why: "the peer may have stalled" };
    assert_eq!(log.deadline(), Some(stall));
    assert_eq!(say(&mut log, 999, Input::Tick), []);
    assert_eq!(say(&mut log, 1000, Input::Tick), [Output::Peer(PeerEvent::Stalled)]);
    assert_eq!((log.deadline(), log.peer().stalled), (None, true));
    assert_eq!(say(&mut log, 5000, Input::Tick), []);
    lead(&mut log, alone(3));
    assert!(!log.peer().stalled);
}

#[test]
fn what_the_own_disk_keeps_back_is_not_held_against_the_peer() {
    let mut log = leader_of(0, both(2), &greeting(0));
    let mine = ack(&log, 0);
    acked(&mut log, mine);
    let said = propose(&mut log, 1);
    let [Output::Append(first)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(told(&mut log), [frames(2, 0, first)]);
    let mine = ack(&log, 1);
    assert_eq!(acked(&mut log, mine), [], "this node's disk has not answered");
    assert_eq!(propose(&mut log, 2), [], "they wait for the disk");
    assert_eq!(log.deadline(), Some(Deadline { at: at(1000), why: "the disk stalls" }));
    assert_eq!(say(&mut log, 999, Input::Tick), []);
    let said = say(&mut log, 1000, Input::Tick);
    let [Output::Append(second)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((second.first, second.last), (Seq(2), Seq(3)));
    assert_eq!(told(&mut log), [frames(2, 0, second)], "the peer has them, at least");
    let stall = Deadline { at: at(2000), why: "the peer may have stalled" };
    assert_eq!(log.deadline(), Some(stall), "from now on it is the peer's turn");
    let mine = ack(&log, 3);
    assert_eq!(say(&mut log, 1500, message(&Message::Ack(mine))), []);
    assert_eq!((log.deadline(), log.peer().stalled), (None, false));
    assert_eq!(say(&mut log, 9000, Input::Tick), []);
    let said = say(&mut log, 9000, durable(3));
    assert_eq!(said[0], Output::Committed(Seq(3)));
}

#[test]
fn a_peer_without_progress_is_told_from_a_disk_without_progress() {
    let mut log = leader_of(0, both(2), &greeting(0));
    let mine = ack(&log, 0);
    acked(&mut log, mine);
    propose(&mut log, 1);
    told(&mut log);
    propose(&mut log, 1);
    let said = say(&mut log, 1000, Input::Tick);
    let stalled = Output::Peer(PeerEvent::Stalled);
    assert!(matches!(&said[..], [Output::Append(_), last] if *last == stalled), "{said:?}");
}

#[test]
fn a_stopping_leader_describes_its_log_again() {
    let mut log = leader_of(0, both(2), &greeting(0));
    log.propose(at(0), b"tail").unwrap();
    let said = say(&mut log, 0, Input::Detach);
    let [Output::Append(batch)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(log.propose(at(0), b""), Err(ProposeError::NotLeader));
    assert_eq!(told(&mut log), [], "not before all of it is durable");
    say(&mut log, 0, durable(1));
    let [Message::Hello(hello)] = &told(&mut log)[..] else { panic!("no greeting") };
    assert_eq!((hello.leading, hello.position, hello.number), (false, batch.end, 2));
}

#[test]
fn a_greeting_that_was_answered_is_not_used_twice() {
    let mut log = leader_of(0, both(2), &greeting(0));
    say(&mut log, 0, Input::Detach);
    told(&mut log);
    lead(&mut log, both(3));
    let [Message::Hello(hello)] = &told(&mut log)[..] else { panic!("no greeting") };
    assert!(hello.again && hello.leading);
}

#[test]
fn two_leaders_greet_each_other_in_each_reign() {
    let mut log = leader_of(0, alone(2), &Hello { leading: true, ..greeting(0) });
    assert_eq!(log.counters().hellos, 1);
    lead(&mut log, alone(3));
    let [Message::Hello(hello)] = &told(&mut log)[..] else { panic!("no greeting") };
    assert_eq!((hello.leading, hello.membership), (true, Some(alone(3))));
}

#[test]
fn the_view_tells_where_the_peer_is() {
    let mut log = leader_of(0, both(2), &greeting(0));
    let mine = ack(&log, 0);
    acked(&mut log, mine);
    propose(&mut log, 2);
    told(&mut log);
    let mine = Ack { received: Seq(2), written: Seq(1), ..ack(&log, 0) };
    acked(&mut log, mine);
    let view = PeerView {
        connected: true,
        store: Some(StoreId(0xb)),
        state: Some(DataState::Complete),
        received: Seq(2),
        written: Seq(1),
        lag: 2,
        lacks: Some(120),
        in_flight: 17 + 120,
        comparison: Some(Comparison::Equal),
        following: true,
        ..PeerView::default()
    };
    assert_eq!(log.peer(), view);
}

#[test]
fn what_the_peer_lacks_is_known_in_bytes_from_its_first_acknowledgement_on() {
    // A has four records of 60 bytes, B the first one.
    let mut log = leader_of(4, alone(2), &greeting(1));
    let (what, from, batch) = (ReadFor::Check, Seq(1), batch(1, 1).bytes);
    say(&mut log, 0, Input::Read { what, from, batch });
    told(&mut log);
    assert_eq!(log.peer().lacks, None, "B has said nothing of bytes yet");
    let mine = ack(&log, 1);
    acked(&mut log, mine);
    assert_eq!((log.peer().lag, log.peer().lacks), (3, Some(180)));
    propose(&mut log, 1);
    assert_eq!(log.peer().lacks, Some(240), "it grows with the log");
    told(&mut log);
    let mine = Ack { durable: Seq(1), bytes: 60, ..ack(&log, 1) };
    acked(&mut log, mine);
    assert_eq!(log.peer().lacks, Some(240), "what is not durable there is lacking");
    say(&mut log, 0, Input::Disconnected);
    assert_eq!(log.peer().lacks, Some(240), "true until a greeting says otherwise");
    lead(&mut log, alone(3));
    assert_eq!(log.peer().lacks, None, "acknowledgements of another epoch do not count (R15)");
}

#[test]
fn a_peer_that_says_it_has_more_than_there_is_lacks_nothing() {
    let mut log = leader_of(2, alone(2), &greeting(2));
    let mine = Ack { bytes: u64::MAX, ..ack(&log, 2) };
    acked(&mut log, mine);
    assert_eq!(log.peer().lacks, Some(0));
}

#[test]
fn each_record_counts_from_its_proposal_until_it_is_committed() {
    let mut log = leader_of(0, both(2), &greeting(0));
    let mine = ack(&log, 0);
    acked(&mut log, mine);
    log.propose(at(10), b"one").unwrap();
    log.propose(at(10), b"two").unwrap();
    log.propose(at(14), b"three").unwrap();
    say(&mut log, 14, Input::Tick);
    told(&mut log);
    say(&mut log, 16, durable(3));
    assert_eq!(log.counters().acknowledged.count(), 0, "B is in the set and has not said so");
    let mine = ack(&log, 2);
    say(&mut log, 17, message(&Message::Ack(mine)));
    assert_eq!(log.counters().acknowledged.count(), 2);
    let mine = ack(&log, 3);
    say(&mut log, 20, message(&Message::Ack(mine)));
    let times = log.counters().acknowledged;
    assert_eq!((times.count(), times.sum()), (3, Duration::from_millis(7 + 7 + 6)));
    let upto = |millis| times.cumulative().find(|(bound, _)| bound.as_millis() == millis);
    assert_eq!(upto(5).map(|(_, count)| count), Some(0));
    assert_eq!(upto(10).map(|(_, count)| count), Some(3));
    // What a former reign left, and what this node no longer answers for, is nobody's wait.
    log.propose(at(30), b"four").unwrap();
    say(&mut log, 30, Input::Detach);
    say(&mut log, 31, durable(4));
    lead(&mut log, alone(3));
    assert_eq!((log.committed(), log.counters().acknowledged.count()), (Seq(4), 3));
}

#[test]
fn keeps_the_laws() {
    let log = Log::new(config(A), recovered(3));
    let lineage = log.clone().next_lineage(epoch(2));
    let hello = message(&Message::Hello(greeting(2)));
    let (what, from, batch) = (ReadFor::Check, Seq(2), batch(2, 2).bytes);
    let history = vec![
        Input::Lead { membership: both(2), lineage },
        Input::Connected,
        hello,
        Input::Read { what, from, batch },
        Input::Tick,
        Input::Message(Bytes::from_static(b"?")),
        Input::Disconnected,
        Input::Detach,
        Input::Failed,
        Input::Tick,
    ];
    let gap = Duration::from_millis(400);
    ha_proto::laws::check(log, || Input::Tick, history.into_iter().map(|input| (gap, input)));
}
