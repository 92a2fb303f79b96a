//! The laws of a machine, on random inputs at random times.

mod status;

use std::time::Duration;

use ha_heartbeat::{Beat, Config, Detector, Echo, Input};
use ha_proto::{Boot, Instant, LinkId, NodeId, laws};
use proptest::prelude::*;

const MY_BOOT: Boot = Boot(7);

fn node(id: u8) -> NodeId {
    NodeId::new(id).expect("below 128")
}

fn beat() -> impl Strategy<Value = Input> {
    let echo = proptest::option::of((6..8_u64, 1..40_u64));
    let promise = proptest::option::of((6..8_u64, 1..40_u64));
    let numbers = (1..40_u64, 0..40_u64);
    (0..3_u8, 0..4_u8, 1..4_u64, numbers, echo, promise).prop_map(
        |(link, from, boot, (number, link_echo), echo, promise)| {
            let named = |(boot, number)| Echo { boot: Boot(boot), number };
            let mut status = status::blank();
            status.promise = promise.map(named);
            let beat = Beat { boot: Boot(boot), number, echo: echo.map(named), status };
            Input::Beat {
                link: LinkId(link),
                from: node(from),
                link_echo,
                waited: Duration::ZERO,
                beat,
            }
        },
    )
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        6 => beat(),
        2 => Just(Input::Tick),
        1 => Just(Input::SendNow),
        1 => any::<bool>().prop_map(|asks| {
            let mut status = status::blank();
            status.asks = asks;
            Input::Status(status)
        }),
    ]
}

proptest! {
    #[test]
    fn a_detector_keeps_the_laws(
        history in proptest::collection::vec((0..30_000_u64, input()), 1..120),
    ) {
        let (interval, timeout) = (Duration::from_millis(10), Duration::from_millis(40));
        let peers = vec![node(1), node(2)];
        let config = Config::new(node(0), MY_BOOT, peers, 2, interval, timeout).unwrap();
        let detector = Detector::new(config, status::blank(), Instant::ZERO);
        let timed = |(micros, input)| (Duration::from_micros(micros), input);
        laws::check(detector, || Input::Tick, history.into_iter().map(timed));
    }
}
