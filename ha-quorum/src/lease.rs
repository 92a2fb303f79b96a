//! Leases as arithmetic: the right to serve for a while, and the promise not to.

use core::time::Duration;

use ha_proto::{Boot, Epoch, Instant};

/// How wrong the rate of a clock may be: ρ = 1 / `RHO_INVERSE` = 10⁻³ (`CONTRACT.md` "Model").
pub const RHO_INVERSE: u64 = 1000;

/// `lease` on the slowest clock, L(1+ρ), rounded up: how long others count.
///
/// Saturates after 584 years.
pub const fn longer(lease: Duration) -> Duration {
    let nanos = nanos(lease);
    Duration::from_nanos(nanos.saturating_add(nanos.div_ceil(RHO_INVERSE)))
}

/// `lease` on the fastest clock, L(1−ρ), rounded down: how long the holder counts.
pub const fn shorter(lease: Duration) -> Duration {
    let nanos = nanos(lease);
    Duration::from_nanos(nanos - nanos.div_ceil(RHO_INVERSE))
}

const fn nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}

/// Who renews a holder's lease (R6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grantor {
    /// The witness.
    Witness,
    /// The other node.
    Peer,
}

/// A holder's right to serve, as far as time gives it: a lease of the witness or of the peer, the
/// later of the two (R5, R6).
///
/// It knows no epochs: whoever loses one, gives it away or asks for another (R12, R13) drops all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    lease: Duration,
    witness: Option<Instant>,
    peer: Option<Instant>,
}

impl Tenure {
    /// No right yet; each grant lasts `lease`.
    pub const fn new(lease: Duration) -> Self {
        Self { lease, witness: None, peer: None }
    }

    /// A renewal that was sent at `sent` was granted: it lasts until `sent` + L(1−ρ). An answer
    /// that overtook a newer one shortens nothing.
    pub fn granted(&mut self, by: Grantor, sent: Instant) {
        let until = Some(sent + shorter(self.lease));
        match by {
            Grantor::Witness => self.witness = self.witness.max(until),
            Grantor::Peer => self.peer = self.peer.max(until),
        }
    }

    /// When the lease of one grantor ends, or ended; `None` when it gave none.
    pub const fn until(&self, by: Grantor) -> Option<Instant> {
        match by {
            Grantor::Witness => self.witness,
            Grantor::Peer => self.peer,
        }
    }

    /// When the right ends, or ended: serving must have stopped by then.
    pub fn valid_until(&self) -> Option<Instant> {
        self.witness.max(self.peer)
    }

    /// Whether there is a right now.
    pub fn is_valid(&self, now: Instant) -> bool {
        self.valid_until().is_some_and(|until| now < until)
    }

    /// Gives up every right.
    pub fn drop_all(&mut self) {
        self.witness = None;
        self.peer = None;
    }
}

/// A promise given to the peer: the renewal that it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The peer's boot.
    pub boot: Boot,
    /// The number of its beat.
    pub number: u64,
    /// The epoch that it renews.
    pub epoch: Epoch,
}

/// What keeps a node from sending Take or Exclude and from starting: its newest promise (R6), or
/// the promises that it may have given before it booted (R9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    lease: Duration,
    until: Option<Instant>,
    promise: Option<Promise>,
}

impl Binding {
    /// The binding of a node that boots at `now`: for L(1+ρ), or none if it may run alone (R9).
    pub fn at_boot(now: Instant, lease: Duration, alone: bool) -> Self {
        let until = if alone { None } else { Some(now + longer(lease)) };
        Self { lease, until, promise: None }
    }

    /// The peer's renewal, received at `now`, is answered with yes: bound until `now` + L(1+ρ).
    /// Of two promises the one of the higher epoch is kept, as it is the harder to be freed of.
    pub fn promised(&mut self, now: Instant, promise: Promise) {
        self.until = self.until.max(Some(now + longer(self.lease)));
        let newer = self.promise.is_none_or(|older| older.epoch <= promise.epoch);
        if newer {
            self.promise = Some(promise);
        }
    }

    /// The newest promise, unless something freed this node since.
    pub const fn promise(&self) -> Option<Promise> {
        self.promise
    }

    /// When the binding ends, or ended; `None` when there is none.
    pub const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether this node is bound now.
    pub fn bound(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// The peer has promised to this node, so the peer does not serve: nothing binds, what was
    /// promised before the boot included (R6).
    pub fn freed_by_promise(&mut self) {
        self.until = None;
        self.promise = None;
    }

    /// The peer itself tells that it does not hold `told`, while this node has saved `mine`.
    /// Frees, and returns true, only if `told` is not lower than what was promised nor than
    /// `mine` (R6): an older word says nothing about the peer of today. What was promised before
    /// a boot was never above `mine`, so R9's binding ends by it too.
    pub fn freed_by_tell(&mut self, told: Epoch, mine: Epoch) -> bool {
        let promised = self.promise.map_or(Epoch::NONE, |promise| promise.epoch);
        let frees = told >= promised && told >= mine;
        if frees {
            self.freed_by_promise();
        }
        frees
    }
}
