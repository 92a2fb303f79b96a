//! What the group wants: written into the kernel, told to the others, computed.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use ha_farm::{Filter, Mac, Mode, Setup, Table};
use ha_heartbeat::group::{self, Cause, Proposal, ViewId};
use ha_proto::{Instant, LinkId, Machine, NodeId, Ticket};

use crate::farm::body::{Body, Facts, WHOLE};
use crate::farm::newer::is_newer;
use crate::farm::tables::Tables;
use crate::farm::{App, Effect, Event, Farm, Output, Present, Ruling, Told, Warm, Why};

/// The one write of the filter that is under way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) ticket: Ticket,
    /// What is taken once it is done.
    took: Vec<Vec<bool>>,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// And by which rules.
    Install(Box<(Present, Ruling)>),
    Take(ViewId),
    /// Whether it can be written again.
    Probe,
}

impl Farm {
    /// Tells the group something, and does all that follows.
    pub(super) fn drive(&mut self, now: Instant, input: group::Input) {
        let mut inputs = VecDeque::from([input]);
        let mut turns = 0;
        while let Some(input) = inputs.pop_front() {
            turns += 1;
            assert!(turns <= TURNS_MAX, "one fact would be answered without end");
            // Tables come with their last part.
            self.giver =
                if let group::Input::Part { from, .. } = &input { Some(*from) } else { None };
            self.group.handle(now, input, &mut self.outbox);
            while let Some(output) = self.outbox.pop() {
                self.perform(now, output, &mut inputs);
            }
        }
    }

    pub(super) fn perform(
        &mut self,
        now: Instant,
        output: group::Output,
        inputs: &mut VecDeque<group::Input>,
    ) {
        match output {
            group::Output::Beat(beat) => {
                self.introduce();
                self.judge_links(now);
                self.send_beat(now, &beat);
            }
            group::Output::Propose { to, part } => self.send_proposal(to, &part),
            group::Output::Pull { to, pull } => self.send_pull(to, &pull),
            group::Output::Lease(until) => {
                self.lease = Some(self.effect(Effect::Lease(until)));
            }
            group::Output::Shut(cause) => self.shut(cause),
            group::Output::Build { id, members, base, taken } => {
                inputs.push_back(self.build(now, id, members, base, taken));
            }
            group::Output::Check(proposal) => {
                inputs.extend(self.check(&proposal));
            }
            group::Output::Install { proposal, keeps } => {
                inputs.extend(self.install(&proposal, keeps));
            }
            group::Output::Take(id) => inputs.extend(self.take(id)),
            group::Output::Tables { id, parts } => {
                inputs.extend((!self.keep(id, &parts)).then_some(group::Input::Useless(id)));
            }
            group::Output::View { id, member } => self.entered(id, member),
            group::Output::Facts { from, facts } => self.learn(from, &facts),
            group::Output::Linked(node) => self.event(Event::Linked(node)),
            group::Output::Unlinked(node) => self.event(Event::Unlinked(node)),
            group::Output::Restarted(node, _) => {
                self.forget_newer(node);
                self.event(Event::Restarted(node));
            }
            group::Output::Disagrees(node) => self.event(Event::Disagrees(node)),
            group::Output::Agrees(node) => self.event(Event::Agrees(node)),
            group::Output::Twice(node) => self.event(Event::Twice(node)),
            group::Output::Future(node) => self.event(Event::Future(node)),
            group::Output::Paused(late) => self.event(Event::Paused(late)),
        }
    }

    /// Tells of single networks that work no more, or again.
    fn judge_links(&mut self, now: Instant) {
        for node in self.others() {
            let heard = self.group.hears(node);
            let outputs = &mut self.outputs;
            self.links.judge(now, node, heard, |link, up| {
                let event =
                    if up { Event::LinkUp(node, link) } else { Event::LinkDown(node, link) };
                outputs.push_back(Output::Event(event));
            });
        }
    }

