//! The node's loop.

use core::time::Duration;
use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::net::{IpAddr, SocketAddr};
use std::prelude::rust_2024::*;
use std::string::String;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::{Context, Poll};

use ha_farm::{Filter, Mode};
use ha_proto::{Instant, LinkId, NodeId, Ticket};
use ha_vip::Stranger;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, info, warn};

use super::Failure;
use super::application::Caller;
use super::front::{Desk, Reserved, vips};
use super::keeper::{Keeper, Seen, Sight};
use super::sweep::Sweeper;
use crate::driver::{self, Alarm, Clock, Port};
use crate::farm::{Baton, Effect, Event, Farm, Input, Order, OrderError, Output, View};
use crate::linux::frames::Frames;
use crate::linux::plane::{Counters, Plane, PlaneError};

/// What other threads have for the loop.
#[derive(Debug)]
pub(super) enum Letter {
    /// The application was started or stopped.
    Done { ticket: Ticket, ok: bool },
    /// An operator's order.
    Order { order: Order, reply: oneshot::Sender<Result<(), OrderError>> },
    /// What does the node see?
    View(oneshot::Sender<View>),
    /// How what was set is now.
    Seen(Seen),
    /// All cuts up to this one are done.
    Cut(u64),
    /// Which addresses does it have?
    Addresses(oneshot::Sender<BTreeSet<IpAddr>>),
    /// Hold these names for services that are about to come, and no others that are not wanted.
    Reserve { names: Reserved, wanted: BTreeSet<IpAddr>, reply: oneshot::Sender<()> },
    /// Who else answers for the addresses?
    Strangers(oneshot::Sender<Vec<Stranger>>),
    /// What did the filter count?
    Counters(oneshot::Sender<Result<Counters, PlaneError>>),
    /// Leave the farm in order, and end.
    Leave,
    /// End, and leave all to a next process; go on, if that cannot be by then.
    HandOver { until: Instant, steps: Sender<Step> },
    /// What was asked for is done ([`Step`]).
    Stepped,
    /// What clients reach, at a node that goes on: it was not waited for.
    Front(Box<Arrived>),
    /// End.
    End,
}

/// A front that came once the node had begun, and who looks after it.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) desk: Desk,
    pub(super) keeper: Keeper,
}

/// A front that is on its way, and what waits for it.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    announces: bool,
    addresses: Vec<oneshot::Sender<BTreeSet<IpAddr>>>,
}

/// A member and all that it needs.
pub(super) struct Loop {
    pub(super) clock: Clock,
    pub(super) alarm: Alarm,
    pub(super) farm: Farm,
    /// By link.
    pub(super) ports: Vec<Port>,
    pub(super) peers: Vec<BTreeMap<NodeId, SocketAddr>>,
    /// Taken out at the end.
    pub(super) plane: Option<Box<dyn Plane + Send>>,
    pub(super) application: Caller,
    pub(super) desk: Option<Desk>,
    /// It comes later.
    pub(super) awaited: Option<Awaited>,
    pub(super) observer: Box<dyn FnMut(&Event) + Send>,
    pub(super) inbox: mpsc::Receiver<Letter>,
    /// It ends when this stop of its application is answered.
    pub(super) leaving: Option<Leaving>,
    /// Until when the filter takes.
    pub(super) until: Instant,
    /// A next process waits.
    pub(super) handing: Option<Handing>,
    /// What it gets, once all is closed.
    pub(super) handed: Option<(Baton, Sender<Step>)>,
    /// What the kernel decides by.
    pub(super) filter: Option<Arc<Filter>>,
    /// What the kernel's filter is closed to besides, since it is still set.
    pub(super) closed: BTreeSet<IpAddr>,
    /// It could not be closed to what the front, which came later, has set: nobody else knows.
    pub(super) unclosed: bool,
    pub(super) sweeper: Sweeper,
    /// Ends before what it looks after.
    pub(super) keeper: Option<Keeper>,
    /// The programs of an earlier process are to be replaced, at the first look: checking them
    /// costs the processor that the first beats need.
    pub(super) renews: bool,
    /// Why nothing filters here.
    pub(super) lost: Option<String>,
}

