//! FIELD.md, row 8: a disk that answers late looks like no death, and nobody serves before it has
//! what must be saved first. What becomes of records then is in `hanging_disks` of `ha-core`'s tests.

use std::time::Duration;

use ha_lab::{Disk, within};

use crate::SOON;
use crate::rig::{self, Rig, Vote, no_strays, status, told, until_answers};

/// Six times what a peer may be silent, twice the lease, and more than a disk may be.
const AWHILE: Duration = Duration::from_secs(3);

/// A pair of which one node has its state and its log on this disk.
fn whole_on(disk: &Disk, test: &str, on_it: usize) -> Option<Rig> {
    let mut rig = Rig::new(test, Vote::Arbiter, 1)?;
    rig.configure("", "");
    for name in ["state", "log"] {
        let line =
            |folder: &std::path::Path| format!("{name} = \"{}\"", folder.join(name).display());
        let (from, to) = (line(rig.nodes[on_it].folder()), line(&disk.path()));
        rig.replace(on_it, &[(&from, &to)]);
    }
    for node in [0, 1] {
        rig.start(node);
    }
    rig.until_whole(0);
    Some(rig)
}

#[test]
fn field_08_a_disk_that_hangs_looks_like_no_death() {
    for on_it in [0, 1] {
        let Some(disk) = Disk::root_or_skip("field_08_hangs") else { return };
        let Some(rig) = whole_on(&disk, "field_08_hangs", on_it) else { return };
        let probers = rig.probers();
        until_answers(&probers, "a");
        let before = [0, 1].map(|node| rig.wrote(node, "roles"));
        let frozen = disk.freeze().unwrap();
        let roles = || [0, 1].map(|node| rig.wrote(node, "roles"));
        assert!(!within(AWHILE, || roles() != before), "{on_it}: {:?}", roles());
        assert!(rig.holds(0, true) && rig.holds(1, false));
        until_answers(&probers, "a");
        for node in [0, 1] {
            assert!(status(&rig, node).contains("web"), "{on_it}: its operator is answered");
        }
        frozen.thaw();
        // It works again: whoever is primary now has saved that it is.
        told(rig::ha(&rig, 0).args(["swap", "--yes"]));
        rig.until_whole(1);
        until_answers(&probers, "b");
        no_strays(probers);
    }
}

/// It may not serve before it has saved that it does: it waits, and nobody is served, until it has.
#[test]
fn field_08_nobody_takes_over_before_a_disk_that_hangs_has_it() {
    let Some(disk) = Disk::root_or_skip("field_08_waits") else { return };
    let Some(mut rig) = whole_on(&disk, "field_08_waits", 1) else { return };
    let probers = rig.probers();
    until_answers(&probers, "a");
    let frozen = disk.freeze().unwrap();
    rig.daemon(0).kill().unwrap();
    until_silent(&rig, 1);
    assert!(!within(AWHILE, || !rig.holds(1, false)), "{}", rig.daemon(1).output());
    frozen.thaw();
    rig.until_role(1, &["Alone ready"]);
    rig.until_holds(1);
    until_answers(&probers, "b");
    rig.start(0);
    rig.until_whole(1);
    no_strays(probers);
}

/// Two faults at once: it cannot save that the peer is excluded, so its right ends with its lease.
#[test]
fn field_08_a_primary_that_loses_its_peer_while_its_disk_hangs_waits_for_the_disk() {
    let Some(disk) = Disk::root_or_skip("field_08_both") else { return };
    let Some(mut rig) = whole_on(&disk, "field_08_both", 0) else { return };
    let probers = rig.probers();
    until_answers(&probers, "a");
    let frozen = disk.freeze().unwrap();
    rig.daemon(1).kill().unwrap();
    rig.until_role(0, &["Wait"]);
    until_silent(&rig, 0);
    frozen.thaw();
    rig.until_role(0, &["Alone ready"]);
    rig.until_holds(0);
    until_answers(&probers, "a");
    rig.start(1);
    rig.until_whole(0);
}

/// Waits until a node says that its disk is what it waits for, and that nobody is served.
fn until_silent(rig: &Rig, node: usize) {
    assert!(rig.daemon(node).wait_for("DiskStalled", SOON), "{}", rig.daemon(node).output());
    let why = format!("the disk of {} does not answer", rig.hosts[node].name());
    for says in [&*why, "DOWN", "mend the disk; it goes on by itself"] {
        assert!(within(SOON, || status(rig, node).contains(says)), "{}", status(rig, node));
    }
    assert!(rig.holds(node, false));
}
