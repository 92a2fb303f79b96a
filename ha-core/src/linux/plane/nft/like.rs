//! What `nft` keeps with a set for itself, so that it can list it in words that it loads again.
//!
//! The kernel gives it back as it is. A bucket's number is a hash, and of a set of numbers `nft`
//! knows no name: it says in which expression such a number is found (`typeof`). Of a hash it cannot
//! (1.0.6 ends by a signal while it lists one), so the sets say `meta length`, a number of four bytes
//! in the machine's order too.

use std::prelude::rust_2024::*;

/// As what a set is listed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Like {
    /// By the number of its type.
    Type,
    /// `typeof meta time`: two types have the name `time`, and the other one has it when it is read.
    Time,
    /// `typeof meta length`.
    Number,
    /// `typeof meta length : ether daddr`.
    NumberToMac,
}

impl Like {
    /// The set's user data: a list of fields, each its kind (1), its length (1) and its value, with
    /// numbers of four bytes in the machine's order (`nft`, `set_make_key`; libnftnl, `udata.h`).
    ///
    /// | kind | value |
    /// |---|---|
    /// | 0, 1 | the order of the bytes of key and data: 1 the machine's, 2 big-endian |
    /// | 3, 4 | the expression of key and data: fields, 0 what it is, 1 fields of its own |
    /// | 6 | whether data are spans |
    pub(super) fn told(self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Type => {}
            Self::Time => {
                number(&mut out, 0, HOST);
                field(&mut out, 3, &meta(TIME));
            }
            Self::Number => {
                number(&mut out, 0, HOST);
                field(&mut out, 3, &meta(LENGTH));
            }
            Self::NumberToMac => {
                number(&mut out, 0, HOST);
                number(&mut out, 1, BIG);
                field(&mut out, 3, &meta(LENGTH));
                field(&mut out, 4, &ether_daddr());
                number(&mut out, 6, 0);
            }
        }
        out
    }
}

/// What the kernel knows of a packet beside its bytes.
fn meta(what: u32) -> Vec<u8> {
    let mut key = Vec::new();
    number(&mut key, 0, what);
    expression(META, &key)
}

/// `ether daddr`: the first field of the seventeenth protocol that `nft` knows.
fn ether_daddr() -> Vec<u8> {
    let mut at = Vec::new();
    number(&mut at, 0, 17);
    number(&mut at, 1, 1);
    expression(PAYLOAD, &at)
}

fn expression(what: u32, fields: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    number(&mut out, 0, what);
    field(&mut out, 1, fields);
    out
}

fn number(out: &mut Vec<u8>, kind: u8, value: u32) {
    field(out, kind, &value.to_ne_bytes());
}

fn field(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    out.extend([kind, value.len() as u8]);
    out.extend(value);
}

const HOST: u32 = 1;
const BIG: u32 = 2;
const PAYLOAD: u32 = 7;
const META: u32 = 9;
/// `NFT_META_LEN`.
const LENGTH: u32 = 0;
/// `NFT_META_TIME_NS`.
const TIME: u32 = 30;

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    /// As `nft` 1.0.6 of Debian writes them (`nft --debug=mnl`).
    #[test]
    fn sets_say_what_nft_itself_would() {
        let length = [3, 14, 0, 4, 9, 0, 0, 0, 1, 6, 0, 4, 0, 0, 0, 0];
        assert_eq!(Like::Number.told(), [&[0, 4, 1, 0, 0, 0][..], &length].concat());
        let orders = [0, 4, 1, 0, 0, 0, 1, 4, 2, 0, 0, 0];
        let mac = [4, 20, 0, 4, 7, 0, 0, 0, 1, 12, 0, 4, 17, 0, 0, 0, 1, 4, 1, 0, 0, 0];
        let spans = [6, 4, 0, 0, 0, 0];
        let all = [&orders[..], &length, &mac, &spans].concat();
        assert_eq!(Like::NumberToMac.told(), all);
        let time = [0, 4, 1, 0, 0, 0, 3, 14, 0, 4, 9, 0, 0, 0, 1, 6, 0, 4, 30, 0, 0, 0];
        assert_eq!(Like::Time.told(), time);
        assert!(Like::Type.told().is_empty());
    }
}
