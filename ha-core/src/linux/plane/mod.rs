//! Data planes: the filter of a farm, in the kernel.
//!
//! A plane holds what [`Filter`] decides by and a lease (F5), and nothing else: it neither looks at
//! the time by itself nor repeats anything. What it cannot do is a [`PlaneError`], one line.

#[cfg(feature = "bpf")]
pub mod bpf;
mod counters;
mod error;
mod memory;
pub mod nft;

use ha_farm::Filter;
use ha_proto::Instant;
use std::boxed::Box;

pub use counters::{Counters, Service};
pub use error::PlaneError;
pub use memory::{Memory, Written};

/// A filter in the kernel, on the interfaces that it was opened for. It takes nothing before the
/// first [`Plane::lease`].
///
/// Every call returns when the kernel has done it: packets that come later meet the new filter.
pub trait Plane {
    /// Replaces all that the kernel decides by, at once: each packet meets the old filter or the
    /// new one, never a mixture. The lease stays as it is.
    ///
    /// # Errors
    /// [`PlaneError`]; the old filter is in force then.
    fn install(&mut self, filter: &Filter) -> Result<(), PlaneError>;

    /// The filter takes until `until`, a time of `CLOCK_BOOTTIME` in nanoseconds since the boot,
    /// and nothing from then on (F5), whatever becomes of this process. A time that is past shuts
    /// it at once.
    ///
    /// # Errors
    /// [`PlaneError`]; the lease is as it was then.
    fn lease(&mut self, until: Instant) -> Result<(), PlaneError>;

    /// Whether this is the filter of an earlier process, with all that it decides by. One that was
    /// asked for and is gone is not: whoever goes on with it would take by nothing.
    fn adopted(&self) -> bool;

    /// What filters was adopted, and this is what it decides by, and until when it takes, as its
    /// process knew. Nothing is written: that would take longer than the lease has left. What is
    /// found otherwise by the [`Guard`] is put right.
    fn resume(&mut self, _filter: &Filter, _until: Instant) {}

    /// What looks after the filter from now on, should others take it away: for a thread of its own,
    /// since a look may take long. `None` where nobody can take it away.
    fn guard(&mut self) -> Option<Box<dyn Guard + Send>> {
        None
    }

    /// What filters was adopted: has the programs of this release do so in the place of an earlier
    /// one's, which decide by the same maps. It takes a while, on a thread of its own that ends before
    /// the filter is removed; what comes of it is told in the log. Nothing to do where the next filter
    /// is of this release anyway.
    fn renew(&mut self) {}

    /// Whether nothing of it is under way that the end of this process would leave half done: what
    /// [`Plane::renew`] began.
    fn rests(&self) -> bool {
        true
    }

    /// An interface was made anew under its name: the filter is to be there. A plane whose [`Guard`]
    /// sees that has done so already.
    ///
    /// # Errors
    /// [`PlaneError`]; nothing filters there then.
    fn moved(&mut self) -> Result<(), PlaneError> {
        Ok(())
    }

    /// What was counted since the plane was opened, by whatever filters.
    ///
    /// # Errors
    /// [`PlaneError`].
    fn counters(&mut self) -> Result<Counters, PlaneError>;

    /// Takes the filter out of the kernel: packets to a VIP go where they went before it was
    /// there, so the VIPs themselves must be gone by now.
    ///
    /// # Errors
    /// [`PlaneError`] names what may be left.
    fn remove(self: Box<Self>) -> Result<(), PlaneError>;
}

/// Whether a look came to an end. One that did not is no reason to go on where a filter was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sure {
    /// The filter is there.
    Yes,
    /// It was written meanwhile, or the kernel did not say.
    No,
}

/// Looks after a filter that is in force. It ends before the filter is removed.
pub trait Guard {
    /// Looks whether the filter is as it was written, and puts back what is not, which is told in
    /// the log. It decides as before then.
    ///
    /// # Errors
    /// [`PlaneError`]: it is not there, and cannot be; this kernel has nothing before it that says
    /// whose packets it takes.
    fn look(&mut self) -> Result<Sure, PlaneError>;
}
