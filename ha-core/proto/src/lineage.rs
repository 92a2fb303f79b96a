//! Which epochs wrote which part of a log, and whether two logs share a history.

use alloc::vec::Vec;

use bytes::BufMut;

use crate::codec::{DecodeError, Reader};
use crate::{Epoch, Seq};

/// A running hash over all records up to and including one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Chain(pub u64);

/// The last record of a log: equal positions mean equal histories (`CONTRACT.md` "Words").
///
/// Ordered by epoch, then sequence (R8). The default is the empty log.
///
/// Layout, [`Position::LEN`] bytes, big-endian: epoch u64, sequence u64, chain u64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Position {
    /// The reign that wrote the record.
    pub epoch: Epoch,
    /// Its place.
    pub seq: Seq,
    /// The chain up to and including it.
    pub chain: Chain,
}

impl Position {
    /// How many bytes it takes.
    pub const LEN: usize = 24;

    /// Writes it.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u64(self.epoch.bits());
        out.put_u64(self.seq.0);
        out.put_u64(self.chain.0);
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes end early or a number is out of its range.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let epoch = from.epoch("the position's epoch")?;
        let seq = from.seq("the position's sequence")?;
        let chain = Chain(from.u64("the position's chain")?);
        Ok(Self { epoch, seq, chain })
    }
}

/// One reign's part of a log.
///
/// Layout, [`LineageEntry::LEN`] bytes, big-endian: epoch u64, first sequence u64, chain u64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LineageEntry {
    /// The reign.
    pub epoch: Epoch,
    /// The first record that it wrote, or would write; at least 1.
    pub first: Seq,
    /// The chain before that record.
    pub chain: Chain,
}

impl LineageEntry {
    /// How many bytes it takes.
    pub const LEN: usize = 24;

    /// Writes it.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u64(self.epoch.bits());
        out.put_u64(self.first.0);
        out.put_u64(self.chain.0);
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes end early, a number is out of its range, or the entry names
    /// no reign or no record.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let epoch = from.epoch("a lineage entry's epoch")?;
        if epoch == Epoch::NONE {
            return Err(DecodeError::Invalid("a lineage entry's epoch"));
        }
        let first = from.seq("a lineage entry's first sequence")?;
        if first == Seq::ZERO {
            return Err(DecodeError::Invalid("a lineage entry's first sequence"));
        }
        let chain = Chain(from.u64("a lineage entry's chain")?);
        Ok(Self { epoch, first, chain })
    }
}

/// The reigns that wrote a log, oldest first: ascending epochs, strictly ascending first sequences.
///
/// Two entries of one epoch are two starts of its holder. At most [`Lineage::MAX`] entries; older
/// ones are forgotten, and a log that ends before the oldest remembered one is not comparable.
///
/// Layout, at most [`Lineage::LEN_MAX`] bytes, big-endian: count u16, then so many entries of
/// [`LineageEntry::LEN`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    entries: Vec<LineageEntry>,
}

/// How one log (ours) relates to another (theirs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same history, to the same record.
    Equal,
    /// Theirs is a prefix of ours, as far as lineage and sequence tell.
    Ahead,
    /// Ours is a prefix of theirs, as far as lineage and sequence tell.
    Behind,
    /// Both have records that the other lacks: the last sequence that both have.
    Diverged {
        /// The last common record; zero if there is none.
        common: Seq,
    },
}

impl Lineage {
    /// The most entries kept. One is added for each change of reign that wrote something; 128 of
    /// them fit in 3 KiB of a saved file and cover months of failovers.
    pub const MAX: usize = 128;
    /// The most bytes that one takes.
    pub const LEN_MAX: usize = 2 + Self::MAX * LineageEntry::LEN;

    /// The entries that are remembered, oldest first.
    pub fn entries(&self) -> &[LineageEntry] {
        &self.entries
    }

    /// The newest entry; `None` when no reign has written.
    pub fn last(&self) -> Option<&LineageEntry> {
        self.entries.last()
    }

