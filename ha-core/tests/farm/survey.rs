//! What a member that starts hears of those that run, and how members that start together choose.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ha_core::farm::survey::{Able, Because, Choice, Hashing, Input, Output, Survey, Told, Word};
use ha_core::farm::{self, Identity};
use ha_core::proto::wire::Keys;
use ha_core::proto::{
    Boot, ClusterId, Instant, LinkId, Machine, ModuleId, NodeId, NodeSet, Outbox,
};
use ha_farm::Hash;
use proptest::prelude::*;

use crate::rig::{Rig, millis, node};

const INTERVAL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(3);

/// What a member asks at first, as it lies on the wire, and what came before that.
fn asks(identity: &Identity) -> (Survey, Bytes) {
    let told = Told::new(Able::Both, "");
    let mut survey = Survey::new(identity, Boot(77), told, INTERVAL, PATIENCE, Instant::ZERO);
    let mut out = Outbox::new(Survey::OUTPUTS_MAX);
    survey.handle(Instant::ZERO, Input::Tick, &mut out);
    let Some(Output::Say { word, .. }) = out.pop() else { panic!("it asks") };
    (survey, word.seal(identity, &Keys::insecure()))
}

/// What a member of a farm sends when it is sent this.
fn answers(rig: &mut Rig, bytes: &[u8]) -> Vec<(LinkId, NodeId, Bytes)> {
    let now = rig.now;
    let farm = rig.hosts[0].farm.as_mut().unwrap();
    farm.handle_input(now, farm::Input::Datagram { link: LinkId(1), bytes });
    let sent = std::iter::from_fn(|| farm.poll_output()).filter_map(|output| match output {
        farm::Output::Transmit { link, to, datagram } => Some((link, to, datagram)),
        farm::Output::Effect { .. } | farm::Output::Event(_) => None,
    });
    sent.collect()
}

#[test]
fn who_runs_answers_who_asks_and_nobody_else() {
    let keys = Keys::insecure();
    for (runs, because) in [(0, Because::Common), (1_500, Because::Follows(node(0)))] {
        let nft = |_, policy| farm::Policy { hash: Hash::Jhash { seed: 7 }, ..policy };
        let mut rig = Rig::with(2, nft);
        rig.run(millis(runs));
        let own = *rig.config(0).identity();
        let identity = Identity { me: node(1), ..own };
        assert_eq!(answers(&mut rig, &asks(&own).1), [], "its own");
        let (mut survey, datagram) = asks(&identity);
        let sent = answers(&mut rig, &datagram);
        let [(link, to, answer)] = &sent[..] else { panic!("one answer: {sent:?}") };
        assert_eq!((*link, *to), (LinkId(1), node(1)), "by the link on which it asked");
        assert!(answer.len() <= datagram.len());
        let (from, word) = Word::open(answer, &identity, &keys).unwrap();
        assert_eq!(word.answer(Boot(1), Hashing::Sip, true), None, "nor is an answer answered");
        let mut out = Outbox::new(Survey::OUTPUTS_MAX);
        survey.handle(Instant::ZERO, Input::Word { from, word }, &mut out);
        let chosen = std::iter::from_fn(|| out.pop()).find_map(|output| match output {
            Output::Chosen(choice) => Some((choice.hashing, choice.because)),
            Output::Say { .. } => None,
        });
        assert_eq!(chosen, Some((Hashing::Jhash, because)), "after {runs} ms");
    }
}

/// A member: it asks from some time on, then it runs.
struct Member {
    able: Able,
    starts: Instant,
    survey: Option<Survey>,
    choice: Option<(Instant, Choice)>,
}

/// Members that start, and what is on its way between them.
struct World {
    now: Instant,
    members: Vec<Member>,
    wire: BTreeMap<(Instant, usize), (usize, usize, Word)>,
    sent: usize,
    /// Of each datagram: whether it is lost, and for how long it is on its way.
    fates: Vec<(bool, u64)>,
    /// Whether nothing is lost, ever.
    calm: bool,
}

impl World {
    fn new(members: Vec<(Able, u64)>, fates: Vec<(bool, u64)>, calm: bool) -> Self {
        let member = |(able, starts)| Member {
            able,
            starts: Instant::ZERO + Duration::from_millis(starts),
            survey: None,
            choice: None,
        };
        let members = members.into_iter().map(member).collect();
        Self { now: Instant::ZERO, members, wire: BTreeMap::new(), sent: 0, fates, calm }
    }

    fn identity(&self, me: usize) -> Identity {
        let members: NodeSet = (0..self.members.len()).map(node).collect();
        Identity { cluster: ClusterId(1), module: ModuleId(1), me: node(me), members, links: 1 }
    }

    fn send(&mut self, from: usize, to: usize, word: Word) {
        let (lost, micros) = self.fates[self.sent % self.fates.len()];
        self.sent += 1;
        if self.calm || !lost {
            let at = self.now + Duration::from_micros(micros);
            self.wire.insert((at, self.sent), (from, to, word));
        }
    }

