//! The machine of one thing that is watched.

use core::time::Duration;

use ha_proto::{Deadline, Instant, Machine, Outbox, Ticket, Timer};

use super::{Pace, When};

/// Looks at one thing again and again, and says whether it is up.
///
/// What it keeps to:
/// - one probe is under way at a time; one that overruns its time has failed;
/// - the first probe that passes says that the thing is up: nothing is known that it could
///   contradict. From then on it takes `fall` failures in a row to be down, and `rise` in a row
///   that pass to be up again;
/// - after the application was started, failures do not count until the grace is over or a probe
///   has passed;
/// - what is suspended, or not to be watched now, is [`State::Off`]: an old state would be taken
///   for today's. So watching it again begins anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checker {
    pace: Pace,
    suspended: bool,
    serving: Option<Instant>,
    state: State,
    /// Results in a row that contradict the state.
    against: u8,
    /// Failures before it do not count as long as nothing is known.
    patient_until: Instant,
    flight: Option<Flight>,
    next: Timer,
    tickets: u64,
}

/// What is known of the thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody looks.
    Off,
    /// It is looked at, and nothing is known yet.
    Pending,
    /// It is well.
    Up,
    /// It is not.
    Down,
}

/// What a [`Checker`] is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// Since when the application serves here, by whatever clock: another time is another start of
    /// it. `None` while it does not.
    Serving(Option<Instant>),
    /// A probe ended.
    Done {
        /// Which.
        ticket: Ticket,
        /// Whether the thing is well.
        passed: bool,
    },
    /// Look no more.
    Suspend,
    /// Look again.
    Resume,
}

/// What a [`Checker`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Look once, and say [`Input::Done`].
    Probe {
        /// Comes back with the result.
        ticket: Ticket,
        /// How long it may take.
        within: Duration,
    },
    /// The result of this probe is not waited for any more: end it.
    Cancel {
        /// Which.
        ticket: Ticket,
    },
    /// Another state.
    Changed(State),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flight {
    ticket: Ticket,
    end: Instant,
}

impl State {
    /// Whether it is up, where that is known.
    pub const fn is_up(self) -> Option<bool> {
        match self {
            Self::Off | Self::Pending => None,
            Self::Up => Some(true),
            Self::Down => Some(false),
        }
    }
}

impl Checker {
    /// A checker that begins at `now`, or as soon as the application serves.
    pub fn new(pace: Pace, now: Instant) -> Self {
        assert!(pace.rise > 0, "what is down would be up without a look");
        assert!(pace.fall > 0, "what is up would be down without a look");
        assert!(!pace.interval.is_zero(), "it would do nothing but look");
        assert!(!pace.timeout.is_zero(), "every look would fail");
        let mut next = Timer::IDLE;
        if pace.when == When::Always {
            next.arm(now);
        }
        Self {
            pace,
            suspended: false,
            serving: None,
            state: State::Off,
            against: 0,
            patient_until: now,
            flight: None,
            next,
            tickets: 0,
        }
    }

    /// What is known.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether it was told to look no more.
    pub const fn is_suspended(&self) -> bool {
        self.suspended
    }

    fn is_wanted(&self) -> bool {
        let there = match self.pace.when {
            When::Serving => self.serving.is_some(),
            When::Always => true,
        };
        there && !self.suspended
    }

    fn serve(&mut self, now: Instant, serving: Option<Instant>, out: &mut Outbox<Output>) {
        match self.pace.when {
            When::Serving if serving != self.serving => {
                self.end(out);
                self.serving = serving;
                self.begin(now);
            }
            When::Serving | When::Always => {}
        }
    }

    /// Begins to look, if it is wanted.
    fn begin(&mut self, now: Instant) {
        if self.is_wanted() {
            self.next.arm(now);
        }
    }

    fn end(&mut self, out: &mut Outbox<Output>) {
        if let Some(flight) = self.flight.take() {
            out.push(Output::Cancel { ticket: flight.ticket });
        }
        self.next.disarm();
        self.change(State::Off, out);
    }

    fn overrun(&mut self, now: Instant, out: &mut Outbox<Output>) {
        if let Some(flight) = self.flight.filter(|flight| flight.end <= now) {
            self.flight = None;
            out.push(Output::Cancel { ticket: flight.ticket });
            self.count(now, false, out);
        }
    }

