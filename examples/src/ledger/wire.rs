//! What clients and the ledger say to each other, and what the ledger proposes.

use bytes::BufMut;
use ha_proto::codec::{DecodeError, Reader};
use thiserror::Error;

/// A client of the ledger, by a number of its own choice. One client has one request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// A request of one client: 1, 2, … A repetition bears the number of what it repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestNumber(pub u64);

/// A line's place in the ledger: 0, 1, …
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineIndex(pub u64);

/// The longest line, in bytes: far below the longest record, and long enough for any text.
pub const LINE_MAX: usize = 64 << 10;

/// The longest frame after its length field: the kind, client, number or index, and a line.
pub const FRAME_MAX: usize = 1 + 8 + 8 + 8 + LINE_MAX;

/// A line to append; as a record of the replication log and as the body of a request the same
/// bytes.
///
/// | bytes | |
/// |---|---|
/// | 8 | client |
/// | 8 | number |
/// | to the end | the line, at most [`LINE_MAX`] bytes |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Append<'a> {
    /// Who asks.
    pub client: ClientId,
    /// Which of its requests.
    pub number: RequestNumber,
    /// The line.
    pub line: &'a [u8],
}

/// What a client asks, framed by its length (`u32`).
///
/// | bytes | append | read |
/// |---|---|---|
/// | 1 | kind 1 | kind 2 |
/// | 8 | client | number |
/// | 8 | number | index |
/// | to the end | the line | – |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Append a line.
    Append(Append<'a>),
    /// Read a line back.
    Read {
        /// To be named in the response.
        number: RequestNumber,
        /// Which line.
        index: LineIndex,
    },
}

/// What the ledger answers, framed by its length (`u32`).
///
/// | bytes | appended | line | no such line | refused |
/// |---|---|---|---|---|
/// | 1 | kind 1 | kind 2 | kind 3 | kind 4 |
/// | 8 | number | number | number | number |
/// | 8, 1 | index | client | – | why |
/// | 8 | – | its number | – | – |
/// | to the end | – | the line | – | – |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response<'a> {
    /// The line is committed: durable wherever the pair promises it.
    Appended {
        /// Which request.
        number: RequestNumber,
        /// Where the line is.
        index: LineIndex,
    },
    /// The line that was asked for.
    Line {
        /// Which request.
        number: RequestNumber,
        /// Who appended it, by which request, and what.
        append: Append<'a>,
    },
    /// There is no such line yet.
    NoLine {
        /// Which request.
        number: RequestNumber,
    },
    /// Nothing was done, and a repetition would not help.
    Refused {
        /// Which request.
        number: RequestNumber,
        /// Why.
        why: Refusal,
    },
}

/// Why a request was refused; none changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The client had a later request applied already: it does not count its requests upwards.
    #[error("a later request of this client was applied already")]
    Stale,
    /// The ledger remembers as many clients as it can.
    #[error("the ledger has as many clients as it can remember")]
    TooManyClients,
    /// The log takes no more records.
    #[error("the log is full")]
    NoSpace,
}

/// A frame that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Its length is beyond [`FRAME_MAX`].
    #[error("a frame of {0} bytes: at most {FRAME_MAX} are allowed")]
    TooLong(usize),
    /// Its content is none.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl<'a> Append<'a> {
    /// Bytes before the line.
    pub const HEAD: usize = 16;

    /// Reads one, to the end of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] when a field is missing or the line is too long.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let client = ClientId(reader.u64("the client")?);
        let number = RequestNumber(reader.u64("the number")?);
        let line = bytes.get(Self::HEAD..).expect("both fields were read, so they are there");
        if line.len() > LINE_MAX {
            return Err(DecodeError::Invalid("the line's length"));
        }
        Ok(Self { client, number, line })
    }

    /// Writes it.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u64(self.client.0);
        out.put_u64(self.number.0);
        out.put_slice(self.line);
    }

    /// As the bytes of a record.
    pub fn to_record(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(Self::HEAD + self.line.len());
        self.encode(&mut record);
        record
    }
}

impl<'a> Request<'a> {
    const APPEND: u8 = 1;
    const READ: u8 = 2;

    /// Reads the content of a frame.
    ///
    /// # Errors
    /// [`DecodeError`] when it is no request.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8("the kind")? {
            Self::APPEND => Append::decode(&bytes[1..]).map(Self::Append),
            Self::READ => {
                let number = RequestNumber(reader.u64("the number")?);
                let index = LineIndex(reader.u64("the index")?);
                if bytes.len() > 17 {
                    return Err(DecodeError::Trailing);
                }
                Ok(Self::Read { number, index })
            }
            _ => Err(DecodeError::Invalid("the kind")),
        }
    }

    /// Writes it with the length before it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        framed(out, |out| match self {
            Self::Append(append) => {
                out.put_u8(Self::APPEND);
                append.encode(out);
            }
            Self::Read { number, index } => {
                out.put_u8(Self::READ);
                out.put_u64(number.0);
                out.put_u64(index.0);
            }
        });
    }
}

impl<'a> Response<'a> {
    const APPENDED: u8 = 1;
    const LINE: u8 = 2;
    const NO_LINE: u8 = 3;
    const REFUSED: u8 = 4;

