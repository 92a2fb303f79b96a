//! The machine: who is in the view, and what this node may take.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::time::Duration;

use bytes::Bytes;
use ha_proto::{Boot, Deadline, Instant, Machine, NodeId, NodeSet, Outbox};

use super::fetch::Fetch;
use super::install::{Offer, Writing};
use super::message::Gathering;
use super::peer::{Peer, Worth};
use super::propose::{Building, Sending, Torn};
use crate::group::{Beat, Cause, Config, Echo, Input, Output, Proposal, Said, State, ViewId};

/// The members of a farm as one of them sees them: F1 to F6 of `CONTRACT-FARM.md`.
///
/// What a view says of weights and tables is the node's around it: the group asks it to build and
/// to check views ([`Output::Build`], [`Output::Check`]) and to tell the kernel
/// ([`Output::Install`], [`Output::Take`], [`Output::Shut`], [`Output::Lease`]).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
pub struct Group {
    pub(super) config: Config,
    pub(super) boot: Boot,
    pub(super) now: Instant,
    /// The number of the last beat.
    pub(super) number: u64,
    pub(super) next_beat: Instant,
    /// A beat is due at once: the view or the state changed.
    pub(super) speak: bool,
    /// Since when this process runs without a gap.
    pub(super) awake: Instant,
    /// After a gap the sockets hold beats of before: only an echo of this number or a later one
    /// proves for a while that a beat is none of them.
    pub(super) fresh: u64,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    /// The view that was installed last, or that this node stands by at.
    pub(super) view: Option<Proposal>,
    /// Since when.
    pub(super) view_at: Option<Instant>,
    /// Why nothing is taken; `None`: by F2.
    pub(super) stands: Option<Cause>,
    /// All that the view gives is taken.
    pub(super) full: bool,
    pub(super) lease: Option<Instant>,
    /// The last views in which this node took (F3: a view that was its own).
    pub(super) own: VecDeque<ViewId>,
    /// The highest counter seen.
    pub(super) highest: u64,
    pub(super) able: bool,
    pub(super) wanted: bool,
    pub(super) told: Told,
    /// The parts of the newest proposal that is not whole yet.
    pub(super) gathering: Option<Gathering>,
    pub(super) offer: Option<Offer>,
    pub(super) building: Option<Building>,
    pub(super) writing: Option<Writing>,
    pub(super) sending: Option<Sending>,
    pub(super) fetch: Option<Fetch>,
    /// Views whose tables nobody gave.
    pub(super) barren: BTreeSet<ViewId>,
    /// Since when a newer view is offered to this node, its member, which takes in an older one.
    pub(super) behind: Option<Instant>,
    /// Since when a member of the view in which this node takes is at a newer one.
    pub(super) outlived: Option<Instant>,
    /// Since when the best clique leaves out a member that takes.
    pub(super) torn: Option<Torn>,
    /// Another process with this node's id was told of.
    pub(super) twin: bool,
    /// Until when this node gives way to it, and how often it began to.
    pub(super) twin_until: Option<Instant>,
    pub(super) twins: u32,
    pub(super) due: Option<Deadline>,
}

/// What this node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) facts: Bytes,
    pub(super) accord: u64,
    pub(super) next: u64,
}

/// What is known of another node, for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its process, once it was believed.
    pub boot: Option<Boot>,
    /// When it was heard last.
    pub last: Option<Instant>,
    /// Whether this node hears it.
    pub heard: bool,
    /// Whether each hears the other.
    pub linked: bool,
    /// Whether it agrees on what members must agree on.
    pub agrees: bool,
    /// What it said last.
    pub said: Option<Said>,
}

impl Group {
    /// How often a proposal is sent again, and a part asked for again.
    pub(super) const RESEND: Duration = Duration::from_millis(5);
    /// How far a counter may be ahead of all that was seen: a view every 10 ms for a year.
    pub(super) const LEAP: u64 = 1 << 32;
    /// How many views of its own a node remembers.
    pub(super) const OWN_MAX: usize = 16;
    /// So many views may turn out to have no tables until the next one is made from none.
    pub(super) const BARREN_MAX: usize = 8;
    /// So often beats of two boots take turns before they are two processes: one that restarts
    /// sends nothing of its former boot, but for what is still on its way.
    const TURNS: u8 = 4;