    /// A reign begins to write at `entry.first`.
    ///
    /// It replaces a last entry of the same first sequence, because that reign wrote nothing.
    /// Beyond [`Lineage::MAX`] the oldest entry is forgotten. A log that lost its tail is
    /// [clipped](Self::clip) to its head before.
    ///
    /// # Panics
    /// If the entry names no reign or no record, or goes back behind the last one.
    pub fn push(&mut self, entry: LineageEntry) {
        assert!(entry.epoch != Epoch::NONE, "records of no reign could not be refused by anyone");
        assert!(entry.first > Seq::ZERO, "records count from 1: 0 would claim the empty log");
        if let Some(last) = self.last().copied() {
            assert!(entry.epoch >= last.epoch, "a lower reign would write after a higher one (G1)");
            assert!(entry.first >= last.first, "an unclipped entry would claim records twice");
            if entry.first == last.first {
                self.entries.pop();
            }
        }
        if self.entries.len() == Self::MAX {
            self.entries.remove(0);
        }
        self.entries.push(entry);
        assert!(self.entries.len() <= Self::MAX, "peers would refuse to read a longer lineage");
    }

    /// Drops the entries that wrote nothing up to `head`, the last record of the log.
    pub fn clip(&mut self, head: Seq) {
        let keep = self.clipped(head).len();
        self.entries.truncate(keep);
    }

    /// Which reign wrote `seq`, if it is in the log; `None` before the oldest remembered entry.
    pub fn epoch_at(&self, seq: Seq) -> Option<Epoch> {
        self.entry_at(seq).map(|entry| entry.epoch)
    }

    /// The entry that covers `seq`, if it is in the log; `None` before the oldest remembered one.
    pub fn entry_at(&self, seq: Seq) -> Option<&LineageEntry> {
        self.clipped(seq).last()
    }

    /// Whether `entry` is a part of this history (R14: no pull for an entry already followed).
    pub fn follows(&self, entry: &LineageEntry) -> bool {
        self.entry_at(entry.first) == Some(entry)
    }

    /// How the log of this lineage, ending at `head`, relates to that of `theirs`, ending at
    /// `their_head`.
    ///
    /// An equal entry proves that all before it is common, because it holds the chain so far; the
    /// run of equal entries begins at the oldest one that both remember. Behind its last entry the
    /// sequences decide, and the chains where both sides know one for the same record. A reign that
    /// loses its tail and then writes others at the same place under the same entry is not seen
    /// here: the caller compares the chain at the shorter log's end.
    pub fn compare(&self, head: Position, theirs: &Self, their_head: Position) -> Comparison {
        let ours = self.clipped(head.seq);
        let other = theirs.clipped(their_head.seq);
        let Some((at, their_at)) = last_common(ours, other) else {
            return match (head.seq == Seq::ZERO, their_head.seq == Seq::ZERO) {
                (true, true) => Comparison::Equal,
                (true, false) => Comparison::Behind,
                (false, true) => Comparison::Ahead,
                (false, false) => Comparison::Diverged { common: Seq::ZERO },
            };
        };
        assert!(ours[at] == other[their_at], "what is not common would be taken for common");
        let before = ours[at].first.previous();
        Part::of(ours, at, head).compare(Part::of(other, their_at, their_head), before)
    }

    /// How many bytes it takes.
    pub fn encoded_len(&self) -> usize {
        2 + self.entries.len() * LineageEntry::LEN
    }

    /// Writes it.
    pub fn encode(&self, out: &mut impl BufMut) {
        let count = u16::try_from(self.entries.len()).expect("push keeps at most MAX entries");
        out.put_u16(count);
        for entry in &self.entries {
            entry.encode(out);
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes end early, there are more than [`Lineage::MAX`] entries, or
    /// the entries are not in order. Nothing is allocated before the bytes are there.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = usize::from(from.u16("the lineage's count")?);
        if count > Self::MAX {
            return Err(DecodeError::Invalid("the lineage's count"));
        }
        let mut from = Reader::new(from.bytes(count * LineageEntry::LEN, "the lineage")?);
        let mut entries: Vec<LineageEntry> = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = LineageEntry::decode(&mut from)?;
            if entries.last().is_some_and(|last| !last.may_precede(&entry)) {
                return Err(DecodeError::Invalid("the lineage's order"));
            }
            entries.push(entry);
        }
        Ok(Self { entries })
    }

