//! Two farms with one address on different machines.

use std::collections::BTreeSet;

use ha_lab::within;

use crate::rig::{Case, Farm, SOON};

#[test]
fn two_farms_of_one_address_tell_of_each_other_and_serve_on() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::of(4, "two_farms", case) else { return };
        for spec in &mut farm.specs[2..] {
            spec.cluster += 1;
        }
        let farms = [[0, 1], [2, 3]];
        (0..4).for_each(|id| farm.boot(id));
        for members in &farms {
            farm.settle(members);
        }
        let announcers = farms.map(|members| farm.view(members[0]).announcer.unwrap());
        for (me, other) in [(0, 1), (1, 0)].map(|(a, b)| (announcers[a], announcers[b])) {
            let mac = farm.hosts[other].mac(&farm.network).unwrap();
            let expected: BTreeSet<String> =
                farm.vips.iter().map(|vip| format!("{vip} {mac}")).collect();
            let mut seen = BTreeSet::new();
            let told = within(SOON, || {
                seen = farm.order(me, "strangers").lines().map(str::to_owned).collect();
                seen == expected
            });
            assert!(told, "{case:?}: {me} hears of {other}: {seen:?}\n{}", farm.said());
        }
        for members in &farms {
            farm.settle(members);
            let silent = members.iter().find(|id| !announcers.contains(id)).unwrap();
            assert_eq!(farm.order(*silent, "strangers"), "", "{case:?}: it asks nobody");
        }
    }
}

/// Whoever announces hears those before it let go, and is no stranger to them.
#[test]
fn a_farm_alone_tells_of_nobody_whoever_announces() {
    for case in [Case::ALL[0], Case::ALL[1]] {
        let Some(mut farm) = Farm::start("a_farm_alone", case) else { return };
        farm.boot_all();
        let first = farm.view(0).announcer.unwrap();
        let others: Vec<usize> = (0..3).filter(|id| *id != first).collect();
        let capture = farm.client.capture(&farm.network, "arp").unwrap();
        farm.kill(first);
        farm.settle(&others);
        farm.boot(first);
        farm.settle(&[0, 1, 2]);
        // From nobody: "who-has VIP tell 0.0.0.0", by the card that announces; that is another one
        // once the machine stood still for a moment (F6).
        let asked = || {
            let Some(now) = farm.view(0).announcer else { return 0 };
            let mac = farm.hosts[now].mac(&farm.network).unwrap().to_string();
            let asks = |line: &&String| line.starts_with(&mac) && line.contains("tell 0.0.0.0");
            capture.lines().unwrap().iter().filter(asks).count()
        };
        assert!(within(SOON, || asked() >= 2), "{case:?}: it asks at once, and again and again");
        for id in 0..3 {
            assert_eq!(farm.order(id, "strangers"), "", "{case:?} {id}: {}", farm.said());
        }
    }
}