/// Who waits for what a next process needs, and until when.
#[derive(Debug)]
pub(super) struct Handing {
    until: Instant,
    /// When it is tried again, if nothing comes before.
    again: Instant,
    steps: Sender<Step>,
    /// Nobody looks any more whether all is there.
    rests: bool,
    stage: Stage,
    /// Whoever waits is at a step.
    steps_on: bool,
}

/// How far a hand-over has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// All goes on as ever.
    Begun,
    /// Whoever waits knows that it is soon.
    Soon,
    /// Nothing is heard at the front.
    Deaf,
}

/// What whoever waits for a hand-over is to do, and to say when it is done ([`Letter::Stepped`]).
#[derive(Debug)]
pub(super) enum Step {
    /// All is ready.
    Soon,
    /// Close it.
    Close(Frames),
    /// Go on with this: no letter is read any more.
    GoOn(Box<Baton>),
}

/// How far a node that leaves has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    Asked,
    Stops(Ticket),
    Stopped,
}

impl Handing {
    fn new(until: Instant, now: Instant, steps: Sender<Step>) -> Self {
        let stage = Stage::Begun;
        Self { until, again: now, steps, rests: false, stage, steps_on: false }
    }

    /// Says that it is soon. Nobody waits any more where that cannot be said.
    fn call(&mut self) {
        self.stage = Stage::Soon;
        self.steps_on = self.steps.send(Step::Soon).is_ok();
    }

    /// Whoever waits has done something; what it did for this is not to last.
    fn step(&mut self, now: Instant) {
        self.steps_on = false;
        if self.stage == Stage::Soon {
            self.until = now + SOON;
        }
    }
}

impl Loop {
    /// One turn; ready when it shall end. Datagrams come first, since a late beat costs a share of
    /// the clients; what is left over is due at once.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let mut more = self.receive(cx);
        if let Some(desk) = &mut self.desk {
            more |= desk.poll(cx, self.clock.now(), self.until);
        }
        self.expire();
        self.perform()?;
        if self.handed.is_some() {
            // What letters say is for the next process.
            return Poll::Ready(Ok(()));
        }
        if self.read_letters(cx)? {
            return Poll::Ready(Ok(()));
        }
        self.perform()?;
        if self.leaving == Some(Leaving::Stopped) || self.handed.is_some() {
            return Poll::Ready(Ok(()));
        }
        if more {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.sleep(cx)
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { clock, farm, ports, .. } = self;
        let mut more = false;
        for (link, port) in ports.iter().enumerate() {
            let link = LinkId(link as u8);
            more |= port.receive(cx, |bytes, _from| {
                farm.handle_input(clock.now(), Input::Datagram { link, bytes });
            });
        }
        more
    }

    /// Goes on for an earlier process, with what is due first.
    pub(super) fn go_on(&mut self) -> Result<(), Failure> {
        self.expire();
        self.perform()
    }

    fn expire(&mut self) {
        let now = self.clock.now();
        if self.farm.poll_timeout().is_some_and(|deadline| deadline.at <= now) {
            self.farm.handle_input(now, Input::Timeout);
        }
    }

