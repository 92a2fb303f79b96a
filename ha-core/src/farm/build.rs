//! Views made, checked, and found to be out of date.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use ha_farm::{Mac, Rule};
use ha_heartbeat::group::{self, Proposal, State, ViewId};
use ha_proto::{Deadline, Instant, NodeId, NodeSet};

use crate::farm::body::{Body, Facts, Share, WHOLE, accord};
use crate::farm::newer::is_newer;
use crate::farm::tables::Tables;
use crate::farm::{App, Event, Farm, Ruling, Told, Warm};

impl Farm {
    /// Makes a view (F4), from the tables of `base`.
    pub(super) fn build(
        &mut self,
        now: Instant,
        id: ViewId,
        members: NodeSet,
        base: Option<ViewId>,
        taken: Option<ViewId>,
    ) -> group::Input {
        let known = |id: &ViewId| self.shelf.get(*id).is_some();
        let unknown = [base, taken].into_iter().flatten().find(|id| !known(id));
        if let Some(base) = unknown {
            return group::Input::Lacks { id, base };
        }
        let ruling = self.next_ruling(members).unwrap_or(&self.rules).clone();
        let shares: BTreeMap<_, _> =
            members.iter().map(|node| (node, self.share(now, node, &ruling))).collect();
        let settled = self.settled(now, id.counter);
        let over = |counter: u64| counter <= settled;
        let left = |&until: &Instant| until.saturating_since(now);
        let drains = self.drains.iter().filter(|(counter, _)| !over(**counter));
        // Of what is not listed those who know keep the time, and who joins gives it a whole drain.
        let drains = drains.take(Body::DRAINS_MAX);
        let drains: BTreeMap<u64, Duration> =
            drains.map(|(&counter, until)| (counter, left(until))).collect();
        let body = Body {
            base,
            taken,
            settled,
            digest: 0,
            accord: ruling.accord,
            announcer: self.announcer(members, base),
            members: shares,
            drains,
            strangers: self.strangers(now, members),
        };
        let tables = self.compute(id, &body).expect("the tables that it comes from are known");
        let body = body.of(&tables);
        self.shelf.put(id, tables, self.present.as_ref().map(|present| present.id));
        group::Input::Built { id, body: body.encode() }
    }

    /// The hardware addresses of those that are not among these, and may still hand on by a view of
    /// before: it is not long that they were heard, here or where the present view was made.
    fn strangers(&self, now: Instant, members: NodeSet) -> BTreeMap<NodeId, Mac> {
        let lately = |at: Instant| now < at + self.config.timing.timeout() * 2;
        let heard = |node: NodeId| self.group.peer(node).and_then(|peer| peer.last);
        let young = self.present.as_ref().filter(|present| lately(present.since));
        let mut known = self.macs(self.present.as_ref().map(|present| &present.body));
        known.retain(|node, _| {
            let told = young.is_some_and(|young| young.body.strangers.contains_key(node));
            !members.contains(*node) && (told || heard(*node).is_some_and(lately))
        });
        known
    }

    /// Whether the tables that follow from a proposal are those that its coordinator has.
    pub(super) fn check(&mut self, proposal: &Proposal) -> Option<group::Input> {
        let id = proposal.id;
        self.offered = Some(id);
        let Ok(body) = Body::decode(&proposal.body, proposal.set()) else {
            // Who passes a view on passes on what its maker wrote; which may have gone since.
            let boot = self.group.peer(id.coordinator).and_then(|peer| peer.boot);
            if is_newer(&proposal.body, Body::VERSION) && boot.is_none_or(|boot| boot == id.boot) {
                self.tell_newer(id.coordinator);
                self.cannot_read(id.coordinator);
            }
            return None;
        };
        // Other rules than this node has: it cannot be a member, whatever it pulls.
        let rules = &self.ruling(body.accord)?.rules;
        if body.members.values().any(|share| share.weights.len() != rules.len()) {
            return None;
        }
        let present = self.present.as_ref().map(|present| present.id);
        let known = match self.shelf.get(id) {
            Some(tables) => tables.digest == body.digest && tables.rules == *rules,
            None => match self.compute(id, &body) {
                Some(tables) if tables.digest == body.digest => {
                    self.shelf.put(id, tables, present);
                    true
                }
                Some(_) | None => false,
            },
        };
        Some(group::Input::Checked { id, known })
    }

