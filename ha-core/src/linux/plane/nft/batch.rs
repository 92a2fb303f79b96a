//! Transactions of nftables, as they are sent (`linux/netfilter/nf_tables.h`).
//!
//! `nft` itself is too slow for a view that changes, and in version 1.0.6 it cannot write what the
//! rules need: a set whose key is a hash.

use std::prelude::rust_2024::*;
use std::string::String;

use super::like::Like;
use super::words::{
    ANY, BATCH_BEGIN, BATCH_END, COUNTER, CREATE, DEL_ELEMENT, DEL_SET, DEL_TABLE, NESTED, NETDEV,
    NEW_ELEMENT, NEW_OBJECT, NEW_SET, NEW_TABLE, NFTABLES, attribute, find, message, names, number,
    text,
};

/// One transaction: all of it happens, or nothing.
#[derive(Debug)]
pub(super) struct Batch {
    table: String,
    bytes: Vec<u8>,
    /// Something changes by it: what is flushed may be empty.
    changes: bool,
}

/// What a set is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// `nft`'s number of the type, and its bytes.
    pub(super) key: (u32, u32),
    /// Of a map, likewise.
    pub(super) data: Option<(u32, u32)>,
    pub(super) flags: u32,
    /// What `nft` lists as the key, and as what is under it.
    pub(super) like: Like,
}

impl Shape {
    /// Numbers of buckets.
    pub(super) const BUCKETS: Self = Self { key: (4, 4), data: None, flags: 0, like: Like::Number };
    /// From buckets to hardware addresses.
    pub(super) const OWNERS: Self =
        Self { key: (4, 4), data: Some((9, 6)), flags: 8, like: Like::NumberToMac };
    /// Hardware addresses.
    pub(super) const MACS: Self = Self { key: (9, 6), data: None, flags: 0, like: Like::Type };
    /// Spans of the time of day, which end by themselves.
    pub(super) const SPANS: Self =
        Self { key: (43, 8), data: None, flags: 4 | 0x10, like: Like::Time };
}

/// One element of a set or a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Element {
    key: Value,
    /// Of a map.
    data: Option<Value>,
    /// A span ends here.
    ends: bool,
    /// In how many milliseconds it goes by itself, when it is sent; not read again.
    timeout: Option<u64>,
}

/// A key or what is under it: a bucket, a hardware address or a time. A look compares very many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Value {
    bytes: [u8; 8],
    len: u8,
}

impl Value {
    fn new(value: &[u8]) -> Option<Self> {
        let mut bytes = [0; 8];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(Self { bytes, len: value.len() as u8 })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Batch {
    pub(super) fn new(table: &str) -> Self {
        let (mut bytes, mut body) = (Vec::new(), Vec::new());
        number(&mut body, 1, ANY);
        message(&mut bytes, BATCH_BEGIN, 0, 0, NFTABLES, &body);
        Self { table: table.into(), bytes, changes: false }
    }

    /// The whole of it, which the kernel refuses where its generation is another one than this.
    pub(super) fn sealed(&self, generation: u32) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[EXPECTED..EXPECTED + 4].copy_from_slice(&generation.to_be_bytes());
        message(&mut bytes, BATCH_END, 0, 0, NFTABLES, &[]);
        bytes
    }

    /// Whether the kernel's generation is the next one for certain, once it is done.
    pub(super) fn changes(&self) -> bool {
        self.changes
    }

    /// Makes the table, unless it is there.
    pub(super) fn table(&mut self) {
        let name = text(1, &self.table);
        self.add(NEW_TABLE, CREATE, &name);
    }

    /// Makes a counter.
    pub(super) fn counter(&mut self, name: &str) {
        let (mut body, mut none) = (self.names(name), Vec::new());
        number(&mut body, 3, COUNTER);
        attribute(&mut none, 2, &0_u64.to_be_bytes());
        attribute(&mut body, 4 | NESTED, &none);
        self.add(NEW_OBJECT, CREATE, &body);
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
        let like = shape.like.told();
        if !like.is_empty() {
            attribute(&mut body, 13, &like);
        }
        self.changes = true;
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
        self.changes |= !elements.is_empty();
        for some in elements.chunks(ELEMENTS_MAX) {
            let (mut body, mut all) = (self.names(name), Vec::new());
            for element in some {
                element.write(&mut all);
            }
            attribute(&mut body, 3 | NESTED, &all);
            self.add(kind, flags, &body);
        }
    }

    fn names(&self, set: &str) -> Vec<u8> {
        names(&self.table, set)
    }

    fn add(&mut self, kind: u16, flags: u16, body: &[u8]) {
        message(&mut self.bytes, NFTABLES << 8 | kind, flags, NETDEV, 0, body);
    }
}

impl Element {
    pub(super) fn key(key: &[u8]) -> Self {
        let key = Value::new(key).expect("no key here is longer than a time");
        Self { key, data: None, ends: false, timeout: None }
    }

