//! The loop around the machines of all checkers.

use core::future::poll_fn;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::prelude::rust_2024::*;
use std::string::String;
use std::sync::{Arc, Mutex, PoisonError};

use ha_proto::{Deadline, Instant, Machine, Outbox, Role, Ticket};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::look::{Look, Others};
use super::{Command, Event, Known, Report, Reported, Reports, Surroundings, Watched};
use crate::checker::{Action, Checker, CheckerConfig, Rules, State, checker, rules};
use crate::driver::{Alarm, Clock, Handle, OrderError, Watch};
use crate::linux::address::Addresses;
use crate::{Order, Status};

/// All modules.
pub(super) struct Desk {
    clock: Clock,
    alarm: Alarm,
    modules: Vec<Module>,
    facts: Receiver<Fact>,
    say: Sender<Fact>,
    commands: Receiver<Command>,
    reports: Reports,
    observe: Box<Observe>,
}

type Observe = dyn FnMut(&str, &Event) + Send;

struct Module {
    name: String,
    handle: Option<Handle>,
    rules: Rules,
    checkers: Vec<One>,
}

/// One checker.
struct One {
    name: String,
    action: Action,
    machine: Checker,
    look: Arc<Look>,
    flight: Option<Flight>,
    /// Why the last look failed.
    why: String,
}

/// A look that is under way; dropping it ends it.
struct Flight(AbortHandle);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What comes back.
enum Fact {
    Looked { module: usize, checker: usize, ticket: Ticket, result: Result<(), String> },
    Answered { module: usize, ticket: Ticket, answer: Result<(), crate::OrderError> },
    Node { module: usize, seen: Seen },
}

/// What of a module's status matters to its checkers.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    serving: Option<Instant>,
    role: Role,
    ready: bool,
}

/// Why the loop goes on.
enum Cause {
    /// `None` at the end.
    Asked(Option<Command>),
    Told(Fact),
    Due(io::Result<()>),
}

impl Desk {
    /// Everything is looked at once when this returns, or is under way. Needs the runtime's
    /// context.
    pub(super) fn new(
        modules: Vec<Watched>,
        clock: Clock,
        commands: Receiver<Command>,
        reports: Reports,
        observe: impl FnMut(&str, &Event) + Send + 'static,
    ) -> io::Result<Self> {
        let (say, facts) = channel(FACTS_MAX);
        let others = Others {
            modules: modules
                .iter()
                .filter_map(|it| Some((it.name.clone(), it.handle.as_ref()?.status())))
                .collect(),
            addresses: Arc::new(Mutex::new(Addresses::open()?)),
        };
        let now = clock.now();
        let suspended: Vec<bool> = modules.iter().map(|it| it.suspended).collect();
        let make = |watched: Watched| Module::new(watched, &others, now);
        let mut desk = Self {
            clock,
            alarm: Alarm::new(clock)?,
            modules: modules.into_iter().map(make).collect(),
            facts,
            say,
            commands,
            reports,
            observe: Box::new(observe),
        };
        for place in 0..desk.modules.len() {
            desk.report(place, now, None);
            if let Some(handle) = &desk.modules[place].handle {
                follow(place, handle.status(), desk.say.clone());
            } else {
                let seen = Seen { serving: Some(now), role: Role::Up, ready: true };
                desk.take(Fact::Node { module: place, seen });
            }
        }
        for (place, _) in suspended.iter().enumerate().filter(|(_, suspended)| **suspended) {
            desk.check_all(now, place, checker::Input::Suspend);
        }
        desk.tick();
        Ok(desk)
    }