    /// The entries that wrote something up to `head`.
    fn clipped(&self, head: Seq) -> &[LineageEntry] {
        let len = self.entries.partition_point(|entry| entry.first <= head);
        &self.entries[..len]
    }
}

impl LineageEntry {
    fn may_precede(&self, later: &Self) -> bool {
        self.epoch <= later.epoch && self.first < later.first
    }
}

/// One side's records of the last common entry.
#[derive(Clone, Copy)]
struct Part {
    end: Seq,
    chain: Chain,
    continues: bool,
}

impl Part {
    fn of(entries: &[LineageEntry], at: usize, head: Position) -> Self {
        match entries.get(at + 1) {
            Some(next) => Self { end: next.first.previous(), chain: next.chain, continues: true },
            None => Self { end: head.seq, chain: head.chain, continues: false },
        }
    }

    /// `before` is the last record before the common entry.
    fn compare(self, theirs: Self, before: Seq) -> Comparison {
        if self.end == theirs.end && self.chain != theirs.chain {
            return Comparison::Diverged { common: before };
        }
        let shorter = Comparison::Diverged { common: self.end.min(theirs.end) };
        match (self.continues, theirs.continues) {
            (true, false) if theirs.end <= self.end => Comparison::Ahead,
            (false, true) if self.end <= theirs.end => Comparison::Behind,
            (true, true | false) | (false, true) => shorter,
            (false, false) => match self.end.cmp(&theirs.end) {
                core::cmp::Ordering::Less => Comparison::Behind,
                core::cmp::Ordering::Equal => Comparison::Equal,
                core::cmp::Ordering::Greater => Comparison::Ahead,
            },
        }
    }
}

const _: () = assert!(Lineage::MAX <= u16::MAX as usize, "a count would not fit its field");
const _: () = assert!(Lineage::LEN_MAX <= 4096, "a saved file would outgrow one disk block");

