//! The deadline of R5 held outside of the daemon, which may be killed or stopped.

use core::time::Duration;
use std::ffi::OsStr;
use std::format;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::process::{Command, Stdio};
use std::string::String;
use std::vec;
use std::{eprintln, println};

use ha_proto::{Epoch, Instant, Machine, Outbox};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal,
    setpriority_process, waitid,
};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, clock_gettime,
    timerfd_create, timerfd_settime,
};

use super::cgroup::Cgroup;
use super::child::wait_for;
use super::deadline::{Act, Fact, Watch};

/// The daemon's end: speaks to the guardian of one module through its socket, and starts one where
/// none listens.
///
/// Dropping it leaves the guardian where it is, with its last deadline: the next daemon finds it.
#[derive(Debug)]
pub struct Guardian {
    post: Post,
    program: PathBuf,
    socket: UnixDatagram,
    /// Until when the service of that reign may run, if it may.
    right: Option<(Epoch, Instant)>,
    /// Whether it is to watch that: not while nothing runs.
    watches: bool,
    /// Its process: reaped at its end where it is a child of this one, be it one that an earlier
    /// program of this process started.
    process: Option<OwnedFd>,
}

/// What a guardian is told at its start, and how its program is called:
/// `ha-guardian SOCKET GROUP GRACE-IN-MILLISECONDS [WATCHDOG]`. The next daemon may tell it another
/// grace, group and watchdog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Where it listens: a Unix socket that it makes.
    pub socket: PathBuf,
    /// The control group of the processes that it freezes and kills. A unit's is there only while
    /// it runs; the folder that it will be in must be there.
    pub group: PathBuf,
    /// How long they stay frozen before they are killed; 1 ms to an hour. Long enough for a daemon
    /// that was only paused to go on.
    pub grace: Duration,
    /// A watchdog device to feed, which resets the machine when what had to die does not.
    pub watchdog: Option<PathBuf>,
}

impl Guardian {
    /// Finds the guardian that listens there, or starts `program` as one. One that is found takes
    /// what this post says otherwise than its own, and keeps its deadline.
    ///
    /// # Errors
    /// It cannot be started, or is not ready in time.
    pub fn engage(program: &Path, post: Post) -> io::Result<Self> {
        let program = program.to_owned();
        let Ok(socket) = connect(&post.socket) else {
            let (socket, process) = spawn(&program, &post)?;
            return Ok(Self { post, program, socket, right: None, watches: false, process });
        };
        let process = found(&post.socket);
        let mut guardian = Self { post, program, socket, right: None, watches: false, process };
        guardian.tell(&Word::Post(guardian.post.terms()))?;
        Ok(guardian)
    }

    /// The service of this reign may run for `right` from now.
    ///
    /// # Errors
    /// The guardian hears nothing, and no other can be started: the deadline before this one holds.
    pub fn feed(&mut self, epoch: Epoch, right: Duration) -> io::Result<()> {
        let until = boottime() + right;
        self.tell(&Word::Hear(Fact::Feed { epoch, until }))?;
        (self.right, self.watches) = (Some((epoch, until)), true);
        Ok(())
    }

    /// Whether it was told of a right that has not ended.
    pub fn is_fed(&self) -> bool {
        self.right.is_some_and(|(_, until)| boottime() < until)
    }

    /// The service that was fed last may run for `right` from now, if it still may. Told only if
    /// that is a sixteenth more than was told before, or a guardian that sleeps for a moment
    /// would have no room for more words. One that is gone is not replaced, and one that hears
    /// nothing keeps the deadline before this one.
    pub fn beat(&mut self, right: Duration) {
        let Some((epoch, until)) = self.right else { return };
        let next = boottime() + right;
        if next < until + right / 16 {
            return;
        }
        let word = Word::Hear(Fact::Feed { epoch, until: next });
        if !self.watches || self.send(&word).is_ok() {
            self.right = Some((epoch, next));
        }
    }

