//! The laws of a [`Machine`], checked on any of them.
//!
//! For tests: a crate asks for the feature `laws` among its dev-dependencies.

use alloc::vec::Vec;
use core::fmt::Debug;
use core::time::Duration;

use crate::{Instant, Machine, Outbox};

/// Drives `machine` through `history` and panics where it breaks one of laws 1 to 4.
///
/// `machine` was made at [`Instant::ZERO`]. Each step of `history` is how long after the step
/// before its input comes. It is driven twice: once by a punctual driver, who ticks at every
/// deadline on the way, and once by a late one, who ticks at none.
///
/// After each call: the deadline lies ahead (law 1); ticks before it, or at any time if there is
/// none, change nothing and say nothing (law 2); a second machine that is told the same is equal
/// and says the same (law 3). The outbox itself sees to law 4.
///
/// # Panics
/// Where a law is broken, with the law's number.
pub fn check<M>(
    machine: M,
    tick: impl Fn() -> M::Input,
    history: impl IntoIterator<Item = (Duration, M::Input)>,
) where
    M: Machine + Clone + PartialEq + Debug,
    M::Input: Clone,
    M::Output: PartialEq + Debug,
{
    let history: Vec<_> = history.into_iter().collect();
    let mut punctual = Pair::new(machine.clone());
    for (gap, input) in &history {
        let at = punctual.now + *gap;
        punctual.tick_until(at, &tick);
        punctual.step(at, input, &tick);
    }
    let mut late = Pair::new(machine);
    for (gap, input) in &history {
        late.step(late.now + *gap, input, &tick);
    }
}

/// Two equal machines that are told the same.
struct Pair<M> {
    one: M,
    other: M,
    now: Instant,
}

impl<M> Pair<M>
where
    M: Machine + Clone + PartialEq + Debug,
    M::Input: Clone,
    M::Output: PartialEq + Debug,
{
    fn new(machine: M) -> Self {
        Self { one: machine.clone(), other: machine, now: Instant::ZERO }
    }

    /// Ticks at every deadline before `until`, or at [`TICKS_MAX`] of them.
    fn tick_until(&mut self, until: Instant, tick: &impl Fn() -> M::Input) {
        for _ in 0..TICKS_MAX {
            match self.one.deadline() {
                Some(deadline) if deadline.at < until => {
                    self.step(deadline.at.max(self.now), &tick(), tick);
                }
                Some(_) | None => return,
            }
        }
    }

    fn step(&mut self, now: Instant, input: &M::Input, tick: &impl Fn() -> M::Input) {
        self.now = now;
        let said = handle(&mut self.one, now, input.clone());
        let other_said = handle(&mut self.other, now, input.clone());
        assert_eq!(said, other_said, "law 3: equal machines fed equal inputs say the same");
        assert_eq!(self.one, self.other, "law 3: equal machines fed equal inputs stay equal");
        let early = match self.one.deadline() {
            Some(deadline) => {
                assert!(deadline.at > now, "law 1: {deadline:?} is due at {now}: a driver spins");
                deadline.at - Duration::from_nanos(1)
            }
            None => now + FAR,
        };
        let mut ticked = self.one.clone();
        for at in [now, early] {
            let said = handle(&mut ticked, at, tick());
            assert_eq!(said, [], "law 2: a tick at {at}, before the deadline, says nothing");
            assert_eq!(ticked, self.one, "law 2: a tick at {at}, too early, changes nothing");
        }
    }
}

/// How many ticks a gap gets: a gap is a pause of minutes at most, a machine's shortest period a
/// millisecond; what is left after so many is one late call more.
const TICKS_MAX: usize = 10_000;
/// A time at which a machine without a deadline has nothing to do either.
const FAR: Duration = Duration::from_hours(24);

fn handle<M: Machine>(machine: &mut M, now: Instant, input: M::Input) -> Vec<M::Output> {
    let mut out = Outbox::new(M::OUTPUTS_MAX);
    machine.handle(now, input, &mut out);
    core::iter::from_fn(|| out.pop()).collect()
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;
    use core::cell::Cell;

    use super::*;
    use crate::{Deadline, Timer};

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Fault {
        None,
        Spins,
        RingsEarly,
        CountsTicks,
        Talks,
        Remembers,
    }

    /// Rings a second after each poke.
    #[derive(Clone, Debug)]
    struct Alarm {
        fault: Fault,
        timer: Timer,
        ticks: u32,
        shared: Rc<Cell<u32>>,
    }

    impl PartialEq for Alarm {
        fn eq(&self, other: &Self) -> bool {
            (self.timer, self.ticks) == (other.timer, other.ticks)
        }
    }

    #[derive(Clone, Copy)]
    enum Input {
        Tick,
        Poke,
    }

    impl Machine for Alarm {
        type Input = Input;
        type Output = u32;
        const OUTPUTS_MAX: usize = 1;

        fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<u32>) {
            let early = self.fault == Fault::RingsEarly;
            let due = if early { now + Duration::from_nanos(1) } else { now };
            if self.fault != Fault::Spins && self.timer.expire(due) {
                out.push(0);
            }
            match input {
                Input::Tick => self.ticks += u32::from(self.fault == Fault::CountsTicks),
                Input::Poke => self.timer.arm(now + Duration::from_secs(1)),
            }
            if self.fault == Fault::Talks && out.is_empty() && self.timer.at().is_none() {
                out.push(1);
            }
            if self.fault == Fault::Remembers {
                self.shared.set(self.shared.get() + 1);
                out.push(self.shared.get());
            }
        }

        fn deadline(&self) -> Option<Deadline> {
            self.timer.deadline("ring")
        }
    }

    fn check_alarm(fault: Fault) {
        let alarm = Alarm { fault, timer: Timer::IDLE, ticks: 0, shared: Rc::default() };
        let history = [(0, Input::Tick), (1, Input::Poke), (5, Input::Tick), (1, Input::Poke)];
        let history = history.map(|(gap, input)| (Duration::from_secs(gap), input));
        check(alarm, || Input::Tick, history);
    }

    #[test]
    fn a_lawful_machine_passes() {
        check_alarm(Fault::None);
    }

    #[test]
    #[should_panic(expected = "law 1")]
    fn a_deadline_in_the_past_is_found() {
        check_alarm(Fault::Spins);
    }

    #[test]
    #[should_panic(expected = "before the deadline, says nothing")]
    fn ringing_too_early_is_found() {
        check_alarm(Fault::RingsEarly);
    }

    #[test]
    #[should_panic(expected = "too early, changes nothing")]
    fn a_changing_tick_is_found() {
        check_alarm(Fault::CountsTicks);
    }

    #[test]
    #[should_panic(expected = "before the deadline, says nothing")]
    fn a_talking_tick_is_found() {
        check_alarm(Fault::Talks);
    }

    #[test]
    #[should_panic(expected = "law 3")]
    fn hidden_state_is_found() {
        check_alarm(Fault::Remembers);
    }
}
