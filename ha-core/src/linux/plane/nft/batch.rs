//! Tables, sets and their elements, by netlink (`linux/netfilter/nf_tables.h`).
//!
//! `nft` itself is too slow for a view that changes, and in version 1.0.6 it cannot write what the
//! rules need: a set whose key is a hash.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::prelude::rust_2024::*;
use std::string::String;
use std::vec;

use nix::sys::socket::{setsockopt, sockopt::SndBufForce};
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::linux::netlink::open;

/// A socket for transactions of nftables.
#[derive(Debug)]
pub(super) struct Wire {
    socket: OwnedFd,
}

/// One transaction: all of it happens, or nothing.
#[derive(Debug)]
pub(super) struct Batch {
    table: String,
    bytes: Vec<u8>,
}

/// What a set is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// `nft`'s number of the type, and its bytes.
    pub(super) key: (u32, u32),
    /// Of a map, likewise.
    pub(super) data: Option<(u32, u32)>,
    pub(super) flags: u32,
}

impl Shape {
    /// Numbers of buckets.
    pub(super) const BUCKETS: Self = Self { key: (4, 4), data: None, flags: 0 };
    /// From buckets to hardware addresses.
    pub(super) const OWNERS: Self = Self { key: (4, 4), data: Some((9, 6)), flags: 8 };
    /// Hardware addresses.
    pub(super) const MACS: Self = Self { key: (9, 6), data: None, flags: 0 };
    /// Spans of the time of day, which end by themselves.
    pub(super) const SPANS: Self = Self { key: (43, 8), data: None, flags: 4 | 0x10 };
}

/// One element, as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Element(Vec<u8>);

impl Wire {
    /// In this thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let socket = open(Some(NETFILTER), 0)?;
        // A transaction is one datagram.
        setsockopt(&socket, SndBufForce, &SEND_MAX)?;
        Ok(Self { socket })
    }

    /// Has it done; the kernel works inside of the call.
    pub(super) fn commit(&mut self, batch: Batch) -> io::Result<()> {
        let mut bytes = batch.bytes;
        message(&mut bytes, BATCH_END, 0, 0, NFTABLES, &[]);
        send(&self.socket, &bytes, SendFlags::empty())?;
        let mut answer = vec![0; ANSWER_MAX];
        let mut first = Ok(());
        while let Some(len) = self.read(&mut answer)? {
            let failed = messages(&answer[..len]).find_map(|message| message.error());
            first = first.and(failed.map_or(Ok(()), Err));
        }
        first
    }

    /// How many packets each counter of a table has counted. Of a table that is gone there is none,
    /// which is an error.
    pub(super) fn counters(&mut self, table: &str) -> io::Result<BTreeMap<String, u64>> {
        for _ in 0..LISTS_MAX {
            let mut question = Vec::new();
            let mut body = text(1, table);
            number(&mut body, 3, COUNTER);
            message(&mut question, NFTABLES << 8 | GET_OBJECT, DUMP, NETDEV, 0, &body);
            send(&self.socket, &question, SendFlags::empty())?;
            if let Some(counted) = self.list()? {
                let gone = || io::Error::other("the table is not there");
                return Some(counted).filter(|it| !it.is_empty()).ok_or_else(gone);
            }
        }
        Err(io::Error::other("the kernel's list changes faster than it can be read"))
    }

    /// Reads a list of counters to its end; `None` where it changed meanwhile.
    fn list(&mut self) -> io::Result<Option<BTreeMap<String, u64>>> {
        let (mut counted, mut whole) = (BTreeMap::new(), true);
        let mut answer = vec![0; ANSWER_MAX];
        while let Some(len) = self.read(&mut answer)? {
            for message in messages(&answer[..len]) {
                whole &= message.flags & CHANGED == 0;
                if message.kind == DONE {
                    return Ok(whole.then_some(counted));
                }
                if let Some(error) = message.error() {
                    return Err(error);
                }
                counted.extend(message.counter());
            }
        }
        Err(io::Error::other("the kernel's list has no end"))
    }

    /// One datagram of answers; `None` where there is no more.
    fn read(&mut self, answer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match recv(&self.socket, &mut *answer, RecvFlags::DONTWAIT) {
                Ok((_, len)) => return Ok(Some(len.min(answer.len()))),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A message as it is read.
#[derive(Clone, Copy, Debug)]
struct Message<'a> {
    kind: u16,
    flags: u16,
    /// Behind the header of netlink.
    rest: &'a [u8],
}

impl Message<'_> {
    /// What the kernel refuses.
    fn error(&self) -> Option<io::Error> {
        let code = i32::from_ne_bytes(*self.rest.first_chunk()?);
        (self.kind == ERROR && code != 0).then(|| io::Error::from_raw_os_error(-code))
    }

    /// The name of a counter, and what it counted.
    fn counter(&self) -> Option<(String, u64)> {
        let find = |bytes, kind| attributes(bytes).find(|it| it.0 == kind).map(|it| it.1);
        let body = self.rest.get(4..).filter(|_| self.kind == NFTABLES << 8 | NEW_OBJECT)?;
        let name = find(body, 2)?.strip_suffix(&[0])?;
        let packets = find(find(body, 4)?, 2)?.first_chunk()?;
        Some((String::from_utf8_lossy(name).into_owned(), u64::from_be_bytes(*packets)))
    }
}

