//! What a view says beside its members, what a node says of itself in beats, and what members must
//! agree on, as bytes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use bytes::{BufMut, Bytes};
use ha_farm::{HashOn, Mac, Mode, Protocol, Rule, Uncovered};
use ha_heartbeat::group::{Beat, ViewId};
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{NodeId, NodeSet};

use crate::farm::links::SET_LEN;
use crate::farm::{Config, Policy};

/// What a view says beside its members. Big-endian:
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 1 | version, 1 |
/// | 1 | 17 | base: the view whose tables come before; all zero: none |
/// | 18 | 17 | the view of a group that joins; all zero: none |
/// | 35 | 8 | moves of views up to this counter have drained |
/// | 43 | 8 | digest of all tables |
/// | 51 | 8 | accord: the rules and what else members share |
/// | 59 | 1 | announcer |
/// | 60 | 1 | number of services, 1 to 16 |
/// | 61 | 7 + 2 a service | for each member by id: MAC (1 and 6 bytes), weights in eighths |
/// | | 1 | what drains: how many views |
/// | | 12 each | counter of the view (8), milliseconds left (4) |
/// | | 7 each | for each node by id that is no member and told its MAC: id, MAC |
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) base: Option<ViewId>,
    pub(super) taken: Option<ViewId>,
    pub(super) settled: u64,
    pub(super) digest: u64,
    pub(super) accord: u64,
    pub(super) announcer: NodeId,
    pub(super) members: BTreeMap<NodeId, Share>,
    pub(super) drains: BTreeMap<u64, Duration>,
    /// Who else may hand frames to members by an older view (F9): who has restarted has not heard
    /// of them.
    pub(super) strangers: BTreeMap<NodeId, Mac>,
}

/// What a view says of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) mac: Option<Mac>,
    /// In eighths, so that a server that warms up can have a part of its weight; one a service.
    pub(super) weights: Vec<u16>,
}

/// What a node says of itself in each beat.
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 1 | version, 1 |
/// | 1 | 7 | MAC: whether there is one (1), and it |
/// | 8 | 1 | announcer of the view that it is at; 255: none |
/// | 9 | 2 each | the weights that it wishes for, in eighths |
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) share: Share,
    pub(super) announcer: Option<NodeId>,
}

impl Body {
    pub(super) const VERSION: u8 = 1;
    /// As many are listed: the oldest.
    pub(super) const DRAINS_MAX: usize = 64;

    pub(super) fn encode(&self) -> Bytes {
        let services = self.members.values().next().map_or(0, |share| share.weights.len());
        assert!((1..=Rule::MAX).contains(&services), "a reader would refuse so many services");
        assert!(self.drains.len() <= Self::DRAINS_MAX, "a reader would refuse so many drains");
        let mut out = Vec::new();
        out.put_u8(Self::VERSION);
        ViewId::encode(self.base, &mut out);
        ViewId::encode(self.taken, &mut out);
        out.put_u64(self.settled);
        out.put_u64(self.digest);
        out.put_u64(self.accord);
        out.put_u8(self.announcer.as_u8());
        out.put_u8(services as u8);
        for share in self.members.values() {
            assert!(share.weights.len() == services, "a weight would be read as another field");
            share.encode(&mut out);
        }
        out.put_u8(self.drains.len() as u8);
        for (&counter, left) in &self.drains {
            out.put_u64(counter);
            out.put_u32(u32::try_from(left.as_millis()).unwrap_or(u32::MAX));
        }
        for (node, mac) in &self.strangers {
            assert!(
                !self.members.contains_key(node),
                "a member's address is told with its weights"
            );
            out.put_u8(node.as_u8());
            out.put_slice(&mac.0);
        }
        out.into()
    }

