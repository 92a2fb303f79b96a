//! A follower and its leader.

use core::time::Duration;

use super::*;
use crate::batch::BatchError;
use crate::event::{Event, PeerEvent, ReadFor, Run};
use crate::message::Commit;

/// B follows A, in A's first reign, and has greeted.
fn follower(recovered: Recovered) -> Log {
    let mut log = Log::new(config(B), recovered);
    say(&mut log, 0, Input::Connected);
    assert_eq!(say(&mut log, 0, Input::Follow { membership: both(1) }), []);
    assert_eq!(told(&mut log).len(), 1);
    log
}

/// A's second reign goes on behind its record `keep`.
fn order(keep: usize, membership: Membership) -> Sync {
    let keep = head(keep);
    let lineage = lineage(&[(1, 1, Chain(0)), (2, keep.seq.0 + 1, keep.chain)]);
    Sync { answers: 1, copy: false, keep, goal: keep.seq, membership, lineage }
}

fn ordered(log: &mut Log, sync: &Sync) -> Vec<Output> {
    say(log, 0, message(&Message::Sync(sync.clone())))
}

fn save(sync: &Sync, lineage: Lineage, state: DataState) -> Output {
    Output::Save { membership: sync.membership, lineage, state }
}

fn ack(sync: &Sync, state: DataState, received: u64, durable: u64) -> Message {
    Message::Ack(Ack {
        state,
        epoch: sync.membership.epoch,
        store: StoreId(0xa),
        run: Run { epoch: epoch(2), first: sync.keep.seq.next() },
        received: Seq(received),
        written: Seq(durable),
        durable: Seq(durable),
        bytes: 60 * durable,
    })
}

/// B has 2 records and follows A's second reign.
fn synced() -> (Log, Sync) {
    let mut log = follower(recovered(2));
    let sync = order(2, both(2));
    ordered(&mut log, &sync);
    say(&mut log, 0, Input::Saved);
    told(&mut log);
    (log, sync)
}

/// The host begins again.
fn rebuild() -> Output {
    Output::Read { what: ReadFor::Apply, from: Seq(1), max: 256 << 10 }
}

/// Record 3, by the second reign.
fn third() -> Batch {
    let mut out = BytesMut::new();
    let end = Body::data(b"next").encode(epoch(2), head(2), &mut out);
    Batch { first: Seq(3), last: Seq(3), end, bytes: out.freeze() }
}

#[test]
fn it_saves_the_run_before_it_acknowledges_it() {
    let mut log = follower(recovered(2));
    let sync = order(2, both(2));
    let saved = save(&sync, sync.lineage.clone(), DataState::Complete);
    assert_eq!(ordered(&mut log, &sync), [saved]);
    assert_eq!(told(&mut log), []);
    assert_eq!(say(&mut log, 0, Input::Saved), []);
    assert_eq!(told(&mut log), [ack(&sync, DataState::Complete, 2, 2)]);
    assert_eq!((log.lineage(), log.peer().following), (&sync.lineage, true));
}

#[test]
fn frames_are_appended_as_they_are_and_acknowledged_once_durable() {
    let (mut log, sync) = synced();
    let said = say(&mut log, 0, message(&frames(2, 3, &third())));
    assert_eq!(said, [Output::Append(third())]);
    assert_eq!(told(&mut log), []);
    let said = say(&mut log, 0, durable(3));
    assert_eq!(said, [Output::Committed(Seq(3)), Output::Apply(third())]);
    assert_eq!(told(&mut log), [ack(&sync, DataState::Complete, 3, 3)]);
}

#[test]
fn what_is_written_is_acknowledged_as_no_more_than_that() {
    let (mut log, sync) = synced();
    say(&mut log, 0, message(&frames(2, 2, &third())));
    assert_eq!(say(&mut log, 0, Input::Written { seq: Seq(3) }), []);
    let Message::Ack(ack) = ack(&sync, DataState::Complete, 3, 2) else { unreachable!() };
    assert_eq!(told(&mut log), [Message::Ack(Ack { written: Seq(3), ..ack })]);
}

