//! The boots that a witness knows, which tell a replayed ask from a new one (R12).

use alloc::vec::Vec;

use ha_proto::{Boot, NodeId};

use crate::register::PAIR;
use crate::request::Ask;

/// Of one pair and in one life of the witness's process: for each node the boot whose change was
/// accepted last, and the highest number heard of it. Empty after each boot of the witness.
///
/// Whoever has no key can say again what a node once said. An ask of a known boot counts once, in
/// the order of its numbers. An ask of any other boot may be old: only compare-and-set lets it
/// change something, and then its boot is the known one, so that it happens once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Boots {
    /// Of different nodes; whose change was accepted last, last.
    known: Vec<Known>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    node: NodeId,
    boot: Boot,
    number: u64,
}

impl Boots {
    /// Notes the number of `ask`; false when its boot is known and the number is not above all
    /// that were heard of it.
    pub(crate) fn hear(&mut self, ask: &Ask) -> bool {
        let mut same = self.known.iter_mut().filter(|known| known.is_of(ask));
        let Some(known) = same.next() else { return true };
        let new = ask.number > known.number;
        known.number = known.number.max(ask.number);
        new
    }

    /// Whether the boot that asks is the one whose change was accepted last.
    pub(crate) fn knows(&self, ask: &Ask) -> bool {
        self.known.iter().any(|known| known.is_of(ask))
    }

    /// The change that `ask` wanted is durable: from now on its boot is the known one.
    pub(crate) fn accept(&mut self, ask: &Ask) {
        let heard = self.known.iter().find(|known| known.is_of(ask));
        let number = heard.map_or(ask.number, |known| known.number.max(ask.number));
        self.known.retain(|known| known.node != ask.from);
        self.known.push(Known { node: ask.from, boot: ask.boot, number });
        if self.known.len() > PAIR as usize {
            // Who is forgotten Takes before it renews: that is all.
            self.known.remove(0);
        }
        assert!(self.known.len() <= PAIR as usize, "boots without a bound would fill the memory");
        assert!(self.knows(ask), "who changed the register could not renew its lease");
    }
}

impl Known {
    fn is_of(&self, ask: &Ask) -> bool {
        self.node == ask.from && self.boot == ask.boot
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use ha_proto::Epoch;

    use super::*;
    use crate::request::Request;

    fn ask(node: u8, boot: u64, number: u64) -> Ask {
        Ask {
            from: NodeId::new(node).expect("an id"),
            boot: Boot(boot),
            number,
            expected: Epoch::NONE,
            lease: Duration::from_secs(3),
            request: Request::Read,
        }
    }

    #[test]
    fn numbers_of_a_known_boot_count_once_and_upwards() {
        let mut boots = Boots::default();
        assert!(boots.hear(&ask(0, 7, 2)) && boots.hear(&ask(0, 7, 2)), "nothing is known of it");
        boots.accept(&ask(0, 7, 2));
        for (number, new) in [(2, false), (1, false), (4, true), (4, false), (3, false), (5, true)]
        {
            assert_eq!(boots.hear(&ask(0, 7, number)), new, "{number}");
        }
        boots.accept(&ask(0, 7, 3));
        assert!(!boots.hear(&ask(0, 7, 5)), "a change that was stored late lowers nothing");
    }

    #[test]
    fn another_boot_or_node_is_not_the_known_one() {
        let mut boots = Boots::default();
        boots.accept(&ask(0, 7, 2));
        assert!(boots.knows(&ask(0, 7, 1)));
        for other in [ask(0, 8, 1), ask(1, 7, 1)] {
            assert!(!boots.knows(&other));
            assert!(boots.hear(&other));
        }
        boots.accept(&ask(0, 8, 1));
        assert!(!boots.knows(&ask(0, 7, 3)), "its next boot takes its place");
    }

    #[test]
    fn no_more_nodes_are_known_than_a_pair_has() {
        let mut boots = Boots::default();
        for node in 0..3 {
            boots.accept(&ask(node, 7, 1));
        }
        assert!(!boots.knows(&ask(0, 7, 2)));
        assert!(boots.knows(&ask(1, 7, 2)) && boots.knows(&ask(2, 7, 2)));
    }
}
