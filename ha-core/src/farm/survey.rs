//! Which hash all members can do: asked before a member is made, where nobody says which one.
//!
//! The hash is part of the view: who cannot do it is refused, never mixed in. So a member that is
//! free to choose asks the others first. [`Survey`] does, and ends with a [`Choice`]: at once when
//! a member is heard that takes, or when all are; after a bounded time with what was heard by then.
//! A member that runs answers ([`Word::answer`]) and chooses no more.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{BufMut, Bytes};
use ha_farm::Hash;
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::wire::{self, Keys, Kind, LONG_BODY_MAX, Reject};
use ha_proto::{Boot, Deadline, Instant, Machine, NodeId, NodeSet, Outbox, Timer};

use crate::farm::Identity;
use crate::farm::network::{Head, seal};

/// What chooses buckets, the better one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hashing {
    /// SipHash-2-4, which BPF can do.
    Sip,
    /// `jhash`, which nftables can do.
    Jhash,
}

/// What a member can choose buckets by: something, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Able {
    /// By SipHash-2-4 alone.
    Sip,
    /// By `jhash` alone.
    Jhash,
    /// By either.
    Both,
}

/// What a member says to another one in a survey. The body of its datagram, big-endian:
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 8 | the sender's boot |
/// | 8 | 8 | the receiver's boot, as it was heard last; 0: it was not heard |
/// | 16 | 1 | 0 asks, 1 runs, 2 takes |
/// | 17 | 1 | 1 SipHash-2-4, 2 jhash, 3 both; of who runs: what it runs with |
/// | 18 | 0 to 200 | why it cannot do SipHash-2-4, in UTF-8 without control characters |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    boot: Boot,
    echo: Boot,
    phase: Phase,
    told: Told,
}

/// What is known of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it can do; of one that runs: what it runs with.
    pub able: Able,
    /// Why it cannot do SipHash-2-4, in its own words; empty when it does not say.
    pub lacks: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Asks,
    Runs,
    Takes,
}

/// What a survey is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The deadline has come (or any other time: it is harmless).
    Tick,
    /// A member said something.
    Word {
        /// Who.
        from: NodeId,
        /// What.
        word: Word,
    },
}

/// What a survey wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Say this, on every link; it may be lost.
    Say {
        /// To whom.
        to: NodeId,
        /// What.
        word: Word,
    },
    /// It has ended. Nothing follows.
    Chosen(Choice),
}

/// What a survey ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What to run with. The member can do it.
    pub hashing: Hashing,
    /// Why that one.
    pub because: Because,
    /// Who was heard, this member among them.
    pub heard: BTreeMap<NodeId, Told>,
    /// Who was not.
    pub unheard: NodeSet,
}

/// Why a hash was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Because {
    /// This member takes, and runs with it.
    Follows(NodeId),
    /// This member takes, and runs with another one, which the asking one cannot do: it will be
    /// left out.
    Cannot(NodeId),
    /// The best that all can do who were heard.
    Common,
    /// There is none that all of them can do: the one that most can.
    Most,
}

/// Asks the other members what they can do, until it can choose.
///
/// A word counts once it echoes this member's boot: a recording of an earlier day says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    me: NodeId,
    others: NodeSet,
    boot: Boot,
    told: Told,
    interval: Duration,
    end: Instant,
    timer: Timer,
    /// Whoever said something: of which boot, and what counts of it.
    heard: BTreeMap<NodeId, (Boot, Option<(Phase, Told)>)>,
    ended: bool,
}

impl Hashing {
    /// That of a hash.
    pub fn of(hash: &Hash) -> Self {
        match hash {
            Hash::Sip { .. } => Self::Sip,
            Hash::Jhash { .. } => Self::Jhash,
        }
    }
}

impl Able {
    /// Whether it can do this one.
    pub fn does(self, hashing: Hashing) -> bool {
        match (self, hashing) {
            (Self::Both, _) | (Self::Sip, Hashing::Sip) | (Self::Jhash, Hashing::Jhash) => true,
            (Self::Sip, Hashing::Jhash) | (Self::Jhash, Hashing::Sip) => false,
        }
    }

    const fn as_u8(self) -> u8 {
        match self {
            Self::Sip => 1,
            Self::Jhash => 2,
            Self::Both => 3,
        }
    }
}

impl From<Hashing> for Able {
    fn from(hashing: Hashing) -> Self {
        match hashing {
            Hashing::Sip => Self::Sip,
            Hashing::Jhash => Self::Jhash,
        }
    }
}

