//! What a farm's node tells an operator.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use ha_heartbeat::group::ViewId;
use ha_proto::wire::Reject;
use ha_proto::{Instant, LinkId, NodeId, NodeSet};

use crate::event::Level;
use crate::verdict::{link, span};

/// Something that happened, for logs, metrics and tests. No answer is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A view is in force here.
    View {
        /// Which one.
        id: ViewId,
        /// Its members.
        members: NodeSet,
        /// Buckets that changed their owner.
        moved: u32,
        /// Previous owners that were cut off (F7): their connections break.
        cut: u32,
    },
    /// This node takes all that its view gives it.
    Takes(ViewId),
    /// This node takes nothing, and why.
    StandsBy(Why),
    /// A member is linked: each hears the other.
    Linked(NodeId),
    /// A member is linked no more.
    Unlinked(NodeId),
    /// A member is heard on this network again, and hears this node.
    LinkUp(NodeId, LinkId),
    /// One of both is no longer so, while the member is heard, on whatever network.
    LinkDown(NodeId, LinkId),
    /// A member's process is another one than before.
    Restarted(NodeId),
    /// This node did not run for so long (F6).
    Paused(Duration),
    /// A datagram was refused; told once per kind, counted always.
    Rejected(Reject),
    /// A member has other rules, another hash or key, other buckets or another mode: it is left out
    /// until they agree.
    Disagrees(NodeId),
    /// A member that disagreed agrees now.
    Agrees(NodeId),
    /// Two processes say that they are this node.
    Twice(NodeId),
    /// Another member tells of this node's hardware address: this node takes nothing until one of
    /// them has its own.
    MacTwice(NodeId),
    /// A node tells of a view beyond all that can have been: it is not believed.
    Future(NodeId),
    /// What a member tells is of a later version than this program reads. What it told last that can
    /// be read stands. Whoever is offered views or tables of that version says that it is unable, and
    /// is left out, as long as it is linked to who makes them ([`Why::Newer`]).
    Newer(NodeId),
    /// The kernel's filter could not be written: this node takes nothing until it can be.
    FilterFailed,
    /// The filter could be written again.
    FilterBack,
    /// The application could not be started or stopped.
    ApplicationFailed,
    /// Connections of moved buckets have had their time: their owners take all (F8).
    Drained {
        /// Moves of views up to this counter.
        counter: u64,
    },
    /// Rules came into force that every member has.
    Rules,
    /// This node goes on where an earlier process of its boot stopped.
    Resumed {
        /// In which view.
        view: ViewId,
        /// Until when its lease runs.
        until: Instant,
    },
}

impl Event {
    /// Who should look at it.
    pub const fn level(&self) -> Level {
        match self {
            Self::Disagrees(_)
            | Self::Twice(_)
            | Self::MacTwice(_)
            | Self::Future(_)
            | Self::Newer(_)
            | Self::FilterFailed
            | Self::ApplicationFailed => Level::Error,
            Self::StandsBy(_)
            | Self::Unlinked(_)
            | Self::LinkDown(..)
            | Self::Paused(_)
            | Self::Rejected(_) => Level::Warn,
            Self::View { cut, .. } if *cut > 0 => Level::Warn,
            Self::View { .. }
            | Self::Takes(_)
            | Self::Linked(_)
            | Self::LinkUp(..)
            | Self::Restarted(_)
            | Self::Agrees(_)
            | Self::FilterBack
            | Self::Drained { .. }
            | Self::Rules
            | Self::Resumed { .. } => Level::Info,
        }
    }

