//! Tables as bytes.

use alloc::vec::Vec;

use bytes::BufMut;
use ha_proto::NodeId;
use ha_proto::codec::{DecodeError, Reader};
use siphasher::sip::SipHasher24;

use crate::{Bucket, Buckets, Rule, Table};

/// The longest part: with a header and a MAC it is a datagram of at most 1,200 bytes.
pub const PART_MAX: usize = 1_100;

/// Version, exponent, number of services.
const HEAD_LEN: usize = 3;
/// The version of tables on the wire, their first byte: 1, runs of equal buckets.
pub const VERSION: u8 = 1;
/// Service, first bucket, number of buckets.
const SECTION_LEN: usize = 5;
/// Head of a run, owner, two previous owners, view.
const RUN_MAX: usize = 2 + 1 + 2 + 8;
const NONE: u8 = 0xff;
const _: () = assert!(HEAD_LEN + SECTION_LEN + RUN_MAX <= PART_MAX, "a run would fit no part");
const _: () = assert!(NONE > NodeId::MAX, "nobody would be somebody");

/// All tables of a view in parts of at most [`PART_MAX`] bytes; each can be read by itself, in any
/// order and more than once. One of them is the whole, if that is short enough.
///
/// | at | bytes | a part |
/// |---|---|---|
/// | 0 | 1 | version, 1 |
/// | 1 | 1 | buckets of a table as a power of two: 8 or 12 |
/// | 2 | 1 | number of services |
/// | 3 | | sections |
///
/// | at | bytes | a section: a stretch of one table |
/// |---|---|---|
/// | 0 | 1 | service |
/// | 1 | 2 | its first bucket |
/// | 3 | 2 | how many buckets, from 1 |
/// | 5 | | runs, until there are so many |
///
/// | at | bytes | a run: buckets that are equal |
/// |---|---|---|
/// | 0 | 2 | number of previous owners (two bits), how many buckets less one (14 bits) |
/// | 2 | 1 | owner, 255 for nobody |
/// | 3 | 0 to 2 | previous owners, the last first |
/// | | 8 | counter of the view that moved them; only with previous owners |
///
/// # Panics
/// If there are no tables, more than [`Rule::MAX`], or of several sizes.
pub fn parts(tables: &[Table]) -> Vec<Vec<u8>> {
    assert!((1..=Rule::MAX).contains(&tables.len()), "a reader would refuse so many tables");
    let size = tables[0].size();
    assert!(tables.iter().all(|table| table.size() == size), "a part tells one size for all");
    let head = [VERSION, size.count().ilog2() as u8, tables.len() as u8];
    let mut parts = alloc::vec![head.to_vec()];
    for (service, table) in tables.iter().enumerate() {
        let mut open = None;
        let mut first = 0;
        for run in table.buckets().chunk_by(|one, other| one == other) {
            let part = parts.last_mut().expect("there is a first part");
            let room = part.len() + RUN_MAX + if open.is_some() { 0 } else { SECTION_LEN };
            if room > PART_MAX {
                parts.push(head.to_vec());
                open = None;
            }
            let part = parts.last_mut().expect("there is a first part");
            let section = *open.get_or_insert_with(|| {
                let at = part.len();
                part.put_u8(service as u8);
                part.put_u16(first as u16);
                part.put_u16(0);
                at
            });
            put_run(part, run);
            add_buckets(&mut part[section + 3..section + 5], run.len() as u16);
            first += run.len();
        }
    }
    parts
}

fn add_buckets(field: &mut [u8], more: u16) {
    let before = u16::from_be_bytes([field[0], field[1]]);
    field.copy_from_slice(&(before + more).to_be_bytes());
}

fn put_run(part: &mut Vec<u8>, run: &[Bucket]) {
    assert!(run.len() <= 1 << 14, "the number of buckets would run into that of owners");
    let bucket = run[0];
    let previous = bucket.previous.iter().flatten();
    part.put_u16((previous.clone().count() as u16) << 14 | (run.len() as u16 - 1));
    part.put_u8(bucket.owner.map_or(NONE, NodeId::as_u8));
    previous.for_each(|node| part.put_u8(node.as_u8()));
    if bucket.drains() {
        part.put_u64(bucket.moved);
    }
}

/// A number for the tables of all services of a view: different tables have different ones, as
/// far as chance goes. Members compare it (`CONTRACT-FARM.md` Messages).
///
/// # Panics
/// As [`parts`].
pub fn digest(tables: &[Table]) -> u64 {
    let hash = |sum: u64, part: &Vec<u8>| {
        let bytes = [&sum.to_be_bytes()[..], part].concat();
        SipHasher24::new().hash(&bytes)
    };
    parts(tables).iter().fold(0, hash)
}

