//! The application and its addresses: brought up and down one step at a time.

use core::time::Duration;

use ha_proto::{Deadline, Epoch, Instant, Seq, Ticket, Timer};

use crate::Effect;
use crate::view::Stage;

/// What should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The application runs at its addresses.
    Serve {
        /// In this reign.
        epoch: Epoch,
        /// Answering nobody before this record is applied.
        head: Seq,
        /// How long the addresses live unless kept.
        lifetime: Duration,
    },
    /// Nothing runs; stopped in order.
    Rest {
        /// How long the addresses live unless kept, for an application that takes its time.
        lifetime: Duration,
    },
    /// Nothing runs; the right to serve is ending, so stopped at once (R5).
    Fence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Take,
    Drop,
    Start(Epoch),
    Stop,
    Keep,
    AdoptAddress,
    AdoptApp,
}

/// What still has to be adopted of what runs since an earlier process of this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inherited {
    Nothing,
    /// The addresses, and then the application.
    All,
    App,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fence {
    Open,
    Closing(Ticket),
    Closed,
}

/// The application and its addresses, as one thing that is on or off.
///
/// Up: addresses, then application. Down: application, then addresses; a fence overtakes both,
/// and may overlap a step that is under way, whose result is then undone. A start or a stop may take
/// far longer than a lease, and the addresses are kept meanwhile.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts of several steps, each its own")]
pub(crate) struct Service {
    /// A killed process may have left its addresses behind: they are dropped before anything else.
    leftover: bool,
    inherited: Inherited,
    address: bool,
    app: Option<Epoch>,
    doing: Option<(Ticket, Doing)>,
    /// The addresses are being kept beside a start or a stop.
    keeping: Option<Ticket>,
    fence: Fence,
    stop_failed: bool,
    /// A step failed half-way, up or down: what it left is taken down before anything is started,
    /// however long that takes.
    spoiled: bool,
    /// What it was spoiled by is of this node: the other one had better serve until all is down,
    /// and a moment longer.
    yields: bool,
    restart: bool,
    kept_until: Instant,
    /// The addresses could not be kept the last time.
    unkept: bool,
    retry: Timer,
    fence_retry: Timer,
    cooling: Option<Instant>,
    pause: Duration,
    lease: Duration,
}

/// What a finished step means to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing to tell.
    Quiet,
    /// The application serves.
    Serving(Epoch),
    /// The application serves no more.
    Stopped(Epoch),
    /// It could not be done.
    Failed,
}

impl Service {
    /// The share of a lease that an address may go before the right to it ends.
    const SLACK_INVERSE: u32 = 30;

    /// Nothing runs, but for addresses of an earlier boot; a step that failed is tried again after
    /// `pause`, and addresses live for `lease` at most.
    pub(crate) fn new(pause: Duration, lease: Duration) -> Self {
        assert!(!lease.is_zero(), "R10: addresses would go as soon as they are set");
        Self {
            leftover: true,
            inherited: Inherited::Nothing,
            address: false,
            app: None,
            doing: None,
            keeping: None,
            fence: Fence::Open,
            stop_failed: false,
            spoiled: false,
            yields: false,
            restart: false,
            kept_until: Instant::ZERO,
            unkept: false,
            retry: Timer::IDLE,
            fence_retry: Timer::IDLE,
            cooling: None,
            pause,
            lease,
        }
    }

    /// What an earlier process of this boot left in order: an application that runs in `app` at its
    /// addresses, or nothing at all. It is adopted by the first step up, and taken down like any
    /// other where it may not go on.
    pub(crate) fn resume(pause: Duration, lease: Duration, app: Option<Epoch>) -> Self {
        let runs = app.is_some();
        let inherited = if runs { Inherited::All } else { Inherited::Nothing };
        Self { leftover: false, inherited, address: runs, app, ..Self::new(pause, lease) }
    }

