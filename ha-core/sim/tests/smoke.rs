//! Random histories for each kind of vote, and the same history twice.

use ha_core::Profile;
use ha_quorum::Vote;
use ha_sim::history::{Verdict, draw, run};
use ha_sim::options::{Keeper, Options};

fn histories(vote: Vote, profile: Profile, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let options = Options { profile, ..Options::new(seed, vote) };
        let verdict = run(&mut draw(options));
        assert_eq!(verdict, Verdict::Good, "seed {seed}, vote {vote}, {profile:?}");
    }
}

#[test]
fn with_an_arbiter() {
    histories(Vote::Arbiter, Profile::Lan, 500_000..500_200);
    histories(Vote::Arbiter, Profile::Fast, 500_000..500_020);
}

#[test]
fn with_a_plain_store() {
    for (profile, seeds) in [(Profile::Lan, 500_000..500_200), (Profile::Fast, 500_000..500_020)] {
        for seed in seeds {
            let store = Options { keeper: Keeper::Store, ..Options::new(seed, Vote::Arbiter) };
            let verdict = run(&mut draw(Options { profile, ..store }));
            assert_eq!(verdict, Verdict::Good, "seed {seed}, a plain store, {profile:?}");
        }
    }
}

#[test]
fn without_a_witness() {
    histories(Vote::None, Profile::Lan, 500_000..500_200);
}

#[test]
fn with_addresses_outside() {
    histories(Vote::Ping, Profile::Lan, 500_000..500_200);
}

#[test]
fn with_an_operator_who_votes() {
    histories(Vote::Manual, Profile::Lan, 500_000..500_200);
}

#[test]
fn with_upgrades() {
    for vote in [Vote::Arbiter, Vote::None, Vote::Ping, Vote::Manual] {
        for seed in 600_000..600_060 {
            let options = Options { upgrades: true, ..Options::new(seed, vote) };
            let verdict = run(&mut draw(options));
            assert_eq!(verdict, Verdict::Good, "seed {seed}, vote {vote}, with upgrades");
        }
    }
}

#[test]
fn one_seed_is_one_history() {
    for (seed, vote) in [(77, Vote::Arbiter), (78, Vote::None), (79, Vote::Manual)] {
        let options = Options { trace: true, upgrades: true, ..Options::new(seed, vote) };
        let [one, other] = [(), ()].map(|()| {
            let mut world = draw(options);
            let verdict = run(&mut world);
            (verdict, world.trace.text().to_owned())
        });
        assert!(one.1.len() > 10_000, "a trace tells something");
        assert!(one == other, "seed {seed} is not one history");
    }
}

#[test]
fn a_trace_changes_nothing() {
    let end = |trace| {
        let mut world = draw(Options { trace, ..Options::new(80, Vote::Arbiter) });
        (run(&mut world), world.now(), world.acknowledged)
    };
    assert_eq!(end(true), end(false));
}
