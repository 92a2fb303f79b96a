//! What observers see: everything but the machines' opinions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ha_core::farm::Isolated;
use ha_farm::{Filter, Flow, Mode, Protocol};
use ha_proto::{Instant, NodeSet};

use super::client::Client;
use super::clique;
use super::fact::{self, Id, Said};
use super::frame::{self, Segment};
use super::kernel::{self, State};
use super::network::Network;
use super::node::Node;
use super::options::Spans;
use super::plan::Plan;
use super::services::{self, Set};

/// A draining bucket of which nobody saw the move.
pub const UNKNOWN: u64 = u64::MAX;

/// The facts of the world.
#[derive(Debug)]
pub struct Scene {
    /// True nanoseconds since the start.
    pub now: u64,
    /// The durations.
    pub spans: Spans,
    /// How clients' frames reach the members.
    pub mode: Mode,
    /// The sets of services that files say in this history; the first one at first.
    pub sets: Vec<Set>,
    /// Which set an accord is of.
    pub accords: BTreeMap<u64, Set>,
    /// What a member does that hears nobody.
    pub isolated: Isolated,
    /// The members.
    pub nodes: Vec<Node>,
    /// The networks.
    pub network: Network,
    /// The clients.
    pub clients: Vec<Client>,
    /// What views were seen to be: the filter of the first member that said it takes in it.
    pub views: BTreeMap<Id, Arc<Filter>>,
    /// What views were proposed to be.
    pub plans: BTreeMap<Id, Plan>,
    /// The counter of the view that last moved each draining bucket, by view, service and bucket:
    /// 0 where nothing drains, [`UNKNOWN`] where it was not seen.
    pub moved: BTreeMap<Id, Vec<Vec<u64>>>,
    /// When a view of a counter was first taken in.
    pub moved_at: BTreeMap<u64, u64>,
    /// Since when two members are linked, true nanoseconds; by either's number.
    pub linked: Vec<Vec<Option<u64>>>,
    /// When each member was last seen to run and not to be linked to another one that ran: split,
    /// heal, cuts, lost beats.
    pub apart: Vec<u64>,
    /// When each member was last seen to run and to be linked to nobody.
    pub alone: Vec<u64>,
    /// When each member's kernel lost a bucket that it has not got back; by member, service and
    /// bucket. Zero: it lost it never.
    pub lost: Vec<Vec<Vec<u64>>>,
    /// When it last got one back of which the connections had been given up.
    pub back: Vec<Vec<Vec<u64>>>,
    /// How often the buckets changed their owner, by service and bucket, with the times.
    pub moves: Vec<Vec<Vec<u64>>>,
    /// When any kernel's filter was last written.
    pub written_at: u64,
    /// When faults stopped.
    pub calm_at: Option<u64>,
    /// When each member was last told something that moves buckets.
    pub changed_at: Vec<u64>,
    /// When each member was last seen to be linked to anybody.
    pub together: Vec<u64>,
}

impl Scene {
    /// Whether `node` heard `other` within D, as of what it read.
    pub fn hears(&self, node: usize, other: usize) -> bool {
        self.heard_by(node, other, self.nodes[node].local(self.now)).is_some()
    }

    /// The last beat of `other` that `node` read, if that was within D before `at` of its clock.
    fn heard_by(&self, node: usize, other: usize, at: Instant) -> Option<&Said> {
        let heard = self.nodes[node].heard[other].as_ref()?;
        let since = at.saturating_since(heard.at).as_nanos();
        (since < u128::from(self.spans.timeout)).then_some(&heard.said)
    }

    /// The last beat of `other` that `node` read, if it is linked to it: it hears it, and was told
    /// that it is heard.
    pub fn link(&self, node: usize, other: usize) -> Option<&Said> {
        self.link_at(node, other, self.nodes[node].local(self.now))
    }

    /// The same when `node` decided what it says now: a slow write may have come in between.
    pub fn link_then(&self, node: usize, other: usize) -> Option<&Said> {
        self.link_at(node, other, self.nodes[node].acted)
    }

