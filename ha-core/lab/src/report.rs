//! What a client noticed: every answer, and the gaps between them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ha_proto::Instant;

use crate::datagram;

/// Everything that a [`Prober`](crate::Prober) heard. All times are of [`now`](crate::now).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The answers, as they were heard.
    pub answers: Vec<Answer>,
    /// How many requests were sent, those included that the kernel refused to send.
    pub asked: u64,
    /// When the first was sent.
    pub began: Instant,
    /// When it ended.
    pub ended: Instant,
    /// By how much the prober itself was late, at worst, with a request: no gap is known better.
    pub late: Duration,
}

impl Report {
    /// The same, of what was heard from `from` to `to` only. `asked` and `late` stay of the whole.
    #[must_use]
    pub fn between(&self, from: Instant, to: Instant) -> Self {
        let (began, ended) = (self.began.max(from), self.ended.min(to));
        let within = |answer: &&Answer| (began..=ended).contains(&answer.heard);
        let answers = self.answers.iter().filter(within).cloned().collect();
        Self { answers, began, ended: ended.max(began), ..*self }
    }

    /// Every time longer than `over` without an answer from who was entitled then, in order.
    /// Before the first answer and after the last one counts too.
    pub fn gaps(&self, turns: &Turns, over: Duration) -> Vec<Gap> {
        let entitled =
            self.answers.iter().filter(|answer| turns.holder(answer.heard) == &*answer.by);
        let mut gaps = Vec::new();
        let mut from = self.began;
        for to in entitled.map(|answer| answer.heard).chain([self.ended]) {
            assert!(from <= to, "a gap would end before it began: answers are out of order");
            gaps.push(Gap { from, to });
            from = to;
        }
        gaps.retain(|gap| gap.length() > over);
        gaps
    }

    /// The longest of all gaps, the first of equal ones.
    pub fn worst(&self, turns: &Turns) -> Gap {
        let gaps = self.gaps(turns, Duration::ZERO);
        let longer = |one: Gap, other: Gap| if other.length() > one.length() { other } else { one };
        gaps.into_iter().reduce(longer).unwrap_or(Gap { from: self.began, to: self.began })
    }

    /// How many answers came from each.
    pub fn by_name(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for answer in &self.answers {
            *counts.entry(&*answer.by).or_default() += 1;
        }
        counts
    }

    /// The answers from who was not entitled when they were heard. One or two just after a turn
    /// may have been under way.
    pub fn strays(&self, turns: &Turns) -> BTreeMap<&str, Strays> {
        let mut strays: BTreeMap<&str, Strays> = BTreeMap::new();
        for answer in self.answers.iter().filter(|one| turns.holder(one.heard) != &*one.by) {
            let first = Strays { count: 0, first: answer.heard, last: answer.heard };
            let entry = strays.entry(&answer.by).or_insert(first);
            entry.count += 1;
            entry.last = answer.heard;
        }
        strays
    }

    /// Turns as the client saw them: each of `names` is entitled from its first answer in the turn
    /// of the one before on. A name that never answered in its turn ends the list.
    ///
    /// # Panics
    /// `names` is empty.
    pub fn turns(&self, names: &[&str]) -> Turns {
        let (first, others) = names.split_first().expect("somebody is entitled at first");
        let mut turns = Turns::of(first);
        let mut answers = self.answers.iter();
        // Not before the one before has begun its turn itself.
        if !answers.any(|answer| &*answer.by == *first) {
            return turns;
        }
        for name in others {
            let Some(answer) = answers.find(|answer| &*answer.by == *name) else { break };
            turns = turns.then(name, answer.heard);
        }
        turns
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The request's number, from 0 on.
    pub number: u64,
    /// When it was asked.
    pub sent: Instant,
    /// When the answer was heard.
    pub heard: Instant,
    /// Who answered.
    pub by: Arc<str>,
}

/// A time without an answer from who was entitled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the answer before it was heard.
    pub from: Instant,
    /// When the answer after it was heard.
    pub to: Instant,
}

impl Gap {
    /// How long it was.
    pub fn length(self) -> Duration {
        self.to.saturating_since(self.from)
    }
}

/// Answers from one who was not entitled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strays {
    /// How many.
    pub count: usize,
    /// When the first was heard.
    pub first: Instant,
    /// When the last was heard.
    pub last: Instant,
}

/// Who is entitled to answer, and from when on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turns {
    first: String,
    later: Vec<(Instant, String)>,
}

