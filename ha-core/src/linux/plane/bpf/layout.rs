//! What the filter's maps hold, as `bpf/layout.h` of `ha-farm` tables it.

use core::net::IpAddr;
use std::prelude::rust_2024::*;

use ha_farm::{Filter, Hash, HashOn, Mac, Mode, Protocol, Rule, Uncovered};

use crate::linux::plane::PlaneError;

/// Raised with every change of the layout: it names the folder of the pinned maps, so that no
/// program reads another one's.
pub(super) const VERSION: &str = "2";

pub(super) const RULES: usize = Rule::MAX;
const BUCKETS: usize = 4096;
pub(super) const NODES: usize = 128;
const RULE: usize = 48;
const CONFIG: usize = 1072 + RULES * RULE;

/// One service's words.
pub(super) type Words = [u32; BUCKETS];
/// `struct config`.
pub(super) type Config = [u8; CONFIG];

/// What one processor counted.
pub(super) type Counted = [u64; OWNED_BY + RULES * NODES];

/// Places in [`Counted`], beside those of `Reason`.
pub(super) const PASSED: usize = 13;
pub(super) const NEIGHBOUR: usize = 14;
pub(super) const ACCEPTED_OF: usize = 16;
pub(super) const FORWARDED_OF: usize = 32;
pub(super) const OWNED_BY: usize = 64;

const AT_MACS: usize = 32;
const AT_MAC: usize = 1056;
const AT_ME: usize = 1064;
const AT_RULES: usize = 1067;
const AT_RELEASES: usize = 1068;
const AT_RULE: usize = 1072;

/// How many rules a configuration has.
pub(super) fn rules(config: &Config) -> usize {
    usize::from(config[AT_RULES])
}

/// Whether claims may have been released (F8) since the maps were made.
pub(super) fn releases(config: &Config) -> bool {
    config[AT_RELEASES] != 0
}

/// A MAC as the programs read it: six bytes of the wire, two of zero, as one number.
pub(super) fn mac(mac: Mac) -> u64 {
    let mut bytes = [0; 8];
    bytes[..6].copy_from_slice(&mac.0);
    u64::from_ne_bytes(bytes)
}

/// The key of a member's MAC in a slot.
pub(super) fn member(slot: u32, address: Mac) -> u64 {
    mac(address) | u64::from(slot) << 48
}

/// Of which slot a key of the map `members` is.
pub(super) fn member_slot(key: u64) -> u32 {
    (key >> 48) as u32
}

/// The words of a service, the rest zero.
pub(super) fn words(filter: &Filter, service: usize) -> Words {
    let mut words = [0; BUCKETS];
    let of = filter.words(service);
    words[..of.len()].copy_from_slice(of);
    words
}

/// The configuration of a filter. `released` says that claims may have been before.
pub(super) fn config(filter: &Filter, released: bool) -> Result<Config, PlaneError> {
    let setup = filter.setup();
    let Hash::Sip { key } = setup.hash else {
        return Err(PlaneError::Unable { plane: "bpf", what: "jhash, which is for `plane = nft`" });
    };
    let mut config = [0; CONFIG];
    for (at, word) in sip_start(key).into_iter().enumerate() {
        put(&mut config, at * 8, &word.to_ne_bytes());
    }
    for (node, &address) in &setup.macs {
        put(&mut config, AT_MACS + usize::from(node.as_u8()) * 8, &mac(address).to_ne_bytes());
    }
    // No frame is to a MAC of eight bytes.
    let own = setup.macs.get(&setup.me).map_or(u64::MAX, |&own| mac(own));
    put(&mut config, AT_MAC, &own.to_ne_bytes());
    let directed = match setup.mode {
        Mode::Invisible => 0,
        Mode::Directed => 1,
    };
    let pass = match setup.uncovered {
        Uncovered::Deny => 0,
        Uncovered::Pass => 1,
    };
    let rules = setup.rules.len() as u8;
    let look = u8::from(released || gives_up(filter));
    put(&mut config, AT_ME, &[setup.me.as_u8(), directed, pass, rules, look]);
    for (at, rule) in setup.rules.iter().enumerate() {
        put(&mut config, AT_RULE + at * RULE, &self::rule(rule, filter.words(at).len()));
    }
    Ok(config)
}

