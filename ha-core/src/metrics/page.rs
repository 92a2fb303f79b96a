//! The text format: families, each with its head, of lines with labels.

use alloc::string::{String, ToString};
use core::fmt::Write;
use core::time::Duration;

use ha_replicate::Histogram;

/// What kind of number a family has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// It only grows, until the process starts anew.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counters of times, one for each bound.
    Histogram,
}

/// A number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Whole(u64),
    Ratio(f64),
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Whole(u64::from(yes))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Ratio(number)
    }
}

impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        Self::Ratio(time.as_secs_f64())
    }
}

/// One family on the page. Its head is written before its first line, and not without one.
#[derive(Debug)]
pub(super) struct Family<'a> {
    page: &'a mut String,
    name: &'static str,
    kind: Kind,
    help: &'static str,
    begun: bool,
}

impl<'a> Family<'a> {
    pub(super) fn new(
        page: &'a mut String,
        name: &'static str,
        kind: Kind,
        help: &'static str,
    ) -> Self {
        let plain = !help.contains(['\\', '\n']);
        assert!(plain, "a help text would have to be escaped");
        Self { page, name, kind, help, begun: false }
    }

    /// One line.
    pub(super) fn line(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) {
        self.series("", labels, value.into());
    }

    /// The lines of one histogram, in seconds. Each counts all that took no longer than its bound.
    pub(super) fn histogram(&mut self, label: (&str, &str), times: &Histogram) {
        let bounds =
            times.cumulative().map(|(bound, count)| (bound.as_secs_f64().to_string(), count));
        for (bound, count) in bounds.chain([("+Inf".to_string(), times.count())]) {
            self.series("_bucket", &[label, ("le", &bound)], count.into());
        }
        self.series("_sum", &[label], times.sum().into());
        self.series("_count", &[label], times.count().into());
    }

    fn series(&mut self, suffix: &str, labels: &[(&str, &str)], value: Value) {
        self.head();
        self.page.push_str(self.name);
        self.page.push_str(suffix);
        let mut before = '{';
        for (name, text) in labels {
            self.page.push(before);
            self.page.push_str(name);
            self.page.push_str("=\"");
            escape(text, self.page);
            self.page.push('"');
            before = ',';
        }
        if !labels.is_empty() {
            self.page.push('}');
        }
        let done = match value {
            Value::Whole(number) => writeln!(self.page, " {number}"),
            Value::Ratio(number) => writeln!(self.page, " {number}"),
        };
        done.expect("a String takes what is written");
    }

    fn head(&mut self) {
        if !core::mem::replace(&mut self.begun, true) {
            let kind = match self.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let Self { name, help, .. } = self;
            let done = writeln!(self.page, "# HELP {name} {help}\n# TYPE {name} {kind}");
            done.expect("a String takes what is written");
        }
    }
}

/// The value of a label between its quotes.
fn escape(text: &str, page: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => page.push_str("\\\\"),
            '"' => page.push_str("\\\""),
            '\n' => page.push_str("\\n"),
            _ => page.push(c),
        }
    }
}
