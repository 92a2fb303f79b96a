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

const _: () = assert!(RHO_INVERSE > 1, "a clock that is wholly wrong can time no lease");

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
        assert!(!lease.is_zero(), "a holder without time could never serve");
        Self { lease, witness: None, peer: None }
    }

    /// What an earlier process of this boot had: when each lease ends, or ended. An instant, so the
    /// time in between counts.
    pub const fn resume(lease: Duration, witness: Option<Instant>, peer: Option<Instant>) -> Self {
        Self { witness, peer, ..Self::new(lease) }
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
        assert!(!lease.is_zero(), "a promise without time would bind nobody");
        let until = if alone { None } else { Some(now + longer(lease)) };
        Self { lease, until, promise: None }
    }

    /// What bound an earlier process of this boot: until when, and by which promise.
    ///
    /// # Panics
    /// When there is a promise and no end of it.
    pub fn resume(lease: Duration, until: Option<Instant>, promise: Option<Promise>) -> Self {
        assert!(!lease.is_zero(), "a promise without time would bind nobody");
        assert!(until.is_some() || promise.is_none(), "R6: a promise that binds nobody");
        Self { lease, until, promise }
    }

    /// The peer's renewal, received at `now`, is answered with yes: bound until `now` + L(1+ρ).
    /// Of two promises the one of the higher epoch is kept, as it is the harder to be freed of.
    pub fn promised(&mut self, now: Instant, promise: Promise) {
        self.until = self.until.max(Some(now + longer(self.lease)));
        assert!(self.bound(now), "a promise that binds nobody would let two serve");
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEASE: Duration = Duration::from_secs(3);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn promise(counter: u64, number: u64) -> Promise {
        let peer = ha_proto::NodeId::new(1).expect("an id");
        Promise { boot: Boot(7), number, epoch: Epoch::new(counter, peer) }
    }

    #[test]
    fn a_lease_is_a_thousandth_longer_for_others_and_shorter_for_oneself() {
        assert_eq!(longer(LEASE), Duration::from_millis(3003));
        assert_eq!(shorter(LEASE), Duration::from_millis(2997));
        assert_eq!(longer(Duration::from_nanos(1)), Duration::from_nanos(2));
        assert_eq!(shorter(Duration::from_nanos(1)), Duration::ZERO);
        assert_eq!(longer(Duration::ZERO), Duration::ZERO);
        assert_eq!(longer(Duration::MAX), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn a_tenure_counts_from_the_sending_and_never_gets_shorter() {
        let mut tenure = Tenure::new(LEASE);
        assert_eq!(tenure.valid_until(), None);
        assert!(!tenure.is_valid(at(0)));
        tenure.granted(Grantor::Witness, at(1000));
        tenure.granted(Grantor::Witness, at(500));
        assert_eq!(tenure.valid_until(), Some(at(3997)));
        assert!(tenure.is_valid(at(3996)));
        assert!(!tenure.is_valid(at(3997)));
    }

    #[test]
    fn either_grantor_is_enough_and_all_are_dropped_at_once() {
        let mut tenure = Tenure::new(LEASE);
        tenure.granted(Grantor::Peer, at(2000));
        tenure.granted(Grantor::Witness, at(1000));
        assert_eq!(tenure.until(Grantor::Witness), Some(at(3997)));
        assert_eq!(tenure.until(Grantor::Peer), Some(at(4997)));
        assert_eq!(tenure.valid_until(), Some(at(4997)));
        tenure.drop_all();
        assert_eq!(tenure, Tenure::new(LEASE));
    }

    #[test]
    fn a_boot_binds_unless_the_node_may_run_alone() {
        let bound = Binding::at_boot(at(100), LEASE, false);
        assert!(bound.bound(at(100)));
        assert!(bound.bound(at(3102)));
        assert!(!bound.bound(at(3103)));
        assert_eq!(bound.promise(), None);
        let alone = Binding::at_boot(at(100), LEASE, true);
        assert!(!alone.bound(at(100)));
        assert_eq!(alone.until(), None);
    }

    #[test]
    fn a_promise_binds_from_its_reception_and_the_higher_epoch_is_kept() {
        let mut binding = Binding::at_boot(at(0), LEASE, true);
        binding.promised(at(1000), promise(5, 1));
        binding.promised(at(2000), promise(4, 2));
        assert_eq!(binding.promise(), Some(promise(5, 1)));
        assert_eq!(binding.until(), Some(at(5003)));
        binding.promised(at(2001), promise(5, 3));
        assert_eq!(binding.promise(), Some(promise(5, 3)));
    }

    #[test]
    fn the_time_between_two_processes_counts() {
        let mut tenure = Tenure::new(LEASE);
        tenure.granted(Grantor::Peer, at(1000));
        let until = |by| tenure.until(by);
        let resumed = Tenure::resume(LEASE, until(Grantor::Witness), until(Grantor::Peer));
        assert_eq!(resumed, tenure);
        assert!(resumed.is_valid(at(3996)) && !resumed.is_valid(at(3997)));
        let mut binding = Binding::at_boot(at(0), LEASE, false);
        binding.promised(at(1000), promise(5, 1));
        let resumed = Binding::resume(LEASE, binding.until(), binding.promise());
        assert_eq!(resumed, binding);
        assert!(resumed.bound(at(4002)) && !resumed.bound(at(4003)));
    }

    #[test]
    fn the_promise_of_the_peer_frees_of_all() {
        let mut binding = Binding::at_boot(at(0), LEASE, false);
        binding.promised(at(1), promise(5, 1));
        binding.freed_by_promise();
        assert!(!binding.bound(at(2)));
        assert_eq!(binding.promise(), None);
    }

    #[test]
    fn a_tell_frees_only_from_the_promised_and_the_own_epoch_on() {
        let epoch = |counter| promise(counter, 0).epoch;
        let mut binding = Binding::at_boot(at(0), LEASE, false);
        binding.promised(at(1), promise(5, 1));
        let before = binding;
        assert!(!binding.freed_by_tell(epoch(4), epoch(4)), "lower than what was promised");
        assert!(!binding.freed_by_tell(epoch(5), epoch(6)), "lower than the own");
        assert_eq!(binding, before);
        assert!(binding.freed_by_tell(epoch(5), epoch(5)));
        assert!(!binding.bound(at(2)));
    }

    #[test]
    fn a_tell_frees_of_what_the_last_boot_may_have_promised() {
        let epoch = |counter| promise(counter, 0).epoch;
        let mut binding = Binding::at_boot(at(0), LEASE, false);
        assert!(!binding.freed_by_tell(epoch(4), epoch(5)));
        assert!(binding.bound(at(1)));
        assert!(binding.freed_by_tell(epoch(5), epoch(5)));
        assert!(!binding.bound(at(1)));
    }

    proptest! {
        /// R5 with any two clocks within rho: the holder stops before its grantor counts it out.
        #[test]
        fn the_holder_stops_before_others_start(
            lease in 3_000_000_u64..=86_400_000_000_000,
            holder_ppm in 999_000_u128..=1_001_000,
            grantor_ppm in 999_000_u128..=1_001_000,
        ) {
            let lease = Duration::from_nanos(lease);
            // A clock that counts n at p millionths of the true rate took n * 10⁶ / p.
            let holder = shorter(lease).as_nanos() * grantor_ppm;
            let grantor = longer(lease).as_nanos() * holder_ppm;
            prop_assert!(holder <= grantor);
        }
    }
}