    fn done(&mut self, now: Instant, ticket: Ticket, passed: bool, out: &mut Outbox<Output>) {
        // A late word on a probe that was given up says nothing.
        if self.flight.is_some_and(|flight| flight.ticket == ticket) {
            self.flight = None;
            self.count(now, passed, out);
        }
    }

    fn count(&mut self, now: Instant, passed: bool, out: &mut Outbox<Output>) {
        let (agrees, enough, other) = match self.state {
            State::Off => unreachable!("nobody looks at what is off"),
            State::Pending if passed => return self.change(State::Up, out),
            State::Pending if now < self.patient_until => return,
            State::Pending => (false, self.pace.fall, State::Down),
            State::Up => (passed, self.pace.fall, State::Down),
            State::Down => (!passed, self.pace.rise, State::Up),
        };
        self.against = if agrees { 0 } else { self.against + 1 };
        assert!(self.against <= enough, "a change would be told too late");
        if self.against == enough {
            self.change(other, out);
        }
    }

    fn change(&mut self, state: State, out: &mut Outbox<Output>) {
        self.against = 0;
        if self.state != state {
            self.state = state;
            out.push(Output::Changed(state));
        }
    }

    fn probe(&mut self, now: Instant, out: &mut Outbox<Output>) {
        if self.flight.is_some() || !self.next.expire(now) {
            return;
        }
        assert!(self.is_wanted(), "what nobody wants to know would be looked at");
        if self.state == State::Off {
            self.patient_until = now + self.pace.grace;
            self.change(State::Pending, out);
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.flight = Some(Flight { ticket, end: now + self.pace.timeout });
        self.next.arm(now + self.pace.interval);
        out.push(Output::Probe { ticket, within: self.pace.timeout });
    }
}

impl Machine for Checker {
    type Input = Input;
    type Output = Output;
    /// One that overran, its state, the end of that life, the begin of the next, and a probe.
    const OUTPUTS_MAX: usize = 5;

    fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        self.overrun(now, out);
        match input {
            Input::Tick => {}
            Input::Serving(serving) => self.serve(now, serving, out),
            Input::Done { ticket, passed } => self.done(now, ticket, passed, out),
            Input::Suspend => {
                self.suspended = true;
                self.end(out);
            }
            Input::Resume => {
                if core::mem::take(&mut self.suspended) {
                    self.begin(now);
                }
            }
        }
        self.probe(now, out);
    }

