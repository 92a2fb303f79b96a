//! Lists of faults that proptest generates and shrinks, in the same world as the drawn ones.

use ha_core::Order;
use ha_quorum::Vote;
use ha_sim::fault::{Fault, Planned};
use ha_sim::history::{Verdict, run, with_plan};
use ha_sim::lan::IPS;
use ha_sim::network::Channel;
use ha_sim::options::{Keeper, Options};
use ha_sim::weather::MS;
use proptest::prelude::*;

fn fault() -> impl Strategy<Value = Fault> {
    let node = 0..2_usize;
    let span = (1..9_000_u64).prop_map(|millis| millis * MS);
    let order = prop::sample::select(vec![
        Order::Swap,
        Order::Stop,
        Order::Start,
        Order::Restart,
        Order::Prim,
        Order::Second,
    ]);
    prop_oneof![
        (node.clone(), span.clone()).prop_map(|(node, down)| Fault::Kill { node, down }),
        (node.clone(), span.clone()).prop_map(|(node, down)| Fault::PowerCut { node, down }),
        (node.clone(), span.clone()).prop_map(|(node, lasts)| Fault::Pause { node, lasts }),
        (1..=Channel::ALL, span.clone())
            .prop_map(|(channels, lasts)| Fault::Cut { channels, lasts }),
        Just(Fault::Reset),
        span.clone().prop_map(|down| Fault::WitnessKill { down }),
        span.clone().prop_map(|lasts| Fault::WitnessPause { lasts }),
        span.clone().prop_map(|down| Fault::WitnessReplace { down }),
        (node.clone(), span.clone()).prop_map(|(node, down)| Fault::NodeReplace { node, down }),
        (node.clone(), span.clone()).prop_map(|(node, lasts)| Fault::DiskFull { node, lasts }),
        (node.clone(), span.clone()).prop_map(|(node, lasts)| Fault::DiskHang { node, lasts }),
        (node.clone(), span.clone()).prop_map(|(node, lasts)| Fault::AppFail { node, lasts }),
        (node.clone(), span.clone(), any::<bool>()).prop_map(|(node, gap, lost)| Fault::Upgrade {
            node,
            gap: gap / 4,
            lost
        }),
        (node.clone(), 0..IPS).prop_map(|(node, place)| Fault::Unset { node, place }),
        (0..IPS, any::<bool>(), span).prop_map(|(place, claims, lasts)| Fault::Intruder {
            place,
            claims,
            lasts
        }),
        node.clone().prop_map(|node| Fault::DiskFail { node }),
        (node, order).prop_map(|(node, order)| Fault::Order { node, order }),
    ]
}

fn plan() -> impl Strategy<Value = Vec<Planned>> {
    let planned =
        (0..52_000_u64, fault()).prop_map(|(millis, fault)| Planned { at: millis * MS, fault });
    prop::collection::vec(planned, 0..24)
}

fn vote() -> impl Strategy<Value = Vote> {
    prop::sample::select(vec![Vote::Arbiter, Vote::None, Vote::Ping, Vote::Manual])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_list_of_faults_is_survived(
        seed in 0..1_000_000_u64,
        vote in vote(),
        keeper in prop::sample::select(vec![Keeper::Arbiter, Keeper::Store]),
        plan in plan(),
    ) {
        let mut world = with_plan(Options { keeper, ..Options::new(seed, vote) }, plan);
        prop_assert_eq!(run(&mut world), Verdict::Good);
    }
}
