//! Nodes, their kernels, and a network that delivers after 200 µs whatever is not cut.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ha_core::farm::{
    Baton, Config, Effect, Event, Farm, Identity, Input, Isolated, Order, Output, Policy, Timing,
    View, Void,
};
use ha_core::heartbeat::group::{Part, Proposal};
use ha_core::proto::wire::{self, Keys, Kind};
use ha_core::proto::{Boot, ClusterId, Instant, LinkId, ModuleId, NodeId, NodeSet, Ticket};
use ha_farm::{Buckets, Filter, Hash, HashOn, Mode, Protocol, Rule, Uncovered};

pub(crate) fn node(id: usize) -> NodeId {
    NodeId::new(id as u8).unwrap()
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn rule(port: u16) -> Rule {
    Rule {
        vip: "192.0.2.1".parse().unwrap(),
        ports: port..=port,
        protocol: Protocol::Tcp,
        on: HashOn::AddrPort,
    }
}

pub(crate) fn policy() -> Policy {
    Policy {
        rules: vec![rule(80)],
        weights: vec![1],
        buckets: Buckets::Few,
        hash: Hash::Sip { key: [7; 16] },
        mode: Mode::Invisible,
        uncovered: Uncovered::Deny,
        mac: None,
        isolated: Isolated::All,
        drain: Duration::from_secs(2),
        warm_up: Duration::ZERO,
    }
}

/// What a later version would write in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Later {
    Tables,
    Views,
}

/// A part of tables, or a view that is in one part, as a later version would write it.
fn of_later_version(datagram: &[u8], later: Later) -> Option<Vec<u8>> {
    let packet = wire::open(datagram, &Keys::insecure(), ClusterId(1)).unwrap();
    let kind = match later {
        Later::Tables => Kind::Part,
        Later::Views => Kind::Propose,
    };
    let part = (packet.header.kind == kind).then(|| Part::decode(packet.body).unwrap());
    // The first part of tables has the rules.
    let mut part = part.filter(|part| part.part > 0 || later == Later::Views)?;
    let mut bytes = part.bytes.to_vec();
    let version = match later {
        Later::Tables => 0,
        Later::Views => bytes.len() - Proposal::decode(&bytes).unwrap().body.len(),
    };
    bytes[version] += 1;
    part.bytes = bytes.into();
    let mut body = Vec::new();
    part.encode(&mut body);
    Some(wire::seal_long(&packet.header, &body, &Keys::insecure()))
}

pub(crate) struct Host {
    pub(crate) farm: Option<Farm>,
    pub(crate) filter: Option<Arc<Filter>>,
    pub(crate) until: Option<Instant>,
    pub(crate) announces: bool,
    pub(crate) fails: bool,
    /// Its lease cannot be written.
    pub(crate) unleased: bool,
    /// What its kernel did and has not said yet, if it is slow to say so ([`Rig::answer`]).
    pub(crate) held: Option<Vec<(Ticket, bool)>>,
    pub(crate) events: Vec<Event>,
    pub(crate) effects: Vec<&'static str>,
    pub(crate) policy: Policy,
    boots: u64,
}

pub(crate) struct Rig {
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// Single networks, one way: from, to, link.
    pub(crate) cut_links: BTreeSet<(usize, usize, u8)>,
    wire: BTreeMap<(Instant, u64), (usize, LinkId, Vec<u8>)>,
    posted: u64,
    /// From, to, link of all that was sent.
    pub(crate) sent: Vec<(usize, usize, u8)>,
    /// Hosts of which something is of a later version than anybody reads.
    pub(crate) later: BTreeMap<usize, Later>,
}

impl Rig {
    pub(crate) fn new(nodes: usize) -> Self {
        Self::with(nodes, |_, policy| policy)
    }

    pub(crate) fn with(nodes: usize, change: impl Fn(usize, Policy) -> Policy) -> Self {
        let host = |id| Host {
            farm: None,
            filter: None,
            until: None,
            announces: false,
            fails: false,
            unleased: false,
            held: None,
            events: Vec::new(),
            effects: Vec::new(),
            policy: change(id, policy()),
            boots: 0,
        };
        let mut rig = Self {
            now: Instant::ZERO + Duration::from_secs(1),
            hosts: (0..nodes).map(host).collect(),
            cut: BTreeSet::new(),
            cut_links: BTreeSet::new(),
            wire: BTreeMap::new(),
            posted: 0,
            sent: Vec::new(),
            later: BTreeMap::new(),
        };
        (0..nodes).for_each(|id| rig.boot(id));
        rig
    }