    /// Reads what other threads have sent; whether that is the end.
    fn read_letters(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        for _ in 0..LETTERS_A_TURN {
            let letter = match self.inbox.poll_recv(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(None) => return Ok(true),
                Poll::Ready(Some(letter)) => letter,
            };
            let now = self.clock.now();
            match letter {
                Letter::Done { ticket, ok } => {
                    if self.leaving == Some(Leaving::Stops(ticket)) {
                        self.leaving = Some(Leaving::Stopped);
                    }
                    self.farm.handle_input(now, Input::Done { ticket, ok });
                }
                Letter::Order { order, reply } => {
                    // Who ordered may have gone; so below.
                    let _ = reply.send(self.farm.order(now, order));
                }
                Letter::View(reply) => drop(reply.send(self.farm.view(now))),
                Letter::Addresses(reply) => match &mut self.awaited {
                    Some(awaited) => awaited.addresses.push(reply),
                    None => drop(reply.send(self.held())),
                },
                Letter::Reserve { names, wanted, reply } => {
                    if let Some(desk) = &mut self.desk {
                        desk.reserve(names, &wanted);
                    }
                    let _ = reply.send(());
                }
                Letter::Strangers(reply) => {
                    let strangers = self.desk.as_ref().map(Desk::strangers);
                    drop(reply.send(strangers.unwrap_or_default()));
                }
                Letter::Counters(reply) => drop(reply.send(self.plane().counters())),
                Letter::Leave if self.leaving.is_none() => {
                    self.leaving = Some(Leaving::Asked);
                    let stop = self.farm.order(now, Order::Stop { force: false });
                    stop.expect("a stop is never refused");
                }
                Letter::Leave => {}
                Letter::HandOver { until, steps } => {
                    self.handing = Some(Handing::new(until, now, steps));
                }
                Letter::Stepped => {
                    self.handing.iter_mut().for_each(|handing| handing.step(now));
                }
                Letter::Front(arrived) => self.meet(*arrived),
                Letter::End => return Ok(true),
                Letter::Seen(seen) => self.see(seen)?,
                Letter::Cut(number) => self.let_go(number),
            }
        }
        cx.waker().wake_by_ref();
        Ok(false)
    }

    fn held(&self) -> BTreeSet<IpAddr> {
        self.desk.as_ref().map(Desk::held).unwrap_or_default()
    }

    /// The front is there: it follows what was decided meanwhile.
    fn meet(&mut self, Arrived { desk, keeper }: Arrived) {
        let Awaited { announces, addresses } = self.awaited.take().unwrap_or_default();
        (self.desk, self.keeper) = (Some(desk), Some(keeper));
        if let Some(filter) = self.filter.clone() {
            let stays = self.desk.as_ref().map(|desk| desk.stays_set(&filter));
            if stays.is_none_or(|stays| stays.is_empty()) {
                self.follow_filter(&filter);
            } else {
                // What it left out meanwhile goes as from any other filter.
                self.unclosed = !self.install(&filter);
            }
        }
        if announces {
            let now = self.clock.now();
            self.desk.iter_mut().for_each(|desk| desk.announce(now, true));
        }
        for reply in addresses {
            // Who asked may have gone.
            let _ = reply.send(self.held());
        }
        self.owe();
    }

    /// Where nothing filters, this kernel must not have the addresses: it would answer all.
    fn see(&mut self, seen: Seen) -> Result<(), Failure> {
        if core::mem::take(&mut self.renews) {
            self.plane().renew();
        }
        let filter = seen.filter.map_err(|error| format!("{error}"));
        let mut whole = filter.and_then(|()| self.follow(seen.front.as_ref()));
        match (&whole, self.lost.is_some()) {
            (Err(why), false) => {
                error!("takes nothing, and its addresses are off, until this is mended: {why}");
                self.until = Instant::ZERO;
                self.plane().lease(Instant::ZERO)?;
                self.desk.iter_mut().for_each(Desk::withdraw);
            }
            (Ok(()), true) => {
                whole = self.desk.as_mut().map_or(Ok(()), Desk::put_back);
                match &whole {
                    Ok(()) => info!("the filter and its addresses are back"),
                    // Others take what some of them are for.
                    Err(_) => self.desk.iter_mut().for_each(Desk::withdraw),
                }
            }
            // One that could not be taken off then.
            (Err(_), true) => self.desk.iter_mut().for_each(Desk::withdraw),
            (Ok(()), false) => {}
        }
        self.lost = whole.err();
        if self.unclosed && self.lost.is_none() {
            let filter = self.filter.clone().expect("the front came behind one");
            self.install(&filter);
        }
        self.open();
        self.owe();
        Ok(())
    }

    /// What failed is tried again at each look, though that shows what it showed before.
    fn owe(&self) {
        let desk = self.desk.as_ref().is_some_and(Desk::owes);
        let owes = self.lost.is_some() || desk || self.unclosed || self.is_closed_in_vain();
        if let Some(keeper) = &self.keeper {
            keeper.owe(owes);
        }
    }

