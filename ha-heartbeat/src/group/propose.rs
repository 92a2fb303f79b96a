//! F4: who proposes the next view, when, and to whom it is said again.

use alloc::vec::Vec;

use bytes::Bytes;
use ha_proto::{Instant, NodeId, NodeSet, Outbox};

use super::id::{Ranked, rank};
use crate::group::{Cause, Group, Output, Part, Proposal, Said, State, ViewId};

/// A view that the node was asked to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Building {
    id: ViewId,
    members: NodeSet,
}

/// A view that is said again until everyone names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sending {
    id: ViewId,
    parts: Vec<Part>,
    to: NodeSet,
    pub(super) again: Instant,
    until: Instant,
}

/// The best clique leaves out a member that takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Torn {
    pub(super) since: Instant,
    /// How often it and the clique's members told that they hear each other, at most.
    heard: u32,
}

impl Group {
    /// F4: proposes the view of the best clique, if this node is to and if it would be another one.
    pub(super) fn consider_proposing(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let busy = self.writing.is_some() || self.building.is_some() || self.fetch.is_some();
        if busy || !self.is_fit() {
            return;
        }
        let clique = self.clique();
        let torn = self.is_torn(now, clique);
        if now < self.hold() {
            return;
        }
        let waits = |&node: &NodeId| self.word(node).is_some_and(|said| said.state == State::Waits);
        let first = clique.iter().find(|node| !waits(node));
        // Whether its view is one of its own already or not: it may have been linked then.
        if self.linked().next().is_none() && !self.may_be_alone(now, out) {
            return;
        }
        if first != Some(self.config.me) || !self.is_needed(clique) {
            return;
        }
        if self.is_forestalled(clique) || torn {
            return;
        }
        let interval = self.config.interval;
        let soon = self.view_at.is_some_and(|at| now < at + interval);
        if soon && !self.lost_a_member() {
            return;
        }
        self.ask_for(clique, out);
    }

    /// Whether the members of the next view, or what it says, would be others.
    fn is_needed(&self, clique: NodeSet) -> bool {
        let Some(view) = &self.view else { return true };
        if self.stands.is_some() || self.wanted || view.set() != clique {
            return true;
        }
        self.peers.iter().filter(|(node, _)| clique.contains(**node)).any(|(node, peer)| {
            let said = self.word_of(peer);
            let here = said.is_some_and(|said| said.takes() && said.view == Some(view.id));
            peer.boot != view.members.get(node).copied() || !here
        })
    }

    /// A node that has been linked to nobody for D serves everything, or nothing.
    fn may_be_alone(&mut self, now: Instant, out: &mut Outbox<Output>) -> bool {
        let timeout = self.config.timeout();
        let lonely = self.peers.values().all(|peer| {
            let since = peer.mutual.max(peer.last.filter(|_| peer.said.is_none()));
            since.is_none_or(|since| now >= since + timeout)
        });
        if lonely && !self.config.alone && self.stands.is_none() {
            self.stand_by(Cause::Isolated, out);
        }
        lonely && self.config.alone
    }

    /// The best clique leaves out a node that is linked to this one and takes: it and another one
    /// do not hear each other, or not yet. Whoever joins or dies is heard by each at another time,
    /// and nobody's connections are to break by that (FG4): for D nothing is done. A member of this
    /// node's own view that takes nothing is no different: it yielded to this very view (F3), and
    /// cannot install it as long as one who died is not silent everywhere.
    /// While ever more of them tell that they hear each other, it is about to be mended, and D
    /// counts from there: a beat or two may be lost.
    fn is_torn(&mut self, now: Instant, clique: NodeSet) -> bool {
        let idle = self.stands.is_some() && self.linked().all(|(_, said)| !said.takes());
        let left_out = self.linked().filter(|(node, said)| {
            let has = self.is_member(*node) || idle && said.members.contains(*node);
            let serves = said.takes() || said.state == State::Nothing && has;
            serves && !clique.contains(*node) && self.agrees(said)
        });
        let left_out: NodeSet = left_out.map(|(node, _)| node).collect();
        if left_out == NodeSet::EMPTY {
            self.torn = None;
            return false;
        }
        let heard = self.hear_each_other(left_out, clique);
        let torn = self.torn.get_or_insert(Torn { since: now, heard });
        if heard > torn.heard {
            *torn = Torn { since: now, heard };
        }
        // Nor for one that may have died in that time.
        let lively = self.config.interval * 2;
        let last = |node: NodeId| self.peers.get(&node).and_then(|peer| peer.last);
        let quiet = |node: NodeId| last(node).is_some_and(|last| now >= last + lively);
        now < torn.since + self.config.timeout() || clique.iter().any(quiet)
    }