    /// Whether `node` heard `other` within D when it decided what it says now.
    pub fn heard_then(&self, node: usize, other: usize) -> bool {
        self.heard_by(node, other, self.nodes[node].acted).is_some()
    }

    fn link_at(&self, node: usize, other: usize, at: Instant) -> Option<&Said> {
        let said = self.heard_by(node, other, at)?;
        let mutual = said.hears.contains(id(node)) && said.echo(node, self.nodes[node].boot) > 0;
        mutual.then_some(said)
    }

    /// Whether both members run, and are linked as each of them sees it.
    pub fn are_linked(&self, one: usize, other: usize) -> bool {
        let run = self.nodes[one].runs() && self.nodes[other].runs();
        run && self.link(one, other).is_some() && self.link(other, one).is_some()
    }

    /// Whether two members have been linked for so long that they may not take the same (FG1), and
    /// each has heard of the other meanwhile: by what was said before, they can be linked for almost
    /// D across a cut.
    pub fn are_bound(&self, one: usize, other: usize) -> bool {
        let Some(since) = self.linked[one][other] else { return false };
        let heard = |node: usize, other: usize| {
            let last = self.nodes[node].heard[other].as_ref();
            last.is_some_and(|last| last.at >= self.nodes[node].local(since))
        };
        let long = self.now >= since + self.spans.overlap();
        long && self.are_linked(one, other) && heard(one, other) && heard(other, one)
    }

    /// Whether a view that leaves `node` out is whole, by what `node` read when it decided what it
    /// says now: its members hear each other, and none is at a newer one. Of whom it does not hear
    /// it cannot know: the others may be linked to that one.
    pub fn is_whole(&self, node: usize, view: Id, members: NodeSet) -> bool {
        let at = self.nodes[node].acted;
        members.iter().all(|member| {
            let Some(said) = self.heard_by(node, usize::from(member.as_u8()), at) else {
                return true;
            };
            members.without(member).is_subset_of(said.hears) && said.able && said.view <= view
        })
    }

    /// Whether the view that `node` said it is at, as a member, is whole, by what it read when it
    /// decided what it says now. Who restarted is another member, and who has only other rules than
    /// those of the view is none any more.
    pub fn is_own_whole(&self, node: usize, mine: &Said) -> bool {
        // A view that a member makes for itself is told to nobody.
        let boots = self.plans.get(&mine.view).map(|plan| &plan.boots);
        mine.members.without(id(node)).iter().all(|member| {
            let other = usize::from(member.as_u8());
            self.link_then(node, other).filter(|said| said.has(mine.accord)).is_some_and(|said| {
                let hears = mine.members.without(member).is_subset_of(said.hears);
                let same = boots.is_none_or(|boots| boots.get(&other) == Some(&said.boot));
                hears && said.able && said.view <= mine.view && same
            })
        })
    }

    /// The groups that a calm farm is to form (FG3): of members that reach each other over others
    /// the best-ranked clique of those that have common rules, in force or waiting. Who was stopped
    /// in order takes no part.
    pub fn groups(&self) -> Vec<NodeSet> {
        let members = self.nodes.len();
        let takes_part = |node: &usize| self.nodes[*node].stopped == 0;
        let joined = |one: usize| {
            let others = (0..members).filter(|other| *other != one && takes_part(other));
            let joined = others.filter(|other| self.network.joins(one, *other));
            joined.fold(0_u16, |bits, other| bits | 1 << other)
        };
        let adjacent: Vec<u16> = (0..members).map(joined).collect();
        let mut left = (0..members).filter(takes_part).fold(0_u16, |bits, node| bits | 1 << node);
        let mut groups = Vec::new();
        while left != 0 {
            let mut reached = left & left.wrapping_neg();
            let mut before = 0;
            while reached != before {
                before = reached;
                let ways = (0..members).filter(|node| before >> node & 1 == 1);
                reached = ways.fold(before, |bits, node| bits | adjacent[node] & left);
            }
            let group = self.best_agreed(&adjacent, reached);
            assert!(group != NodeSet::EMPTY, "who takes part has said something");
            left &= !self.bound_by(&adjacent, group);
            groups.push(group);
        }
        groups
    }