    /// Whether nothing is under way or to be tried again: it is up or down, and stays so unless
    /// something happens.
    pub(crate) fn is_at_rest(&self, now: Instant) -> bool {
        let steps = self.doing.is_none() && self.keeping.is_none();
        let idle = steps && self.inherited == Inherited::Nothing;
        let retries = self.retry.at().is_some() || self.fence_retry.at().is_some();
        let owes = self.stop_failed || self.spoiled || self.restart || self.is_cooling(now);
        idle && !retries && !owes && (self.is_up() || self.is_down())
    }

    /// In which reign the application was started, if it was.
    pub(crate) fn app(&self) -> Option<Epoch> {
        self.app
    }

    /// Until when the addresses live, and with them the application where somebody else watches it,
    /// unless they are kept.
    pub(crate) fn kept_until(&self) -> Instant {
        self.kept_until
    }

    /// Whether the application runs, here and now, as far as it was ever told to.
    pub(crate) fn is_up(&self) -> bool {
        let whole = self.app.is_some() && self.address && !self.spoiled;
        whole && self.fence == Fence::Open && self.doing_quiet()
    }

    fn doing_quiet(&self) -> bool {
        let of = |doing| matches!(doing, Doing::Keep | Doing::AdoptAddress | Doing::AdoptApp);
        self.doing.is_none_or(|(_, doing)| of(doing))
    }

    /// Whether anything of it may be seen from outside.
    pub(crate) fn is_visible(&self) -> bool {
        !self.is_harmless()
    }

    /// Whether nothing runs, is being started or could still be answering.
    pub(crate) fn is_down(&self) -> bool {
        let quiet = self.doing.is_none() && self.keeping.is_none();
        let nothing = self.app.is_none() && !self.address;
        quiet && nothing && !self.leftover && self.fence == Fence::Open
    }

    /// Whether the application runs or is being started, wherever it is in that.
    pub(crate) fn has_app(&self) -> bool {
        self.app.is_some() || matches!(self.doing, Some((_, Doing::Start(_))))
    }

    /// Whether nothing can serve: down, but for addresses of an earlier boot, or fenced off and
    /// without addresses. Only then may the peer learn that it need not wait (R6).
    pub(crate) fn is_harmless(&self) -> bool {
        let sets = |doing| matches!(doing, Doing::Take | Doing::Keep | Doing::AdoptAddress);
        let doing = self.doing.is_some_and(|(_, doing)| sets(doing));
        let taking = doing || self.keeping.is_some();
        let fenced = self.fence == Fence::Closed && !self.address && !taking;
        self.is_down() || self.leftover || fenced
    }

    /// Whether a step failed a moment ago, so that the other node had better serve.
    pub(crate) fn is_cooling(&self, now: Instant) -> bool {
        self.yields || self.cooling.is_some_and(|until| now < until)
    }

    /// How far it is, for an operator.
    pub(crate) fn stage(&self) -> Stage {
        if self.is_up() {
            return Stage::Up;
        }
        if self.fence != Fence::Open {
            return Stage::Fenced;
        }
        match self.doing {
            Some((_, Doing::Take | Doing::Start(_) | Doing::AdoptAddress | Doing::AdoptApp)) => {
                Stage::Starting
            }
            Some((_, Doing::Drop | Doing::Stop)) => Stage::Stopping,
            Some((_, Doing::Keep)) | None if self.app.is_some() => Stage::Stopping,
            Some((_, Doing::Keep)) | None => Stage::Down,
        }
    }

    /// Whether a step failed, and what it left is not taken down yet.
    pub(crate) fn has_failed(&self) -> bool {
        self.spoiled || self.stop_failed || self.retry.at().is_some()
    }

    /// Until when nothing is started because a step failed.
    pub(crate) fn cools_until(&self) -> Option<Instant> {
        self.cooling
    }

