//! When a service and its addresses end on a node, as its kernel shows it.

use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

use ha_lab::{now, within};
use ha_proto::Instant;

use crate::SOON;
use crate::rig::Rig;

/// What the kernel of a node shows, looked at each millisecond. Each end lies between the last look
/// before it and the first one after it, however far these were apart.
pub(crate) struct Ends {
    /// When its service was not frozen at last, and when it was at first.
    pub(crate) runs: Instant,
    pub(crate) frozen: Instant,
    /// When it had each address at last, and had it not at first.
    pub(crate) held: [Instant; 2],
    pub(crate) gone: [Instant; 2],
    /// The longest time between two looks.
    pub(crate) pause: Duration,
}

impl Ends {
    pub(crate) fn watch(rig: &Rig, node: usize) -> Self {
        let events = rig.service(node).join("cgroup.events");
        let events = || fs::read_to_string(&events).unwrap_or_default();
        let addresses = rig.addresses();
        let watch = || {
            let began = now();
            let (mut runs, mut frozen, mut pause) = (began, None, Duration::ZERO);
            let (mut held, mut gone, mut before) = ([began; 2], [None; 2], began);
            let ended = within(SOON, || {
                // Before what is looked at: it was so then or later, and may have changed since.
                let at = now();
                pause = pause.max(at.saturating_since(before));
                before = at;
                let events = events();
                if events.contains("frozen 1") || events.contains("populated 0") {
                    frozen = frozen.or_else(|| Some(now()));
                } else {
                    runs = at;
                }
                for (place, address) in addresses.into_iter().enumerate() {
                    match UdpSocket::bind((address, 0)) {
                        Ok(_) => held[place] = at,
                        Err(_) => gone[place] = gone[place].or_else(|| Some(now())),
                    }
                }
                frozen.is_some() && gone.iter().all(Option::is_some)
            });
            assert!(ended, "it is as it was: frozen {frozen:?}, addresses gone {gone:?}");
            let ([Some(v4), Some(v6)], Some(frozen)) = (gone, frozen) else { unreachable!() };
            Self { runs, frozen, held, gone: [v4, v6], pause }
        };
        rig.hosts[node].inside(watch).unwrap()
    }
}

/// Waits for the middle between two renewals of a node's addresses, a third of a lease apart. So the
/// right by a lease of whoever is struck then ends a sixth of it before the bound: who is late by
/// less, as any program is on a loaded machine, is seen to be in time.
pub(crate) fn until_renewed(rig: &Rig, node: usize, lease: Duration) {
    let [v4, _] = rig.addresses();
    let monitor = rig.hosts[node].spawn("ip", |ip| ip.args(["monitor", "address"])).unwrap();
    let renewals = || monitor.output().matches(&format!(" {v4}/")).count();
    assert!(within(SOON, || renewals() > 0), "{}", monitor.output());
    let quiet = || {
        let before = renewals();
        assert!(within(SOON, || renewals() > before), "{}", monitor.output());
        !within(lease / 6, || renewals() > before + 1)
    };
    assert!(within(SOON, quiet), "{}", monitor.output());
}
