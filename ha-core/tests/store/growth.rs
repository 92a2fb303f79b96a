//! Appending, grouping, going on in further files, reading back, dropping the end.

use ha_core::Answer;
use ha_proto::{Position, Seq, Ticket};

use crate::rig::{Rig, batch, filled, segments};

#[test]
fn a_restart_finds_every_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path());
    assert_eq!(rig.end, Position::default());
    rig.fill(300, 1000);
    assert_eq!(rig.all(), filled(300));
    let end = rig.end;
    drop(rig);
    let mut rig = Rig::start(folder.path());
    assert_eq!(rig.end, end);
    assert_eq!(rig.all(), filled(300));
    rig.fill(1, 1000);
    assert_eq!(rig.all(), filled(301));
}

#[test]
fn a_log_goes_on_in_further_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path());
    rig.fill(100, 100_000);
    assert_eq!(segments(folder.path()).len(), 3);
    drop(rig);
    let mut rig = Rig::start(folder.path());
    assert_eq!(rig.all(), filled(100));
    for from in [1, 41, 42, 43, 83, 84, 100] {
        let Answer::Records(bytes) = rig.read(from, 1) else { panic!("{from} is unreadable") };
        assert_eq!(bytes.len(), 100_056, "one record, although more than was wanted");
    }
    assert_eq!(rig.read(101, 1), Answer::Failed);
}

#[test]
fn records_of_any_size_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path());
    for len in [0, 1, 1 << 20, 3, 700_000, 1 << 20, 0] {
        assert_eq!(rig.append(&vec![9; len]), Answer::Done);
    }
    assert_eq!(rig.all().len(), 7);
    drop(rig);
    let mut rig = Rig::start(folder.path());
    assert_eq!(rig.all().len(), 7);
    // Not from the start, so that a place in the middle is looked for.
    let Answer::Records(bytes) = rig.read(6, 10) else { panic!("unreadable") };
    assert_eq!(bytes.len(), (1 << 20) + 56);
}

#[test]
fn what_waits_together_is_answered_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path());
    let mut end = rig.end;
    for ticket in 1..=1000 {
        let batch = batch(end, [&[ticket as u8; 100][..]]);
        end = batch.end;
        rig.storage.append(Ticket(ticket), batch);
    }
    let mut answers = Vec::new();
    while answers.last() != Some(&Ticket(1000)) {
        let (ticket, answer) = rig.answer();
        assert_eq!(answer, Answer::Done);
        answers.push(ticket);
    }
    assert!(answers.is_sorted());
    assert!(answers.len() < 1000, "each record was synced by itself");
    rig.end = end;
    assert_eq!(rig.all().len(), 1000);
}

#[test]
fn a_group_may_span_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path());
    let mut end = rig.end;
    for ticket in 1..=40 {
        let batch = batch(end, [&vec![0; 900_000][..]]);
        end = batch.end;
        rig.storage.append(Ticket(ticket), batch);
    }
    while rig.answer().0 != Ticket(40) {}
    rig.end = end;
    assert_eq!(rig.all().len(), 40);
    drop(rig);
    assert_eq!(Rig::start(folder.path()).end, end);
}

#[test]
fn a_dropped_end_is_gone_for_good() {
    for keep in [0, 1, 41, 42, 43, 99] {
        let folder = tempfile::tempdir().unwrap();
        let mut rig = Rig::start(folder.path());
        rig.fill(100, 100_000);
        let answer = rig.ask(|storage, ticket| storage.truncate(ticket, Seq(keep)));
        let Answer::Truncated { head, bytes } = answer else { panic!("{answer:?}") };
        assert_eq!((head.seq, bytes), (Seq(keep), keep * 100_056));
        assert_eq!(rig.read(keep + 1, 1), Answer::Failed);
        drop(rig);
        let mut rig = Rig::start(folder.path());
        assert_eq!(rig.end, head);
        rig.fill(50, 100_000);
        assert_eq!(rig.all(), filled(keep + 50));
        drop(rig);
        assert_eq!(Rig::start(folder.path()).all(), filled(keep + 50));
    }
}

#[test]
fn dropping_behind_the_end_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path());
    rig.fill(3, 10);
    let answer = rig.ask(|storage, ticket| storage.truncate(ticket, Seq(3)));
    assert_eq!(answer, Answer::Truncated { head: rig.end, bytes: 3 * 66 });
}
