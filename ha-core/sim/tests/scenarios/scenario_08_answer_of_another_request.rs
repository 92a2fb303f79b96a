//! Counterexample 8 (R9, last sentence): an answer counts only for the request that it echoes.

use ha_quorum::{Outcome, Vote};
use ha_sim::fact::Fact;
use ha_sim::fault::Fault;
use ha_sim::network::{Act, Channel, Site};
use ha_sim::script::{A, B, asks_exclude};
use ha_sim::world::World;

fn excluded(fact: &Fact) -> bool {
    let Fact::Answer(answer) = fact else { return false };
    let alone = answer.register.is_some_and(|register| register.membership.set.len() == 1);
    answer.outcome == Outcome::Ok && alone
}

#[test]
fn a_duplicate_of_an_old_answer_changes_nothing() {
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Witness, Site::Node(A), excluded, Act::Copy, 1);
    world.inject(Fault::Kill { node: B, down: 3_000_000_000 });
    assert!(world.until(8_000, |world| !world.scene.network.held.is_empty()));
    assert!(world.until(20_000, World::is_whole));

    world.step("a second exclusion, whose request is lost; the answer to the first comes again");
    world.rule(Site::Node(A), Site::Witness, asks_exclude, Act::Drop, 1_000);
    world.cut(Channel::AB);
    world.pass(2_000);
    world.release();
    let before = world.acknowledged;
    world.pass(3_000);
    assert_eq!(world.acknowledged, before, "W has both in the set");
    world.lose(A);
    assert!(world.until(8_000, |world| world.primary() == Some(B)));
    world.conclude();
}