#[test]
fn a_commit_counts_as_far_as_the_log_is_durable() {
    let (mut log, _) = synced();
    say(&mut log, 0, message(&frames(2, 2, &third())));
    let commit = message(&Message::Commit(Commit { epoch: epoch(2), commit: Seq(9) }));
    assert_eq!(say(&mut log, 0, commit), []);
    assert_eq!(say(&mut log, 0, durable(3))[0], Output::Committed(Seq(3)));
}

#[test]
fn a_commit_of_an_older_order_counts_no_more() {
    let (mut log, _) = synced();
    let commit = message(&Message::Commit(Commit { epoch: epoch(2), commit: Seq(9) }));
    say(&mut log, 0, commit);
    ordered(&mut log, &order(2, both(2)));
    say(&mut log, 0, Input::Saved);
    say(&mut log, 0, message(&frames(2, 2, &third())));
    assert_eq!(say(&mut log, 0, durable(3)), []);
}

/// A leader reads record 3 for the peer or to check it, then follows an order that cuts behind 2;
/// says what it says to the cut and all behind it.
fn cut_while_reading(what: ReadFor) -> (Log, Sync) {
    let mut log = Log::new(config(B), Recovered { membership: None, ..recovered(3) });
    let ours = Epoch::new(1, node(B));
    let set = NodeSet::only(node(B));
    let lineage = log.next_lineage(ours);
    let membership = Membership { epoch: ours, holder: node(B), set, data: DataId(7) };
    say(&mut log, 0, Input::Lead { membership, lineage });
    say(&mut log, 0, Input::Connected);
    let count = if what == ReadFor::Check { 2 } else { 0 };
    let hello = Hello { membership: None, ..greeting(count) };
    let mut said = say(&mut log, 0, message(&Message::Hello(hello)));
    if what == ReadFor::Peer {
        told(&mut log);
        let run = Run::from(log.lineage().last().unwrap());
        let (zero, store) = (Seq(0), StoreId(0xb));
        let ack = Ack {
            state: DataState::Complete,
            epoch: ours,
            store,
            run,
            received: zero,
            written: zero,
            durable: zero,
            bytes: 0,
        };
        said = say(&mut log, 0, message(&Message::Ack(ack)));
    }
    assert!(matches!(said.last(), Some(Output::Read { what: read, .. }) if *read == what));
    say(&mut log, 0, Input::Follow { membership: alone(2) });
    let [Message::Hello(hello)] = &told(&mut log)[..] else { panic!("no greeting") };
    let sync = Sync { answers: hello.number, copy: true, goal: Seq(3), ..order(1, alone(2)) };
    assert_eq!(ordered(&mut log, &sync), [Output::SetAside { from: Seq(2) }]);
    say(&mut log, 0, Input::SetAside { bytes: 120 });
    assert_eq!(say(&mut log, 0, Input::Saved), [Output::Truncate { keep: Seq(1) }]);
    (log, sync)
}

#[test]
fn a_read_that_a_cut_overtakes_is_nothing() {
    let batch = batch(2, 2).bytes;
    for (what, from) in [(ReadFor::Peer, Seq(1)), (ReadFor::Check, Seq(2))] {
        let ends = [Input::Unread { what, from }, Input::Read { what, from, batch: batch.clone() }];
        for end in ends {
            // Before the cut is done, or after it.
            let (mut log, _) = cut_while_reading(what);
            assert_eq!(say(&mut log, 0, end.clone()), [], "{end:?}");
            let (mut log, sync) = cut_while_reading(what);
            let cut = Input::Truncated { head: head(1), bytes: 60 };
            let target = save(&sync, sync.lineage.clone(), DataState::Target);
            assert_eq!(say(&mut log, 0, cut), [target, Output::Reset, rebuild()]);
            assert_eq!(say(&mut log, 0, end.clone()), [], "{end:?}");
        }
    }
}

