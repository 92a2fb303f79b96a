//! Who hears of events and heartbeats at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ha_core::driver::Driver;
use ha_core::raw::NodeConfig;
use ha_core::{Event, Order};
use ha_proto::{Epoch, ModuleId, Role};

use crate::rig::{PATIENCE, Pair, Toy, block_on, ready, until, whole};

/// What an observer is told.
type Heard = Vec<(ModuleId, Epoch, Event)>;

#[test]
fn all_observers_hear_every_event_in_order_with_its_epoch() {
    let pair = Pair::new();
    let mut driver = Driver::new();
    let mut raw = pair.raw(0, 3);
    raw.bootstrap = false;
    let host = Toy::default();
    let handle = driver.add(NodeConfig::try_from(raw).unwrap(), host.clone()).unwrap();
    let heard: [Arc<Mutex<Heard>>; 2] = Default::default();
    for heard in &heard {
        let heard = Arc::clone(heard);
        driver.observe(move |module, epoch, event| {
            heard.lock().unwrap().push((module, epoch, *event));
        });
    }
    let running = driver.start().unwrap();
    block_on(async {
        handle.order(Order::Prim).await.unwrap();
        until(&handle, "alone", ready(Role::Alone)).await;
    });
    running.shutdown();
    let [one, other] = heard.map(|heard| heard.lock().unwrap().clone());
    assert_eq!(one, other);
    assert!(one.iter().all(|(module, _, _)| *module == ModuleId(3)));
    // The host is told of the same, on its own thread.
    assert!(one.iter().map(|(_, _, event)| *event).eq(host.look(|seen| seen.events.clone())));
    let serving = one.iter().find_map(|(_, epoch, event)| {
        matches!(event, Event::Serving(_)).then_some((*epoch, *event))
    });
    let (epoch, event) = serving.unwrap();
    assert_eq!(event, Event::Serving(epoch));
}

#[test]
fn a_guard_that_wants_to_is_told_of_heartbeats_in_every_role() {
    let pair = Pair::new();
    let [first, second] = [pair.start(0), pair.start(1)];
    block_on(async {
        whole(&first, &second).await;
        for node in [&first, &second] {
            let told = || node.host.look(|seen| seen.beats);
            let before = told();
            let more = async {
                while told() < before + 10 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(PATIENCE, more).await.expect("it beats");
        }
    });
}
