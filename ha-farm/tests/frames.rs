//! What is true of any frame, held against many of them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};

use ha_farm::generate::{Generator, Made};
use ha_farm::{
    Buckets, Decision, Filter, Flow, Hash, HashOn, Mac, Mode, Place, Plan, Protocol, Reason, Rule,
    Setup, Sockets, Table, Uncovered, Verdict,
};
use ha_proto::{NodeId, Prng};

const MEMBERS: u8 = 5;

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn mac(id: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, id])
}

fn rules() -> Vec<Rule> {
    use HashOn::{Addr, AddrPort, IpId, Net};
    use Protocol::{Tcp, Udp};
    let (v4, other, v6) = ("192.0.2.1", "192.0.2.2", "2001:db8::1");
    let rule =
        |vip: &str, ports, protocol, on| Rule { vip: vip.parse().unwrap(), ports, protocol, on };
    vec![
        rule(v4, 80..=81, Tcp, AddrPort),
        rule(v4, 443..=443, Tcp, Addr),
        rule(v4, 53..=53, Udp, IpId),
        rule(v4, 5_000..=5_100, Udp, AddrPort),
        rule(other, 1..=u16::MAX, Tcp, Net { v4: 20, v6: 48 }),
        rule(other, 53..=53, Udp, Addr),
        rule(v6, 80..=80, Tcp, AddrPort),
        rule(v6, 443..=443, Tcp, Net { v4: 20, v6: 48 }),
        rule(v6, 53..=53, Udp, IpId),
    ]
}

fn setup(me: u8, mode: Mode, uncovered: Uncovered) -> Setup {
    let macs = (0..MEMBERS).map(|id| (node(id), mac(id))).collect();
    let hash = Hash::Sip { key: [9; 16] };
    Setup { me: node(me), mode, uncovered, hash, rules: rules(), macs }
}

/// The live sockets of one member, each with its bucket.
#[derive(Clone, Debug, Default)]
struct Live(BTreeMap<Flow, Place>);

impl Sockets for Live {
    fn live(&self, flow: &Flow) -> bool {
        self.0.contains_key(flow)
    }

    fn release(&mut self, flow: &Flow) {
        self.0.remove(flow);
    }
}

/// All members of one view, and the network between them.
struct Farm {
    mode: Mode,
    tables: Vec<Table>,
    filters: Vec<Filter>,
    sockets: Vec<Live>,
    plan: Plan<'static>,
}

/// What became of one frame.
#[derive(Debug)]
struct Fate {
    takers: Vec<u8>,
    /// Of those who got it, the first one's.
    first: Decision,
}

impl Farm {
    fn new(mode: Mode, uncovered: Uncovered, buckets: Buckets) -> Self {
        let weights = (0..MEMBERS).map(|id| (node(id), 1)).collect();
        let plan = Plan { counter: 1, weights, settled: 0, taken: None };
        let tables = vec![Table::new(buckets).next(&plan); rules().len()];
        let filters = filters(mode, uncovered, &tables);
        let sockets = vec![Live::default(); usize::from(MEMBERS)];
        Self { mode, tables, filters, sockets, plan }
    }

    /// Another view; who can get nothing of a connection any more has its socket closed.
    fn change(&mut self, prng: &mut Prng) {
        self.plan.counter += 1;
        if prng.below(3) == 0 {
            self.plan.settled = self.plan.counter - 1 - prng.below(3).min(self.plan.counter - 1);
        }
        let id = prng.below(u64::from(MEMBERS)) as u8;
        match prng.below(4) {
            0 => drop(self.plan.weights.remove(&node(id))),
            1 => drop(self.plan.weights.insert(node(id), 0)),
            _ => drop(self.plan.weights.insert(node(id), 1 + prng.below(3) as u16)),
        }
        for table in &mut self.tables {
            *table = table.next(&self.plan);
        }
        let uncovered = self.filters[0].setup().uncovered;
        self.filters = filters(self.mode, uncovered, &self.tables);
        for (id, live) in (0..).zip(&mut self.sockets) {
            live.0.retain(|_, place| {
                let bucket =
                    self.tables[usize::from(place.service)].buckets()[usize::from(place.bucket)];
                bucket.owner == Some(node(id)) || bucket.previous.contains(&Some(node(id)))
            });
        }
    }