impl Batch {
    pub(super) fn new(table: &str) -> Self {
        let mut bytes = Vec::new();
        message(&mut bytes, BATCH_BEGIN, 0, 0, NFTABLES, &[]);
        Self { table: table.into(), bytes }
    }

    /// Makes the table, unless it is there.
    pub(super) fn table(&mut self) {
        let name = text(1, &self.table);
        self.add(NEW_TABLE, CREATE, &name);
    }

    pub(super) fn delete_table(&mut self) {
        let name = text(1, &self.table);
        self.add(DEL_TABLE, 0, &name);
    }

    /// Makes a set, or a map.
    pub(super) fn set(&mut self, name: &str, shape: Shape) {
        let mut body = self.names(name);
        number(&mut body, 3, shape.flags);
        number(&mut body, 4, shape.key.0);
        number(&mut body, 5, shape.key.1);
        if let Some((kind, len)) = shape.data {
            number(&mut body, 6, kind);
            number(&mut body, 7, len);
        }
        // Its number in this transaction.
        number(&mut body, 10, self.bytes.len() as u32);
        self.add(NEW_SET, CREATE, &body);
    }

    pub(super) fn delete_set(&mut self, name: &str) {
        let body = self.names(name);
        self.add(DEL_SET, 0, &body);
    }

    /// Takes all elements out.
    pub(super) fn flush(&mut self, name: &str) {
        let body = self.names(name);
        self.add(DEL_ELEMENT, 0, &body);
    }

    pub(super) fn elements(&mut self, name: &str, elements: &[Element]) {
        self.list(NEW_ELEMENT, name, elements);
    }

    /// Takes these out, which are there.
    pub(super) fn remove(&mut self, name: &str, elements: &[Element]) {
        self.list(DEL_ELEMENT, name, elements);
    }

    fn list(&mut self, kind: u16, name: &str, elements: &[Element]) {
        let flags = if kind == NEW_ELEMENT { CREATE } else { 0 };
        for some in elements.chunks(ELEMENTS_MAX) {
            let mut body = text(1, &self.table);
            body.extend(text(2, name));
            let all: Vec<u8> = some.iter().flat_map(|element| element.0.iter().copied()).collect();
            attribute(&mut body, 3 | NESTED, &all);
            self.add(kind, flags, &body);
        }
    }

    fn names(&self, set: &str) -> Vec<u8> {
        // A list of elements and a set have their names in the same places.
        [text(1, &self.table), text(2, set)].concat()
    }

    fn add(&mut self, kind: u16, flags: u16, body: &[u8]) {
        message(&mut self.bytes, NFTABLES << 8 | kind, flags, NETDEV, 0, body);
    }
}

impl Element {
    pub(super) fn key(key: &[u8]) -> Self {
        Self::of(key, &[])
    }

    pub(super) fn pair(key: &[u8], data: &[u8]) -> Self {
        let mut value = Vec::new();
        attribute(&mut value, 1, data);
        let mut more = Vec::new();
        attribute(&mut more, 2 | NESTED, &value);
        Self::of(key, &more)
    }

    /// Where a span begins, and in how many milliseconds it ends whatever the time of day is.
    pub(super) fn begin(key: &[u8], timeout: u64) -> Self {
        let mut more = Vec::new();
        attribute(&mut more, 4, &timeout.to_be_bytes());
        Self::of(key, &more)
    }

    /// Where it ends.
    pub(super) fn end(key: &[u8]) -> Self {
        let mut more = Vec::new();
        number(&mut more, 3, 1);
        Self::of(key, &more)
    }

    fn of(key: &[u8], more: &[u8]) -> Self {
        let mut value = Vec::new();
        attribute(&mut value, 1, key);
        let mut body = Vec::new();
        attribute(&mut body, 1 | NESTED, &value);
        body.extend(more);
        let mut element = Vec::new();
        attribute(&mut element, 1 | NESTED, &body);
        Self(element)
    }
}

/// One message: the headers of netlink (RFC 3549) and of netfilter, then attributes.
///
/// | at | bytes | what |
/// |---|---|---|
/// | 0 | 4 | length of all, in the machine's order as all up to 16 |
/// | 4 | 2 | subsystem and kind |
/// | 6 | 2 | flags: 1, and what is asked |
/// | 8 | 8 | number and port: 0, since answers are errors alone |
/// | 16 | 1 | family |
/// | 17 | 1 | version, 0 |
/// | 18 | 2 | of the ends of a transaction: whose; big-endian |
fn message(out: &mut Vec<u8>, kind: u16, flags: u16, family: u8, whose: u16, body: &[u8]) {
    let len = 20 + body.len();
    out.extend((len as u32).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend((1 | flags).to_ne_bytes());
    out.extend([0; 8]);
    out.extend([family, 0]);
    out.extend(whose.to_be_bytes());
    out.extend(body);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// An attribute: its length and kind in the machine's order, its value, zeros up to four bytes.
fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(4 + value.len()).expect("a list of elements is bounded");
    out.extend(len.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn number(out: &mut Vec<u8>, kind: u16, value: u32) {
    attribute(out, kind, &value.to_be_bytes());
}

fn text(kind: u16, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    attribute(&mut out, kind, &[value.as_bytes(), &[0]].concat());
    out
}

/// The messages of an answer, to its end or to one that makes no sense.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    core::iter::from_fn(move || {
        let len = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let whole = bytes.get(..len).filter(|_| len >= 16)?;
        let half = |at: usize| whole[at..].first_chunk().map(|it| u16::from_ne_bytes(*it));
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Message { kind: half(4)?, flags: half(6)?, rest: &whole[16..] })
    })
}