    /// Reads one, of a view of these members.
    pub(super) fn decode(bytes: &[u8], members: NodeSet) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let refuse =
            |wrong: bool, field| if wrong { Err(DecodeError::Invalid(field)) } else { Ok(()) };
        refuse(from.u8("the version")? != Self::VERSION, "the version")?;
        let base = ViewId::decode(&mut from, "the base")?;
        let taken = ViewId::decode(&mut from, "the joining view")?;
        let settled = from.u64("what has drained")?;
        let digest = from.u64("the digest")?;
        let accord = from.u64("the accord")?;
        let announcer = from.node("the announcer")?;
        let services = usize::from(from.u8("the number of services")?);
        refuse(!(1..=Rule::MAX).contains(&services), "the number of services")?;
        let share = |node| Ok((node, Share::decode(&mut from, services)?));
        let members: BTreeMap<_, _> = members.iter().map(share).collect::<Result<_, _>>()?;
        refuse(!members.contains_key(&announcer), "the announcer")?;
        let count = usize::from(from.u8("the number of drains")?);
        refuse(count > Self::DRAINS_MAX, "the number of drains")?;
        let mut drains = BTreeMap::new();
        for _ in 0..count {
            let counter = from.u64("a drain")?;
            let left = Duration::from_millis(from.u32("a drain")?.into());
            let last = drains.last_key_value().map(|(&last, _)| last);
            refuse(last >= Some(counter) || left > Policy::LONGEST, "a drain")?;
            drains.insert(counter, left);
        }
        let mut strangers = BTreeMap::new();
        while from.remaining() > 0 {
            let node = from.node("a stranger")?;
            let mac =
                Mac(*from.bytes(6, "a stranger")?.first_chunk().expect("six bytes were read"));
            let last = strangers.last_key_value().map(|(&last, _)| last);
            let wrong = last >= Some(node) || members.contains_key(&node);
            refuse(wrong || node.as_u8() >= 64, "a stranger")?;
            strangers.insert(node, mac);
        }
        from.finish()?;
        Ok(Self { base, taken, settled, digest, accord, announcer, members, drains, strangers })
    }
}

impl Share {
    fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(self.mac.is_some().into());
        out.put_slice(&self.mac.map_or([0; 6], |mac| mac.0));
        self.weights.iter().for_each(|&weight| out.put_u16(weight));
    }

    fn decode(from: &mut Reader<'_>, services: usize) -> Result<Self, DecodeError> {
        let flag = from.u8("a MAC")?;
        let bytes = from.bytes(6, "a MAC")?;
        let mac = Mac(*bytes.first_chunk().expect("six bytes were read"));
        let mac = match flag {
            0 if mac.0 == [0; 6] => None,
            1 => Some(mac),
            _ => return Err(DecodeError::Invalid("a MAC")),
        };
        let most = Policy::WEIGHT_MAX * WHOLE;
        let mut weights = Vec::with_capacity(services);
        for _ in 0..services {
            let weight = from.u16("a weight")?;
            if weight > most {
                return Err(DecodeError::Invalid("a weight"));
            }
            weights.push(weight);
        }
        Ok(Self { mac, weights })
    }
}

impl Facts {
    pub(super) const VERSION: u8 = 1;
    const HEAD_LEN: usize = 9;
    const NOBODY: u8 = 0xff;

    pub(super) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.put_u8(Self::VERSION);
        out.put_u8(self.share.mac.is_some().into());
        out.put_slice(&self.share.mac.map_or([0; 6], |mac| mac.0));
        out.put_u8(self.announcer.map_or(Self::NOBODY, NodeId::as_u8));
        self.share.weights.iter().for_each(|&weight| out.put_u16(weight));
        out.into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        if from.u8("the version")? != Self::VERSION {
            return Err(DecodeError::Invalid("the version"));
        }
        let mut share = Share::decode(&mut from, 0)?;
        let announcer = match from.u8("the announcer")? {
            Self::NOBODY => None,
            id => Some(NodeId::new(id).ok_or(DecodeError::Invalid("the announcer"))?),
        };
        while from.remaining() > 0 {
            share.weights.push(from.u16("a weight")?.min(Policy::WEIGHT_MAX * WHOLE));
        }
        if !(1..=Rule::MAX).contains(&share.weights.len()) {
            return Err(DecodeError::Invalid("the weights"));
        }
        Ok(Self { share, announcer })
    }
}

/// A whole weight is told in so many parts.
pub(super) const WHOLE: u16 = 8;

