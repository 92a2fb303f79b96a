//! A client that asks all the time.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ha_proto::Instant;

use crate::clock::{now, within};
use crate::host::Host;
use crate::programs::program;
use crate::report::{Answer, Line, Report};

/// A client that sends a numbered request again and again, and notes each answer. It is a process
/// of its own on its host, ahead of others where the machine allows it (`chrt --fifo`), so that
/// what it measures is not the test's own load. Dropping it ends it.
#[derive(Debug)]
pub struct Prober {
    child: Child,
    heard: Arc<Mutex<Heard>>,
    reader: Option<JoinHandle<()>>,
}

impl Prober {
    /// Starts to ask the echo service at `target` over UDP, once `every` so long. Requests go from
    /// one port, and only answers from `target` itself count, as with a real client.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(client: &Host, target: SocketAddr, every: Duration) -> io::Result<Self> {
        let path = program("ha-lab-prober")?;
        let mut command = client.first_command(&path);
        command.args([target.to_string(), every.as_micros().to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().expect("the standard output was asked to be a pipe");
        let heard = Arc::new(Mutex::new(Heard::new()));
        let filled = Arc::clone(&heard);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                lock(&filled).take(&line);
            }
        });
        Ok(Self { child, heard, reader: Some(reader) })
    }

    /// Waits until `name` answers a request that is sent from now on; says whether it did within
    /// `timeout`.
    pub fn wait_for(&self, name: &str, timeout: Duration) -> bool {
        let called = now();
        within(timeout, || {
            let heard = lock(&self.heard);
            let answers = heard.report.answers.iter().rev();
            let mut newest = answers.take_while(|answer| answer.heard >= called);
            newest.any(|answer| answer.sent >= called && &*answer.by == name)
        })
    }

    /// The newest answer, if any came.
    pub fn last(&self) -> Option<Answer> {
        lock(&self.heard).report.answers.last().cloned()
    }

    /// Ends it, and tells everything that it heard.
    ///
    /// # Errors
    /// The prober failed, printed something else, or heard more than fits.
    pub fn finish(mut self) -> io::Result<Report> {
        // It ends when its standard input does.
        drop(self.child.stdin.take());
        let reader = self.reader.take().expect("it is finished once");
        reader.join().map_err(|_| io::Error::other("the prober's reader panicked"))?;
        let status = self.child.wait()?;
        let heard = std::mem::replace(&mut *lock(&self.heard), Heard::new());
        match heard.fault {
            Some(fault) => Err(io::Error::other(fault)),
            None if heard.ended => Ok(heard.report),
            None => Err(io::Error::other(format!("the prober failed: {status}"))),
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        // It may have ended; then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// More than half an hour of answers to a request each millisecond, in 100 MiB.
const ANSWERS_MAX: usize = 2_000_000;

/// What the process said until now.
#[derive(Debug)]
struct Heard {
    /// Only the answers, until it ended.
    report: Report,
    ended: bool,
    /// Each name once: a client may hear the same two a million times.
    names: BTreeSet<Arc<str>>,
    fault: Option<String>,
}

impl Heard {
    fn new() -> Self {
        let (began, late) = (Instant::ZERO, Duration::ZERO);
        let report = Report { answers: Vec::new(), asked: 0, began, ended: began, late };
        Self { report, ended: false, names: BTreeSet::new(), fault: None }
    }

    fn take(&mut self, line: &str) {
        match line.parse() {
            Ok(Line::Answer(_)) if self.report.answers.len() == ANSWERS_MAX => {
                self.fault = Some(format!("more than {ANSWERS_MAX} answers: ask less often"));
            }
            Ok(Line::Answer(answer)) => {
                let by = self.names.get(&answer.by).cloned().unwrap_or_else(|| {
                    self.names.insert(Arc::clone(&answer.by));
                    Arc::clone(&answer.by)
                });
                self.report.answers.push(Answer { by, ..answer });
            }
            Ok(Line::End { asked, began, ended, late }) => {
                let answers = std::mem::take(&mut self.report.answers);
                self.report = Report { answers, asked, began, ended, late };
                self.ended = true;
            }
            Err(error) => self.fault = Some(format!("{error}: {line:?}")),
        }
    }
}

/// A reader that panicked left whole lines: what is there is right.
fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_add_up_to_a_report() {
        let mut heard = Heard::new();
        for line in ["answer 0 10 20 a", "answer 2 30 40 b", "answer 1 20 50 a"] {
            heard.take(line);
        }
        assert!(!heard.ended);
        heard.take("end 4 10 60 7");
        let answer = |number, sent, heard, by: &str| Answer {
            number,
            sent: Instant::from_nanos(sent),
            heard: Instant::from_nanos(heard),
            by: by.into(),
        };
        let answers = vec![answer(0, 10, 20, "a"), answer(2, 30, 40, "b"), answer(1, 20, 50, "a")];
        let (began, ended) = (Instant::from_nanos(10), Instant::from_nanos(60));
        let late = Duration::from_nanos(7);
        assert_eq!(heard.report, Report { answers, asked: 4, began, ended, late });
        assert!(heard.ended);
        assert_eq!(heard.names.len(), 2);
        assert_eq!(heard.fault, None);
    }

    #[test]
    fn anything_else_is_a_fault() {
        let mut heard = Heard::new();
        heard.take("panicked");
        assert_eq!(heard.fault.as_deref(), Some("not what a prober prints: \"panicked\""));
    }
}
