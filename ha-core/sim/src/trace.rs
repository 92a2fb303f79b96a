//! What happened, for a reader: one line each, one column for each site.

use std::fmt::{self, Write};

/// Whose column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Node 0.
    A,
    /// The witness.
    W,
    /// Node 1.
    B,
    /// A member of a farm, which has too many for columns: its number begins the line.
    Member(usize),
    /// The whole width: faults, phases, verdicts.
    World,
}

impl Column {
    /// The column of node 0 or 1.
    pub fn of(node: usize) -> Self {
        if node == 0 { Self::A } else { Self::B }
    }
}

/// The record of one history. Nothing is formatted unless it is on.
#[derive(Debug, Default)]
pub struct Trace {
    on: bool,
    text: String,
}

impl Trace {
    /// Records only when `on`.
    pub fn new(on: bool) -> Self {
        Self { on, text: String::new() }
    }

    /// Whether lines are recorded.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// One line at true time `at`; `text` is asked only when needed.
    pub fn line(&mut self, at: u64, column: Column, text: impl FnOnce() -> String) {
        if !self.on || self.text.len() > TEXT_MAX {
            return;
        }
        self.write(at, column, &text()).expect("a string takes everything");
    }

    /// Everything so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn write(&mut self, at: u64, column: Column, text: &str) -> fmt::Result {
        let out = &mut self.text;
        write!(out, "{:>4}.{:06} ", at / 1_000_000_000, at % 1_000_000_000 / 1_000)?;
        let before = match column {
            Column::A => 0,
            Column::W => 1,
            Column::B => 2,
            Column::Member(member) => return writeln!(out, "{member:>2} {text}"),
            Column::World => return writeln!(out, "== {text}"),
        };
        for _ in 0..before {
            write!(out, "{:WIDTH$}| ", "")?;
        }
        writeln!(out, "{text}")
    }
}

/// A column's width: three of them fit a wide terminal.
const WIDTH: usize = 40;
/// A history that says more than this repeats itself; the beginning is what matters.
const TEXT_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_side_by_side() {
        let mut trace = Trace::new(true);
        trace.line(1_000_002_000, Column::A, || "a".into());
        trace.line(2_000_000_000, Column::World, || "cut".into());
        trace.line(12_000_000_000, Column::W, || "w".into());
        let gap = " ".repeat(WIDTH);
        let expected = format!("   1.000002 a\n   2.000000 == cut\n  12.000000 {gap}| w\n");
        assert_eq!(trace.text(), expected);
    }

    #[test]
    fn nothing_is_formatted_when_off() {
        let mut trace = Trace::new(false);
        trace.line(1, Column::A, || unreachable!("asked for text that nobody reads"));
        assert_eq!(trace.text(), "");
    }
}
