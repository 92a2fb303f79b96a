//! The machine that makes orders of what is down.

use alloc::vec::Vec;
use core::time::Duration;

use ha_proto::{Deadline, Instant, Machine, Outbox, Role, Ticket, Timer};

use super::{Action, CHECKERS_MAX, Loops, State};
use crate::{Order, OrderError};

/// All checkers of a module, and what follows when one of them is down.
///
/// What it keeps to:
/// - the peer is told of every resource; the node is hindered only by those with [`Action::Wait`],
///   while they are down. One of which nothing is known yet keeps it from starting, and does not
///   take the service from it: watching begins anew after a suspension too;
/// - one action at a time, the strongest that is due; what it interrupted is looked at anew;
/// - each failure causes its action once. It is due again after the resource was up, or watched
///   anew, and failed again; a restart that cures nothing is thus repeated by the next failure
///   after it, and counted;
/// - what the node refuses for now is ordered again while the resource is down, at a pace that
///   slows down to once a minute; what it refuses for good is not;
/// - restarts, swaps and stop-starts count in [`Loops`]. Where none is left the module is stopped
///   instead, and waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    resources: Vec<Rule>,
    serving: Option<Instant>,
    role: Role,
    ready: bool,
    doing: Doing,
    loops: Loops,
    tickets: u64,
}

/// What [`Rules`] are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A checker's state changed.
    Changed {
        /// Its place; higher ones than there are say nothing.
        index: u8,
        /// To this.
        state: State,
    },
    /// How the module is doing, as its status has it.
    Node {
        /// Since when the application serves here; another time is another start of it.
        serving: Option<Instant>,
        /// The role.
        role: Role,
        /// Whether all that it asks for is done.
        ready: bool,
    },
    /// What the node answered to an order.
    Answered {
        /// To which.
        ticket: Ticket,
        /// Whether it obeys.
        answer: Result<(), OrderError>,
    },
    /// The application failed by itself and is started again: one automatic restart less.
    Failed,
    /// An operator gave this order, and the node obeys: somebody looks.
    Operator(Order),
}

/// What [`Rules`] say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Tell the node: [`Input::Resource`](crate::Input::Resource).
    Tell {
        /// Which resource.
        index: u8,
        /// Whether it is up, if that is known.
        up: Option<bool>,
        /// Whether the node cannot serve because of it.
        blocks: bool,
    },
    /// Order this, and say [`Input::Answered`].
    Order {
        /// Comes back with the answer.
        ticket: Ticket,
        /// What.
        order: Order,
    },
    /// Something that an operator may want to know.
    Event(Event),
}

/// What happened to a resource of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is up, or down, or not watched.
    Resource {
        /// Which.
        index: u8,
        /// What is known of it.
        state: State,
    },
    /// It is down, and the node obeys the order that follows from it.
    Acts {
        /// Which.
        index: u8,
        /// What is done.
        action: Action,
    },
    /// It is down, and the node refuses the order. Told once for each reason.
    Refused {
        /// Which.
        index: u8,
        /// What was ordered.
        action: Action,
        /// Why not.
        why: OrderError,
    },
    /// It is down, and no automatic restart is left (`maxloop`): the module is stopped. An
    /// operator's next order gives all of them back.
    LoopsSpent {
        /// Which.
        index: u8,
    },
}

/// One resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    action: Action,
    state: State,
    /// Told to the node last.
    told: (Option<bool>, bool),
    /// This failure has had its action.
    spent: bool,
    /// Why the node refused last.
    refused: Option<OrderError>,
    /// The order is not given again before.
    held: Timer,
    pace: Duration,
}

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    /// The node was ordered to, and has not answered.
    Asked {
        ticket: Ticket,
        index: u8,
        action: Action,
        /// An operator stopped the module meanwhile: it is not started again.
        stays: bool,
    },
    /// The node obeys, and has not begun yet.
    Begins {
        serving: Option<Instant>,
        timer: Timer,
    },
    /// The module is being stopped, to be started again.
    Stops,
    /// It was ordered to start.
    Starts {
        ticket: Ticket,
    },
}