    /// The addresses are gone, and nobody here dropped them. That they were taken may be heard only
    /// after that.
    pub(crate) fn lose(&mut self) -> Step {
        let taking = |(_, doing)| matches!(doing, Doing::Take | Doing::AdoptAddress);
        if self.yields || !(self.address || self.doing.is_some_and(taking)) {
            return Step::Quiet;
        }
        self.yields = true;
        let told = core::mem::replace(&mut self.spoiled, true) || self.unkept;
        if told { Step::Quiet } else { Step::Failed }
    }

    /// Stops and starts the application once, where it runs.
    pub(crate) fn restart(&mut self) {
        self.restart = self.app.is_some();
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let cooling = self.cooling.map(|at| Deadline { at, why: "service cools" });
        let fence = self.fence_retry.deadline("fence retries");
        Deadline::sooner(self.retry.deadline("service retries"), Deadline::sooner(fence, cooling))
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        self.retry.expire(now);
        self.fence_retry.expire(now);
        self.cooling = self.cooling.filter(|&until| now < until);
    }

    /// The next step towards `wish`, if one can be taken now.
    pub(crate) fn settle(
        &mut self,
        now: Instant,
        wish: Wish,
        ticket: &mut impl FnMut() -> Ticket,
    ) -> Option<(Ticket, Effect)> {
        if self.leftover {
            if self.doing.is_some() || self.retry.at().is_some() {
                return None;
            }
            let ticket = ticket();
            self.doing = Some((ticket, Doing::Drop));
            return Some((ticket, Effect::DropAddress));
        }
        let fencing = wish == Wish::Fence && self.fence_retry.at().is_none();
        if fencing && self.fence == Fence::Open && !self.is_down() {
            return Some(self.begin_fence(ticket()));
        }
        if self.retry.at().is_some() {
            return None;
        }
        if self.keeping.is_some() || matches!(self.fence, Fence::Closing(_)) {
            return None;
        }
        if self.doing.is_some() {
            return self.keep_beside(now, wish, ticket);
        }
        let (doing, effect) = match wish {
            Wish::Serve { epoch, head, lifetime } if self.fence == Fence::Open => {
                self.step_up(now, epoch, head, lifetime)?
            }
            Wish::Serve { .. } | Wish::Rest { .. } | Wish::Fence => self.step_down(now)?,
        };
        assert!(self.doing.is_none(), "two steps at once could end in either order");
        let ticket = ticket();
        self.doing = Some((ticket, doing));
        Some((ticket, effect))
    }

    /// R10 while the application is started or stopped.
    fn keep_beside(
        &mut self,
        now: Instant,
        wish: Wish,
        ticket: &mut impl FnMut() -> Ticket,
    ) -> Option<(Ticket, Effect)> {
        let lifetime = match wish {
            Wish::Serve { lifetime, .. } | Wish::Rest { lifetime } => lifetime,
            Wish::Fence => return None,
        };
        let long = matches!(self.doing, Some((_, Doing::Start(_) | Doing::Stop)));
        if !long || !self.address || self.fence != Fence::Open || lifetime.is_zero() {
            return None;
        }
        let (_, effect) = self.keep(now, lifetime)?;
        let ticket = ticket();
        self.keeping = Some(ticket);
        Some((ticket, effect))
    }

    fn begin_fence(&mut self, ticket: Ticket) -> (Ticket, Effect) {
        let starting = match self.doing {
            Some((_, Doing::Start(epoch))) => Some(epoch),
            Some((
                _,
                Doing::Take
                | Doing::Drop
                | Doing::Stop
                | Doing::Keep
                | Doing::AdoptAddress
                | Doing::AdoptApp,
            ))
            | None => None,
        };
        assert!(self.fence == Fence::Open, "a second fence would be taken for the first one's end");
        self.fence = Fence::Closing(ticket);
        (ticket, Effect::Fence { epoch: self.app.or(starting).unwrap_or(Epoch::NONE) })
    }

