//! Pull: the tables of a view, from a node that has them.

use ha_proto::{Instant, NodeId, NodeSet, Outbox};

use super::message::Gathering;
use crate::group::{Group, Output, Part, Pull, Said, ViewId};

/// Tables that are being pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    id: ViewId,
    from: NodeId,
    gathering: Option<Gathering>,
    /// The parts below are asked for.
    asked: u16,
    pub(super) again: Instant,
    until: Instant,
    /// Who was asked and did not give them.
    tried: NodeSet,
}

impl Group {
    /// Pulls the tables of a view, if they are not pulled already.
    pub(super) fn fetch(
        &mut self,
        now: Instant,
        id: ViewId,
        from: NodeId,
        out: &mut Outbox<Output>,
    ) {
        if self.fetch.as_ref().is_some_and(|fetch| fetch.id == id && self.is_linked(fetch.from)) {
            return;
        }
        self.fetch_from(now, id, from, NodeSet::EMPTY, out);
    }

    fn fetch_from(
        &mut self,
        now: Instant,
        id: ViewId,
        from: NodeId,
        tried: NodeSet,
        out: &mut Outbox<Output>,
    ) {
        // Whoever does not hear the question says so by then, unless it is not heard itself.
        let until = now + self.config.timeout() + self.config.interval + Self::RESEND;
        let gathering = None;
        let fetch = Fetch { id, from, gathering, asked: 0, again: now, until, tried };
        self.fetch = Some(fetch);
        self.ask(now, out);
    }

    /// Who else has the tables of a view: a member that is at it.
    fn holder(&self, id: ViewId, tried: NodeSet) -> Option<NodeId> {
        let has = |(node, said): &(NodeId, &Said)| {
            said.view == Some(id) && said.members.contains(*node) && !tried.contains(*node)
        };
        self.linked().find(has).map(|(node, _)| node)
    }

    /// Asks for the next parts that are missing.
    fn ask(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let boot = self.boot;
        let Some(fetch) = &mut self.fetch else { return };
        let part = fetch.gathering.as_ref().and_then(Gathering::missing).unwrap_or(0);
        let left = fetch.gathering.as_ref().map_or(1, |gathering| gathering.total() - part);
        let count = left.min(Pull::COUNT_MAX);
        fetch.asked = part + count;
        fetch.again = now + Self::RESEND;
        let pull = Pull { boot, id: fetch.id, part, count };
        out.push(Output::Pull { to: fetch.from, pull });
    }

    /// A part came.
    pub(super) fn fetched(
        &mut self,
        now: Instant,
        from: NodeId,
        part: &Part,
        out: &mut Outbox<Output>,
    ) {
        let genuine = self.peers.get(&from).is_some_and(|peer| peer.boot == Some(part.boot));
        let fetch = self.fetch.as_mut().filter(|fetch| fetch.id == part.id && fetch.from == from);
        let Some(fetch) = fetch.filter(|_| genuine) else { return };
        let gathering = fetch.gathering.get_or_insert_with(|| Gathering::new(part.id, part.parts));
        gathering.add(part);
        if let Some(parts) = gathering.whole() {
            let id = part.id;
            self.fetch = None;
            self.check_again();
            out.push(Output::Tables { id, parts });
        } else if gathering.missing() >= Some(fetch.asked) {
            self.ask(now, out);
        }
    }

    /// Asks again, or somebody else, or gives up.
    pub(super) fn fetch_again(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let Some(fetch) = &self.fetch else { return };
        let last = self.peers.get(&fetch.from).and_then(|peer| peer.last);
        let quiet = last.is_some_and(|last| now >= last + self.config.interval * 2);
        if now >= fetch.until && !quiet || !self.is_linked(fetch.from) {
            let (id, tried) = (fetch.id, fetch.tried.with(fetch.from));
            self.fetch = None;
            match self.holder(id, tried) {
                Some(from) => self.fetch_from(now, id, from, tried, out),
                None => self.give_up(id),
            }
        } else if now >= fetch.again {
            self.ask(now, out);
        }
    }
}