    /// Who is in a group or stands by for it: whoever is linked to one of it, or to one that is
    /// bound by it and has common rules. Who is linked to it only through one with other rules does
    /// not know of it.
    fn bound_by(&self, adjacent: &[u16], group: NodeSet) -> u16 {
        let agree = |one: usize, other: usize| {
            let said = [one, other].map(|node| self.nodes[node].said.as_ref());
            matches!(said, [Some(one), Some(other)] if one.agrees(other))
        };
        let members = 0..self.nodes.len();
        let of = |bits: u16| members.clone().filter(move |node| bits >> node & 1 == 1);
        let group = group.iter().fold(0_u16, |bits, node| bits | 1 << node.as_u8());
        let (mut bound, mut before) = (group, 0);
        while bound != before {
            before = bound;
            for node in of(before) {
                let tied = of(adjacent[node]).filter(|other| agree(node, *other));
                bound |= tied.fold(0, |bits, other| bits | 1 << other);
            }
        }
        of(group).fold(bound, |bits, node| bits | adjacent[node])
    }

    /// The best-ranked clique of those that said last that they have the same rules; of equal ones
    /// that where they are in force.
    fn best_agreed(&self, adjacent: &[u16], within: u16) -> NodeSet {
        let said = |node: usize| self.nodes[node].said.as_ref();
        let nodes = || (0..self.nodes.len()).filter(|node| within >> node & 1 == 1);
        let of = |accord: u64| {
            let have = nodes().filter(|node| said(*node).is_some_and(|said| said.has(accord)));
            let best = clique::best(adjacent, 0, have.fold(0, |bits, node| bits | 1 << node));
            let there = |node: &usize| said(*node).is_some_and(|said| said.accord == accord);
            let inside = nodes().filter(|node| best.contains(id(*node)));
            (best.len(), inside.filter(there).count(), best)
        };
        let accords = nodes().filter_map(said).flat_map(|said| [said.accord, said.next]);
        let all = accords.collect::<BTreeSet<_>>().into_iter().map(of);
        let better = |best: (u32, usize, NodeSet), one: (u32, usize, NodeSet)| {
            let order = (one.0, one.1).cmp(&(best.0, best.1));
            let better = order.is_gt() || order.is_eq() && fact::ranks_better(one.2, best.2);
            if better { one } else { best }
        };
        all.fold((0, 0, NodeSet::EMPTY), better).2
    }

    /// The services in force in a group, by the kernel of its first member.
    pub fn services(&self, group: NodeSet) -> Set {
        let first = group.iter().next().map(|node| &self.nodes[usize::from(node.as_u8())]);
        let filter = first.and_then(|node| node.kernel.filter.as_ref());
        filter.map_or_else(Vec::new, |filter| services::set(filter).collect())
    }

    /// A member forgets whom it heard.
    pub(super) fn forget(&mut self, node: usize) {
        for other in 0..self.nodes.len() {
            self.nodes[node].heard[other] = None;
            self.unlink(node, other);
        }
    }

    /// Two members are not linked any more.
    pub(super) fn unlink(&mut self, one: usize, other: usize) {
        self.linked[one][other] = None;
        self.linked[other][one] = None;
    }

    /// Whether a member's kernel takes anything now.
    pub fn is_open(&self, node: usize) -> bool {
        let here = &self.nodes[node];
        here.up && here.kernel.is_open(here.local(self.now))
    }

    /// Whether a member's kernel takes every bucket.
    pub fn takes_all(&self, node: usize) -> bool {
        let Some(filter) = &self.nodes[node].kernel.filter else { return false };
        let mut words = services::rows(filter).flat_map(|(_, words)| words);
        words.all(|word| word & Filter::TAKE != 0)
    }

