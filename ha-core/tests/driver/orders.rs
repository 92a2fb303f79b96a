//! An operator's orders are answered at once, with what to do when they are refused.

use ha_core::Order;
use ha_core::driver::OrderError;
use ha_proto::Role;

use crate::rig::{Node, PATIENCE, Pair, block_on, whole};

async fn refusal(node: &Node, order: Order) -> ha_core::OrderError {
    match node.handle.order(order).await {
        Err(OrderError::Refused(error)) => error,
        other => panic!("{order:?} is answered by {other:?}"),
    }
}

/// The same, once the peer is ready: loaded cores or a busy disk may hold it up for a moment.
async fn refusal_beside_a_peer(node: &Node, order: Order) -> ha_core::OrderError {
    let answered = async {
        loop {
            match refusal(node, order).await {
                ha_core::OrderError::NotReady => tokio::task::yield_now().await,
                error => return error,
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("the peer is ready again")
}

#[test]
fn an_order_is_refused_with_the_reason_of_the_moment() {
    block_on(async {
        let mut pair = Pair::new();
        let arbiter = pair.arbiter();
        let (first, second) = (pair.start(0), pair.start(1));
        whole(&first, &second).await;
        assert_eq!(refusal(&second, Order::Swap).await, ha_core::OrderError::NotPrimary);
        assert_eq!(refusal(&second, Order::Prim).await, ha_core::OrderError::PeerServes);
        assert_eq!(refusal(&first, Order::PrimForce).await, ha_core::OrderError::Serves);
        drop(arbiter);
        first.until("without witness", |status| !status.witness_up).await;
        let silent = refusal_beside_a_peer(&first, Order::Swap).await;
        assert_eq!(silent, ha_core::OrderError::WitnessSilent);
        assert!(silent.to_string().contains("does not answer"));
        let _arbiter = pair.arbiter();
        first.until("with a witness", |status| status.witness_up).await;
        let grace = refusal_beside_a_peer(&first, Order::Swap).await;
        assert_eq!(grace, ha_core::OrderError::WitnessInGrace);
        second.running.shutdown();
        first.until("alone", |status| status.role == Role::Alone && status.ready).await;
        assert_eq!(refusal(&first, Order::Swap).await, ha_core::OrderError::NotReady);
    });
}

#[test]
fn a_driver_that_has_ended_refuses_orders() {
    block_on(async {
        let first = Pair::new().start(0);
        first.running.shutdown();
        assert_eq!(first.handle.order(Order::Start).await, Err(OrderError::Closed));
    });
}
