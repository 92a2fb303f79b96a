//! What a node answers when it is asked, and how its machines are configured.

use alloc::vec;

use ha_heartbeat::{Margin, Resources, Status as Told};
use ha_proto::wire::Rejections;
use ha_proto::{Boot, DataState, Instant, LinkId, Membership, Position, Role, Seq};
use ha_quorum::voter;
use ha_replicate::PeerView;

use crate::tally::Totals;
use crate::{Config, Mirror, Saved};

/// How a module is doing on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, as an operator asks for them"
)]
pub struct Status {
    /// The announced role.
    pub role: Role,
    /// Whether all that the role asks for is done.
    pub ready: bool,
    /// Who holds, and whose copies count, as saved here.
    pub membership: Membership,
    /// What the data here are worth.
    pub state: DataState,
    /// The last record of the log here, durable or not.
    pub head: Position,
    /// The last durable record.
    pub durable: Position,
    /// The last record that every member of the set has durably.
    pub committed: Seq,
    /// The last record that the application has applied.
    pub applied: Seq,
    /// Whether the peer is alive and hears this node.
    pub peer_up: bool,
    /// The peer's copy.
    pub peer: PeerView,
    /// Whether the witness answers; true without one.
    pub witness_up: bool,
    /// Whether the application runs here.
    pub serving: bool,
    /// Since when, by the driver's clock; another one after each restart of the application.
    pub serving_since: Option<Instant>,
    /// What is known here of the resources.
    pub resources: Resources,
    /// What the peer said of its own last; `None` while it is lost.
    pub peer_resources: Option<Resources>,
    /// The storage failed: a restart is needed.
    pub broken: bool,
    /// The longest gap between beats against the timeout, worst link first; `None` before the
    /// first beat.
    pub margin: Option<Margin>,
}

impl Status {
    /// Whether clients are to be sent here: the application serves, and all that its role asks for
    /// is done.
    pub const fn takes_clients(&self) -> bool {
        match self.role {
            Role::Prim | Role::Alone | Role::Up => self.ready,
            Role::Stop | Role::Wait | Role::Second => false,
        }
    }
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Beats.
    pub heartbeat: ha_heartbeat::Counters,
    /// Records and frames.
    pub log: ha_replicate::Counters,
    /// Datagrams refused that came from the peer's side.
    pub peer_rejections: Rejections,
    /// Datagrams refused that came from the witness's side.
    pub witness_rejections: Rejections,
    /// Answers of the witness that did not count: late, twice, or another boot's.
    pub void_answers: u64,
    /// What became of the module.
    pub totals: Totals,
}

impl Mirror {
    /// How this module is doing.
    pub fn status(&self) -> Status {
        let (role, ready) = self.announced;
        let links = (0..self.config.identity.links).map(LinkId);
        let peer = self.peer.filter(|_| self.peer_is_alive());
        let margins = links.filter_map(|link| self.detector.margin(self.peer_id(), link));
        Status {
            role,
            ready,
            membership: self.memory.saved().membership,
            state: self.memory.saved().state,
            head: self.log.head(),
            durable: self.log.durable(),
            committed: self.log.committed(),
            applied: self.log.applied(),
            peer_up: self.peer_is_alive(),
            peer: self.log.peer(),
            witness_up: self.voter.as_ref().is_none_or(ha_quorum::Voter::answering),
            serving: self.service.is_up(),
            serving_since: self.served_since.filter(|_| self.service.is_up()),
            resources: self.plan.resources(),
            peer_resources: peer.map(|facts| facts.told.resources),
            broken: self.broken,
            margin: margins.max_by_key(|margin| margin.longest_gap),
        }
    }

    /// What is saved.
    pub fn saved_state(&self) -> &Saved {
        self.memory.saved()
    }

    /// What was counted since the start.
    pub fn counters(&self) -> Counters {
        let [peer_rejections, witness_rejections] = self.rejections;
        Counters {
            heartbeat: self.detector.counters(),
            log: self.log.counters(),
            peer_rejections,
            witness_rejections,
            void_answers: self.void_answers,
            totals: self.tally.totals(self.now),
        }
    }
}

/// What a node says of itself before it knows anything.
pub(super) fn blank_status(saved: &Saved, position: Position, preference: u8) -> Told {
    Told {
        membership: saved.membership,
        role: Role::Stop,
        ready: false,
        state: saved.state,
        store: saved.store,
        incarnation: saved.incarnation,
        position,
        asks: false,
        promise: None,
        able: false,
        broken: false,
        yields: false,
        waits: false,
        unanswered: false,
        resources: Resources::default(),
        preference,
        joint: saved.joint,
    }
}

pub(super) fn detector_config(config: &Config, boot: Boot) -> ha_heartbeat::Config {
    let (identity, timing) = (config.identity, config.timing);
    let peers = vec![identity.peer];
    ha_heartbeat::Config::new(
        identity.me,
        boot,
        peers,
        identity.links,
        timing.heartbeat,
        timing.timeout,
    )
    .expect("`Config::new` checked what the detector needs")
}

pub(super) fn voter_config(config: &Config, boot: Boot) -> voter::Config {
    let timing = config.timing;
    voter::Config::new(config.identity.me, boot, timing.lease, timing.round_trip)
        .expect("`Config::new` checked what the voter needs")
}

pub(super) fn log_config(config: &Config) -> ha_replicate::Config {
    let limits = config.limits;
    ha_replicate::Config {
        window_bytes: limits.window_bytes,
        window_records: limits.window_records as u64,
        stall: config.stall(),
        log_max_bytes: limits.log_bytes,
        ..ha_replicate::Config::new(config.identity.me, config.identity.peer)
    }
}
