//! Random histories, and one twice.

use ha_sim::farm::history::{Verdict, draw, run};
use ha_sim::farm::options::Options;

#[test]
fn random_histories_keep_the_contract() {
    for seed in 700_000..700_100 {
        let verdict = run(&mut draw(Options::new(seed)));
        assert_eq!(verdict, Verdict::Good, "seed {seed}");
    }
}

#[test]
fn random_histories_with_services_that_change_keep_the_contract() {
    for seed in 1_000_500..1_000_600 {
        assert!(seed >= Options::RULES_FROM, "nothing would change");
        let verdict = run(&mut draw(Options::new(seed)));
        assert_eq!(verdict, Verdict::Good, "seed {seed}");
    }
}

#[test]
fn one_seed_is_one_history() {
    for seed in [71, 72, 73, 1_000_001] {
        let [one, other] = [(), ()].map(|()| {
            let mut world = draw(Options { trace: true, ..Options::new(seed) });
            let verdict = run(&mut world);
            (verdict, world.trace.text().to_owned())
        });
        assert!(one.1.len() > 1_000, "a trace tells something");
        assert!(one == other, "seed {seed} is not one history");
    }
}
