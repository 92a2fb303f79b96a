//! A farm whose network comes apart and is whole again.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ha_core::farm::Isolated;
use ha_lab::{Cut, within};

use crate::rig::{Case, Farm, PORT, SOON, open, shares};
use crate::seen::check_once;

#[test]
fn a_farm_that_was_split_serves_on_both_sides_and_is_one_again() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("a_farm_that_was_split", case) else { return };
        farm.boot_all();
        // The coordinator is cut off with nobody; the clients are with the others.
        let cut = Cut::of(&farm.hosts[0], &farm.network);
        farm.lab.cut(std::slice::from_ref(&cut)).unwrap();
        farm.settle(&[1, 2]);
        farm.settle(&[0]);
        for vip in farm.vips {
            let served = farm.connect(vip, 30);
            let servers = shares(served.iter().map(|(_, by)| by));
            assert!(servers.len() == 2 && !servers.contains_key(&0), "{case:?}: {servers:?}");
        }
        let capture = farm.client.capture(&farm.network, "ip or ip6").unwrap();
        farm.lab.heal(&[cut]).unwrap();
        farm.settle(&[0, 1, 2]);
        for vip in farm.vips {
            let served = farm.connect(vip, 60);
            let servers = shares(served.iter().map(|(_, by)| by));
            assert_eq!(servers.len(), 3, "{case:?}: {servers:?}");
        }
        check_once(&capture, &farm, 2 * 60, 0);
    }
}

/// FG1 says nothing of the first moments when who was alone served all. Where it served nothing, no
/// packet may be answered twice from the heal on.
#[test]
fn who_begins_between_a_heal_and_the_next_view_is_answered_by_one_or_refused() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("between_a_heal", case) else { return };
        farm.specs.iter_mut().for_each(|spec| spec.isolated = Isolated::Nothing);
        farm.boot_all();
        let cut = Cut::of(&farm.hosts[0], &farm.network);
        farm.lab.cut(std::slice::from_ref(&cut)).unwrap();
        farm.settle(&[1, 2]);
        let capture = farm.client.capture(&farm.network, "ip or ip6").unwrap();
        let beginners = Beginners::start(&farm);
        farm.lab.heal(&[cut]).unwrap();
        farm.settle_owner(&[0, 1, 2], 0, true);
        let begun = beginners.finish();
        let served = begun.iter().filter(|it| it.is_ok()).count();
        let refused = [ErrorKind::ConnectionReset, ErrorKind::ConnectionRefused];
        let odd = begun.iter().filter_map(|it| it.as_ref().err());
        let odd: Vec<_> = odd.filter(|it| !refused.contains(&it.kind())).collect();
        assert!(odd.is_empty(), "{case:?}: neither served nor refused: {odd:?}");
        check_once(&capture, &farm, served, 0);
    }
}

/// Row 20 of the field.
#[test]
fn row_20_a_member_that_was_isolated_comes_back() {
    for isolated in [Isolated::All, Isolated::Nothing] {
        let case = Case::ALL[0];
        let Some(mut farm) = Farm::start("row_20", case) else { return };
        farm.specs.iter_mut().for_each(|spec| spec.isolated = isolated);
        farm.boot_all();
        let all: Vec<Cut> = farm.hosts.iter().map(|host| Cut::of(host, &farm.network)).collect();
        farm.lab.cut(&all).unwrap();
        match isolated {
            Isolated::All => (0..3).for_each(|id| farm.settle(&[id])),
            Isolated::Nothing => {
                let silent = |id| {
                    let view = farm.view(id);
                    !view.full
                };
                let silent = within(SOON, || (0..3).all(silent));
                assert!(silent, "{}", farm.said());
            }
        }
        farm.lab.heal_all().unwrap();
        farm.settle(&[0, 1, 2]);
        farm.connect(farm.vips[0], 30);
    }
}

/// A client that begins connections, one after the other.
struct Beginners {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<io::Result<u8>>>,
}

impl Beginners {
    fn start(farm: &Farm) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (end, vips) = (Arc::clone(&over), farm.vips);
        let thread = farm.client.inside(|| {
            thread::spawn(move || {
                let mut begun = Vec::new();
                for vip in vips.into_iter().cycle() {
                    begun.push(open(SocketAddr::new(vip, PORT)).map(|(_, by)| by));
                    if end.load(Ordering::Relaxed) {
                        break;
                    }
                    // Its pace: a capture can follow.
                    thread::sleep(Duration::from_millis(2));
                }
                begun
            })
        });
        Self { over, thread: thread.unwrap() }
    }

    /// Who served each, the last of which began after this call.
    fn finish(self) -> Vec<io::Result<u8>> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