    /// Goes where the clients' interface is, and mends the addresses.
    fn follow(&mut self, sight: Option<&Sight>) -> Result<(), String> {
        let (Some(desk), Some(sight)) = (&mut self.desk, sight) else { return Ok(()) };
        if desk.is_elsewhere(sight) {
            let plane = self.plane.as_mut().expect("the plane is there until the end");
            plane.moved().map_err(|error| format!("{error}"))?;
        }
        desk.see(self.clock.now(), sight).map_err(|error| format!("{error}"))
    }

    /// Does all that the node wants, in its order.
    fn perform(&mut self) -> Result<(), Failure> {
        let mut renewed = false;
        while let Some(output) = self.farm.poll_output() {
            match output {
                Output::Transmit { link, to, datagram } => {
                    let place = usize::from(link.0);
                    let sent =
                        self.peers[place].get(&to).map(|to| self.ports[place].send(&datagram, *to));
                    if sent != Some(true) {
                        debug!(link = link.0, %to, "a datagram is lost here");
                    }
                }
                Output::Effect { ticket, effect } => {
                    renewed |= matches!(effect, Effect::Lease(_));
                    if let Some(ok) = self.effect(ticket, effect)? {
                        let done = Input::Done { ticket, ok };
                        self.farm.handle_input(self.clock.now(), done);
                    }
                }
                Output::Event(event) => {
                    debug!(?event);
                    (self.observer)(&event);
                    if let Event::Drained { .. } = event {
                        self.sweep();
                    }
                }
            }
        }
        if self.handing.is_some() {
            self.hand_over(renewed);
        }
        if self.leaving == Some(Leaving::Asked) {
            // The application was stopped before.
            self.leaving = Some(Leaving::Stopped);
        }
        Ok(())
    }

    /// Right after the lease was renewed, since the next process has no longer than that; or not
    /// at all, if there is nothing to hand over in time. What takes longer than may pass between
    /// two processes is done before, and the beat does not wait for its turn then.
    fn hand_over(&mut self, renewed: bool) {
        let now = self.clock.now();
        let Some(mut handing) = self.handing.take() else { return };
        if handing.steps_on {
            handing.again = now + AGAIN;
            self.handing = Some(handing);
            return;
        }
        match (self.baton(now, &mut handing), handing.stage) {
            (Some(baton), Stage::Deaf) if renewed => {
                self.handed = Some((baton, handing.steps));
                return;
            }
            (Some(_), Stage::Deaf) => self.farm.beat(now),
            (Some(_), Stage::Soon) => self.deafen(&mut handing),
            (Some(_), Stage::Begun) => handing.call(),
            (None, Stage::Deaf) => self.hear_again(&mut handing),
            (None, Stage::Soon | Stage::Begun) => self.look_again(&mut handing),
        }
        if handing.steps_on || now < handing.until {
            handing.again = if handing.stage == Stage::Deaf { now } else { now + AGAIN };
            self.handing = Some(handing);
            return;
        }
        // Who is dropped here learns that all goes on.
        self.hear_again(&mut handing);
    }

    /// What a next process needs, if all is ready for one.
    fn baton(&mut self, now: Instant, handing: &mut Handing) -> Option<Baton> {
        // The next process knows of no cut that it should wait for.
        let cuts = !self.closed.is_empty() || self.desk.as_ref().is_some_and(Desk::leaves);
        if cuts || self.awaited.is_some() || !self.plane().rests() {
            return None;
        }
        let baton = self.farm.hand_over(now)?;
        // Who looks may wait for others who change interfaces.
        handing.rests = handing.rests || self.keeper.as_ref().is_none_or(Keeper::rest);
        Some(baton).filter(|_| handing.rests)
    }

    fn look_again(&self, handing: &mut Handing) {
        if let (true, Some(keeper)) = (core::mem::take(&mut handing.rests), &self.keeper) {
            keeper.wake();
        }
    }

    /// All is as it was, from the next look on.
    fn hear_again(&mut self, handing: &mut Handing) {
        handing.stage = handing.stage.min(Stage::Soon);
        self.desk.iter_mut().for_each(Desk::listen_again);
        self.look_again(handing);
        self.owe();
    }