impl Word {
    /// The longest reason, in bytes.
    pub const LACKS_MAX: usize = 200;

    /// What a member of this boot that runs answers; `None` where nothing is asked. It answers each
    /// datagram by one that is no longer.
    pub fn answer(&self, boot: Boot, hashing: Hashing, takes: bool) -> Option<Self> {
        let phase = if takes { Phase::Takes } else { Phase::Runs };
        let told = Told { able: hashing.into(), lacks: String::new() };
        (self.phase == Phase::Asks).then_some(Self { boot, echo: self.boot, phase, told })
    }

    /// The datagram that says it.
    pub fn seal(&self, identity: &Identity, keys: &Keys) -> Bytes {
        seal(identity, keys, Head::of(Kind::Survey, 0), |out| self.encode(out))
    }

    /// Reads a datagram of the survey of this farm, and who sent it.
    ///
    /// # Errors
    /// [`Reject`], for anything else that came in.
    pub fn open(bytes: &[u8], identity: &Identity, keys: &Keys) -> Result<(NodeId, Self), Reject> {
        let packet = wire::open(bytes, keys, identity.cluster)?;
        let header = packet.header;
        let others = identity.members.without(identity.me);
        let ours = header.module == identity.module && others.contains(header.sender);
        if !ours || header.kind != Kind::Survey {
            return Err(Reject::Misplaced);
        }
        Ok((header.sender, Self::decode(packet.body)?))
    }

    /// Writes the body of the datagram.
    pub fn encode(&self, out: &mut impl BufMut) {
        assert!(self.told.lacks.len() <= Self::LACKS_MAX, "a reader would refuse so long a reason");
        out.put_u64(self.boot.0);
        out.put_u64(self.echo.0);
        out.put_u8(match self.phase {
            Phase::Asks => 0,
            Phase::Runs => 1,
            Phase::Takes => 2,
        });
        out.put_u8(self.told.able.as_u8());
        out.put_slice(self.told.lacks.as_bytes());
    }

    /// Reads the body of a datagram.
    ///
    /// # Errors
    /// [`DecodeError`] when it is none.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(body);
        let (boot, echo) = (Boot(from.u64("the boot")?), Boot(from.u64("the echo")?));
        let phase = match from.u8("the phase")? {
            0 => Phase::Asks,
            1 => Phase::Runs,
            2 => Phase::Takes,
            _ => return Err(DecodeError::Invalid("the phase")),
        };
        let able = match from.u8("the hashes")? {
            1 => Able::Sip,
            2 => Able::Jhash,
            3 => Able::Both,
            _ => return Err(DecodeError::Invalid("the hashes")),
        };
        let lacks = core::str::from_utf8(from.rest()).ok();
        // It goes to the journal, where a line must not look like two.
        let fits = |text: &&str| text.len() <= Self::LACKS_MAX && !text.contains(char::is_control);
        let lacks = lacks.filter(fits).ok_or(DecodeError::Invalid("the reason"))?;
        Ok(Self { boot, echo, phase, told: Told { able, lacks: lacks.into() } })
    }
}

impl Told {
    /// What a member can do, and why no more: control characters and what is too long to be told
    /// are left out of `lacks`.
    pub fn new(able: Able, lacks: &str) -> Self {
        let mut lacks: String = lacks.chars().filter(|c| !c.is_control()).collect();
        while lacks.len() > Word::LACKS_MAX {
            lacks.pop();
        }
        Self { able, lacks }
    }
}

impl Survey {
    /// A survey that begins at `now`. `boot` is a random number for it alone. It says what it can
    /// do every `interval` (above zero), and ends after `patience` at the latest.
    pub fn new(
        identity: &Identity,
        boot: Boot,
        told: Told,
        interval: Duration,
        patience: Duration,
        now: Instant,
    ) -> Self {
        assert!(!interval.is_zero(), "it would never stop to ask");
        let mut timer = Timer::IDLE;
        timer.arm(now);
        let others = identity.members.without(identity.me);
        let (me, end, heard) = (identity.me, now + patience, BTreeMap::new());
        Self { me, others, boot, told, interval, end, timer, heard, ended: false }
    }

    /// Whether a word was news that wants an answer: its sender has not been told yet that it is
    /// heard.
    fn hear(&mut self, from: NodeId, word: Word) -> bool {
        if !self.others.contains(from) {
            return false;
        }
        let (before, counted) = self.heard.remove(&from).unzip();
        let counts = word.echo == self.boot;
        let counts = if counts { Some((word.phase, word.told)) } else { counted.flatten() };
        self.heard.insert(from, (word.boot, counts));
        before != Some(word.boot)
    }

