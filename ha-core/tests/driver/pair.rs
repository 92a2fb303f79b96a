//! One module on two nodes: replicate, fail over, come back.

use bytes::Bytes;
use ha_core::Order;
use ha_core::driver::ProposeError;
use ha_proto::Role;

use crate::rig::{Pair, block_on, whole};

#[test]
fn a_pair_replicates_fails_over_and_comes_back_with_an_arbiter() {
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        life_of(&pair).await;
    });
}

#[test]
fn a_pair_replicates_fails_over_and_comes_back_without_a_witness() {
    block_on(async { life_of(&Pair::new()).await });
}

async fn life_of(pair: &Pair) {
    let (first, second) = (pair.start(0), pair.start(1));
    first.until("primary", |status| status.role == Role::Prim && status.ready).await;
    second.until("secondary", |status| status.role == Role::Second && status.ready).await;

    let mut sent = Vec::new();
    for number in 0..50_u32 {
        let record = Bytes::from(format!("record {number}"));
        first.propose(&record).await;
        sent.push(record);
    }
    first.until("applied", |status| status.applied.0 == 50).await;
    second.until("applied there", |status| status.applied.0 == 50).await;
    assert_eq!(first.host.records(), sent);
    assert_eq!(second.host.records(), sent);
    assert!(first.host.look(|seen| seen.serving && seen.address));
    assert!(!second.host.look(|seen| seen.serving || seen.address));

    // The primary dies.
    first.running.shutdown();
    second.until("alone", |status| status.role == Role::Alone && status.ready).await;
    for number in 50..60_u32 {
        let record = Bytes::from(format!("record {number}"));
        second.propose(&record).await;
        sent.push(record);
    }
    second.until("applied alone", |status| status.applied.0 == 60).await;

    // It comes back, and catches up.
    let first = pair.start(0);
    first.until("secondary", |status| status.role == Role::Second && status.ready).await;
    second.until("primary", |status| status.role == Role::Prim && status.ready).await;
    first.until("caught up", |status| status.applied.0 == 60).await;
    assert_eq!(first.host.records(), sent);

    // And takes the service back.
    second.insist(Order::Swap, &first, |status| status.role == Role::Prim).await;
    first.until("primary again", |status| status.role == Role::Prim && status.ready).await;
    second.until("secondary again", |status| status.role == Role::Second && status.ready).await;
    first.propose(b"last").await;
    first.until("applied at last", |status| status.applied.0 == 61).await;
    second.until("applied there at last", |status| status.applied.0 == 61).await;
    assert_eq!(first.host.records(), second.host.records());
    let counters = first.handle.counters().await.unwrap();
    assert_eq!(counters.peer_rejections.total(), 0);
}

#[test]
fn a_secondary_refuses_records_and_says_why() {
    block_on(async {
        let pair = Pair::new();
        let (first, second) = (pair.start(0), pair.start(1));
        second.until("secondary", |status| status.role == Role::Second && status.ready).await;
        let refused = second.handle.propose(Bytes::from_static(b"no")).await;
        assert_eq!(
            refused,
            Err(ProposeError::Refused(ha_core::replicate::ProposeError::NotLeader))
        );
        second.handle.submit(Bytes::from_static(b"no")).unwrap();
        second.handle.order(Order::Failover(false)).await.unwrap();
        first.propose(b"yes").await;
        second.until("applied", |status| status.applied.0 == 1).await;
        assert_eq!(second.host.look(|seen| seen.refused), 1);
    });
}

#[test]
fn a_driver_that_ends_stops_its_application_and_answers_everyone() {
    block_on(async {
        let pair = Pair::new();
        let (first, second) = (pair.start(0), pair.start(1));
        first.until("primary", |status| status.role == Role::Prim && status.ready).await;
        drop(second);
        first.handle.shutdown();
        first.running.wait().unwrap();
        assert!(!first.host.look(|seen| seen.serving || seen.address));
        let closed = Err(ProposeError::Closed);
        assert_eq!(first.handle.propose(Bytes::new()).await, closed);
        assert_eq!(first.handle.submit(Bytes::new()), Err(ProposeError::Closed));
        assert_eq!(first.handle.counters().await, None);
    });
}

#[test]
fn a_host_that_panics_ends_its_driver_and_the_peer_takes_over() {
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (first, second) = (pair.start(0), pair.start(1));
        first.until("primary", |status| status.role == Role::Prim && status.ready).await;
        second.until("secondary", |status| status.role == Role::Second && status.ready).await;
        first.host.look(|seen| seen.bug = true);
        first.handle.submit(Bytes::from_static(b"record")).unwrap();
        let failure = first.running.wait().unwrap_err();
        assert_eq!(failure.to_string(), "the thread ha-host-0 panicked");
        assert!(!first.host.look(|seen| seen.serving || seen.address));
        assert_eq!(first.handle.submit(Bytes::new()), Err(ProposeError::Closed));
        second.until("alone", |status| status.role == Role::Alone && status.ready).await;
        assert_eq!(second.host.records(), [Bytes::from_static(b"record")]);
    });
}

#[test]
fn many_records_in_flight_arrive_in_order_on_both() {
    const RECORDS: u64 = 50_000;
    block_on(async {
        let pair = Pair::new();
        let (first, second) = (pair.start(0), pair.start(1));
        first.until("primary", |status| status.role == Role::Prim && status.ready).await;
        for number in 0..RECORDS {
            let mut record = vec![7; 340];
            record[..8].copy_from_slice(&number.to_be_bytes());
            let record = Bytes::from(record);
            while first.handle.submit(record.clone()) == Err(ProposeError::Busy) {
                tokio::task::yield_now().await;
            }
        }
        first.until("applied", |status| status.applied.0 == RECORDS).await;
        second.until("applied there", |status| status.applied.0 == RECORDS).await;
        let numbers = |records: Vec<Bytes>| {
            let number = |record: &Bytes| u64::from_be_bytes(record[..8].try_into().unwrap());
            records.iter().map(number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(first.host.records()), (0..RECORDS).collect::<Vec<_>>());
        assert_eq!(first.host.records(), second.host.records());
    });
}

#[test]
fn an_arbiter_that_restarts_remembers() {
    block_on(async {
        let mut pair = Pair::new();
        let arbiter = pair.arbiter();
        let (first, second) = (pair.start(0), pair.start(1));
        whole(&first, &second).await;
        let before = first.until("witnessed", |status| status.witness_up).await;
        drop(arbiter);
        first.until("without witness", |status| !status.witness_up).await;
        first.propose(b"goes on").await;
        second.until("applied", |status| status.applied.0 == 1).await;
        let _arbiter = pair.arbiter();
        let after = first.until("witnessed again", |status| status.witness_up).await;
        assert_eq!(after.membership.epoch, before.membership.epoch);
        assert_eq!(after.role, Role::Prim);
    });
}