    /// A frame that a switch brings to all, or to `entry` alone.
    fn receive(&mut self, frame: &[u8], entry: u8) -> Fate {
        match self.mode {
            Mode::Invisible => {
                let decisions: Vec<Decision> = (0..MEMBERS).map(|id| self.ask(id, frame)).collect();
                assert!(decisions.iter().all(|other| other.place == decisions[0].place));
                let takes = |id: &u8| decisions[usize::from(*id)].verdict == Verdict::Accept;
                Fate { takers: (0..MEMBERS).filter(takes).collect(), first: decisions[0] }
            }
            Mode::Directed => self.receive_directed(frame, entry),
        }
    }

    fn receive_directed(&mut self, frame: &[u8], entry: u8) -> Fate {
        let first = self.ask(entry, frame);
        let (to, accept) = match first.verdict {
            Verdict::Forward { to, accept } => (to, accept),
            verdict => {
                let takers = if verdict == Verdict::Accept { vec![entry] } else { vec![] };
                return Fate { takers, first };
            }
        };
        assert!(!to.is_empty() && !to.contains(node(entry)), "it goes round in circles");
        assert!(!(0..MEMBERS).any(|id| frame[6..12] == mac(id).0), "a member's was handed on");
        let mut takers = if accept { vec![entry] } else { vec![] };
        for to in to.iter().map(NodeId::as_u8) {
            let handed = [&mac(to).0[..], &mac(entry).0, &frame[12..]].concat();
            let decision = self.ask(to, &handed);
            assert_eq!(decision.place, first.place);
            match decision.verdict {
                Verdict::Accept => takers.push(to),
                Verdict::Drop(_) => {}
                Verdict::Pass | Verdict::Neighbour | Verdict::Forward { .. } => {
                    panic!("{:?}: handed on once more", decision.verdict)
                }
            }
        }
        Fate { takers, first }
    }

    fn ask(&mut self, id: u8, frame: &[u8]) -> Decision {
        let at = usize::from(id);
        self.filters[at].examine(frame, true, &mut self.sockets[at])
    }

    fn holder(&self, flow: &Flow) -> Option<u8> {
        let holders: Vec<u8> =
            (0..MEMBERS).filter(|id| self.sockets[usize::from(*id)].0.contains_key(flow)).collect();
        assert!(holders.len() <= 1, "{holders:?} all have a socket of {flow:?}");
        holders.first().copied()
    }

    /// What is to become of this packet, by the words of F8; `holder` has its socket.
    fn check_plain(&self, flow: &Flow, flags: u8, holder: Option<u8>, fate: &Fate) {
        let Some(place) = fate.first.place else { panic!("{flow:?} is in no bucket: {fate:?}") };
        let bucket = self.tables[usize::from(place.service)].buckets()[usize::from(place.bucket)];
        let owner = bucket.owner.map(NodeId::as_u8);
        let begins = flags & 0x12 == 0x02;
        let expected = match flow.protocol {
            Protocol::Tcp if bucket.drains() && !begins => holder,
            Protocol::Tcp | Protocol::Udp => owner,
        };
        assert_eq!(fate.takers, expected.as_slice(), "{flow:?} {flags:#x} {holder:?} {bucket:?}");
    }

    /// The taker of a SYN has a connection from then on.
    fn connect(&mut self, flow: &Flow, fate: &Fate) {
        if let [taker] = fate.takers[..] {
            let place = fate.first.place.unwrap();
            self.sockets[usize::from(taker)].0.insert(*flow, place);
            assert_eq!(self.holder(flow), Some(taker));
        }
    }
}

fn filters(mode: Mode, uncovered: Uncovered, tables: &[Table]) -> Vec<Filter> {
    let filter = |me| Filter::new(setup(me, mode, uncovered), tables, |_, _| true).unwrap();
    (0..MEMBERS).map(filter).collect()
}

fn covering(flow: &Flow) -> Option<usize> {
    rules().iter().position(|rule| {
        rule.vip == flow.vip && rule.protocol == flow.protocol && rule.ports.contains(&flow.port)
    })
}