    fn counting(&self) -> impl Iterator<Item = (NodeId, &Phase, &Told)> {
        self.heard.iter().filter_map(|(&node, (_, counts))| {
            counts.as_ref().map(|(phase, told)| (node, phase, told))
        })
    }

    /// What follows from what was heard; `None` while more may be heard by `now`.
    fn choose(&self, now: Instant) -> Option<Choice> {
        let mut heard: BTreeMap<NodeId, Told> =
            self.counting().map(|(node, _, told)| (node, told.clone())).collect();
        heard.insert(self.me, self.told.clone());
        let takes = self.counting().filter(|(_, phase, _)| **phase == Phase::Takes);
        let takes: Vec<(NodeId, &Told)> = takes.map(|(node, _, told)| (node, told)).collect();
        let unheard = self.others.iter().filter(|node| !heard.contains_key(node)).collect();
        let ready = !takes.is_empty() || heard.len() as u32 > self.others.len() || now >= self.end;
        if !ready {
            return None;
        }
        let can = |told: &Told| ALL.into_iter().find(|&it| told.able.does(it) && self.does(it));
        let follows = takes.iter().find_map(|(node, told)| Some((*node, can(told)?)));
        let (hashing, because) = match (follows, takes.first()) {
            (Some((node, hashing)), _) => (hashing, Because::Follows(node)),
            (None, Some((node, _))) => (self.most(&heard).0, Because::Cannot(*node)),
            (None, None) => match self.most(&heard) {
                (hashing, count) if count == heard.len() => (hashing, Because::Common),
                (hashing, _) => (hashing, Because::Most),
            },
        };
        assert!(self.does(hashing), "it would run with what its kernel cannot do");
        Some(Choice { hashing, because, heard, unheard })
    }

    /// What most can do, the better one of two, and how many can: of all, if there is one such.
    fn most(&self, heard: &BTreeMap<NodeId, Told>) -> (Hashing, usize) {
        let count = |hashing| heard.values().filter(|told| told.able.does(hashing)).count();
        let mine = ALL.into_iter().rev().filter(|&hashing| self.does(hashing));
        let counted = mine.map(|hashing| (hashing, count(hashing)));
        // The last one of the largest.
        counted.max_by_key(|(_, count)| *count).expect("it can do something")
    }

    fn does(&self, hashing: Hashing) -> bool {
        self.told.able.does(hashing)
    }

    fn say(&self, to: NodeId, out: &mut Outbox<Output>) {
        let echo = self.heard.get(&to).map_or(Boot(0), |(boot, _)| *boot);
        let word = Word { boot: self.boot, echo, phase: Phase::Asks, told: self.told.clone() };
        out.push(Output::Say { to, word });
    }

    fn say_all(&self, out: &mut Outbox<Output>) {
        self.others.iter().for_each(|to| self.say(to, out));
    }
}

impl Machine for Survey {
    type Input = Input;
    type Output = Output;
    /// To 63 others, and what it ended with.
    const OUTPUTS_MAX: usize = 64;

    fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        if self.ended {
            return;
        }
        let new = match input {
            Input::Tick => None,
            Input::Word { from, word } => self.hear(from, word).then_some(from),
        };
        let due = self.timer.expire(now);
        let choice = self.choose(now);
        if due || choice.is_some() {
            // At its end too, since the others have to know that they were heard.
            self.say_all(out);
        } else if let Some(to) = new {
            self.say(to, out);
        }
        if let Some(choice) = choice {
            self.ended = true;
            self.timer.disarm();
            out.push(Output::Chosen(choice));
        } else if due {
            self.timer.arm((now + self.interval).min(self.end));
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        self.timer.deadline("survey")
    }
}

const ALL: [Hashing; 2] = [Hashing::Sip, Hashing::Jhash];
const _: () = assert!(18 + Word::LACKS_MAX <= LONG_BODY_MAX, "a word would not fit a datagram");

#[cfg(test)]
mod tests {
    use alloc::vec;

