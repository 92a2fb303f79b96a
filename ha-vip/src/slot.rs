//! One address of the set: what is known of it, and what is asked.

use alloc::collections::VecDeque;
use core::time::Duration;

use ha_proto::{Deadline, Instant, Ticket, Timer};

use crate::announcer::Announcer;
use crate::{Address, Config, Output};

/// One address of the set: what is known of it, and the one effect that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) address: Address,
    pub(crate) announcer: Announcer,
    /// When a conflict was last told.
    pub(crate) told: Option<Instant>,
    /// It may be set, as far as this machine can know.
    present: bool,
    /// When it vanishes by itself, by the last setting that was confirmed.
    until: Option<Instant>,
    /// Others removed or changed it since then.
    missing: bool,
    flight: Option<Flight>,
    /// Not to be tried again before.
    retry: Timer,
    /// When it was put back, within the window.
    put_backs: VecDeque<Instant>,
}

/// An effect that was not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flight {
    ticket: Ticket,
    asked: Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Set {
        until: Instant,
        /// Others removed or changed the address after this was asked, and nobody knows which of
        /// both came last.
        doubtful: bool,
    },
    Remove,
}

/// What the end of an effect means to the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nothing to tell.
    Quiet,
    /// What others removed is there again.
    PutBack,
    /// It was to be set for the first time, and could not.
    NeverSet,
}

/// What to do about an address that others removed or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// It is being set anyway.
    Known,
    /// Put it back.
    PutBack,
    /// It was put back too often.
    TooOften,
}

impl Slot {
    /// How soon a removal, or an extension, that failed is tried again: often enough to be done
    /// within S of the contract, and no load where it fails for ever.
    const RETRY: Duration = Duration::from_millis(100);