    fn deadline(&self) -> Option<Deadline> {
        match self.flight {
            Some(flight) => Some(Deadline { at: flight.end, why: "probe overruns" }),
            None => self.next.deadline("probe"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use ha_proto::laws;
    use proptest::prelude::*;

    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const PACE: Pace = Pace {
        interval: millis(1_000),
        timeout: millis(400),
        rise: 2,
        fall: 3,
        grace: millis(5_000),
        when: When::Serving,
    };

    struct Rig(Checker);

    impl Rig {
        fn new(pace: Pace) -> Self {
            Self(Checker::new(pace, Instant::ZERO))
        }

        fn tell(&mut self, at: u64, input: Input) -> Vec<Output> {
            let mut out = Outbox::new(Checker::OUTPUTS_MAX);
            self.0.handle(Instant::ZERO + millis(at), input, &mut out);
            core::iter::from_fn(|| out.pop()).collect()
        }

        /// Looks at every deadline from `at` on, each answered at once; the states it came to.
        fn run(&mut self, results: &[bool]) -> Vec<State> {
            let mut states = Vec::new();
            for &passed in results {
                let due = self.0.deadline().expect("it looks").at.as_nanos() / 1_000_000;
                let said = self.tell(due, Input::Tick);
                let Some(Output::Probe { ticket, .. }) = said.last() else { panic!("{said:?}") };
                self.tell(due, Input::Done { ticket: *ticket, passed });
                states.push(self.0.state());
            }
            states
        }
    }

    fn always() -> Pace {
        Pace { when: When::Always, grace: Duration::ZERO, ..PACE }
    }

    const fn probe(ticket: u64) -> Output {
        Output::Probe { ticket: Ticket(ticket), within: PACE.timeout }
    }

    const fn done(ticket: u64, passed: bool) -> Input {
        Input::Done { ticket: Ticket(ticket), passed }
    }

    const fn cancel(ticket: u64) -> Output {
        Output::Cancel { ticket: Ticket(ticket) }
    }

    fn since(at: u64) -> Input {
        Input::Serving(Some(Instant::ZERO + millis(at)))
    }

    #[test]
    fn it_falls_and_rises_by_as_many_in_a_row_as_configured() {
        use State::{Down, Pending, Up};
        let mut rig = Rig::new(always());
        let results = [true, false, false, true, false, false, false, true, false, true, true];
        let states = [Up, Up, Up, Up, Up, Up, Down, Down, Down, Down, Up];
        assert_eq!(rig.run(&results), states);
        let mut rig = Rig::new(always());
        assert_eq!(rig.run(&[false; 4]), [Pending, Pending, Down, Down]);
    }

    #[test]
    fn looks_begin_an_interval_apart_and_one_that_overruns_has_failed() {
        let mut rig = Rig::new(Pace { fall: 1, ..always() });
        assert_eq!(rig.tell(0, Input::Tick), [Output::Changed(State::Pending), probe(1)]);
        assert_eq!(rig.tell(300, done(1, true)), [Output::Changed(State::Up)]);
        assert_eq!(rig.tell(999, Input::Tick), []);
        assert_eq!(rig.tell(1_000, Input::Tick), [probe(2)]);
        assert_eq!(rig.tell(1_399, Input::Tick), []);
        assert_eq!(rig.tell(1_400, Input::Tick), [cancel(2), Output::Changed(State::Down)]);
        assert_eq!(rig.tell(1_500, done(2, true)), [], "too late");
        assert_eq!(rig.tell(2_000, Input::Tick), [probe(3)]);
    }

    #[test]
    fn a_time_to_answer_that_is_longer_than_the_interval_keeps_one_probe_at_a_time() {
        let mut rig = Rig::new(Pace { timeout: millis(2_500), ..always() });
        let within = millis(2_500);
        let probe = |ticket| Output::Probe { ticket: Ticket(ticket), within };
        assert_eq!(rig.tell(0, Input::Tick), [Output::Changed(State::Pending), probe(1)]);
        assert_eq!(rig.tell(1_000, Input::Tick), []);
        assert_eq!(rig.tell(2_500, Input::Tick), [cancel(1), probe(2)]);
        assert_eq!(rig.tell(4_000, done(2, true)), [Output::Changed(State::Up), probe(3)]);
    }

    #[test]
    fn failures_count_after_the_grace_or_after_the_first_success() {
        use State::{Down, Pending, Up};
        let mut rig = Rig::new(PACE);
        assert_eq!(rig.tell(0, Input::Tick), [], "nothing serves");
        assert_eq!(rig.tell(7, since(7)), [Output::Changed(Pending), probe(1)]);
        rig.tell(7, done(1, false));
        // At 1 to 4 s they do not count; at 5, 6 and 7 they do.
        let late = rig.run(&[false; 7]);
        assert_eq!(late, [Pending, Pending, Pending, Pending, Pending, Pending, Down]);
        let mut rig = Rig::new(PACE);
        rig.tell(0, since(0));
        rig.tell(0, done(1, true));
        assert_eq!(rig.run(&[false; 3]), [Up, Up, Down]);
    }

    #[test]
    fn another_start_of_the_application_begins_anew() {
        let mut rig = Rig::new(Pace { fall: 1, grace: Duration::ZERO, ..PACE });
        rig.tell(0, since(0));
        rig.tell(0, done(1, false));
        assert_eq!(rig.0.state(), State::Down);
        let anew = [Output::Changed(State::Off), Output::Changed(State::Pending), probe(2)];
        assert_eq!(rig.tell(500, since(500)), anew);
        assert_eq!(rig.tell(600, since(500)), [], "told twice");
        let gone = [cancel(2), Output::Changed(State::Off)];
        assert_eq!(rig.tell(700, Input::Serving(None)), gone);
        assert_eq!(rig.0.deadline(), None);
        assert_eq!(rig.tell(800, done(2, true)), []);
        // One that overran, and another start in the same call: as much as it ever says.
        rig.tell(900, since(900));
        let all = [
            cancel(3),
            Output::Changed(State::Down),
            Output::Changed(State::Off),
            Output::Changed(State::Pending),
            probe(4),
        ];
        assert_eq!(rig.tell(9_000, since(9_000)), all);
    }

    #[test]
    fn what_is_suspended_is_not_looked_at_and_nothing_is_known_of_it() {
        let mut rig = Rig::new(always());
        rig.run(&[true]);
        assert_eq!(rig.tell(100, Input::Suspend), [Output::Changed(State::Off)]);
        assert_eq!((rig.0.is_suspended(), rig.0.deadline()), (true, None));
        assert_eq!(rig.tell(5_000, Input::Suspend), []);
        let anew = [Output::Changed(State::Pending), probe(2)];
        assert_eq!(rig.tell(6_000, Input::Resume), anew);
        assert_eq!(rig.tell(6_001, Input::Resume), []);
        let mut rig = Rig::new(PACE);
        rig.tell(0, Input::Suspend);
        assert_eq!(rig.tell(1, since(1)), [], "suspended before it served");
        assert_eq!(rig.tell(2, Input::Resume), [Output::Changed(State::Pending), probe(1)]);
    }

    fn input() -> impl Strategy<Value = Input> {
        prop_oneof![
            2 => Just(Input::Tick),
            2 => prop::option::of(0..3_u64)
                .prop_map(|at| Input::Serving(at.map(Instant::from_nanos))),
            6 => (0..12_u64, any::<bool>()).prop_map(|(ticket, passed)| done(ticket, passed)),
            1 => Just(Input::Suspend),
            1 => Just(Input::Resume),
        ]
    }

    fn pace() -> impl Strategy<Value = Pace> {
        let spans = (1..2_000_u64, 1..2_000_u64, 0..3_000_u64);
        (spans, 1..4_u8, 1..4_u8, any::<bool>()).prop_map(|(spans, rise, fall, always)| Pace {
            interval: millis(spans.0),
            timeout: millis(spans.1),
            grace: millis(spans.2),
            rise,
            fall,
            when: if always { When::Always } else { When::Serving },
        })
    }

    proptest! {
        #[test]
        fn it_keeps_the_laws_of_a_machine(
            pace in pace(),
            steps in prop::collection::vec((0..900_u64, input()), 1..60),
        ) {
            let history = steps.into_iter().map(|(gap, input)| (millis(gap), input));
            laws::check(Checker::new(pace, Instant::ZERO), || Input::Tick, history);
        }

        #[test]
        fn one_probe_is_under_way_and_each_state_has_its_reasons(
            pace in pace(),
            steps in prop::collection::vec((0..900_u64, input()), 1..200),
        ) {
            let mut rig = Rig::new(pace);
            let (mut now, mut flight, mut state) = (0, None, State::Off);
            // Results since the last change, of which the last ones must justify the next.
            let mut results: Vec<bool> = Vec::new();
            for (gap, input) in steps {
                now += gap;
                if let Input::Done { ticket, passed } = input
                    && flight == Some(ticket)
                    && rig.0.deadline().is_some_and(|due| due.at > Instant::ZERO + millis(now))
                {
                    flight = None;
                    results.push(passed);
                }
                for said in rig.tell(now, input) {
                    match said {
                        Output::Probe { ticket, .. } => {
                            prop_assert_eq!(flight.replace(ticket), None, "two probes at once");
                        }
                        Output::Cancel { ticket } => {
                            prop_assert_eq!(flight.take(), Some(ticket));
                            results.push(false);
                        }
                        Output::Changed(to) => {
                            let last = |count: u8, what: bool| {
                                let count = usize::from(count);
                                results.len() >= count
                                    && results.iter().rev().take(count).all(|it| *it == what)
                            };
                            match (state, to) {
                                (State::Pending, State::Up) => prop_assert!(last(1, true)),
                                (State::Down, State::Up) => prop_assert!(last(pace.rise, true)),
                                (State::Pending | State::Up, State::Down) => {
                                    prop_assert!(last(pace.fall, false));
                                }
                                (State::Off, State::Pending) => {}
                                (_, State::Off) => prop_assert!(state != State::Off),
                                (from, to) => prop_assert!(false, "from {from:?} to {to:?}"),
                            }
                            state = to;
                            results.clear();
                        }
                    }
                }
                prop_assert_eq!(rig.0.state(), state);
            }
        }
    }
}
