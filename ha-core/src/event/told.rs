//! Events, said to people.

use alloc::format;
use alloc::string::String;

use ha_proto::{Epoch, LinkId};

use crate::event::{Event, Exclusion};
use crate::verdict::{Names, span};

impl Event {
    /// What happened, in one line for a person; it may change from version to version.
    pub fn told(&self, names: &Names) -> String {
        told(self, names)
    }
}

fn told(event: &Event, names: &Names) -> String {
    let (me, peer) = (&names.me, &names.peer);
    let link = |link: &LinkId| {
        names
            .links
            .get(usize::from(link.0))
            .cloned()
            .unwrap_or_else(|| format!("network {}", link.0))
    };
    match event {
        Event::Role { from, to, ready } => {
            let ready = if *ready { "ready" } else { "not ready" };
            if from == to {
                format!("{to} is {ready}")
            } else {
                format!("{from} becomes {to}, {ready}")
            }
        }
        Event::Membership(saved) => {
            format!("epoch {}: holder {}, copies {}", saved.epoch, owner(saved.epoch), saved.set)
        }
        Event::Resumed(role) => format!("this daemon goes on for an earlier one, as {role}"),
        Event::Serving(epoch) => format!("the application serves in epoch {epoch}"),
        Event::Stopped(_) => "the application is stopped".into(),
        Event::LinkUp(at) => format!("{} works", link(at)),
        Event::LinkDown(at) => format!("{} is lost", link(at)),
        Event::PeerUp(_) => format!("{peer} is alive"),
        Event::PeerDown(_) => format!("{peer} is lost on every network"),
        Event::PeerRestarted(_) => format!("{peer} has started anew"),
        Event::WitnessBack => "the witness answers again".into(),
        Event::WitnessSilent => "the witness does not answer".into(),
        Event::WitnessReplaced => "the witness is another one than before".into(),
        Event::LeaseDiffers { theirs, ours } => {
            let (theirs, ours) = (span(*theirs), span(*ours));
            format!("the witness leases for {theirs}, {me} is configured for {ours}")
        }
        Event::Paused(length) => format!("{me} did not run for {}", span(*length)),
        Event::Rejected(reject) => format!("a datagram was refused: {reject}"),
        Event::Replayed => "a datagram came twice".into(),
        Event::InSync => format!("{peer} is in sync"),
        Event::Excluded(why) => {
            let why = match why {
                Exclusion::Lost => "it is lost or stopped",
                Exclusion::Stalled => "it makes no progress",
                Exclusion::Unusable => "its data cannot be followed on",
            };
            format!("{peer} counts no more: {why}")
        }
        Event::Progress { .. }
        | Event::Diverged { .. }
        | Event::KeptAside { .. }
        | Event::Outside { .. }
        | Event::LogFull
        | Event::LogWritable
        | Event::DiskStalled
        | Event::DiskBack
        | Event::StorageFailed
        | Event::ApplicationFailed
        | Event::NoCommonHistory
        | Event::DataLossPossible(_) => of_data(event, names),
    }
}

/// What happened to records, disks and the application.
fn of_data(event: &Event, names: &Names) -> String {
    let (me, peer) = (&names.me, &names.peer);
    match event {
        Event::Progress { done, goal } => format!("copied {done} of {goal} records"),
        Event::Diverged { common } => {
            format!("{me} and {peer} differ behind record {common}")
        }
        Event::KeptAside { from, to, bytes } => {
            format!("records {from} to {to} of {me} are kept aside: {bytes} bytes")
        }
        Event::Outside { reached: true } => format!("{me} reaches the addresses outside"),
        Event::Outside { reached: false } => format!("{me} reaches nothing outside"),
        Event::LogFull => "the log takes no more records: the disk or its bound is full".into(),
        Event::LogWritable => "the log takes records again".into(),
        Event::DiskStalled => "the disk does not answer".into(),
        Event::DiskBack => "the disk answers again".into(),
        Event::StorageFailed => format!("the storage of {me} failed: mend it, then restart"),
        Event::ApplicationFailed => "the application or its address failed".into(),
        Event::NoCommonHistory => format!("no common history with {peer}: an operator decides"),
        Event::DataLossPossible(epoch) => {
            format!("override {epoch}: what only {peer} had acknowledged may be lost")
        }
        Event::Role { .. }
        | Event::Membership(_)
        | Event::Serving(_)
        | Event::Stopped(_)
        | Event::LinkUp(_)
        | Event::LinkDown(_)
        | Event::PeerUp(_)
        | Event::PeerDown(_)
        | Event::PeerRestarted(_)
        | Event::Resumed(_)
        | Event::WitnessBack
        | Event::WitnessSilent
        | Event::WitnessReplaced
        | Event::LeaseDiffers { .. }
        | Event::Paused(_)
        | Event::Rejected(_)
        | Event::Replayed
        | Event::InSync
        | Event::Excluded(_) => String::new(),
    }
}

fn owner(epoch: Epoch) -> String {
    epoch.owner().map_or_else(|| "none".into(), |owner| format!("{owner}"))
}