#[test]
fn a_check_does_not_believe_what_was_read_before_a_cut() {
    let what = ReadFor::Check;
    let (mut log, _) = cut_while_reading(what);
    say(&mut log, 0, Input::Truncated { head: head(1), bytes: 60 });
    say(&mut log, 0, Input::Saved);
    say(&mut log, 0, Input::Read { what: ReadFor::Apply, from: Seq(1), batch: batch(1, 1).bytes });
    say(&mut log, 0, Input::Applied { seq: Seq(1) });
    say(&mut log, 0, Input::Disconnected);
    // It leads again, has a record 2 and 3 of its own, and the peer greets with another record 2.
    let ours = Epoch::new(3, node(B));
    let lineage = log.next_lineage(ours);
    let membership = Membership { epoch: ours, holder: node(B), ..alone(2) };
    let membership = Membership { set: NodeSet::only(node(B)), ..membership };
    say(&mut log, 0, Input::Lead { membership, lineage });
    let kept = log.lineage().clone();
    for _ in 0..2 {
        log.propose(at(0), b"anew").unwrap();
        say(&mut log, 0, Input::Tick);
        let head = log.head().seq;
        say(&mut log, 0, Input::Durable { seq: head });
        say(&mut log, 0, Input::Applied { seq: head });
    }
    say(&mut log, 0, Input::Connected);
    let position = Position { epoch: ours, ..head(2) };
    let hello = Hello { position, membership: None, lineage: kept, ..greeting(2) };
    let said = say(&mut log, 0, message(&Message::Hello(hello)));
    assert_eq!(said.len(), 1, "the old read is under way: {said:?}");
    let old = Input::Read { what, from: Seq(2), batch: batch(2, 2).bytes };
    let anew = Output::Read { what, from: Seq(2), max: 1 };
    assert_eq!(say(&mut log, 0, old), [anew], "read again, and nothing else");
}

#[test]
fn what_cannot_be_read_without_a_cut_is_an_error() {
    let mut log = Log::new(config(A), recovered(3));
    let lineage = log.next_lineage(epoch(2));
    say(&mut log, 0, Input::Lead { membership: alone(2), lineage });
    say(&mut log, 0, Input::Connected);
    say(&mut log, 0, message(&Message::Hello(greeting(2))));
    let (what, from) = (ReadFor::Check, Seq(2));
    let unreadable = Output::Event(Event::Unreadable { what, from });
    assert_eq!(say(&mut log, 0, Input::Unread { what, from }), [unreadable]);
}

#[test]
fn what_only_it_has_is_kept_aside_before_it_is_cut() {
    let mut log = follower(recovered(3));
    let sync = Sync { copy: true, goal: Seq(3), ..order(2, alone(2)) };
    assert_eq!(ordered(&mut log, &sync), [Output::SetAside { from: Seq(3) }]);
    let kept = PeerEvent::Diverged { from: Seq(3), to: Seq(3), bytes: 60 };
    let target = save(&sync, first_reign(), DataState::Target);
    assert_eq!(say(&mut log, 0, Input::SetAside { bytes: 60 }), [Output::Peer(kept), target]);
    assert_eq!(say(&mut log, 0, Input::Saved), [Output::Truncate { keep: Seq(2) }]);
    assert!(!log.is_settled());
    let cut = Input::Truncated { head: head(2), bytes: 120 };
    let target = save(&sync, sync.lineage.clone(), DataState::Target);
    let next = say(&mut log, 0, cut);
    assert_eq!(next, [target, Output::Reset, rebuild()], "the host had applied record 3");
    assert_eq!(say(&mut log, 0, Input::Saved), []);
    assert_eq!(log.applied(), Seq(0));
    assert_eq!(told(&mut log), [ack(&sync, DataState::Target, 2, 2)]);
    say(&mut log, 0, message(&frames(2, 2, &third())));
    let complete = save(&sync, sync.lineage.clone(), DataState::Complete);
    assert_eq!(say(&mut log, 0, durable(3)), [complete]);
    assert_eq!(told(&mut log), [ack(&sync, DataState::Target, 3, 3)]);
    say(&mut log, 0, Input::Saved);
    assert_eq!(told(&mut log), [ack(&sync, DataState::Complete, 3, 3)]);
}

#[test]
fn a_blank_log_is_a_target_first() {
    let mut log = follower(blank());
    let sync = Sync { copy: true, goal: Seq(2), ..order(0, alone(2)) };
    let said = ordered(&mut log, &sync);
    assert_eq!(said, [save(&sync, sync.lineage.clone(), DataState::Target)]);
}

