//! The routes by which a host's own connections begin from its preferred virtual addresses.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::io;
use std::prelude::rust_2024::*;
use std::string::{String, ToString};

use ha_vip::{Address, DETOURS_MAX, Detour, InterfaceId, Network, Route, detours, undecided};
use netlink_packet_route::AddressFamily;
use tracing::warn;

use super::address::whole_seconds;
use super::route::{Found, Laid, Routes};

/// The routes of one module, as they were set here.
#[derive(Debug)]
pub(super) struct Sources {
    routes: Routes,
    /// All addresses of the module: a route from one of them that carries our mark is its own.
    ips: BTreeSet<IpAddr>,
    families: Vec<AddressFamily>,
    laid: Vec<Laid>,
    /// Whether that is all that there is of ours, and all that is to be.
    settled: bool,
    /// What went wrong last, so that it is said once.
    told: Option<String>,
}

/// A preferred address that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Preferred {
    pub(super) address: Address,
    /// What it still lives.
    pub(super) lifetime: Duration,
}

impl Sources {
    pub(super) fn open(addresses: &[Address]) -> io::Result<Self> {
        let ips: BTreeSet<IpAddr> = addresses.iter().map(|address| address.ip).collect();
        let has = |v4| ips.iter().any(|ip| ip.is_ipv4() == v4);
        let all = [(true, AddressFamily::Inet), (false, AddressFamily::Inet6)];
        let families = all.into_iter().filter_map(|(v4, family)| has(v4).then_some(family));
        Ok(Self {
            routes: Routes::open()?,
            families: families.collect(),
            ips,
            laid: Vec::new(),
            settled: false,
            told: None,
        })
    }

    /// Whether the routes are known to be as they were wanted last.
    pub(super) fn are_settled(&self) -> bool {
        self.settled
    }

    /// Brings the routes to what these addresses need, which are all that are set; says what goes
    /// wrong, and the next call tries it again. Routes from `later` stay as they are: an earlier
    /// process may have left them, to be gone on with. `interfaces` are those of the addresses.
    pub(super) fn settle(
        &mut self,
        preferred: &[Preferred],
        later: &[IpAddr],
        interfaces: &BTreeMap<u32, InterfaceId>,
    ) {
        let result = self.lay(preferred, later, interfaces);
        self.settled = result.is_ok();
        let full = self.laid.len() == DETOURS_MAX;
        let wrong = match result {
            Err(error) => Some(error.to_string()),
            Ok(_) if full => Some("too many routes: the widest do".into()),
            Ok(undecided) => undecided.map(|Network { first, prefix }| {
                format!("two routes to {first}/{prefix} have one metric: give them two")
            }),
        };
        self.tell(wrong);
    }

    /// Lets the routes from an address live on as long as it does.
    pub(super) fn extend(&mut self, preferred: Preferred) {
        // Those of IPv4 have no end of their own.
        if preferred.address.ip.is_ipv4() {
            return;
        }
        let seconds = whole_seconds(preferred.lifetime);
        let from = |laid: &&Laid| laid.source == Some(preferred.address.ip);
        let routes = &mut self.routes;
        let mut all = self.laid.iter().filter(from).map(|laid| routes.set(laid, seconds));
        if let Err(error) = all.try_for_each(|result| result) {
            self.settled = false;
            self.tell(Some(error.to_string()));
        }
    }

    fn lay(
        &mut self,
        preferred: &[Preferred],
        later: &[IpAddr],
        interfaces: &BTreeMap<u32, InterfaceId>,
    ) -> io::Result<Option<Network>> {
        let found = self.routes.list(&self.families)?;
        let (wanted, undecided) = wanted(&found, preferred, interfaces);
        let there: Vec<Laid> = found.iter().filter_map(Found::laid).collect();
        // Without a source: its address is gone, whoever's it was.
        let mine = |ip: IpAddr| self.ips.contains(&ip) && !later.contains(&ip);
        let own = |laid: &&Laid| laid.source.is_none_or(mine);
        let mut result: io::Result<()> = Ok(());
        for old in there.iter().filter(own).filter(|laid| !wanted.contains(laid)) {
            result = result.and(self.routes.remove(old));
        }
        let is_new = |laid: &Laid| !there.contains(laid) || laid.to.first.is_ipv6();
        for laid in wanted.iter().filter(|laid| is_new(laid)) {
            let from = |it: &&Preferred| Some(it.address.ip) == laid.source;
            let lifetime = preferred.iter().find(from).map_or(Duration::ZERO, |it| it.lifetime);
            let set = self.routes.set(laid, whole_seconds(lifetime));
            result = result.and(set.map_err(|error| named(laid.to, &error)));
        }
        self.laid = wanted;
        result.map(|()| undecided)
    }

    /// Says it, unless it was the last that was said.
    fn tell(&mut self, wrong: Option<String>) {
        if let Some(why) = wrong.as_ref().filter(|_| self.told != wrong) {
            warn!(why, "a virtual address is not the source of all connections of this host");
        }
        self.told = wrong;
    }
}

/// The routes that these addresses need beside those that were found, and the network to which none
/// can be laid because two lead there.
fn wanted(
    found: &[Found],
    preferred: &[Preferred],
    interfaces: &BTreeMap<u32, InterfaceId>,
) -> (Vec<Laid>, Option<Network>) {
    let others: Vec<&Found> = found.iter().filter(|found| !found.ours).collect();
    let route = |found: &&Found| Route {
        to: found.to,
        metric: found.metric,
        interface: found.way.as_ref().and_then(|way| interfaces.get(&way.index).copied()),
        source: found.source,
    };
    let routes: Vec<Route> = others.iter().map(route).collect();
    let addresses: Vec<Address> = preferred.iter().map(|it| it.address).collect();
    let laid = |detour: Detour| {
        let way = others[detour.like].way.clone()?;
        Some(Laid { to: detour.to, way, source: Some(detour.source) })
    };
    let made = detours(&routes, &addresses).into_iter().filter_map(laid).collect();
    (made, undecided(&routes, &addresses))
}

fn named(to: Network, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("route to {}/{}: {error}", to.first, to.prefix))
}
