//! Everything that an operator may ask of one module on one node, at one moment.

use alloc::vec::Vec;
use core::time::Duration;

use ha_heartbeat::{Margin, Resources};
use ha_proto::{DataState, Epoch, LinkId, Membership, NodeId, Position, Role, Seq};
use ha_quorum::Vote;

use crate::{OrderError, Timing};

/// One module on one node as its machines know it; see [`Mirror::view`](crate::Mirror::view).
///
/// Facts only: what they mean is said by [`verdict::judge`](crate::verdict::judge). Every duration
/// counts from the moment that this was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, as an operator asks them")]
pub struct View {
    /// This node.
    pub me: NodeId,
    /// Who decides when the nodes do not see each other.
    pub vote: Vote,
    /// The configured durations.
    pub timing: Timing,
    /// How long this process runs.
    pub uptime: Duration,
    /// The announced role.
    pub role: Role,
    /// Whether all that the role asks for is done.
    pub ready: bool,
    /// Who holds, and whose copies count, as saved here.
    pub membership: Membership,
    /// The highest epoch known, saved or not.
    pub epoch: Epoch,
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
    /// The other node.
    pub peer: PeerView,
    /// The networks between the two, in the order of the configuration.
    pub links: Vec<LinkView>,
    /// The witness.
    pub witness: WitnessView,
    /// The right to serve.
    pub right: Right,
    /// The application and its addresses.
    pub service: ServiceView,
    /// The replication log and its disk.
    pub log: LogView,
    /// The copy under way from or to the other node.
    pub copy: Option<CopyView>,
    /// For how long a promise to the peer, or the boot, keeps this node from asking and starting
    /// (R6, R9).
    pub bound: Option<Duration>,
    /// Whether the module takes part.
    pub started: bool,
    /// Whether this node takes over by itself.
    pub failover: bool,
    /// Whether this node is handing the service over.
    pub yielding: bool,
    /// One bit for each resource for which this node cannot serve, in the order of the configuration.
    pub blocking: u64,
    /// What is known of its resources.
    pub resources: Resources,
    /// Whether a swap ordered now would be accepted.
    pub swap: Result<(), OrderError>,
    /// Why this node is in `WAIT`; `None` in any other role.
    pub wait: Option<Wait>,
    /// How long a takeover after the loss of the primary takes at most, the start of the
    /// application not counted (G3).
    pub takeover: Duration,
}

/// The other node, as this one knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Its id.
    pub id: NodeId,
    /// Whether it is alive and hears this node.
    pub up: bool,
    /// What it said of itself last, and how long ago: known also when it is lost. `None` when it
    /// was never heard in this life of this process.
    pub told: Option<(Duration, ha_heartbeat::Status)>,
    /// Its copy, as the replication log knows it.
    pub copy: ha_replicate::PeerView,
}

/// One network between the two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkView {
    /// Which.
    pub id: LinkId,
    /// Whether the peer is heard on it, and hears this node.
    pub up: bool,
    /// From a beat to its echo, the peer's wait taken off; `None` before the first one.
    pub round_trip: Option<Duration>,
    /// The longest time without a proof of life, against the time-out.
    pub margin: Option<Margin>,
}

/// The witness, as this node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WitnessView {
    /// Whether it answers; `None` when this kind of vote has none that answers all the time.
    pub answering: Option<bool>,
    /// How long its newest answer took, its disk included.
    pub round_trip: Option<Duration>,
    /// What its register held when it answered last.
    pub register: Option<Membership>,
    /// How long the lease that it granted to this node lasts.
    pub lease: Option<Duration>,
    /// For how long it lets nobody but the holder hold.
    pub held: Option<Duration>,
    /// For how long it changes no holder at all, after its start.
    pub grace: Option<Duration>,
    /// It leases for another time than is configured here.
    pub lease_differs: bool,
    /// Vote `ping`: whether the addresses outside were reached, if this node looked since it lost
    /// its peer.
    pub outside: Option<bool>,
}

/// The right to serve (R1, R5, R7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// None.
    None,
    /// As long as nothing newer is learned: it may run alone, or there are no leases.
    Standing,
    /// For so long, unless it is renewed; serving stops S before its end.
    Lease(Duration),
}

/// The application and its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceView {
    /// How far it is.
    pub stage: Stage,
    /// A step failed, and what it left is not taken down yet.
    pub failed: bool,
    /// For how long nothing is started because a step failed.
    pub cooling: Option<Duration>,
}

/// How far the application is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It does not run.
    Down,
    /// Its addresses are being taken, or it is being started.
    Starting,
    /// It serves.
    Up,
    /// It is being stopped, or is to be.
    Stopping,
    /// It is kept from doing anything: the right to serve has ended.
    Fenced,
}

/// The replication log and its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogView {
    /// Its size in bytes.
    pub bytes: u64,
    /// The size at which it refuses records.
    pub bytes_max: u64,
    /// Records that wait to be durable on every member of the set.
    pub unacked: u64,
    /// The disk is full.
    pub full: bool,
    /// The disk does not answer.
    pub stalled: bool,
    /// The storage failed: a restart is needed.
    pub broken: bool,
}

/// A copy from one node to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyView {
    /// Whose copy is behind.
    pub to: NodeId,
    /// The last record that it has.
    pub done: Seq,
    /// The last record that it needs, as far as is known here.
    pub goal: Seq,
    /// It is overwritten: until it is complete it could not serve at all.
    pub target: bool,
}

/// Why a node is in `WAIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The pair was never initialised: no operator said which node's data it begins with.
    NeverInitialised,
    /// The pair is being founded: the witness is asked for its first register.
    Founding,
    /// The storage failed: a restart is needed.
    StorageFailed,
    /// The disk does not answer.
    DiskStalled,
    /// The disk is full.
    DiskFull,
    /// Resources are down, one bit each.
    Resources(u64),
    /// The application, or its addresses, failed: tried again after this.
    Cooling(Duration),
    /// The two nodes hold the data of two different bootstraps, or of histories without a common
    /// part: an operator decides whose are kept.
    NoCommonHistory,
    /// Two primaries met, and this one gives way.
    GivesWay,
    /// The data here are not complete: they must be copied from the other node.
    Incomplete,
    /// The data here may be stale: the other node, which has all, is waited for.
    Stale,
    /// Vote `ping`: this node lost its peer and reaches nothing outside.
    CutOff,
    /// The other node serves, or is about to, and this one is not connected to it yet.
    Connecting,
    /// A promise to the peer, or the boot, binds this node for so long.
    Bound(Duration),
    /// `failover off`, or vote `manual`: an operator decides.
    FailoverOff,
    /// Ordered to wait until it has met the peer (`second`).
    Shy,
    /// Without a witness that votes: it booted as part of a pair, and waits for the peer.
    PeerUnseen,
    /// The witness does not answer.
    WitnessSilent,
    /// The witness lets nobody else hold for so long.
    LeaseHeld(Duration),
    /// Nothing stands in its way: it is on its way to serve or to follow.
    OnItsWay,
}
