//! A full disk on the secondary: it leaves the in-sync set and says so; on a primary with a ready
//! secondary: swap; alone: records are refused, and nothing else stops.

use std::time::Duration;

use bytes::Bytes;
use ha_core::driver::ProposeError;
use ha_core::event::Exclusion;
use ha_core::raw::RawConfig;
use ha_core::{Event, Status};
use ha_proto::Role;

use crate::disks::Small;
use crate::rig::{Node, Pair, block_on, ready, whole};

fn on(disk: &Small, raw: RawConfig) -> RawConfig {
    RawConfig { folder: disk.path().join("module").to_str().unwrap().into(), ..raw }
}

/// Proposes until `enough`; how the last one was refused, if one was.
async fn write_until(node: &Node, mut enough: impl FnMut() -> bool) -> Option<ProposeError> {
    for _ in 0..600 {
        if enough() {
            return None;
        }
        // One that waits for room is left to wait.
        let proposed = node.handle.propose(Bytes::from(vec![7; 100_000]));
        match tokio::time::timeout(Duration::from_millis(500), proposed).await {
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(refused)) => return Some(refused),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never comes to that")
}

#[test]
fn a_full_disk_on_a_primary_with_a_ready_secondary_swaps() {
    let Some(disk) = Small::mount() else { return };
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (first, second) = (Pair::run(on(&disk, pair.raw(0, 0))), pair.start(1));
        whole(&first, &second).await;
        disk.load(8 << 20);
        let serves = || second.handle.status().now().is_some_and(|status| status.serving);
        write_until(&first, serves).await;
        second.until("serving", |status| status.serving && status.role.serves()).await;
        first.told(Event::LogFull).await;
        let acknowledged = first.host.records().len();
        assert!(acknowledged > 0);
        second.propose(b"after").await;
        let last = |status: &Status| status.applied.0 as usize > acknowledged;
        second.until("all that was acknowledged and more", last).await;
        assert!(!first.host.look(|seen| seen.serving || seen.address));
        disk.unload();
        first.until("secondary once there is room", ready(Role::Second)).await;
        second.until("primary", ready(Role::Prim)).await;
    });
}

#[test]
fn a_full_disk_on_the_secondary_takes_it_out_of_the_set_and_says_so() {
    let Some(disk) = Small::mount() else { return };
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (first, second) = (pair.start(0), Pair::run(on(&disk, pair.raw(1, 0))));
        whole(&first, &second).await;
        disk.load(8 << 20);
        let full = || second.host.look(|seen| seen.events.contains(&Event::LogFull));
        let refused = write_until(&first, full).await;
        assert_eq!(refused, None, "the primary goes on");
        first.until("alone", ready(Role::Alone)).await;
        first.told(Event::Excluded(Exclusion::Stalled)).await;
        let seq = first.propose(b"alone").await;
        first.until("acknowledged alone", |status| status.applied >= seq).await;
        assert_eq!(first.host.look(|seen| seen.fenced), 0, "who serves goes on");
        disk.unload();
        second.until("secondary once there is room", ready(Role::Second)).await;
        second.until("has everything", |status| status.applied >= seq).await;
    });
}

#[test]
fn a_full_disk_on_a_node_alone_refuses_records_and_stops_nothing_else() {
    let Some(disk) = Small::mount() else { return };
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (first, second) = (Pair::run(on(&disk, pair.raw(0, 0))), pair.start(1));
        whole(&first, &second).await;
        second.running.shutdown();
        let before = first.until("alone", ready(Role::Alone)).await;
        disk.load(8 << 20);
        let refused = write_until(&first, || false).await;
        let no_space = ha_core::replicate::ProposeError::NoSpace;
        assert_eq!(refused, Some(ProposeError::Refused(no_space)));
        first.told(Event::LogFull).await;
        // Longer than a lease.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let status = first.handle.status().now().unwrap();
        assert!(status.serving && status.witness_up && !status.broken);
        assert_eq!((status.role, status.membership), (Role::Alone, before.membership));
        assert_eq!(first.host.look(|seen| (seen.serving, seen.fenced)), (true, 0));
        disk.unload();
        first.until("all that waited", |status| status.applied == status.head.seq).await;
        first.told(Event::LogWritable).await;
        let seq = first.propose(b"there is room").await;
        first.until("acknowledged again", |status| status.applied >= seq).await;
    });
}

#[test]
fn a_full_disk_on_a_node_alone_has_room_for_a_new_reign() {
    let Some(disk) = Small::mount() else { return };
    block_on(async {
        let mut pair = Pair::new();
        let arbiter = pair.arbiter();
        let (first, second) = (Pair::run(on(&disk, pair.raw(0, 0))), pair.start(1));
        whole(&first, &second).await;
        second.running.shutdown();
        let before = first.until("alone", ready(Role::Alone)).await.membership.epoch;
        // To the last byte; the log has room left in the file that was reserved.
        disk.load(13 << 20);
        drop(arbiter);
        first.told(Event::WitnessSilent).await;
        // A witness that was restarted wants to be asked for the service again (R12).
        let _arbiter = pair.arbiter();
        let risen = |status: &Status| status.membership.epoch > before;
        let status = first.until("a new reign, saved on a full disk", risen).await;
        assert!(status.serving && !status.broken);
        let seq = first.propose(b"in the new reign").await;
        first.until("acknowledged", |status| status.applied >= seq).await;
        assert_eq!(first.host.look(|seen| seen.fenced), 0, "who serves goes on");
    });
}
