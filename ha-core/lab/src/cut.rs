//! What a switch does not let through.

use std::collections::BTreeSet;

use crate::bridge::Bridge;
use crate::host::Host;

/// A cut that neither end is told of: frames are lost at the switch. For [`Lab::cut`] and
/// [`Lab::heal`]; cuts may overlap, and each is healed by itself.
///
/// [`Lab::cut`]: crate::Lab::cut
/// [`Lab::heal`]: crate::Lab::heal
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    traffic: Traffic,
    places: BTreeSet<Place>,
}

impl Cut {
    /// A host's cable, both ways.
    pub fn of(host: &Host, bridge: &Bridge) -> Self {
        let port = bridge.port(host.name());
        Self::at([Place::From(port.clone()), Place::To(port)])
    }

    /// What a host sends: it still hears everybody, and nobody hears it.
    pub fn outgoing(host: &Host, bridge: &Bridge) -> Self {
        Self::at([Place::From(bridge.port(host.name()))])
    }

    /// What is sent to a host: everybody still hears it, and it hears nobody.
    pub fn incoming(host: &Host, bridge: &Bridge) -> Self {
        Self::at([Place::To(bridge.port(host.name()))])
    }

    /// Between two hosts, both ways; each still reaches all others.
    pub fn between(one: &Host, other: &Host, bridge: &Bridge) -> Self {
        let (one, other) = (bridge.port(one.name()), bridge.port(other.name()));
        Self::at([Place::Path(one.clone(), other.clone()), Place::Path(other, one)])
    }

    /// What one host sends to another, and not what that one answers.
    pub fn path(from: &Host, to: &Host, bridge: &Bridge) -> Self {
        Self::at([Place::Path(bridge.port(from.name()), bridge.port(to.name()))])
    }

    /// The same cut for this traffic only.
    #[must_use]
    pub fn only(self, traffic: Traffic) -> Self {
        Self { traffic, ..self }
    }

    fn at<const N: usize>(places: [Place; N]) -> Self {
        Self { traffic: Traffic::All, places: places.into() }
    }

    /// The sets of the table, and what is in each because of this cut.
    fn elements(&self) -> impl Iterator<Item = Element> {
        let suffix = self.traffic.suffix();
        self.places.iter().map(move |place| match place {
            Place::From(port) => Element(format!("from_{suffix}"), format!("\"{port}\"")),
            Place::To(port) => Element(format!("to_{suffix}"), format!("\"{port}\"")),
            Place::Path(from, to) => {
                Element(format!("path_{suffix}"), format!("\"{from}\" . \"{to}\""))
            }
        })
    }
}

/// Which frames a cut is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// Every frame.
    All,
    /// IPv4 and ARP.
    Ipv4,
    /// IPv6, and with it neighbour discovery.
    Ipv6,
}

impl Traffic {
    fn suffix(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// The table that cuts: all its chains are there from the start and ask sets, because adding an
/// element took 2 ms and replacing the table 17 (medians of 20 on two busy cores). `prerouting`
/// comes before the switch learns an address from the frame, so a host that is cut off is
/// forgotten, as it should be.
///
/// The chains come before `br_netfilter`, where the kernel has it: that one takes frames of IP over
/// from the chains of its own priority, 0, which then never see them.
pub(crate) fn table() -> String {
    let suffixes = [Traffic::All, Traffic::Ipv4, Traffic::Ipv6].map(Traffic::suffix);
    let sets = suffixes.map(|suffix| {
        format!(
            "set from_{suffix} {{ type ifname; }}\n\
             set to_{suffix} {{ type ifname; }}\n\
             set path_{suffix} {{ type ifname . ifname; }}\n"
        )
    });
    let chain = |hook, key, set| {
        format!(
            "chain {hook} {{ type filter hook {hook} priority -300; policy accept;\n\
             {key} @{set}_all drop\n\
             ether type {{ ip, arp }} {key} @{set}_ipv4 drop\n\
             ether type ip6 {key} @{set}_ipv6 drop\n}}\n"
        )
    };
    let chains = [
        chain("prerouting", "iifname", "from"),
        chain("forward", "iifname . oifname", "path"),
        chain("postrouting", "oifname", "to"),
    ];
    format!("table bridge lab {{\n{}{}}}\n", sets.concat(), chains.concat())
}

/// The commands that lead from these cuts to those: one transaction, empty when nothing changes.
pub(crate) fn change(before: &[Cut], after: &[Cut]) -> String {
    let elements = |cuts: &[Cut]| cuts.iter().flat_map(Cut::elements).collect::<BTreeSet<_>>();
    let (before, after) = (elements(before), elements(after));
    let added = after.difference(&before).map(|element| ("add", element));
    let removed = before.difference(&after).map(|element| ("delete", element));
    let command = |(verb, Element(set, key)): (&str, &Element)| {
        format!("{verb} element bridge lab {set} {{ {key} }}\n")
    };
    added.chain(removed).map(command).collect()
}

/// Where at the switch frames are lost, by the names of its ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    From(String),
    To(String),
    Path(String, String),
}

/// The name of a set, and one of its elements.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Element(String, String);

#[cfg(test)]
mod tests {
    use super::*;

    fn from(port: &str) -> Cut {
        Cut::at([Place::From(port.to_owned())])
    }

    fn both(port: &str) -> Cut {
        Cut::at([Place::From(port.to_owned()), Place::To(port.to_owned())])
    }

    #[test]
    fn a_cut_is_made_and_healed_by_its_elements() {
        let cuts = [both("a.1").only(Traffic::Ipv6)];
        assert_eq!(
            change(&[], &cuts),
            "add element bridge lab from_ipv6 { \"a.1\" }\n\
             add element bridge lab to_ipv6 { \"a.1\" }\n"
        );
        assert_eq!(
            change(&cuts, &[]),
            "delete element bridge lab from_ipv6 { \"a.1\" }\n\
             delete element bridge lab to_ipv6 { \"a.1\" }\n"
        );
        assert_eq!(change(&cuts, &cuts), "");
    }

    #[test]
    fn healing_one_of_two_that_overlap_leaves_the_other() {
        let (wide, narrow) = (both("a.1"), from("a.1"));
        assert_eq!(change(std::slice::from_ref(&narrow), &[narrow.clone(), wide.clone()]), {
            "add element bridge lab to_all { \"a.1\" }\n"
        });
        assert_eq!(
            change(&[narrow.clone(), wide], &[narrow]),
            "delete element bridge lab to_all { \"a.1\" }\n"
        );
    }

    #[test]
    fn a_path_is_a_pair_of_ports() {
        let cut = Cut::at([Place::Path("a.1".to_owned(), "b.1".to_owned())]);
        assert_eq!(change(&[], &[cut]), "add element bridge lab path_all { \"a.1\" . \"b.1\" }\n");
    }

    #[test]
    fn each_set_is_declared_once_and_asked_once() {
        let table = table();
        for set in ["from", "to", "path"] {
            for suffix in ["all", "ipv4", "ipv6"] {
                let declared = format!("set {set}_{suffix} {{");
                let asked = format!("@{set}_{suffix} drop");
                assert_eq!(table.matches(&declared).count(), 1, "{declared}");
                assert_eq!(table.matches(&asked).count(), 1, "{asked}");
            }
        }
    }
}