    /// A node that starts, in this boot, a random number. It can be in a view once it is
    /// [`Input::Able`].
    ///
    /// # Panics
    /// If the configuration cannot work.
    pub fn new(config: Config, boot: Boot, now: Instant) -> Self {
        config.check();
        let others = config.members.without(config.me);
        Self {
            config,
            boot,
            now,
            number: 0,
            next_beat: now,
            speak: false,
            awake: now,
            fresh: 0,
            peers: others.iter().map(|node| (node, Peer::default())).collect(),
            view: None,
            view_at: None,
            stands: Some(Cause::Boot),
            full: false,
            lease: None,
            own: VecDeque::new(),
            highest: 0,
            able: false,
            wanted: false,
            told: Told::default(),
            gathering: None,
            offer: None,
            building: None,
            writing: None,
            sending: None,
            fetch: None,
            barren: BTreeSet::new(),
            behind: None,
            outlived: None,
            torn: None,
            twin: false,
            twin_until: None,
            twins: 0,
            due: Some(Deadline { at: now + Duration::from_nanos(1), why: "begins" }),
        }
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.config.me
    }

    /// Its boot.
    pub fn boot(&self) -> Boot {
        self.boot
    }

    /// The view that was installed last, or that this node stands by at.
    pub fn view(&self) -> Option<&Proposal> {
        self.view.as_ref()
    }

    /// Why this node takes nothing; `None` while it takes by F2.
    pub fn stands_by(&self) -> Option<Cause> {
        self.stands
    }

    /// Whether it takes all that its view gives it.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Until when its filter takes, as things are.
    pub fn lease(&self) -> Option<Instant> {
        self.lease
    }

    /// What is known of another node.
    pub fn peer(&self, node: NodeId) -> Option<PeerStatus> {
        let peer = self.peers.get(&node)?;
        Some(PeerStatus {
            boot: peer.boot,
            last: peer.last,
            heard: self.hears(node),
            linked: self.is_linked(node),
            agrees: peer.said.is_none_or(|said| said.agrees(self.told.accord, self.told.next)),
            said: peer.said,
        })
    }

    /// The boot of another node that is believed, and its newest number.
    pub fn newest(&self, node: NodeId) -> Option<(Boot, u64)> {
        let peer = self.peers.get(&node)?;
        peer.boot.map(|boot| (boot, peer.number))
    }

    /// Until when this node proposes nothing (F6).
    pub(super) fn hold(&self) -> Instant {
        self.awake + self.config.timeout() + self.config.interval
    }

    fn catch_up(&mut self, now: Instant, out: &mut Outbox<Output>) {
        if let Some(due) = self.due {
            let late = now.saturating_since(due.at);
            if late > self.config.slack {
                self.gap(now, late, out);
            }
        }
        let ended = self.lease.is_some_and(|lease| lease <= now);
        if ended && self.stands.is_none() {
            self.stand_by(Cause::Lease, out);
        }
    }

    /// F6: whatever was heard was long ago.
    fn gap(&mut self, now: Instant, late: Duration, out: &mut Outbox<Output>) {
        out.push(Output::Paused(late));
        self.awake = now;
        self.fresh = self.number + 1;
        self.peers.values_mut().for_each(Peer::forget);
        if let Some(writing) = &mut self.writing {
            // Who was linked when it was begun is forgotten: what it opens is not to be taken.
            writing.void = true;
        }
        (self.offer, self.gathering, self.building) = (None, None, None);
        (self.sending, self.fetch, self.torn) = (None, None, None);
        match self.stands {
            None => self.stand_by(Cause::Gap, out),
            Some(_) => self.speak = true,
        }
    }

    /// Takes nothing from now on, and says so.
    pub(super) fn stand_by(&mut self, cause: Cause, out: &mut Outbox<Output>) {
        self.stands = Some(cause);
        self.full = false;
        self.lease = None;
        self.behind = None;
        self.speak = true;
        if let Some(writing) = &mut self.writing {
            writing.void = true;
        }
        out.push(Output::Shut(cause));
    }

    fn route(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        match input {
            Input::Tick => {}
            Input::Gap(late) => self.gap(now, late, out),
            Input::Beat { from, beat } => self.hear(now, from, &beat, out),
            Input::Propose { from, part } => self.gather(now, from, &part),
            Input::Part { from, part } => self.fetched(now, from, &part, out),
            Input::Checked { id, known } => self.checked(id, known),
            Input::Built { id, body } => self.built(now, id, body, out),
            Input::Lacks { id, base } => self.lacks(now, id, base, out),
            Input::Written { id, ok } => self.written(now, id, ok, out),
            Input::Useless(id) => self.give_up(id),
            Input::Ruled { id, facts, accord, next } => {
                self.told = Told { facts, accord, next };
                self.written(now, id, true, out);
            }
            Input::Tell { facts, accord, next } => {
                self.told = Told { facts, accord, next };
                self.speak |= self.number > 0;
            }
            Input::Able(able) => {
                self.able = able;
                self.speak |= self.number > 0;
                if !able && self.stands.is_none() {
                    self.stand_by(Cause::Unable, out);
                }
            }
            Input::Wanted(wanted) => self.wanted = wanted,
        }
    }

