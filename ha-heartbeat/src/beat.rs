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

const _: () = assert!(Beat::LEN == 141, "a released layout gets a new version");

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use ha_proto::{
        Chain, DataId, DataState, Epoch, Incarnation, Membership, NodeId, NodeSet, Position, Role,
        Seq, StoreId,
    };
    use proptest::prelude::*;

    use crate::Resources;

    fn beat() -> Beat {
        let node = NodeId::new(1).unwrap();
        Beat {
            boot: Boot(0x0102_0304_0506_0708),
            number: 77,
            echo: Some(Echo { boot: Boot(0x1112_1314_1516_1718), number: 0x21 }),
            status: Status {
                membership: Membership {
                    epoch: Epoch::new(3, node),
                    holder: node,
                    set: NodeSet::from_bits(0b11),
                    data: DataId(0x31),
                },
                role: Role::Prim,
                ready: true,
                state: DataState::Complete,
                store: StoreId(0x41),
                incarnation: Incarnation(0x51),
                position: Position {
                    epoch: Epoch::new(2, node),
                    seq: Seq(0x61),
                    chain: Chain(0x71),
                },
                asks: false,
                promise: Some(Echo { boot: Boot(0x81), number: 0x91 }),
                able: true,
                broken: false,
                yields: false,
                waits: false,
                unanswered: false,
                resources: Resources { known: 0xa1, up: 0xb1 },
                preference: 9,
                joint: Epoch::new(1, node),
            },
        }
    }

    /// Version 1. Never edited, only added to.
    const GOLDEN: &[&str] = &[
        "0102030405060708",                 // boot
        "1112131415161718",                 // echo: boot
        "0000000000000021",                 // echo: number
        "0000000000000301",                 // epoch
        "01",                               // holder
        "00000000000000000000000000000003", // set
        "0000000000000031",                 // data id
        "03",                               // role
        "02",                               // state
        "05",                               // flags
        "09",                               // preference
        "0000000000000041",                 // store id
        "0000000000000051",                 // incarnation
        "0000000000000201",                 // position: epoch
        "0000000000000061",                 // position: sequence
        "0000000000000071",                 // position: chain
        "0000000000000081",                 // promise: boot
        "0000000000000091",                 // promise: number
        "00000000000000a1",                 // resources known
        "00000000000000b1",                 // resources up
        "0000000000000101",                 // the last joint reign
    ];

    fn golden() -> Vec<u8> {
        let digits = GOLDEN.concat();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (0..digits.len()).step_by(2).map(byte).collect()
    }

    fn encoded(beat: &Beat) -> Vec<u8> {
        let mut bytes = Vec::new();
        beat.encode(&mut bytes);
        bytes
    }

    #[test]
    fn the_golden_bytes_stay() {
        assert_eq!(encoded(&beat()), golden());
        assert_eq!(Beat::decode(77, &golden()), Ok(beat()));
        assert_eq!(golden().len(), Beat::LEN);
    }

    #[test]
    fn what_is_absent_is_zero() {
        let mut bare = beat();
        bare.echo = None;
        bare.status.promise = None;
        let bytes = encoded(&bare);
        assert_eq!(bytes[8..24], [0; 16]);
        assert_eq!(bytes[24 + 77..24 + 93], [0; 16]);
        assert_eq!(Beat::decode(77, &bytes), Ok(bare));
    }

    #[test]
    fn each_flag_has_its_bit() {
        for bits in 0..64_u8 {
            let mut flagged = beat();
            flagged.status.ready = bits & 1 != 0;
            flagged.status.asks = bits & 2 != 0;
            flagged.status.able = bits & 4 != 0;
            flagged.status.broken = bits & 8 != 0;
            flagged.status.yields = bits & 16 != 0;
            flagged.status.waits = bits & 32 != 0;
            let bytes = encoded(&flagged);
            assert_eq!(bytes[24 + 35], bits);
            assert_eq!(Beat::decode(77, &bytes), Ok(flagged));
        }
    }

    #[test]
    fn impossible_fields_are_named() {
        let spoiled = |at: usize, byte: u8| {
            let mut bytes = golden();
            bytes[at] = byte;
            Beat::decode(77, &bytes)
        };
        assert_eq!(spoiled(24 + 35, 128), Err(DecodeError::Invalid("the status's flags")));
        assert_eq!(spoiled(23, 0), Err(DecodeError::Invalid("the echo")));
        assert_eq!(spoiled(24 + 92, 0), Err(DecodeError::Invalid("the promise")));
        assert_eq!(Beat::decode(0, &golden()), Err(DecodeError::Invalid("the beat's number")));
    }

    #[test]
    fn every_other_length_is_refused() {
        let mut bytes = golden();
        for len in 0..bytes.len() {
            let cut = Beat::decode(77, &bytes[..len]);
            assert!(matches!(cut, Err(DecodeError::Truncated(_))), "{len}: {cut:?}");
        }
        bytes.push(0);
        assert_eq!(Beat::decode(77, &bytes), Err(DecodeError::Trailing));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_beat_that_encodes_to_them_or_an_error(
            number: u64,
            mut bytes in proptest::collection::vec(any::<u8>(), 0..=Beat::LEN + 2),
        ) {
            if let Ok(beat) = Beat::decode(number, &bytes) {
                prop_assert_eq!(encoded(&beat), bytes.clone());
            }
            // Random bytes rarely get past the first fields: spoil good ones too.
            let mut near = golden();
            for (at, byte) in bytes.drain(..).enumerate().filter(|(_, byte)| byte % 8 == 0) {
                if let Some(place) = near.get_mut(at) {
                    *place ^= byte >> 3;
                }
            }
            if let Ok(beat) = Beat::decode(number, &near) {
                prop_assert_eq!(encoded(&beat), near);
            }
        }
    }
}
