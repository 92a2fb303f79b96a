//! Netlink's words for nftables (RFC 3549, `linux/netfilter/nf_tables.h`): messages and attributes.

use std::io;
use std::prelude::rust_2024::*;
use std::string::String;

/// A message as it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    /// Behind the header of netlink.
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    /// What the kernel refuses.
    pub(super) fn error(&self) -> Option<io::Error> {
        let code = i32::from_ne_bytes(*self.rest.first_chunk()?);
        (self.kind == ERROR && code != 0).then(|| io::Error::from_raw_os_error(-code))
    }

    /// The attributes of what nftables tells of this kind.
    pub(super) fn body(&self, kind: u16) -> Option<&'a [u8]> {
        self.rest.get(4..).filter(|_| self.kind == NFTABLES << 8 | kind)
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
pub(super) fn message(
    out: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    family: u8,
    whose: u16,
    body: &[u8],
) {
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
pub(super) fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(4 + value.len()).expect("a list of elements is bounded");
    out.extend(len.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

pub(super) fn number(out: &mut Vec<u8>, kind: u16, value: u32) {
    attribute(out, kind, &value.to_be_bytes());
}

pub(super) fn text(kind: u16, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    attribute(&mut out, kind, &[value.as_bytes(), &[0]].concat());
    out
}

/// The names of a table, and of something in it.
pub(super) fn names(table: &str, of: &str) -> Vec<u8> {
    [text(1, table), text(2, of)].concat()
}

/// The messages of an answer, to its end or to one that makes no sense.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    core::iter::from_fn(move || {
        let len = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let whole = bytes.get(..len).filter(|_| len >= 16)?;
        let half = |at: usize| whole[at..].first_chunk().map(|it| u16::from_ne_bytes(*it));
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Message { kind: half(4)?, flags: half(6)?, rest: &whole[16..] })
    })
}

/// Attributes: kind and value, likewise.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    core::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let value = bytes.get(4..len)?;
        let kind = u16::from_ne_bytes(*bytes[2..].first_chunk()?) & !NESTED;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// The value of the first attribute of a kind.
pub(super) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|it| it.0 == kind).map(|it| it.1)
}

/// A name.
pub(super) fn name(bytes: &[u8], kind: u16) -> Option<String> {
    let name = find(bytes, kind)?.strip_suffix(&[0])?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// A counter's or a handle's number.
pub(super) fn long(bytes: &[u8], kind: u16) -> Option<u64> {
    find(bytes, kind)?.first_chunk().copied().map(u64::from_be_bytes)
}

/// `NFPROTO_NETDEV`.
pub(super) const NETDEV: u8 = 5;
/// `NFNL_SUBSYS_NFTABLES`.
pub(super) const NFTABLES: u16 = 10;
pub(super) const BATCH_BEGIN: u16 = 0x10;
pub(super) const BATCH_END: u16 = 0x11;
/// `NLMSG_ERROR`, `NLMSG_DONE`.
const ERROR: u16 = 2;
pub(super) const DONE: u16 = 3;
/// `NLM_F_DUMP`, `NLM_F_DUMP_INTR`.
pub(super) const DUMP: u16 = 0x300;
pub(super) const CHANGED: u16 = 0x10;
/// `NLM_F_CREATE`.
pub(super) const CREATE: u16 = 0x400;
/// `NLA_F_NESTED`.
pub(super) const NESTED: u16 = 0x8000;
pub(super) const NEW_TABLE: u16 = 0;
pub(super) const GET_TABLE: u16 = 1;
pub(super) const DEL_TABLE: u16 = 2;
pub(super) const NEW_CHAIN: u16 = 3;
pub(super) const GET_CHAIN: u16 = 4;
pub(super) const NEW_RULE: u16 = 6;
pub(super) const GET_RULE: u16 = 7;
pub(super) const NEW_SET: u16 = 9;
pub(super) const GET_SET: u16 = 10;
pub(super) const DEL_SET: u16 = 11;
pub(super) const NEW_ELEMENT: u16 = 12;
pub(super) const GET_ELEMENT: u16 = 13;
pub(super) const DEL_ELEMENT: u16 = 14;
pub(super) const NEW_GENERATION: u16 = 15;
pub(super) const GET_GENERATION: u16 = 16;
pub(super) const NEW_OBJECT: u16 = 18;
pub(super) const GET_OBJECT: u16 = 19;
/// `NFT_OBJECT_COUNTER`.
pub(super) const COUNTER: u32 = 1;
/// The generation of a transaction that is done at any.
pub(super) const ANY: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_answer_is_read_to_its_end() {
        for bytes in [&[][..], &[0; 40], &[0xff; 40], &[16, 0, 0, 0], &[4; 64]] {
            // A length of nothing would be read for ever.
            assert!(messages(bytes).count() <= 4, "{bytes:?}");
            assert!(attributes(bytes).count() <= 16, "{bytes:?}");
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
