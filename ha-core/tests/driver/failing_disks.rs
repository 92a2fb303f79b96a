//! A node whose fsync fails: it says so and counts as no copy, and nothing acknowledged is lost.

use bytes::Bytes;
use ha_core::event::Exclusion;
use ha_core::raw::RawConfig;
use ha_core::{Event, Status};
use ha_proto::Role;

use crate::disks::Failing;
use crate::rig::{Node, Pair, block_on, ready, whole};

fn on(disk: &Failing, raw: RawConfig) -> RawConfig {
    RawConfig { folder: disk.path().join("module").to_str().unwrap().into(), ..raw }
}

/// A record that is found again on the disk.
const MARK: &[u8] = &[0xa5; 3_000];

/// Both nodes have twenty records durably.
async fn twenty(first: &Node, second: &Node) {
    whole(first, second).await;
    for _ in 0..20 {
        first.propose(MARK).await;
    }
    first.until("applied", |status| status.applied.0 == 20).await;
    second.until("applied there", |status| status.applied.0 == 20).await;
}

#[test]
fn a_secondary_whose_fsync_fails_leaves_the_set_and_comes_back_with_everything() {
    let Some(mut disk) = Failing::mount(None) else { return };
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (first, second) = (pair.start(0), Pair::run(on(&disk, pair.raw(1, 0))));
        twenty(&first, &second).await;
        disk.break_off_behind(MARK);
        for _ in 0..5 {
            first.propose(MARK).await;
        }
        second.until("broken", |status| status.broken).await;
        second.told(Event::StorageFailed).await;
        first.until("alone", ready(Role::Alone)).await;
        first.until("all acknowledged", |status| status.applied.0 == 25).await;
        first.told(Event::Excluded(Exclusion::Unusable)).await;
        assert_eq!(first.host.look(|seen| seen.fenced), 0, "who serves goes on");
        second.running.shutdown();
        disk.heal();
        let second = Pair::run(on(&disk, pair.raw(1, 0)));
        second.until("secondary again", ready(Role::Second)).await;
        second.until("has everything", |status| status.applied.0 == 25).await;
        assert_eq!(first.host.records(), second.host.records());
        second.running.shutdown();
    });
}

#[test]
fn a_primary_whose_fsync_fails_hands_over_and_nothing_acknowledged_is_lost() {
    let Some(mut disk) = Failing::mount(None) else { return };
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (first, second) = (Pair::run(on(&disk, pair.raw(0, 0))), pair.start(1));
        twenty(&first, &second).await;
        disk.break_off_behind(MARK);
        while first.handle.propose(Bytes::from_static(MARK)).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        first.told(Event::StorageFailed).await;
        second.until("alone", ready(Role::Alone)).await;
        let acknowledged = first.host.records().len();
        second.propose(b"after").await;
        let last = |status: &Status| status.applied.0 as usize > acknowledged;
        second.until("all that was acknowledged and more", last).await;
        first.running.shutdown();
        disk.heal();
        let first = Pair::run(on(&disk, pair.raw(0, 0)));
        first.until("secondary", ready(Role::Second)).await;
        let goal = second.host.records();
        first.until("has everything", |status| status.applied.0 as usize == goal.len()).await;
        assert_eq!(first.host.records(), goal);
        first.running.shutdown();
    });
}