#[test]
fn in_a_settled_view_exactly_one_takes_what_is_a_services() {
    for (seed, uncovered) in [(1, Uncovered::Deny), (2, Uncovered::Pass)] {
        let mut farm = Farm::new(Mode::Invisible, uncovered, Buckets::Many);
        let mut generator = Generator::new(seed, &setup(0, Mode::Invisible, uncovered));
        let mut frame = Vec::new();
        let mut times = [0; MEMBERS as usize];
        for _ in 0..100_000 {
            let made = generator.next(&mut frame);
            let fate = farm.receive(&frame, 0);
            if let Made::Plain { flow, .. } = made {
                let service = fate.first.place.map(|place| usize::from(place.service));
                assert_eq!(service, covering(&flow), "{flow:?}");
                let outside = match uncovered {
                    Uncovered::Deny => Verdict::Drop(Reason::Uncovered),
                    Uncovered::Pass => Verdict::Pass,
                };
                assert!(service.is_some() || fate.first.verdict == outside);
            }
            let expected = usize::from(fate.first.place.is_some());
            assert_eq!(fate.takers.len(), expected, "{made:?} {fate:?} {frame:02x?}");
            if let (Made::Plain { .. }, Some(Place { service: 0, .. })) = (made, fate.first.place) {
                fate.takers.iter().for_each(|id| times[usize::from(*id)] += 1);
            }
        }
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        assert!(least * 10 > most * 8, "{times:?}");
    }
}

/// A history of views, with connections that begin and go on.
fn history(seed: u64, mode: Mode) -> (u64, u64) {
    let mut prng = Prng::new(seed);
    let mut farm = Farm::new(mode, Uncovered::Deny, Buckets::Few);
    let (mut kept, mut released) = (0, 0);
    let mut frame = Vec::new();
    for _ in 0..60 {
        let entry = prng.below(u64::from(MEMBERS)) as u8;
        let known = farm.sockets.iter().flat_map(|live| live.0.keys().copied());
        let known: BTreeSet<Flow> = known.take(Generator::FLOWS_MAX).collect();
        let setup = setup(entry, mode, Uncovered::Deny);
        let mut generator = Generator::new(prng.next_u64(), &setup).with_flows(known);
        for _ in 0..500 {
            let kind = generator.next(&mut frame);
            let flow = match kind {
                Made::Plain { flow, .. } => Some(flow).filter(|flow| covering(flow).is_some()),
                Made::Odd | Made::Cut | Made::Mangled => None,
            };
            let holder = flow.and_then(|flow| farm.holder(&flow));
            let fate = farm.receive(&frame, entry);
            assert!(fate.takers.len() <= 1, "two take one packet: {kind:?} {fate:?} {frame:02x?}");
            if let (Some(flow), Made::Plain { flags, .. }) = (flow, kind) {
                farm.check_plain(&flow, flags, holder, &fate);
                let begins = flow.protocol == Protocol::Tcp && flags & 0x12 == 0x02;
                let other = holder.is_some() && holder != fate.takers.first().copied();
                released += u64::from(begins && other);
                kept += u64::from(!begins && holder.is_some());
                if begins {
                    farm.connect(&flow, &fate);
                }
            }
        }
        farm.change(&mut prng);
    }
    (kept, released)
}

#[test]
fn while_buckets_drain_a_connection_has_one_end() {
    for mode in [Mode::Invisible, Mode::Directed] {
        let (mut kept, mut released) = (0, 0);
        for seed in 0..12 {
            let (more, others) = history(seed, mode);
            kept += more;
            released += others;
        }
        assert!(kept > 10_000 && released > 100, "{kept} kept, {released} released: too few");
    }
}

#[test]
fn directed_has_one_path_for_each_frame() {
    let mut farm = Farm::new(Mode::Directed, Uncovered::Deny, Buckets::Many);
    let mut handed = 0;
    for entry in 0..MEMBERS {
        let setup = setup(entry, Mode::Directed, Uncovered::Deny);
        let mut generator = Generator::new(u64::from(entry), &setup);
        let mut frame = Vec::new();
        for _ in 0..30_000 {
            generator.next(&mut frame);
            let fate = farm.receive(&frame, entry);
            let Some(_) = fate.first.place else { continue };
            let from_member = (0..MEMBERS).any(|id| frame[6..12] == mac(id).0);
            match fate.first.verdict {
                Verdict::Forward { to, accept } => {
                    handed += 1;
                    assert_eq!((to.iter().count(), accept, from_member), (1, false, false));
                    assert_eq!(fate.takers, [to.iter().next().unwrap().as_u8()]);
                }
                Verdict::Accept => assert_eq!(fate.takers, [entry]),
                Verdict::Drop(reason) => {
                    assert_eq!((reason, from_member), (Reason::NotMine, true), "{frame:02x?}");
                }
                Verdict::Pass | Verdict::Neighbour => panic!("{fate:?} in a bucket"),
            }
        }
    }
    assert!(handed > 10_000, "{handed} frames were handed on: too few");
}

