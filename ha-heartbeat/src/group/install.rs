//! F1: who installs a view lets go, and only then says that it is there.

use ha_proto::{Instant, NodeId, NodeSet, Outbox};

use super::id::rank;
use super::message::Gathering;
use crate::group::{Cause, Group, Output, Part, Proposal, ViewId};

/// A view that was proposed, whole, and is not installed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// Who sent it.
    from: NodeId,
    at: Instant,
    proposal: Proposal,
    known: Known,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// The node was not asked yet.
    NotAsked,
    Asked,
    /// Its tables are to be pulled.
    No,
    Yes,
}

/// What the kernel is being told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Writing {
    id: ViewId,
    /// The view that is being installed; `None`: all that the present one gives is being taken.
    proposal: Option<Proposal>,
    /// Meanwhile this node stopped taking: what is being written is not to be opened.
    pub(super) void: bool,
}

impl Writing {
    pub(super) fn take(id: ViewId) -> Self {
        Self { id, proposal: None, void: false }
    }

    pub(super) fn install(proposal: Proposal) -> Self {
        Self { id: proposal.id, proposal: Some(proposal), void: false }
    }
}

impl Group {
    /// A part of a proposal came.
    pub(super) fn gather(&mut self, now: Instant, from: NodeId, part: &Part) {
        let genuine = self.peers.get(&from).is_some_and(|peer| peer.boot == Some(part.boot));
        let above = self.view.as_ref().is_none_or(|view| part.id > view.id);
        let seen = self.offer.as_ref().is_some_and(|offer| {
            let Proposal { id, .. } = offer.proposal;
            // Of two cliques the better one's view may have the lower id.
            let held_back = || self.would_yield(id, offer.proposal.set());
            part.id == id || part.id < id && !held_back()
        });
        let ahead = part.id.counter > self.highest.saturating_add(Self::LEAP);
        let long = part.parts > Proposal::PARTS_MAX;
        if !genuine || ahead {
            return;
        }
        // Whatever becomes of it: the next view must be above it (F4).
        self.highest = self.highest.max(part.id.counter);
        if !self.is_linked(from) || !above || seen || long {
            return;
        }
        let known = self.gathering.as_ref().map(|gathering| gathering.id);
        if known.is_some_and(|known| known > part.id) {
            return;
        }
        if known != Some(part.id) {
            self.gathering = Some(Gathering::new(part.id, part.parts));
        }
        let gathering = self.gathering.as_mut().expect("it was just made");
        gathering.add(part);
        let Some(parts) = gathering.whole() else { return };
        self.gathering = None;
        let Ok(proposal) = Proposal::decode(&parts.concat()) else { return };
        if proposal.id != part.id || !proposal.set().is_subset_of(self.config.members) {
            return;
        }
        // Where groups meet, the view of one that is about to yield may have the higher id: nobody
        // follows it who is to be in a better one.
        let better = |offer: &Offer| {
            let [theirs, mine] = [&proposal, &offer.proposal].map(Proposal::set);
            let me = self.config.me;
            mine.contains(me) && !theirs.contains(me) && rank(theirs, mine).is_lt()
        };
        if self.offer.as_ref().is_some_and(better) {
            return;
        }
        self.offer = Some(Offer { from, at: now, proposal, known: Known::NotAsked });
    }

    /// Whether F1 lets this node install it.
    fn may_install(&self, proposal: &Proposal) -> bool {
        let members = proposal.set();
        if !members.contains(self.config.me) {
            return self.may_leave_its_own(members);
        }
        let linked = members.without(self.config.me).iter().all(|node| {
            let boot = self.peers.get(&node).and_then(|peer| peer.boot);
            let agrees = self.word(node).is_some_and(|said| self.agrees(said));
            self.is_linked(node) && agrees && boot == proposal.members.get(&node).copied()
        });
        let mine = proposal.members.get(&self.config.me) == Some(&self.boot);
        self.is_fit() && mine && linked && self.may_leave_its_own(members)
    }

    /// None of worse rank while its own is whole, but a subset of it.
    fn may_leave_its_own(&self, members: NodeSet) -> bool {
        let own = self.view.as_ref().filter(|_| self.stands.is_none());
        own.is_none_or(|own| {
            let worse = rank(members, own.set()).is_lt() && !members.is_subset_of(own.set());
            !worse || !self.is_own_whole(own)
        })
    }