    /// Hears nothing more at the front. Whoever waits closes what heard: that one goes before others
    /// where the processors are busy.
    fn deafen(&mut self, handing: &mut Handing) {
        handing.stage = Stage::Deaf;
        if let Some(frames) = self.desk.as_mut().and_then(Desk::deafen) {
            // Where nobody waits it is closed here.
            handing.steps_on = handing.steps.send(Step::Close(frames)).is_ok();
        }
    }

    /// F8: at the drain end the owner takes all, so that what a previous owner still has of a
    /// connection is of no use to anybody.
    fn sweep(&self) {
        if let Some(filter) = &self.filter {
            self.sweeper.sweep(Arc::clone(filter));
        }
    }

    /// Does one thing; whether it was done, unless that is told later.
    fn effect(&mut self, ticket: Ticket, effect: Effect) -> Result<Option<bool>, Failure> {
        match effect {
            // Nothing would filter by it.
            Effect::Filter(_) | Effect::Lease(_) if self.lost.is_some() => Ok(Some(false)),
            Effect::Filter(filter) => Ok(Some(self.install(&filter))),
            Effect::Lease(until) => {
                let written = self.plane().lease(until);
                match &written {
                    Ok(()) => self.until = until,
                    Err(error) => warn!(%error, "the lease ends: it cannot be written"),
                }
                Ok(Some(written.is_ok()))
            }
            Effect::Shut => {
                self.until = Instant::ZERO;
                // The next datagram may say that it is shut.
                self.plane().lease(Instant::ZERO)?;
                Ok(Some(true))
            }
            Effect::Announce(on) => {
                info!(on, "answers for the virtual addresses");
                if let Some(desk) = &mut self.desk {
                    desk.announce(self.clock.now(), on);
                } else if let Some(awaited) = &mut self.awaited {
                    awaited.announces = on;
                }
                Ok(Some(true))
            }
            Effect::Start => {
                self.application.begin(ticket);
                Ok(None)
            }
            Effect::Stop { force } => {
                if self.leaving == Some(Leaving::Asked) {
                    self.leaving = Some(Leaving::Stops(ticket));
                }
                self.application.stop(ticket, force);
                Ok(None)
            }
            Effect::Reset => {
                let rules = self.filter.iter().flat_map(|filter| &filter.setup().rules);
                self.sweeper.cut(rules.map(|rule| rule.vip).collect());
                Ok(Some(true))
            }
        }
    }

    fn install(&mut self, filter: &Arc<Filter>) -> bool {
        let stays = self.desk.as_ref().map(|desk| desk.stays_set(filter)).unwrap_or_default();
        // Their clients may come from the moment on in which it is written.
        let back = self.sweeper.spare(&vips(filter));
        if let Err(error) = self.write(filter, stays) {
            error!(%error, "the filter is as it was");
            self.sweeper.go_on(back);
            self.owe();
            return false;
        }
        self.filter = Some(Arc::clone(filter));
        self.unclosed = false;
        self.follow_filter(filter);
        self.owe();
        true
    }

    /// The addresses come and go with what the filter covers.
    fn follow_filter(&mut self, filter: &Filter) {
        let now = self.clock.now();
        let leave = self.desk.as_mut().and_then(|desk| desk.leave(filter));
        if let Some(Err(error)) = self.desk.as_mut().map(|desk| desk.follow(now, filter)) {
            // The filter is right, and what it takes of such an address nobody here answers.
            error!(%error, "a virtual address is missing, until it can be set");
        }
        // Behind the new filter, or those who come back at once would come back here.
        if let Some((number, vips)) = leave
            && !self.sweeper.leave(vips, number)
        {
            self.let_go(number);
        }
    }

    /// In mode directed the kernel of who announced an address would take all that comes for one
    /// that is set and that the filter does not know.
    fn write(&mut self, filter: &Filter, stays: BTreeSet<IpAddr>) -> Result<(), PlaneError> {
        let closed = match filter.setup().mode {
            Mode::Directed => stays,
            Mode::Invisible => BTreeSet::new(),
        };
        if closed.is_empty() {
            self.plane().install(filter)?;
        } else {
            self.plane().install(&filter.closed_to(&closed))?;
        }
        self.closed = closed;
        Ok(())
    }