    /// What was fed before it [rested](Self::rest) is started again, and watched again, if its right
    /// has not ended; nothing where it was fenced.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    pub fn watch(&mut self) -> io::Result<()> {
        let Some((epoch, until)) = self.right.filter(|_| self.is_fed()) else { return Ok(()) };
        self.tell(&Word::Hear(Fact::Feed { epoch, until }))?;
        self.watches = true;
        Ok(())
    }

    /// The service must stop now.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    pub fn fence(&mut self, epoch: Epoch) -> io::Result<()> {
        (self.right, self.watches) = (None, false);
        self.tell(&Word::Hear(Fact::Fence(epoch)))
    }

    /// Nothing runs any more.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    pub fn rest(&mut self) -> io::Result<()> {
        self.watches = false;
        self.tell(&Word::Hear(Fact::Rest))
    }

    /// Nothing runs, and nothing will: the guardian ends. One that still watches something does
    /// not, and is left where it is.
    ///
    /// # Errors
    /// The guardian hears nothing, or goes on.
    pub fn dismiss(mut self) -> io::Result<()> {
        self.send(&Word::Quit)?;
        let Some(process) = self.process.take() else { return Ok(()) };
        if gone(&process, QUIT_MAX)? {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::TimedOut, "the guardian still watches the service"))
    }

    fn tell(&mut self, word: &Word) -> io::Result<()> {
        match self.send(word) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                tracing::warn!(guardian = %self.post.socket.display(), "the guardian is gone");
                if let Some(process) = self.process.take() {
                    let _ = pidfd_send_signal(&process, Signal::KILL);
                    gone(&process, QUIT_MAX)?;
                }
                (self.socket, self.process) = spawn(&self.program, &self.post)?;
                self.send(word)
            }
            result => result,
        }
    }

    /// Never waits: one that hears nothing must not hold up the daemon.
    fn send(&self, word: &Word) -> io::Result<()> {
        self.socket.send(&word.encode()).map(drop)
    }
}

impl Post {
    /// Reads the program's arguments.
    ///
    /// # Errors
    /// What is wrong with them, in a line.
    pub fn from_args(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let args: Vec<String> = args.into_iter().collect();
        let (socket, group, grace, watchdog) = match args.as_slice() {
            [socket, group, grace] => (socket, group, grace, None),
            [socket, group, grace, watchdog] => (socket, group, grace, Some(watchdog)),
            _ => return Err("usage: ha-guardian SOCKET GROUP MILLISECONDS [WATCHDOG]".into()),
        };
        let grace = match grace.parse() {
            Ok(millis @ 1..=GRACE_MAX) => Duration::from_millis(millis),
            Ok(_) | Err(_) => return Err(format!("{grace}: a grace is 1 to {GRACE_MAX} ms")),
        };
        let watchdog = watchdog.map(Into::into);
        Ok(Self { socket: socket.into(), group: group.into(), grace, watchdog })
    }

    /// The guardian's program: keeps watch until it is dismissed.
    ///
    /// # Errors
    /// Another guardian listens there, or there is no such group, or the kernel refuses a socket or
    /// a timer.
    pub fn keep(&self) -> io::Result<()> {
        hold_on();
        let mut watching = Watching::begin(self)?;
        println!("{READY}");
        io::stdout().flush()?;
        while watching.turn()? {}
        fs::remove_file(pid_file(&self.socket))?;
        fs::remove_file(&self.socket)
    }

    fn terms(&self) -> Terms {
        let (grace, group, watchdog) = (self.grace, self.group.clone(), self.watchdog.clone());
        Terms { grace, group, watchdog }
    }
}

/// What of a post may change while the guardian is at it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Terms {
    grace: Duration,
    group: PathBuf,
    watchdog: Option<PathBuf>,
}

/// Where the guardian says which process it is, before it listens.
fn pid_file(socket: &Path) -> PathBuf {
    socket.with_extension("pid")
}

/// The longest grace: an hour.
const GRACE_MAX: u64 = 3_600_000;

/// How long a guardian may take to be ready: a loaded machine loads a small program.
const READY_MAX: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// How long a guardian may take to end.
const QUIT_MAX: Duration = Duration::from_secs(5);

/// What a guardian prints when it listens.
const READY: &str = "ready";