    /// Works until nobody can ask any more.
    pub(super) async fn work(&mut self) {
        loop {
            if let Some(due) = self.due()
                && let Err(error) = self.alarm.arm(due.at)
            {
                warn!(%error, "no timer: the checkers end");
                return;
            }
            match poll_fn(|cx| self.poll(cx)).await {
                Cause::Asked(None) => return,
                Cause::Asked(Some(command)) => self.command(command),
                Cause::Told(fact) => self.take(fact),
                Cause::Due(Ok(())) => self.tick(),
                Cause::Due(Err(error)) => {
                    warn!(%error, "no timer: the checkers end");
                    return;
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        if let Poll::Ready(command) = self.commands.poll_recv(cx) {
            return Poll::Ready(Cause::Asked(command));
        }
        if let Poll::Ready(Some(fact)) = self.facts.poll_recv(cx) {
            return Poll::Ready(Cause::Told(fact));
        }
        self.alarm.poll(cx).map(Cause::Due)
    }

    fn due(&self) -> Option<Deadline> {
        self.modules.iter().map(Module::due).fold(None, Deadline::sooner)
    }

    /// Calls the machines whose time has come.
    fn tick(&mut self) {
        let now = self.clock.now();
        let ripe = |due: Option<Deadline>| due.is_some_and(|due| due.at <= now);
        for module in 0..self.modules.len() {
            for place in 0..self.modules[module].checkers.len() {
                if ripe(self.modules[module].checkers[place].machine.deadline()) {
                    self.check(now, module, place, checker::Input::Tick);
                }
            }
            if ripe(self.modules[module].rules.deadline()) {
                self.rule(now, module, rules::Input::Tick);
            }
        }
    }

    fn command(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Suspend { module } => self.check_all(now, module, checker::Input::Suspend),
            Command::Resume { module } => self.check_all(now, module, checker::Input::Resume),
            Command::Failed { module } => {
                self.rule(now, module, rules::Input::Failed);
                self.report(module, now, None);
            }
            Command::Ordered { module, order } => {
                self.rule(now, module, rules::Input::Operator(order));
                self.report(module, now, None);
            }
        }
    }

    fn take(&mut self, fact: Fact) {
        let now = self.clock.now();
        match fact {
            Fact::Looked { module, checker, ticket, result } => {
                let passed = result.is_ok();
                let one = &mut self.modules[module].checkers[checker];
                one.flight = None;
                one.why = result.err().unwrap_or_default();
                self.check(now, module, checker, checker::Input::Done { ticket, passed });
                self.report(module, now, None);
            }
            Fact::Answered { module, ticket, answer } => {
                self.rule(now, module, rules::Input::Answered { ticket, answer });
                self.report(module, now, None);
            }
            Fact::Node { module, seen } => {
                let Seen { serving, role, ready } = seen;
                self.rule(now, module, rules::Input::Node { serving, role, ready });
                self.check_all(now, module, checker::Input::Serving(serving));
            }
        }
    }

    fn check_all(&mut self, now: Instant, module: usize, input: checker::Input) {
        for place in 0..self.modules[module].checkers.len() {
            self.check(now, module, place, input);
        }
        self.report(module, now, None);
    }

    /// Tells one checker's machine a fact, and does what it says.
    fn check(&mut self, now: Instant, module: usize, place: usize, input: checker::Input) {
        let mut out = Outbox::new(Checker::OUTPUTS_MAX);
        self.modules[module].checkers[place].machine.handle(now, input, &mut out);
        while let Some(said) = out.pop() {
            match said {
                checker::Output::Probe { ticket, within } => {
                    let one = &mut self.modules[module].checkers[place];
                    let (look, say) = (Arc::clone(&one.look), self.say.clone());
                    let task = tokio::spawn(async move {
                        let result = look.look(within).await;
                        // At the end nobody listens.
                        let _ =
                            say.send(Fact::Looked { module, checker: place, ticket, result }).await;
                    });
                    one.flight = Some(Flight(task.abort_handle()));
                }
                checker::Output::Cancel { ticket: _ } => {
                    let one = &mut self.modules[module].checkers[place];
                    one.flight = None;
                    one.why = "no answer in time".into();
                }
                checker::Output::Changed(state) => {
                    self.report(module, now, Some(place));
                    let index = u8::try_from(place).expect("a module has 62 checkers at most");
                    self.rule(now, module, rules::Input::Changed { index, state });
                }
            }
        }
    }

    /// Tells a module's rules a fact, and does what they say.
    fn rule(&mut self, now: Instant, module: usize, input: rules::Input) {
        let mut out = Outbox::new(Rules::OUTPUTS_MAX);
        self.modules[module].rules.handle(now, input, &mut out);
        while let Some(said) = out.pop() {
            match said {
                rules::Output::Tell { index, up, blocks } => {
                    if let Some(handle) = &self.modules[module].handle {
                        handle.tell_resource(index, up, blocks);
                    }
                }
                rules::Output::Order { ticket, order } => self.order(module, ticket, order),
                rules::Output::Event(event) => self.event(module, event),
            }
        }
    }

    fn order(&self, module: usize, ticket: Ticket, order: Order) {
        let (handle, say) = (self.modules[module].handle.clone(), self.say.clone());
        let handle = handle.expect("an action other than none is a mirror's");
        tokio::spawn(async move {
            let answer = match handle.order(order).await {
                Ok(()) => Ok(()),
                Err(OrderError::Refused(why)) => Err(why),
                // There is nothing to look after any more.
                Err(OrderError::Closed) => return,
            };
            // At the end nobody listens.
            let _ = say.send(Fact::Answered { module, ticket, answer }).await;
        });
    }

    fn event(&mut self, module: usize, event: rules::Event) {
        let here = &self.modules[module];
        let one = |index: u8| &here.checkers[usize::from(index)];
        let checker = |index| one(index).name.clone();
        let event = match event {
            rules::Event::Resource { index, state } => {
                Event::Changed { checker: checker(index), state, why: one(index).why.clone() }
            }
            rules::Event::Acts { index, action } => Event::Acts { checker: checker(index), action },
            rules::Event::Refused { index, action, why } => {
                Event::Refused { checker: checker(index), action, why }
            }
            rules::Event::LoopsSpent { index } => Event::LoopsSpent { checker: checker(index) },
        };
        log(&here.name, &event);
        (self.observe)(&here.name, &event);
    }

    /// Brings the reports of a module up to date; `changed` has another state from now on.
    fn report(&self, module: usize, now: Instant, changed: Option<usize>) {
        let here = &self.modules[module];
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        if reports.len() <= module {
            let known = here.checkers.iter().map(|one| one.known(now)).collect();
            let (restarts, starts_again) = (Vec::new(), false);
            reports.push(Reported { module: here.name.clone(), known, restarts, starts_again });
        }
        reports[module].restarts = here.rules.restarts().collect();
        reports[module].starts_again = here.rules.starts_again();
        for (place, (known, one)) in
            reports[module].known.iter_mut().zip(&here.checkers).enumerate()
        {
            if changed == Some(place) {
                known.since = now;
            }
            known.report.state = one.machine.state();
            known.report.suspended = one.machine.is_suspended();
            known.report.why.clone_from(&one.why);
        }
    }
}

impl Module {
    fn new(watched: Watched, others: &Others, now: Instant) -> Self {
        let Watched { name, handle, checkers, loops, surroundings, suspended: _ } = watched;
        let actions: Vec<_> = checkers.iter().map(|checker| checker.action).collect();
        let make = |config| One::new(config, &name, &surroundings, others, now);
        let checkers = checkers.into_iter().map(make).collect();
        Self { rules: Rules::new(&actions, loops), name, handle, checkers }
    }

    fn due(&self) -> Option<Deadline> {
        let checkers = self.checkers.iter().map(|one| one.machine.deadline());
        checkers.fold(self.rules.deadline(), Deadline::sooner)
    }
}

impl One {
    fn new(
        config: CheckerConfig,
        module: &str,
        around: &Surroundings,
        others: &Others,
        now: Instant,
    ) -> Self {
        let CheckerConfig { name, kind, action, pace } = config;
        let look = Arc::new(Look::new(kind, &name, module, around, others));
        let machine = Checker::new(pace, now);
        Self { name, action, machine, look, flight: None, why: String::new() }
    }

    fn known(&self, now: Instant) -> Known {
        let report = Report {
            name: self.name.clone(),
            action: self.action,
            state: self.machine.state(),
            age: Duration::ZERO,
            suspended: self.machine.is_suspended(),
            why: self.why.clone(),
        };
        Known { report, since: now }
    }
}

/// Tells of each change in a module's status that matters here, until its driver ends.
fn follow(module: usize, mut watch: Watch, say: Sender<Fact>) {
    tokio::spawn(async move {
        let mut last = None;
        let mut now = watch.now();
        loop {
            let seen = now.map(|status| Seen::from(&status));
            if let Some(seen) = seen.filter(|_| seen != last) {
                last = Some(seen);
                if say.send(Fact::Node { module, seen }).await.is_err() {
                    return;
                }
            }
            let Some(status) = watch.changed().await else { return };
            now = Some(status);
        }
    });
}

impl From<&Status> for Seen {
    fn from(status: &Status) -> Self {
        Self { serving: status.serving_since, role: status.role, ready: status.ready }
    }
}

/// Each event once, at the level that says who should look at it.
fn log(module: &str, event: &Event) {
    match event {
        Event::Changed { checker, state: State::Down, why } => {
            warn!(module, checker, why, "a checker is down");
        }
        Event::Changed { checker, state, why: _ } => {
            info!(module, checker, ?state, "a checker's state");
        }
        Event::Acts { checker, action } => {
            warn!(module, checker, ?action, "a checker is down, and this is done");
        }
        Event::Refused { checker, action, why } => {
            warn!(module, checker, ?action, %why, "a checker is down, and this cannot be done");
        }
        Event::LoopsSpent { checker } => warn!(
            module,
            checker,
            "no automatic restart is left (maxloop): the module stops until an operator starts it"
        ),
    }
}

/// Facts that may wait; whoever has more waits for its turn.
const FACTS_MAX: usize = 256;