    /// How many of the one set tell that they hear one of the other, and the other way round.
    fn hear_each_other(&self, some: NodeSet, others: NodeSet) -> u32 {
        let told = |node: NodeId, whom: NodeSet| {
            let hears = self.word(node).map_or(NodeSet::EMPTY, |said| said.hears);
            (hears.bits() & whom.bits()).count_ones()
        };
        let one_way = some.iter().map(|node| told(node, others));
        one_way.chain(others.iter().map(|node| told(node, some))).sum()
    }

    /// Whether this node takes in a view of which another one is a member, in its present boot.
    fn is_member(&self, node: NodeId) -> bool {
        let own = self.view.as_ref().filter(|_| self.stands.is_none());
        let boot = self.peers.get(&node).and_then(|peer| peer.boot);
        boot.is_some() && own.is_some_and(|own| own.members.get(&node).copied() == boot)
    }

    /// No one proposes against a live linked view of better rank.
    fn is_forestalled(&self, clique: NodeSet) -> bool {
        // Its own is none of another's: a member may have restarted, with rules of its own.
        let own = self.view.as_ref().filter(|view| view.members.contains_key(&self.config.me));
        let own = own.map(|view| view.id);
        self.linked().any(|(_, said)| {
            let other = said.view.filter(|_| said.takes() && said.view != own);
            let better = rank(said.members, clique).is_gt();
            better && other.is_some_and(|id| self.is_whole(id, said.members))
        })
    }

    /// A member of the present view fell silent: the next one is made at once. In a view that leaves
    /// this node out that is only whom it has heard since it follows: others, on the far side of a
    /// cut, it did not hear before either, and who passed that view on has not yet said what it
    /// takes by now. What moved by that view would be forgotten (F7).
    fn lost_a_member(&self) -> bool {
        let me = self.config.me;
        self.view.as_ref().is_some_and(|view| {
            let follows = !view.members.contains_key(&me);
            let silent = |&node: &NodeId| !self.hears(node);
            let mut lost = view.set().without(me).iter().filter(silent);
            lost.any(|node| !follows || self.was_heard_here(node))
        })
    }

    /// Whether a node had not fallen silent yet when this one came to its present view.
    fn was_heard_here(&self, node: NodeId) -> bool {
        let last = self.peers.get(&node).and_then(|peer| peer.last);
        last.zip(self.view_at).is_some_and(|(last, at)| at < last + self.config.timeout())
    }

    fn ask_for(&mut self, members: NodeSet, out: &mut Outbox<Output>) {
        let (me, boot) = (self.config.me, self.boot);
        let id = ViewId { counter: self.highest + 1, coordinator: me, boot };
        let base = self.base(members);
        let taken = self.taken(members, base.map(|(_, set)| set));
        self.building = Some(Building { id, members });
        let base = base.map(|(id, _)| id);
        out.push(Output::Build { id, members, base, taken });
    }

    /// The view to go on from: one that is taken in, whole as far as this node can see (what a
    /// member said before a cut may be long over), of the best rank, the newest. A view that this
    /// node took in and has left for the one in which it takes is none, whoever is still there:
    /// what moved since would be forgotten (F7).
    fn base(&self, clique: NodeSet) -> Option<(ViewId, NodeSet)> {
        let takes = self.view.as_ref().filter(|_| self.stands.is_none());
        let left = |id: ViewId| takes.is_some_and(|view| id < view.id) && self.was_own(id);
        let all = self.views(clique).filter(|(_, id, _)| !left(*id)).chain(self.own_view());
        let best = all.max_by_key(|&(takes, id, set)| {
            let whole = takes && self.is_whole(id, set);
            (takes, whole, Ranked(set), id)
        });
        best.map(|(_, id, set)| (id, set))
    }

    /// A group that joins. Often it takes nothing any more: it yielded to the better one (F3) in
    /// the moment in which they met; its connections are there all the same.
    fn taken(&self, clique: NodeSet, base: Option<NodeSet>) -> Option<ViewId> {
        let base = base?;
        let apart = |set: NodeSet| set.bits() & base.bits() == 0;
        let groups = self.views(clique).chain(self.own_view());
        let joining = groups.filter(|(_, _, set)| apart(*set));
        let best = joining.max_by_key(|&(takes, id, set)| (takes, Ranked(set), id));
        best.map(|(_, id, _)| id)
    }

    /// The view that this node is at, if it has its tables.
    fn own_view(&self) -> Option<(bool, ViewId, NodeSet)> {
        let view = self.view.as_ref().filter(|view| !self.barren.contains(&view.id))?;
        let member = view.members.contains_key(&self.config.me);
        member.then(|| (self.stands.is_none(), view.id, view.set()))
    }

    /// The views of others whose tables they have.
    fn views(&self, clique: NodeSet) -> impl Iterator<Item = (bool, ViewId, NodeSet)> {
        self.linked().filter_map(move |(node, said): (NodeId, &Said)| {
            let id = said.view.filter(|id| !self.barren.contains(id))?;
            let hopeless = self.barren.len() >= Self::BARREN_MAX;
            let has = !hopeless && clique.contains(node) && said.members.contains(node);
            has.then_some((said.takes(), id, said.members))
        })
    }

