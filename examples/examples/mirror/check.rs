//! Whether the copies hold what was acknowledged, once each.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ha_core::store::SegmentHeader;
use ha_node::ledger::{Append, ClientId, Ledger, RequestNumber};
use ha_replicate::record::Record;

/// What was found at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Lines acknowledged to clients.
    pub acknowledged: usize,
    /// Those of them that both copies hold.
    pub kept: usize,
    /// Those of them that only the records set aside hold.
    pub aside: usize,
    /// Whether two primaries are part of the bargain, so that acknowledged lines may be set aside.
    pub two_primaries: bool,
    /// Requests that a copy holds more than once.
    pub twice: usize,
    /// Whether both copies are equal, byte for byte.
    pub equal: bool,
    /// Where records were set aside.
    pub places: Vec<PathBuf>,
}

impl Verdict {
    /// Acknowledged lines that are nowhere; with a witness, those that were set aside too: it
    /// promises that whoever serves has them.
    pub(crate) fn lost(&self) -> usize {
        let aside = if self.two_primaries { self.aside } else { 0 };
        self.acknowledged - self.kept - aside
    }

    /// Whether nothing is lost, nothing applied twice, and the copies are equal.
    pub(crate) fn is_good(&self) -> bool {
        self.lost() == 0 && self.twice == 0 && self.equal
    }
}

/// A line that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acked {
    /// To whom.
    pub client: ClientId,
    /// For which request.
    pub number: RequestNumber,
    /// Which line it was.
    pub line: usize,
}

/// All that was acknowledged.
#[derive(Debug)]
pub(crate) struct Fed {
    /// The lines.
    pub lines: Vec<Vec<u8>>,
    /// Which of them, for which requests.
    pub acked: Vec<Acked>,
}

/// Client and request number, and the line.
struct Requests(BTreeMap<(u64, u64), Bytes>);

/// Compares the two copies, and what was set aside, with what was acknowledged; whether there may
/// have been two primaries.
///
/// # Errors
/// When a file cannot be read, or is not what it should be.
pub(crate) fn verify(
    fed: &Fed,
    dumps: &[PathBuf; 2],
    folders: &[PathBuf; 2],
    two_primaries: bool,
) -> io::Result<Verdict> {
    let read = |path: &PathBuf| fs::read(path).map(Bytes::from);
    let [one, other] = [read(&dumps[0])?, read(&dumps[1])?];
    let equal = one == other;
    let mut twice = 0;
    let mut copies = Vec::new();
    for dump in [one, other] {
        let records = Ledger::read_dump(dump)?;
        let requests = Requests::of(&records)?;
        twice += records.len() - requests.0.len();
        copies.push(requests);
    }
    let places = folders.iter().map(|folder| aside(folder)).collect::<io::Result<Vec<_>>>()?;
    let places = places.concat();
    let mut records = Vec::new();
    for place in &places {
        records.extend(payloads(place)?);
    }
    let set_aside = Requests::of(&records)?;
    let acknowledged = fed.acked.len();
    let mut verdict =
        Verdict { acknowledged, kept: 0, aside: 0, two_primaries, twice, equal, places };
    for acked in &fed.acked {
        let key = (acked.client.0, acked.number.0);
        let line = &fed.lines[acked.line];
        if copies.iter().all(|copy| copy.holds(key, line)) {
            verdict.kept += 1;
        } else if set_aside.holds(key, line) {
            verdict.aside += 1;
        }
    }
    Ok(verdict)
}

impl Requests {
    fn of(records: &[Bytes]) -> io::Result<Self> {
        let mut requests = BTreeMap::new();
        for record in records {
            let append = Append::decode(record).map_err(io::Error::other)?;
            let line = record.slice(Append::HEAD..);
            requests.insert((append.client.0, append.number.0), line);
        }
        Ok(Self(requests))
    }

    fn holds(&self, key: (u64, u64), line: &[u8]) -> bool {
        self.0.get(&key).is_some_and(|held| held == line)
    }
}

/// The folders in which a node keeps records that only it had.
fn aside(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut places = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && name.starts_with("aside-") {
            places.push(path);
        } else if path.is_dir() && !name.starts_with("log") {
            // A folder for each module.
            places.extend(aside(&path)?);
        }
    }
    places.sort();
    Ok(places)
}

