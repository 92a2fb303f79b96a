//! The laws of a machine, on random inputs at random times.

mod common;

use std::time::Duration;

use common::{MACS, OTHER, claim, config, epoch, four, six};
use ha_proto::{Ticket, laws};
use ha_vip::{AddressSet, Input, InterfaceId, Mac, OnRemoved};
use proptest::prelude::*;

fn input() -> impl Strategy<Value = Input> {
    let lifetime = || (0..4_000_u64).prop_map(Duration::from_millis);
    let address = || prop_oneof![Just(four()), Just(six())];
    let mac = || prop_oneof![Just(MACS[0]), Just(OTHER), any::<[u8; 6]>().prop_map(Mac)];
    prop_oneof![
        8 => (1..60_u64, proptest::bool::weighted(0.8))
            .prop_map(|(ticket, done)| Input::Done { ticket: Ticket(ticket), done }),
        2 => Just(Input::Tick),
        3 => (1..5_u64, lifetime())
            .prop_map(|(counter, lifetime)| Input::Take { epoch: epoch(counter), lifetime }),
        3 => lifetime().prop_map(|lifetime| Input::Keep { lifetime }),
        1 => Just(Input::Release),
        1 => Just(Input::Announce),
        3 => (0..3_u8, proptest::option::of(mac()), any::<bool>())
            .prop_map(|(id, mac, up)| Input::Interface { id: InterfaceId(id), mac, up }),
        1 => address().prop_map(Input::Removed),
        1 => address().prop_map(Input::Appeared),
        2 => (address(), mac()).prop_map(|(address, mac)| claim(address, mac)),
    ]
}

proptest! {
    #[test]
    fn a_set_keeps_the_laws(
        history in proptest::collection::vec((0..300_000_u64, input()), 1..120),
        steps_down: bool,
    ) {
        let on_removed = if steps_down { OnRemoved::StepDown } else { OnRemoved::PutBack };
        let set = AddressSet::new(&config(on_removed));
        let timed = |(micros, input)| (Duration::from_micros(micros), input);
        laws::check(set, || Input::Tick, history.into_iter().map(timed));
    }
}
