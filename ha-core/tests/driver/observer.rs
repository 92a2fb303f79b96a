//! Who hears of events at once.

use std::sync::{Arc, Mutex};

use ha_core::Event;
use ha_core::driver::{Driver, Notice};
use ha_core::raw::NodeConfig;
use ha_proto::{ModuleId, Role};

use crate::rig::{Pair, Toy, block_on, ready, until};

#[test]
fn an_observer_hears_every_event_in_order_with_role_and_epoch() {
    let pair = Pair::new();
    let heard: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let mut driver = Driver::new();
    let mut raw = pair.raw(0, 3);
    raw.bootstrap = false;
    let handle = driver.add(NodeConfig::try_from(raw).unwrap(), Toy::default()).unwrap();
    let note = Arc::clone(&heard);
    driver.observe(move |notice| note.lock().unwrap().push(*notice));
    let running = driver.start().unwrap();
    block_on(async {
        handle.order(ha_core::Order::Prim).await.unwrap();
        until(&handle, "alone", ready(Role::Alone)).await;
    });
    running.shutdown();
    let heard = heard.lock().unwrap();
    assert!(heard.iter().all(|notice| notice.module == ModuleId(3)));
    assert!(heard.iter().map(|notice| notice.sequence).eq(1..=heard.len() as u64));
    let serving = heard.iter().find(|notice| matches!(notice.event, Event::Serving(_))).unwrap();
    assert_eq!(serving.event, Event::Serving(serving.epoch));
    assert!(heard.iter().any(|notice| notice.role == Role::Alone), "{heard:?}");
}
