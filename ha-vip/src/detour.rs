//! How a virtual address becomes the source of its host's own connections.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Address, InterfaceId};

/// Addresses that begin alike, as a routing table names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// How many bits are alike: 0 to 32, or 0 to 128. The widest network is the least one.
    pub prefix: u8,
    /// The first address.
    pub first: IpAddr,
}

/// A route of the host's that somebody else made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub to: Network,
    /// Of two to one network, the lower one is used.
    pub metric: u32,
    /// By which of the configured interfaces; `None` by another one, or not by one interface and one
    /// gateway alone.
    pub interface: Option<InterfaceId>,
    /// The source that it names.
    pub source: Option<IpAddr>,
}

/// A route of ours: half of a network of somebody else's route, by the same way, with a virtual
/// address as the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detour {
    /// Where it leads.
    pub to: Network,
    /// The place of the route whose way it goes.
    pub like: usize,
    /// The source that it names.
    pub source: IpAddr,
}

/// The most detours of one set: twice the routes that a server has over an interface, by far. More
/// are left out, and those to the smallest networks first.
pub const DETOURS_MAX: usize = 256;

/// The detours by which a host's own connections begin from these addresses, wherever a route leads
/// over the address's interface. `preferred` has at most one of each family for an interface.
///
/// A route is never changed: both halves of its network get one of ours, and the longer prefix wins.
/// So an administrator's commands find what they mean, and what we leave behind, for a moment, goes
/// the same way; but for rules with `suppress_prefixlength`, which look past a default route and not
/// past its halves. A network has none if
/// - its best route goes elsewhere, or in several ways, or there are two of them: whoever chooses
///   between them would choose no more;
/// - it has one address, which has no halves;
/// - it is of one link, where a source of the whole network would be answered to nobody.
pub fn detours(routes: &[Route], preferred: &[Address]) -> Vec<Detour> {
    let mut made = Vec::new();
    for (to, best) in best_of(routes) {
        let Some(like) = best.place else { continue };
        let Some(source) = source_of(&routes[like], preferred) else { continue };
        let halves = to.halves().into_iter().flatten();
        made.extend(halves.map(|to| Detour { to, like, source }));
    }
    // The widest come first: they are the ways to most of the world.
    made.truncate(DETOURS_MAX);
    made
}

/// The widest network that has no detour because two of its best routes are equal, of which one goes
/// over a preferred address's interface: an administrator may give them two metrics.
pub fn undecided(routes: &[Route], preferred: &[Address]) -> Option<Network> {
    let concerns = |to: Network, metric: u32| {
        let mut equal = routes.iter().filter(|route| (route.to, route.metric) == (to, metric));
        equal.any(|route| source_of(route, preferred).is_some())
    };
    let best = best_of(routes).into_iter();
    let mut open = best.filter(|(_, best)| best.place.is_none());
    open.find(|(to, best)| concerns(*to, best.metric)).map(|(to, _)| to)
}

/// Of the routes to one network, the one that is used.
struct Best {
    metric: u32,
    /// `None` where two are equal.
    place: Option<usize>,
}

fn best_of(routes: &[Route]) -> BTreeMap<Network, Best> {
    let mut best: BTreeMap<Network, Best> = BTreeMap::new();
    for (place, route) in routes.iter().enumerate() {
        let (metric, this) = (route.metric, Some(place));
        let known = best.entry(route.to).or_insert(Best { metric, place: this });
        if metric < known.metric {
            *known = Best { metric, place: this };
        } else if known.place != this && metric == known.metric {
            known.place = None;
        }
    }
    best
}

/// The address that is to be the source by a route, unless it is already.
fn source_of(route: &Route, preferred: &[Address]) -> Option<IpAddr> {
    let fits = |address: &&Address| {
        Some(address.interface) == route.interface
            && address.ip.is_ipv4() == route.to.first.is_ipv4()
    };
    let source = preferred.iter().find(fits)?.ip;
    (route.source != Some(source) && !route.to.is_of_one_link()).then_some(source)
}

impl Network {
    /// Both halves; `None` where there is one address alone.
    fn halves(self) -> Option<[Self; 2]> {
        let prefix = self.prefix + 1;
        let second = match self.first {
            IpAddr::V4(ip) => {
                let bit = 1_u32.checked_shl(32_u32.checked_sub(prefix.into())?)?;
                Ipv4Addr::from_bits(ip.to_bits() | bit).into()
            }
            IpAddr::V6(ip) => {
                let bit = 1_u128.checked_shl(128_u32.checked_sub(prefix.into())?)?;
                Ipv6Addr::from_bits(ip.to_bits() | bit).into()
            }
        };
        assert!(second > self.first, "one half would be the whole");
        Some([Self { prefix, first: self.first }, Self { prefix, first: second }])
    }

