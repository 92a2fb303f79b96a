//! The table at the end.

use std::fmt;
use std::time::Duration;

/// What happened at one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// When it began, since the clients began.
    pub at: Duration,
    /// What happened.
    pub what: String,
    /// Until the pair was as it should be.
    pub settled: Duration,
    /// The longest interruption that a client saw come to its end; `None` when nobody was served.
    pub worst: Option<Duration>,
    /// Lines acknowledged meanwhile.
    pub lines: u64,
    /// The nodes' roles after it.
    pub roles: [String; 2],
}

/// The rows, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table(pub Vec<Row>);

impl Table {
    /// A client waited so long, and the newest event was the cause.
    pub(crate) fn waited(&mut self, time: Duration) {
        if let Some(worst) = self.0.last_mut().and_then(|row| row.worst.as_mut()) {
            *worst = time.max(*worst);
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>6} {:<36} {:>7} {:>8} {:>5} {:<6} B",
            "when", "what", "settled", "waited", "lines", "A"
        )?;
        for row in &self.0 {
            let worst = match row.worst {
                Some(worst) => format!("{:.0} ms", worst.as_secs_f64() * 1e3),
                None => "unserved".into(),
            };
            writeln!(
                f,
                "{:>4.1} s {:<36} {:>5.2} s {worst:>8} {:>5} {:<6} {}",
                row.at.as_secs_f64(),
                row.what,
                row.settled.as_secs_f64(),
                row.lines,
                row.roles[0],
                row.roles[1],
            )?;
        }
        writeln!(f, "waited: the longest that one client waited for the answer to one request")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            at: Duration::from_millis(1250),
            what: "primary killed".into(),
            settled: Duration::from_millis(320),
            worst: Some(Duration::from_millis(312)),
            lines: 42,
            roles: ["down".into(), "ALONE".into()],
        }
    }

    #[test]
    fn what_was_waited_before_the_next_event_belongs_to_the_newest_one_with_service() {
        let mut table = Table::default();
        table.waited(Duration::from_secs(9));
        assert_eq!(table, Table::default());
        table.0.extend([row(), Row { worst: None, ..row() }]);
        table.waited(Duration::from_secs(1));
        assert_eq!(table.0[1].worst, None, "nobody was served: the next event tells");
        table.0.pop();
        table.waited(Duration::from_millis(1));
        assert_eq!(table.0[0].worst, Some(Duration::from_millis(312)));
        table.waited(Duration::from_secs(1));
        assert_eq!(table.0[0].worst, Some(Duration::from_secs(1)));
    }

    #[test]
    fn rows_are_aligned() {
        let text = Table(vec![row()]).to_string();
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[0].find("lines").map(|at| at + 5), rows[1].find("42").map(|at| at + 2));
        assert!(rows[1].ends_with(" down   ALONE"), "{}", rows[1]);
        assert!(rows.iter().all(|row| row.len() <= 80), "a terminal would break them");
    }
}