    fn step_up(
        &mut self,
        now: Instant,
        epoch: Epoch,
        head: Seq,
        lifetime: Duration,
    ) -> Option<(Doing, Effect)> {
        assert!(self.fence == Fence::Open, "what was fenced would answer again (R5)");
        assert!(epoch != Epoch::NONE, "nothing could refuse what it writes");
        if self.spoiled || self.is_cooling(now) {
            let step = self.step_down(now);
            if step.is_some() || self.is_cooling(now) {
                return step;
            }
        }
        match self.inherited {
            Inherited::Nothing => {}
            Inherited::All => {
                self.kept_until = now + lifetime;
                return Some((Doing::AdoptAddress, Effect::AdoptAddress { epoch, lifetime }));
            }
            Inherited::App => {
                let epoch = self.app.expect("there is an application to adopt");
                return Some((Doing::AdoptApp, Effect::AdoptApp { epoch, head }));
            }
        }
        if self.restart && self.app.is_some() {
            self.restart = false;
            return Some((Doing::Stop, Effect::StopApp { force: false }));
        }
        if !self.address {
            self.kept_until = now + lifetime;
            return Some((Doing::Take, Effect::TakeAddress { epoch, lifetime }));
        }
        assert!(!self.leftover, "an earlier boot's address would still answer");
        if self.app.is_none() {
            return Some((Doing::Start(epoch), Effect::StartApp { epoch, head }));
        }
        self.keep(now, lifetime)
    }

    /// R10: every renewal extends the addresses' lifetime. What gains less than a third of a lease
    /// waits, while more than half a lease is left of what was set: beats renew far more often
    /// than is worth a system call. So an address goes at most L/30 before the right to it ends.
    fn keep(&mut self, now: Instant, lifetime: Duration) -> Option<(Doing, Effect)> {
        let until = now + lifetime;
        let left = self.kept_until.saturating_since(now);
        let share = if left > self.lease / 2 { 3 } else { Self::SLACK_INVERSE };
        if until.saturating_since(self.kept_until) < self.lease / share {
            return None;
        }
        assert!(!lifetime.is_zero(), "R10: the address would go while the application answers");
        self.kept_until = until;
        Some((Doing::Keep, Effect::KeepAddress { lifetime }))
    }

    fn step_down(&mut self, now: Instant) -> Option<(Doing, Effect)> {
        self.restart = false;
        self.inherited = Inherited::Nothing;
        let fenced = self.fence != Fence::Open;
        // R5: the addresses go at once; the orderly end of what is fenced has time.
        if fenced && self.address {
            return Some((Doing::Drop, Effect::DropAddress));
        }
        if self.app.is_some() {
            let force = self.stop_failed || fenced;
            return Some((Doing::Stop, Effect::StopApp { force }));
        }
        if self.address {
            return Some((Doing::Drop, Effect::DropAddress));
        }
        assert!(!self.address && self.app.is_none(), "what still runs would be forgotten");
        self.fence = Fence::Open;
        self.spoiled = false;
        if core::mem::take(&mut self.yields) {
            self.cool_down(now);
        }
        None
    }

    /// A step ended; `None` when the ticket is not of this machine.
    pub(crate) fn done(&mut self, now: Instant, ticket: Ticket, done: bool) -> Option<Step> {
        if self.fence == Fence::Closing(ticket) {
            self.fence = if done { Fence::Closed } else { Fence::Open };
            if !done {
                self.fence_retry.arm(now + self.pause);
            }
            return Some(if done { Step::Quiet } else { Step::Failed });
        }
        if self.keeping.take_if(|keeping| *keeping == ticket).is_some() {
            return Some(self.kept(now, done));
        }
        let (_, doing) = self.doing.take_if(|(doing, _)| *doing == ticket)?;
        Some(match (doing, done) {
            (Doing::Take, _) => self.taken(now, done),
            (Doing::Start(epoch), _) => self.started(now, epoch, done),
            (Doing::Stop, true) => {
                self.stop_failed = false;
                self.app.take().map_or(Step::Quiet, Step::Stopped)
            }
            (Doing::Stop, false) => {
                self.stop_failed = true;
                self.spoiled = true;
                self.fail(now)
            }
            (Doing::Drop, true) => {
                self.address = false;
                self.leftover = false;
                self.unkept = false;
                Step::Quiet
            }
            (Doing::AdoptAddress, true) => {
                if self.inherited == Inherited::All {
                    self.inherited = Inherited::App;
                }
                Step::Quiet
            }
            (Doing::AdoptApp, true) => {
                self.inherited = Inherited::Nothing;
                Step::Quiet
            }
            (Doing::AdoptAddress | Doing::AdoptApp, false) => self.cool(now),
            (Doing::Keep, _) => self.kept(now, done),
            (Doing::Drop, false) => {
                self.spoiled = true;
                self.fail(now)
            }
        })
    }