/// Where the run of equal entries that begins at the oldest commonly remembered one ends.
fn last_common(ours: &[LineageEntry], theirs: &[LineageEntry]) -> Option<(usize, usize)> {
    let oldest = ours.first()?.first.max(theirs.first()?.first);
    let from = ours.partition_point(|entry| entry.first < oldest);
    let their_from = theirs.partition_point(|entry| entry.first < oldest);
    let pairs = ours[from..].iter().zip(&theirs[their_from..]);
    let run = pairs.take_while(|(our, their)| our == their).count();
    (run > 0).then(|| (from + run - 1, their_from + run - 1))
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::NodeId;

    fn entry(counter: u64, first: u64) -> LineageEntry {
        let owner = NodeId::new((counter % 2) as u8).unwrap();
        let chain = Chain((first - 1) * 1000);
        LineageEntry { epoch: Epoch::new(counter, owner), first: Seq(first), chain }
    }

    fn lineage(parts: &[(u64, u64)]) -> Lineage {
        let mut lineage = Lineage::default();
        for &(counter, first) in parts {
            lineage.push(entry(counter, first));
        }
        lineage
    }

    fn head(seq: u64) -> Position {
        Position { epoch: Epoch::NONE, seq: Seq(seq), chain: Chain(seq * 1000) }
    }

    fn compare(ours: &[(u64, u64)], our_head: u64, theirs: &[(u64, u64)], end: u64) -> Comparison {
        lineage(ours).compare(head(our_head), &lineage(theirs), head(end))
    }

    fn diverged(common: u64) -> Comparison {
        Comparison::Diverged { common: Seq(common) }
    }

    #[test]
    fn a_reign_that_wrote_nothing_is_replaced() {
        let lineage = lineage(&[(1, 1), (2, 5), (3, 5)]);
        assert_eq!(lineage.entries(), [entry(1, 1), entry(3, 5)]);
        assert_eq!(lineage.last(), Some(&entry(3, 5)));
    }

    #[test]
    fn a_restart_in_the_same_epoch_is_an_entry_of_its_own() {
        assert_eq!(lineage(&[(1, 1), (1, 5)]).entries(), [entry(1, 1), entry(1, 5)]);
    }

    #[test]
    fn beyond_the_maximum_the_oldest_is_forgotten() {
        let parts: Vec<_> = (1..=Lineage::MAX as u64 + 2).map(|at| (at, at)).collect();
        let lineage = lineage(&parts);
        assert_eq!(lineage.entries().len(), Lineage::MAX);
        assert_eq!(lineage.entries()[0], entry(3, 3));
        assert_eq!(lineage.epoch_at(Seq(2)), None);
    }

    #[test]
    fn replacing_at_the_maximum_forgets_nothing() {
        let parts: Vec<_> = (1..=Lineage::MAX as u64).map(|at| (at, at)).collect();
        let mut lineage = lineage(&parts);
        lineage.push(entry(500, Lineage::MAX as u64));
        assert_eq!(lineage.entries().len(), Lineage::MAX);
        assert_eq!(lineage.entries()[0], entry(1, 1));
    }

    #[test]
    #[should_panic(expected = "a lower reign would write after a higher one")]
    fn a_lower_reign_cannot_follow() {
        lineage(&[(3, 1), (2, 5)]);
    }

    #[test]
    #[should_panic(expected = "an unclipped entry would claim records twice")]
    fn an_entry_cannot_go_back() {
        lineage(&[(3, 5), (4, 4)]);
    }

    #[test]
    fn clipping_drops_what_wrote_nothing_up_to_the_head() {
        let mut clipped = lineage(&[(1, 1), (2, 5), (3, 9)]);
        clipped.clip(Seq(9));
        assert_eq!(clipped.entries().len(), 3);
        clipped.clip(Seq(8));
        assert_eq!(clipped.entries(), [entry(1, 1), entry(2, 5)]);
        clipped.clip(Seq::ZERO);
        assert_eq!(clipped, Lineage::default());
    }

    #[test]
    fn finds_who_wrote_a_record() {
        let lineage = lineage(&[(1, 1), (2, 5)]);
        assert_eq!(lineage.entry_at(Seq(0)), None);
        assert_eq!(lineage.entry_at(Seq(4)), Some(&entry(1, 1)));
        assert_eq!(lineage.epoch_at(Seq(5)), Some(entry(2, 5).epoch));
        assert!(lineage.follows(&entry(2, 5)));
        assert!(!lineage.follows(&entry(3, 5)));
        assert!(!lineage.follows(&entry(2, 6)));
    }

    #[test]
    fn compares_without_a_common_entry() {
        assert_eq!(compare(&[], 0, &[], 0), Comparison::Equal);
        assert_eq!(compare(&[(1, 1)], 0, &[(2, 1)], 0), Comparison::Equal);
        assert_eq!(compare(&[], 0, &[(1, 1)], 4), Comparison::Behind);
        assert_eq!(compare(&[(1, 1)], 4, &[], 0), Comparison::Ahead);
        assert_eq!(compare(&[(1, 1)], 4, &[(2, 1)], 4), diverged(0));
    }

    #[test]
    fn compares_within_one_entry() {
        assert_eq!(compare(&[(1, 1)], 4, &[(1, 1)], 4), Comparison::Equal);
        assert_eq!(compare(&[(1, 1)], 3, &[(1, 1)], 4), Comparison::Behind);
        assert_eq!(compare(&[(1, 1)], 4, &[(1, 1)], 3), Comparison::Ahead);
        let other = Position { chain: Chain(7), ..head(6) };
        let ours = lineage(&[(1, 1), (2, 5)]);
        assert_eq!(ours.compare(head(6), &ours, other), diverged(4));
    }

    #[test]
    fn compares_when_one_side_continues() {
        assert_eq!(compare(&[(1, 1), (2, 5)], 6, &[(1, 1)], 3), Comparison::Ahead);
        assert_eq!(compare(&[(1, 1), (2, 5)], 6, &[(1, 1)], 4), Comparison::Ahead);
        assert_eq!(compare(&[(1, 1), (2, 5)], 6, &[(1, 1)], 5), diverged(4));
        assert_eq!(compare(&[(1, 1)], 4, &[(1, 1), (2, 5)], 6), Comparison::Behind);
        assert_eq!(compare(&[(1, 1)], 5, &[(1, 1), (2, 5)], 6), diverged(4));
    }

    #[test]
    fn another_chain_where_a_reign_ended_is_no_common_reign() {
        let ours = lineage(&[(1, 1), (2, 5), (3, 8)]);
        let theirs = lineage(&[(1, 1), (2, 5)]);
        let end = Position { chain: Chain(1), ..head(7) };
        assert_eq!(ours.compare(head(9), &theirs, end), diverged(4));
    }

    #[test]
    fn compares_when_both_continue() {
        assert_eq!(compare(&[(1, 1), (2, 5)], 6, &[(1, 1), (3, 4)], 6), diverged(3));
        assert_eq!(compare(&[(1, 1), (2, 5)], 6, &[(1, 1), (3, 5)], 6), diverged(4));
        assert_eq!(compare(&[(1, 1), (2, 5)], 4, &[(1, 1), (3, 4)], 6), diverged(3));
    }

    #[test]
    fn a_forgotten_part_is_common_if_an_equal_entry_is_found() {
        let ours = &[(2, 5), (3, 9)];
        assert_eq!(compare(ours, 9, &[(1, 1), (2, 5)], 8), Comparison::Ahead);
        assert_eq!(compare(&[(1, 1), (2, 5)], 8, ours, 9), Comparison::Behind);
        assert_eq!(compare(ours, 9, &[(1, 1)], 4), diverged(0));
        assert_eq!(compare(ours, 9, &[(1, 1), (4, 5)], 8), diverged(0));
    }

    #[test]
    fn bytes_are_golden() {
        let mut bytes = Vec::new();
        lineage(&[(1, 1), (0x0203, 0x0405)]).encode(&mut bytes);
        let golden = vec![
            0, 2, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 2, 3, 1, 0, 0, 0, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 0x0f, 0xaf, 0xa0,
        ];
        assert_eq!(bytes, golden);
        let mut bytes = Vec::new();
        Position { epoch: Epoch::from_bits(0x0102), seq: Seq(3), chain: Chain(4) }
            .encode(&mut bytes);
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4]);
    }

    #[test]
    fn refuses_what_push_would() {
        let decode = |entries: &[LineageEntry], count: u16| {
            let mut bytes = Vec::new();
            bytes.put_u16(count);
            for entry in entries {
                entry.encode(&mut bytes);
            }
            Lineage::decode(&mut Reader::new(&bytes))
        };
        let order = Err(DecodeError::Invalid("the lineage's order"));
        assert_eq!(decode(&[entry(2, 1), entry(1, 5)], 2), order);
        assert_eq!(decode(&[entry(1, 5), entry(2, 5)], 2), order);
        assert_eq!(decode(&[entry(1, 5)], 129), Err(DecodeError::Invalid("the lineage's count")));
        assert_eq!(decode(&[entry(1, 5)], 2), Err(DecodeError::Truncated("the lineage")));
        let none = LineageEntry { epoch: Epoch::NONE, ..entry(1, 1) };
        assert_eq!(decode(&[none], 1), Err(DecodeError::Invalid("a lineage entry's epoch")));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_lineage_or_an_error(bytes: Vec<u8>) {
            if let Ok(lineage) = Lineage::decode(&mut Reader::new(&bytes)) {
                let mut again = Vec::new();
                lineage.encode(&mut again);
                prop_assert_eq!(&bytes[..again.len()], &again[..]);
            }
            if let Ok(position) = Position::decode(&mut Reader::new(&bytes)) {
                let mut again = Vec::new();
                position.encode(&mut again);
                prop_assert_eq!(&bytes[..Position::LEN], &again[..]);
            }
        }

        #[test]
        fn comes_back_as_it_went(steps in prop::collection::vec((0u64..3, 0u64..3), 0..200)) {
            let mut lineage = Lineage::default();
            let (mut counter, mut first) = (1, 1);
            for (reigns, records) in steps {
                counter += reigns;
                first += records;
                let epoch = Epoch::new(counter, NodeId::new(0).unwrap());
                lineage.push(LineageEntry { epoch, first: Seq(first), chain: Chain(counter) });
            }
            let mut bytes = Vec::new();
            lineage.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), lineage.encoded_len());
            prop_assert!(bytes.len() <= Lineage::LEN_MAX);
            prop_assert_eq!(Lineage::decode(&mut Reader::new(&bytes)), Ok(lineage));
        }
    }
}
