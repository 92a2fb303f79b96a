//! Who else answers for an address that is announced here.

use core::net::IpAddr;
use core::time::Duration;

use alloc::vec::Vec;
use ha_proto::{Instant, Timer};

use crate::Mac;

/// Looks out for strangers: while this node announces addresses, it asks for them again and again,
/// and whoever claims one of them more than for a moment is none of its own.
///
/// For who announces an address that is in no [`AddressSet`](crate::AddressSet), as a farm's is. Of
/// one farm one member announces at a time, so that no list of its cards is needed; at a change two
/// may, for a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookout {
    settle: Duration,
    seen: Vec<Seen>,
    next: Timer,
}

/// Somebody else who answers for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stranger {
    /// For which one.
    pub ip: IpAddr,
    /// From which card.
    pub card: Mac,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    who: Stranger,
    first: Instant,
    last: Instant,
    /// When it was said; `None` as long as it may be an announcer that lets go.
    told: Option<Instant>,
}

impl Lookout {
    /// `settle`: who claims an address once more so much later is a stranger. Longer than two
    /// members may both announce, 30 s at most.
    ///
    /// # Panics
    /// `settle` is longer than that: nobody would be heard twice.
    pub fn new(settle: Duration) -> Self {
        assert!(settle <= Self::SETTLE_MAX, "strangers would be forgotten before they are told");
        Self { settle, seen: Vec::new(), next: Timer::IDLE }
    }

    /// The longest [`Lookout::new`] takes.
    pub const SETTLE_MAX: Duration = Duration::from_secs(30);

    /// This node announces from now on: it asks at once.
    pub fn begin(&mut self, now: Instant) {
        self.seen.clear();
        self.next.arm(now);
    }

    /// It announces no more, and knows of nobody.
    pub fn stop(&mut self) {
        self.seen.clear();
        self.next.disarm();
    }

    /// Whether it is time to ask for each address ([`arp_probe`](crate::arp_probe),
    /// [`neighbor_question`](crate::neighbor_question)), once for each time; then the next one
    /// comes later.
    pub fn expire(&mut self, now: Instant) -> bool {
        let due = self.next.expire(now);
        if due {
            self.next.arm(now + EVERY);
        }
        due
    }

    /// When to ask next.
    pub fn next(&self) -> Timer {
        self.next
    }

    /// Another card claims an address that this node announces. Whether that is to be said: once it
    /// is more than a moment, and every minute while it lasts.
    pub fn heard(&mut self, now: Instant, who: Stranger) -> bool {
        let Some(at) = self.next.at() else { return false };
        let Some(seen) = self.seen.iter_mut().find(|seen| seen.who == who) else {
            if self.seen.len() < STRANGERS_MAX {
                self.seen.push(Seen { who, first: now, last: now, told: None });
                self.next.arm(at.min(now + self.settle));
            }
            return false;
        };
        seen.last = now;
        let new = now >= seen.first + self.settle;
        let again = seen.told.is_none_or(|told| now >= told + SAY_EVERY);
        if new && again {
            seen.told = Some(now);
        }
        new && again
    }

    /// Those that were told of and are not heard any more, once each.
    pub fn gone(&mut self, now: Instant) -> Vec<Stranger> {
        let silent = |seen: &Seen| now >= seen.last + GONE;
        let told = self.seen.iter().filter(|seen| seen.told.is_some() && silent(seen));
        let gone = told.map(|seen| seen.who).collect();
        self.seen.retain(|seen| !silent(seen));
        gone
    }

    /// Those that were told of.
    pub fn strangers(&self) -> impl Iterator<Item = Stranger> {
        self.seen.iter().filter(|seen| seen.told.is_some()).map(|seen| seen.who)
    }
}

/// Between two questions for one address.
const EVERY: Duration = Duration::from_secs(10);
/// Who is silent for so long has gone: more than three questions, and than who only announces is
/// silent.
const GONE: Duration = Duration::from_secs(35);
const _: () = assert!(GONE.as_secs() > Lookout::SETTLE_MAX.as_secs(), "nobody would be told of");
/// A line a minute is seen, and fills no disk.
const SAY_EVERY: Duration = Duration::from_mins(1);
/// Of a network on which every card answers a few are enough to say so.
const STRANGERS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const SETTLE: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn who(last: u8) -> Stranger {
        Stranger { ip: [10, 0, 0, 1].into(), card: Mac([2, 0, 0, 0, 0, last]) }
    }

    fn begun() -> Lookout {
        let mut lookout = Lookout::new(SETTLE);
        lookout.begin(at(0));
        assert!(lookout.expire(at(0)), "it asks at once");
        lookout
    }

    #[test]
    fn it_asks_every_ten_seconds_and_not_when_it_does_not_announce() {
        let mut lookout = begun();
        assert!(!lookout.expire(at(9_999)));
        assert!(lookout.expire(at(10_000)));
        assert_eq!(lookout.next().at(), Some(at(20_000)));
        lookout.stop();
        assert!(!lookout.expire(at(90_000)));
        assert!(!lookout.heard(at(90_000), who(9)));
        assert_eq!(lookout, Lookout::new(SETTLE));
    }

    #[test]
    fn who_is_heard_again_after_a_while_is_told_and_then_once_a_minute() {
        let mut lookout = begun();
        assert!(!lookout.heard(at(1), who(9)), "an announcer that lets go");
        assert!(!lookout.heard(at(500), who(9)));
        assert_eq!(lookout.next().at(), Some(at(1_001)), "it asks again soon");
        assert!(lookout.expire(at(1_001)));
        assert!(lookout.heard(at(1_002), who(9)));
        for second in 2..61 {
            assert!(!lookout.heard(at(second * 1_000), who(9)), "{second}");
        }
        assert!(lookout.heard(at(61_002), who(9)));
        assert_eq!(lookout.strangers().collect::<Vec<_>>(), [who(9)]);
    }

    #[test]
    fn who_is_silent_has_gone_and_is_told_anew_when_it_is_back() {
        let mut lookout = begun();
        lookout.heard(at(0), who(9));
        lookout.heard(at(0), who(8));
        assert!(lookout.heard(at(1_000), who(9)));
        assert_eq!(lookout.gone(at(35_999)), [], "the other one was never told of");
        assert_eq!(lookout.gone(at(36_000)), [who(9)]);
        assert_eq!(lookout.gone(at(36_000)), []);
        assert!(!lookout.heard(at(40_000), who(9)));
        assert!(lookout.heard(at(41_000), who(9)));
    }

    #[test]
    fn a_new_announcer_knows_nothing_of_what_it_heard_before() {
        let mut lookout = begun();
        lookout.heard(at(0), who(9));
        lookout.stop();
        lookout.begin(at(2_000));
        assert!(!lookout.heard(at(2_001), who(9)), "it was the announcer meanwhile");
        assert_eq!(lookout.strangers().count(), 0);
    }

    #[test]
    fn a_network_of_strangers_is_a_few() {
        let mut lookout = begun();
        for millis in [0, 1_000] {
            let told: Vec<bool> = (0..40).map(|it| lookout.heard(at(millis), who(it))).collect();
            let expected = if millis == 0 { vec![] } else { vec![true; STRANGERS_MAX] };
            assert_eq!(told.into_iter().filter(|told| *told).collect::<Vec<_>>(), expected);
        }
    }
}