    pub(super) fn consider_installing(&mut self, now: Instant, out: &mut Outbox<Output>) {
        // It is said again for an interval, and may be held back for one. Later its maker proposes
        // anew, from what is taken in by then: it may have stood by meanwhile, and by that have let
        // others take by another view (F2), of which it did not know (F7).
        let late = self.config.interval * 2;
        let stale = |offer: &Offer, at: Option<ViewId>| {
            Some(offer.proposal.id) <= at || now >= offer.at + late
        };
        let at = self.view.as_ref().map(|view| view.id);
        if self.offer.as_ref().is_some_and(|offer| stale(offer, at)) {
            (self.offer, self.behind) = (None, None);
        }
        if self.writing.is_some() {
            return;
        }
        let Some(mut offer) = self.offer.take() else { return };
        if self.stands.is_none() && offer.proposal.members.contains_key(&self.config.me) {
            self.behind.get_or_insert(now);
        }
        if !self.is_linked(offer.from) || !self.may_install(&offer.proposal) {
            let members = offer.proposal.set();
            self.offer = Some(offer);
            return self.consider_letting_go(now, members, out);
        }
        if !offer.proposal.members.contains_key(&self.config.me) {
            return self.follow(now, offer.proposal, out);
        }
        if self.would_yield(offer.proposal.id, offer.proposal.set()) {
            // Who takes nothing waits, or would go to and fro for ever; the offer is forgotten, for
            // the better view may have the lower id. Who takes must let go in time: others take
            // what the new view gave them once they hear this node no more, and it may be heard
            // again. It waits for those on their way to the same view, for connections (FG4).
            let Some(behind) = self.behind else { return };
            if now < behind + self.config.interval {
                self.offer = Some(offer);
                return;
            }
        }
        match offer.known {
            Known::NotAsked => {
                offer.known = Known::Asked;
                out.push(Output::Check(offer.proposal.clone()));
            }
            Known::Asked => {}
            Known::No => self.fetch(now, offer.proposal.id, offer.from, out),
            Known::Yes => {
                return self.install(offer.proposal, out);
            }
        }
        self.offer = Some(offer);
    }

    /// A view that others take in gives this node's buckets to them, and it cannot install it: it
    /// does not hear a member. Who has not heard this one for D takes them by F2; it lets go before
    /// they are linked for 2 i (FG1).
    fn consider_letting_go(&mut self, now: Instant, members: NodeSet, out: &mut Outbox<Output>) {
        let Some(behind) = self.behind else { return };
        let due = now >= behind + self.config.interval;
        if due && members.contains(self.config.me) && self.may_leave_its_own(members) {
            self.stand_by(Cause::LeftOut, out);
        }
    }

    /// Tells the kernel; it is said once that is done.
    pub(super) fn install(&mut self, proposal: Proposal, out: &mut Outbox<Output>) {
        let at = self.view.as_ref().map(|view| view.id);
        assert!(Some(proposal.id) > at, "F1: what was promised at a newer view would not hold");
        let keeps = self.stands.is_none();
        self.writing = Some(Writing::install(proposal.clone()));
        out.push(Output::Install { proposal, keeps });
    }

    /// Lets go of everything, and promises nothing below this view, which leaves this node out.
    fn follow(&mut self, now: Instant, proposal: Proposal, out: &mut Outbox<Output>) {
        let id = proposal.id;
        self.view = Some(proposal);
        self.view_at = Some(now);
        match self.stands {
            None => self.stand_by(Cause::LeftOut, out),
            Some(_) => self.speak = true,
        }
        self.stands = Some(Cause::LeftOut);
        out.push(Output::View { id, member: false });
    }

    /// The node knows, or does not, what a view says.
    pub(super) fn checked(&mut self, id: ViewId, known: bool) {
        let offer = self.offer.as_mut().filter(|offer| offer.proposal.id == id);
        if let Some(offer) = offer.filter(|offer| offer.known == Known::Asked) {
            offer.known = if known { Known::Yes } else { Known::No };
        }
    }

    /// The tables of a view are here: what it says is looked at again.
    pub(super) fn check_again(&mut self) {
        if let Some(offer) = &mut self.offer {
            offer.known = Known::NotAsked;
        }
    }

    /// The kernel does what it was told.
    pub(super) fn written(&mut self, now: Instant, id: ViewId, ok: bool, out: &mut Outbox<Output>) {
        let Some(writing) = self.writing.take_if(|writing| writing.id == id) else { return };
        let Some(proposal) = writing.proposal else {
            if !ok && self.stands.is_none() {
                self.stand_by(Cause::Unable, out);
            }
            return;
        };
        // A view that was followed meanwhile is newer: nothing is installed below it.
        if self.view.as_ref().is_some_and(|view| view.id >= id) {
            return;
        }
        let linked = proposal.set().without(self.config.me).iter().all(|node| self.is_linked(node));
        self.view = Some(proposal);
        self.view_at = Some(now);
        self.barren.clear();
        self.behind = None;
        self.full = false;
        let cause = match (ok, writing.void || !self.is_fit()) {
            (false, _) => Some(Cause::Unable),
            (true, true) => Some(self.stands.unwrap_or(Cause::Unable)),
            (true, false) if !linked => Some(Cause::LeftOut),
            (true, false) => None,
        };
        if let Some(cause) = cause {
            self.stand_by(cause, out);
        } else {
            self.stands = None;
            self.lease = None;
            self.speak = true;
            self.make_own(id);
        }
        out.push(Output::View { id, member: self.stands.is_none() });
        self.pass_on(now, out);
    }
}
