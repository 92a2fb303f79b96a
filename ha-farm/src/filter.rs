//! What one node's kernel decides by.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;

use ha_proto::NodeId;
use thiserror::Error;

use crate::decide::Service;
use crate::packet::array;
use crate::{Bucket, Hash, HashOn, Mac, Mode, Protocol, Rule, RuleError, Table, Uncovered};

/// All that one member's kernel needs to decide on packets: its rules, and a word for each bucket.
///
/// A word has four bytes, the lowest first: owner, the two previous owners (ids, [`Filter::NONE`]
/// for nobody), flags ([`Filter::TAKE`], [`Filter::DRAIN`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    setup: Setup,
    words: Vec<Box<[u32]>>,
    /// The rules as the decision reads them.
    pub(crate) v4: Vec<Service<4>>,
    pub(crate) v6: Vec<Service<16>>,
    /// This node's, and everybody's in order.
    pub(crate) mac: Option<Mac>,
    macs: Vec<Mac>,
}

/// What a filter is made of, beside the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Whose filter it is.
    pub me: NodeId,
    /// How clients' frames reach the members.
    pub mode: Mode,
    /// What happens to packets that no rule covers.
    pub uncovered: Uncovered,
    /// What chooses the bucket.
    pub hash: Hash,
    /// The services.
    pub rules: Vec<Rule>,
    /// The members' hardware addresses on the VIPs' network, this node's among them. Mode
    /// invisible needs none.
    pub macs: BTreeMap<NodeId, Mac>,
}

/// Why a filter cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FilterError {
    /// The rules cannot work.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// There is not one table for each rule.
    #[error("{rules} rules and {tables} tables: each rule has one")]
    Tables {
        /// How many rules.
        rules: usize,
        /// How many tables.
        tables: usize,
    },
    /// Mode directed, and the hardware address of this node is not known, or of one that is to be
    /// handed frames.
    #[error("node {0} has no hardware address: nothing could be handed to it")]
    NoMac(NodeId),
    /// Mode directed, and two members have one hardware address.
    #[error("{0} is the hardware address of two members")]
    MacTwice(Mac),
}

impl Filter {
    /// In a word: no node.
    pub const NONE: u8 = 0xff;
    /// In a word: this node owns the bucket, and may take it (F2).
    pub const TAKE: u32 = 1 << 24;
    /// In a word: the bucket drains (F8).
    pub const DRAIN: u32 = 1 << 25;

    /// The filter of `setup.me`, of one table for each rule. `take` says whether it may take the
    /// bucket of this service and number (F2); it is asked of those that the node owns.
    ///
    /// # Errors
    /// [`FilterError`] when these do not fit together.
    pub fn new(
        setup: Setup,
        tables: &[Table],
        mut take: impl FnMut(usize, usize) -> bool,
    ) -> Result<Self, FilterError> {
        Rule::check(&setup.rules)?;
        if setup.rules.len() != tables.len() {
            let (rules, tables) = (setup.rules.len(), tables.len());
            return Err(FilterError::Tables { rules, tables });
        }
        match setup.mode {
            Mode::Invisible => {}
            Mode::Directed => setup.check_macs(tables)?,
        }
        let mut words: Vec<Box<[u32]>> = Vec::with_capacity(tables.len());
        for (service, table) in tables.iter().enumerate() {
            words.push(
                table
                    .buckets()
                    .iter()
                    .enumerate()
                    .map(|(number, bucket)| {
                        let mine = bucket.owner == Some(setup.me);
                        word(bucket, mine && take(service, number))
                    })
                    .collect(),
            );
        }
        Ok(Self::of(setup, words))
    }

    fn of(setup: Setup, words: Vec<Box<[u32]>>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (number, rule) in setup.rules.iter().enumerate() {
            match rule.vip {
                IpAddr::V4(vip) => v4.push(Service::new(vip.octets(), rule, number)),
                IpAddr::V6(vip) => v6.push(Service::new(vip.octets(), rule, number)),
            }
        }
        assert_eq!(
            v4.len() + v6.len(),
            words.len(),
            "a packet would look for its bucket elsewhere"
        );
        let whole = words.iter().all(|words| words.len().is_power_of_two());
        assert!(whole, "a hash would point beside the buckets, or miss some");
        let mac = setup.macs.get(&setup.me).copied();
        let mut macs: Vec<Mac> = setup.macs.values().copied().collect();
        macs.sort_unstable();
        Self { setup, words, v4, v6, mac, macs }
    }

    /// The same, and TCP to these addresses is nobody's, at whichever port: for what is set on a
    /// machine still although no rule names it any more. Rules of their own, behind all others, say
    /// so: of what does not fit [`Rule::MAX`] the filter knows nothing, as before.
    #[must_use]
    pub fn closed_to(&self, vips: &BTreeSet<IpAddr>) -> Self {
        let (mut setup, mut words) = (self.setup.clone(), self.words.clone());
        let nobodys: Box<[u32]> =
            self.words[0].iter().map(|_| word(&Bucket::default(), false)).collect();
        let room = Rule::MAX - setup.rules.len();
        let named = |vip: &&IpAddr| self.setup.rules.iter().any(|rule| rule.vip == **vip);
        for &vip in vips.iter().filter(|vip| !named(vip)).take(room) {
            let (protocol, on) = (Protocol::Tcp, HashOn::Addr);
            setup.rules.push(Rule { vip, ports: 1..=u16::MAX, protocol, on });
            words.push(nobodys.clone());
        }
        Rule::check(&setup.rules)
            .expect("they are of addresses that rules named, and no others are");
        Self::of(setup, words)
    }

    /// Whether a member sent this frame.
    pub(crate) fn is_member(&self, frame: &[u8]) -> bool {
        array(frame, 6).is_some_and(|mac| self.macs.binary_search(&Mac(mac)).is_ok())
    }

    /// What it was made of.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The words of a service's buckets.
    ///
    /// # Panics
    /// If there is no such rule.
    pub fn words(&self, service: usize) -> &[u32] {
        &self.words[service]
    }
}

impl Setup {
    fn check_macs(&self, tables: &[Table]) -> Result<(), FilterError> {
        let mut nodes = BTreeSet::from([self.me]);
        for bucket in tables.iter().flat_map(Table::buckets) {
            nodes.extend(bucket.owner);
            nodes.extend(bucket.previous.iter().flatten());
        }
        if let Some(&node) = nodes.iter().find(|node| !self.macs.contains_key(node)) {
            return Err(FilterError::NoMac(node));
        }
        let mut seen = BTreeSet::new();
        match self.macs.values().find(|mac| !seen.insert(**mac)) {
            Some(&mac) => Err(FilterError::MacTwice(mac)),
            None => Ok(()),
        }
    }
}

fn word(bucket: &Bucket, take: bool) -> u32 {
    assert_eq!(bucket.drains(), bucket.previous[0].is_some(), "it would drain to nobody");
    assert!(!take || bucket.owner.is_some(), "this node would take what is nobody's");
    let id = |node: Option<NodeId>| node.map_or(Filter::NONE, NodeId::as_u8);
    let [last, before] = bucket.previous;
    let flags =
        if take { Filter::TAKE } else { 0 } | if bucket.drains() { Filter::DRAIN } else { 0 };
    u32::from_le_bytes([id(bucket.owner), id(last), id(before), 0]) | flags
}

// In a word ids, nobody and flags stay apart.
const _: () = assert!(NodeId::MAX < Filter::NONE);
const _: () = assert!(Filter::TAKE & Filter::DRAIN == 0);
const _: () = assert!((Filter::TAKE | Filter::DRAIN).trailing_zeros() >= 24);
