//! What all trials came to, side by side.

use std::fmt;
use std::time::Duration;

use super::fault::Fault;
use super::setting::Setting;
use super::trial::{Left, Outcome};

/// All trials of one daemon in one setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What happened.
    pub fault: Fault,
    /// How fast it was to be seen.
    pub setting: Setting,
    /// Which daemon, and its vote.
    pub daemon: String,
    /// What came of each trial, in order.
    pub outcomes: Vec<Outcome>,
    /// What the gap is to be below, where something is promised.
    pub bound: Option<Duration>,
}

/// All rows of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table(pub Vec<Row>);

impl Row {
    /// The gaps of one family (0 is IPv4, 1 is IPv6), shortest first.
    fn gaps(&self, family: usize) -> Vec<Duration> {
        let mut gaps: Vec<_> = self.outcomes.iter().map(|outcome| outcome.gaps[family]).collect();
        gaps.sort();
        gaps
    }

    /// The median gap of one family; of an even number the longer of the two in the middle.
    ///
    /// # Panics
    /// There was no trial.
    pub fn median(&self, family: usize) -> Duration {
        let gaps = self.gaps(family);
        gaps[gaps.len() / 2]
    }

    /// The longest gap of one family.
    ///
    /// # Panics
    /// There was no trial.
    pub fn worst(&self, family: usize) -> Duration {
        *self.gaps(family).last().expect("a row has trials")
    }

    fn others(&self) -> usize {
        self.outcomes.iter().map(|outcome| outcome.others).sum()
    }

    fn left(&self) -> String {
        match self.outcomes.iter().filter_map(|outcome| outcome.left).max() {
            None => "-".to_owned(),
            Some(Left::Gone(after)) => format!("{} ms", after.as_millis()),
            Some(Left::Stays(watched)) => format!("stays > {} s", watched.as_secs()),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, setting, daemon, outcomes, bound } = self;
        write!(f, "{fault:<14} {setting:<9} {daemon:<20} {:>4}", outcomes.len())?;
        for family in [0, 1] {
            write!(f, " {:>9} {:>9}", millis(self.median(family)), millis(self.worst(family)))?;
        }
        let bound = bound.map_or_else(|| "-".to_owned(), millis);
        write!(f, " {bound:>9} {:>7} {:>13}", self.others(), self.left())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<14} {:<9} {:<20} {:>4} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>13}",
            "gap in ms", "", "", "", "IPv4", "", "IPv6", "", "", "answers", "VIP left"
        )?;
        writeln!(
            f,
            "{:<14} {:<9} {:<20} {:>4} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>13}",
            "what",
            "detection",
            "daemon",
            "runs",
            "median",
            "worst",
            "median",
            "worst",
            "bound",
            "amiss",
            "behind"
        )?;
        self.0.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(millis: u64, left: Option<Left>) -> Outcome {
        let gap = Duration::from_millis(millis);
        Outcome { gaps: [gap, gap * 2], others: 1, left }
    }

    #[test]
    fn a_row_has_median_worst_and_the_worst_that_was_left() {
        let gone = Some(Left::Gone(Duration::from_secs(9)));
        let stays = Some(Left::Stays(Duration::from_millis(5_500)));
        let row = Row {
            fault: Fault::Kill,
            setting: Setting::ALL[1],
            daemon: "keepalived".to_owned(),
            outcomes: vec![outcome(30, gone), outcome(10, stays), outcome(20, None)],
            bound: Some(Duration::from_micros(12_300)),
        };
        let words = row.to_string();
        let words: Vec<_> = words.split_whitespace().collect();
        let expected =
            "daemon killed 100ms x 3 keepalived 3 20.0 30.0 40.0 60.0 12.3 3 stays > 5 s";
        assert_eq!(words.join(" "), expected);
    }
}