    fn hear(&mut self, now: Instant, from: NodeId, beat: &Beat, out: &mut Outbox<Output>) {
        if from == self.config.me {
            if beat.boot != self.boot {
                self.meet_twin(now, beat, out);
            }
            return;
        }
        let echo = beat.echoes.iter().find(|echo| echo.node == self.config.me);
        let echo = echo.filter(|echo| echo.is_of(self.boot)).map_or(0, |echo| echo.number);
        // Later than that nothing is left in the sockets of what came before the gap.
        let quarantine = now < self.awake + self.config.interval;
        let fresh = if quarantine { self.fresh } else { 0 };
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let counter = beat.said.view.map_or(0, |view| view.counter).max(beat.said.highest);
        if counter > self.highest.saturating_add(Self::LEAP) || counter > ViewId::COUNTER_MAX {
            if !peer.future {
                peer.future = true;
                out.push(Output::Future(from));
            }
            return;
        }
        let worth = peer.weigh(beat, echo, self.number, fresh);
        if peer.turns == Self::TURNS {
            peer.turns += 1;
            out.push(Output::Twice(from));
        }
        match worth {
            Worth::Nothing | Worth::Number => return,
            Worth::Word => {}
            Worth::Restart => out.push(Output::Restarted(from, beat.boot)),
        }
        let before = peer.said.replace(beat.said);
        peer.last = Some(now);
        peer.echoes = echo > 0;
        if beat.said.hears.contains(self.config.me) && echo > 0 {
            peer.mutual = Some(now);
        }
        let accords = |said: Said| (said.accord, said.next);
        let agreed = before.map(accords) == Some(accords(beat.said));
        if peer.facts != beat.facts || !agreed {
            // What was wanted was so by what it said before: this node is asked anew.
            self.wanted = false;
            peer.facts = beat.facts.clone();
            out.push(Output::Facts { from, facts: beat.facts.clone() });
        }
        self.highest = self.highest.max(counter);
        self.answer(now, from, out);
    }

    /// Another process says that it is this node. If both spoke, the others could be linked to
    /// neither. Who hears the other falls silent until it hears it no more, unless it alone takes;
    /// if both did, one of them comes back sooner, by its boot.
    fn meet_twin(&mut self, now: Instant, beat: &Beat, out: &mut Outbox<Output>) {
        if !self.twin {
            self.twin = true;
            out.push(Output::Twice(self.config.me));
        }
        let takes = self.stands.is_none();
        // A recording does not echo what others have only just said. Who takes gives way only if
        // one that it believes is echoed; nobody may believe in a process that is new.
        let runs = beat.echoes.iter().any(|echo| {
            let peer = self.peers.get(&echo.node);
            peer.is_some_and(|peer| peer.has_just_said(echo, !takes))
        });
        if !runs || takes && !beat.said.takes() {
            return;
        }
        if !self.is_doubled() {
            self.twins = self.twins.wrapping_add(1);
        }
        let later = (self.boot.0 >> (self.twins % 16 * 4)) as u32 % 16;
        self.twin_until = Some(now + self.config.timeout() + self.config.interval * later);
        match self.stands {
            None => self.stand_by(Cause::Twice, out),
            Some(_) => self.stands = Some(Cause::Twice),
        }
    }

    /// Whether this node gives way to another process with its id.
    pub(super) fn is_doubled(&self) -> bool {
        self.twin_until.is_some_and(|until| self.now < until)
    }

    /// Whether this node can be in a view.
    pub(super) fn is_fit(&self) -> bool {
        self.able && !self.is_doubled()
    }

    /// Everything that follows from what is known now.
    fn conclude(&mut self, now: Instant, out: &mut Outbox<Output>) {
        self.tell_links(out);
        self.consider_yielding(out);
        self.consider_leaving(now, out);
        self.consider_installing(now, out);
        self.consider_proposing(now, out);
        if self.speak || now >= self.next_beat {
            self.beat(now, out);
        }
        self.consider_taking(out);
        self.send_again(now, out);
        self.fetch_again(now, out);
    }