impl Turns {
    /// One who is entitled from the beginning.
    pub fn of(name: &str) -> Self {
        Self { first: name.to_owned(), later: Vec::new() }
    }

    /// The same, and another from `since` on.
    ///
    /// # Panics
    /// `since` is before the turn before.
    #[must_use]
    pub fn then(mut self, name: &str, since: Instant) -> Self {
        let before = self.later.last().map_or(Instant::ZERO, |(at, _)| *at);
        assert!(before <= since, "two would be entitled at once");
        self.later.push((since, name.to_owned()));
        self
    }

    /// Who is entitled then.
    pub fn holder(&self, at: Instant) -> &str {
        let begun = self.later.partition_point(|(since, _)| *since <= at);
        begun.checked_sub(1).map_or(&self.first, |last| &self.later[last].1)
    }
}

/// What the prober's process prints, a line each: `answer NUMBER SENT HEARD NAME`, and once, last,
/// `end ASKED BEGAN ENDED LATE`. Times are nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An answer came.
    Answer(Answer),
    /// It is over.
    End {
        /// See [`Report::asked`].
        asked: u64,
        /// See [`Report::began`].
        began: Instant,
        /// See [`Report::ended`].
        ended: Instant,
        /// See [`Report::late`].
        late: Duration,
    },
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(Answer { number, sent, heard, by }) => {
                write!(f, "answer {number} {} {} {by}", sent.as_nanos(), heard.as_nanos())
            }
            Self::End { asked, began, ended, late } => {
                let (began, ended) = (began.as_nanos(), ended.as_nanos());
                write!(f, "end {asked} {began} {ended} {}", late.as_nanos())
            }
        }
    }
}

impl FromStr for Line {
    type Err = NotALine;

    fn from_str(text: &str) -> Result<Self, NotALine> {
        let words: Vec<&str> = text.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().map_err(|_| NotALine);
        let instant = |word: &str| number(word).map(Instant::from_nanos);
        match words[..] {
            ["answer", count, sent, heard, by] if datagram::is_name(by) => {
                let (number, by) = (number(count)?, by.into());
                let (sent, heard) = (instant(sent)?, instant(heard)?);
                Ok(Self::Answer(Answer { number, sent, heard, by }))
            }
            ["end", asked, began, ended, late] => {
                let (asked, late) = (number(asked)?, Duration::from_nanos(number(late)?));
                Ok(Self::End { asked, began: instant(began)?, ended: instant(ended)?, late })
            }
            _ => Err(NotALine),
        }
    }
}

/// The text is no [`Line`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotALine;

impl fmt::Display for NotALine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not what a prober prints")
    }
}