/// Attributes: kind and value, likewise.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    core::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let value = bytes.get(4..len)?;
        let kind = u16::from_ne_bytes(*bytes[2..].first_chunk()?) & !NESTED;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// `NFPROTO_NETDEV`.
const NETDEV: u8 = 5;
/// `NFNL_SUBSYS_NFTABLES`.
const NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NLMSG_ERROR`, `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_DUMP`, `NLM_F_DUMP_INTR`.
const DUMP: u16 = 0x300;
const CHANGED: u16 = 0x10;
/// `NLM_F_CREATE`.
const CREATE: u16 = 0x400;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
const NEW_TABLE: u16 = 0;
const DEL_TABLE: u16 = 2;
const NEW_SET: u16 = 9;
const DEL_SET: u16 = 11;
const NEW_ELEMENT: u16 = 12;
const DEL_ELEMENT: u16 = 14;
const NEW_OBJECT: u16 = 18;
const GET_OBJECT: u16 = 19;
/// `NFT_OBJECT_COUNTER`.
const COUNTER: u32 = 1;
/// In one message: an attribute has at most 64 KiB.
const ELEMENTS_MAX: usize = 1_000;
/// The kernel fills 32 KiB at most for a list.
const ANSWER_MAX: usize = 32 * 1024;
/// How often a list that changes while it is read is asked for.
const LISTS_MAX: usize = 8;
/// Sixteen services of 4,096 buckets, each with an owner, are less than 4 MiB.
const SEND_MAX: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_as_the_kernel_reads_it() {
        let element = Element::key(&7_u32.to_ne_bytes());
        let expected = [16, 0, 1, 0x80, 12, 0, 1, 0x80, 8, 0, 1, 0, 7, 0, 0, 0];
        if cfg!(target_endian = "little") {
            assert_eq!(element.0, expected);
        }
    }

    #[test]
    fn many_elements_are_several_messages() {
        let elements = std::vec![Element::pair(&[0; 4], &[0; 6]); 4_096];
        let mut batch = Batch::new("t");
        let before = batch.bytes.len();
        batch.elements("s", &elements);
        let mut rest = &batch.bytes[before..];
        let mut messages = 0;
        while let Some(len) = rest.first_chunk() {
            rest = &rest[u32::from_ne_bytes(*len) as usize..];
            messages += 1;
        }
        assert_eq!(messages, 5);
    }

    #[test]
    fn any_answer_is_read_to_its_end() {
        for bytes in [&[][..], &[0; 40], &[0xff; 40], &[16, 0, 0, 0], &[4; 64]] {
            // A length of nothing would be read for ever.
            assert!(messages(bytes).count() <= 4, "{bytes:?}");
            assert!(attributes(bytes).count() <= 16, "{bytes:?}");
            assert!(messages(bytes).all(|message| message.counter().is_none()), "{bytes:?}");
        }
    }

    #[test]
    fn a_counter_is_read_as_the_kernel_writes_it() {
        let (mut data, mut body) = (Vec::new(), text(1, "t"));
        attribute(&mut data, 1, &9_u64.to_be_bytes());
        attribute(&mut data, 2, &7_u64.to_be_bytes());
        body.extend(text(2, "accepted_1"));
        number(&mut body, 3, COUNTER);
        attribute(&mut body, 4 | NESTED, &data);
        let mut bytes = Vec::new();
        message(&mut bytes, NFTABLES << 8 | NEW_OBJECT, 0, NETDEV, 0, &body);
        message(&mut bytes, DONE, 0, 0, 0, &[]);
        let read: Vec<_> = messages(&bytes).map(|message| message.counter()).collect();
        assert_eq!(read, [Some(("accepted_1".into(), 7)), None]);
        for len in 0..bytes.len() {
            messages(&bytes[..len]).for_each(|message| drop(message.counter()));
        }
    }

    #[test]
    fn a_refusal_is_an_error_and_an_acknowledgement_is_none() {
        for (code, expected) in [(-2, Some(2)), (0, None)] {
            let mut bytes = Vec::new();
            message(&mut bytes, ERROR, 0, 0, 0, &[]);
            bytes[16..20].copy_from_slice(&i32::to_ne_bytes(code));
            let error = messages(&bytes).find_map(|message| message.error());
            assert_eq!(error.and_then(|error| error.raw_os_error()), expected);
        }
    }
}
