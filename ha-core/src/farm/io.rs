//! What goes into a farm's node and what comes out of it.

use alloc::sync::Arc;

use bytes::Bytes;
use ha_farm::Filter;
use ha_proto::{Instant, LinkId, NodeId, Ticket};

use crate::farm::Event;

/// A fact for a farm's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// The deadline has come (or any other time: it is harmless).
    Timeout,
    /// A datagram came in.
    Datagram {
        /// By which network.
        link: LinkId,
        /// Its bytes, unchecked.
        bytes: &'a [u8],
    },
    /// An effect has ended.
    Done {
        /// Which one.
        ticket: Ticket,
        /// Whether it was done.
        ok: bool,
    },
}

/// What a farm's node wants done. To be performed in this order, each before the next is begun:
/// the rules F1 and F5 rest on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram of at most 1,200 bytes; it may be lost.
    Transmit {
        /// By which network.
        link: LinkId,
        /// To whom.
        to: NodeId,
        /// What.
        datagram: Bytes,
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
/// [`Effect::Filter`], [`Effect::Lease`] and [`Effect::Shut`] are done when the next output is
/// begun. The others may take their time on another thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Let the kernel decide by this, from one packet to the next; the lease stays as it is. One
    /// that comes before another was answered differs from that in hardware addresses only.
    Filter(Arc<Filter>),
    /// The filter takes until this instant of the driver's clock (F5).
    Lease(Instant),
    /// The filter takes nothing from now on, live sockets' packets neither, until a lease is
    /// written.
    Shut,
    /// Whether this node answers and announces ARP and ND for the virtual addresses, under its
    /// lease (F9).
    Announce(bool),
    /// Start the application (`start_both`).
    Start,
    /// Stop the application (`stop_both`).
    Stop {
        /// Not gracefully.
        force: bool,
    },
    /// Cut the connections of the virtual addresses: a checker failed whose rule says `reset`.
    Reset,
}