/// How often a watchdog is fed: devices wait for 10 s or longer.
const WATCHDOG_EVERY: Duration = Duration::from_secs(1);

/// How long what was killed may take to go before the watchdog is starved.
const GONE_MAX: Duration = Duration::from_secs(10);

/// A datagram to a guardian. All integers are big-endian.
///
/// | at | bytes | |
/// |---|---|---|
/// | 0 | 1 | 1 feed, 2 fence, 3 rest, 4 quit, 5 post |
/// | 1 | 8 | feed, fence: epoch; post: grace in milliseconds; else 0 |
/// | 9 | 8 | feed: until when it may run, in nanoseconds of `CLOCK_BOOTTIME`; else 0 |
/// | 17 | … | post: the path of the group, a zero, the path of the watchdog or nothing |
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Hear(Fact),
    /// Watches on by these terms.
    Post(Terms),
    /// Ends, if nothing runs.
    Quit,
}

impl Word {
    /// Of a word without paths.
    const LEN: usize = 17;
    /// Of the longest word: two of the longest paths that the kernel takes.
    const MAX: usize = Self::LEN + 2 * 4096 + 1;

    fn encode(&self) -> Vec<u8> {
        let (kind, first, second) = match self {
            Self::Hear(Fact::Feed { epoch, until }) => (1, epoch.bits(), until.as_nanos()),
            Self::Hear(Fact::Fence(epoch)) => (2, epoch.bits(), 0),
            Self::Hear(Fact::Rest) => (3, 0, 0),
            Self::Hear(Fact::Tick) => unreachable!("a guardian has a clock of its own"),
            Self::Quit => (4, 0, 0),
            Self::Post(terms) => {
                (5, u64::try_from(terms.grace.as_millis()).unwrap_or(GRACE_MAX), 0)
            }
        };
        let mut bytes = vec![kind];
        bytes.extend(u64::to_be_bytes(first));
        bytes.extend(u64::to_be_bytes(second));
        if let Self::Post(terms) = self {
            bytes.extend(terms.group.as_os_str().as_bytes());
            bytes.push(0);
            bytes.extend(terms.watchdog.iter().flat_map(|path| path.as_os_str().as_bytes()));
        }
        bytes
    }

    /// `None` for what no daemon of ours sends.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, paths) = bytes.split_first_chunk::<{ Self::LEN }>()?;
        let word = |at: usize| -> u64 {
            head[at..at + 8].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
        };
        let (epoch, until) = (Epoch::from_bits(word(1)), Instant::from_nanos(word(9)));
        match (head[0], word(1), word(9), paths) {
            (1, _, _, []) => Some(Self::Hear(Fact::Feed { epoch, until })),
            (2, _, 0, []) => Some(Self::Hear(Fact::Fence(epoch))),
            (3, 0, 0, []) => Some(Self::Hear(Fact::Rest)),
            (4, 0, 0, []) => Some(Self::Quit),
            (5, millis @ 1..=GRACE_MAX, 0, paths) => {
                let mut paths = paths.split(|&byte| byte == 0);
                let path = |bytes| PathBuf::from(OsStr::from_bytes(bytes));
                let (group, watchdog) = (paths.next()?, paths.next()?);
                let watchdog = (!watchdog.is_empty()).then(|| path(watchdog));
                let whole = !group.is_empty() && paths.next().is_none();
                let grace = Duration::from_millis(millis);
                whole.then(|| Self::Post(Terms { grace, group: path(group), watchdog }))
            }
            (_, _, _, _) => None,
        }
    }
}

/// A guardian at work.
struct Watching {
    watch: Watch,
    /// What it watches, and by which terms.
    terms: Terms,
    /// The group that it is to watch once nothing runs in the one that it watches.
    next: Option<PathBuf>,
    socket: UnixDatagram,
    timer: OwnedFd,
    dog: Option<Dog>,
}

/// A watchdog device.
struct Dog {
    device: File,
    next: Instant,
    /// When what was killed must be gone.
    gone: Option<Instant>,
}