#[test]
fn nothing_is_overwritten_without_exclusion() {
    let mut log = follower(recovered(3));
    let sync = Sync { copy: true, ..order(2, both(2)) };
    assert_eq!(ordered(&mut log, &sync), []);
    assert_eq!(told(&mut log), []);
    assert_eq!(log.counters().ignored, 1);
}

#[test]
fn a_record_of_an_equal_epoch_excludes_nobody() {
    let mut log = follower(recovered(3));
    say(&mut log, 0, Input::Follow { membership: both(2) });
    told(&mut log);
    let sync = Sync { copy: true, answers: 2, ..order(2, alone(2)) };
    assert_eq!(ordered(&mut log, &sync), []);
}

#[test]
fn a_late_order_is_ignored() {
    let mut log = follower(recovered(3));
    say(&mut log, 0, Input::Follow { membership: alone(2) });
    let late = Sync { copy: true, ..order(2, alone(2)) };
    assert_eq!(ordered(&mut log, &late), [], "a newer greeting is due");
    told(&mut log);
    assert_eq!(ordered(&mut log, &late), [], "a newer greeting is on its way");
    assert_eq!(log.counters().ignored, 2);
}

#[test]
fn a_greeting_allows_one_order_to_overwrite() {
    let mut log = follower(recovered(3));
    let first = order(3, alone(2));
    ordered(&mut log, &first);
    say(&mut log, 0, Input::Saved);
    let second = Sync { copy: true, ..order(2, alone(2)) };
    assert_eq!(ordered(&mut log, &second), []);
    let told = told(&mut log);
    let [Message::Hello(hello)] = &told[..] else { panic!("no greeting: {told:?}") };
    assert_eq!((hello.number, hello.position), (2, head(3)));
}

#[test]
fn an_order_that_does_not_fit_is_answered_by_a_greeting() {
    let mut log = follower(recovered(2));
    assert_eq!(ordered(&mut log, &order(1, both(2))), []);
    let [Message::Hello(hello)] = &told(&mut log)[..] else { panic!("no greeting") };
    assert_eq!((hello.number, hello.position), (2, head(2)));
}

#[test]
fn another_record_at_the_cut_is_reported_to_the_leader() {
    let mut log = follower(recovered(3));
    let sync = Sync { copy: true, ..order(2, alone(2)) };
    ordered(&mut log, &sync);
    say(&mut log, 0, Input::SetAside { bytes: 60 });
    say(&mut log, 0, Input::Saved);
    let other = Position { chain: Chain(1), ..head(2) };
    let said = say(&mut log, 0, Input::Truncated { head: other, bytes: 120 });
    assert_eq!(said, [Output::Reset, rebuild()]);
    let [Message::Hello(hello)] = &told(&mut log)[..] else { panic!("no greeting") };
    assert_eq!((hello.position, hello.state), (other, DataState::Target));
}

#[test]
fn the_cut_waits_for_the_host() {
    let mut log = follower(Recovered { applied: Seq(1), ..recovered(3) });
    let first = order(3, both(2));
    ordered(&mut log, &first);
    say(&mut log, 0, Input::Saved);
    let commit = message(&Message::Commit(Commit { epoch: epoch(2), commit: Seq(2) }));
    assert_eq!(say(&mut log, 0, commit).len(), 2, "committed and read");
    say(&mut log, 0, Input::Follow { membership: alone(3) });
    told(&mut log);
    let entries = [(1, 1, Chain(0)), (3, 3, head(2).chain)];
    let lineage = lineage(&entries);
    let sync = Sync { copy: true, answers: 2, lineage, ..order(2, alone(3)) };
    assert_eq!(ordered(&mut log, &sync), [Output::SetAside { from: Seq(3) }]);
    say(&mut log, 0, Input::SetAside { bytes: 60 });
    assert_eq!(say(&mut log, 0, Input::Saved), [], "the host still reads");
    let read = Input::Read { what: ReadFor::Apply, from: Seq(2), batch: batch(2, 3).bytes };
    assert_eq!(say(&mut log, 0, read), [Output::Apply(batch(2, 2))]);
    let cut = [Output::Truncate { keep: Seq(2) }];
    assert_eq!(say(&mut log, 0, Input::Applied { seq: Seq(2) }), cut);
}