    /// The tables that a view says; `None` when those that they come from are not here.
    fn compute(&self, id: ViewId, body: &Body) -> Option<Tables> {
        let ruling = self.ruling(body.accord)?;
        let (services, buckets) = (ruling.rules.len(), self.config.policy.buckets);
        // Of other rules or not: what stays has its tables.
        let arranged = |view: ViewId| {
            self.shelf.get(view).map(|tables| tables.for_rules(&ruling.rules, buckets))
        };
        let base = match body.base {
            None => Tables::blank(services, buckets),
            Some(base) => arranged(base)?,
        };
        let taken = match body.taken {
            None => None,
            Some(taken) => Some(arranged(taken)?),
        };
        let (counter, settled, taken) = (id.counter, body.settled, taken.as_deref());
        Some(Tables::next(&base, taken, counter, settled, &body.members, &ruling.rules))
    }

    /// What a node wishes the next view, of these rules, to say of it. What it tells is in the order
    /// of those that are in force there; a service that it has not told of yet gets what it wishes
    /// for most, until it does.
    fn share(&self, now: Instant, node: NodeId, ruling: &Ruling) -> Share {
        if node == self.me() {
            return self.own_share(now, ruling);
        }
        let told = self.facts.get(&node).map(|facts| &facts.share);
        let (mac, told) = told.map_or((None, &[][..]), |told| (told.mac, &told.weights));
        let most = told.iter().copied().max().unwrap_or(WHOLE);
        let said = self.group.peer(node).and_then(|peer| peer.said);
        let of = said.map_or(Some(&self.rules), |said| self.ruling(said.accord));
        let of = of.map_or(&[][..], |of| &of.rules);
        let weight = |rule: &Rule| {
            let at = of.iter().position(|known| known == rule);
            at.and_then(|at| told.get(at)).copied().unwrap_or(most)
        };
        Share { mac, weights: ruling.rules.iter().map(weight).collect() }
    }

    fn own_share(&self, now: Instant, ruling: &Ruling) -> Share {
        let drained = self.is_drained();
        let warmth = self.warmth(now);
        let weight = |&weight: &u16| if drained { 0 } else { weight * warmth };
        let weights = ruling.weights.iter().map(weight).collect();
        Share { mac: self.config.policy.mac, weights }
    }

    /// Whether this node takes no new clients, for whichever reason.
    pub(super) fn is_drained(&self) -> bool {
        self.asked.drain || !self.asked.gate || !self.asked.checked
    }

    /// The counter up to which all has drained: it goes up, in order.
    fn settled(&self, now: Instant, counter: u64) -> u64 {
        if self.config.policy.drain.is_zero() {
            return counter;
        }
        let before = self.present.as_ref().map_or(0, |present| present.body.settled);
        let over = self.drains.iter().take_while(|(_, until)| **until <= now);
        let over = over.map(|(&counter, _)| counter).last().unwrap_or(0);
        before.max(over)
    }

    /// It stays who it is as long as it is a member; else it is the lowest one.
    fn announcer(&self, members: NodeSet, base: Option<ViewId>) -> NodeId {
        let present = self.present.as_ref().filter(|present| Some(present.id) == base);
        let told = || {
            let at = |&node: &NodeId| {
                let said = self.group.peer(node).and_then(|peer| peer.said);
                said.is_some_and(|said| base.is_some() && said.view == base)
            };
            let facts = self.others().filter(at).find_map(|node| self.facts.get(&node));
            facts.and_then(|facts| facts.announcer)
        };
        let before = present.map(|present| present.body.announcer).or_else(told);
        let lowest = members.iter().next().expect("a view has its coordinator as a member");
        before.filter(|&node| members.contains(node)).unwrap_or(lowest)
    }

    /// The rules that wait, once every one of these has them.
    fn next_ruling(&self, members: NodeSet) -> Option<&Ruling> {
        let next = self.next.as_ref()?;
        let ready = |node: NodeId| {
            let said = self.group.peer(node).and_then(|peer| peer.said);
            said.is_some_and(|said| said.next == next.accord || said.accord == next.accord)
        };
        let all = members.without(self.me()).iter().all(ready);
        all.then_some(next)
    }

    /// Whether the next view would say something else of the same members.
    fn is_wanted(&self, now: Instant) -> bool {
        let Some(present) = &self.present else { return false };
        let body = &present.body;
        let members: NodeSet = body.members.keys().copied().collect();
        let shares = body.members.iter();
        let other =
            |(&node, share): (&NodeId, &Share)| self.share(now, node, &self.rules) != *share;
        let known = |node: NodeId| node == self.me() || self.facts.contains_key(&node);
        let drained = self.drains.values().next().is_some_and(|&until| until <= now);
        drained
            || self.next_ruling(members).is_some()
            || shares.filter(|(node, _)| known(**node)).any(other)
    }

