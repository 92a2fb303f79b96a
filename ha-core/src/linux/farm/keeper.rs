//! Looks whether what was set is still there: others have their hands on this machine, too.

use core::net::IpAddr;
use core::time::Duration;
use std::boxed::Box;
use std::collections::BTreeSet;
use std::io;
use std::prelude::rust_2024::*;
use std::string::String;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc;
use tracing::debug;

use super::turn::Letter;
use crate::linux::address::Addresses;
use crate::linux::link::Link;
use crate::linux::plane::{Guard, PlaneError, Sure};

/// A thread that looks: the kernel may let it wait for others who change interfaces, longer than
/// the node may be late.
#[derive(Debug)]
pub(super) struct Keeper {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    word: Arc<Word>,
}

/// What the node's thread says to it.
#[derive(Debug, Default)]
struct Word {
    /// Not to look. Held during a look.
    rests: Mutex<bool>,
    /// The node has something to do once more: each look is told, whatever it shows.
    owes: AtomicBool,
}

/// How it is now.
#[derive(Debug)]
pub(super) struct Seen {
    /// Whether the filter is where it belongs.
    pub(super) filter: Result<(), PlaneError>,
    /// What clients reach, if that is seen to here.
    pub(super) front: Option<Sight>,
}

/// How the clients' interface and the addresses are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// The interface, if there is one of its name.
    pub(super) link: Option<Link>,
    /// Addresses that are to be on `lo` and are not.
    pub(super) missing: Vec<IpAddr>,
}

/// What is looked at besides the filter.
#[derive(Debug)]
pub(super) struct Eyes {
    pub(super) addresses: Addresses,
    pub(super) interface: String,
    pub(super) lo: u32,
    pub(super) wanted: Wanted,
}

/// The addresses that are to be on `lo`, as the node's thread says.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted(Arc<Mutex<BTreeSet<IpAddr>>>);

impl Wanted {
    pub(super) fn set(&self, vips: BTreeSet<IpAddr>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = vips;
    }

    fn now(&self) -> BTreeSet<IpAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Keeper {
    /// In this thread's network namespace.
    pub(super) fn start(
        guard: Option<Box<dyn Guard + Send>>,
        eyes: Option<Eyes>,
        letters: mpsc::Sender<Letter>,
    ) -> io::Result<Self> {
        let (end, ended) = channel();
        let word = Arc::<Word>::default();
        let told = Arc::clone(&word);
        let thread = thread::Builder::new().name(THREAD.into());
        let thread = thread.spawn(move || keep(guard, eyes, &told, &letters, &ended))?;
        Ok(Self { end: Some(end), thread: Some(thread), word })
    }

    /// Whether something that failed is to be tried again at each look.
    pub(super) fn owe(&self, owes: bool) {
        self.word.owes.store(owes, Ordering::Relaxed);
    }

    /// Has it look at nothing more, so that its end is waited for no longer than a moment; `false`
    /// while it looks, for as long as the kernel wants.
    pub(super) fn rest(&self) -> bool {
        match self.word.rests.try_lock() {
            Ok(mut rests) => {
                *rests = true;
                true
            }
            Err(TryLockError::WouldBlock) => false,
            // A look has panicked: it was the last one.
            Err(TryLockError::Poisoned(_)) => true,
        }
    }

    /// Ends without being waited for. It rests, so that it puts nothing back.
    pub(super) fn leave(mut self) {
        self.thread = None;
    }

    /// Has it go on. It rests, so that nobody is waited for.
    pub(super) fn wake(&self) {
        *self.word.rests.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // A panic was told where it happened.
            let _ = thread.join();
        }
    }
}

fn keep(
    mut guard: Option<Box<dyn Guard + Send>>,
    mut eyes: Option<Eyes>,
    word: &Word,
    letters: &mpsc::Sender<Letter>,
    ended: &Receiver<()>,
) {
    let mut calm = None;
    while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        let rests = word.rests.lock().unwrap_or_else(PoisonError::into_inner);
        if *rests {
            continue;
        }
        let seen = look(&mut guard, &mut eyes);
        drop(rests);
        let Some(Seen { filter, front }) = seen else { continue };
        let whole = filter.is_ok() && front.as_ref().is_none_or(|it| it.missing.is_empty());
        if whole && calm.as_ref() == Some(&front) && !word.owes.load(Ordering::Relaxed) {
            continue;
        }
        let seen = Seen { filter, front: front.clone() };
        // One that finds no room is told at the next look.
        calm = letters.try_send(Letter::Seen(seen)).ok().and(whole.then_some(front));
    }
}

