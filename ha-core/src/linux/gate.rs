//! Which reigns may not start any more.

use std::io;
use std::os::fd::OwnedFd;
use std::prelude::rust_2024::*;
use std::sync::Mutex;

use ha_proto::Epoch;
use rustix::event::{EventfdFlags, eventfd};

/// Closed by a fence, to its reign and those before; opened by the stop that follows. One at a time
/// waits there.
#[derive(Debug)]
pub(super) struct Gate {
    closed: Mutex<Option<Epoch>>,
    bell: OwnedFd,
}

impl Gate {
    pub(super) fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { closed: Mutex::new(None), bell })
    }

    /// Does `act` with the gate closed: whoever passes later finds it so.
    pub(super) fn close<T>(&self, epoch: Epoch, act: impl FnOnce() -> T) -> T {
        let mut closed = self.closed.lock().expect("nothing panics at the gate");
        *closed = (*closed).max(Some(epoch));
        // Full is rung as well.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        act()
    }

    pub(super) fn open(&self) {
        let mut closed = self.closed.lock().expect("nothing panics at the gate");
        *closed = None;
        // Empty is silent as well.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    /// Readable from a closing on, until somebody [listens](Self::listen) to whom it is open.
    pub(super) fn bell(&self) -> &OwnedFd {
        &self.bell
    }

    /// Whether it is closed to this reign. Where it is not, the bell is silent until the next
    /// closing: whoever waits for that would be woken for ever by one that was for a reign before.
    pub(super) fn listen(&self, epoch: Epoch) -> bool {
        let closed = self.closed.lock().expect("nothing panics at the gate");
        let is_closed = closed.is_some_and(|by| epoch <= by);
        if !is_closed {
            let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        }
        is_closed
    }

    pub(super) fn is_closed(&self, epoch: Epoch) -> bool {
        self.closed.lock().expect("nothing panics at the gate").is_some_and(|by| epoch <= by)
    }

    /// Does `act` unless the gate is closed to this reign; nobody closes it meanwhile.
    pub(super) fn pass<T>(&self, epoch: Epoch, act: impl FnOnce() -> T) -> Option<T> {
        let closed = self.closed.lock().expect("nothing panics at the gate");
        if closed.is_some_and(|by| epoch <= by) { None } else { Some(act()) }
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    #[test]
    fn a_closed_gate_stays_so_for_lower_reigns_until_it_is_opened() {
        let node = ha_proto::NodeId::new(0).unwrap();
        let epoch = |counter| Epoch::new(counter, node);
        let gate = Gate::new().unwrap();
        let passes = |counter| gate.pass(epoch(counter), || ()).is_some();
        assert!(passes(1));
        gate.close(epoch(3), || ());
        gate.close(epoch(2), || ());
        assert_eq!([passes(2), passes(3), passes(4)], [false, false, true]);
        assert!(gate.is_closed(epoch(3)));
        gate.open();
        assert!(passes(1));
    }

    #[test]
    fn the_bell_rings_for_a_reign_until_it_is_heard_and_then_for_the_next_closing() {
        let node = ha_proto::NodeId::new(0).unwrap();
        let epoch = |counter| Epoch::new(counter, node);
        let gate = Gate::new().unwrap();
        let rings = || {
            let mut files = [PollFd::new(&gate.bell, PollFlags::IN)];
            poll(&mut files, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
        };
        gate.close(epoch(1), || ());
        assert!(rings());
        assert!(gate.listen(epoch(1)) && rings(), "it is closed to that one");
        assert!(!gate.listen(epoch(2)) && !rings(), "it is open to that one");
        gate.close(epoch(2), || ());
        assert!(rings() && gate.listen(epoch(2)));
    }
}
