//! What goes into a node and what comes out of it.

use bytes::Bytes;
use ha_proto::wire::Datagram;
use ha_proto::{Epoch, LinkId, Position, Seq, Ticket};
use ha_replicate::{Batch, ReadFor};

use crate::{Event, Saved};

/// Where a datagram came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The peer, over this link.
    Peer(LinkId),
    /// The witness.
    Witness,
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The peer, over this link.
    Peer(LinkId),
    /// The witness.
    Witness,
}

/// A fact for a node.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The deadline has come (or any other time: it is harmless).
    Timeout,
    /// A datagram came in.
    Datagram {
        /// Where from, by the socket that it came in by.
        source: Source,
        /// Its bytes, unchecked.
        bytes: &'a [u8],
    },
    /// The replication stream to the peer is up: nothing of an earlier one is on it.
    Connected,
    /// The replication stream is gone, with whatever was on it.
    Disconnected,
    /// One whole message of this module from the replication stream.
    Stream {
        /// The message; its sharing is cheap.
        message: Bytes,
    },
    /// The result of an effect.
    Done {
        /// Which one.
        ticket: Ticket,
        /// How it ended.
        answer: Answer,
    },
    /// What is known of a resource changed. The peer is told of it.
    Resource {
        /// Its place in the configuration, 0 to 63; higher ones are ignored.
        index: u8,
        /// Whether it is up; `None` while nobody knows.
        up: Option<bool>,
        /// Whether this node cannot serve because of it: a ready peer gets the service, and alone
        /// it goes on with what runs but starts nothing.
        blocks: bool,
    },
    /// The virtual addresses are gone, and nobody here dropped them: somebody else took them off,
    /// or their lifetime ended. The application is taken down, and a ready peer gets the service;
    /// where there is none it is tried here again. It counts as a failure of the application
    /// ([`Event::ApplicationFailed`]). Ignored where no addresses are held or being taken.
    AddressLost,
}

/// How an effect ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done (and durable, where the effect is about storage).
    Done,
    /// It could not be done.
    Failed,
    /// There is no room on the disk: nothing of the batch was written, nothing was lost.
    Full,
    /// What [`Effect::Read`] asked for: whole records starting at its `from`.
    Records(Bytes),
    /// [`Effect::SetAside`] is durable.
    Kept {
        /// Bytes set aside.
        bytes: u64,
    },
    /// [`Effect::Truncate`] is durable.
    Truncated {
        /// The last record that is left, read from the log; the default for an empty log.
        head: Position,
        /// Bytes of the log that are left.
        bytes: u64,
    },
}

/// What a node wants done.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a datagram is inline, so that a beat needs no memory"
)]
pub enum Output {
    /// Send a datagram; it may be lost.
    Transmit {
        /// Where to.
        to: Destination,
        /// What.
        datagram: Datagram,
    },
    /// Do something and answer with [`Input::Done`].
    Effect {
        /// To be named in the answer.
        ticket: Ticket,
        /// What to do.
        effect: Effect,
    },
    /// Something that an operator may want to know; needs no answer.
    Event(Event),
}

/// What the driver must do; each is answered once, by [`Input::Done`] with its ticket.
///
/// Effects of one kind are performed in the order in which they were asked. Nothing else is to be
/// kept in order: the node withholds whatever depends on an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Replace what is saved, atomically and durably.
    Save(Saved),
    /// Append these records to the log and make them durable. `Done` once they are; an answer for a
    /// later batch may come first only if it covers this one too.
    Append(Batch),
    /// Copy the records from `from` on to a place beside the log, durably; the log stays as it is.
    SetAside {
        /// The first record to keep.
        from: Seq,
    },
    /// Drop the records after `keep` from the log, durably.
    Truncate {
        /// The last record that stays.
        keep: Seq,
    },
    /// Read whole records from `from` on, at least one, no more bytes than `max` unless the first
    /// record alone is longer.
    Read {
        /// What for (told back by the ticket; here for the driver's log).
        what: ReadFor,
        /// The first record.
        from: Seq,
        /// Bytes.
        max: usize,
    },
    /// Apply these committed records, in order, to the application's state.
    Apply(Batch),
    /// Forget the application's state: it will be applied again from the first record.
    Reset,
    /// Set the virtual addresses here, to vanish by themselves after `lifetime` (nanoseconds in
    /// `Duration`) unless kept.
    TakeAddress {
        /// In whose name.
        epoch: Epoch,
        /// How long they live without [`Effect::KeepAddress`].
        lifetime: core::time::Duration,
    },
    /// Extend the lifetime of the virtual addresses.
    KeepAddress {
        /// How long they live from now.
        lifetime: core::time::Duration,
    },
    /// Remove the virtual addresses.
    DropAddress,
    /// Start the application. It must answer nobody before the record `head` is applied: what was
    /// acknowledged before is read again only then.
    StartApp {
        /// The reign in which it runs, to be shown to whatever must refuse older ones.
        epoch: Epoch,
        /// The last record of the log when it was started.
        head: Seq,
    },
    /// The virtual addresses are set already, by an earlier process of this boot: go on with them,
    /// and let them live for `lifetime` from now. None may go meanwhile.
    AdoptAddress {
        /// In whose name.
        epoch: Epoch,
        /// How long they live without [`Effect::KeepAddress`].
        lifetime: core::time::Duration,
    },
    /// The application runs already, since an earlier process of this boot: go on with it. `Failed`
    /// when it does not run; it is then stopped, and started anew.
    AdoptApp {
        /// The reign in which it was started.
        epoch: Epoch,
        /// The last record of the log: what was acknowledged before is read again only then.
        head: Seq,
    },
    /// Stop the application, in order; `force` after that failed, or when it was fenced.
    StopApp {
        /// Do not wait for it to agree.
        force: bool,
    },
    /// Ask an address outside the cluster once (vote `ping`): `Done` when it answers in time,
    /// `Failed` when it does not.
    Probe {
        /// Its place in the configuration, from 0.
        target: u8,
        /// How long it has to answer.
        within: core::time::Duration,
    },
    /// Keep the application from doing anything any more, within S (R5): no answers, no writes.
    Fence {
        /// The reign that ended.
        epoch: Epoch,
    },
}