/// `None` where there is nothing to tell.
fn look(guard: &mut Option<Box<dyn Guard + Send>>, eyes: &mut Option<Eyes>) -> Option<Seen> {
    let filter = match guard.as_mut().map(|guard| guard.look()) {
        Some(Ok(Sure::No)) => return None,
        Some(Err(error)) => Err(error),
        Some(Ok(Sure::Yes)) | None => Ok(()),
    };
    match eyes.as_mut().map(Eyes::look).transpose() {
        Ok(front) => Some(Seen { filter, front }),
        Err(error) if filter.is_ok() => {
            debug!(%error, "a look that fails tells nothing");
            None
        }
        // That nothing filters is told all the same.
        Err(_) => Some(Seen { filter, front: None }),
    }
}

impl Eyes {
    fn look(&mut self) -> io::Result<Sight> {
        let link = self.addresses.link(&self.interface)?;
        let mut missing = self.wanted.now();
        for found in self.addresses.list()?.iter().filter(|it| it.spot.index == self.lo) {
            missing.remove(&found.spot.ip);
        }
        Ok(Sight { link, missing: missing.into_iter().collect() })
    }
}

const THREAD: &str = "ha-farm-keep";
/// Between two looks: for so long two servers may answer one client.
const EVERY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    /// A filter whose looks are counted, and end as they are told.
    struct Filter {
        began: Sender<()>,
        /// Whether it is well, if it tells.
        ends: Receiver<Option<bool>>,
    }

    impl Guard for Filter {
        fn look(&mut self) -> Result<Sure, PlaneError> {
            // The test may have ended.
            let _ = self.began.send(());
            match self.ends.recv() {
                Ok(Some(false)) => Err(PlaneError::NoInterface("eth0".into())),
                Ok(Some(true)) => Ok(Sure::Yes),
                Ok(None) | Err(_) => Ok(Sure::No),
            }
        }
    }

    /// A keeper, and what stands for the kernel and for the node.
    struct Rig {
        began: Receiver<()>,
        ends: Sender<Option<bool>>,
        inbox: mpsc::Receiver<Letter>,
        // Behind `ends`: it ends once its look does.
        keeper: Keeper,
    }

    fn rig(room: usize) -> Rig {
        let ((began, begins), (ends, end)) = (channel(), channel());
        let (letters, inbox) = mpsc::channel(room);
        let guard = Filter { began, ends: end };
        let keeper = Keeper::start(Some(Box::new(guard)), None, letters).unwrap();
        Rig { began: begins, ends, inbox, keeper }
    }

    impl Rig {
        fn look(&self, well: impl Into<Option<bool>>) {
            self.began.recv().unwrap();
            self.ends.send(well.into()).unwrap();
        }

        /// What was told by the time that another look begins, which is under way then.
        fn told(&mut self) -> Vec<bool> {
            self.began.recv().unwrap();
            let mut told = Vec::new();
            while let Ok(letter) = self.inbox.try_recv() {
                let Letter::Seen(seen) = letter else { panic!("it says nothing else") };
                told.push(seen.filter.is_ok());
            }
            told
        }
    }

    #[test]
    fn what_is_as_it_was_is_told_once_and_what_is_lost_each_time() {
        let mut rig = rig(8);
        for well in [true, true, false, false, true, true] {
            rig.look(well);
        }
        assert_eq!(rig.told(), [true, false, false, true]);
        rig.ends.send(Some(true)).unwrap();
        rig.keeper.owe(true);
        rig.look(true);
        rig.look(true);
        let told = rig.told();
        assert!((2..=3).contains(&told.len()) && !told.contains(&false), "{told:?}");
        rig.ends.send(Some(true)).unwrap();
        rig.keeper.owe(false);
        rig.look(true);
        assert!(rig.told().len() <= 1);
        rig.ends.send(Some(true)).unwrap();
        assert!(rig.told().is_empty(), "nothing is owed any more");
    }

    #[test]
    fn a_look_that_came_to_no_end_is_no_reason_to_go_on() {
        let mut rig = rig(8);
        for well in [Some(true), Some(false), None, None, Some(false), None, Some(true)] {
            rig.look(well);
        }
        assert_eq!(rig.told(), [true, false, false, true]);
    }

    #[test]
    fn a_letter_that_finds_no_room_is_told_at_a_later_look() {
        let mut rig = rig(1);
        rig.look(false);
        rig.look(true);
        rig.look(true);
        assert_eq!(rig.told(), [false], "no more than one has room");
        rig.ends.send(Some(true)).unwrap();
        assert_eq!(rig.told(), [true]);
    }

    #[test]
    fn who_rests_does_not_look_and_who_looks_does_not_rest() {
        let mut rig = rig(8);
        rig.began.recv().unwrap();
        assert!(!rig.keeper.rest(), "the kernel lets it wait");
        rig.ends.send(Some(true)).unwrap();
        // The look has ended by now, or does in a moment.
        while !rig.keeper.rest() {
            thread::yield_now();
        }
        assert!(rig.began.recv_timeout(EVERY * 3).is_err(), "it looks although it rests");
        rig.keeper.wake();
        assert_eq!(rig.told(), [true]);
        assert!(!rig.keeper.rest());
    }
}