/// The payloads of the records in one of them: files of a log, each a head and records.
fn payloads(place: &Path) -> io::Result<Vec<Bytes>> {
    let mut payloads = Vec::new();
    for entry in fs::read_dir(place)? {
        let file = Bytes::from(fs::read(entry?.path())?);
        let mut at = SegmentHeader::LEN;
        while let Ok((record, len)) = Record::decode(file.get(at..).unwrap_or_default()) {
            payloads.push(file.slice_ref(record.body.payload));
            at += len;
        }
    }
    Ok(payloads)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use ha_core::proto::{Epoch, NodeId, Position};
    use ha_replicate::record::{Body, Kind};

    use super::*;

    /// The verdict on copies that hold these requests (client, number, line), with a witness.
    fn judge(copies: [&[(u64, u64, &str)]; 2], acked: &[(u64, u64)]) -> Verdict {
        judge_with(copies, &[], acked, false)
    }

    fn judge_with(
        copies: [&[(u64, u64, &str)]; 2],
        aside: &[(u64, u64, &str)],
        acked: &[(u64, u64)],
        two_primaries: bool,
    ) -> Verdict {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        let paths = ["a", "b"].map(|name| folder.join(name));
        let homes = ["home-a", "home-b"].map(|name| folder.join(name));
        for home in &homes {
            fs::create_dir_all(home).unwrap();
        }
        if !aside.is_empty() {
            write_aside(&homes[1].join("aside-1.0-1"), aside);
        }
        for (path, copy) in paths.iter().zip(copies) {
            let mut dump = Vec::new();
            for &(client, number, line) in copy {
                let (client, number) = (ClientId(client), RequestNumber(number));
                let record = Append { client, number, line: line.as_bytes() }.to_record();
                dump.extend(u32::try_from(record.len()).unwrap().to_be_bytes());
                dump.extend(record);
            }
            fs::write(path, dump).unwrap();
        }
        let acked = acked.iter().map(|&(client, number)| Acked {
            client: ClientId(client),
            number: RequestNumber(number),
            line: 0,
        });
        let fed = Fed { lines: vec![b"x".to_vec()], acked: acked.collect() };
        verify(&fed, &paths, &homes, two_primaries).unwrap()
    }

    /// A folder of records set aside, as a node writes it but for the head, which is not read.
    fn write_aside(place: &Path, requests: &[(u64, u64, &str)]) {
        fs::create_dir_all(place).unwrap();
        let mut file = BytesMut::from(&[0; SegmentHeader::LEN][..]);
        let mut before = Position::default();
        for &(client, number, line) in requests {
            let (client, number) = (ClientId(client), RequestNumber(number));
            let payload = Append { client, number, line: line.as_bytes() }.to_record();
            let body = Body { kind: Kind::Data, file: 0, offset: 0, payload: &payload };
            before = body.encode(Epoch::new(1, NodeId::new(0).unwrap()), before, &mut file);
        }
        fs::write(place.join("log-1.seg"), file).unwrap();
    }

    #[test]
    fn what_is_only_set_aside_is_lost_but_where_there_were_two_primaries() {
        let copy = &[(1, 1, "x")][..];
        let aside = &[(2, 1, "x")][..];
        let verdict = judge_with([copy, copy], aside, &[(1, 1), (2, 1)], false);
        assert_eq!((verdict.aside, verdict.lost(), verdict.is_good()), (1, 1, false));
        let verdict = judge_with([copy, copy], aside, &[(1, 1), (2, 1)], true);
        assert_eq!((verdict.aside, verdict.lost(), verdict.is_good()), (1, 0, true));
    }

    #[test]
    fn equal_copies_with_all_that_was_acknowledged_are_good() {
        let copy = &[(1, 1, "x"), (2, 1, "x"), (2, 2, "not acknowledged")][..];
        let verdict = judge([copy, copy], &[(1, 1), (2, 1)]);
        assert!(verdict.is_good());
        assert_eq!((verdict.acknowledged, verdict.kept, verdict.lost()), (2, 2, 0));
    }

    #[test]
    fn a_line_that_one_copy_lacks_or_changed_is_lost() {
        let whole = &[(1, 1, "x"), (2, 1, "x")][..];
        let verdict = judge([whole, &whole[..1]], &[(1, 1), (2, 1)]);
        assert_eq!((verdict.lost(), verdict.equal, verdict.is_good()), (1, false, false));
        let changed = &[(1, 1, "y")][..];
        let verdict = judge([changed, changed], &[(1, 1)]);
        assert_eq!((verdict.lost(), verdict.equal, verdict.is_good()), (1, true, false));
    }

    #[test]
    fn a_request_that_is_there_twice_is_counted() {
        let copy = &[(1, 1, "x"), (1, 1, "x")][..];
        let verdict = judge([copy, copy], &[(1, 1)]);
        assert_eq!((verdict.twice, verdict.lost(), verdict.is_good()), (2, 0, false));
    }
}
