//! What a client asks and the echo service answers, over UDP and TCP alike.
//!
//! | at | bytes | request | answer |
//! |---|---|---|---|
//! | 0 | 8 | run: which client | the same |
//! | 8 | 8 | number | the same |
//! | 16 | 1 | | length of the name, 1 to 32 |
//! | 17 | *n* | | name of the host that answers |
//!
//! Integers are big-endian.

use std::fmt;

/// The bytes of a request.
pub const REQUEST_LEN: usize = 16;

/// The longest name: more than any host of a lab has.
pub const NAME_MAX: usize = 32;

/// The bytes of the longest answer.
pub const ANSWER_MAX: usize = REQUEST_LEN + 1 + NAME_MAX;

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Tells this client's answers from those of an earlier one on the same port.
    pub run: u64,
    /// Counts the requests of a run.
    pub number: u64,
}

impl Request {
    /// The bytes on the wire.
    pub fn encode(self) -> [u8; REQUEST_LEN] {
        let mut bytes = [0; REQUEST_LEN];
        bytes[..8].copy_from_slice(&self.run.to_be_bytes());
        bytes[8..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// # Errors
    /// It has another length than [`REQUEST_LEN`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes: &[u8; REQUEST_LEN] = bytes.try_into().map_err(|_| Malformed)?;
        let (run, number) = bytes.split_first_chunk().expect("there are sixteen");
        let number = number.try_into().expect("eight are left");
        Ok(Self { run: u64::from_be_bytes(*run), number: u64::from_be_bytes(number) })
    }
}

/// What the service answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What it was asked.
    pub request: Request,
    /// Who answers: 1 to [`NAME_MAX`] bytes without white space.
    pub name: String,
}

impl Reply {
    /// The bytes on the wire.
    ///
    /// # Panics
    /// The name is not [`is_name`].
    pub fn encode(&self) -> Vec<u8> {
        assert!(is_name(&self.name), "{:?} could not be read back", self.name);
        let mut bytes = self.request.encode().to_vec();
        bytes.push(self.name.len() as u8);
        bytes.extend_from_slice(self.name.as_bytes());
        bytes
    }

    /// # Errors
    /// It is too short or too long, or the name is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (request, rest) = bytes.split_at_checked(REQUEST_LEN).ok_or(Malformed)?;
        let request = Request::decode(request)?;
        let (len, name) = rest.split_first().ok_or(Malformed)?;
        let name = std::str::from_utf8(name).map_err(|_| Malformed)?;
        if usize::from(*len) == name.len() && is_name(name) {
            Ok(Self { request, name: name.to_owned() })
        } else {
            Err(Malformed)
        }
    }
}

/// Whether a host may have this name in an answer: 1 to 32 bytes, no white space or control.
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control();
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(plain)
}

/// The bytes are no such message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no message of the echo service")
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const REQUEST: Request = Request { run: 0x0102, number: 3 };

    #[test]
    fn golden_bytes() {
        assert_eq!(REQUEST.encode(), *b"\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x03");
        let reply = Reply { request: REQUEST, name: "ab".to_owned() };
        assert_eq!(reply.encode(), b"\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x03\x02ab");
    }

    #[test]
    fn names_that_could_not_be_read_back() {
        let long = "x".repeat(NAME_MAX + 1);
        for name in ["", "a b", "a\n", "\u{7f}", &long] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_name(&long[1..]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(run: u64, number: u64, name in "[a-z0-9]{1,32}") {
            let request = Request { run, number };
            prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
            let reply = Reply { request, name };
            prop_assert!(reply.encode().len() <= ANSWER_MAX);
            prop_assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        }

        #[test]
        fn any_bytes_are_a_message_or_none(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Request::decode(&bytes);
            if let Ok(reply) = Reply::decode(&bytes) {
                prop_assert_eq!(reply.encode(), bytes);
            }
        }
    }
}