    /// Addresses that could not be kept twice are gone: everything is taken down, and up again. It is
    /// told then, once, however often they are asked for until all is down: whoever watches the
    /// application hears of the right to it by the same word.
    fn kept(&mut self, now: Instant, done: bool) -> Step {
        let twice = core::mem::replace(&mut self.unkept, !done) && !done;
        if done || self.spoiled {
            return Step::Quiet;
        }
        self.spoiled = twice;
        self.kept_until = Instant::ZERO;
        self.fail(now)
    }

    /// Whatever failed half-way may have left something behind: it is taken down again.
    fn taken(&mut self, now: Instant, done: bool) -> Step {
        assert!(self.app.is_none(), "addresses come before the application");
        self.address = true;
        if done { Step::Quiet } else { self.cool(now) }
    }

    fn started(&mut self, now: Instant, epoch: Epoch, done: bool) -> Step {
        assert!(self.app.is_none(), "two applications would write");
        self.app = Some(epoch);
        if done && self.fence == Fence::Open { Step::Serving(epoch) } else { self.cool(now) }
    }

    fn cool(&mut self, now: Instant) -> Step {
        self.spoiled = true;
        self.cool_down(now);
        Step::Failed
    }

    fn cool_down(&mut self, now: Instant) {
        self.cooling = Some(now + self.pause * 4);
    }

