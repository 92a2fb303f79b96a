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
    /// What came of each trial that was one, in order; at least one.
    pub outcomes: Vec<Outcome>,
    /// How many were none: the pair was not whole, or nobody took over in time.
    pub failed: usize,
    /// What it is to be below.
    pub bounds: Bounds,
}

/// What is promised of a row, where something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Of each gap.
    pub gap: Option<Duration>,
    /// Of the addresses of a server without a daemon.
    pub address: Option<Duration>,
    /// Of its service.
    pub service: Option<Duration>,
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

    /// What is not as it was promised, a line each: what holds on any machine, and with `times`
    /// each bound of a time. Nothing is promised of keepalived.
    ///
    /// # Panics
    /// There was no trial.
    pub fn amiss(&self, times: bool) -> Vec<String> {
        let Self { fault, setting, daemon, failed, bounds, .. } = self;
        let mut amiss = Vec::new();
        if daemon == "keepalived" {
            return amiss;
        }
        if *failed > 0 {
            amiss.push(format!("{failed} runs failed"));
        }
        // A process that is frozen at the end of its lease may answer until then (G2).
        if daemon == "arbiter" && !fault.leaves_nobody() && self.others() > 0 {
            amiss.push(format!("{} answers from who was not entitled", self.others()));
        }
        let worst = self.worst(0).max(self.worst(1));
        if times && bounds.gap.is_some_and(|bound| worst > bound) {
            amiss.push(format!("a gap of {} ms", millis(worst)));
        }
        let left = [
            ("address", self.worst_left(|outcome| outcome.left), bounds.address),
            ("service", self.worst_left(|outcome| outcome.served), bounds.service),
        ];
        for (what, left, bound) in left {
            match left.zip(bound) {
                Some((Left::Stays(_), _)) => amiss.push(format!("the {what} stays")),
                Some((Left::Gone(after), bound)) if times && after > bound => {
                    amiss.push(format!("the {what} was there for {} ms", millis(after)));
                }
                Some((Left::Gone(_), _)) | None => {}
            }
        }
        amiss.into_iter().map(|it| format!("{fault}, {setting}, {daemon}: {it}")).collect()
    }

    fn others(&self) -> usize {
        self.outcomes.iter().map(|outcome| outcome.others).sum()
    }

    /// The worst of what daemons left behind.
    fn worst_left(&self, of: impl Fn(&Outcome) -> Option<Left>) -> Option<Left> {
        self.outcomes.iter().filter_map(of).max()
    }

    /// The worst of what daemons left behind, and what is promised of it.
    fn left(&self, of: impl Fn(&Outcome) -> Option<Left>, bound: Option<Duration>) -> String {
        let worst = match self.worst_left(of) {
            None => return "-".to_owned(),
            Some(Left::Gone(after)) => format!("{}", after.as_millis()),
            Some(Left::Stays(watched)) => format!("stays >{}", watched.as_millis()),
        };
        bound.map_or(worst.clone(), |bound| format!("{worst} <{}", bound.as_millis()))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, setting, daemon, outcomes, failed, bounds } = self;
        let runs = format!("{}/{}", outcomes.len(), outcomes.len() + failed);
        write!(f, "{fault:<14} {setting:<9} {daemon:<12} {runs:>5}")?;
        for family in [0, 1] {
            write!(f, " {:>8} {:>8}", millis(self.median(family)), millis(self.worst(family)))?;
        }
        let ratio = self.median(1).as_secs_f64() / self.median(0).as_secs_f64();
        let gap = bounds.gap.map_or_else(|| "-".to_owned(), millis);
        let address = self.left(|outcome| outcome.left, bounds.address);
        let service = self.left(|outcome| outcome.served, bounds.service);
        let others = self.others();
        write!(f, " {ratio:>6.2} {gap:>8} {others:>6} {address:>14} {service:>14}")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |words: [&str; 12]| {
            let [what, detection, daemon, runs, v4, worst4, v6, worst6, ratio, bound, others, rest] =
                words;
            writeln!(
                f,
                "{what:<14} {detection:<9} {daemon:<12} {runs:>5} {v4:>8} {worst4:>8} {v6:>8} \
                 {worst6:>8} {ratio:>6} {bound:>8} {others:>6} {rest}"
            )
        };
        let behind = "left behind by the daemon";
        line(["gap in ms", "", "", "", "IPv4", "", "IPv6", "", "v6/v4", "gap", "others", behind])?;
        let behind = "    address <        service <";
        line([
            "what",
            "detection",
            "daemon",
            "runs",
            "median",
            "worst",
            "median",
            "worst",
            "median",
            "bound",
            "amiss",
            behind,
        ])?;
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
        Outcome { gaps: [gap, gap * 2], others: 1, left, served: None }
    }

    fn row(daemon: &str, outcomes: Vec<Outcome>) -> Row {
        let bounds = Bounds {
            gap: Some(Duration::from_micros(12_300)),
            address: Some(Duration::from_secs(1)),
            service: None,
        };
        let (fault, setting) = (Fault::Kill, Setting::ALL[1]);
        Row { fault, setting, daemon: daemon.to_owned(), outcomes, failed: 1, bounds }
    }

    fn outcomes() -> Vec<Outcome> {
        let gone = Some(Left::Gone(Duration::from_secs(9)));
        let stays = Some(Left::Stays(Duration::from_millis(5_500)));
        vec![outcome(30, gone), outcome(10, stays), outcome(20, None)]
    }

    #[test]
    fn a_row_has_median_worst_and_the_worst_that_was_left() {
        let words = row("keepalived", outcomes()).to_string();
        let words: Vec<_> = words.split_whitespace().collect();
        let expected = "daemon killed 100ms x 3 keepalived 3/4 20.0 30.0 40.0 60.0 2.00 12.3 3 \
            stays >5500 <1000 -";
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn what_is_promised_is_judged_and_times_only_if_they_are_asked_for() {
        assert_eq!(row("keepalived", outcomes()).amiss(true), Vec::<String>::new());
        let what = |line: &String| line.rsplit(": ").next().unwrap_or_default().to_owned();
        let said =
            |row: Row, times| row.amiss(times).iter().map(what).collect::<Vec<_>>().join("; ");
        let anywhere = "1 runs failed; the address stays";
        assert_eq!(said(row("arbiter", outcomes()), false), anywhere);
        let mut cut = row("arbiter", vec![outcome(10, None)]);
        (cut.fault, cut.failed) = (Fault::Cut, 0);
        assert_eq!(said(cut, false), "1 answers from who was not entitled");
        let mut late = row("none", vec![outcome(30, Some(Left::Gone(Duration::from_secs(9))))]);
        late.failed = 0;
        assert_eq!(said(late.clone(), false), "");
        let whole = late.amiss(true);
        assert_eq!(whole[0], "daemon killed, 100ms x 3, none: a gap of 60.0 ms");
        let times = "a gap of 60.0 ms; the address was there for 9000.0 ms";
        assert_eq!(said(late.clone(), true), times);
        late.outcomes = vec![outcome(6, Some(Left::Gone(Duration::from_secs(1))))];
        assert_eq!(said(late, true), "");
    }
}