    /// What another one says of itself has changed, and with it perhaps what is wanted: the group
    /// has forgotten that, and is told again (F4: nothing is proposed that nothing asks for).
    pub(super) fn learn(&mut self, from: NodeId, facts: &[u8]) {
        self.told.wanted = false;
        if let Ok(facts) = Facts::decode(facts) {
            self.facts.insert(from, facts);
            return;
        }
        if is_newer(facts, Facts::VERSION) {
            // What it told before it was upgraded stands: its weight and its card are still its own.
            return self.tell_newer(from);
        }
        self.facts.remove(&from);
    }

    /// Takes nothing, from this moment on.
    fn shut(&mut self, cause: Cause) {
        self.effect(Effect::Shut);
        self.took = Vec::new();
        if let Some(flight) = &mut self.flight {
            flight.took = Vec::new();
        }
        self.announce();
        let why = self.why().unwrap_or(match cause {
            Cause::Gap => Why::Gap,
            Cause::Lease => Why::Lease,
            Cause::Yields(id) => Why::Yields(id),
            Cause::LeftOut => Why::LeftOut,
            Cause::Isolated => Why::Isolated,
            Cause::Boot => Why::Boot,
            Cause::Unable => self.why_unable(),
            Cause::Twice => Why::Twice,
        });
        self.event(Event::StandsBy(why));
    }

    /// F1: writes what this view leaves of what is taken.
    fn install(&mut self, proposal: &Proposal, keeps: bool) -> Option<group::Input> {
        let (id, me) = (proposal.id, self.me());
        let body = Body::decode(&proposal.body, proposal.set()).ok();
        let present = body.and_then(|body| {
            let tables = self.shelf.get(id)?.all.clone();
            Some(Present { id, since: self.now, body, tables })
        });
        let Some(present) = present else {
            return Some(group::Input::Written { id, ok: false });
        };
        let Some(ruling) = self.ruling(present.body.accord).cloned() else {
            return Some(group::Input::Written { id, ok: false });
        };
        let took = ruling.rules.iter().zip(present.tables.iter()).map(|(rule, table)| {
            // Rules do not overlap: what one that stays covers, no other did or will.
            let before = self.rules.rules.iter().position(|known| known == rule);
            let row = before.and_then(|before| self.took.get(before)).filter(|_| keeps);
            let owns = table.buckets().iter().map(|bucket| bucket.owner == Some(me));
            owns.enumerate().map(|(at, own)| own && row.is_some_and(|row| row[at])).collect()
        });
        let took: Vec<Vec<bool>> = took.collect();
        let Some(filter) = self.filter(&present, &took) else {
            return Some(group::Input::Written { id, ok: false });
        };
        self.write(filter, took, What::Install(Box::new((present, ruling))));
        None
    }

    /// F2: writes that all that the view gives is taken.
    fn take(&mut self, id: ViewId) -> Option<group::Input> {
        let me = self.me();
        let present = self.present.clone().filter(|present| present.id == id);
        let Some(present) = present else {
            return Some(group::Input::Written { id, ok: false });
        };
        let own = |table: &Table| {
            table.buckets().iter().map(|bucket| bucket.owner == Some(me)).collect::<Vec<_>>()
        };
        let took: Vec<Vec<bool>> = present.tables.iter().map(own).collect();
        if took == self.took {
            self.event(Event::Takes(id));
            return Some(group::Input::Written { id, ok: true });
        }
        let Some(filter) = self.filter(&present, &took) else {
            return Some(group::Input::Written { id, ok: false });
        };
        self.write(filter, took, What::Take(id));
        None
    }

    fn write(&mut self, filter: Arc<Filter>, took: Vec<Vec<bool>>, what: What) {
        assert!(self.flight.is_none(), "two writes of the filter could overtake each other");
        assert!(took.len() == filter.setup().rules.len(), "a rule would take by another's buckets");
        self.macs.clone_from(&filter.setup().macs);
        let ticket = self.effect(Effect::Filter(filter));
        self.flight = Some(Flight { ticket, took, what });
    }

