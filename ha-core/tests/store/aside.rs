//! Records that only this node has are copied before they are dropped (R14).

use std::fs;
use std::path::Path;

use ha_core::Answer;
use ha_core::store::SegmentHeader;
use ha_proto::Seq;
use ha_replicate::Batch;

use crate::rig::{LIMITS, Rig, filled};

fn asides(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_aside = |path: &std::path::PathBuf| {
        path.file_name().unwrap().to_str().unwrap().starts_with("aside-")
    };
    let mut found: Vec<_> = entries.filter(is_aside).collect();
    found.sort();
    found
}

#[test]
fn a_copy_holds_the_records_and_leaves_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path());
    rig.fill(60, 10_000);
    for _ in 0..2 {
        let answer = rig.ask(|storage, ticket| storage.set_aside(ticket, Seq(51)));
        assert_eq!(answer, Answer::Kept { bytes: 10 * 10_056 });
    }
    assert_eq!(rig.all(), filled(60));
    let [place] = &asides(folder.path())[..] else { panic!("the same copy is kept once") };
    assert!(place.ends_with("aside-0000000000000100-0000000000000033"));
    let file = place.join("log-0000000000000033.seg");
    let bytes = fs::read(&file).unwrap();
    let (head, records) = bytes.split_first_chunk().unwrap();
    let head = SegmentHeader::decode(head, &file).unwrap();
    assert_eq!(head.start.seq, Seq(50));
    let batch = Batch::received(records.to_vec().into(), head.start).unwrap();
    assert_eq!((batch.last, batch.end), (Seq(60), rig.end));
}

#[test]
fn another_tail_of_the_same_name_is_kept_besides() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path());
    rig.fill(3, 10);
    for len in [10, 20, 30] {
        rig.ask(|storage, ticket| storage.truncate(ticket, Seq(2)));
        let Answer::Truncated { head, .. } =
            rig.ask(|storage, ticket| storage.truncate(ticket, Seq(2)))
        else {
            panic!("truncated")
        };
        rig.end = head;
        rig.fill(1, len);
        rig.ask(|storage, ticket| storage.set_aside(ticket, Seq(3)));
    }
    assert_eq!(asides(folder.path()).len(), 3);
}

#[test]
fn more_than_the_limit_is_refused_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path());
    let each = 100_000;
    let count = LIMITS.aside_bytes / each + 2;
    rig.fill(count, each as usize);
    let answer = rig.ask(|storage, ticket| storage.set_aside(ticket, Seq(1)));
    assert_eq!(answer, Answer::Failed);
    assert!(asides(folder.path()).is_empty());
    assert_eq!(rig.all(), filled(count));
    rig.fill(1, 10);
}