impl Rules {
    /// The first pause before a refused order is given again; each next one is twice as long.
    pub const AGAIN_MIN: Duration = Duration::from_secs(1);
    /// The longest: a secondary that copies for an hour gets the service a minute later at most.
    pub const AGAIN_MAX: Duration = Duration::from_mins(1);
    /// A node begins with what it accepted within a turn. What it has not begun by then it will
    /// not: it had a better reason.
    const BEGIN_MAX: Duration = Duration::from_secs(10);

    /// The rules of as many checkers as there are actions, of which nothing is known yet: those
    /// with [`Action::Wait`] hinder the node from their first [`State::Pending`] on.
    ///
    /// # Panics
    /// More than [`CHECKERS_MAX`] have no bits.
    pub fn new(actions: &[Action], loops: Loops) -> Self {
        assert!(actions.len() <= CHECKERS_MAX, "two resources would share a bit");
        let rule = |&action| Rule {
            action,
            state: State::Off,
            told: (None, false),
            spent: false,
            refused: None,
            held: Timer::IDLE,
            pace: Self::AGAIN_MIN,
        };
        Self {
            resources: actions.iter().map(rule).collect(),
            serving: None,
            role: Role::Stop,
            ready: true,
            doing: Doing::Nothing,
            loops,
            tickets: 0,
        }
    }

    /// How many automatic restarts are left.
    pub fn loops_left(&self, now: Instant) -> u8 {
        self.loops.clone().left(now)
    }

    /// When it restarted by itself as far as that still counts, the oldest first.
    pub fn restarts(&self) -> impl Iterator<Item = Instant> {
        self.loops.restarts()
    }

    /// Whether the module is stopped only to be started again, and has not been.
    pub fn starts_again(&self) -> bool {
        match self.doing {
            Doing::Stops | Doing::Starts { .. } => true,
            Doing::Nothing | Doing::Asked { .. } | Doing::Begins { .. } => false,
        }
    }

    fn changed(&mut self, index: u8, state: State, out: &mut Outbox<Output>) {
        let Some(rule) = self.resources.get_mut(usize::from(index)) else { return };
        if rule.state == state {
            return;
        }
        if state != State::Down {
            rule.forgive();
        }
        rule.state = state;
        rule.tell(index, self.serving.is_some(), out);
        if state != State::Pending {
            out.push(Output::Event(Event::Resource { index, state }));
        }
    }

    fn node(
        &mut self,
        serving: Option<Instant>,
        role: Role,
        ready: bool,
        out: &mut Outbox<Output>,
    ) {
        for (index, rule) in (0..).zip(&mut self.resources) {
            rule.tell(index, serving.is_some(), out);
        }
        if let Doing::Begins { serving: before, .. } = self.doing
            && (serving != before || role == Role::Stop)
        {
            self.doing = Doing::Nothing;
        }
        (self.serving, self.role, self.ready) = (serving, role, ready);
    }

    fn answered(
        &mut self,
        now: Instant,
        ticket: Ticket,
        answer: Result<(), OrderError>,
        out: &mut Outbox<Output>,
    ) {
        match self.doing {
            Doing::Asked { ticket: asked, index, action, stays } if asked == ticket => {
                self.doing = match answer {
                    Ok(()) => self.obeyed(now, index, action, stays, out),
                    Err(why) => self.refused(now, index, action, why, out),
                };
            }
            // A start is not refused.
            Doing::Starts { ticket: asked } if asked == ticket => self.doing = Doing::Nothing,
            Doing::Asked { .. }
            | Doing::Starts { .. }
            | Doing::Nothing
            | Doing::Begins { .. }
            | Doing::Stops => {}
        }
    }

    fn obeyed(
        &mut self,
        now: Instant,
        index: u8,
        action: Action,
        stays: bool,
        out: &mut Outbox<Output>,
    ) -> Doing {
        out.push(Output::Event(Event::Acts { index, action }));
        // One restart is for all that asked for one, or for less.
        let answered = |rule: &&mut Rule| rule.state == State::Down && rule.action <= action;
        self.resources.iter_mut().filter(answered).for_each(|rule| rule.spent = true);
        self.resources[usize::from(index)].spent = true;
        if action.counts() {
            // It was given within the limit; a failure since may have been the last one.
            self.loops.take(now);
        }
        if action == Action::StopStart && !stays {
            return Doing::Stops;
        }
        let mut timer = Timer::IDLE;
        timer.arm(now + Self::BEGIN_MAX);
        Doing::Begins { serving: self.serving, timer }
    }

