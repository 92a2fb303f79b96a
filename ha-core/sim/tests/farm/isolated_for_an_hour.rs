//! FIELD.md row 20: an isolated member comes back, however long it was alone.

use ha_sim::farm::fault::Fault;
use ha_sim::farm::world::World;
use ha_sim::farm::world::build::Setup;

#[test]
fn a_member_comes_back_after_an_hour_alone() {
    let mut world = World::scripted(&Setup::plain(3));
    let alone = Fault::Split { group: 0b100, lasts: 0 };
    world.inject(alone);
    world.pass(36_000);
    let takes = world.takers(0);
    assert!(takes.iter().all(|takers| takers.contains(&2)), "who hears nobody serves everything");
    world.mend(alone);
    world.finish();
}
