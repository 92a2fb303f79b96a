//! The ledger's state: a pure function of the committed records.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;

use super::wire::{Append, ClientId, LineIndex, Refusal, RequestNumber};

/// Lines in the order in which they were committed, and each client's last request, so that a
/// repeated request is applied once.
///
/// Equal records in equal order make equal ledgers; there is no clock, no randomness and no I/O.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The records that became lines; they share the memory in which they came.
    lines: Vec<Bytes>,
    clients: BTreeMap<ClientId, (RequestNumber, LineIndex)>,
}

/// What a record did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It became a line.
    Appended(Applied),
    /// It was applied before: nothing changed, and its acknowledgement is the same.
    Repeated(Applied),
    /// It changed nothing and is to be refused.
    Refused(ClientId, RequestNumber, Refusal),
    /// It is no record of a ledger. Nothing changed.
    Foreign,
}

/// A request that is in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Whose.
    pub client: ClientId,
    /// Which of its requests.
    pub number: RequestNumber,
    /// Where its line is.
    pub index: LineIndex,
}

impl Ledger {
    /// The most clients that are remembered, 48 bytes each: more than any demonstration has, and
    /// a bound on what a stranger can make both nodes keep.
    pub const CLIENTS_MAX: usize = 65_536;

    /// Applies the next committed record.
    pub fn apply(&mut self, record: Bytes) -> Outcome {
        let Ok(append) = Append::decode(&record) else { return Outcome::Foreign };
        let Append { client, number, .. } = append;
        let index = LineIndex(self.lines.len() as u64);
        if let Some(&(last, at)) = self.clients.get(&client) {
            if number == last {
                return Outcome::Repeated(Applied { client, number, index: at });
            }
            if number < last {
                return Outcome::Refused(client, number, Refusal::Stale);
            }
        } else if self.clients.len() >= Self::CLIENTS_MAX {
            return Outcome::Refused(client, number, Refusal::TooManyClients);
        }
        self.clients.insert(client, (number, index));
        self.lines.push(record);
        Outcome::Appended(Applied { client, number, index })
    }

    /// The line at `index`, with who appended it.
    pub fn line(&self, index: LineIndex) -> Option<Append<'_>> {
        let record = self.lines.get(usize::try_from(index.0).ok()?)?;
        Some(Append::decode(record).expect("only records that decode become lines"))
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Writes the whole state: each line's record after its length (`u32`), in order. What the
    /// ledger remembers of its clients follows from it, so that equal dumps are equal states.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn dump(&self, mut to: impl io::Write) -> io::Result<()> {
        for record in &self.lines {
            let len = u32::try_from(record.len()).expect("a record is far below 4 GiB");
            to.write_all(&len.to_be_bytes())?;
            to.write_all(record)?;
        }
        to.flush()
    }

    /// The records of what [`Ledger::dump`] wrote, in order, as they are: nothing is applied.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when it is no dump: it ends inside a record, or holds one
    /// of something else.
    pub fn read_dump(dump: Bytes) -> io::Result<Vec<Bytes>> {
        let mut records = Vec::new();
        let mut rest = dump;
        while !rest.is_empty() {
            let head = split(&mut rest, 4)?;
            let len = u32::from_be_bytes(head[..].try_into().expect("four bytes were split off"));
            let record = split(&mut rest, len as usize)?;
            Append::decode(&record)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            records.push(record);
        }
        Ok(records)
    }
}

/// The first `len` bytes of a dump.
fn split(rest: &mut Bytes, len: usize) -> io::Result<Bytes> {
    if len > rest.len() {
        let what = "the dump ends inside a record";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(rest.split_to(len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(client: u64, number: u64, line: &[u8]) -> Bytes {
        Append { client: ClientId(client), number: RequestNumber(number), line }.to_record().into()
    }

    fn applied(client: u64, number: u64, index: u64) -> Applied {
        let (client, number) = (ClientId(client), RequestNumber(number));
        Applied { client, number, index: LineIndex(index) }
    }

    #[test]
    fn a_repeated_request_is_applied_once_and_an_older_one_is_refused() {
        let mut ledger = Ledger::default();
        let outcomes: Vec<Outcome> = [(1, 1), (2, 1), (1, 1), (1, 5), (1, 1), (1, 5), (2, 2)]
            .map(|(client, number)| ledger.apply(record(client, number, b"x")))
            .into();
        let stale = Outcome::Refused(ClientId(1), RequestNumber(1), Refusal::Stale);
        assert_eq!(
            outcomes,
            [
                Outcome::Appended(applied(1, 1, 0)),
                Outcome::Appended(applied(2, 1, 1)),
                Outcome::Repeated(applied(1, 1, 0)),
                Outcome::Appended(applied(1, 5, 2)),
                stale,
                Outcome::Repeated(applied(1, 5, 2)),
                Outcome::Appended(applied(2, 2, 3)),
            ]
        );
        assert_eq!(ledger.len(), 4);
        assert_eq!(ledger.line(LineIndex(2)).unwrap().number, RequestNumber(5));
        assert_eq!(ledger.line(LineIndex(4)), None);
    }

    #[test]
    fn a_foreign_record_changes_nothing() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.apply(Bytes::from_static(b"short")), Outcome::Foreign);
        assert!(ledger.is_empty());
    }

    #[test]
    fn clients_beyond_the_bound_are_refused() {
        let mut ledger = Ledger::default();
        let most = Ledger::CLIENTS_MAX as u64;
        for client in 0..most {
            ledger.apply(record(client, 1, b""));
        }
        let refused = Outcome::Refused(ClientId(most), RequestNumber(1), Refusal::TooManyClients);
        assert_eq!(ledger.apply(record(most, 1, b"")), refused);
        assert_eq!(ledger.apply(record(0, 2, b"")), Outcome::Appended(applied(0, 2, most)));
    }

    #[test]
    fn a_dump_that_ends_early_is_refused() {
        let mut ledger = Ledger::default();
        ledger.apply(record(1, 1, b"hello"));
        let mut dump = Vec::new();
        ledger.dump(&mut dump).unwrap();
        for end in 1..dump.len() {
            assert!(Ledger::read_dump(Bytes::copy_from_slice(&dump[..end])).is_err());
        }
        assert_eq!(Ledger::read_dump(dump.into()).unwrap(), [record(1, 1, b"hello")]);
    }

    proptest! {
        #[test]
        fn equal_histories_make_equal_ledgers_and_dumps_that_load(
            history in proptest::collection::vec((0u64..4, 0u64..6, any::<Vec<u8>>()), 0..40),
        ) {
            let records: Vec<Bytes> = history.iter().map(|(c, n, l)| record(*c, *n, l)).collect();
            let mut ledgers = [Ledger::default(), Ledger::default()];
            for ledger in &mut ledgers {
                for one in &records {
                    ledger.apply(one.clone());
                }
            }
            let mut dump = Vec::new();
            ledgers[0].dump(&mut dump).unwrap();
            prop_assert_eq!(&ledgers[0], &ledgers[1]);
            prop_assert_eq!(&Ledger::read_dump(dump.into()).unwrap(), &ledgers[0].lines);
            for client in 0..4 {
                let numbers: Vec<u64> = (0..ledgers[0].len() as u64)
                    .map(|index| ledgers[0].line(LineIndex(index)).unwrap())
                    .filter(|append| append.client == ClientId(client))
                    .map(|append| append.number.0)
                    .collect();
                prop_assert!(numbers.is_sorted_by(|a, b| a < b), "applied twice: {:?}", numbers);
            }
        }
    }
}