    fn refused(
        &mut self,
        now: Instant,
        index: u8,
        action: Action,
        why: OrderError,
        out: &mut Outbox<Output>,
    ) -> Doing {
        let rule = &mut self.resources[usize::from(index)];
        if rule.refused.replace(why) != Some(why) {
            out.push(Output::Event(Event::Refused { index, action, why }));
        }
        if why.passes() {
            rule.held.arm(now + rule.pace);
            rule.pace = (rule.pace * 2).min(Self::AGAIN_MAX);
        } else {
            rule.spent = true;
        }
        Doing::Nothing
    }

    fn operator(&mut self, order: Order) {
        self.loops.reset();
        // Whatever takes more than one step is the operator's now.
        match (&mut self.doing, order) {
            (Doing::Asked { stays, .. }, Order::Stop) => *stays = true,
            (Doing::Asked { .. } | Doing::Starts { .. }, _) => {}
            (Doing::Begins { .. } | Doing::Stops | Doing::Nothing, _) => {
                self.doing = Doing::Nothing;
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        for rule in &mut self.resources {
            rule.held.expire(now);
        }
        if let Doing::Begins { timer, .. } = &mut self.doing
            && timer.expire(now)
        {
            self.doing = Doing::Nothing;
        }
    }

    /// The next step of what is under way, or the next thing to do.
    fn settle(&mut self, now: Instant, out: &mut Outbox<Output>) {
        match self.doing {
            Doing::Nothing => self.choose(now, out),
            Doing::Stops if self.role == Role::Stop && self.ready => {
                let ticket = self.order(Order::Start, out);
                self.doing = Doing::Starts { ticket };
            }
            Doing::Stops | Doing::Asked { .. } | Doing::Begins { .. } | Doing::Starts { .. } => {}
        }
    }

    fn choose(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let due = (0..).zip(&self.resources).filter(|(_, rule)| self.is_due(rule));
        let free = due.filter(|(_, rule)| rule.held.at().is_none());
        // The first of the strongest.
        let found = free.min_by_key(|(_, rule)| core::cmp::Reverse(rule.action));
        let Some((index, mut action)) = found.map(|(index, rule)| (index, rule.action)) else {
            return;
        };
        if action.counts() && self.loops.left(now) == 0 {
            out.push(Output::Event(Event::LoopsSpent { index }));
            action = Action::Stop;
        }
        let order = match action {
            Action::Restart => Order::Restart,
            Action::Swap => Order::Swap,
            Action::StopStart | Action::Stop => Order::Stop,
            Action::None | Action::Wait => unreachable!("nothing follows from it"),
        };
        let ticket = self.order(order, out);
        self.doing = Doing::Asked { ticket, index, action, stays: false };
    }

    /// Whether something is to be done about it, as the node is doing.
    fn is_due(&self, rule: &Rule) -> bool {
        let possible = match rule.action {
            Action::None | Action::Wait => false,
            Action::Restart | Action::Swap => self.serving.is_some(),
            Action::StopStart | Action::Stop => self.role != Role::Stop,
        };
        possible && rule.state == State::Down && !rule.spent
    }

    fn order(&mut self, order: Order, out: &mut Outbox<Output>) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        out.push(Output::Order { ticket, order });
        ticket
    }
}

impl Machine for Rules {
    type Input = Input;
    type Output = Output;
    /// All told to the node, or a change of one to operators too; the end of the loops; an order.
    const OUTPUTS_MAX: usize = CHECKERS_MAX + 3;

    fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        self.tick(now);
        match input {
            Input::Tick => {}
            Input::Changed { index, state } => self.changed(index, state, out),
            Input::Node { serving, role, ready } => self.node(serving, role, ready, out),
            Input::Answered { ticket, answer } => self.answered(now, ticket, answer, out),
            Input::Failed => drop(self.loops.take(now)),
            Input::Operator(order) => self.operator(order),
        }
        self.settle(now, out);
    }

