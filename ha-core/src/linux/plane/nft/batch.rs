//! Tables, sets and their elements, by netlink (`linux/netfilter/nf_tables.h`).
//!
//! `nft` itself is too slow for a view that changes, and in version 1.0.6 it cannot write what the
//! rules need: a set whose key is a hash.

use std::io;
use std::os::fd::OwnedFd;
use std::prelude::rust_2024::*;

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
        let mut answer = [0; 8 * 1024];
        let mut first = Ok(());
        loop {
            let len = match recv(&self.socket, &mut answer[..], RecvFlags::DONTWAIT) {
                Ok((_, len)) => len.min(answer.len()),
                Err(Errno::AGAIN) => return first,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let error = errors(&answer[..len]).find(|&error| error != 0);
            if let (Some(error), Ok(())) = (error, &first) {
                first = Err(io::Error::from_raw_os_error(-error));
            }
        }
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
        for some in elements.chunks(ELEMENTS_MAX) {
            let mut body = text(1, &self.table);
            body.extend(text(2, name));
            let all: Vec<u8> = some.iter().flat_map(|element| element.0.iter().copied()).collect();
            attribute(&mut body, 3 | NESTED, &all);
            self.add(NEW_ELEMENT, CREATE, &body);
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

/// The numbers of the errors in an answer.
fn errors(mut bytes: &[u8]) -> impl Iterator<Item = i32> {
    core::iter::from_fn(move || {
        loop {
            let len = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
            let whole = bytes.get(..len)?;
            let kind = u16::from_ne_bytes(*whole.get(4..)?.first_chunk()?);
            bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
            if kind == ERROR {
                return whole.get(16..)?.first_chunk().copied().map(i32::from_ne_bytes);
            }
            if len < 16 {
                return None;
            }
        }
    })
}

/// `NFPROTO_NETDEV`.
const NETDEV: u8 = 5;
/// `NFNL_SUBSYS_NFTABLES`.
const NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
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
/// In one message: an attribute has at most 64 KiB.
const ELEMENTS_MAX: usize = 1_000;
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
        assert_eq!(errors(&[]).count(), 0);
        assert_eq!(errors(&[0; 40]).count(), 0, "a length of nothing would be read for ever");
        assert_eq!(errors(&[0xff; 40]).count(), 0);
    }
}