impl std::error::Error for NotALine {}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn gap(from: u64, to: u64) -> Gap {
        Gap { from: at(from), to: at(to) }
    }

    /// From 100 to 200 ms, with answers heard at these milliseconds.
    fn report(answers: &[(u64, &str)]) -> Report {
        let answer = |(number, (heard, by)): (usize, &(u64, &str))| {
            let (number, heard) = (number as u64, at(*heard));
            Answer { number, sent: heard - millis(1), heard, by: (*by).into() }
        };
        let answers = answers.iter().enumerate().map(answer).collect();
        Report { answers, asked: 100, began: at(100), ended: at(200), late: Duration::ZERO }
    }

    #[test]
    fn silence_is_one_gap() {
        let report = report(&[]);
        assert_eq!(report.gaps(&Turns::of("a"), millis(10)), [gap(100, 200)]);
        assert_eq!(report.worst(&Turns::of("a")), gap(100, 200));
        assert!(report.by_name().is_empty());
    }

    #[test]
    fn the_ends_count_and_short_gaps_do_not() {
        let report = report(&[(120, "a"), (125, "a"), (130, "a"), (170, "a")]);
        let gaps = report.gaps(&Turns::of("a"), millis(10));
        assert_eq!(gaps, [gap(100, 120), gap(130, 170), gap(170, 200)]);
        assert_eq!(report.gaps(&Turns::of("a"), millis(30)), [gap(130, 170)], "not one of 30");
        assert_eq!(report.worst(&Turns::of("a")), gap(130, 170));
    }

    #[test]
    fn answers_from_the_wrong_side_close_no_gap() {
        let report = report(&[(110, "a"), (120, "b"), (130, "b"), (140, "a"), (195, "b")]);
        assert_eq!(report.worst(&Turns::of("a")), gap(140, 200));
        let gaps = report.gaps(&Turns::of("a"), millis(20));
        assert_eq!(gaps, [gap(110, 140), gap(140, 200)]);
        let strays = report.strays(&Turns::of("a"));
        let of_b = Strays { count: 3, first: at(120), last: at(195) };
        assert_eq!(strays, BTreeMap::from([("b", of_b)]));
        assert_eq!(report.by_name(), BTreeMap::from([("a", 2), ("b", 3)]));
    }

    #[test]
    fn a_takeover_is_from_the_last_of_one_to_the_first_of_the_other() {
        let answers = [(110, "a"), (120, "a"), (150, "b"), (160, "a"), (170, "b"), (199, "b")];
        let report = report(&answers);
        let turns = Turns::of("a").then("b", at(125));
        assert_eq!(report.gaps(&turns, millis(25)), [gap(120, 150), gap(170, 199)]);
        assert_eq!(report.strays(&turns)["a"].count, 1, "the old primary still answers");
        assert_eq!(report.turns(&["a", "b"]), Turns::of("a").then("b", at(150)));
    }

    #[test]
    fn turns_that_the_client_saw() {
        let report = report(&[(110, "b"), (120, "a"), (130, "b"), (140, "a"), (150, "a")]);
        assert_eq!(
            report.turns(&["a", "b", "a"]),
            Turns::of("a").then("b", at(130)).then("a", at(140))
        );
        assert_eq!(report.turns(&["a", "c", "b"]), Turns::of("a"));
        assert_eq!(report.turns(&["c", "a"]), Turns::of("c"));
    }

    #[test]
    fn a_turn_begins_at_its_instant() {
        let turns = Turns::of("a").then("b", at(5)).then("c", at(5)).then("a", at(9));
        let holders = [4, 5, 8, 9].map(|time| turns.holder(at(time)));
        assert_eq!(holders, ["a", "c", "c", "a"]);
    }

    #[test]
    #[should_panic(expected = "two would be entitled at once")]
    fn turns_are_in_order() {
        let _ = Turns::of("a").then("b", at(5)).then("c", at(4));
    }

    #[test]
    fn a_part_of_it() {
        let report = report(&[(110, "a"), (150, "a"), (190, "a")]);
        let part = report.between(at(120), at(180));
        assert_eq!(part.answers, report.answers[1..2]);
        assert_eq!(part.gaps(&Turns::of("a"), Duration::ZERO), [gap(120, 150), gap(150, 180)]);
        assert_eq!(report.between(at(0), at(999)), report);
        assert_eq!(report.between(at(300), at(400)).worst(&Turns::of("a")).length(), millis(0));
    }

    proptest! {
        #[test]
        fn gaps_fill_the_whole_time(steps in prop::collection::vec((0_u64..5, 0_usize..3), 0..20)) {
            let mut time = 100;
            let answers: Vec<(u64, &str)> = steps
                .iter()
                .map(|(step, who)| {
                    time += step;
                    (time, ["a", "b", "c"][*who])
                })
                .collect();
            let report = report(&answers);
            let turns = report.turns(&["a", "b"]);
            let gaps = report.gaps(&turns, Duration::ZERO);
            prop_assert_eq!(gaps.iter().map(|gap| gap.length()).sum::<Duration>(), millis(100));
            prop_assert!(gaps.windows(2).all(|pair| pair[0].to <= pair[1].from));
            let strays: usize = report.strays(&turns).values().map(|strays| strays.count).sum();
            prop_assert!(strays <= answers.len());
            let longest = gaps.iter().map(|gap| gap.length()).max().unwrap_or_default();
            prop_assert_eq!(report.worst(&turns).length(), longest);
        }

        #[test]
        fn a_line_is_read_as_it_is_printed(a: u64, b: u64, c: u64, d: u64, by in "[a-z]{1,8}") {
            let (sent, heard) = (Instant::from_nanos(b), Instant::from_nanos(c));
            let answer = Line::Answer(Answer { number: a, sent, heard, by: by.as_str().into() });
            prop_assert_eq!(answer.to_string().parse(), Ok(answer));
            let late = Duration::from_nanos(d);
            let end = Line::End { asked: a, began: sent, ended: heard, late };
            prop_assert_eq!(end.to_string().parse(), Ok(end));
        }

        #[test]
        fn any_text_is_a_line_or_none(text in ".*", words in "(answer|end)( [0-9a-z]{0,4}){3,5}") {
            let _ = text.parse::<Line>();
            if let Ok(line) = words.parse::<Line>() {
                prop_assert_eq!(line.to_string().parse(), Ok(line));
            }
        }
    }
}