    fn fail(&mut self, now: Instant) -> Step {
        self.retry.arm(now + self.pause);
        Step::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(3);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1_000_000_000_000 + millis * 1_000_000)
    }

    fn serve(until: u64, now: u64) -> Wish {
        let epoch = Epoch::from_bits(0x100);
        let lifetime = at(until).saturating_since(at(now));
        Wish::Serve { epoch, head: Seq::ZERO, lifetime }
    }

    /// What it does at `now` when the right ends at `until`, done at once.
    fn step(service: &mut Service, now: u64, until: u64) -> Option<Effect> {
        let wish = serve(until, now);
        let (ticket, effect) = service.settle(at(now), wish, &mut || Ticket(now))?;
        service.done(at(now), ticket, true).expect("it asked for this");
        Some(effect)
    }

    #[test]
    fn what_runs_since_an_earlier_process_is_adopted_and_kept() {
        let epoch = Epoch::from_bits(0x100);
        let pause = Duration::from_millis(100);
        let mut service = Service::resume(pause, LEASE, Some(epoch));
        assert!(service.is_up() && !service.is_at_rest(at(0)));
        let lifetime = Duration::from_secs(3);
        let adopts = Some(Effect::AdoptAddress { epoch, lifetime });
        assert_eq!(step(&mut service, 0, 3_000), adopts, "the addresses first");
        let adopts = Some(Effect::AdoptApp { epoch, head: Seq::ZERO });
        assert_eq!(step(&mut service, 0, 3_000), adopts);
        assert!(service.is_up() && service.is_at_rest(at(0)));
        assert_eq!(step(&mut service, 400, 3_499), None, "it goes on as if it had never stopped");
        assert_eq!(service.kept_until(), at(3_000));
    }

    #[test]
    fn what_is_to_be_restarted_is_adopted_before() {
        let epoch = Epoch::from_bits(0x100);
        let mut service = Service::resume(Duration::from_millis(100), LEASE, Some(epoch));
        service.restart();
        assert!(matches!(step(&mut service, 0, 3_000), Some(Effect::AdoptAddress { .. })));
        assert!(matches!(step(&mut service, 0, 3_000), Some(Effect::AdoptApp { .. })));
        assert_eq!(step(&mut service, 0, 3_000), Some(Effect::StopApp { force: false }));
        assert!(matches!(step(&mut service, 0, 3_000), Some(Effect::StartApp { .. })));
        assert!(service.is_at_rest(at(0)));
    }

    #[test]
    fn what_cannot_be_adopted_is_taken_down() {
        let epoch = Epoch::from_bits(0x100);
        let mut service = Service::resume(Duration::from_millis(100), LEASE, Some(epoch));
        let (ticket, _) = service.settle(at(0), serve(3_000, 0), &mut || Ticket(1)).unwrap();
        assert_eq!(service.done(at(0), ticket, false), Some(Step::Failed));
        let stop = Some(Effect::StopApp { force: false });
        assert_eq!(step(&mut service, 1, 3_000), stop);
        assert_eq!(step(&mut service, 2, 3_000), Some(Effect::DropAddress));
        assert!(!service.is_up());
        assert_eq!(step(&mut service, 3, 3_000), None, "the other node had better serve");
        service.tick(at(400));
        assert!(matches!(step(&mut service, 400, 3_400), Some(Effect::TakeAddress { .. })));
    }

    #[test]
    fn a_right_that_ended_between_two_processes_fences_at_once() {
        let mut service =
            Service::resume(Duration::from_millis(100), LEASE, Some(Epoch::from_bits(0x100)));
        let mut down = |now| {
            let (ticket, effect) = service.settle(at(now), Wish::Fence, &mut || Ticket(now))?;
            service.done(at(now), ticket, true).expect("it asked for this");
            Some(effect)
        };
        assert_eq!(down(1), Some(Effect::Fence { epoch: Epoch::from_bits(0x100) }));
        assert_eq!(down(2), Some(Effect::DropAddress));
        assert_eq!(down(3), Some(Effect::StopApp { force: true }));
        assert_eq!(down(4), None);
        assert!(service.is_down());
    }

    #[test]
    fn a_renewal_extends_the_addresses_once_it_is_worth_a_call() {
        let mut service = Service::new(Duration::from_millis(100), LEASE);
        assert_eq!(step(&mut service, 0, 3_000), Some(Effect::DropAddress), "of an earlier boot");
        assert!(matches!(step(&mut service, 0, 3_000), Some(Effect::TakeAddress { .. })));
        assert!(matches!(step(&mut service, 0, 3_000), Some(Effect::StartApp { .. })));
        let kept = |millis| Some(Effect::KeepAddress { lifetime: Duration::from_millis(millis) });
        assert_eq!(step(&mut service, 900, 3_999), None, "less than a third");
        assert_eq!(step(&mut service, 1_000, 4_000), kept(3_000));
        assert_eq!(step(&mut service, 2_499, 4_999), None, "more than half a lease is left");
        assert_eq!(step(&mut service, 2_500, 4_099), None, "less than a thirtieth");
        assert_eq!(step(&mut service, 2_500, 4_999), kept(2_499), "R10: the rest, in good time");
        assert_eq!(step(&mut service, 4_500, 4_999), None, "nothing renews");
    }

    /// One that serves until 3 s, and what it does at `now` when its last step ended so.
    fn serving() -> Service {
        let mut service = Service::new(Duration::from_millis(100), LEASE);
        for _ in 0..3 {
            assert!(step(&mut service, 0, 3_000).is_some());
        }
        assert!(service.is_up());
        service
    }

    fn try_step(service: &mut Service, now: u64, wish: Wish, done: bool) -> Option<Effect> {
        service.tick(at(now));
        let (ticket, effect) = service.settle(at(now), wish, &mut || Ticket(now))?;
        service.done(at(now), ticket, done).expect("it asked for this");
        Some(effect)
    }

    #[test]
    fn addresses_that_others_took_off_are_left_to_the_peer_for_a_moment() {
        let mut service = serving();
        assert_eq!(service.lose(), Step::Failed);
        assert!(!service.is_up() && service.is_cooling(at(5_000)), "however long it takes");
        let rest = Wish::Rest { lifetime: LEASE };
        let mut goes = |now, wish| try_step(&mut service, now, wish, true);
        assert_eq!(goes(10, rest), Some(Effect::StopApp { force: false }));
        assert_eq!(goes(2_000, rest), Some(Effect::DropAddress));
        assert_eq!(goes(2_001, rest), None);
        assert_eq!(goes(2_002, serve(5_000, 2_002)), None, "the peer had better serve");
        assert!(matches!(goes(2_500, serve(5_000, 2_500)), Some(Effect::TakeAddress { .. })));
        assert!(!service.is_cooling(at(2_500)));
        let mut down = Service::new(Duration::from_millis(100), LEASE);
        assert_eq!(down.lose(), Step::Quiet);
        assert!(!down.is_cooling(at(0)), "it had none");
    }

    /// A stall of the node while a script runs is one failure, not one each pause.
    #[test]
    fn addresses_that_are_gone_during_a_long_start_are_a_failure_once() {
        let mut service = Service::new(Duration::from_millis(100), LEASE);
        step(&mut service, 0, 3_000);
        step(&mut service, 0, 3_000);
        let start = service.settle(at(1), serve(3_001, 1), &mut || Ticket(1));
        assert!(matches!(start, Some((_, Effect::StartApp { .. }))));
        let fails = |service: &mut Service, now| {
            service.tick(at(now));
            let wish = serve(now + 3_000, now);
            let (ticket, effect) = service.settle(at(now), wish, &mut || Ticket(now))?;
            assert!(matches!(effect, Effect::KeepAddress { .. }), "{effect:?}");
            service.done(at(now), ticket, false)
        };
        let mut lost = service.clone();
        assert_eq!((lost.lose(), lost.lose()), (Step::Failed, Step::Quiet));
        assert_eq!(fails(&mut lost, 1_500), Some(Step::Quiet), "whoever watches is told");
        assert_eq!(fails(&mut lost, 1_600), None, "at the pace of what is kept");
        assert_eq!(fails(&mut service, 1_500), Some(Step::Failed));
        assert_eq!(fails(&mut service, 1_600), Some(Step::Failed));
        assert_eq!(fails(&mut service, 1_700), Some(Step::Quiet));
        for mut service in [lost, service] {
            service.done(at(2_000), Ticket(1), true).expect("it was started");
            let stop = Some(Effect::StopApp { force: false });
            assert_eq!(try_step(&mut service, 2_000, serve(5_000, 2_000), true), stop);
        }
    }

    #[test]
    fn addresses_that_are_lost_before_it_is_heard_that_they_were_taken_are_lost() {
        let mut service = Service::new(Duration::from_millis(100), LEASE);
        step(&mut service, 0, 3_000);
        let take = service.settle(at(0), serve(3_000, 0), &mut || Ticket(5));
        assert!(matches!(take, Some((_, Effect::TakeAddress { .. }))));
        assert_eq!(service.lose(), Step::Failed);
        assert_eq!(service.done(at(1), Ticket(5), true), Some(Step::Quiet));
        let drop = Some(Effect::DropAddress);
        assert_eq!(try_step(&mut service, 1, serve(3_001, 1), true), drop);
        assert_eq!(try_step(&mut service, 2, serve(3_002, 2), true), None);
        assert!(service.is_cooling(at(300)), "the peer had better serve");
    }

    #[test]
    fn addresses_that_cannot_be_kept_twice_are_taken_anew() {
        let mut service = serving();
        let mut fails = |now| try_step(&mut service, now, serve(now + 3_000, now), false);
        assert!(matches!(fails(1_000), Some(Effect::KeepAddress { .. })));
        assert!(matches!(fails(1_100), Some(Effect::KeepAddress { .. })), "once is an accident");
        let mut goes = |now| try_step(&mut service, now, serve(now + 3_000, now), true);
        assert_eq!(goes(1_200), Some(Effect::StopApp { force: false }));
        assert_eq!(goes(1_201), Some(Effect::DropAddress));
        assert!(matches!(goes(1_202), Some(Effect::TakeAddress { .. })));
        assert!(matches!(goes(1_203), Some(Effect::StartApp { .. })));
        assert!(service.is_up());
    }

    #[test]
    fn a_keep_that_fails_between_two_that_do_not_is_an_accident() {
        let mut service = serving();
        for (now, done) in [(1_000, false), (1_100, true), (2_200, false), (2_300, true)] {
            let effect = try_step(&mut service, now, serve(now + 3_000, now), done);
            assert!(matches!(effect, Some(Effect::KeepAddress { .. })), "{now}: {effect:?}");
        }
        assert!(service.is_up());
    }

    #[test]
    fn addresses_whose_removal_failed_are_removed_before_anything_is_started() {
        let mut service = serving();
        let rest = Wish::Rest { lifetime: LEASE };
        let stop = Some(Effect::StopApp { force: false });
        assert_eq!(try_step(&mut service, 10, rest, true), stop);
        assert_eq!(try_step(&mut service, 11, rest, false), Some(Effect::DropAddress));
        let mut goes = |now| try_step(&mut service, now, serve(now + 3_000, now), true);
        assert_eq!(goes(200), Some(Effect::DropAddress), "some may be gone");
        assert!(matches!(goes(201), Some(Effect::TakeAddress { .. })));
        assert!(matches!(goes(202), Some(Effect::StartApp { .. })));
        assert!(service.is_up());
    }

    #[test]
    fn addresses_are_kept_while_the_application_takes_its_time() {
        let mut service = Service::new(Duration::from_millis(100), LEASE);
        step(&mut service, 0, 3_000);
        step(&mut service, 0, 3_000);
        let ask =
            |service: &mut Service, now, wish| service.settle(at(now), wish, &mut || Ticket(now));
        let kept = |now: u64, millis| {
            let lifetime = Duration::from_millis(millis);
            Some((Ticket(now), Effect::KeepAddress { lifetime }))
        };
        let start = ask(&mut service, 1, serve(3_001, 1));
        assert!(matches!(start, Some((_, Effect::StartApp { .. }))));
        assert_eq!(ask(&mut service, 500, serve(3_400, 500)), None, "less than a third");
        assert_eq!(ask(&mut service, 1_000, serve(4_000, 1_000)), kept(1_000, 3_000));
        assert_eq!(ask(&mut service, 2_000, serve(5_000, 2_000)), None, "one at a time");
        assert_eq!(service.done(at(2_001), Ticket(1_000), true), Some(Step::Quiet));
        assert_eq!(ask(&mut service, 2_002, serve(5_000, 2_002)), kept(2_002, 2_998));
        let serving = Step::Serving(Epoch::from_bits(0x100));
        assert_eq!(service.done(at(2_100), Ticket(1), true), Some(serving));
        let rest = Wish::Rest { lifetime: Duration::from_secs(3) };
        assert_eq!(ask(&mut service, 2_101, rest), None, "the last one is still under way");
        assert_eq!(service.done(at(2_102), Ticket(2_002), true), Some(Step::Quiet));
        let stop = ask(&mut service, 2_103, rest);
        assert_eq!(stop, Some((Ticket(2_103), Effect::StopApp { force: false })));
        assert_eq!(ask(&mut service, 3_100, rest), kept(3_100, 3_000));
        assert!(!service.is_harmless());
        assert_eq!(service.done(at(3_101), Ticket(3_100), false), Some(Step::Failed));
        service.tick(at(3_201));
        assert_eq!(ask(&mut service, 3_201, rest), kept(3_201, 3_000), "tried again");
    }
}
