//! What scripts print: one bounded log file for a module, each line with its time and script.

use std::format;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::process::Stdio;
use std::string::String;
use std::thread::{self, JoinHandle};
use std::vec;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::time::{ClockId, clock_gettime};

/// Collects what the scripts of a module and whatever they left running print.
///
/// Each script writes to a FIFO of its own, opened for both directions: what it left running
/// survives the daemon, because the pipe never breaks, and its next daemon goes on reading.
#[derive(Debug)]
pub struct Output {
    folder: PathBuf,
    end: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Output {
    /// Collects into `log` what comes through the pipes of `names`, which are made in `folder`. A
    /// log of `bytes` becomes `log` with `.1` behind it, and a new one begins.
    ///
    /// # Errors
    /// The folder, a pipe or the log cannot be made.
    pub fn start(
        folder: &Path,
        names: &[&'static str],
        log: &Path,
        bytes: u64,
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let log = Log::open(log, bytes)?;
        let sources = names.iter().map(|name| Source::open(folder, name)).collect::<Result<_, _>>();
        let sources: Vec<Source> = sources?;
        let end = eventfd(0, EventfdFlags::CLOEXEC)?;
        let ended = end.try_clone()?;
        let thread = thread::Builder::new()
            .name("ha-output".into())
            .spawn(move || collect(sources, log, &ended))?;
        Ok(Self { folder: folder.into(), end, thread: Some(thread) })
    }

    /// What a script of this name prints to.
    ///
    /// # Errors
    /// The pipe is gone.
    pub fn pipe(&self, name: &str) -> io::Result<Stdio> {
        Ok(both_ways(&self.folder, name, OFlags::empty())?.into())
    }

    /// The pipe of this name.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        path(&self.folder, name)
    }
}

impl Drop for Output {
    /// What was printed until now is in the log afterwards.
    fn drop(&mut self) {
        let rung = rustix::io::write(&self.end, &1u64.to_ne_bytes());
        if let (Ok(_), Some(thread)) = (rung, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// Bytes of one line; a longer one is cut into several.
const LINE_MAX: usize = 4096;

/// Bytes that are read at once: what a pipe of Linux holds.
const READ: usize = 65536;

/// One script's pipe and the line that is not whole yet.
struct Source {
    name: &'static str,
    pipe: File,
    line: Vec<u8>,
}

impl Source {
    fn open(folder: &Path, name: &'static str) -> io::Result<Self> {
        match mkfifoat(CWD, path(folder, name), Mode::RUSR | Mode::WUSR) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self { name, pipe: both_ways(folder, name, OFlags::NONBLOCK)?, line: vec![] })
    }

    /// Moves to the log what the pipe holds; at most as much as it can hold, then others have
    /// their turn.
    fn drain(&mut self, log: &mut Log, buffer: &mut [u8]) -> io::Result<()> {
        let read = match self.pipe.read(buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        };
        for &byte in &buffer[..read] {
            if byte != b'\n' {
                self.line.push(byte);
            }
            if byte == b'\n' || self.line.len() == LINE_MAX {
                self.flush(log)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, log: &mut Log) -> io::Result<()> {
        let text = String::from_utf8_lossy(&self.line);
        let now = clock_gettime(ClockId::Realtime);
        let line = format!("{} {}: {text}\n", stamp(now.tv_sec, now.tv_nsec), self.name);
        self.line.clear();
        log.write(line.as_bytes())
    }
}

/// A file that is put aside when it is full.
struct Log {
    path: PathBuf,
    file: File,
    len: u64,
    max: u64,
}

impl Log {
    fn open(path: &Path, max: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { path: path.into(), file, len, max })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let bytes = line.len() as u64;
        if self.len > 0 && self.len + bytes > self.max {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            fs::rename(&self.path, aside)?;
            *self = Self::open(&self.path, self.max)?;
        }
        self.file.write_all(line)?;
        self.len += bytes;
        Ok(())
    }
}

fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.out"))
}

fn both_ways(folder: &Path, name: &str, flags: OFlags) -> io::Result<File> {
    let flags = i32::try_from(flags.bits()).expect("flags of a file fit an int");
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path(folder, name))
}

fn collect(mut sources: Vec<Source>, mut log: Log, end: &OwnedFd) {
    let mut buffer = vec![0; READ];
    loop {
        let mut fds: Vec<_> =
            sources.iter().map(|source| PollFd::new(&source.pipe, PollFlags::IN)).collect();
        fds.push(PollFd::new(end, PollFlags::IN));
        if let Err(error) = poll(&mut fds, None)
            && error != rustix::io::Errno::INTR
        {
            tracing::error!(%error, "the output of scripts is not collected any more");
            return;
        }
        let over = fds.last().is_some_and(|end| !end.revents().is_empty());
        for source in &mut sources {
            let mut drained = source.drain(&mut log, &mut buffer);
            if over && !source.line.is_empty() {
                drained = drained.and_then(|()| source.flush(&mut log));
            }
            // A full disk must not stop the scripts: what cannot be kept is dropped.
            if let Err(error) = drained {
                tracing::warn!(script = source.name, %error, "output of a script is lost");
            }
        }
        if over {
            return;
        }
    }
}

/// The time of day in UTC, to the millisecond, from seconds since 1970.
fn stamp(seconds: i64, nanos: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days of the Gregorian calendar: Howard Hinnant, "chrono-compatible low-level date algorithms",
    // `civil_from_days`: years begin in March, so that the leap day is a year's last.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) =
        (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let millis = nanos / 1_000_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(stamp(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(stamp(951_782_399, 999_999_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(stamp(951_782_400, 0), "2000-02-29T00:00:00.000Z");
        assert_eq!(stamp(1_764_547_199, 5_000_000), "2025-11-30T23:59:59.005Z");
        assert_eq!(stamp(-1, 0), "1969-12-31T23:59:59.000Z");
    }

    /// The lines without their times.
    fn lines(log: &Path) -> Vec<String> {
        let text = fs::read_to_string(log).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.into()).collect()
    }

    fn print(output: &Output, name: &str, text: &[u8]) {
        let mut pipe = both_ways(&output.folder, name, OFlags::empty()).unwrap();
        pipe.write_all(text).unwrap();
    }

    #[test]
    fn each_line_names_its_script_and_the_last_one_counts_too() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let output = Output::start(folder.path(), &["start", "stop"], &log, 10_000).unwrap();
        print(&output, "start", b"one\ntwo\n");
        print(&output, "stop", b"three \xff");
        drop(output);
        assert_eq!(lines(&log), ["start: one", "start: two", "stop: three \u{fffd}"]);
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let output = Output::start(folder.path(), &["start"], &log, 100_000).unwrap();
        print(&output, "start", &[b'x'; LINE_MAX + 1]);
        drop(output);
        let lengths: Vec<_> = lines(&log).iter().map(|line| line.len() - "start: ".len()).collect();
        assert_eq!(lengths, [LINE_MAX, 1]);
    }

    #[test]
    fn a_full_log_is_put_aside_once() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        for round in ["a", "b", "c"] {
            let output = Output::start(folder.path(), &["start"], &log, 50).unwrap();
            print(&output, "start", format!("{round}\n").as_bytes());
        }
        assert_eq!(lines(&log), ["start: c"]);
        assert_eq!(lines(&folder.path().join("log.1")), ["start: b"]);
    }

    #[test]
    fn a_reader_that_returns_goes_on_where_the_last_one_ended() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let output = Output::start(folder.path(), &["start"], &log, 1_000).unwrap();
        let mut pipe = both_ways(folder.path(), "start", OFlags::empty()).unwrap();
        drop(output);
        pipe.write_all(b"meanwhile\n").unwrap();
        drop(Output::start(folder.path(), &["start"], &log, 1_000).unwrap());
        assert_eq!(lines(&log), ["start: meanwhile"]);
    }
}