    /// What the kernel decides by, as far as this node knows; `None` while it takes nothing. For who
    /// goes on with a filter that it did not write itself ([`Farm::adopt`]).
    pub fn filter_in_force(&self) -> Option<Arc<Filter>> {
        let present = self.present.as_ref().filter(|_| self.group.stands_by().is_none())?;
        self.filter(present, &self.took)
    }

    fn filter(&self, present: &Present, took: &[Vec<bool>]) -> Option<Arc<Filter>> {
        let policy = &self.config.policy;
        let rules = self.ruling(present.body.accord)?.rules.clone();
        let setup = Setup {
            me: self.me(),
            mode: policy.mode,
            uncovered: policy.uncovered,
            hash: policy.hash,
            rules,
            macs: self.macs(Some(&present.body)),
        };
        let take = |service: usize, bucket: usize| took[service][bucket];
        Filter::new(setup, &present.tables, take).ok().map(Arc::new)
    }

    /// F9: a beat says whom this node hears. Whoever is told so may hand frames to it, and its kernel
    /// must know that one's hardware address before.
    fn introduce(&mut self) {
        match self.config.policy.mode {
            Mode::Invisible => return,
            Mode::Directed => {}
        }
        let takes = self.group.stands_by().is_none();
        let in_force = self.present.as_ref().filter(|_| takes);
        // After what is being written.
        let (present, took) = match &self.flight {
            None => (in_force, &self.took),
            Some(Flight { what: What::Install(what), took, .. }) => (Some(&what.0), took),
            Some(Flight { what: What::Take(_), took, .. }) => (in_force, took),
            Some(Flight { what: What::Probe, .. }) => return,
        };
        let Some(present) = present.filter(|it| self.macs(Some(&it.body)) != self.macs) else {
            return;
        };
        if let Some(filter) = self.filter(present, took) {
            self.macs.clone_from(&filter.setup().macs);
            self.introduced = Some(self.effect(Effect::Filter(filter)));
        }
    }

    /// The hardware addresses of the members, and of all others that told theirs, or of which the
    /// view tells: who is in another view may hand frames to this node, which must not hand them on
    /// (F9).
    pub(super) fn macs(&self, view: Option<&Body>) -> BTreeMap<NodeId, Mac> {
        let members = view.into_iter().flat_map(|body| &body.members);
        let mut macs: BTreeMap<NodeId, Mac> =
            members.filter_map(|(&node, share)| Some((node, share.mac?))).collect();
        let told = self.facts.iter().filter_map(|(&node, facts)| Some((node, facts.share.mac?)));
        let strangers = view.into_iter().flat_map(|body| &body.strangers);
        for (node, mac) in told.chain(strangers.map(|(&node, &mac)| (node, mac))) {
            if node != self.me() && !macs.values().any(|known| *known == mac) {
                macs.entry(node).or_insert(mac);
            }
        }
        macs
    }

    /// An effect has ended.
    pub(super) fn done(&mut self, now: Instant, ticket: Ticket, ok: bool) {
        if self.app == App::Starting(ticket) {
            self.app = if ok { App::Runs } else { App::Down };
            if !ok {
                self.event(Event::ApplicationFailed);
            }
            return;
        }
        if self.introduced.take_if(|introduced| *introduced == ticket).is_some() {
            if !ok {
                // What filters is as before; with the next beat it is tried again.
                self.macs.clear();
            }
            return;
        }
        if self.lease == Some(ticket) && !ok {
            // Others take what this kernel takes no more.
            return self.fails(now);
        }
        if self.trial.take_if(|trial| *trial == ticket).is_some() {
            return if ok { self.works() } else { self.fails(now) };
        }
        let Some(flight) = self.flight.take_if(|flight| flight.ticket == ticket) else { return };
        if ok {
            self.took = flight.took;
        } else {
            // What the kernel does is what it did: it is closed, and tried again later.
            self.fails(now);
        }
        match flight.what {
            What::Install(what) => {
                let (present, ruling) = *what;
                let id = present.id;
                if !ok {
                    return self.drive(now, group::Input::Written { id, ok });
                }
                self.works();
                let before = self.rules.accord;
                self.adopt_view(now, present, ruling);
                let written = if self.rules.accord == before {
                    group::Input::Written { id, ok }
                } else {
                    self.told = self.to_tell(now);
                    let Told { facts, accord, next, .. } = self.told.clone();
                    group::Input::Ruled { id, facts, accord, next }
                };
                self.drive(now, written);
            }
            What::Take(id) => {
                self.drive(now, group::Input::Written { id, ok });
                if ok && self.group.stands_by().is_none() {
                    self.event(Event::Takes(id));
                }
            }
            What::Probe if ok => self.trial = Some(self.effect(Effect::Lease(Instant::ZERO))),
            What::Probe => {}
        }
    }

