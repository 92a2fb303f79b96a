//! What a set of addresses is told, and what it says.

use core::time::Duration;

use ha_proto::{Epoch, Ticket};

use crate::{Address, Frame, InterfaceId, Mac, Sighting};

/// A fact for an [`AddressSet`](crate::AddressSet).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed.
    Tick,
    /// Set all addresses, to vanish by themselves after `lifetime` (R10) unless kept. Answered by
    /// [`Event::Taken`] or [`Event::Failed`], or by [`Event::Released`] when a release overtook it.
    ///
    /// During a release it waits for its end. In a lower epoch than the one that has the addresses
    /// it is ignored (R3); in an equal or a higher one it extends them in the new name.
    Take {
        /// In whose name.
        epoch: Epoch,
        /// How long they live from now. Zero is answered by `Failed`: the right to them is over.
        lifetime: Duration,
    },
    /// Let them live for `lifetime` from now. What would shorten their life changes nothing, nor
    /// does a word to a set that is released. Not answered: an extension that fails is tried again
    /// until the address is there for longer, or [`Event::Lost`].
    Keep {
        /// How long.
        lifetime: Duration,
    },
    /// Take them all off; undoes a take that is under way, forgets one that waits. Answered by
    /// [`Event::Released`].
    ///
    /// The first one after the start removes all addresses even though none was taken: a process
    /// that was killed may have left some.
    Release,
    /// How an interface is, at the start and at each change. Until it is told, it is down.
    Interface {
        /// Which; beyond the configured ones it is ignored.
        id: InterfaceId,
        /// Its hardware address; `None` when it has none.
        mac: Option<Mac>,
        /// Whether it can send: set up, and with a carrier.
        up: bool,
    },
    /// Say anew who has them: others may have claimed them where this node could not hear it, as
    /// after a cut between the nodes (`FIELD.md` row 1). Where nothing is held nothing is said.
    Announce,
    /// How an effect ended. Exactly one for each effect, however late.
    Done {
        /// Whose; an unknown one is ignored.
        ticket: Ticket,
        /// Whether it was done.
        done: bool,
    },
    /// Somebody else removed an address. To be told of what a second look confirms, since the
    /// notices of a kernel come late: one that speaks of our own removal would be taken for a
    /// stranger's. Unknown addresses are ignored.
    Removed(Address),
    /// Somebody else set an address of ours: it has not the lifetime that we gave it. Unknown
    /// addresses are ignored.
    Appeared(Address),
    /// A claim that [`sighting`](crate::sighting()) read from a frame.
    Sighting {
        /// On which interface it came.
        interface: InterfaceId,
        /// What it says.
        sighting: Sighting,
    },
}

/// What an [`AddressSet`](crate::AddressSet) says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Set the address with this lifetime, or give it this lifetime if it is there already, whoever
    /// set it, and in one step (netlink's *replace*). Never with duplicate address detection.
    Set {
        /// For [`Input::Done`].
        ticket: Ticket,
        /// Which.
        address: Address,
        /// How long it lives from now, whole nanoseconds above zero. A kernel that counts whole
        /// seconds rounds up, and an address outlives its right by less than one (R10).
        lifetime: Duration,
    },
    /// Take the address off if it is marked as ours. Done as well when it is not there.
    Remove {
        /// For [`Input::Done`].
        ticket: Ticket,
        /// Which.
        address: Address,
    },
    /// Send this frame, now or never: nothing waits for it, and it is no more true once the
    /// addresses are released.
    Transmit {
        /// On which interface.
        interface: InterfaceId,
        /// The whole frame.
        frame: Frame,
    },
    /// Something happened.
    Event(Event),
}

/// Something that happened to a set of addresses; needs no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// All addresses are set, and each was confirmed; they are announced from now on.
    Taken(Epoch),
    /// All addresses are off, as far as this machine set them.
    Released,
    /// This address could not be set, or not in time, so all are taken off: one owner for the whole
    /// set (`FIELD.md` row 7). [`Event::Released`] follows.
    Failed(Address),
    /// Somebody else claims this address while it is ours: said once a second and address at most,
    /// and answered by announcing it again.
    Conflict {
        /// Which.
        address: Address,
        /// Who.
        mac: Mac,
    },
    /// Somebody else removed or changed this address; it is as it was, and announced again.
    PutBack(Address),
    /// This address is gone although it is ours: its lifetime ended, or others removed it and it is
    /// not to be put back, or cannot be. All are taken off, and [`Event::Released`] follows: the
    /// node steps down.
    Lost(Address),
    /// Somebody set this address here while it is not ours, and nothing is done about it: an
    /// administrator's address is never touched.
    Foreign(Address),
}
