//! What an operator may ask of a farm's node.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use ha_farm::{Rule, Table};
use ha_heartbeat::group::ViewId;
use ha_proto::wire::Rejections;
use ha_proto::{Boot, Instant, NodeId, NodeSet};

use crate::farm::{LinkView, Why};

/// All that status and metrics show of one node, as it sees the farm.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
pub struct View {
    /// This node.
    pub me: NodeId,
    /// When this was so.
    pub at: Instant,
    /// Its view; `None` before the first one.
    pub id: Option<ViewId>,
    /// The members of that view.
    pub members: BTreeMap<NodeId, Boot>,
    /// All that are configured but this node, and what is known of them.
    pub peers: BTreeMap<NodeId, Peer>,
    /// Why this node takes nothing; `None` while it takes what it owns.
    pub why: Option<Why>,
    /// Whether it takes all that its view gives it; else only what it took before (F2).
    pub full: bool,
    /// Whom it waits for, to take all (F2).
    pub waits_for: NodeSet,
    /// How long its filter takes on if it says nothing more; zero while it takes nothing.
    pub lease: Duration,
    /// Who answers and announces ARP and ND.
    pub announcer: Option<NodeId>,
    /// The services, in the rules' order.
    pub services: Vec<Service>,
    /// The view that those are of. Another one than `id` once this node follows a view that leaves
    /// it out: it has no tables of that one, and owns nothing in it.
    pub tables: Option<ViewId>,
    /// Whether this node drains by order, its gate is closed, or a checker fails.
    pub drained: bool,
    /// Whether its gate is open.
    pub gate: bool,
    /// Whether no checker fails.
    pub checked: bool,
    /// What drains: the counter of the view that moved it, and how long it may go on.
    pub drains: BTreeMap<u64, Duration>,
    /// Datagrams that were refused, by reason.
    pub rejections: Rejections,
}

impl View {
    /// Whether the services are those of this node's view.
    pub fn is_current(&self) -> bool {
        self.tables == self.id
    }

    /// Whether it owns a bucket of a service.
    pub fn owns(&self) -> bool {
        let owns = |service: &Service| service.table.shares().contains_key(&self.me);
        self.is_current() && self.services.iter().any(owns)
    }

    /// Whether clients are to be sent to this node: it takes, and new ones too.
    pub fn is_ready(&self) -> bool {
        self.why.is_none() && !self.drained
    }
}

/// One service, by the last table that this node had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its rule.
    pub rule: Rule,
    /// The members' weights in it, in eighths (a server that warms up has a part of its own).
    pub weights: BTreeMap<NodeId, u16>,
    /// Who owns which bucket.
    pub table: Table,
}

/// What is known of another member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
pub struct Peer {
    /// Its process, once it was heard.
    pub boot: Option<Boot>,
    /// Whether this node hears it.
    pub heard: bool,
    /// Whether each hears the other.
    pub linked: bool,
    /// Whom it hears, as it said last.
    pub hears: NodeSet,
    /// Its view, as it said last.
    pub view: Option<ViewId>,
    /// Whether it takes, as it said last.
    pub takes: bool,
    /// Whether it can take part, as it said last.
    pub able: bool,
    /// Whether its rules, hash, key, buckets and mode are this node's.
    pub agrees: bool,
    /// Those as a number ([`Config::accord`]), as it said last.
    ///
    /// [`Config::accord`]: crate::farm::Config::accord
    pub accord: Option<u64>,
    /// When it was heard last.
    pub last: Option<Instant>,
    /// The networks to it, in the order of the configuration.
    pub links: Vec<LinkView>,
}