#[test]
fn a_lower_epoch_is_refused() {
    let (mut log, _) = synced();
    let refused = Output::Event(Event::RefusedEpoch { theirs: epoch(1), ours: epoch(2) });
    assert_eq!(say(&mut log, 0, message(&frames(1, 2, &third()))), [refused]);
    assert_eq!(say(&mut log, 0, Input::Follow { membership: both(1) }), [], "told once");
    assert_eq!(say(&mut log, 0, message(&frames(1, 2, &third()))), []);
    assert_eq!((log.head(), log.counters().refused_epoch), (head(2), 3));
    assert_eq!(told(&mut log).len(), 1, "asks where to go on");
}

#[test]
fn a_higher_epoch_refuses_what_is_on_its_way() {
    let (mut log, _) = synced();
    assert_eq!(say(&mut log, 0, Input::Follow { membership: both(3) }), []);
    let said = say(&mut log, 0, message(&frames(2, 2, &third())));
    let refused = Event::RefusedEpoch { theirs: epoch(2), ours: epoch(3) };
    assert_eq!(said, [Output::Event(refused)]);
    assert_eq!(log.head(), head(2));
}

#[test]
fn frames_that_do_not_continue_the_log_are_dropped() {
    let (mut log, _) = synced();
    let gap = Output::Event(Event::Corrupt(BatchError::Gap));
    assert_eq!(say(&mut log, 0, message(&frames(2, 2, &batch(2, 2)))), [gap]);
    assert_eq!(say(&mut log, 0, message(&frames(2, 2, &third()))), [], "until the next order");
    let [Message::Hello(hello)] = &told(&mut log)[..] else { panic!("no greeting") };
    assert_eq!(hello.position, head(2));
}

#[test]
fn the_data_of_another_bootstrap_are_kept() {
    let mut log = follower(recovered(2));
    let foreign = Membership { data: DataId(8), ..alone(2) };
    let sync = Sync { copy: true, ..order(2, foreign) };
    assert_eq!(ordered(&mut log, &sync), [Output::Peer(PeerEvent::OtherData)]);
}

#[test]
fn a_save_that_ends_after_it_began_to_lead_changes_nothing() {
    let mut log = follower(recovered(2));
    ordered(&mut log, &order(2, both(2)));
    let (epoch, holder) = (epoch(2).next(node(B)), node(B));
    let lineage = log.next_lineage(epoch);
    let membership = Membership { epoch, holder, ..both(2) };
    say(&mut log, 0, Input::Lead { membership, lineage: lineage.clone() });
    assert_eq!(say(&mut log, 0, Input::Saved), []);
    assert_eq!((log.lineage(), log.is_settled()), (&lineage, true));
}

#[test]
fn a_chain_of_steps_ends_with_the_stream() {
    let mut log = follower(recovered(3));
    ordered(&mut log, &Sync { copy: true, ..order(2, alone(2)) });
    say(&mut log, 0, Input::Disconnected);
    say(&mut log, 0, Input::Connected);
    assert_eq!(told(&mut log), [], "a step is under way");
    let said = say(&mut log, 0, Input::SetAside { bytes: 60 });
    assert_eq!(said.len(), 1, "reported, and no more: {said:?}");
    let [Message::Hello(hello)] = &told(&mut log)[..] else { panic!("no greeting") };
    assert_eq!((hello.state, hello.number), (DataState::Complete, 2));
}

#[test]
fn keeps_the_laws() {
    let log = Log::new(config(B), recovered(2));
    let history = [
        Input::Connected,
        Input::Follow { membership: both(1) },
        Input::Follow { membership: both(1) },
        message(&Message::Hello(greeting(2))),
        message(&frames(1, 2, &third())),
        message(&Message::Commit(Commit { epoch: epoch(1), commit: Seq(2) })),
        Input::Message(Bytes::new()),
        Input::Detach,
        Input::Disconnected,
    ];
    let gap = Duration::from_millis(400);
    ha_proto::laws::check(log, || Input::Tick, history.into_iter().map(|input| (gap, input)));
}
