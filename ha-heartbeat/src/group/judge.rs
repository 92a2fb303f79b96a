//! Whom this node hears, which views are whole, to which it yields (F3), and what it may take (F2).

use alloc::vec::Vec;

use ha_proto::{Instant, NodeId, NodeSet, Outbox};

use super::clique::Graph;
use super::id::rank;
use super::install::Writing;
use super::machine::Told;
use super::peer::Peer;
use crate::group::{Cause, Group, Output, Proposal, Said, State, ViewId};

impl Group {
    /// Whether a node was heard within D.
    pub fn hears(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|peer| self.is_heard(peer))
    }

    pub(super) fn is_heard(&self, peer: &Peer) -> bool {
        peer.last.is_some_and(|last| self.now < last + self.config.timeout())
    }

    /// What a node that is heard said last.
    pub(super) fn word(&self, node: NodeId) -> Option<&Said> {
        self.word_of(self.peers.get(&node)?)
    }

    pub(super) fn word_of<'a>(&self, peer: &'a Peer) -> Option<&'a Said> {
        peer.said.as_ref().filter(|_| self.is_heard(peer))
    }

    /// Whether each of the two hears the other.
    pub(super) fn is_linked(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|peer| self.link_word(peer).is_some())
    }

    /// What a node said last to which this one is linked.
    fn link_word<'a>(&self, peer: &'a Peer) -> Option<&'a Said> {
        let said = self.word_of(peer).filter(|_| peer.echoes)?;
        said.hears.contains(self.config.me).then_some(said)
    }

    /// All that this node is linked to, with what they said last.
    pub(super) fn linked(&self) -> impl Iterator<Item = (NodeId, &Said)> {
        self.peers.iter().filter_map(|(&node, peer)| Some((node, self.link_word(peer)?)))
    }

    /// Whether a node fell silent: not heard for D by a process that ran so long.
    fn is_silent(&self, node: NodeId) -> bool {
        !self.hears(node) && self.now >= self.awake + self.config.timeout()
    }

    /// Whether this node may be in a view with one that said this.
    pub(super) fn agrees(&self, said: &Said) -> bool {
        said.agrees(self.told.accord, self.told.next)
    }

    /// The best-ranked clique of nodes that have common rules. Two and two may agree where there are
    /// none that all of them have: of these no view could be. For rules that wait nobody is left
    /// out, unless more come in than go.
    pub(super) fn clique(&self) -> NodeSet {
        let Told { accord, next, .. } = self.told;
        let now = self.graph(accord).best(self.config.me);
        if next == accord {
            return now;
        }
        let then = self.graph(next).best(self.config.me);
        if then.len() > now.len() { then } else { now }
    }

    /// Who could be in a view of these rules with whom. Computed after every beat: bits are looked
    /// up, not maps.
    fn graph(&self, accord: u64) -> Graph {
        let mut graph = Graph::new();
        let me = self.config.me;
        graph.link(me, me);
        let fit = |said: &Said| said.state != State::Unable && said.has(accord);
        let linked: Vec<(NodeId, &Said)> = self.linked().filter(|(_, said)| fit(said)).collect();
        for (at, (node, said)) in linked.iter().enumerate() {
            graph.link(me, *node);
            graph.link(*node, *node);
            for (other, heard) in &linked[..at] {
                let mutual = said.hears.contains(*other) && heard.hears.contains(*node);
                if mutual {
                    graph.link(*node, *other);
                }
            }
        }
        graph
    }

    /// *Whole*: the members of a view are linked, and none is at a newer one, as far as this node
    /// can see. What two nodes that it does not hear are to each other it cannot.
    pub(super) fn is_whole(&self, id: ViewId, members: NodeSet) -> bool {
        let me = self.config.me;
        let mine = self.view.as_ref().map(|view| view.id);
        if members.contains(me) && (!self.is_fit() || mine > Some(id)) {
            return false;
        }
        members.iter().filter(|&node| node != me).all(|node| {
            let Some(said) = self.word(node) else { return !members.contains(me) };
            let linked = !members.contains(me) || self.is_linked(node);
            let others = members.without(node).without(me);
            let agree = !members.contains(me) || self.agrees(said);
            let able = said.state != State::Unable;
            linked && agree && able && others.is_subset_of(said.hears) && said.view <= Some(id)
        })
    }

    /// Whether the view that this node takes in is whole, each member in its boot, and with the
    /// rules of that view: whoever has only later ones will not come to it.
    pub(super) fn is_own_whole(&self, view: &Proposal) -> bool {
        let has = |node| self.word(node).is_some_and(|said| said.has(self.told.accord));
        let rules = view.set().without(self.config.me).iter().all(has);
        let boots = view.members.iter().all(|(node, boot)| match self.peers.get(node) {
            Some(peer) => peer.boot == Some(*boot),
            None => *boot == self.boot,
        });
        boots && rules && self.is_whole(view.id, view.set())
    }

    /// F3: takes nothing while a node that it is linked to takes in a view that goes before its own.
    pub(super) fn consider_yielding(&mut self, out: &mut Outbox<Output>) {
        if self.stands.is_some() {
            return;
        }
        let Some(mine) = &self.view else { return };
        let (id, members) = (mine.id, mine.set());
        let yields = self.linked().find_map(|(_, said)| {
            let other = said.view.filter(|&other| said.takes() && other != id)?;
            let better = rank(said.members, members).is_gt();
            let strange = better && !self.was_own(other);
            let left_out = !said.members.contains(self.config.me)
                && (better || !self.is_own_whole(mine))
                && self.is_whole(other, said.members);
            (strange || left_out).then_some(other)
        });
        if let Some(other) = yields {
            self.stand_by(Cause::Yields(other), out);
        }
    }

    /// A view of which a member is at a newer one will not be whole again. Whoever is not in a next
    /// one for D + i leaves it: nobody whom it hears may want it in one, and as long as it takes,
    /// others yield to it (F3).
    pub(super) fn consider_leaving(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let view = self.view.as_ref().filter(|_| self.stands.is_none());
        let over = view.is_some_and(|view| {
            let newer = |said: &Said| said.view > Some(view.id);
            self.linked().any(|(node, said)| view.members.contains_key(&node) && newer(said))
        });
        if !over {
            self.outlived = None;
            return;
        }
        let since = *self.outlived.get_or_insert(now);
        if now >= since + self.config.timeout() + self.config.interval {
            self.stand_by(Cause::LeftOut, out);
        }
    }

    /// Whether F3 would take away at once what a view of these members gives: a node that this one
    /// is linked to takes in a better one. Where two cliques share a member, and neither sees the
    /// other, that member would go to and fro between them for ever.
    pub(super) fn would_yield(&self, id: ViewId, members: NodeSet) -> bool {
        self.linked().any(|(_, said)| {
            let Some(other) = said.view.filter(|&other| said.takes() && other != id) else {
                return false;
            };
            let strange = !self.was_own(other);
            let out = !said.members.contains(self.config.me) && self.is_whole(other, said.members);
            rank(said.members, members).is_gt() && (strange || out)
        })
    }

    /// F2: whom this node waits for before it takes what it did not take before.
    pub fn waits_for(&self) -> NodeSet {
        let Some(view) = &self.view else { return NodeSet::EMPTY };
        let at = Some(view.id);
        let busy = self.linked().filter(|(_, said)| {
            let same = said.view == at;
            let promised = !said.takes() && said.view > at;
            !same && !promised
        });
        let unsure = view.members.keys().copied().filter(|&member| {
            member != self.config.me && !self.is_linked(member) && !self.is_silent(member)
        });
        busy.map(|(node, _)| node).chain(unsure).collect()
    }

    pub(super) fn consider_taking(&mut self, out: &mut Outbox<Output>) {
        let idle = self.stands.is_none() && !self.full && self.writing.is_none();
        let Some(view) = self.view.as_ref().filter(|_| idle) else { return };
        if self.waits_for().is_empty() {
            self.full = true;
            out.push(Output::Take(view.id));
            self.writing = Some(Writing::take(view.id));
        }
    }

    /// Tells who became linked or agrees, and who no more.
    pub(super) fn tell_links(&mut self, out: &mut Outbox<Output>) {
        let differs = |(&node, peer): (&NodeId, &Peer)| {
            let linked = self.link_word(peer).is_some();
            let disagrees = self.word_of(peer).map_or(peer.disagrees, |said| !self.agrees(said));
            let same = (linked, disagrees) == (peer.linked, peer.disagrees);
            (!same).then_some((node, linked, disagrees))
        };
        let changes: Vec<_> = self.peers.iter().filter_map(differs).collect();
        for (node, linked, disagrees) in changes {
            let peer = self.peers.get_mut(&node).expect("it is a key of the map");
            if peer.linked != linked {
                peer.linked = linked;
                // Whoever comes back can be asked for its tables again.
                let holds = peer.said.filter(|said| linked && said.members.contains(node));
                if let Some(id) = holds.and_then(|said| said.view) {
                    self.barren.remove(&id);
                }
                out.push(if linked { Output::Linked(node) } else { Output::Unlinked(node) });
            }
            if peer.disagrees != disagrees {
                peer.disagrees = disagrees;
                out.push(if disagrees { Output::Disagrees(node) } else { Output::Agrees(node) });
            }
        }
    }
}