/// Tables that are put together from [`parts`], in whichever order they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembly {
    /// A row for each service; `None` where nothing was read yet.
    rows: Vec<Vec<Option<Bucket>>>,
}

impl Assembly {
    /// Waits for the tables of so many services.
    ///
    /// # Panics
    /// If these are none, or more than [`Rule::MAX`].
    pub fn new(services: usize, buckets: Buckets) -> Self {
        assert!(
            (1..=Rule::MAX).contains(&services),
            "a farm has at least one rule, and 16 at most"
        );
        Self { rows: alloc::vec![alloc::vec![None; buckets.count()]; services] }
    }

    /// Reads one part. What an earlier one said of a bucket is replaced.
    ///
    /// # Errors
    /// [`DecodeError`] when it is no part of such tables; nothing is changed then.
    pub fn add(&mut self, part: &[u8]) -> Result<(), DecodeError> {
        // Twice: what is wrong further down must not leave half of a part behind.
        self.read(part, |_, _, _, _| {})?;
        let mut rows = core::mem::take(&mut self.rows);
        let (services, buckets) = (rows.len(), rows[0].len());
        let put = |service: usize, first: usize, len: usize, bucket: Bucket| {
            rows[service][first..first + len].fill(Some(bucket));
        };
        let read = read(part, services, buckets, put);
        self.rows = rows;
        assert_eq!(read, Ok(()), "the same bytes were read a moment ago");
        Ok(())
    }

    fn read(
        &self,
        part: &[u8],
        put: impl FnMut(usize, usize, usize, Bucket),
    ) -> Result<(), DecodeError> {
        read(part, self.rows.len(), self.rows[0].len(), put)
    }

    /// The first service and bucket of which nothing was read yet; `None` when all is there.
    pub fn missing(&self) -> Option<(usize, usize)> {
        let gap = |row: &Vec<Option<Bucket>>| row.iter().position(Option::is_none);
        self.rows.iter().enumerate().find_map(|(service, row)| Some((service, gap(row)?)))
    }

    /// The tables, if all is there.
    pub fn tables(&self) -> Option<Vec<Table>> {
        self.rows
            .iter()
            .map(|row| row.iter().copied().collect::<Option<Vec<_>>>().map(Table::of))
            .collect()
    }
}

fn read(
    part: &[u8],
    services: usize,
    buckets: usize,
    mut put: impl FnMut(usize, usize, usize, Bucket),
) -> Result<(), DecodeError> {
    let mut reader = Reader::new(part);
    let head = reader.bytes(HEAD_LEN, "head of tables")?;
    if head != [VERSION, buckets.ilog2() as u8, services as u8] {
        return Err(DecodeError::Invalid("head of tables"));
    }
    while reader.remaining() > 0 {
        let service = usize::from(reader.u8("service")?);
        let mut first = usize::from(reader.u16("first bucket")?);
        let len = usize::from(reader.u16("number of buckets")?);
        let end = first + len;
        if service >= services || len == 0 || end > buckets {
            return Err(DecodeError::Invalid("section"));
        }
        while first < end {
            let (len, bucket) = read_run(&mut reader)?;
            if len > end - first {
                return Err(DecodeError::Invalid("run"));
            }
            put(service, first, len, bucket);
            first += len;
        }
    }
    Ok(())
}

fn read_run(reader: &mut Reader<'_>) -> Result<(usize, Bucket), DecodeError> {
    let head = reader.u16("head of a run")?;
    let owner = match reader.u8("owner")? {
        NONE => None,
        id => Some(NodeId::new(id).ok_or(DecodeError::Invalid("owner"))?),
    };
    let mut bucket = Bucket { owner, ..Bucket::default() };
    let previous = usize::from(head >> 14);
    if previous > bucket.previous.len() {
        return Err(DecodeError::Invalid("number of previous owners"));
    }
    for at in 0..previous {
        let node = Some(reader.node("previous owner")?);
        if node == bucket.owner || bucket.previous.contains(&node) {
            return Err(DecodeError::Invalid("previous owner"));
        }
        bucket.previous[at] = node;
    }
    if previous > 0 {
        bucket.moved = reader.u64("view that moved")?;
        if bucket.moved == 0 {
            return Err(DecodeError::Invalid("view that moved"));
        }
    }
    Ok((usize::from(head & 0x3fff) + 1, bucket))
}
