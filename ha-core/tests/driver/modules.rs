//! Many modules in one process share its sockets and its stream.

use bytes::Bytes;
use ha_core::driver::{Driver, Handle, Running};
use ha_core::raw::NodeConfig;
use ha_proto::Role;

use crate::rig::{Pair, Toy, block_on, until};

const MODULES: u16 = 20;

fn start(pair: &Pair, node: u8) -> (Running, Vec<(Handle, Toy)>) {
    let mut driver = Driver::new();
    let modules = (0..MODULES).map(|module| {
        let host = Toy::default();
        let mut raw = pair.raw(node, module);
        // Half of them begin on the other node.
        raw.bootstrap = u16::from(node) == module % 2;
        let handle = driver.add(NodeConfig::try_from(raw).unwrap(), host.clone()).unwrap();
        assert_eq!(handle.module().0, module);
        (handle, host)
    });
    let modules = modules.collect();
    (driver.start().unwrap(), modules)
}

#[test]
fn twenty_modules_serve_on_both_nodes_over_the_same_sockets() {
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (running, first) = start(&pair, 0);
        let (_second_running, second) = start(&pair, 1);
        for (place, (first, second)) in first.iter().zip(&second).enumerate() {
            let (prim, other) = if place % 2 == 0 { (first, second) } else { (second, first) };
            let ready = |role| move |status: &ha_core::Status| status.role == role && status.ready;
            until(&prim.0, "primary", ready(Role::Prim)).await;
            until(&other.0, "secondary", ready(Role::Second)).await;
            for number in 0..10 {
                let record = Bytes::from(format!("{place}: {number}"));
                prim.0.propose(record).await.unwrap();
            }
        }
        for (first, second) in first.iter().zip(&second) {
            until(&first.0, "applied", |status| status.applied.0 == 10).await;
            until(&second.0, "applied there", |status| status.applied.0 == 10).await;
            assert_eq!(first.1.records(), second.1.records());
        }
        // One process dies: the other one takes over what it did not have.
        running.shutdown();
        for (handle, _) in &second {
            until(handle, "alone", |status| status.role == Role::Alone && status.ready).await;
            handle.propose(Bytes::from_static(b"alone")).await.unwrap();
            until(handle, "applied alone", |status| status.applied.0 == 11).await;
        }
    });
}