    pub(super) fn pair(key: &[u8], data: &[u8]) -> Self {
        let data = Value::new(data).expect("no data here are longer than a hardware address");
        Self { data: Some(data), ..Self::key(key) }
    }

    /// Where a span begins, and in how many milliseconds it ends whatever the time of day is.
    pub(super) fn begin(key: &[u8], timeout: u64) -> Self {
        Self { timeout: Some(timeout), ..Self::key(key) }
    }

    /// Where it ends.
    pub(super) fn end(key: &[u8]) -> Self {
        Self { ends: true, ..Self::key(key) }
    }

    /// As it is read again.
    pub(super) fn as_read(&self) -> Self {
        Self { timeout: None, ..*self }
    }

    pub(super) fn ends(&self) -> bool {
        self.ends
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (mut body, mut value) = (Vec::new(), Vec::new());
        attribute(&mut value, 1, self.key.as_bytes());
        attribute(&mut body, 1 | NESTED, &value);
        if let Some(data) = &self.data {
            value.clear();
            attribute(&mut value, 1, data.as_bytes());
            attribute(&mut body, 2 | NESTED, &value);
        }
        if self.ends {
            number(&mut body, 3, ENDS);
        }
        if let Some(timeout) = self.timeout {
            attribute(&mut body, 4, &timeout.to_be_bytes());
        }
        attribute(out, 1 | NESTED, &body);
    }

    /// As the kernel lists it.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let value = |kind| Value::new(find(find(bytes, kind)?, 1)?);
        let flags = find(bytes, 3).and_then(|it| it.first_chunk().copied());
        let ends = flags.is_some_and(|it| u32::from_be_bytes(it) & ENDS != 0);
        Some(Self { key: value(1)?, data: value(2), ends, timeout: None })
    }
}

/// Where a transaction says at which generation it is done.
const EXPECTED: usize = 24;
/// `NFT_SET_ELEM_INTERVAL_END`.
const ENDS: u32 = 1;
/// In one message: an attribute has at most 64 KiB.
const ELEMENTS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_as_the_kernel_reads_it() {
        let mut bytes = Vec::new();
        Element::key(&7_u32.to_ne_bytes()).write(&mut bytes);
        let expected = [16, 0, 1, 0x80, 12, 0, 1, 0x80, 8, 0, 1, 0, 7, 0, 0, 0];
        if cfg!(target_endian = "little") {
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn an_element_is_read_as_it_is_written() {
        let all = [
            Element::key(&[7; 4]),
            Element::pair(&[0; 4], &[1; 6]),
            Element::begin(&[0; 8], 9),
            Element::end(&[9; 8]),
        ];
        for element in all {
            let mut bytes = Vec::new();
            element.write(&mut bytes);
            let read = find(&bytes, 1).and_then(Element::read);
            assert_eq!(read, Some(element.as_read()));
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

    /// Whoever takes a generation for the next one when it is not looks at nothing, or for ever.
    #[test]
    fn what_may_change_nothing_says_so() {
        let mut batch = Batch::new("t");
        batch.flush("s");
        batch.elements("s", &[]);
        batch.remove("s", &[]);
        assert!(!batch.changes());
        batch.elements("s", &[Element::key(&[0; 4])]);
        assert!(batch.changes());
        let sealed = batch.sealed(0x0102_0304);
        assert_eq!(
            sealed[20..28],
            [&8_u16.to_ne_bytes()[..], &1_u16.to_ne_bytes(), &[1, 2, 3, 4]].concat()
        );
    }
}