    fn deadline(&self) -> Option<Deadline> {
        let begins = match self.doing {
            Doing::Begins { timer, .. } => timer.deadline("order begins"),
            Doing::Nothing | Doing::Asked { .. } | Doing::Stops | Doing::Starts { .. } => None,
        };
        let held = self.resources.iter().map(|rule| rule.held.deadline("order again"));
        held.fold(begins, Deadline::sooner)
    }
}

impl Rule {
    /// What comes next is another failure.
    fn forgive(&mut self) {
        self.spent = false;
        self.refused = None;
        self.held.disarm();
        self.pace = Rules::AGAIN_MIN;
    }

    /// Tells the node what it was not told yet.
    fn tell(&mut self, index: u8, serving: bool, out: &mut Outbox<Output>) {
        let (up, blocks) = (self.state.is_up(), self.blocks(serving));
        if self.told != (up, blocks) {
            self.told = (up, blocks);
            out.push(Output::Tell { index, up, blocks });
        }
    }

    const fn blocks(&self, serving: bool) -> bool {
        match (self.action, self.state) {
            (Action::Wait, State::Down) => true,
            (Action::Wait, State::Pending) => !serving,
            (Action::Wait, State::Off | State::Up)
            | (
                Action::None | Action::Restart | Action::Swap | Action::StopStart | Action::Stop,
                _,
            ) => false,
        }
    }
}

