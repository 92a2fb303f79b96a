//! Counterexample 19 (Adopt, incarnation): what the old witness said is void.

use ha_core::Saved;
use ha_proto::StoreId;
use ha_quorum::Vote;
use ha_sim::disk::Disk;
use ha_sim::fault::Fault;
use ha_sim::host::Host;
use ha_sim::network::{Act, Channel, Site};
use ha_sim::node::Node;
use ha_sim::script::{A, B, is_answer};
use ha_sim::weather::MS;
use ha_sim::world::World;

#[test]
fn answers_of_the_old_witness_do_not_count() {
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Witness, Site::Node(A), is_answer, Act::Copy, 2);
    world.rule(Site::Witness, Site::Node(B), is_answer, Act::Copy, 2);
    world.pass(3_000);
    world.inject(Fault::WitnessReplace { down: 200 * MS });
    world.pass(300);
    world.release();
    let moved = world.until(10_000, |world| world.primary() != Some(A));
    assert!(!moved, "A serves on its peer's promise meanwhile");
    assert!(world.until(10_000, World::is_whole), "adopted: {}", world.describe());
    world.conclude();
}

#[test]
fn a_blank_node_does_not_vote_at_an_adoption() {
    let mut world = World::scripted(Vote::Arbiter);
    world.step("B is excluded and does not know it");
    world.cut(Channel::AB | Channel::B_W | Channel::W_B);
    assert!(world.until(10_000, |world| world.witness_set().len() == 1));
    assert!(world.until(1_000, |world| world.scene.may_run_alone(A)));
    assert!(world.acknowledged_within(1_000) > 0);

    world.step("A and W are lost, and blank ones come in their places");
    world.inject(Fault::WitnessReplace { down: 200 * MS });
    world.lose(A);
    replace_by_a_blank_one(&mut world.scene.nodes[A]);
    world.pass(10);
    world.start(A);
    world.mend_channels(Channel::AB | Channel::B_W | Channel::W_B);
    world.pass(20_000);
    assert_eq!(world.primary(), None, "B lacks writes, and A cannot say so");
    assert_eq!(world.scene.register(), None, "an operator has to choose");
}

fn replace_by_a_blank_one(node: &mut Node) {
    let Saved { cluster, module, node: id, store, .. } = node.disk.saved;
    node.disk = Disk::blank(Saved::blank(cluster, module, id, StoreId(store.0 ^ 2)));
    node.host = Host::default();
    node.lost_storage = true;
}
