//! What an operator's override makes of the world, as observers see it.

use ha_core::Saved;
use ha_proto::{Epoch, Membership, Position};

use super::World;
use crate::check::Seen;
use crate::overruled::Overruled;
use crate::trace::Column;

impl World {
    /// A saved file was replaced: whether an override begins with it.
    pub(super) fn observe_override(&mut self, node: usize, old: &Saved) {
        let new = self.scene.nodes[node].disk.saved.membership;
        let forced = new.epoch.is_override() && new.holder == self.scene.nodes[node].id;
        if self.scene.has_arbiter() && forced && new.epoch > old.membership.epoch {
            self.overrule(node, new.epoch);
            self.scene.nodes[node].lost_storage = false;
            self.all_gaps();
            self.note(Column::World, || format!("overridden by node {node}: {new}"));
            self.show(&Seen::Overridden { node });
        }
    }

    /// Whether the newest override is over now, or heard of: looked at before every check.
    pub(super) fn follow_override(&mut self) {
        let Some(mut over) = self.scene.overruled else { return };
        let nodes = &self.scene.nodes;
        let (forced, other) = (&nodes[over.node], &nodes[1 - over.node]);
        let head = other.disk.log.head();
        let apart = |end: &Position| over.deaf || *end == head;
        let tail = over.tail.filter(apart).map(|_| head);
        over.tail = tail.filter(|end| !forced.disk.log.has(end.seq, end.chain));
        if !over.open {
            let now = self.scene.now;
            let knows = other.disk.saved.membership.epoch >= over.epoch;
            let still = !other.effects.is_moving();
            let quiet = still && !other.host.may_serve() && !other.has_address(now);
            over.deaf &= !(knows && quiet);
        }
        self.scene.overruled = Some(over);
        if over.open {
            self.end_override(over);
        }
    }

    /// W has it; or it was given up, because the other node had a higher epoch of W already: of an
    /// earlier W, maybe, of which only that node knows.
    fn end_override(&mut self, over: Overruled) {
        let told = self.scene.witness.told_record;
        let forced = &self.scene.nodes[over.node];
        // A blank node does not know above what it is forced: W's epoch may be higher before.
        let landed = told.is_some_and(|it| it.is_alone(forced.id) && it.epoch > over.epoch);
        let given_up = forced.disk.saved.membership.epoch > over.epoch && !forced.host.may_serve();
        if !landed && !given_up {
            return;
        }
        let known = forced.disk.saved.membership;
        if !landed && known.epoch.is_override() {
            return self.outbid(known);
        }
        let register = told.unwrap_or(known);
        let winner = self.scene.index(register.holder);
        let epoch = register.epoch;
        self.scene.overruled = Some(Overruled {
            open: false,
            deaf: landed,
            tail: over.tail.filter(|_| landed),
            epoch,
            ..over
        });
        self.all_gaps();
        self.note(Column::World, || format!("override ends, node {winner} holds"));
        self.show(&Seen::OverrideEnds { winner, landed });
    }

    /// Both nodes were forced, and the other one's override is the higher: W has neither yet.
    fn outbid(&mut self, known: Membership) {
        let (node, epoch) = (self.scene.index(known.holder), known.epoch);
        self.overrule(node, epoch);
        self.all_gaps();
        self.note(Column::World, || format!("the override of node {node} stands: {known}"));
        self.show(&Seen::Overridden { node });
    }

    fn overrule(&mut self, node: usize, epoch: Epoch) {
        let tail = Some(self.scene.nodes[1 - node].disk.log.head());
        self.scene.overruled = Some(Overruled { node, epoch, open: true, deaf: true, tail });
    }

    fn all_gaps(&mut self) {
        (0..self.clients.len()).for_each(|client| self.gap(client));
    }

    /// What a client was answered up to now may be given up.
    pub(super) fn gap(&mut self, client: usize) {
        self.scene.gaps[client] = self.clients[client].number;
    }
}