#[test]
fn without_the_lease_nothing_is_taken_or_handed_on() {
    for mode in [Mode::Invisible, Mode::Directed] {
        let farm = Farm::new(mode, Uncovered::Pass, Buckets::Few);
        let mut generator = Generator::new(4, &setup(0, mode, Uncovered::Pass));
        let mut frame = Vec::new();
        for _ in 0..50_000 {
            let made = generator.next(&mut frame);
            let verdict = farm.filters[0].decide(&frame, false, &mut Live::default());
            let plain = matches!(made, Made::Plain { .. });
            let others = !plain && matches!(verdict, Verdict::Pass | Verdict::Neighbour);
            assert!(others || verdict == Verdict::Drop(Reason::Closed), "{made:?}: {verdict:?}");
        }
    }
}

#[test]
fn every_verdict_has_its_frames() {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for mode in [Mode::Invisible, Mode::Directed] {
        let mut farm = Farm::new(mode, Uncovered::Deny, Buckets::Few);
        let mut prng = Prng::new(5);
        for round in 0..40 {
            let known = farm.sockets[1].0.keys().copied().collect();
            let mut generator = Generator::new(round, &setup(1, mode, Uncovered::Deny));
            generator = generator.with_flows(known);
            let take = |_, bucket| bucket % 8 > 0;
            let setup = setup(1, mode, Uncovered::Deny);
            let filter = Filter::new(setup, &farm.tables, take).unwrap();
            let mut frame = Vec::new();
            for _ in 0..2_000 {
                let made = generator.next(&mut frame);
                let decision = filter.examine(&frame, round % 8 > 0, &mut farm.sockets[1]);
                seen.insert(match decision.verdict {
                    Verdict::Pass => "pass",
                    Verdict::Neighbour => "neighbour",
                    Verdict::Accept => "accept",
                    Verdict::Forward { .. } => "forward",
                    Verdict::Drop(reason) => reason.name(),
                });
                if let (Made::Plain { flow, .. }, Some(place)) = (made, decision.place) {
                    farm.sockets[1].0.insert(flow, place);
                }
            }
            farm.change(&mut prng);
            if round % 10 == 9 {
                farm.plan.weights.values_mut().for_each(|weight| *weight = 0);
            }
        }
    }
    let verdicts = ["pass", "neighbour", "accept", "forward"];
    let expected = Reason::ALL.iter().map(|reason| reason.name()).chain(verdicts);
    let expected: BTreeSet<&str> = expected.collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_seed_is_a_stream_of_frames() {
    let setup = setup(0, Mode::Invisible, Uncovered::Deny);
    let mut generators = [7, 7, 8].map(|seed| Generator::new(seed, &setup));
    let mut frames = [const { Vec::new() }; 3];
    let (mut differ, mut longest) = (0, 0);
    // Cuts are of one frame after another, each from nothing on without a gap.
    let mut cut = Vec::new();
    let mut begun = 0;
    for _ in 0..50_000 {
        let mut made = generators.iter_mut().zip(&mut frames).map(|(one, frame)| one.next(frame));
        let (first, second) = (made.next(), made.next());
        assert_eq!(made.count(), 1);
        assert_eq!((first, &frames[0]), (second, &frames[1]));
        differ += usize::from(frames[0] != frames[2]);
        longest = longest.max(frames[0].len());
        if first == Some(Made::Cut) {
            let restarts = frames[0].is_empty();
            assert!(restarts || frames[0].len() == cut.len() + 1 && frames[0].starts_with(&cut));
            begun += usize::from(restarts);
            cut.clone_from(&frames[0]);
        }
    }
    assert!(differ > 40_000 && begun > 30, "{differ} differ, {begun} frames were cut");
    assert!((300..=Generator::FRAME_MAX).contains(&longest), "the longest has {longest} bytes");
}
