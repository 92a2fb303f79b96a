//! A disk that fails at the fsync: what it holds is not known any more, and nothing is tried again.

use ha_core::Answer;
use ha_proto::Seq;

use crate::disks::{Failing, Small};
use crate::rig::Rig;

/// Appends until one is not done: how many were, and what the last answer was.
fn append_until_refused(rig: &mut Rig, payload: &[u8]) -> (usize, Answer) {
    for done in 0..2_000 {
        match rig.append(payload) {
            Answer::Done => {}
            answer => return (done, answer),
        }
    }
    panic!("the disk does not fail")
}

#[test]
fn a_failed_fsync_is_final_and_nothing_durable_is_lost() {
    let Some(mut disk) = Failing::mount(None) else { return };
    let folder = disk.path().join("module");
    let mut rig = Rig::start(&folder);
    rig.fill(20, 3_000);
    disk.break_off_behind(&[19; 3_000]);
    let (more, answer) = append_until_refused(&mut rig, &[99; 3_000]);
    assert!(more <= 2, "only what fits the last block: {more}");
    assert_eq!(answer, Answer::Failed, "EIO");
    let durable = 20 + more;
    // Linux tells an error of a write-back once: a second fsync that says nothing would be a lie.
    for _ in 0..3 {
        assert_eq!(rig.append(&[99; 10]), Answer::Failed);
    }
    assert_eq!(rig.ask(|storage, ticket| storage.truncate(ticket, Seq(1))), Answer::Failed);
    drop(rig);
    disk.heal();
    let mut rig = Rig::start(&folder);
    assert!(rig.end.seq.0 as usize >= durable, "only {} of {durable}", rig.end.seq);
    let all = rig.all();
    assert_eq!(all[..20], crate::rig::filled(20));
    assert!(all[20..].iter().all(|(_, payload)| *payload == 99), "a prefix, and nothing else");
    assert_eq!(rig.append(b"after the restart"), Answer::Done);
}

#[test]
fn an_fsync_without_room_is_a_failure_and_no_full_disk() {
    let Some(small) = Small::mount() else { return };
    let Some(disk) = Failing::mount(Some(&small)) else { return };
    let mut rig = Rig::start(&disk.path().join("module"));
    rig.fill(20, 3_000);
    small.load(13 << 20);
    let (_, answer) = append_until_refused(&mut rig, &[99; 3_000]);
    assert_eq!(
        answer,
        Answer::Failed,
        "what is written and not durable may be gone: ENOSPC or not"
    );
    small.unload();
    assert_eq!(rig.append(b"there is room again"), Answer::Failed);
}