    /// The first bucket that both kernels take now.
    pub fn overlap(&self, one: usize, other: usize) -> Option<(usize, usize)> {
        let open = self.is_open(one) && self.is_open(other);
        if open { self.filters_overlap(one, other) } else { None }
    }

    /// The first bucket that both kernels' filters take, whether their leases run or not.
    pub fn filters_overlap(&self, one: usize, other: usize) -> Option<(usize, usize)> {
        if one == other {
            return None;
        }
        let (one, other) = (&self.nodes[one].kernel, &self.nodes[other].kernel);
        let (one, other) = (one.filter.as_ref()?, other.filter.as_ref()?);
        services::rows(one).find_map(|(service, words)| {
            let both = words.iter().zip(services::row(other, service)?);
            let mut both = both.map(|(one, other)| one & other & Filter::TAKE != 0);
            both.position(|both| both).map(|bucket| (service, bucket))
        })
    }

    /// The service and the bucket of a flow, by the rules in force in a member's kernel.
    pub fn place_at(&self, node: usize, flow: &Flow) -> Option<(usize, usize)> {
        let filter = self.nodes[node].kernel.filter.as_ref()?;
        let to = match self.mode {
            Mode::Invisible => frame::VIRTUAL,
            Mode::Directed => frame::mac(node),
        };
        let frame = match flow.protocol {
            Protocol::Tcp => frame::tcp(frame::CLIENT, to, flow, Segment::Ack),
            Protocol::Udp => frame::udp(frame::CLIENT, to, flow),
        };
        let place = filter.examine(&frame, true, &mut kernel::Table::default()).place?;
        let service = services::of(&filter.setup().rules[usize::from(place.service)]);
        Some((service, usize::from(place.bucket)))
    }

    /// When the view was first taken in by which the last table with this member as a previous
    /// owner of the bucket says that it drains: its kernel may have got that table later, from the
    /// next view, and the drain ends by the first (F8).
    pub fn moved_from(&self, node: usize, service: usize, bucket: usize) -> Option<u64> {
        let was = |(_, filter): &(&Id, &Arc<Filter>)| {
            let word = services::word(filter, service, bucket);
            owner(word) == Some(node) || word & Filter::DRAIN != 0 && was_owner(word, node)
        };
        let (view, filter) = self.views.iter().rev().find(was)?;
        if owner(services::word(filter, service, bucket)) == Some(node) {
            return None;
        }
        let counter = self.moved.get(view)?[service].get(bucket)?;
        self.moved_at.get(counter).copied()
    }

    /// How many members have an established socket of this very connection.
    pub fn holders(&self, client: &Client) -> usize {
        let holds = |node: &&Node| {
            let socket = node.kernel.sockets.all.get(&client.flow);
            node.up
                && socket.is_some_and(|socket| {
                    socket.number == client.number && socket.state == State::Established
                })
        };
        self.nodes.iter().filter(holds).count()
    }
}

/// A member's number as its id.
pub fn id(node: usize) -> ha_proto::NodeId {
    ha_proto::NodeId::new(node as u8).expect("a simulated farm has 16 members at most")
}

/// The owner of a bucket, by its word.
pub fn owner(word: u32) -> Option<usize> {
    let [owner, ..] = word.to_le_bytes();
    (owner != Filter::NONE).then_some(usize::from(owner))
}

/// Whether a node is among the previous owners of a bucket, by its word.
pub fn was_owner(word: u32, node: usize) -> bool {
    let [_, last, before, _] = word.to_le_bytes();
    [last, before].contains(&(node as u8))
}

/// Whether two filters are of the same services, and give the buckets to the same members.
pub fn same_table(one: &Filter, other: &Filter) -> bool {
    const TABLE: u32 = 0x00ff_ffff | Filter::DRAIN;
    let pairs = services::rows(one).zip(services::rows(other));
    let same = |(one, other): (&u32, &u32)| one & TABLE == other & TABLE;
    services::are_alike(one, other)
        && pairs.into_iter().all(|((_, one), (_, other))| one.iter().zip(other).all(same))
}
