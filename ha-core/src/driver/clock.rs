//! Time for the node: a clock that counts suspend, and an alarm on it.

use std::io;
use std::os::fd::OwnedFd;
use std::prelude::rust_2024::*;
use std::task::{Context, Poll, ready};

use ha_proto::Instant;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use super::watched::watch;

/// The driver's clock: nanoseconds of `CLOCK_BOOTTIME` since it was made, or since the machine
/// began. Monotonic, and it counts
/// the time that the machine slept (`CONTRACT.md` "Model").
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: u64,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self { origin: nanos() }
    }

    /// The machine's own: it began when the machine did, so every process reads the same.
    pub fn of_the_machine() -> Self {
        Self { origin: 0 }
    }

    /// The time since the clock began.
    pub fn now(self) -> Instant {
        Instant::from_nanos(nanos().saturating_sub(self.origin))
    }

    fn timespec(self, at: Instant) -> Timespec {
        // A timer at zero is disarmed: one at the machine's own start would never ring.
        let nanos = self.origin.saturating_add(at.as_nanos()).max(1);
        let seconds = i64::try_from(nanos / NANOS).unwrap_or(i64::MAX);
        Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanos % NANOS).unwrap_or(0) }
    }
}

/// Wakes the node's loop at an instant, to the microsecond, and at once after a sleep of the
/// machine that went past it.
#[derive(Debug)]
pub(crate) struct Alarm {
    clock: Clock,
    timer: AsyncFd<OwnedFd>,
    armed: Option<Instant>,
}

impl Alarm {
    /// An alarm that is not armed. Needs the runtime's context.
    pub(crate) fn new(clock: Clock) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        Ok(Self { clock, timer: watch(timer)?, armed: None })
    }

    /// Rings at `at` or before. One that is armed for an earlier time stays so: ringing early is
    /// harmless, and re-arming costs a system call.
    pub(crate) fn arm(&mut self, at: Instant) -> io::Result<()> {
        if self.armed.is_some_and(|armed| armed <= at) {
            return Ok(());
        }
        let value = self.clock.timespec(at);
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval: never, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        self.armed = Some(at);
        Ok(())
    }

    /// Ready once after each ring.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.timer.poll_read_ready(cx))?;
            let mut rings = [0; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer, &mut rings)?)) {
                Ok(read) => {
                    read?;
                    self.armed = None;
                    return Poll::Ready(Ok(()));
                }
                Err(_would_block) => {}
            }
        }
    }
}

fn nanos() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(NANOS).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use core::future::poll_fn;
    use core::time::Duration;

    use super::*;

    #[test]
    fn the_machines_clock_counts_from_the_boot_whatever_the_wall_says() {
        // The same, as the kernel writes it: hundredths of a second, cut off.
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            let hundredths = text.split(' ').next().unwrap().replace('.', "");
            Duration::from_millis(10 * hundredths.parse::<u64>().unwrap())
        };
        let before = uptime();
        let now = Duration::from_nanos(Clock::of_the_machine().now().as_nanos());
        assert!(before <= now && now <= uptime() + Duration::from_millis(10), "{before:?} {now:?}");
    }

    #[test]
    fn an_alarm_rings_when_it_is_due_and_not_before() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let clock = Clock::start();
            let mut alarm = Alarm::new(clock).unwrap();
            for micros in [300, 2_000, 1] {
                let at = clock.now() + Duration::from_micros(micros);
                alarm.arm(at + Duration::from_hours(1)).unwrap();
                alarm.arm(at).unwrap();
                poll_fn(|cx| alarm.poll(cx)).await.unwrap();
                assert!(clock.now() >= at);
            }
        });
    }

    #[test]
    fn an_alarm_in_the_past_rings_at_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let mut alarm = Alarm::new(Clock::start()).unwrap();
            alarm.arm(Instant::ZERO).unwrap();
            poll_fn(|cx| alarm.poll(cx)).await.unwrap();
        });
    }
}