/// What members must agree on, as one number: the rules, the hash and its key, the buckets, the
/// mode, and the interval and lease, since by its own D a member takes over from a filter that
/// closes by another one's lease (F5); and the drain, since who proposes says what has drained (FG4).
/// Equal numbers of members that differ are as likely as any 64
/// bits (FNV-1a; who could make two of one number has the cluster's key).
pub(super) fn accord(config: &Config, rules: &[Rule]) -> u64 {
    let (policy, timing) = (&config.policy, &config.timing);
    let mut text = Vec::new();
    for rule in rules {
        put_rule(rule, &mut text);
    }
    text.put_u64(policy.hash.id());
    text.put_u8(matches!(policy.hash, ha_farm::Hash::Sip { .. }).into());
    text.put_u64(policy.buckets.count() as u64);
    text.put_u8(match policy.mode {
        Mode::Invisible => 0,
        Mode::Directed => 1,
    });
    text.put_u8(match policy.uncovered {
        Uncovered::Deny => 0,
        Uncovered::Pass => 1,
    });
    text.put_u128(timing.interval.as_nanos());
    text.put_u128(timing.lease.as_nanos());
    text.put_u128(policy.drain.as_nanos());
    let start = 0xcbf2_9ce4_8422_2325_u64;
    text.iter().fold(start, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// A rule, as it is counted and handed over:
///
/// | bytes | field |
/// |---|---|
/// | 1 | 4 or 6: IPv4 or IPv6 |
/// | 4 or 16 | its address |
/// | 2, 2 | the first and the last port |
/// | 1 | protocol, as in IP |
/// | 3 | what chooses the bucket: 0 address, 1 and port, 2 network (bits of IPv4, of IPv6), 3 IP id |
pub(super) fn put_rule(rule: &Rule, out: &mut impl BufMut) {
    match rule.vip {
        IpAddr::V4(vip) => {
            out.put_u8(4);
            out.put_slice(&vip.octets());
        }
        IpAddr::V6(vip) => {
            out.put_u8(6);
            out.put_slice(&vip.octets());
        }
    }
    out.put_u16(*rule.ports.start());
    out.put_u16(*rule.ports.end());
    out.put_u8(match rule.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    });
    out.put_slice(&match rule.on {
        HashOn::Addr => [0, 0, 0],
        HashOn::AddrPort => [1, 0, 0],
        HashOn::Net { v4, v6 } => [2, v4, v6],
        HashOn::IpId => [3, 0, 0],
    });
}

/// Rules as they are told with tables: their number, then each.
pub(super) fn put_rules(rules: &[Rule], out: &mut impl BufMut) {
    assert!(rules.len() <= Rule::MAX, "a reader would refuse so many");
    out.put_u8(rules.len() as u8);
    for rule in rules {
        put_rule(rule, out);
    }
}

/// Reads what [`put_rules`] wrote, if these rules can work.
pub(super) fn read_rules(bytes: &[u8]) -> Result<Vec<Rule>, DecodeError> {
    let mut from = Reader::new(bytes);
    let count = from.u8("the number of rules")?;
    let rules = (0..count).map(|_| rule(&mut from)).collect::<Result<Vec<_>, _>>()?;
    from.finish()?;
    match Rule::check(&rules) {
        Ok(()) => Ok(rules),
        Err(_) => Err(DecodeError::Invalid("the rules")),
    }
}

/// Reads what [`put_rule`] wrote; whether it can work is not looked at.
pub(super) fn rule(from: &mut Reader<'_>) -> Result<Rule, DecodeError> {
    let vip = match from.u8("an address")? {
        4 => Ipv4Addr::from(from.u32("an address")?).into(),
        6 => Ipv6Addr::from(from.u128("an address")?).into(),
        _ => return Err(DecodeError::Invalid("an address")),
    };
    let (first, last) = (from.u16("ports")?, from.u16("ports")?);
    let protocol = match from.u8("a protocol")? {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        _ => return Err(DecodeError::Invalid("a protocol")),
    };
    let on = match *from.bytes(3, "what chooses the bucket")? {
        [0, 0, 0] => HashOn::Addr,
        [1, 0, 0] => HashOn::AddrPort,
        [2, v4, v6] => HashOn::Net { v4, v6 },
        [3, 0, 0] => HashOn::IpId,
        _ => return Err(DecodeError::Invalid("what chooses the bucket")),
    };
    Ok(Rule { vip, ports: first..=last, protocol, on })
}

const _: () = assert!(
    Facts::HEAD_LEN + 2 * Rule::MAX <= Beat::FACTS_MAX,
    "a beat has no room for so many services"
);
const _: () = assert!(
    Beat::LEN_MAX - Beat::FACTS_MAX
        + (Facts::HEAD_LEN + 2 * Rule::MAX)
        + SET_LEN * Config::LINKS_MAX as usize
        <= ha_proto::wire::LONG_BODY_MAX,
    "a beat has no room for so many networks"
);

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use ha_proto::Boot;

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn set() -> NodeSet {
        [node(0), node(5)].into_iter().collect()
    }

    fn body() -> Body {
        let id = |counter| ViewId { counter, coordinator: node(5), boot: Boot(9) };
        let share = |mac, weights: &[u16]| Share { mac, weights: weights.to_vec() };
        Body {
            base: Some(id(3)),
            taken: None,
            settled: 2,
            digest: 0x11,
            accord: 0x22,
            announcer: node(5),
            members: [
                (node(0), share(Some(Mac([2, 0, 0, 0, 0, 1])), &[8, 16])),
                (node(5), share(None, &[0, 3])),
            ]
            .into(),
            drains: [(3, Duration::from_millis(0x0102))].into(),
            strangers: [].into(),
        }
    }

    /// Version 1. Never edited, only added to.
    fn golden() -> Vec<u8> {
        let word = |word: u64| word.to_be_bytes().to_vec();
        [
            vec![1],
            word(3),
            vec![5],
            word(9),
            vec![0; 17],
            word(2),
            word(0x11),
            word(0x22),
            vec![5, 2],
            vec![1, 2, 0, 0, 0, 0, 1, 0, 8, 0, 16],
            vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3],
            vec![1],
            word(3),
            vec![0, 0, 1, 2],
        ]
        .concat()
    }

    #[test]
    fn the_golden_bytes_stay() {
        assert_eq!(body().encode(), golden());
        assert_eq!(Body::decode(&golden(), set()), Ok(body()));
        let facts = Facts { share: body().members[&node(0)].clone(), announcer: Some(node(5)) };
        let golden = [1, 1, 2, 0, 0, 0, 0, 1, 5, 0, 8, 0, 16];
        assert_eq!(facts.encode(), &golden[..]);
        assert_eq!(Facts::decode(&golden), Ok(facts));
    }

    #[test]
    fn every_other_length_is_refused() {
        for len in 0..golden().len() {
            assert!(Body::decode(&golden()[..len], set()).is_err(), "{len}");
        }
        let mut more = golden();
        for len in 1..7 {
            more.push(len);
            assert!(Body::decode(&more, set()).is_err(), "{len} more");
        }
    }

    #[test]
    fn who_is_no_member_follows_in_order() {
        let strangers = [(node(2), Mac([2, 0, 0, 0, 0, 2])), (node(7), Mac([2, 0, 0, 0, 0, 7]))];
        let body = Body { strangers: strangers.into(), ..body() };
        let tail = [2, 2, 0, 0, 0, 0, 2, 7, 2, 0, 0, 0, 0, 7];
        let bytes = [golden(), tail.to_vec()].concat();
        assert_eq!(body.encode(), bytes);
        assert_eq!(Body::decode(&bytes, set()), Ok(body));
        let refused = Err(DecodeError::Invalid("a stranger"));
        let turned = [golden(), tail[7..].to_vec(), tail[..7].to_vec()].concat();
        assert_eq!(Body::decode(&turned, set()), refused);
        let member = [golden(), vec![5, 2, 0, 0, 0, 0, 5]].concat();
        assert_eq!(Body::decode(&member, set()), refused);
    }

    #[test]
    fn who_announces_is_a_member() {
        let mut bytes = golden();
        bytes[59] = 1;
        assert_eq!(Body::decode(&bytes, set()), Err(DecodeError::Invalid("the announcer")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_body_that_encodes_to_them_or_an_error(
            spoils in prop::collection::vec((0usize..120, any::<u8>()), 0..4),
            noise in prop::collection::vec(any::<u8>(), 0..140),
        ) {
            let mut near = golden();
            for (at, byte) in spoils {
                if let Some(place) = near.get_mut(at) {
                    *place = byte;
                }
            }
            for bytes in [near, noise] {
                if let Ok(body) = Body::decode(&bytes, set()) {
                    prop_assert_eq!(body.encode(), bytes.clone());
                }
                let _ = Facts::decode(&bytes);
            }
        }
    }
}