    pub(crate) fn config(&self, id: usize) -> Config {
        let identity = Identity {
            cluster: ClusterId(1),
            module: ModuleId(1),
            me: node(id),
            members: (0..self.hosts.len()).map(node).collect::<NodeSet>(),
            links: 2,
        };
        Config::new(identity, Timing::default(), self.hosts[id].policy.clone()).unwrap()
    }

    pub(crate) fn boot(&mut self, id: usize) {
        self.hosts[id].boots += 1;
        let boot = Boot(100 * self.hosts[id].boots + id as u64);
        let farm = Farm::new(self.config(id), Keys::insecure(), boot, self.now);
        self.hosts[id].farm = Some(farm);
        self.perform(id);
    }

    /// The host dies with its kernel.
    pub(crate) fn kill(&mut self, id: usize) {
        let host = &mut self.hosts[id];
        (host.farm, host.filter, host.until) = (None, None, None);
    }

    /// A process hands over to the next one, as bytes, which goes on after `gap`.
    pub(crate) fn hand_over(&mut self, id: usize, gap: Duration) -> Result<(), Void> {
        let mut old = self.hosts[id].farm.take().expect("it runs");
        let baton = old.hand_over(self.now).expect("it takes all that its view gives it");
        drop(old);
        self.run(gap);
        let mut bytes = Vec::new();
        baton.encode(&mut bytes);
        let read = Baton::decode(&bytes).unwrap();
        assert_eq!(read, baton);
        for len in 0..bytes.len() {
            assert!(Baton::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        let farm = Farm::adopt(self.config(id), Keys::insecure(), &read, self.now)?;
        let takes = farm.view(self.now).why.is_none();
        let in_force = farm.filter_in_force();
        assert_eq!(in_force.is_some(), takes);
        assert!(!takes || in_force == self.hosts[id].filter, "it decides by what was left");
        self.hosts[id].farm = Some(farm);
        self.hosts[id].effects.clear();
        self.perform(id);
        Ok(())
    }

    /// It does not wait for its turn.
    pub(crate) fn beat(&mut self, id: usize) {
        self.hosts[id].farm.as_mut().unwrap().beat(self.now);
        self.perform(id);
    }

    /// The daemon dies; the kernel goes on until its lease ends.
    pub(crate) fn kill_daemon(&mut self, id: usize) {
        self.hosts[id].farm = None;
    }

    pub(crate) fn view(&self, id: usize) -> View {
        self.hosts[id].farm.as_ref().expect("it runs").view(self.now)
    }

    pub(crate) fn told(&self, id: usize, event: Event) -> usize {
        self.hosts[id].events.iter().filter(|told| **told == event).count()
    }

    pub(crate) fn order(&mut self, id: usize, order: Order) {
        self.hosts[id].farm.as_mut().unwrap().order(self.now, order).unwrap();
        self.perform(id);
    }

    fn feed(&mut self, id: usize, input: Input<'_>) {
        if let Some(farm) = &mut self.hosts[id].farm {
            farm.handle_input(self.now, input);
            self.perform(id);
        }
    }

    /// A slow kernel says what it did, and is slow no more.
    pub(crate) fn answer(&mut self, id: usize) {
        for (ticket, ok) in self.hosts[id].held.take().unwrap_or_default() {
            self.feed(id, Input::Done { ticket, ok });
        }
    }

    pub(crate) fn perform(&mut self, id: usize) {
        let mut answers = VecDeque::new();
        loop {
            let host = &mut self.hosts[id];
            let Some(farm) = &mut host.farm else { return };
            let Some(output) = farm.poll_output() else {
                let Some((ticket, ok)) = answers.pop_front() else { return };
                farm.handle_input(self.now, Input::Done { ticket, ok });
                continue;
            };
            match output {
                Output::Transmit { link, to, datagram } => {
                    let to = usize::from(to.as_u8());
                    self.sent.push((id, to, link.0));
                    let cut = self.cut_links.contains(&(id, to, link.0));
                    if !self.cut.contains(&(id, to)) && !cut {
                        self.posted += 1;
                        let at = self.now + Duration::from_micros(200);
                        let later = self.later.get(&id);
                        let later = later.and_then(|later| of_later_version(&datagram, *later));
                        let bytes = later.unwrap_or_else(|| datagram.to_vec());
                        self.wire.insert((at, self.posted), (to, link, bytes));
                    }
                }
                Output::Event(event) => host.events.push(event),
                Output::Effect { ticket, effect } => {
                    let mut ok = true;
                    host.effects.push(match effect {
                        Effect::Filter(filter) => {
                            ok = !host.fails;
                            if ok {
                                host.filter = Some(filter);
                            }
                            "filter"
                        }
                        Effect::Lease(until) => {
                            ok = !host.unleased;
                            if ok {
                                host.until = Some(until);
                            }
                            "lease"
                        }
                        Effect::Shut => {
                            host.until = None;
                            "shut"
                        }
                        Effect::Announce(announces) => {
                            host.announces = announces;
                            "announce"
                        }
                        Effect::Start => "start",
                        Effect::Stop { .. } => "stop",
                        Effect::Reset => "reset",
                    });
                    match &mut host.held {
                        Some(held) => held.push((ticket, ok)),
                        None => answers.push_back((ticket, ok)),
                    }
                }
            }
        }
    }

    /// Lets time go on.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        let mut turns = 0;
        loop {
            turns += 1;
            if turns > 1_000_000 {
                let due = self.hosts.iter().map(|host| host.farm.as_ref().map(Farm::poll_timeout));
                panic!("spins at {}: {:?}", self.now, due.collect::<Vec<_>>());
            }
            let due = self.hosts.iter().enumerate().filter_map(|(id, host)| {
                let deadline = host.farm.as_ref()?.poll_timeout()?;
                Some((deadline.at, id))
            });
            let due = due.min();
            let parcel = self.wire.keys().next().copied();
            let next = [due.map(|(at, _)| at), parcel.map(|(at, _)| at)];
            let Some(next) = next.into_iter().flatten().min().filter(|&at| at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            match parcel {
                Some(key) if key.0 <= self.now => {
                    let (to, link, bytes) = self.wire.remove(&key).unwrap();
                    self.feed(to, Input::Datagram { link, bytes: &bytes });
                }
                Some(_) | None => {
                    let (_, id) = due.expect("something is due");
                    self.feed(id, Input::Timeout);
                }
            }
        }
    }

    /// Who takes each bucket of the first service now.
    pub(crate) fn takers(&self) -> Vec<Vec<usize>> {
        self.takers_of(0)
    }

    pub(crate) fn takers_of(&self, service: usize) -> Vec<Vec<usize>> {
        let takes = |id: usize, bucket: usize| {
            let host = &self.hosts[id];
            let open = host.until.is_some_and(|until| self.now < until);
            let filter = host.filter.as_ref().filter(|_| open);
            filter.is_some_and(|filter| filter.words(service)[bucket] & Filter::TAKE != 0)
        };
        let who = |bucket| (0..self.hosts.len()).filter(|&id| takes(id, bucket)).collect();
        (0..Buckets::Few.count()).map(who).collect()
    }

    /// How many buckets each takes; panics unless each bucket is taken once.
    pub(crate) fn shares(&self) -> Vec<usize> {
        let mut shares = vec![0; self.hosts.len()];
        for (bucket, takers) in self.takers().iter().enumerate() {
            assert_eq!(takers.len(), 1, "bucket {bucket} is taken by {takers:?}: {}", self.show());
            shares[takers[0]] += 1;
        }
        shares
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.takers().iter().all(|takers| takers.len() == 1)
    }

    pub(crate) fn show(&self) -> String {
        let show = |host: &Host| {
            let view = host.farm.as_ref().map(|farm| farm.view(self.now));
            view.map(|view| {
                format!(
                    "\n  {}: view {:?} {:?} why {:?} full {} waits {}",
                    view.me,
                    view.id.map(|id| id.to_string()),
                    view.members.keys().map(ToString::to_string).collect::<Vec<_>>(),
                    view.why,
                    view.full,
                    view.waits_for
                )
            })
        };
        self.hosts.iter().filter_map(show).collect()
    }
}
