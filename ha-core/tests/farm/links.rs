//! Single networks: what operators are told of them, and that no view depends on one.

use ha_core::farm::Event;
use ha_core::proto::LinkId;

use crate::rig::{Rig, millis, node};

fn settled(nodes: usize) -> Rig {
    let mut rig = Rig::new(nodes);
    rig.run(millis(2_500));
    assert!(rig.is_taken(), "{}", rig.show());
    rig
}

/// All that was told of networks by a member: to whom, which, and whether it works.
fn told(rig: &Rig, id: usize) -> Vec<(u8, u8, bool)> {
    let link = |event: &Event| match *event {
        Event::LinkUp(to, link) => Some((to.as_u8(), link.0, true)),
        Event::LinkDown(to, link) => Some((to.as_u8(), link.0, false)),
        _ => None,
    };
    rig.hosts[id].events.iter().filter_map(link).collect()
}

/// Which networks from one member to another work, as it says.
fn up(rig: &Rig, id: usize, to: usize) -> Vec<bool> {
    rig.view(id).peers[&node(to)].links.iter().map(|link| link.up).collect()
}

fn cut(rig: &mut Rig, from: usize, to: usize, link: u8) {
    rig.cut_links.insert((from, to, link));
}

#[test]
fn a_network_that_is_lost_and_back_is_told_and_moves_nothing() {
    let mut rig = settled(3);
    let (takers, id) = (rig.takers(), rig.view(0).id);
    assert_eq!([0, 1, 2].map(|id| told(&rig, id).len()), [0; 3], "what works is no news");
    assert_eq!(up(&rig, 0, 1), [true, true]);
    cut(&mut rig, 0, 1, 1);
    cut(&mut rig, 1, 0, 1);
    rig.run(millis(1_000));
    assert_eq!((told(&rig, 0), told(&rig, 1)), (vec![(1, 1, false)], vec![(0, 1, false)]));
    assert_eq!(told(&rig, 2), []);
    assert_eq!((up(&rig, 0, 1), up(&rig, 0, 2)), (vec![true, false], vec![true, true]));
    rig.cut_links.clear();
    rig.run(millis(1_000));
    assert_eq!(told(&rig, 0), [(1, 1, false), (1, 1, true)]);
    assert_eq!(told(&rig, 1), [(0, 1, false), (0, 1, true)]);
    assert_eq!(up(&rig, 0, 1), [true, true]);
    assert_eq!((rig.takers(), rig.view(0).id), (takers, id), "any network suffices");
}

#[test]
fn a_network_that_works_one_way_is_lost_for_both() {
    let mut rig = settled(2);
    cut(&mut rig, 0, 1, 0);
    rig.run(millis(1_500));
    assert_eq!((told(&rig, 0), told(&rig, 1)), (vec![(1, 0, false)], vec![(0, 0, false)]));
    assert_eq!((up(&rig, 0, 1), up(&rig, 1, 0)), (vec![false, true], vec![false, true]));
}

#[test]
fn of_a_member_that_dies_or_pauses_no_single_network_is_told() {
    let mut rig = settled(3);
    rig.kill(2);
    rig.run(millis(2_000));
    assert_eq!(rig.told(0, Event::Unlinked(node(2))), 1);
    assert_eq!((told(&rig, 0), up(&rig, 0, 2)), (vec![], vec![false, false]));
    rig.boot(2);
    rig.run(millis(2_000));
    assert_eq!((told(&rig, 0), up(&rig, 0, 2)), (vec![], vec![true, true]));
    // Nothing runs here for a while: what was not heard is nobody's fault.
    let farm = rig.hosts[1].farm.take();
    rig.run(millis(2_000));
    rig.hosts[1].farm = farm;
    rig.run(millis(2_000));
    assert!(rig.hosts[1].events.iter().any(|event| matches!(event, Event::Paused(_))));
    assert_eq!([0, 1, 2].map(|id| told(&rig, id).len()), [0; 3]);
    assert_eq!((up(&rig, 1, 0), up(&rig, 0, 1)), (vec![true, true], vec![true, true]));
}

#[test]
fn a_member_that_returns_without_one_of_its_networks_is_told_of() {
    let mut rig = settled(2);
    rig.kill(1);
    rig.run(millis(1_000));
    cut(&mut rig, 0, 1, 1);
    cut(&mut rig, 1, 0, 1);
    rig.boot(1);
    rig.run(millis(2_000));
    assert_eq!(told(&rig, 0), [(1, 1, false)]);
    assert_eq!(told(&rig, 1), [], "it never knew it otherwise");
    assert_eq!(up(&rig, 1, 0), [true, false], "and shows it");
}

#[test]
fn the_next_process_learns_what_works_in_silence() {
    let mut rig = settled(2);
    cut(&mut rig, 0, 1, 1);
    cut(&mut rig, 1, 0, 1);
    rig.run(millis(1_000));
    for id in [0, 1] {
        rig.hosts[id].events.clear();
        rig.hand_over(id, millis(20)).unwrap();
        assert!(up(&rig, id, 1 - id)[0], "nobody found that it is down");
    }
    rig.run(millis(1_500));
    assert_eq!((told(&rig, 0), told(&rig, 1)), (vec![], vec![]));
    assert_eq!((up(&rig, 0, 1), up(&rig, 1, 0)), (vec![true, false], vec![true, false]));
    rig.cut_links.clear();
    rig.run(millis(1_000));
    assert_eq!((told(&rig, 0), told(&rig, 1)), (vec![(1, 1, true)], vec![(0, 1, true)]));
}

#[test]
fn of_many_members_the_one_network_that_is_lost_is_named() {
    let mut rig = settled(16);
    cut(&mut rig, 15, 0, 1);
    rig.run(millis(1_000));
    assert_eq!((told(&rig, 0), told(&rig, 15)), (vec![(15, 1, false)], vec![(0, 1, false)]));
    let down = (1..16).filter(|&to| up(&rig, 0, to) != [true, true]).collect::<Vec<_>>();
    assert_eq!(down, [15]);
    let link = rig.view(0).peers[&node(15)].links[usize::from(LinkId(1).0)];
    assert!(!link.up && link.since.is_some(), "{link:?}");
}