    use ha_proto::{ClusterId, ModuleId, laws};
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);
    const PATIENCE: Duration = Duration::from_secs(3);
    const MINE: Boot = Boot(10);

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn identity(members: u8) -> Identity {
        let members = (0..members).map(node).collect();
        Identity { cluster: ClusterId(1), module: ModuleId(1), me: node(0), members, links: 1 }
    }

    fn survey(members: u8, able: Able) -> Survey {
        let told = Told::new(able, "");
        Survey::new(&identity(members), MINE, told, INTERVAL, PATIENCE, Instant::ZERO)
    }

    fn told(able: Able) -> Told {
        Told::new(able, "")
    }

    fn word(from: u8, echo: Boot, phase: Phase, able: Able) -> Input {
        let word = Word { boot: Boot(10 + u64::from(from)), echo, phase, told: told(able) };
        Input::Word { from: node(from), word }
    }

    fn handle(survey: &mut Survey, millis: u64, input: Input) -> Vec<Output> {
        let mut out = Outbox::new(Survey::OUTPUTS_MAX);
        survey.handle(Instant::ZERO + Duration::from_millis(millis), input, &mut out);
        core::iter::from_fn(|| out.pop()).collect()
    }

    fn says(to: u8, echo: u64, able: Able) -> Output {
        let word = Word { boot: MINE, echo: Boot(echo), phase: Phase::Asks, told: told(able) };
        Output::Say { to: node(to), word }
    }

    fn chosen(outputs: &[Output]) -> (Hashing, Because) {
        match outputs.last() {
            Some(Output::Chosen(choice)) => (choice.hashing, choice.because),
            other => panic!("nothing is chosen: {other:?}"),
        }
    }

    #[test]
    fn it_asks_all_answers_who_is_new_and_ends_when_all_were_heard() {
        let (both, jhash) = (Able::Both, Able::Jhash);
        let mut survey = survey(3, both);
        let asks = [says(1, 0, both), says(2, 0, both)];
        assert_eq!(handle(&mut survey, 0, Input::Tick), asks);
        // It has not heard this member yet.
        let said = handle(&mut survey, 1, word(1, Boot(0), Phase::Asks, both));
        assert_eq!(said, [says(1, 11, both)]);
        assert_eq!(handle(&mut survey, 2, word(1, MINE, Phase::Asks, both)), []);
        let said = handle(&mut survey, 3, word(2, MINE, Phase::Asks, jhash));
        let heard =
            [(0, both), (1, both), (2, jhash)].map(|(id, able)| (node(id), told(able))).into();
        let choice = Choice {
            hashing: Hashing::Jhash,
            because: Because::Common,
            heard,
            unheard: NodeSet::EMPTY,
        };
        assert_eq!(said, [says(1, 11, both), says(2, 12, both), Output::Chosen(choice)]);
        assert_eq!(handle(&mut survey, 5_000, Input::Tick), [], "it has ended");
        assert_eq!(survey.deadline(), None);
    }

    #[test]
    fn the_time_ends_it_with_those_that_were_heard() {
        let mut survey = survey(3, Able::Both);
        handle(&mut survey, 0, word(2, MINE, Phase::Asks, Able::Jhash));
        let mut last = Vec::new();
        while let Some(due) = survey.deadline() {
            let millis = due.at.saturating_since(Instant::ZERO).as_millis() as u64;
            last = handle(&mut survey, millis, Input::Tick);
            assert!(millis < 3_000 || matches!(last.last(), Some(Output::Chosen(_))));
        }
        let Some(Output::Chosen(choice)) = last.pop() else { panic!("{last:?}") };
        assert_eq!((choice.hashing, choice.because), (Hashing::Jhash, Because::Common));
        assert_eq!(choice.unheard, NodeSet::only(node(1)));
    }

    #[test]
    fn who_takes_is_followed_at_once_where_that_can_be() {
        for (mine, farm, hashing, because) in [
            (Able::Both, Able::Jhash, Hashing::Jhash, Because::Follows(node(2))),
            (Able::Sip, Able::Sip, Hashing::Sip, Because::Follows(node(2))),
            (Able::Jhash, Able::Sip, Hashing::Jhash, Because::Cannot(node(2))),
            (Able::Sip, Able::Jhash, Hashing::Sip, Because::Cannot(node(2))),
        ] {
            let mut survey = survey(4, mine);
            assert_eq!(handle(&mut survey, 1, word(1, MINE, Phase::Runs, farm)).len(), 3);
            let said = handle(&mut survey, 2, word(2, MINE, Phase::Takes, farm));
            assert_eq!(chosen(&said), (hashing, because));
        }
    }

    #[test]
    fn where_nothing_is_common_most_decide_and_the_better_one_of_two() {
        let mut survey = survey(3, Able::Both);
        handle(&mut survey, 1, word(1, MINE, Phase::Runs, Able::Sip));
        let said = handle(&mut survey, 2, word(2, MINE, Phase::Asks, Able::Jhash));
        assert_eq!(chosen(&said), (Hashing::Sip, Because::Most));
    }

    #[test]
    fn a_recording_of_an_earlier_day_says_nothing() {
        let mut survey = survey(2, Able::Both);
        handle(&mut survey, 0, Input::Tick);
        for echo in [Boot(0), Boot(9)] {
            let said = handle(&mut survey, 1, word(1, echo, Phase::Takes, Able::Jhash));
            assert!(!said.iter().any(|it| matches!(it, Output::Chosen(_))), "{said:?}");
        }
        let stranger = word(7, MINE, Phase::Takes, Able::Jhash);
        assert_eq!(handle(&mut survey, 2, stranger), [], "it is no member");
    }

    /// Version 1. Never edited, only added to.
    #[test]
    fn the_golden_bytes_stay() {
        let told = Told::new(Able::Jhash, "no\nBPF");
        let word = Word { boot: Boot(0x0102), echo: Boot(3), phase: Phase::Takes, told };
        let golden = [[0, 0, 0, 0, 0, 0, 1, 2], [0, 0, 0, 0, 0, 0, 0, 3]].concat();
        let golden = [golden, vec![2, 2], b"noBPF".to_vec()].concat();
        let mut bytes = Vec::new();
        word.encode(&mut bytes);
        assert_eq!(bytes, golden);
        assert_eq!(Word::decode(&golden), Ok(word));
        for len in 0..18 {
            assert!(Word::decode(&golden[..len]).is_err(), "{len}");
        }
        let long = Told::new(Able::Sip, &"ä".repeat(150));
        assert_eq!(long.lacks.len(), Word::LACKS_MAX);
        for (at, byte) in [(16, 3), (17, 0), (17, 4), (18, 0xff), (18, b'\n')] {
            let mut bad = golden.clone();
            bad[at] = byte;
            assert!(Word::decode(&bad).is_err(), "{at} {byte}");
        }
    }

    #[test]
    fn a_datagram_is_read_by_its_own_farm_alone() {
        let (identity, keys) = (identity(3), Keys::new(&[7; 32]));
        let other = Identity { me: node(2), ..identity };
        let Input::Word { word, .. } = word(2, MINE, Phase::Asks, Able::Both) else { panic!() };
        let bytes = word.seal(&other, &keys);
        assert_eq!(Word::open(&bytes, &identity, &keys), Ok((node(2), word)));
        assert_eq!(Word::open(&bytes, &other, &keys), Err(Reject::Misplaced), "one's own");
        let farm = Identity { module: ModuleId(2), ..identity };
        assert_eq!(Word::open(&bytes, &farm, &keys), Err(Reject::Misplaced));
        let forged = Word::open(&bytes, &identity, &Keys::new(&[8; 32]));
        assert_eq!(forged, Err(Reject::Mac));
    }

    fn input() -> impl Strategy<Value = Input> {
        let phase = prop::sample::select(vec![Phase::Asks, Phase::Asks, Phase::Runs, Phase::Takes]);
        let able = prop::sample::select(vec![Able::Sip, Able::Jhash, Able::Both]);
        let word = (0..5_u8, 0..3_u64, 0..3_u64, phase, able).prop_map(
            |(from, boot, echo, phase, able)| {
                let (boot, echo) = (Boot(20 + boot), Boot(9 + echo));
                Input::Word { from: node(from), word: Word { boot, echo, phase, told: told(able) } }
            },
        );
        prop_oneof![1 => Just(Input::Tick), 4 => word]
    }

    proptest! {
        #[test]
        fn a_survey_keeps_the_laws(
            history in prop::collection::vec((0..400_000_u64, input()), 1..40),
        ) {
            let timed = |(micros, input)| (Duration::from_micros(micros), input);
            let history = history.into_iter().map(timed);
            laws::check(survey(4, Able::Both), || Input::Tick, history);
        }

        #[test]
        fn any_bytes_are_a_word_that_encodes_to_them_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..230),
            phase in 0..4_u8,
            able in 0..5_u8,
        ) {
            let mut near = bytes.clone();
            for (at, byte) in [(16, phase), (17, able)] {
                if let Some(place) = near.get_mut(at) {
                    *place = byte;
                }
            }
            for bytes in [bytes, near] {
                if let Ok(word) = Word::decode(&bytes) {
                    let mut again = Vec::new();
                    word.encode(&mut again);
                    prop_assert_eq!(again, bytes);
                }
            }
        }
    }
}
