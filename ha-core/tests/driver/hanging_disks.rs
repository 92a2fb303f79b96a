//! FIELD.md, row 8: a disk that answers no more, and then does again: nobody is kept waiting for
//! good, and nothing acknowledged is lost.

use std::time::Duration;

use bytes::Bytes;
use ha_core::driver::ProposeError;
use ha_core::event::Exclusion;
use ha_core::raw::RawConfig;
use ha_core::{Event, Status};
use ha_lab::Disk;
use ha_proto::Role;

use crate::rig::{Node, PATIENCE, Pair, block_on, ready, whole};

fn on(disk: &Disk, raw: RawConfig) -> RawConfig {
    let folder = disk.path().join("module").to_str().unwrap().into();
    RawConfig { folder, stall: Some("1s".parse().unwrap()), ..raw }
}

/// Both nodes have twenty records durably.
async fn twenty(first: &Node, second: &Node) {
    whole(first, second).await;
    for _ in 0..20 {
        first.propose(b"before").await;
    }
    first.until("applied", |status| status.applied.0 == 20).await;
    second.until("applied there", |status| status.applied.0 == 20).await;
}

/// Clients write until the node takes no more.
async fn propose_until_refused(node: &Node) {
    let writes = async {
        loop {
            match node.handle.propose(Bytes::from_static(b"while it hangs")).await {
                Ok(_) | Err(ProposeError::Busy) => {}
                Err(ProposeError::Refused(_)) => break,
                Err(ProposeError::Closed) => panic!("the driver runs"),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, writes).await.is_ok(), "it takes records for ever");
}

#[test]
fn field_08_a_ready_peer_gets_the_service_of_a_primary_whose_disk_hangs() {
    let Some(disk) = Disk::root_or_skip("primary") else { return };
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (first, second) = (Pair::run(on(&disk, pair.raw(0, 0))), pair.start(1));
        twenty(&first, &second).await;
        let frozen = disk.freeze().unwrap();
        propose_until_refused(&first).await;
        first.told(Event::DiskStalled).await;
        assert_eq!(first.host.records().len(), 20, "nothing is acknowledged that one disk has not");
        second.until("alone", ready(Role::Alone)).await;
        let acknowledged = first.host.records();
        assert_eq!(acknowledged.len(), 20);
        second.propose(b"after").await;
        let last = |status: &Status| status.applied.0 as usize > acknowledged.len();
        second.until("all that was acknowledged and more", last).await;
        assert!(second.host.records().starts_with(&acknowledged));
        assert!(!first.host.look(|seen| seen.serving), "who gave it away has stopped");
        frozen.thaw();
        first.told(Event::DiskBack).await;
        first.until("secondary", ready(Role::Second)).await;
        let goal = second.host.records();
        first.until("has everything", |status| status.applied.0 as usize == goal.len()).await;
        assert_eq!(first.host.records(), goal);
        first.running.shutdown();
    });
}

#[test]
fn field_08_a_secondary_whose_disk_hangs_holds_nothing_up_and_comes_back_with_everything() {
    let Some(disk) = Disk::root_or_skip("secondary") else { return };
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (first, second) = (pair.start(0), Pair::run(on(&disk, pair.raw(1, 0))));
        twenty(&first, &second).await;
        let frozen = disk.freeze().unwrap();
        for _ in 0..5 {
            first.propose(b"while it hangs").await;
        }
        second.told(Event::DiskStalled).await;
        first.told(Event::Excluded(Exclusion::Stalled)).await;
        first.until("all acknowledged", |status| status.applied.0 == 25).await;
        assert_eq!(first.host.look(|seen| seen.fenced), 0, "who serves goes on");
        assert_eq!(second.host.records().len(), 20);
        frozen.thaw();
        second.told(Event::DiskBack).await;
        second.until("secondary again", ready(Role::Second)).await;
        second.until("has everything", |status| status.applied.0 == 25).await;
        assert_eq!(first.host.records(), second.host.records());
        second.running.shutdown();
    });
}