    /// Which request it answers.
    pub const fn number(&self) -> RequestNumber {
        match *self {
            Self::Appended { number, .. }
            | Self::Line { number, .. }
            | Self::NoLine { number }
            | Self::Refused { number, .. } => number,
        }
    }

    /// Reads the content of a frame.
    ///
    /// # Errors
    /// [`DecodeError`] when it is no response.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8("the kind")?;
        let number = RequestNumber(reader.u64("the number")?);
        let (response, len) = match kind {
            Self::APPENDED => {
                let index = LineIndex(reader.u64("the index")?);
                (Self::Appended { number, index }, 17)
            }
            Self::LINE => {
                let append = Append::decode(&bytes[9..])?;
                (Self::Line { number, append }, bytes.len())
            }
            Self::NO_LINE => (Self::NoLine { number }, 9),
            Self::REFUSED => {
                let why = match reader.u8("the refusal")? {
                    1 => Refusal::Stale,
                    2 => Refusal::TooManyClients,
                    3 => Refusal::NoSpace,
                    _ => return Err(DecodeError::Invalid("the refusal")),
                };
                (Self::Refused { number, why }, 10)
            }
            _ => return Err(DecodeError::Invalid("the kind")),
        };
        if bytes.len() == len { Ok(response) } else { Err(DecodeError::Trailing) }
    }

    /// Writes it with the length before it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        framed(out, |out| match *self {
            Self::Appended { number, index } => {
                out.put_u8(Self::APPENDED);
                out.put_u64(number.0);
                out.put_u64(index.0);
            }
            Self::Line { number, append } => {
                out.put_u8(Self::LINE);
                out.put_u64(number.0);
                append.encode(out);
            }
            Self::NoLine { number } => {
                out.put_u8(Self::NO_LINE);
                out.put_u64(number.0);
            }
            Self::Refused { number, why } => {
                out.put_u8(Self::REFUSED);
                out.put_u64(number.0);
                out.put_u8(match why {
                    Refusal::Stale => 1,
                    Refusal::TooManyClients => 2,
                    Refusal::NoSpace => 3,
                });
            }
        });
    }
}

/// The content of the first whole frame in `bytes`, and how many bytes it takes; `None` while it
/// is not whole.
///
/// # Errors
/// [`FrameError::TooLong`] as soon as its length is known.
pub fn frame(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, FrameError> {
    let Some((head, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_be_bytes(*head) as usize;
    if len > FRAME_MAX {
        return Err(FrameError::TooLong(len));
    }
    Ok(rest.get(..len).map(|content| (content, 4 + len)))
}

fn framed(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u32(0);
    content(out);
    let len = out.len() - start - 4;
    assert!(len <= FRAME_MAX, "the other end would close the connection on so long a frame");
    let len = u32::try_from(len).expect("FRAME_MAX is below 2^32");
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const APPEND: Append<'static> =
        Append { client: ClientId(0x0102), number: RequestNumber(3), line: b"hi" };

    fn encoded(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn golden_bytes_of_requests() {
        let append = encoded(|out| Request::Append(APPEND).encode(out));
        assert_eq!(append, b"\0\0\0\x13\x01\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x03hi");
        let read = Request::Read { number: RequestNumber(4), index: LineIndex(5) };
        let read = encoded(|out| read.encode(out));
        assert_eq!(read, b"\0\0\0\x11\x02\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x05");
    }

    #[test]
    fn golden_bytes_of_responses() {
        let number = RequestNumber(4);
        let rows: [(Response<'_>, &[u8]); 4] = [
            (
                Response::Appended { number, index: LineIndex(5) },
                b"\0\0\0\x11\x01\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x05",
            ),
            (
                Response::Line { number, append: APPEND },
                b"\0\0\0\x1b\x02\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x03hi",
            ),
            (Response::NoLine { number }, b"\0\0\0\x09\x03\0\0\0\0\0\0\0\x04"),
            (
                Response::Refused { number, why: Refusal::NoSpace },
                b"\0\0\0\x0a\x04\0\0\0\0\0\0\0\x04\x03",
            ),
        ];
        for (response, golden) in rows {
            assert_eq!(encoded(|out| response.encode(out)), golden);
            let (content, len) = frame(golden).unwrap().unwrap();
            assert_eq!((Response::decode(content), len), (Ok(response), golden.len()));
            assert_eq!(response.number(), number);
        }
    }

    #[test]
    fn a_frame_waits_until_it_is_whole_and_is_refused_when_it_is_too_long() {
        let whole = encoded(|out| Request::Append(APPEND).encode(out));
        for end in 0..whole.len() {
            assert_eq!(frame(&whole[..end]), Ok(None));
        }
        assert_eq!(frame(&[0xff; 4]), Err(FrameError::TooLong(0xffff_ffff)));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut read = vec![2];
        read.extend([0; 16]);
        assert!(Request::decode(&read).is_ok());
        read.push(0);
        assert_eq!(Request::decode(&read), Err(DecodeError::Trailing));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_value_or_an_error(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = frame(&bytes);
            let _ = Append::decode(&bytes);
            if let Ok(request) = Request::decode(&bytes) {
                prop_assert_eq!(&encoded(|out| request.encode(out))[4..], &bytes[..]);
            }
            if let Ok(response) = Response::decode(&bytes) {
                prop_assert_eq!(&encoded(|out| response.encode(out))[4..], &bytes[..]);
            }
        }
    }
}
