//! The table of the large figures.

use std::fmt;

/// What was measured, and what it stands beside.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What.
    pub what: String,
    /// Ours.
    pub ours: f64,
    /// What the machine, or another system, does.
    pub limit: f64,
    /// What that is.
    pub beside: &'static str,
    /// Of both.
    pub unit: &'static str,
}

/// All figures of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(pub Vec<Figure>);

impl Figure {
    /// Ours as a part of the limit.
    pub fn ratio(&self) -> f64 {
        self.ours / self.limit
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, ours, limit, beside, unit } = self;
        let ratio = self.ratio();
        write!(f, "{what:<44} {ours:>11.1} {limit:>11.1} {unit:<10} {ratio:>6.2}  {beside}")
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<44} {:>11} {:>11} {:<10} {:>6}  beside what",
            "figure", "ours", "beside", "unit", "ratio"
        )?;
        self.0.iter().try_for_each(|figure| writeln!(f, "{figure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_ends_with_the_ratio_and_what_it_is_beside() {
        let figure = Figure {
            what: "commits, 16 in flight".into(),
            ours: 300.0,
            limit: 400.0,
            beside: "local fdatasync",
            unit: "records/s",
        };
        let row = figure.to_string();
        assert!(row.ends_with("300.0       400.0 records/s    0.75  local fdatasync"), "{row}");
    }
}