    /// Tells the group what has changed of this node.
    pub(super) fn tell(&mut self, now: Instant) {
        let wanted = self.is_wanted(now);
        if self.told.wanted && !wanted {
            // First of all: whatever it is told, it may propose what was taken back.
            self.told.wanted = false;
            self.drive(now, group::Input::Wanted(false));
        }
        let told = self.to_tell(now);
        if told != self.told {
            self.told = told.clone();
            let Told { facts, accord, next, .. } = told;
            self.drive(now, group::Input::Tell { facts, accord, next });
        }
        let clash = self.clash();
        if clash != self.clash {
            self.clash = clash;
            if let Some(node) = clash {
                self.event(Event::MacTwice(node));
            }
        }
        let works = self.broken.is_none() && clash.is_none() && self.later().is_none();
        let able = self.app == App::Runs && !self.asked.stopped && works;
        if able != self.told.able {
            self.told.able = able;
            self.drive(now, group::Input::Able(able));
        }
        let wanted = self.is_wanted(now);
        if wanted != self.told.wanted {
            self.told.wanted = wanted;
            self.drive(now, group::Input::Wanted(wanted));
        }
        if self.warm != Warm::Done && self.warmth(now) == WHOLE {
            self.warm = Warm::Done;
        }
    }

    /// What this node is to say of itself by now; the rest was told.
    pub(super) fn to_tell(&self, now: Instant) -> Told {
        let share = self.own_share(now, &self.rules);
        let announcer = self.present.as_ref().map(|present| present.body.announcer);
        let facts = Facts { share, announcer }.encode();
        let accord = self.rules.accord;
        let next = self.next.as_ref().map_or(accord, |next| next.accord);
        Told { facts, accord, next, ..self.told.clone() }
    }

    /// Another member with this node's hardware address that goes before it: no filter could tell
    /// them apart (F9). Who takes goes before who does not, then the lower id.
    fn clash(&self) -> Option<NodeId> {
        let mac = self.config.policy.mac?;
        let takes = self.group.stands_by().is_none();
        let mut others = self.facts.iter().filter(|(_, facts)| facts.share.mac == Some(mac));
        let found = others.find(|(node, _)| {
            let said = self.group.peer(**node).filter(|peer| peer.heard).and_then(|peer| peer.said);
            said.is_some_and(|said| match said.state {
                State::Unable => false,
                State::Takes => !takes || **node < self.me(),
                State::Nothing | State::Waits => !takes && **node < self.me(),
            })
        });
        found.map(|(&node, _)| node)
    }

    /// When this node has something to do that the group knows nothing of.
    pub(super) fn own_deadline(&self, now: Instant) -> Option<Deadline> {
        let after = |at: Instant, why| (at > now).then_some(Deadline { at, why });
        let drains = self.drains.values().filter(|&&at| at > now);
        let drain = drains.min().map(|&at| Deadline { at, why: "a drain ends" });
        let warm = match self.warm {
            Warm::Cold | Warm::Done => None,
            Warm::Since(since) => {
                let step = self.warm_step();
                after(since + step * u32::from(self.warmth(now)), "it is warmer")
            }
        };
        let broken = self.broken.and_then(|at| after(at, "tries the filter again"));
        [drain, warm, broken].into_iter().fold(None, Deadline::sooner)
    }

    /// The weights that a view says, by service.
    pub(super) fn weights_of(body: &Body, service: usize) -> BTreeMap<NodeId, u16> {
        let weight = |(&node, share): (&NodeId, &Share)| {
            (node, share.weights.get(service).copied().unwrap_or(0))
        };
        body.members.iter().map(weight).collect()
    }

    /// Rules that wait for the others, and the weights in them, by the file.
    pub(super) fn offer_rules(&mut self, rules: Vec<Rule>, weights: Vec<u16>) {
        self.configured.clone_from(&weights);
        let accord = accord(&self.config, &rules);
        let ruling = Ruling { rules, weights, accord };
        if ruling.accord == self.rules.accord {
            self.next = None;
            self.rules = ruling;
        } else {
            self.next = Some(ruling);
            if self.present.is_none() && self.flight.is_none() {
                // Nobody relies on the old ones.
                self.rules = self.next.take().expect("they were just put there");
                self.event(Event::Rules);
            }
        }
    }

    /// The rules that are in force here, and those that wait for the others.
    pub(super) fn rulings_mut(&mut self) -> impl Iterator<Item = &mut Ruling> {
        [Some(&mut self.rules), self.next.as_mut()].into_iter().flatten()
    }
}