impl Watching {
    fn begin(post: &Post) -> io::Result<Self> {
        if connect(&post.socket).is_ok() {
            let text = format!("another guardian listens at {}", post.socket.display());
            return Err(io::Error::new(ErrorKind::AddrInUse, text));
        }
        let group = &post.group;
        match Cgroup::open(group.clone()) {
            // Nothing runs there yet.
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && group.parent().is_some_and(Path::is_dir) => {}
            found => drop(found?),
        }
        let dog = post.watchdog.as_deref().map(Dog::open).transpose()?;
        match fs::remove_file(&post.socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::write(pid_file(&post.socket), format!("{}\n", std::process::id()))?;
        let socket = UnixDatagram::bind(&post.socket)?;
        fs::set_permissions(&post.socket, Permissions::from_mode(0o600))?;
        socket.set_nonblocking(true)?;
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
        let watch = Watch::new(post.grace);
        Ok(Self { watch, terms: post.terms(), next: None, socket, timer, dog })
    }

    /// Waits for a word or the deadline and does what follows; whether it goes on.
    fn turn(&mut self) -> io::Result<bool> {
        self.sleep()?;
        let mut bytes = [0; Word::MAX + 1];
        for _ in 0..WORDS_MAX {
            match self.socket.recv(&mut bytes) {
                Ok(len) => match Word::decode(&bytes[..len]) {
                    Some(Word::Hear(fact)) => self.tell(fact),
                    Some(Word::Post(terms)) => self.take(terms),
                    Some(Word::Quit) if self.watches_nothing() => {
                        self.dog.take().map_or(Ok(()), Dog::leave)?;
                        return Ok(false);
                    }
                    Some(Word::Quit) | None => eprintln!("ha-guardian: a word it does not take"),
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // Words first: what was said in time counts although this process was late.
        self.tell(Fact::Tick);
        if let Some(dog) = &mut self.dog {
            dog.pat(boottime(), &self.terms.group);
        }
        Ok(true)
    }

    /// It was told so; or it killed all that ran, and the daemon that dismisses it never knew of
    /// that.
    fn watches_nothing(&self) -> bool {
        let empty = || Cgroup::open(self.terms.group.clone()).and_then(|group| group.is_empty());
        let gone = || empty().unwrap_or_else(|error| error.kind() == ErrorKind::NotFound);
        self.watch.rests() || (self.watch.has_killed() && gone())
    }

    /// The next daemon has other terms. What runs stays guarded: the deadline is kept, a group is
    /// left when it rests, and a watchdog when the next one is fed.
    fn take(&mut self, terms: Terms) {
        self.watch.set_grace(terms.grace);
        self.terms.grace = terms.grace;
        if terms.watchdog != self.terms.watchdog {
            match terms.watchdog.as_deref().map(Dog::open).transpose() {
                Ok(dog) => {
                    let before = core::mem::replace(&mut self.dog, dog);
                    if let Err(error) = before.map_or(Ok(()), Dog::leave) {
                        eprintln!("ha-guardian: the watchdog before is not let go: {error}");
                    }
                    self.terms.watchdog = terms.watchdog;
                }
                Err(error) => eprintln!("ha-guardian: the one before is fed on: {error}"),
            }
        }
        self.next = (terms.group != self.terms.group).then_some(terms.group);
        self.change_group();
    }

    fn change_group(&mut self) {
        if self.watch.rests()
            && let Some(group) = self.next.take()
        {
            self.terms.group = group;
        }
    }

    fn tell(&mut self, fact: Fact) {
        let mut out = Outbox::new(Watch::OUTPUTS_MAX);
        let now = boottime();
        self.watch.handle(now, fact, &mut out);
        while let Some(act) = out.pop() {
            let done = Cgroup::open(self.terms.group.clone()).and_then(|group| match act {
                Act::Freeze => group.freeze(),
                Act::Thaw => group.thaw(),
                Act::Kill => group.kill(),
            });
            eprintln!("ha-guardian: {act:?} {}: {done:?}", self.terms.group.display());
            if let Some(dog) = &mut self.dog {
                // A group that was removed has no process: nothing to wait for.
                let removed = done.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound);
                dog.gone = (act == Act::Kill && !removed).then(|| now + GONE_MAX);
            }
        }
        self.change_group();
    }

    fn sleep(&self) -> io::Result<()> {
        let watch = self.watch.deadline().map(|deadline| deadline.at);
        let next = watch.into_iter().chain(self.dog.as_ref().map(|dog| dog.next)).min();
        // Zero, which is no instant of a running machine, disarms.
        let value = timespec(next.unwrap_or(Instant::ZERO));
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval: never, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        let (socket, timer) = (self.socket.as_fd(), self.timer.as_fd());
        let mut files = [socket, timer].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match poll(&mut files, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Words that are taken before the clock is looked at again: a flood must not hold it up.
const WORDS_MAX: usize = 16;

impl Dog {
    fn open(path: &Path) -> io::Result<Self> {
        let device = OpenOptions::new().append(true).open(path).map_err(|error| {
            io::Error::new(error.kind(), format!("watchdog {}: {error}", path.display()))
        })?;
        Ok(Self { device, next: boottime(), gone: None })
    }

    /// Feeds it when that is due, unless what had to die does not.
    fn pat(&mut self, now: Instant, group: &Path) {
        if now < self.next {
            return;
        }
        self.next = now + WATCHDOG_EVERY;
        let overdue = self.gone.is_some_and(|by| by <= now);
        let empty = || Cgroup::open(group.into()).and_then(|group| group.is_empty());
        if overdue && !empty().unwrap_or(true) {
            eprintln!("ha-guardian: killed processes do not go: the watchdog is not fed");
            return;
        }
        if let Err(error) = self.device.write_all(b"\0") {
            eprintln!("ha-guardian: the watchdog cannot be fed: {error}");
        }
    }

    /// Disarms it: the "magic close" of the kernel's watchdog API.
    fn leave(mut self) -> io::Result<()> {
        self.device.write_all(b"V")
    }
}

/// Keeps this process awake where the machine is short of memory or time, as far as it may.
fn hold_on() {
    let warn = |what: &str, error: &dyn core::fmt::Display| {
        eprintln!(
            "ha-guardian: {what} is not allowed ({error}): it may be late on a loaded machine"
        );
    };
    if let Err(error) = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE) {
        warn("locked memory", &error);
    }
    if let Err(error) = fs::write("/proc/self/oom_score_adj", "-1000") {
        warn("to outlive a lack of memory", &error);
    }
    // No safe wrapper of sched_setscheduler is around; util-linux is on every server.
    let mut realtime = Command::new("chrt");
    realtime.args(["--fifo", "--pid", "10"]).arg(format!("{}", std::process::id()));
    let done = realtime.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !done.is_ok_and(|status| status.success())
        && let Err(error) = setpriority_process(None, -20)
    {
        warn("real-time priority", &error);
    }
}

fn connect(socket: &Path) -> io::Result<UnixDatagram> {
    let end = UnixDatagram::unbound()?;
    end.connect(socket)?;
    end.set_nonblocking(true)?;
    Ok(end)
}

/// The process of the guardian that listens there, if it says which it is.
fn found(socket: &Path) -> Option<OwnedFd> {
    let text = fs::read_to_string(pid_file(socket)).ok()?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Waits for the end of a guardian, for `limit` at most; whether it has ended. It is reaped where
/// it is a child of this process.
fn gone(process: &OwnedFd, limit: Duration) -> io::Result<bool> {
    wait_for(&[process], limit)?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match waitid(WaitId::PidFd(process.as_fd()), options) {
        Ok(status) => Ok(status.is_some()),
        // Of another daemon: its end is seen all the same.
        Err(rustix::io::Errno::CHILD) => {
            let mut file = [PollFd::new(process, PollFlags::IN)];
            Ok(poll(&mut file, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0)
        }
        Err(error) => Err(error.into()),
    }
}

/// Starts a guardian and waits until it listens.
fn spawn(program: &Path, post: &Post) -> io::Result<(UnixDatagram, Option<OwnedFd>)> {
    let mut command = Command::new(program);
    command.arg(&post.socket).arg(&post.group).arg(format!("{}", post.grace.as_millis()));
    command.args(&post.watchdog).stdin(Stdio::null()).stdout(Stdio::piped());
    // What is sent to the daemon's group at a terminal is not meant for it.
    let mut child = command.process_group(0).spawn().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot start {}: {error}", program.display()))
    })?;
    let stdout = child.stdout.take().expect("the standard output was asked to be a pipe");
    let mut line = String::new();
    let ready = match poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&READY_MAX)) {
        Ok(0) => Err(ErrorKind::TimedOut.into()),
        Ok(_) => BufReader::new(stdout).read_line(&mut line).map(|_| line.trim() == READY),
        Err(error) => Err(error.into()),
    };
    if let Ok(true) = ready {
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        return Ok((connect(&post.socket)?, Some(process)));
    }
    let _ = child.kill();
    child.wait()?;
    let why = ready.err().map_or(String::from("it says why above"), |error| format!("{error}"));
    Err(io::Error::other(format!("{} is not ready: {why}", program.display())))
}

fn boottime() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Instant::from_nanos(seconds.saturating_mul(NANOS).saturating_add(nanos))
}

fn timespec(at: Instant) -> Timespec {
    let (seconds, nanos) = (at.as_nanos() / NANOS, at.as_nanos() % NANOS);
    let fits = "nanoseconds in 64 bits are fewer seconds than 63 bits hold";
    Timespec { tv_sec: seconds.try_into().expect(fits), tv_nsec: nanos.try_into().expect(fits) }
}

const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use ha_proto::NodeId;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_these_bytes() {
        let epoch = Epoch::new(3, NodeId::new(1).unwrap());
        let feed = Word::Hear(Fact::Feed { epoch, until: Instant::from_nanos(0x0102) });
        let golden = [1, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 1, 2];
        assert_eq!(feed.encode(), golden);
        let terms = |watchdog: Option<&str>| {
            let (grace, watchdog) = (Duration::from_millis(0x0304), watchdog.map(Into::into));
            Word::Post(Terms { grace, group: "/g".into(), watchdog })
        };
        let post = [5, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, b'/', b'g', 0];
        assert_eq!(terms(None).encode(), post);
        assert_eq!(terms(Some("/w")).encode(), [&post[..], b"/w"].concat());
        let posts = [terms(None), terms(Some("/w"))];
        let words = [feed, Word::Hear(Fact::Fence(epoch)), Word::Hear(Fact::Rest), Word::Quit];
        for word in words.into_iter().chain(posts) {
            assert_eq!(Word::decode(&word.encode()), Some(word));
        }
        for end in 1..post.len() {
            assert_eq!(Word::decode(&post[..end]), None, "a word that was cut off");
        }
        assert_eq!(Word::decode(&golden[1..]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_word_or_none(bytes in proptest::collection::vec(prop_oneof![Just(0_u8), 0..6_u8, any::<u8>()], 0..40)) {
            if let Some(word) = Word::decode(&bytes) {
                prop_assert_eq!(word.encode(), bytes);
            }
        }
    }

    #[test]
    fn arguments_are_read_or_said_to_be_wrong() {
        let read = |line: &str| Post::from_args(line.split_whitespace().map(String::from));
        let post = Post {
            socket: "/s".into(),
            group: "/g".into(),
            grace: Duration::from_millis(20),
            watchdog: None,
        };
        assert_eq!(read("/s /g 20"), Ok(post.clone()));
        let watchdog = Some("/dev/watchdog".into());
        assert_eq!(read("/s /g 20 /dev/watchdog"), Ok(Post { watchdog, ..post }));
        for wrong in ["0", "x", "-1", "3600001"] {
            let says = format!("{wrong}: a grace is 1 to 3600000 ms");
            assert_eq!(read(&format!("/s /g {wrong}")), Err(says));
        }
        for wrong in ["", "/s /g", "/s /g 1 /w more"] {
            assert!(read(wrong).unwrap_err().starts_with("usage: "), "{wrong}");
        }
    }

    #[test]
    fn time_is_the_kernels() {
        let at = Instant::from_nanos(12_000_000_345);
        assert_eq!(timespec(at), Timespec { tv_sec: 12, tv_nsec: 345 });
        assert!(boottime() > Instant::ZERO);
    }
}
