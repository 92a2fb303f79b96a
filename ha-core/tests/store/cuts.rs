//! Reading back after the log's end was cut and written anew.

use std::path::Path;

use ha_core::Answer;
use ha_proto::{Position, Seq, Ticket};
use ha_replicate::Batch;

use crate::rig::{Rig, segments};

/// A store with `kept` records of `len` bytes and then `more`, which were read back to the last and
/// then cut off.
fn cut(folder: &Path, (kept, more): (u64, u64), len: usize) -> Rig {
    let mut rig = Rig::start(folder);
    rig.fill(kept, len);
    let keep: Position = rig.end;
    rig.fill(more, len);
    let Answer::Records(_) = rig.read(kept + more, 1 << 16) else { panic!("unreadable") };
    let answer = rig.ask(|storage, ticket| storage.truncate(ticket, keep.seq));
    assert!(matches!(answer, Answer::Truncated { head, .. } if head == keep), "{answer:?}");
    rig.end = keep;
    rig
}

#[test]
fn a_reader_does_not_keep_a_place_that_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = cut(folder.path(), (5, 5), 100);
    rig.fill(20, 333);
    let Answer::Records(bytes) = rig.read(12, 1 << 16) else { panic!("a sound log is unreadable") };
    let batch = Batch::read(&bytes, Seq(12), None).unwrap();
    assert_eq!((batch.first, batch.last), (Seq(12), Seq(25)));
}

#[test]
fn a_reader_does_not_keep_a_file_that_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = cut(folder.path(), (30, 30), 100_000);
    assert_eq!(segments(folder.path()).len(), 1);
    // Of the same sizes, so that the next file has the name of the one that was removed.
    for _ in 0..30 {
        assert_eq!(rig.append(&vec![0xEE; 100_000]), Answer::Done);
    }
    assert_eq!(segments(folder.path()).len(), 2);
    let Answer::Records(bytes) = rig.read(50, 1 << 16) else { panic!("a sound log is unreadable") };
    let batch = Batch::read(&bytes, Seq(50), None).unwrap();
    let record = batch.records().next().unwrap();
    assert_eq!(record.body.payload[0], 0xEE, "records that were cut off would be applied");
}

#[test]
fn reads_of_what_stays_are_answered_while_the_rest_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path());
    rig.fill(5, 1000);
    let (keep, mut ticket) = (rig.end, 1 << 32);
    for round in 0..30 {
        rig.fill(400, 600 + round);
        rig.storage.truncate(Ticket(ticket), keep.seq);
        for read in 1..=20 {
            rig.storage.read(Ticket(ticket + read), Seq(1), 1 << 20);
        }
        for _ in 0..=20 {
            let (answered, answer) = rig.answer();
            match answer {
                Answer::Truncated { head, .. } => assert_eq!((answered.0, head), (ticket, keep)),
                Answer::Records(bytes) => {
                    let batch = Batch::read(&bytes, Seq(1), None).unwrap();
                    assert!(batch.last >= keep.seq, "what stays is there");
                }
                other => panic!("a sound log is unreadable in round {round}: {other:?}"),
            }
        }
        (rig.end, ticket) = (keep, ticket + 100);
    }
}