    /// The node cannot build from tables that it does not have.
    pub(super) fn lacks(
        &mut self,
        now: Instant,
        id: ViewId,
        base: ViewId,
        out: &mut Outbox<Output>,
    ) {
        if self.building.take_if(|building| building.id == id).is_none() {
            return;
        }
        let holder = self
            .linked()
            .find(|(node, said)| said.view == Some(base) && said.members.contains(*node));
        match holder.map(|(node, _)| node) {
            Some(node) => self.fetch(now, base, node, out),
            None => self.give_up(base),
        }
    }

    /// Nobody gives the tables of this view: the next one is made without them.
    pub(super) fn give_up(&mut self, base: ViewId) {
        let mine = self.view.as_ref().is_some_and(|view| view.id == base);
        if mine || self.barren.len() < Self::BARREN_MAX {
            self.barren.insert(base);
        }
    }

    /// The view is made: it is said, and installed here like anywhere.
    pub(super) fn built(
        &mut self,
        now: Instant,
        id: ViewId,
        body: Bytes,
        out: &mut Outbox<Output>,
    ) {
        let Some(building) = self.building.take_if(|building| building.id == id) else { return };
        let above = self.view.as_ref().is_none_or(|view| id > view.id);
        let boots = building.members.iter().map(|node| {
            let boot = match self.peers.get(&node) {
                Some(peer) => peer.boot,
                None => Some(self.boot),
            };
            boot.map(|boot| (node, boot))
        });
        let members: Option<_> = boots.collect();
        let Some(members) = members.filter(|_| above && self.writing.is_none()) else { return };
        let proposal = Proposal { id, members, body };
        self.highest = self.highest.max(id.counter);
        let to = self.linked().map(|(node, _)| node).collect();
        let parts = proposal.to_parts(self.boot);
        let again = now + Self::RESEND;
        let until = now + self.config.interval;
        self.view_at = Some(now);
        self.offer = None;
        send(to, &parts, out);
        self.sending = Some(Sending { id, parts, to, again, until });
        self.install(proposal, out);
    }

    /// Says a view again to those that do not name it.
    pub(super) fn send_again(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let Some(mut sending) = self.sending.take() else { return };
        let newer = self.view.as_ref().is_some_and(|view| view.id > sending.id);
        let deaf = |&node: &NodeId| {
            self.is_linked(node) && self.word(node).is_none_or(|said| said.view < Some(sending.id))
        };
        sending.to = sending.to.iter().filter(deaf).collect();
        if newer || sending.to.is_empty() || now >= sending.until {
            return;
        }
        if now >= sending.again {
            sending.again = now + Self::RESEND;
            send(sending.to, &sending.parts, out);
        }
        self.sending = Some(sending);
    }

    /// A beat with a lower id is answered by one's own view: by its coordinator, or if the two do
    /// not hear each other, by the lowest member of whom it is otherwise.
    pub(super) fn answer(&mut self, now: Instant, to: NodeId, out: &mut Outbox<Output>) {
        let Some(view) = self.view.as_ref().filter(|_| self.stands.is_none()) else { return };
        let Some(said) = self.word(to).filter(|_| self.is_linked(to)) else {
            return;
        };
        if said.view >= Some(view.id) || now < self.next_answer(to) {
            return;
        }
        let linked = |&node: &NodeId| {
            let hears = |said: &Said| said.hears.contains(to);
            said.hears.contains(node)
                && (node == self.config.me || self.word(node).is_some_and(hears))
        };
        let coordinator = Some(view.id.coordinator).filter(linked);
        let speaker = coordinator.or_else(|| view.set().iter().find(linked));
        if speaker == Some(self.config.me) {
            send(NodeSet::only(to), &view.to_parts(self.boot), out);
        }
    }

    /// Who is not in the view and deaf to its coordinator is told at once, too: until it is at this
    /// view the members wait for it (F2), and its next beat may be an interval away.
    pub(super) fn pass_on(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let Some(members) = self.view.as_ref().map(Proposal::set) else { return };
        let apart = self.linked().map(|(node, _)| node).filter(|node| !members.contains(*node));
        for node in apart.collect::<NodeSet>().iter() {
            self.answer(now, node, out);
        }
    }

    /// While a view is said again anyway, nothing else answers.
    fn next_answer(&self, to: NodeId) -> Instant {
        let sending = self.sending.as_ref().filter(|sending| sending.to.contains(to));
        sending.map_or(Instant::ZERO, |sending| sending.until)
    }
}

fn send(to: NodeSet, parts: &[Part], out: &mut Outbox<Output>) {
    for to in to.iter() {
        for part in parts {
            out.push(Output::Propose { to, part: part.clone() });
        }
    }
}