    /// The kernel's filter, or its lease, cannot be written: this node takes nothing.
    fn fails(&mut self, now: Instant) {
        if self.broken.is_none() {
            self.event(Event::FilterFailed);
        }
        self.broken = Some(now + self.config.timing.timeout());
    }

    fn works(&mut self) {
        if self.broken.take().is_some() {
            self.event(Event::FilterBack);
        }
    }

    /// The kernel decides by this view.
    fn adopt_view(&mut self, now: Instant, present: Present, ruling: Ruling) {
        assert!(ruling.accord == present.body.accord, "a view is of the rules it was made by");
        if self.rules.accord != ruling.accord {
            let waited = self.next.take_if(|next| next.accord == ruling.accord);
            let taken_back = waited.is_none() && self.next.is_none();
            let before = core::mem::replace(&mut self.rules, waited.unwrap_or(ruling));
            if taken_back {
                // The old ones were ordered once more since. Others would go on waiting.
                self.next = Some(before);
            }
            self.event(Event::Rules);
        }
        let mut drains = core::mem::take(&mut self.drains);
        let left = |counter: u64| present.body.drains.get(&counter).copied();
        let drained: BTreeSet<u64> = present.tables.iter().flat_map(Table::drains).collect();
        for &counter in &drained {
            let drain = left(counter).unwrap_or(self.config.policy.drain);
            drains.entry(counter).or_insert(now + drain);
        }
        let settled = present.body.settled;
        // So there are no more than buckets, however often weights change.
        drains.retain(|counter, _| *counter > settled && drained.contains(counter));
        self.drains = drains;
        let before = self.present.as_ref().map_or(0, |present| present.body.settled);
        if settled > before && self.present.is_some() {
            self.event(Event::Drained { counter: settled });
        }
        if self.warm == Warm::Cold {
            let first = present.body.base.is_none();
            self.warm = if first { Warm::Done } else { Warm::Since(now) };
        }
        let chosen = present.body.announcer == self.me();
        self.present = Some(present);
        if !chosen {
            // It lets go before it says that it is at this view (F1).
            self.announce();
        }
    }

    /// The group is at a view.
    fn entered(&mut self, id: ViewId, member: bool) {
        let tables = self.shelf.get(id);
        let (moved, cut) = tables.map_or((0, 0), |tables| (tables.moved, tables.cut));
        let view = self.group.view().expect("the group has just entered one");
        let members = view.set();
        if member {
            assert!(
                self.present.as_ref().is_some_and(|present| present.id == id),
                "the kernel would decide by another view than the one that is told"
            );
        }
        self.event(Event::View { id, members, moved, cut });
    }

    /// Tables that were pulled; `false` where they are none.
    pub(super) fn keep(&mut self, id: ViewId, parts: &[bytes::Bytes]) -> bool {
        let Some(tables) = Tables::pulled(parts, self.config.policy.buckets) else {
            // The first part has the rules.
            let newer = parts.iter().skip(1).any(|part| is_newer(part, ha_farm::wire::VERSION));
            // Who gives tables writes them, whoever made the view.
            if let Some(giver) = self.giver.filter(|_| newer) {
                self.tell_newer(giver);
                if self.offered == Some(id) {
                    self.cannot_read(giver);
                }
            }
            return false;
        };
        self.shelf.put(id, tables, self.present.as_ref().map(|present| present.id));
        true
    }