    /// Its word in event streams: part of the interface.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::View { .. } => "view",
            Self::Takes(_) => "takes",
            Self::StandsBy(_) => "stands_by",
            Self::Linked(_) => "linked",
            Self::Unlinked(_) => "unlinked",
            Self::LinkUp(..) => "link_up",
            Self::LinkDown(..) => "link_down",
            Self::Restarted(_) => "restarted",
            Self::Paused(_) => "paused",
            Self::Rejected(_) => "rejected",
            Self::Disagrees(_) => "disagrees",
            Self::Agrees(_) => "agrees",
            Self::Twice(_) => "twice",
            Self::MacTwice(_) => "mac_twice",
            Self::Future(_) => "future",
            Self::Newer(_) => "newer",
            Self::FilterFailed => "filter_failed",
            Self::FilterBack => "filter_back",
            Self::ApplicationFailed => "application_failed",
            Self::Drained { .. } => "drained",
            Self::Rules => "rules",
            Self::Resumed { .. } => "resumed",
        }
    }

    /// What happened, in one line for a person who calls members as `name` does, and networks as
    /// `links`; it may change from version to version.
    pub fn told(&self, name: impl Fn(NodeId) -> String, links: &[String]) -> String {
        let link = |at: LinkId| link(usize::from(at.0), links);
        match *self {
            Self::View { id: _, members, moved, cut } => {
                let members: Vec<String> = members.iter().map(name).collect();
                let members = members.join(" ");
                let cut = match cut {
                    0 => String::new(),
                    _ => format!("; third owners of {cut} were cut off: their connections break"),
                };
                format!("a view is in force: {members}; {moved} buckets moved{cut}")
            }
            Self::Takes(_) => "this member takes all that is its own".into(),
            Self::StandsBy(why) => format!("this member takes nothing: {why}"),
            Self::Linked(node) => format!("{} is linked", name(node)),
            Self::Unlinked(node) => format!("{} is not linked any more", name(node)),
            Self::LinkUp(node, at) => format!("{} to {} works", link(at), name(node)),
            Self::LinkDown(node, at) => format!("{} to {} is lost", link(at), name(node)),
            Self::Restarted(node) => format!("the daemon of {} has started anew", name(node)),
            Self::Paused(length) => format!("this member did not run for {}", span(length)),
            Self::Rejected(why) => format!("a datagram was refused: {why}"),
            Self::Disagrees(node) => format!(
                "{} is left out: its rules, hash, key, buckets, mode, plane, drain or interval are \
                 not this member's: give both one file",
                name(node)
            ),
            Self::Agrees(node) => format!("{} agrees now", name(node)),
            Self::Twice(node) => {
                format!("{}: two daemons say that they are it: change one's node", name(node))
            }
            Self::MacTwice(node) => {
                format!("{} has this member's hardware address: change one's mac", name(node))
            }
            Self::Future(node) => {
                let name = name(node);
                format!("{name} tells of a view that cannot be: it is not believed; restart {name}")
            }
            Self::Newer(node) => format!(
                "{} has a later version of the program, which this one cannot read: install the \
                 same one here",
                name(node)
            ),
            Self::FilterFailed => {
                "the filter cannot be written: this member takes nothing until it can".into()
            }
            Self::FilterBack => "the filter can be written again".into(),
            Self::ApplicationFailed => "the service could not be started or stopped".into(),
            Self::Drained { counter: _ } => "connections that moved have had their time".into(),
            Self::Rules => "the services of the file are in force".into(),
            Self::Resumed { .. } => "it goes on where the daemon before it stopped".into(),
        }
    }
}

/// Why a node takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It has started and is in no view yet.
    Boot,
    /// It did not run for a while (F6).
    Gap,
    /// Its lease ended (F5).
    Lease,
    /// A better view is in force at a node that it is linked to (F3).
    Yields(ViewId),
    /// The view that it follows leaves it out: it is not linked to each member.
    LeftOut,
    /// It hears nobody, and is told to serve nothing then.
    Isolated,
    /// Its application does not run.
    Stopped,
    /// Its kernel's filter cannot be written.
    Filter,
    /// Another process that runs has this node's id.
    Twice,
    /// This member has the same hardware address.
    Mac(NodeId),
    /// This member makes views of a later version, which the program here cannot read.
    Newer(NodeId),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boot => f.write_str("it has started and is in no view yet"),
            Self::Gap => f.write_str("it did not run for a while"),
            Self::Lease => f.write_str("its lease ended"),
            Self::Yields(id) => write!(f, "it yields to view {id}"),
            Self::LeftOut => f.write_str("it is not linked to each member of the view"),
            Self::Isolated => f.write_str("it hears nobody"),
            Self::Stopped => f.write_str("its application does not run"),
            Self::Filter => f.write_str("its kernel's filter cannot be written"),
            Self::Twice => f.write_str("another process has its node id"),
            Self::Mac(node) => write!(f, "node {node} has the same MAC address"),
            Self::Newer(node) => {
                write!(f, "it cannot read what node {node} makes: install that one's version here")
            }
        }
    }
}