fn put(config: &mut [u8], at: usize, bytes: &[u8]) {
    config[at..at + bytes.len()].copy_from_slice(bytes);
}

/// SipHash's state, as the key makes it.
fn sip_start(key: [u8; 16]) -> [u64; 4] {
    let half = |at: usize| {
        u64::from_le_bytes(key[at..at + 8].try_into().expect("eight bytes are a number"))
    };
    let (low, high) = (half(0), half(8));
    [
        low ^ 0x736f_6d65_7073_6575,
        high ^ 0x646f_7261_6e64_6f6d,
        low ^ 0x6c79_6765_6e65_7261,
        high ^ 0x7465_6462_7974_6573,
    ]
}

/// Whether the node is a previous owner of anything that drains: only then a claim is released.
fn gives_up(filter: &Filter) -> bool {
    let me = filter.setup().me.as_u8();
    (0..filter.setup().rules.len()).flat_map(|service| filter.words(service)).any(|&word| {
        let [_, last, before, _] = word.to_le_bytes();
        word & Filter::DRAIN != 0 && (last == me || before == me)
    })
}

fn rule(rule: &Rule, buckets: usize) -> [u8; RULE] {
    let mut bytes = [0; RULE];
    let (vip, bits) = match (rule.vip, rule.on) {
        (IpAddr::V4(vip), HashOn::Net { v4, .. }) => (vip.octets().to_vec(), v4),
        (IpAddr::V4(vip), _) => (vip.octets().to_vec(), 32),
        (IpAddr::V6(vip), HashOn::Net { v6, .. }) => (vip.octets().to_vec(), v6),
        (IpAddr::V6(vip), _) => (vip.octets().to_vec(), 128),
    };
    put(&mut bytes, 0, &vip);
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    put(&mut bytes, 16, &mask_of(rule.vip, mask, bits));
    put(&mut bytes, 32, &rule.ports.start().to_ne_bytes());
    put(&mut bytes, 34, &rule.ports.end().to_ne_bytes());
    let protocol = match rule.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    let on = match rule.on {
        HashOn::Addr => 0,
        HashOn::AddrPort => 1,
        HashOn::Net { .. } => 2,
        HashOn::IpId => 3,
    };
    put(&mut bytes, 36, &[protocol, on, u8::from(rule.vip.is_ipv6())]);
    assert!(
        buckets.is_power_of_two() && buckets <= BUCKETS,
        "{buckets} buckets: the kernel would look at another one than the table's"
    );
    put(&mut bytes, 40, &(buckets as u32 - 1).to_ne_bytes());
    bytes
}

fn mask_of(vip: IpAddr, v6: u128, bits: u8) -> [u8; 16] {
    match vip {
        IpAddr::V4(_) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            let mut bytes = [0; 16];
            put(&mut bytes, 0, &mask.to_be_bytes());
            bytes
        }
        IpAddr::V6(_) => v6.to_be_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_laid_out_as_the_header_says() {
        let of = |vip: &str, on| Rule {
            vip: vip.parse().unwrap(),
            ports: 80..=443,
            protocol: Protocol::Udp,
            on,
        };
        let bytes = rule(&of("192.0.2.1", HashOn::Net { v4: 20, v6: 64 }), 256);
        let ports = [80_u16.to_ne_bytes(), 443_u16.to_ne_bytes()].concat();
        let expected = [
            &[192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &[0xff, 0xff, 0xf0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &ports,
            &[17, 2, 0, 0],
            &255_u32.to_ne_bytes(),
            &[0; 4],
        ];
        assert_eq!(bytes.as_slice(), expected.concat());
        let bytes = rule(&of("2001:db8::1", HashOn::Net { v4: 0, v6: 0 }), 4096);
        assert_eq!(bytes[16..32], [0; 16], "no bit names the network");
        assert_eq!(bytes[36..40], [17, 2, 1, 0]);
    }

    #[test]
    fn a_member_is_found_in_its_slot_only() {
        let one = member(1, Mac([2, 0, 0, 0, 0, 9]));
        assert_eq!(member_slot(one), 1);
        assert_eq!(one.to_le_bytes()[..6], [2, 0, 0, 0, 0, 9]);
    }
}