    /// An address that a killed process may have left behind.
    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            announcer: Announcer::default(),
            told: None,
            present: true,
            until: None,
            missing: false,
            flight: None,
            retry: Timer::IDLE,
            put_backs: VecDeque::new(),
        }
    }

    /// Begins the burst of announcements anew, if it is announced.
    pub(crate) fn announce_anew(&mut self, now: Instant) {
        if self.announcer.is_on() {
            self.announcer.begin(now);
        }
    }

    /// Whether it is set, confirmed, and as this machine set it.
    pub(crate) fn is_held(&self) -> bool {
        self.until.is_some() && !self.missing
    }

    /// Whether it is off for certain, as far as this machine set it.
    pub(crate) fn is_off(&self) -> bool {
        assert!(self.present || self.flight.is_none(), "what is under way would bring it back");
        !self.present
    }

    /// When it vanishes by itself, or when the setting that is under way would be of no use.
    pub(crate) fn ends(&self) -> Option<Instant> {
        self.until.or(match self.flight {
            Some(Flight { asked: Asked::Set { until, .. }, .. }) => Some(until),
            Some(Flight { asked: Asked::Remove, .. }) | None => None,
        })
    }

    pub(crate) fn is_asked(&self, ticket: Ticket) -> bool {
        self.flight.is_some_and(|flight| flight.ticket == ticket)
    }

    /// When to try again.
    pub(crate) fn retries(&self) -> Option<Deadline> {
        self.retry.deadline("address retries")
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        self.retry.expire(now);
    }

    /// Sets it, or extends it, if it does not live until then and nothing is under way.
    pub(crate) fn put_on(
        &mut self,
        now: Instant,
        until: Instant,
        ticket: &mut impl FnMut() -> Ticket,
    ) -> Option<Output> {
        let lives = self.is_held() && self.until >= Some(until);
        if lives || self.flight.is_some() || self.retry.at().is_some() {
            return None;
        }
        assert!(until > now, "R10: an address would be set that nobody has a right to");
        let ticket = ticket();
        self.present = true;
        self.flight = Some(Flight { ticket, asked: Asked::Set { until, doubtful: false } });
        let lifetime = until.saturating_since(now);
        Some(Output::Set { ticket, address: self.address, lifetime })
    }

    /// Removes it if it may be there and nothing is under way.
    pub(crate) fn take_off(&mut self, ticket: &mut impl FnMut() -> Ticket) -> Option<Output> {
        if !self.present || self.flight.is_some() || self.retry.at().is_some() {
            return None;
        }
        assert!(!self.announcer.is_on(), "a loser would announce (FIELD row 1)");
        let ticket = ticket();
        self.flight = Some(Flight { ticket, asked: Asked::Remove });
        Some(Output::Remove { ticket, address: self.address })
    }

    /// From now on it is to be taken off: at once, whatever failed before.
    pub(crate) fn give_up(&mut self) {
        self.announcer.stop();
        self.retry.disarm();
        self.until = None;
        self.missing = false;
    }

    /// Its effect ended; `wanted` while the set is taken or being taken.
    pub(crate) fn end(&mut self, now: Instant, done: bool, wanted: bool) -> Ended {
        let flight = self.flight.take().expect("its ticket was found");
        assert!(self.present, "what was removed would come back unseen");
        match (flight.asked, done) {
            (Asked::Remove, true) => self.present = false,
            (Asked::Set { .. }, _) if !wanted => {}
            (Asked::Set { .. }, false) if self.until.is_none() => return Ended::NeverSet,
            (Asked::Remove | Asked::Set { .. }, false) => self.retry.arm(now + Self::RETRY),
            (Asked::Set { doubtful: true, .. }, true) => {}
            (Asked::Set { until, doubtful: false }, true) => {
                self.until = Some(until);
                if core::mem::take(&mut self.missing) {
                    return Ended::PutBack;
                }
            }
        }
        Ended::Quiet
    }

    /// Others removed or changed it: it is set again, unless that happened too often lately.
    pub(crate) fn touch(&mut self, now: Instant) -> Touched {
        if let Some(Flight { asked: Asked::Set { doubtful, .. }, .. }) = &mut self.flight {
            *doubtful = true;
        }
        if !self.is_held() {
            return Touched::Known;
        }
        let recent = |then: &Instant| now.saturating_since(*then) < Config::PUT_BACK_WINDOW;
        self.put_backs.retain(recent);
        if self.put_backs.len() >= Config::PUT_BACKS_MAX {
            return Touched::TooOften;
        }
        self.put_backs.push_back(now);
        self.missing = true;
        assert!(self.put_backs.len() <= Config::PUT_BACKS_MAX, "two agents would fight for ever");
        Touched::PutBack
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InterfaceId;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    /// An address that is held until 10 s, by the ticket 1.
    fn held() -> Slot {
        let ip = "192.0.2.10".parse().unwrap();
        let mut slot = Slot::new(Address { ip, prefix: 24, interface: InterfaceId(0) });
        assert!(!slot.is_off(), "it may be left over");
        assert!(slot.put_on(at(0), at(10_000), &mut || Ticket(1)).is_some());
        assert_eq!((slot.is_held(), slot.ends()), (false, Some(at(10_000))));
        assert_eq!(slot.end(at(1), true, true), Ended::Quiet);
        assert_eq!((slot.is_held(), slot.ends()), (true, Some(at(10_000))));
        slot
    }

    fn put_on(slot: &mut Slot, millis: u64, until: u64) -> Option<Duration> {
        match slot.put_on(at(millis), at(until), &mut || Ticket(2)) {
            Some(Output::Set { lifetime, .. }) => Some(lifetime),
            Some(other) => panic!("{other:?}"),
            None => None,
        }
    }

    #[test]
    fn an_extension_counts_from_when_it_was_asked_and_only_once_it_is_confirmed() {
        let mut slot = held();
        assert_eq!(put_on(&mut slot, 500, 10_000), None, "it lives as long already");
        assert_eq!(put_on(&mut slot, 500, 11_000), Some(Duration::from_millis(10_500)));
        assert_eq!(put_on(&mut slot, 600, 12_000), None, "one at a time");
        assert_eq!(slot.ends(), Some(at(10_000)));
        slot.end(at(700), true, true);
        assert_eq!(slot.ends(), Some(at(11_000)));
    }

    #[test]
    fn what_fails_is_tried_again_at_a_bounded_pace() {
        let mut slot = held();
        put_on(&mut slot, 500, 11_000);
        assert_eq!(slot.end(at(510), false, true), Ended::Quiet);
        assert_eq!(put_on(&mut slot, 520, 11_000), None);
        assert_eq!(slot.retries().map(|deadline| deadline.at), Some(at(610)));
        slot.tick(at(610));
        assert_eq!(put_on(&mut slot, 610, 11_000), Some(Duration::from_millis(10_390)));
    }

    #[test]
    fn a_setting_that_others_may_have_undone_is_repeated() {
        let mut slot = held();
        put_on(&mut slot, 500, 11_000);
        assert_eq!(slot.touch(at(510)), Touched::PutBack);
        assert_eq!(slot.touch(at(511)), Touched::Known);
        assert_eq!(slot.end(at(520), true, true), Ended::Quiet);
        assert!(!slot.is_held());
        assert_eq!(slot.ends(), Some(at(10_000)), "nothing confirms more");
        assert!(put_on(&mut slot, 520, 11_000).is_some());
        assert_eq!(slot.end(at(530), true, true), Ended::PutBack);
        assert_eq!((slot.is_held(), slot.ends()), (true, Some(at(11_000))));
    }

    #[test]
    fn put_backs_are_counted_within_a_window() {
        let mut slot = held();
        let mut touch = |millis| {
            let touched = slot.touch(at(millis));
            if touched == Touched::PutBack {
                put_on(&mut slot, millis, 1_000_000);
                assert_eq!(slot.end(at(millis), true, true), Ended::PutBack);
            }
            touched
        };
        for millis in [0, 10_000, 20_000, 30_000, 59_999] {
            assert_eq!(touch(millis), Touched::PutBack, "{millis}");
        }
        assert_eq!(touch(59_999), Touched::TooOften);
        assert_eq!(touch(60_000), Touched::PutBack, "the first is forgotten");
        assert_eq!(touch(60_000), Touched::TooOften);
    }

    #[test]
    fn it_is_off_once_its_removal_is_confirmed() {
        let mut slot = held();
        slot.give_up();
        assert!(slot.take_off(&mut || Ticket(3)).is_some());
        assert_eq!(slot.end(at(2_000), false, false), Ended::Quiet);
        assert_eq!((slot.is_off(), slot.take_off(&mut || Ticket(4))), (false, None));
        slot.tick(at(2_100));
        assert!(slot.take_off(&mut || Ticket(4)).is_some());
        assert!(!slot.is_off());
        slot.end(at(2_200), true, false);
        assert!(slot.is_off());
    }
}
