//! What goes into a group and what comes out of it.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use ha_proto::{Boot, Instant, NodeId, NodeSet};

use crate::group::{Beat, Part, Proposal, Pull, ViewId};

/// A fact for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The deadline has come.
    Tick,
    /// The process did not run for so long beyond what it was to be called for (F6). The group
    /// finds out about its own deadlines; this is for those of the node around it.
    Gap(Duration),
    /// A beat came, authenticated.
    Beat {
        /// Whose.
        from: NodeId,
        /// The beat.
        beat: Beat,
    },
    /// A part of a proposal came, authenticated.
    Propose {
        /// Who sent it, not always the coordinator.
        from: NodeId,
        /// The part.
        part: Part,
    },
    /// A part of a view's tables came, authenticated.
    Part {
        /// Who sent it.
        from: NodeId,
        /// The part.
        part: Part,
    },
    /// The answer to [`Output::Check`].
    Checked {
        /// Of which view.
        id: ViewId,
        /// Whether the tables are those that the coordinator has; else they are to be pulled.
        known: bool,
    },
    /// The answer to [`Output::Build`].
    Built {
        /// Of which view.
        id: ViewId,
        /// What the members are to be told of it.
        body: Bytes,
    },
    /// The other answer to [`Output::Build`]: the tables of this view are needed first.
    Lacks {
        /// Of which view.
        id: ViewId,
        /// What is to be pulled.
        base: ViewId,
    },
    /// Tables that came ([`Output::Tables`]) are of no use here: nothing goes on from that view.
    Useless(ViewId),
    /// The answer to [`Output::Install`] and to [`Output::Take`]: what the kernel does now.
    Written {
        /// Of which view.
        id: ViewId,
        /// Whether it was done. If not, the kernel may still do what it did.
        ok: bool,
    },
    /// The answer to [`Output::Install`] in the place of [`Input::Written`], where with the view that
    /// is written other rules come into force: no beat tells of the one and not of the other.
    Ruled {
        /// Of which view.
        id: ViewId,
        /// As in [`Input::Tell`].
        facts: Bytes,
        /// As in [`Input::Tell`].
        accord: u64,
        /// As in [`Input::Tell`].
        next: u64,
    },
    /// What the node says of itself in beats.
    Tell {
        /// Opaque to the group, at most [`Beat::FACTS_MAX`] bytes.
        facts: Bytes,
        /// What members must agree on.
        accord: u64,
        /// What this node would agree to besides; else `accord`.
        next: u64,
    },
    /// Whether this node can be in a view. At first it cannot.
    Able(bool),
    /// Whether the next view would differ from this one though its members are the same.
    Wanted(bool),
}

/// Something to do, or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this to all nodes, on all links.
    Beat(Beat),
    /// Send a part of a proposal.
    Propose {
        /// To whom.
        to: NodeId,
        /// The part.
        part: Part,
    },
    /// Ask for parts of a view's tables.
    Pull {
        /// Whom.
        to: NodeId,
        /// For what.
        pull: Pull,
    },
    /// The filter takes until then (F5). After the beat that it is of.
    Lease(Instant),
    /// Take nothing from now on. Before the beat that says so.
    Shut(Cause),
    /// Make a view; answered by [`Input::Built`] or [`Input::Lacks`] in the same call chain.
    Build {
        /// The view.
        id: ViewId,
        /// Its members.
        members: NodeSet,
        /// From which view's tables; `None`: nobody has any.
        base: Option<ViewId>,
        /// The view of a group that joins, who take what it says already (F7).
        taken: Option<ViewId>,
    },
    /// Compute a view's tables; answered by [`Input::Checked`] in the same call chain.
    Check(Proposal),
    /// Let go of what this view does not give, keep what is taken and still owned, take no more
    /// (F1); answered by [`Input::Written`].
    Install {
        /// The view.
        proposal: Proposal,
        /// Whether anything is taken so far that may be kept.
        keeps: bool,
    },
    /// Take all that this view gives (F2); answered by [`Input::Written`].
    Take(ViewId),
    /// The tables of a view were pulled: these are their parts.
    Tables {
        /// Which view.
        id: ViewId,
        /// All parts, in order.
        parts: Vec<Bytes>,
    },
    /// This node is in force in a view, or follows one that leaves it out.
    View {
        /// Which one.
        id: ViewId,
        /// Whether it is a member that takes.
        member: bool,
    },
    /// A node says something else of itself than before, or of what members must agree on: what was
    /// [`Input::Wanted`] is forgotten, and to be told again.
    Facts {
        /// Who.
        from: NodeId,
        /// What.
        facts: Bytes,
    },
    /// Each of the two hears the other now.
    Linked(NodeId),
    /// They do not any more.
    Unlinked(NodeId),
    /// A node's process is another one.
    Restarted(NodeId, Boot),
    /// A node does not agree, and is left out.
    Disagrees(NodeId),
    /// It agrees again.
    Agrees(NodeId),
    /// Two processes say that they are this node.
    Twice(NodeId),
    /// A node tells of a counter beyond all that can have been.
    Future(NodeId),
    /// This process did not run for so long (F6).
    Paused(Duration),
}

/// Why a node takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// It has started and is in no view yet.
    Boot,
    /// It did not run for a while (F6).
    Gap,
    /// Its lease ended (F5).
    Lease,
    /// A better view is in force at a node that it is linked to (F3).
    Yields(ViewId),
    /// The view that it follows leaves it out, or it lost a member before the view was in force.
    LeftOut,
    /// It hears nobody, and is told to serve nothing then.
    Isolated,
    /// The node cannot ([`Input::Able`]), or its kernel could not be told.
    Unable,
    /// Another process that runs has this node's id.
    Twice,
}