    /// Whether it is part of what one link knows alone, or of the groups.
    fn is_of_one_link(self) -> bool {
        match self.first {
            IpAddr::V4(ip) => ip.is_multicast() && self.prefix >= 4,
            IpAddr::V6(ip) if ip.is_multicast() => self.prefix >= 8,
            IpAddr::V6(ip) => ip.is_unicast_link_local() && self.prefix >= 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};

    const HERE: InterfaceId = InterfaceId(0);
    const THERE: InterfaceId = InterfaceId(1);

    fn network(text: &str) -> Network {
        let (first, prefix) = text.split_once('/').unwrap();
        Network { prefix: prefix.parse().unwrap(), first: first.parse().unwrap() }
    }

    fn route(to: &str, metric: u32, interface: Option<InterfaceId>) -> Route {
        Route { to: network(to), metric, interface, source: None }
    }

    fn preferred() -> Vec<Address> {
        ["10.0.0.10", "fd00::10"]
            .map(|ip| Address { ip: ip.parse().unwrap(), prefix: 32, interface: HERE })
            .to_vec()
    }

    /// What is made of some routes: `network like source`.
    fn made(routes: &[Route]) -> Vec<String> {
        let said = |it: &Detour| format!("{}/{} {}", it.to.first, it.to.prefix, it.like);
        detours(routes, &preferred()).iter().map(said).collect()
    }

    #[test]
    fn a_network_is_gone_to_by_halves() {
        for (whole, halves) in [
            ("0.0.0.0/0", ["0.0.0.0/1 0", "128.0.0.0/1 0"]),
            ("10.0.0.0/24", ["10.0.0.0/25 0", "10.0.0.128/25 0"]),
            ("10.0.0.6/31", ["10.0.0.6/32 0", "10.0.0.7/32 0"]),
            ("::/0", ["::/1 0", "8000::/1 0"]),
            ("fd00::/64", ["fd00::/65 0", "fd00::8000:0:0:0/65 0"]),
            ("fd00::2/127", ["fd00::2/128 0", "fd00::3/128 0"]),
        ] {
            assert_eq!(made(&[route(whole, 0, Some(HERE))]), halves);
        }
        let sources: Vec<String> = detours(
            &[route("::/0", 0, Some(HERE)), route("0.0.0.0/0", 0, Some(HERE))],
            &preferred(),
        )
        .iter()
        .map(|it| it.source.to_string())
        .collect();
        assert_eq!(sources, ["10.0.0.10", "10.0.0.10", "fd00::10", "fd00::10"]);
    }

    #[test]
    fn the_best_route_of_a_network_shows_the_way_if_there_is_one() {
        let (one, two) = (route("0.0.0.0/0", 100, Some(HERE)), route("0.0.0.0/0", 50, Some(HERE)));
        assert_eq!(made(&[one, two]), ["0.0.0.0/1 1", "128.0.0.0/1 1"]);
        assert_eq!(made(&[two, one]), ["0.0.0.0/1 0", "128.0.0.0/1 0"]);
        // Whoever goes elsewhere goes on doing so.
        for elsewhere in [Some(THERE), None] {
            let best = Route { interface: elsewhere, metric: 10, ..one };
            assert_eq!(made(&[one, best]), [""; 0]);
            assert_eq!(made(&[best, one]), [""; 0]);
        }
        // Nor is one of two equal ones preferred, even if a third is behind them.
        assert_eq!(made(&[two, two, one]), [""; 0]);
        assert_eq!(made(&[one, two, two]), [""; 0]);
        assert_eq!(made(&[one, one, two]), ["0.0.0.0/1 2", "128.0.0.0/1 2"]);
    }

    #[test]
    fn two_equal_routes_are_told_of_if_one_is_of_the_interface() {
        let told = |routes: &[Route]| undecided(routes, &preferred()).map(|it| it.prefix);
        let default = |metric, interface| route("0.0.0.0/0", metric, interface);
        let (here, there) = (default(50, Some(HERE)), default(50, Some(THERE)));
        assert_eq!(told(&[here, here]), Some(0));
        assert_eq!(told(&[there, here]), Some(0));
        let narrow = route("10.0.0.0/24", 0, Some(HERE));
        assert_eq!(told(&[narrow, here, there, narrow]), Some(0), "the widest first");
        assert_eq!(told(&[narrow, here, narrow]), Some(24));
        // Whose metrics differ, who goes elsewhere, and what each interface has of its own.
        assert_eq!(told(&[here, default(49, Some(THERE))]), None);
        assert_eq!(told(&[here, here, default(49, Some(HERE))]), None);
        assert_eq!(told(&[there, there]), None);
        let own = route("fe80::/64", 256, Some(HERE));
        assert_eq!(told(&[own, Route { interface: Some(THERE), ..own }]), None);
    }

    #[test]
    fn what_needs_no_detour_or_can_have_none_is_left_alone() {
        for to in ["10.0.0.7/32", "fd00::7/128", "fe80::/64", "ff00::/8", "224.0.0.0/4"] {
            assert_eq!(made(&[route(to, 0, Some(HERE))]), [""; 0], "{to}");
        }
        let mut known = route("10.0.0.0/24", 0, Some(HERE));
        known.source = Some("10.0.0.10".parse().unwrap());
        assert_eq!(made(&[known]), [""; 0]);
        known.source = Some("10.0.0.1".parse().unwrap());
        assert_eq!(made(&[known]).len(), 2, "the host's own source");
        assert!(detours(&[known], &[]).is_empty());
    }

    #[test]
    fn of_too_many_the_widest_have_one() {
        let mut routes: Vec<Route> =
            (0..200).map(|at| route(&format!("10.0.{at}.0/24"), 0, Some(HERE))).collect();
        routes.push(route("0.0.0.0/0", 0, Some(HERE)));
        let made = made(&routes);
        assert_eq!(made.len(), DETOURS_MAX);
        assert_eq!(made[..3], ["0.0.0.0/1 200", "128.0.0.0/1 200", "10.0.0.0/25 0"]);
    }
}
