//! One heartbeat.

use bytes::BufMut;
use ha_proto::Boot;
use ha_proto::codec::{DecodeError, Reader};

use crate::Status;

/// One heartbeat: "I, in this boot, heard you, and this is what I am".
///
/// `number` travels in the header's sequence, the link's own echo in the header's echo, and the
/// status's epoch once more in the header's epoch. The body, [`Beat::LEN`] bytes, big-endian:
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 8 | boot |
/// | 8 | 16 | echo: boot and number; all zero when there is none |
/// | 24 | 109 | status |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The sender's boot.
    pub boot: Boot,
    /// Rises by one with each round of beats of that boot, from 1; the same on all links.
    pub number: u64,
    /// The newest number of the receiver that the sender has seen, on any link.
    pub echo: Option<Echo>,
    /// What the sender says of itself.
    pub status: Status,
}

/// One round of beats: who sent it, in which boot, and its number, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// The boot that sent it.
    pub boot: Boot,
    /// Its number, at least 1.
    pub number: u64,
}

impl Beat {
    /// How many bytes the body takes.
    pub const LEN: usize = 8 + Echo::LEN + Status::LEN;

    /// What names this beat in an echo or a promise.
    pub const fn to_echo(&self) -> Echo {
        Echo { boot: self.boot, number: self.number }
    }

    /// Writes the body; the caller puts `number` into the header's sequence.
    pub fn encode(&self, out: &mut impl BufMut) {
        assert!(self.number > 0, "beat 0 would be read as no beat at all");
        out.put_u64(self.boot.0);
        Echo::encode(self.echo, out);
        self.status.encode(out);
    }

    /// Reads a body, with `number` from the header's sequence.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes end early or go on, when a field holds a value that it
    /// cannot have, or when `number` is 0.
    pub fn decode(number: u64, body: &[u8]) -> Result<Self, DecodeError> {
        if number == 0 {
            return Err(DecodeError::Invalid("the beat's number"));
        }
        let mut from = Reader::new(body);
        let boot = Boot(from.u64("the boot")?);
        let echo = Echo::decode(&mut from, "the echo")?;
        let status = Status::decode(&mut from)?;
        from.finish()?;
        Ok(Self { boot, number, echo, status })
    }
}

impl Echo {
    /// How many bytes one takes, or its absence.
    pub(crate) const LEN: usize = 16;

    pub(crate) fn encode(echo: Option<Self>, out: &mut impl BufMut) {
        assert!(echo.is_none_or(|echo| echo.number > 0), "beat 0 would be read as no beat at all");
        out.put_u64(echo.map_or(0, |echo| echo.boot.0));
        out.put_u64(echo.map_or(0, |echo| echo.number));
    }

    pub(crate) fn decode(
        from: &mut Reader<'_>,
        field: &'static str,
    ) -> Result<Option<Self>, DecodeError> {
        let boot = Boot(from.u64(field)?);
        let number = from.u64(field)?;
        match (boot.0, number) {
            (0, 0) => Ok(None),
            (_, 0) => Err(DecodeError::Invalid(field)),
            (_, number) => Ok(Some(Self { boot, number })),
        }
    }
}

const _: () = assert!(Beat::LEN == 133, "the layout is released: add a version, never edit it");