    fn feed(&mut self, me: usize, input: Input) {
        let Some(survey) = &mut self.members[me].survey else { return };
        let mut out = Outbox::new(Survey::OUTPUTS_MAX);
        survey.handle(self.now, input, &mut out);
        while let Some(output) = out.pop() {
            match output {
                Output::Say { to, word } => self.send(me, usize::from(to.as_u8()), word),
                Output::Chosen(choice) => self.members[me].choice = Some((self.now, choice)),
            }
        }
    }

    fn deliver(&mut self, (from, to, word): (usize, usize, Word)) {
        match &self.members[to].choice {
            None => self.feed(to, Input::Word { from: node(from), word }),
            Some((_, choice)) => {
                // It runs now, and takes nothing yet.
                let boot = Boot(1_000 + to as u64);
                if let Some(answer) = word.answer(boot, choice.hashing, false) {
                    self.send(to, from, answer);
                }
            }
        }
    }

    /// Until all have chosen.
    fn run(&mut self) {
        while self.members.iter().any(|member| member.choice.is_none()) {
            let starts = |member: &Member| member.survey.is_none().then_some(member.starts);
            let due = self.members.iter().filter_map(|member| {
                starts(member).or_else(|| Some(member.survey.as_ref()?.deadline()?.at))
            });
            let parcel = self.wire.keys().next().map(|(at, _)| *at);
            self.now = due.chain(parcel).min().expect("who has not chosen is due").max(self.now);
            for me in 0..self.members.len() {
                let (able, identity) = (self.members[me].able, self.identity(me));
                if starts(&self.members[me]).is_some_and(|at| at <= self.now) {
                    let (boot, told) = (Boot(1 + me as u64), Told::new(able, ""));
                    let survey = Survey::new(&identity, boot, told, INTERVAL, PATIENCE, self.now);
                    self.members[me].survey = Some(survey);
                }
                self.feed(me, Input::Tick);
            }
            while let Some(entry) = self.wire.first_entry().filter(|it| it.key().0 <= self.now) {
                let parcel = entry.remove();
                self.deliver(parcel);
            }
        }
    }
}

fn able() -> impl Strategy<Value = Able> {
    prop::sample::select(vec![Able::Sip, Able::Jhash, Able::Both, Able::Both, Able::Both])
}

proptest! {
    #[test]
    fn a_survey_ends_in_time_and_members_that_hear_all_choose_alike(
        members in prop::collection::vec((able(), 0..5_000_u64), 2..6),
        fates in prop::collection::vec((any::<bool>(), 1..40_000_u64), 1..60),
        calm in any::<bool>(),
    ) {
        let mut world = World::new(members, fates, calm);
        world.run();
        let heard_all = |member: &&Member| member.choice.as_ref().unwrap().1.unheard.is_empty();
        for member in &world.members {
            let (at, choice) = member.choice.as_ref().unwrap();
            let took = at.saturating_since(member.starts);
            prop_assert!(took <= PATIENCE, "{took:?}");
            prop_assert!(member.able.does(choice.hashing), "it cannot do {:?}", choice.hashing);
        }
        let alike: Vec<Hashing> = world
            .members
            .iter()
            .filter(heard_all)
            .filter(|member| member.able == Able::Both)
            .map(|member| member.choice.as_ref().unwrap().1.hashing)
            .collect();
        let common = [Hashing::Sip, Hashing::Jhash]
            .into_iter()
            .find(|it| world.members.iter().all(|member| member.able.does(*it)));
        let together = world.members.iter().all(|member| heard_all(&member));
        if let Some(common) = common.filter(|_| together) {
            prop_assert!(alike.iter().all(|it| *it == common), "{alike:?}, and all can {common:?}");
        }
    }

    #[test]
    fn members_that_start_together_and_hear_each_other_choose_the_best_that_all_can_do(
        members in prop::collection::vec((able(), 0..500_u64), 2..6),
        micros in 1..40_000_u64,
    ) {
        let most = |hashing: Hashing, members: &[Member]| {
            members.iter().filter(|member| member.able.does(hashing)).count()
        };
        let mut world = World::new(members, vec![(false, micros)], true);
        world.run();
        let [sip, jhash] = [Hashing::Sip, Hashing::Jhash].map(|it| most(it, &world.members));
        let best = if sip >= jhash { Hashing::Sip } else { Hashing::Jhash };
        for member in &world.members {
            let choice = &member.choice.as_ref().unwrap().1;
            prop_assert!(choice.unheard.is_empty());
            let all = sip.max(jhash) == world.members.len();
            prop_assert!(!all || choice.because == Because::Common, "{choice:?}");
            prop_assert!(!member.able.does(best) || choice.hashing == best || !all, "{choice:?}");
        }
    }
}