impl Action {
    /// Whether it counts as an automatic restart.
    pub const fn counts(self) -> bool {
        match self {
            Self::Restart | Self::Swap | Self::StopStart => true,
            Self::None | Self::Wait | Self::Stop => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use ha_proto::laws;
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    struct Rig(Rules);

    impl Rig {
        fn new(actions: &[Action]) -> Self {
            Self(Rules::new(actions, Loops::new(2, Duration::from_hours(24))))
        }

        /// A primary that serves.
        fn serving(actions: &[Action]) -> Self {
            let mut rig = Self::new(actions);
            assert_eq!(rig.node(0, Some(1), Role::Prim), []);
            rig
        }

        fn tell(&mut self, seconds: u64, input: Input) -> Vec<Output> {
            let mut out = Outbox::new(Rules::OUTPUTS_MAX);
            self.0.handle(at(seconds), input, &mut out);
            core::iter::from_fn(|| out.pop()).collect()
        }

        fn node(&mut self, seconds: u64, since: Option<u64>, role: Role) -> Vec<Output> {
            let serving = since.map(at);
            self.tell(seconds, Input::Node { serving, role, ready: true })
        }

        fn change(&mut self, seconds: u64, index: u8, state: State) -> Vec<Output> {
            self.tell(seconds, Input::Changed { index, state })
        }

        fn answer(
            &mut self,
            seconds: u64,
            ticket: u64,
            answer: Result<(), OrderError>,
        ) -> Vec<Output> {
            self.tell(seconds, Input::Answered { ticket: Ticket(ticket), answer })
        }
    }

    const fn told(index: u8, up: Option<bool>, blocks: bool) -> Output {
        Output::Tell { index, up, blocks }
    }

    const fn seen(index: u8, state: State) -> Output {
        Output::Event(Event::Resource { index, state })
    }

    const fn order(ticket: u64, order: Order) -> Output {
        Output::Order { ticket: Ticket(ticket), order }
    }

    const fn acts(index: u8, action: Action) -> Output {
        Output::Event(Event::Acts { index, action })
    }

    use State::{Down, Off, Pending, Up};

    #[test]
    fn what_a_node_waits_for_blocks_it_until_it_is_up_or_off() {
        let mut rig = Rig::new(&[Action::Wait, Action::None]);
        assert_eq!(rig.change(0, 0, Pending), [told(0, None, true)]);
        assert_eq!(rig.change(0, 0, Up), [told(0, Some(true), false), seen(0, Up)]);
        assert_eq!(rig.change(1, 0, Down), [told(0, Some(false), true), seen(0, Down)]);
        assert_eq!(rig.change(2, 0, Off), [told(0, None, false), seen(0, Off)]);
        assert_eq!(rig.change(3, 0, Pending), [told(0, None, true)]);
        assert_eq!(rig.change(3, 1, Pending), []);
        assert_eq!(rig.change(3, 1, Down), [told(1, Some(false), false), seen(1, Down)]);
        assert_eq!(rig.change(3, 1, Down), []);
        assert_eq!(rig.change(3, 9, Down), [], "nobody's");
        assert_eq!(rig.0.deadline(), None);
    }

    #[test]
    fn nothing_known_keeps_from_starting_and_not_from_going_on() {
        let mut rig = Rig::serving(&[Action::Wait]);
        assert_eq!(rig.change(1, 0, Pending), [], "watched anew, as after a suspension");
        assert_eq!(rig.node(2, None, Role::Wait), [told(0, None, true)]);
        assert_eq!(rig.node(3, Some(3), Role::Prim), [told(0, None, false)]);
        let down = [told(0, Some(false), true), seen(0, Down)];
        assert_eq!(rig.change(4, 0, Down), down);
        assert_eq!(rig.node(5, None, Role::Wait), []);
    }

    #[test]
    fn each_failure_restarts_the_application_once() {
        let mut rig = Rig::serving(&[Action::Restart]);
        let down = [told(0, Some(false), false), seen(0, Down), order(1, Order::Restart)];
        assert_eq!(rig.change(1, 0, Down), down);
        assert_eq!(rig.answer(1, 1, Ok(())), [acts(0, Action::Restart)]);
        assert_eq!(rig.tell(5, Input::Tick), []);
        // It stops, and starts; the checker looks anew, and finds it dead again.
        assert_eq!(rig.node(6, None, Role::Prim), []);
        assert_eq!(rig.change(6, 0, Off), [told(0, None, false), seen(0, Off)]);
        assert_eq!(rig.node(7, Some(7), Role::Prim), []);
        assert_eq!(rig.change(7, 0, Pending), []);
        let again = [told(0, Some(false), false), seen(0, Down), order(2, Order::Restart)];
        assert_eq!(rig.change(9, 0, Down), again);
        assert_eq!(rig.answer(9, 2, Ok(())), [acts(0, Action::Restart)]);
        // One that is watched all the time stays down through it: once is enough.
        assert_eq!(rig.node(10, Some(10), Role::Prim), []);
        assert_eq!(rig.0.deadline(), None);
    }

    #[test]
    fn beyond_the_limit_the_module_is_stopped_until_an_operator_looks() {
        let mut rig = Rig::serving(&[Action::Restart]);
        for ticket in 1..=2 {
            let said = rig.change(ticket, 0, Down);
            assert_eq!(said[2..], [order(ticket, Order::Restart)]);
            rig.answer(ticket, ticket, Ok(()));
            rig.node(ticket, Some(10 + ticket), Role::Prim);
            rig.change(ticket, 0, Up);
        }
        let said = rig.change(3, 0, Down);
        let spent = Output::Event(Event::LoopsSpent { index: 0 });
        assert_eq!(said[2..], [spent, order(3, Order::Stop)]);
        assert_eq!(rig.answer(3, 3, Ok(())), [acts(0, Action::Stop)]);
        assert_eq!(rig.node(4, None, Role::Stop), []);
        rig.change(4, 0, Off);
        assert_eq!(rig.0.loops_left(at(4)), 0);
        assert_eq!(rig.tell(5, Input::Operator(Order::Start)), []);
        assert_eq!(rig.0.loops_left(at(5)), 2);
        rig.node(6, Some(6), Role::Prim);
        assert_eq!(rig.change(7, 0, Down)[2..], [order(4, Order::Restart)]);
    }

    #[test]
    fn failures_of_the_application_count_too() {
        let mut rig = Rig::serving(&[Action::Restart]);
        rig.tell(1, Input::Failed);
        rig.change(2, 0, Down);
        rig.tell(2, Input::Failed);
        assert_eq!(rig.answer(2, 1, Ok(())), [acts(0, Action::Restart)], "it was ordered before");
        assert_eq!(rig.0.loops_left(at(2)), 0);
        rig.change(3, 0, Up);
        rig.node(3, Some(3), Role::Prim);
        let said = rig.change(4, 0, Down);
        let spent = Output::Event(Event::LoopsSpent { index: 0 });
        assert!(said.contains(&spent) && said.contains(&order(2, Order::Stop)), "{said:?}");
    }

    #[test]
    fn a_stop_comes_before_its_start() {
        let mut rig = Rig::new(&[Action::StopStart]);
        rig.node(0, None, Role::Second);
        assert_eq!(rig.change(1, 0, Down)[2..], [order(1, Order::Stop)]);
        assert_eq!(rig.answer(1, 1, Ok(())), [acts(0, Action::StopStart)]);
        let stops = Input::Node { serving: None, role: Role::Stop, ready: false };
        assert_eq!(rig.tell(2, stops), []);
        assert!(rig.0.starts_again());
        assert_eq!(rig.node(300, None, Role::Stop), [order(2, Order::Start)]);
        assert!(rig.0.starts_again(), "whoever goes on now must order it");
        assert_eq!(rig.answer(300, 2, Ok(())), []);
        assert!(!rig.0.starts_again());
        assert_eq!(rig.node(301, None, Role::Wait), [], "once for this failure");
        assert_eq!(rig.0.loops_left(at(301)), 1);
    }

    #[test]
    fn an_operator_who_stops_the_module_meanwhile_has_it_stopped() {
        for early in [true, false] {
            let mut rig = Rig::serving(&[Action::StopStart]);
            rig.change(1, 0, Down);
            if early {
                rig.tell(1, Input::Operator(Order::Stop));
            }
            assert_eq!(rig.answer(1, 1, Ok(())), [acts(0, Action::StopStart)]);
            if !early {
                rig.tell(1, Input::Operator(Order::Stop));
            }
            assert_eq!(rig.node(2, None, Role::Stop), []);
            assert!(!rig.0.starts_again());
            assert_eq!(rig.0.deadline(), None);
        }
    }

    #[test]
    fn a_swap_waits_for_a_peer_that_is_ready_and_slows_down() {
        let mut rig = Rig::serving(&[Action::Swap]);
        let mut now = 1;
        assert_eq!(rig.change(now, 0, Down)[2..], [order(1, Order::Swap)]);
        let why = OrderError::NotReady;
        let refused = Output::Event(Event::Refused { index: 0, action: Action::Swap, why });
        assert_eq!(rig.answer(now, 1, Err(why)), [refused]);
        for (ticket, pause) in (2..).zip([1, 2, 4, 8, 16, 32, 60, 60]) {
            assert_eq!(rig.tell(now + pause - 1, Input::Tick), []);
            now += pause;
            assert_eq!(rig.tell(now, Input::Tick), [order(ticket, Order::Swap)]);
            assert_eq!(rig.answer(now, ticket, Err(why)), [], "told once");
        }
        assert_eq!(rig.0.loops_left(at(now)), 2, "nothing was done");
        assert_eq!(rig.tell(now + 60, Input::Tick), [order(10, Order::Swap)]);
        assert_eq!(rig.answer(now + 60, 10, Ok(())), [acts(0, Action::Swap)]);
        assert_eq!(rig.node(now + 61, None, Role::Wait), []);
        assert_eq!(rig.0.loops_left(at(now + 61)), 1);
    }

    #[test]
    fn what_is_refused_for_good_or_is_up_again_is_not_ordered_again() {
        let mut rig = Rig::serving(&[Action::Swap]);
        rig.change(1, 0, Down);
        rig.answer(1, 1, Err(OrderError::NotPrimary));
        assert_eq!(rig.0.deadline(), None);
        let mut rig = Rig::serving(&[Action::Swap]);
        rig.change(1, 0, Down);
        rig.answer(1, 1, Err(OrderError::NotReady));
        assert!(rig.0.deadline().is_some());
        rig.change(1, 0, Up);
        assert_eq!(rig.0.deadline(), None);
    }

    #[test]
    fn the_strongest_is_done_and_is_enough_for_the_weaker_ones() {
        let actions = [Action::Restart, Action::Swap, Action::StopStart, Action::Restart];
        let mut rig = Rig::new(&actions);
        for index in 0..4 {
            assert_eq!(rig.change(1, index, Down).len(), 2, "nothing takes part");
        }
        assert_eq!(rig.node(2, Some(2), Role::Prim), [order(1, Order::Stop)]);
        rig.answer(2, 1, Ok(()));
        assert_eq!(rig.node(3, None, Role::Stop), [order(2, Order::Start)]);
        rig.answer(3, 2, Ok(()));
        assert_eq!(rig.node(4, Some(4), Role::Prim), []);
    }

    #[test]
    fn what_the_node_accepted_and_does_not_begin_holds_nothing_up() {
        let mut rig = Rig::serving(&[Action::Restart, Action::Swap]);
        rig.change(1, 1, Down);
        rig.answer(1, 1, Ok(()));
        assert_eq!(rig.change(2, 0, Down).len(), 2, "one at a time");
        assert_eq!(rig.tell(10, Input::Tick), []);
        assert_eq!(rig.tell(11, Input::Tick), [order(2, Order::Restart)]);
    }

    fn input() -> impl Strategy<Value = Input> {
        let states = prop::sample::select(vec![Off, Pending, Up, Down, Down]);
        let roles = prop::sample::select(vec![Role::Stop, Role::Wait, Role::Prim, Role::Alone]);
        let answers = prop::sample::select(vec![
            Ok(()),
            Ok(()),
            Err(OrderError::NotReady),
            Err(OrderError::NotPrimary),
        ]);
        let orders = prop::sample::select(vec![Order::Start, Order::Stop, Order::Swap]);
        prop_oneof![
            1 => Just(Input::Tick),
            1 => Just(Input::Failed),
            4 => (0..6_u8, states).prop_map(|(index, state)| Input::Changed { index, state }),
            3 => (prop::option::of(0..4_u64), roles, any::<bool>()).prop_map(
                |(since, role, ready)| Input::Node { serving: since.map(at), role, ready }
            ),
            4 => (0..20_u64, answers)
                .prop_map(|(ticket, answer)| Input::Answered { ticket: Ticket(ticket), answer }),
            1 => orders.prop_map(Input::Operator),
        ]
    }

    const ALL: [Action; 6] = [
        Action::None,
        Action::Wait,
        Action::Restart,
        Action::Swap,
        Action::StopStart,
        Action::Stop,
    ];

    proptest! {
        #[test]
        fn they_keep_the_laws_of_a_machine(
            steps in prop::collection::vec((0..90_u64, input()), 1..80),
        ) {
            let loops = Loops::new(2, Duration::from_secs(100));
            let history =
                steps.into_iter().map(|(gap, input)| (Duration::from_secs(gap), input));
            laws::check(Rules::new(&ALL, loops), || Input::Tick, history);
        }

        #[test]
        fn one_order_at_a_time_and_never_more_restarts_than_allowed(
            steps in prop::collection::vec((0..30_u64, input()), 1..200),
        ) {
            let span = 100;
            let loops = Loops::new(2, Duration::from_secs(span));
            let mut rig = Rig(Rules::new(&ALL, loops));
            let (mut now, mut asked, mut counted) = (0, None, Vec::new());
            for (gap, mut input) in steps {
                now += gap;
                match &mut input {
                    Input::Answered { ticket, .. } => {
                        // Mostly the one that is waited for.
                        if let Some(open) = asked.filter(|_| ticket.0 > 2) {
                            *ticket = open;
                            asked = None;
                        } else {
                            *ticket = Ticket(ticket.0 | 1 << 40);
                        }
                    }
                    Input::Operator(_) => counted.clear(),
                    Input::Tick
                    | Input::Changed { .. }
                    | Input::Node { .. }
                    | Input::Failed => {}
                }
                for said in rig.tell(now, input) {
                    match said {
                        Output::Order { ticket, .. } => {
                            prop_assert_eq!(asked.replace(ticket), None, "two orders at once");
                        }
                        Output::Event(Event::Acts { action, .. }) if action.counts() => {
                            counted.push(now);
                        }
                        Output::Tell { index, blocks, .. } => {
                            prop_assert!(!blocks || ALL[usize::from(index)] == Action::Wait);
                        }
                        Output::Event(_) => {}
                    }
                }
                let late = counted.iter().filter(|&&then| then + span > now).count();
                prop_assert!(late <= 2, "{counted:?} at {now}");
            }
        }
    }
}
