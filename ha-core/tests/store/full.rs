//! A full disk refuses records and harms none.

use ha_core::Answer;

use crate::disks::Small;
use crate::rig::{Rig, filled};

#[test]
fn a_full_disk_refuses_and_takes_again_once_there_is_room() {
    let Some(disk) = Small::mount() else { return };
    let folder = disk.path();
    disk.load(4 << 20);
    let mut rig = Rig::start(folder);
    // Two files of 4 MiB fit beside the ballast, a third does not.
    let mut count: u8 = 0;
    while rig.append(&vec![count; 100_000]) == Answer::Done {
        count += 1;
        assert!(count < 200, "the disk never fills");
    }
    assert_eq!(count, 82);
    assert_eq!(rig.append(b"no"), Answer::Done, "a small one still fits the file");
    for _ in 0..3 {
        assert_eq!(rig.append(&vec![1; 100_000]), Answer::Full);
    }
    let end = rig.end;
    drop(rig);
    let mut rig = Rig::start(folder);
    assert_eq!(rig.end, end);
    assert_eq!(rig.append(&vec![1; 100_000]), Answer::Full);
    disk.unload();
    assert_eq!(rig.append(&vec![83; 100_000]), Answer::Done);
    let all = rig.all();
    assert_eq!(all[..82], filled(82));
    assert_eq!(all.len(), 84);
}

#[test]
fn what_waits_behind_a_refused_append_is_refused_too() {
    let Some(disk) = Small::mount() else { return };
    let folder = disk.path();
    let mut rig = Rig::start(folder);
    disk.load(8 << 20);
    rig.fill(41, 100_000);
    let mut end = rig.end;
    for ticket in 100..103 {
        let batch = crate::rig::batch(end, [&vec![0; 100_000][..]]);
        end = batch.end;
        rig.storage.append(ha_proto::Ticket(ticket), batch);
    }
    for ticket in 100..103 {
        assert_eq!(rig.answer(), (ha_proto::Ticket(ticket), Answer::Full));
    }
    assert_eq!(rig.all(), filled(41));
}