    /// Takes off `lo` what waited for this cut. Its names are free once the filter is not closed to
    /// it any more: another farm may have the address then.
    fn let_go(&mut self, number: u64) {
        let names = self.desk.as_mut().map(|desk| desk.let_go(number));
        self.open();
        drop(names);
        self.owe();
    }

    fn open(&mut self) {
        // What is lost cannot be written.
        if !self.is_closed_in_vain() || self.lost.is_some() {
            return;
        }
        let Some(filter) = self.filter.clone() else { return };
        let stays = self.desk.as_ref().map(|desk| desk.stays_set(&filter)).unwrap_or_default();
        if let Err(error) = self.write(&filter, stays) {
            warn!(%error, "closed to addresses that are off, until the filter can be written");
        }
    }

    /// Whether the filter is closed to an address that is off.
    fn is_closed_in_vain(&self) -> bool {
        let leaves = |vip: &IpAddr| self.desk.as_ref().is_some_and(|desk| desk.is_leaving(*vip));
        !self.closed.iter().all(leaves)
    }

    fn plane(&mut self) -> &mut (dyn Plane + Send) {
        &mut **self.plane.as_mut().expect("the plane is there until the end")
    }

    /// Arms the alarm for the node's deadline.
    fn sleep(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let failed = |source| Failure::from(driver::Failure::Io { what: "the timer", source });
        loop {
            let announced = self.desk.as_ref().and_then(Desk::due);
            let due = self.farm.poll_timeout().map(|deadline| deadline.at);
            let handing = self.handing.as_ref().map(|handing| handing.again);
            let due = due.into_iter().chain(announced).chain(handing).min();
            if due.is_some_and(|due| due <= self.clock.now()) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(due) = due {
                self.alarm.arm(due).map_err(failed)?;
            }
            match self.alarm.poll(cx) {
                // It rang for an earlier deadline: armed again for the present one.
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(failed(error))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The end, however it came: takes nothing, and leaves nothing in the kernel; unless all of
    /// it was handed over.
    pub(super) fn end(mut self, ended: Result<(), Failure>) -> Result<(), Failure> {
        // A thread that waits for room to answer is told that nobody reads.
        self.inbox.close();
        if let Some((baton, steps)) = self.handed.take() {
            let Self { application, ports, plane, desk, sweeper, keeper, .. } = self;
            application.leave();
            sweeper.abandon();
            keeper.into_iter().for_each(Keeper::leave);
            // The next process needs their names.
            drop((ports, plane, desk));
            if steps.send(Step::GoOn(Box::new(baton))).is_err() {
                error!("nobody goes on with what was handed over");
            }
            return ended;
        }
        // It would put back what is taken away.
        self.keeper = None;
        let mut plane = self.plane.take().expect("it ends once");
        let shut = plane.lease(Instant::ZERO);
        if self.awaited.is_some() {
            // Before an application that runs, and addresses that are set, a filter stays.
            self.application.leave();
            self.sweeper.abandon();
            return ended.and(shut.map_err(Failure::from));
        }
        // Clients hear of a cut only while the addresses are there.
        let vips = self.desk.as_ref().map(Desk::ours);
        self.sweeper.cut(vips.unwrap_or_default());
        self.sweeper.finish();
        // Without a filter all members would answer for an address that is still set.
        if let Some(desk) = &mut self.desk {
            desk.close();
        }
        let removed = plane.remove();
        for error in [shut, removed].into_iter().filter_map(Result::err) {
            error!(%error, "at the end");
        }
        ended
    }
}

/// Letters that are read before datagrams come to their turn again.
const LETTERS_A_TURN: usize = 32;
/// Nobody says that a look has ended, nor that the filter's programs are renewed.
const AGAIN: Duration = Duration::from_millis(20);
/// From when all was ready, however long whoever waits would: a change that begins then takes some
/// intervals, and the whole process goes before all others meanwhile.
const SOON: Duration = Duration::from_secs(1);
