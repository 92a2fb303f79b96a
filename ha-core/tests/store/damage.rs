//! Torn ends are cut off; holes in what was durable are refused and left as they are.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use ha_core::Answer;
use ha_core::store::{Store, StoreError, StoreLimits};
use ha_proto::StoreId;

use crate::rig::{LIMITS, Rig, batch, copy, filled, ids, open, segments};

const HEAD: u64 = 64;
const LEN: usize = 10;
const RECORD: u64 = 56 + LEN as u64;

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

fn log_of(records: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    Rig::start(folder.path()).fill(records, LEN);
    folder
}

#[test]
fn a_write_torn_at_any_byte_is_cut_off() {
    let folder = log_of(3);
    let torn = batch(Rig::start(folder.path()).end, [&[3; LEN][..], &[4; LEN]]);
    let end = HEAD + 3 * RECORD;
    for len in 1..torn.bytes.len() {
        let copied = tempfile::tempdir().unwrap();
        copy(folder.path(), copied.path());
        let [segment] = &segments(copied.path())[..] else { panic!("one file") };
        overwrite(segment, end, &torn.bytes[..len]);
        let mut rig = Rig::start(copied.path());
        let whole = 3 + len as u64 / RECORD;
        assert_eq!(rig.all(), filled(whole), "torn after {len} bytes");
        rig.fill(2, LEN);
        drop(rig);
        assert_eq!(Rig::start(copied.path()).all(), filled(whole + 2));
    }
}

#[test]
fn a_write_of_which_only_a_later_part_reached_the_disk_is_cut_off() {
    let folder = log_of(3);
    let torn = batch(Rig::start(folder.path()).end, [&[3; LEN][..], &[4; LEN], &[5; LEN]]);
    let [segment] = &segments(folder.path())[..] else { panic!("one file") };
    let second = RECORD as usize;
    overwrite(segment, HEAD + 4 * RECORD, &torn.bytes[second..]);
    let mut rig = Rig::start(folder.path());
    assert_eq!(rig.all(), filled(3));
    // What it left behind is never taken for a record again.
    rig.fill(1, LEN);
    drop(rig);
    assert_eq!(Rig::start(folder.path()).all(), filled(4));
}

#[test]
fn a_flipped_bit_in_what_was_durable_is_refused() {
    let folder = log_of(3);
    for at in [HEAD, HEAD + 60, HEAD + RECORD + 10, HEAD + 3 * RECORD - 1] {
        let copied = tempfile::tempdir().unwrap();
        copy(folder.path(), copied.path());
        let [segment] = &segments(copied.path())[..] else { panic!("one file") };
        let before = fs::read(segment).unwrap();
        overwrite(segment, at, &[before[at as usize] ^ 4]);
        let damaged = fs::read(segment).unwrap();
        let refused = open(copied.path());
        let offset = HEAD + (at - HEAD) / RECORD * RECORD;
        assert!(
            matches!(&refused, Err(StoreError::Corrupt { offset: found, .. }) if *found == offset),
            "{at}: {refused:?}"
        );
        assert!(fs::read(segment).unwrap() == damaged, "nothing is touched");
    }
}

#[test]
fn without_its_mark_a_hole_wider_than_one_write_is_still_refused() {
    let folder = tempfile::tempdir().unwrap();
    let limits = StoreLimits { segment_bytes: 16 << 20, ..LIMITS };
    let open = || Store::open(folder.path(), ids(), limits, StoreId(77));
    Rig::run(open().unwrap()).fill(100, 100_000);
    fs::remove_file(folder.path().join("log/durable")).unwrap();
    let [segment] = &segments(folder.path())[..] else { panic!("one file") };
    overwrite(segment, HEAD + 10, &[1]);
    assert!(matches!(open(), Err(StoreError::Corrupt { offset: HEAD, .. })));
}

#[test]
fn a_hole_in_a_finished_file_is_found_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    Rig::start(folder.path()).fill(70, 100_000);
    overwrite(&segments(folder.path())[0], HEAD + 10, &[1]);
    let mut rig = Rig::start(folder.path());
    assert_eq!(rig.read(1, 1), Answer::Failed);
    assert!(matches!(rig.read(43, 1), Answer::Records(_)));
}

#[test]
fn a_missing_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    Rig::start(folder.path()).fill(100, 100_000);
    let files = segments(folder.path());
    for missing in &files {
        let kept = fs::read(missing).unwrap();
        fs::remove_file(missing).unwrap();
        let refused = open(folder.path());
        assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
        fs::write(missing, kept).unwrap();
    }
    assert_eq!(Rig::start(folder.path()).end.seq.0, 100);
}

#[test]
fn a_damaged_head_is_refused() {
    let folder = log_of(3);
    let [segment] = &segments(folder.path())[..] else { panic!("one file") };
    overwrite(segment, 30, &[1]);
    assert!(matches!(open(folder.path()), Err(StoreError::Corrupt { offset: 0, .. })));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let folder = log_of(3);
    let [segment] = &segments(folder.path())[..] else { panic!("one file") };
    overwrite(segment, 4, &[2]);
    assert!(matches!(open(folder.path()), Err(StoreError::Newer { found: 2, known: 1, .. })));
}

#[test]
fn a_next_file_that_was_never_named_is_removed() {
    let folder = log_of(3);
    let next = folder.path().join("log/next.tmp");
    fs::write(&next, b"half").unwrap();
    assert_eq!(Rig::start(folder.path()).all(), filled(3));
    assert!(!next.exists());
}
