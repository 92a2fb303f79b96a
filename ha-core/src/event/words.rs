//! Each event in words: its level, its name and its text.

use core::fmt;

use crate::event::{Event, Exclusion, Level};

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
            | Self::WitnessBack
            | Self::InSync
            | Self::LogWritable
            | Self::DiskBack => Level::Info,
            Self::Progress { .. } => Level::Debug,
        }
    }

    /// Its name for programs; what it holds is in its text. Names are a contract: added, never
    /// changed.
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

impl fmt::Display for Event {
    /// One line for a person; it may change from version to version.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role { from, to, ready: true } => write!(f, "{from} to {to}, ready"),
            Self::Role { from, to, ready: false } => write!(f, "{from} to {to}, not ready yet"),
            Self::Membership(membership) => write!(f, "the membership is {membership}"),
            Self::Serving(epoch) => write!(f, "the application serves in epoch {epoch}"),
            Self::Stopped(epoch) => write!(f, "the application of epoch {epoch} has stopped"),
            Self::LinkUp(link) => write!(f, "link {} to the peer works", link.0),
            Self::LinkDown(link) => write!(f, "link {} to the peer is lost", link.0),
            Self::PeerUp(node) => write!(f, "node {node} is alive and hears this node"),
            Self::PeerDown(node) => write!(f, "node {node} is lost on every link"),
            Self::PeerRestarted(node) => write!(f, "node {node} has restarted"),
            Self::WitnessBack => f.write_str("the witness answers"),
            Self::WitnessSilent => f.write_str("the witness does not answer"),
            Self::WitnessReplaced => f.write_str("the witness was replaced by another one"),
            Self::LeaseDiffers { theirs, ours } => {
                write!(f, "the witness leases for {theirs:?}, and {ours:?} is configured here")
            }
            Self::Paused(pause) => write!(f, "this node did not run for {pause:?}"),
            Self::Rejected(reject) => write!(f, "a datagram was refused: {reject}"),
            Self::Replayed => f.write_str("a datagram was refused: it was seen before"),
            Self::InSync => f.write_str("the peer is in sync: a takeover loses nothing"),
            Self::Excluded(why) => write!(f, "the peer is out of the in-sync set: {why}"),
            Self::Progress { done, goal } => write!(f, "the peer copies: {done} of {goal} records"),
            Self::Diverged { common } => {
                write!(f, "the two histories are the same up to record {common} only")
            }
            Self::KeptAside { from, to, bytes } => {
                write!(f, "records {from} to {to} ({bytes} bytes) are only here: kept aside")
            }
            Self::Outside { reached: true } => {
                f.write_str("the peer is lost, and most addresses outside answer")
            }
            Self::Outside { reached: false } => {
                f.write_str("the peer is lost, and most addresses outside do not answer")
            }
            Self::LogFull => f.write_str("the log takes no more records: it, or the disk, is full"),
            Self::LogWritable => f.write_str("the log takes records again"),
            Self::DiskStalled => f.write_str("the disk does not answer"),
            Self::DiskBack => f.write_str("the disk answers again"),
            Self::StorageFailed => {
                f.write_str("the storage failed: mend the disk, then restart this node")
            }
            Self::ApplicationFailed => {
                f.write_str("the application could not be started or stopped, or its address set")
            }
            Self::NoCommonHistory => {
                f.write_str("no common history with the peer: choose whose data to keep")
            }
            Self::DataLossPossible(epoch) => {
                write!(f, "epoch {epoch} was forced: acknowledged writes may be lost")
            }
        }
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "it is lost, or stopped",
            Self::Stalled => "it makes no progress",
            Self::Unusable => "its data cannot be followed on",
        })
    }
}

impl Level {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ha_proto::{Epoch, LinkId, NodeId, Role, Seq};

    #[test]
    fn an_event_is_one_line_for_a_person() {
        let node = NodeId::new(1).unwrap();
        let forced = Epoch::new(3, node).overridden_by(node);
        let rows = [
            (Event::Role { from: Role::Second, to: Role::Alone, ready: false }, Level::Info),
            (Event::Serving(Epoch::new(3, node)), Level::Info),
            (Event::LinkDown(LinkId(1)), Level::Warn),
            (Event::PeerDown(node), Level::Warn),
            (Event::Excluded(Exclusion::Stalled), Level::Warn),
            (Event::Progress { done: Seq(3), goal: Seq(9) }, Level::Debug),
            (Event::Rejected(ha_proto::wire::Reject::Mac), Level::Warn),
            (Event::DataLossPossible(forced), Level::Error),
        ];
        let lines = rows.map(|(event, level)| {
            assert_eq!(event.level(), level, "{event:?}");
            std::format!("{level} {}: {event}", event.name())
        });
        assert_eq!(
            lines,
            [
                "info role: SECOND to ALONE, not ready yet",
                "info serving: the application serves in epoch 3.1",
                "warn link_down: link 1 to the peer is lost",
                "warn peer_down: node 1 is lost on every link",
                "warn excluded: the peer is out of the in-sync set: it makes no progress",
                "debug progress: the peer copies: 3 of 9 records",
                "warn rejected: a datagram was refused: damaged, or sealed with another key",
                "error data_loss_possible: epoch 4.1! was forced: acknowledged writes may be lost",
            ]
        );
    }
}