    fn beat(&mut self, now: Instant, out: &mut Outbox<Output>) {
        self.speak = false;
        self.next_beat = now + self.config.interval;
        if self.is_doubled() {
            return;
        }
        self.number += 1;
        let lively = self.config.interval * 2;
        let heard = self.peers.iter().filter_map(|(&node, peer)| {
            let (boot, number) = peer.echo(now, lively)?;
            Some(Echo::of(node, boot, number))
        });
        let beat = Beat {
            boot: self.boot,
            number: self.number,
            said: self.say(),
            echoes: heard.collect(),
            facts: self.told.facts.clone(),
        };
        out.push(Output::Beat(beat));
        if self.stands.is_none() {
            let until = now + self.config.lease;
            self.lease = Some(until);
            out.push(Output::Lease(until));
        }
    }

    fn say(&self) -> Said {
        let state = if !self.is_fit() {
            State::Unable
        } else if self.stands.is_none() {
            State::Takes
        } else if self.now < self.hold() {
            State::Waits
        } else {
            State::Nothing
        };
        let heard = self.peers.iter().filter(|(_, peer)| self.is_heard(peer));
        Said {
            view: self.view.as_ref().map(|view| view.id),
            members: self.view.as_ref().map_or(NodeSet::EMPTY, Proposal::set),
            state,
            highest: self.highest,
            hears: heard.map(|(&node, _)| node).collect(),
            accord: self.told.accord,
            next: self.told.next,
        }
    }

    /// What was this node's own view.
    pub(super) fn was_own(&self, id: ViewId) -> bool {
        self.own.contains(&id)
    }

    pub(super) fn make_own(&mut self, id: ViewId) {
        if self.own.len() == Self::OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back(id);
    }

    /// What is so after every fact, whatever came.
    fn hold_together(&self) {
        let takes = self.stands.is_none();
        let view = self.view.as_ref();
        let member = view.is_some_and(|view| view.members.contains_key(&self.config.me));
        assert!(!takes || member, "F2: it would take in a view that leaves it out");
        assert!(takes || self.lease.is_none(), "F5: the next beat would extend what has ended");
        assert!(takes || !self.full, "F2: it would say that it takes all, and takes nothing");
        assert!(takes || self.behind.is_none(), "F3: it would go to and fro between two views");
        assert!(!takes || self.is_fit(), "the others make the next view without it");
        let lease = self.lease.map(|until| until.saturating_since(self.now));
        assert!(lease.is_none_or(|left| left <= self.config.lease), "F5: longer than F");
        let seen = view.is_none_or(|view| view.id.counter <= self.highest);
        assert!(seen, "F4: its next view would be below the one that it is at");
        assert!(self.own.len() <= Self::OWN_MAX, "what it remembers must not grow");
        assert!(self.barren.len() <= Self::BARREN_MAX + 1, "nor what it cannot get");
        assert!(!self.peers.contains_key(&self.config.me), "it would wait for its own beats");
    }

    fn soonest(&self, now: Instant) -> Option<Deadline> {
        let after = |at: Instant, why| (at > now).then_some(Deadline { at, why });
        let timeout = self.config.timeout();
        let silences = self.peers.values().filter_map(|peer| peer.last);
        let deaf = self.peers.values().filter_map(|peer| peer.mutual);
        let mut due = after(self.next_beat, "a beat");
        for at in silences.chain(deaf) {
            due = Deadline::sooner(due, after(at + timeout, "a member falls silent"));
        }
        let others = [
            self.lease.and_then(|at| after(at, "the lease ends")),
            self.behind.and_then(|at| after(at + self.config.interval, "lets go")),
            self.torn.as_ref().and_then(|torn| after(torn.since + timeout, "leaves a member out")),
            self.twin_until.and_then(|at| after(at, "is alone with its id")),
            after(self.hold(), "may propose"),
            self.view_at.and_then(|at| after(at + self.config.interval, "may propose again")),
            self.sending.as_ref().and_then(|sending| after(sending.again, "proposes again")),
            self.fetch.as_ref().and_then(|fetch| after(fetch.again, "pulls again")),
        ];
        let due = others.into_iter().fold(due, Deadline::sooner);
        assert!(due.is_some(), "without a deadline no beat would follow this one");
        due
    }
}

impl Machine for Group {
    type Input = Input;
    type Output = Output;
    /// A proposal of 15 parts to 63 nodes, and what else follows from one fact.
    const OUTPUTS_MAX: usize = 2_048;

    fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        let now = now.max(self.now);
        if input == Input::Tick && self.due.is_some_and(|due| now < due.at) {
            return;
        }
        self.catch_up(now, out);
        self.now = now;
        self.route(now, input, out);
        self.conclude(now, out);
        self.due = self.soonest(now);
        self.hold_together();
    }

    fn deadline(&self) -> Option<Deadline> {
        self.due
    }
}