    /// Sees to what this node waits for by itself: a filter that could not be written.
    pub(super) fn tend(&mut self, now: Instant) {
        let due = self.broken.is_some_and(|at| at <= now);
        let busy = self.flight.is_some() || self.trial.is_some();
        if !due || busy || self.group.stands_by().is_none() {
            return;
        }
        self.broken = Some(now + self.config.timing.timeout());
        let Some(present) = self.present.clone() else {
            // Nothing was ever written: the next view is the attempt.
            self.broken = None;
            return;
        };
        let took: Vec<Vec<bool>> =
            present.tables.iter().map(|table| alloc::vec![false; table.buckets().len()]).collect();
        match self.filter(&present, &took) {
            Some(filter) => self.write(filter, took, What::Probe),
            None => self.broken = None,
        }
    }

    /// Cuts the connections of a node whose checker failed, once no view gives it new ones.
    pub(super) fn cut(&mut self) {
        let me = self.me();
        let waits = self.group.stands_by().is_none()
            && self.present.as_ref().is_some_and(|present| {
                let share = present.body.members.get(&me);
                share.is_some_and(|share| share.weights.iter().any(|&weight| weight > 0))
            });
        if self.cuts && !waits && self.flight.is_none() {
            assert!(!self.asked.checked, "only a failed checker cuts");
            self.cuts = false;
            self.effect(Effect::Reset);
        }
    }

    /// Only the announcer, while it takes, answers and announces (F9); a new one once all others
    /// have let go, as with buckets (F2).
    pub(super) fn announce(&mut self) {
        let present = self.present.as_ref();
        let takes = self.group.stands_by().is_none();
        let chosen = present.is_some_and(|present| present.body.announcer == self.me());
        let full = self.group.is_full() && self.flight.is_none();
        let announces = takes && chosen && (self.announces || full);
        if announces != self.announces {
            self.announces = announces;
            self.effect(Effect::Announce(announces));
        }
    }

    /// The rules of this accord, if they are known here.
    pub(super) fn ruling(&self, accord: u64) -> Option<&Ruling> {
        let rulings = [Some(&self.rules), self.next.as_ref()];
        rulings.into_iter().flatten().find(|ruling| ruling.accord == accord)
    }

    pub(super) fn others(&self) -> impl Iterator<Item = NodeId> + use<> {
        self.config.identity.members.without(self.me()).iter()
    }

    pub(super) fn links(&self) -> impl Iterator<Item = LinkId> + use<> {
        (0..self.config.identity.links).map(LinkId)
    }

    pub(super) fn transmit(&mut self, link: LinkId, to: NodeId, datagram: bytes::Bytes) {
        self.outputs.push_back(Output::Transmit { link, to, datagram });
    }

    /// By how many eighths of its weights this node is warm.
    pub(super) fn warmth(&self, now: Instant) -> u16 {
        match self.warm {
            Warm::Cold => 1,
            Warm::Done => WHOLE,
            Warm::Since(since) => {
                let step = self.warm_step();
                let steps = now.saturating_since(since).as_nanos() / step.as_nanos().max(1);
                let warmth = 1 + u16::try_from(steps).unwrap_or(WHOLE).min(WHOLE - 1);
                assert!((1..=WHOLE).contains(&warmth), "it would get more than its share");
                warmth
            }
        }
    }

    pub(super) fn warm_step(&self) -> core::time::Duration {
        self.config.policy.warm_up / u32::from(WHOLE - 1)
    }
}

/// What one fact makes the group ask the node, one after the other: a view from each of the tables
/// that may turn out to be nowhere, and a few more.
const TURNS_MAX: u32 = 64;
