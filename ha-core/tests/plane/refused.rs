//! What cannot work, said once; the farm serves on with what agrees.

use ha_core::linux::farm::{FrontError, StartError, start};
use ha_core::linux::plane::Memory;
use ha_lab::within;

use crate::rig::{BEATS, Case, Farm, Kind, SOON};

#[test]
fn a_member_with_other_rules_or_another_key_is_left_out_and_that_is_said_once() {
    for case in [Case::ALL[0], Case::ALL[3]] {
        let Some(mut farm) = Farm::start("a_member_with_other", case) else { return };
        farm.boot_all();
        let right = farm.specs[2].clone();
        let mut other_rules = right.clone();
        other_rules.last += 9;
        let mut other_key = right.clone();
        other_key.seed += 1;
        for (round, wrong) in [other_rules, other_key].into_iter().enumerate() {
            farm.kill(2);
            farm.settle(&[0, 1]);
            farm.specs[2] = wrong;
            farm.boot(2);
            // The third one is another process each time.
            let told = |id: usize| disagrees(&farm, id) > if id < 2 { round } else { 0 };
            assert!(within(SOON, || (0..3).all(told)), "{case:?}: {}", farm.said());
            farm.settle(&[0, 1]);
            for vip in farm.vips {
                let served = farm.connect(vip, 40);
                assert!(served.iter().all(|(_, by)| *by < 2), "{case:?} {vip}: it is left out");
            }
            farm.kill(2);
            farm.specs[2] = right.clone();
            farm.boot(2);
            farm.settle(&[0, 1, 2]);
        }
        for id in 0..2 {
            assert_eq!(disagrees(&farm, id), 2, "{case:?}: once each time: {}", farm.said());
        }
    }
}

/// How often a member said that another one is not configured as it is.
fn disagrees(farm: &Farm, id: usize) -> usize {
    farm.members[id].as_ref().unwrap().output().matches("Disagrees(").count()
}

#[test]
fn members_with_different_planes_do_not_mix_and_each_says_so() {
    let Some(mut farm) = Farm::start("members_with_different", Case::ALL[0]) else { return };
    farm.specs[2].case = Case::ALL[2];
    assert_eq!(farm.specs[2].case.plane, Kind::Nft, "its hash is another one");
    for id in 0..3 {
        farm.boot(id);
    }
    let heard = within(SOON, || (0..3).all(|id| disagrees(&farm, id) > 0));
    assert!(heard, "{}", farm.said());
    farm.settle(&[0, 1]);
    for vip in farm.vips {
        let served = farm.connect(vip, 40);
        assert!(served.iter().all(|(_, by)| *by < 2), "{vip}: hashes are never mixed");
    }
}

#[test]
fn a_second_daemon_of_one_member_is_refused_in_one_line() {
    let Some(mut farm) = Farm::start("a_second_daemon", Case::ALL[0]) else { return };
    farm.boot_all();
    let plane = Memory::new();
    let setup = farm.specs[2].setup(Box::new(plane.clone()), BEATS);
    let refused = farm.hosts[2].inside(|| start(setup).map(drop)).unwrap().unwrap_err();
    let said = refused.to_string();
    assert!(said.lines().count() == 1 && said.contains("Address already in use"), "{said}");
    let address = farm.specs[2].addresses[2].to_string();
    assert!(said.contains(&address), "it names the address: {said}");
    assert_eq!(plane.written().filter, None, "nothing of it is left");
    farm.settle(&[0, 1, 2]);
    farm.connect(farm.vips[0], 20);
}

#[test]
fn a_second_farm_with_the_same_address_on_a_machine_is_refused_in_one_line() {
    let Some(mut farm) = Farm::start("a_second_farm", Case::ALL[0]) else { return };
    farm.boot_all();
    let spec = &farm.specs[0];
    let plane = Memory::new();
    let setup = spec.setup(Box::new(plane.clone()), BEATS + 1);
    let refused = farm.hosts[0].inside(|| start(setup).map(drop)).unwrap().unwrap_err();
    assert!(matches!(&refused, StartError::Front(FrontError::Taken(_))), "{refused}");
    let line = format!(
        "{} is the virtual address of another farm on this machine, which runs",
        farm.vips[0]
    );
    assert_eq!(refused.to_string(), line);
    assert_eq!(plane.written().filter, None, "nothing of it is left");
    farm.settle(&[0, 1, 2]);
    for vip in farm.vips {
        assert_eq!(farm.hosts[0].holds(vip).ok(), Some(true), "the first farm has its addresses");
        farm.connect(vip, 40);
    }
}
