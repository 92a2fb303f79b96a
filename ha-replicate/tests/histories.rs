//! Random histories of a pair: no acknowledged record is lost or changed, whatever fails, and the
//! pair becomes whole once nothing fails any more.

#![allow(clippy::unwrap_used, reason = "a model that is wrong about itself shall say so")]

mod pair;

use pair::{Pair, Reached, steps};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_acknowledged_record_is_lost(history in proptest::collection::vec(steps(), 0..400)) {
        let mut pair = Pair::new();
        for step in history {
            pair.step(step);
        }
        pair.recover();
    }
}

/// A model that never gets anywhere proves nothing: each interesting thing happens in some history.
#[test]
fn the_histories_reach_everything() {
    let mut runner = TestRunner::deterministic();
    let histories = proptest::collection::vec(steps(), 300..400);
    let mut reached = Reached::default();
    for _ in 0..200 {
        let mut pair = Pair::new();
        for step in histories.new_tree(&mut runner).unwrap().current() {
            pair.step(step);
            reached.note(&pair);
        }
    }
    println!("{reached:?}");
    assert!(reached.everything(), "{reached:?}");
}
