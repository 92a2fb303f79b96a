//! What a node tells an operator.

mod told;

use core::time::Duration;

use ha_proto::{Epoch, LinkId, Membership, NodeId, Role, Seq};

/// Something that happened, for logs, metrics and tests. No answer is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The announced role changed.
    Role {
        /// Before.
        from: Role,
        /// Now.
        to: Role,
        /// Whether all that the role asks for is done.
        ready: bool,
    },
    /// A newer membership is saved.
    Membership(Membership),
    /// The application serves in this epoch.
    Serving(Epoch),
    /// The application no longer serves.
    Stopped(Epoch),
    /// A link to the peer works.
    LinkUp(LinkId),
    /// A link to the peer is lost.
    LinkDown(LinkId),
    /// The peer is alive, and hears this node.
    PeerUp(NodeId),
    /// The peer is lost on every link.
    PeerDown(NodeId),
    /// The peer's process is another one than before.
    PeerRestarted(NodeId),
    /// The witness answers.
    WitnessBack,
    /// The witness does not answer.
    WitnessSilent,
    /// The witness was replaced by another one.
    WitnessReplaced,
    /// The witness leases for another time than is configured here: mend the configuration.
    LeaseDiffers {
        /// At the witness.
        theirs: Duration,
        /// Configured here.
        ours: Duration,
    },
    /// This process goes on where an earlier one of its boot stopped, which announced this role.
    Resumed(Role),
    /// This node did not run for so long.
    Paused(Duration),
    /// A datagram was refused; told once per kind, counted always.
    Rejected(ha_proto::wire::Reject),
    /// A datagram was seen before; told once, counted always.
    Replayed,
    /// The peer is in sync: a takeover would lose nothing.
    InSync,
    /// The peer is out of the in-sync set, and why.
    Excluded(Exclusion),
    /// The peer copies: so far, of how many records.
    Progress {
        /// Records that it has.
        done: Seq,
        /// Records that it needs.
        goal: Seq,
    },
    /// Two primaries met, or a former one came back with records that the pair does not have.
    Diverged {
        /// The last record that both have.
        common: Seq,
    },
    /// Records that only this node had are kept aside, in the log's folder.
    KeptAside {
        /// The first one.
        from: Seq,
        /// The last one.
        to: Seq,
        /// Their bytes.
        bytes: u64,
    },
    /// Vote `ping`: the peer is lost, and this node looked whether it is the one that is cut off.
    Outside {
        /// Whether a majority of the addresses answered.
        reached: bool,
    },
    /// The log takes no more records: at its configured size, or the disk is full.
    LogFull,
    /// The log takes records again.
    LogWritable,
    /// The disk does not answer: records, the saved file or a read wait for it for too long. A ready
    /// peer gets the service; alone, this node takes no records meanwhile.
    DiskStalled,
    /// The disk answers again.
    DiskBack,
    /// The storage failed: this node neither serves nor counts as a copy until it is restarted.
    StorageFailed,
    /// The application could not be started or stopped, or its address not be set.
    ApplicationFailed,
    /// No common history with the peer: an operator must decide whose data to keep.
    NoCommonHistory,
    /// An operator's override: acknowledged writes of the other node may be lost.
    DataLossPossible(Epoch),
}

/// Who should look at an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Level {
    /// Only whoever looks for something.
    Debug,
    /// Whoever wants to know what the pair does.
    Info,
    /// Whoever keeps the pair whole.
    Warn,
    /// An operator, now.
    Error,
}

impl Event {
    /// Who should look at it.
    pub const fn level(&self) -> Level {
        match self {
            Self::StorageFailed
            | Self::ApplicationFailed
            | Self::NoCommonHistory
            | Self::DataLossPossible(_) => Level::Error,
            Self::PeerDown(_)
            | Self::LinkDown(_)
            | Self::WitnessSilent
            | Self::WitnessReplaced
            | Self::LeaseDiffers { .. }
            | Self::Paused(_)
            | Self::Rejected(_)
            | Self::Replayed
            | Self::Excluded(_)
            | Self::Outside { .. }
            | Self::Diverged { .. }
            | Self::KeptAside { .. }
            | Self::LogFull
            | Self::DiskStalled => Level::Warn,
            Self::Role { .. }
            | Self::Membership(_)
            | Self::Serving(_)
            | Self::Stopped(_)
            | Self::LinkUp(_)
            | Self::PeerUp(_)
            | Self::PeerRestarted(_)
            | Self::Resumed(_)
            | Self::WitnessBack
            | Self::InSync
            | Self::LogWritable
            | Self::DiskBack => Level::Info,
            Self::Progress { .. } => Level::Debug,
        }
    }

    /// Its word in logs and event streams: part of the interface.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Role { .. } => "role",
            Self::Membership(_) => "membership",
            Self::Serving(_) => "serving",
            Self::Stopped(_) => "stopped",
            Self::LinkUp(_) => "link_up",
            Self::LinkDown(_) => "link_down",
            Self::PeerUp(_) => "peer_up",
            Self::PeerDown(_) => "peer_down",
            Self::PeerRestarted(_) => "peer_restarted",
            Self::Resumed(_) => "resumed",
            Self::WitnessBack => "witness_back",
            Self::WitnessSilent => "witness_silent",
            Self::WitnessReplaced => "witness_replaced",
            Self::LeaseDiffers { .. } => "lease_differs",
            Self::Paused(_) => "paused",
            Self::Rejected(_) => "rejected",
            Self::Replayed => "replayed",
            Self::InSync => "in_sync",
            Self::Excluded(_) => "excluded",
            Self::Progress { .. } => "progress",
            Self::Diverged { .. } => "diverged",
            Self::KeptAside { .. } => "kept_aside",
            Self::Outside { .. } => "outside",
            Self::LogFull => "log_full",
            Self::LogWritable => "log_writable",
            Self::DiskStalled => "disk_stalled",
            Self::DiskBack => "disk_back",
            Self::StorageFailed => "storage_failed",
            Self::ApplicationFailed => "application_failed",
            Self::NoCommonHistory => "no_common_history",
            Self::DataLossPossible(_) => "data_loss_possible",
        }
    }
}

impl Level {
    /// Its word in logs and event streams: part of the interface.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Why a primary goes on without its secondary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// It is lost, or stopped.
    Lost,
    /// It does not make progress.
    Stalled,
    /// Its data cannot be followed on: blank, diverged, or another store.
    Unusable,
}
