//! What a node asks its witness, and what the witness answers; both as bytes.

use core::time::Duration;

use bytes::BufMut;
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{Boot, DataId, DataState, Epoch, Incarnation, Membership, NodeId};
use thiserror::Error;

use crate::register::{Register, put_duration, read_lease};
use crate::vote::Verdict;

/// What is asked of a witness (`CONTRACT.md` "Messages"). All but `Read` and `Renew` raise the
/// epoch when they are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The register, as it is.
    Read,
    /// A first register: held by the sender, alone.
    Create {
        /// The life of the witness that answered `Empty`: one that was meant for another life, and
        /// comes late, must not found the pair anew over its data.
        incarnation: Incarnation,
        /// Which data; not zero.
        data: DataId,
    },
    /// A lease until L(1+ρ) after reception; only for the holder.
    Renew,
    /// To become holder, or to hold anew in a new boot (R12). The set stays.
    Take,
    /// To be alone in the set; only for the holder.
    Exclude,
    /// The set of the sender and `peer`; only for the holder.
    Admit {
        /// The other node of the pair.
        peer: NodeId,
    },
    /// That `to`, a member of the set, holds instead of the sender (R13).
    Give {
        /// The holder to be.
        to: NodeId,
    },
    /// What the sender has saved, for a witness that has lost its register.
    Adopt {
        /// The life of the witness that answered `Empty`, saved by the sender.
        incarnation: Incarnation,
        /// The sender's saved record.
        membership: Membership,
        /// What the sender's data are worth.
        state: DataState,
    },
    /// That the sender holds alone, by order of an operator.
    Force {
        /// The record that the sender saved by that order.
        membership: Membership,
    },
}

/// A request, and what makes its answer count: the body of a datagram of kind `Ask`.
///
/// The sender is in the header. The body:
///
/// | offset | length | field |
/// |---|---|---|
/// | 0 | 8 | boot |
/// | 8 | 8 | number |
/// | 16 | 8 | expected epoch |
/// | 24 | 8 | configured lease, nanoseconds |
/// | 32 | 1 | request, from 0 in the order of [`Request`] |
/// | 33 | 16 | Create: incarnation 8, data 8 |
/// | 33 | 1 | Admit, Give: the other node |
/// | 33 | 42 | Adopt: incarnation 8, record 33, state 1 (0 Blank, 1 Target, 2 Complete) |
/// | 33 | 33 | Force: record |
///
/// A record is epoch 8, holder 1, set 16, data 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Who asks.
    pub from: NodeId,
    /// In which boot.
    pub boot: Boot,
    /// Which ask of that boot.
    pub number: u64,
    /// The epoch that the register must have for a change.
    pub expected: Epoch,
    /// The lease L that the asker is configured with.
    pub lease: Duration,
    /// What is asked.
    pub request: Request,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is so, durably.
    Ok,
    /// Nothing changed.
    Refused(Refusal),
    /// The witness has no register for this pair: Create or Adopt is needed.
    Empty,
}

/// Why a request changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The register has another epoch than expected.
    #[error("the register has another epoch")]
    Epoch,
    /// Only the holder may ask this.
    #[error("the sender is not the holder")]
    NotHolder,
    /// The node that would hold is not in the set.
    #[error("the node is not in the in-sync set")]
    NotInSet,
    /// The holder's lease runs; ask again when the time left is over.
    #[error("the holder's lease runs")]
    LeaseHeld,
    /// The witness booted or was adopted within a lease; ask again when the time left is over.
    #[error("the witness is in its grace time")]
    Grace,
    /// The sender is configured with another lease than the register's (or the other node's), or
    /// with one out of range.
    #[error("the lease is not the register's")]
    LeaseDiffers,
    /// There is a register already: it comes with the answer.
    #[error("there is a register already")]
    Exists,
    /// The data are others, or not named.
    #[error("other data")]
    Data,
    /// The peer that is named is the sender itself, or a third node.
    #[error("not a peer of the sender")]
    Peer,
    /// Create, Adopt: meant for another life of this witness.
    #[error("meant for another life of the witness")]
    Incarnation,
    /// Adopt: a blank node does not count.
    #[error("a blank node has nothing to adopt")]
    Blank,
    /// Adopt: noted; the other node's record is still missing.
    #[error("the other node's record is missing")]
    Waiting,
    /// Adopt, Force: the record contradicts itself, its sender or the other node's.
    #[error("the record contradicts itself or the other node's")]
    Record,
    /// The epoch's counter is at its end.
    #[error("no epoch is left")]
    Counter,
    /// The witness keeps as many registers as it can.
    #[error("the witness is full")]
    Full,
    /// There is no register to change.
    #[error("there is no register")]
    Empty,
    /// Renew: of a boot that got no epoch from the witness since that started. Take first (R12): an
    /// old ask that somebody plays back must not keep a lease alive.
    #[error("not of the boot that got the epoch: take first")]
    Boot,
}

/// The answer to one ask: the body of a datagram of kind `Answer`.
///
/// | offset | length | field |
/// |---|---|---|
/// | 0 | 1 | to |
/// | 1 | 8 | boot of the ask |
/// | 9 | 8 | number of the ask |
/// | 17 | 8 | incarnation |
/// | 25 | 1 | outcome: 0 Ok, 1 Refused, 2 Empty |
/// | 26 | 1 | refusal, from 1 in the order of [`Refusal`]; 0 unless refused |
/// | 27 | 8 | time left, nanoseconds |
/// | 35 | 8 | grace left, nanoseconds |
/// | 43 | 1 | 1 when a register follows, else 0 |
/// | 44 | 72 | register |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who asked.
    pub to: NodeId,
    /// In which boot.
    pub boot: Boot,
    /// Which ask of that boot.
    pub number: u64,
    /// Which life of the witness answers.
    pub incarnation: Incarnation,
    /// What came of it.
    pub outcome: Outcome,
    /// The register after it; `None` when there is none.
    pub register: Option<Register>,
    /// How long the lease and the grace time still keep anyone but the holder from holding, on
    /// the witness's clock.
    pub left: Duration,
    /// How long the witness still changes no holder at all, not even by Give (R9, R13).
    pub grace: Duration,
}

impl Ask {
    /// The most bytes that an ask takes: the Adopt.
    pub const LEN_MAX: usize = 75;

    /// Appends the body to `out`.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u64(self.boot.0);
        out.put_u64(self.number);
        out.put_u64(self.expected.bits());
        put_duration(self.lease, out);
        self.request.encode(out);
    }

    /// The ask of the node `from` (the header's sender) in a datagram's body.
    ///
    /// # Errors
    /// When the body is cut, longer, or a field holds what it cannot.
    pub fn decode(from: NodeId, body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let ask = Self {
            from,
            boot: Boot(reader.u64("ask boot")?),
            number: reader.u64("ask number")?,
            expected: reader.epoch("ask expected epoch")?,
            lease: read_lease(&mut reader)?,
            request: Request::read(&mut reader)?,
        };
        reader.finish()?;
        Ok(ask)
    }
}

impl Request {
    fn encode(&self, out: &mut impl BufMut) {
        match self {
            Self::Read => out.put_u8(0),
            Self::Create { incarnation, data } => {
                out.put_u8(1);
                out.put_u64(incarnation.0);
                out.put_u64(data.0);
            }
            Self::Renew => out.put_u8(2),
            Self::Take => out.put_u8(3),
            Self::Exclude => out.put_u8(4),
            Self::Admit { peer } => out.put_slice(&[5, peer.as_u8()]),
            Self::Give { to } => out.put_slice(&[6, to.as_u8()]),
            Self::Adopt { incarnation, membership, state } => {
                out.put_u8(7);
                out.put_u64(incarnation.0);
                membership.encode(out);
                out.put_u8(state_code(*state));
            }
            Self::Force { membership } => {
                out.put_u8(8);
                membership.encode(out);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8("request")? {
            0 => Self::Read,
            1 => Self::Create {
                incarnation: Incarnation(reader.u64("incarnation")?),
                data: DataId(reader.u64("data")?),
            },
            2 => Self::Renew,
            3 => Self::Take,
            4 => Self::Exclude,
            5 => Self::Admit { peer: reader.node("peer")? },
            6 => Self::Give { to: reader.node("receiver")? },
            7 => Self::Adopt {
                incarnation: Incarnation(reader.u64("incarnation")?),
                membership: Membership::decode(reader)?,
                state: read_state(reader)?,
            },
            8 => Self::Force { membership: Membership::decode(reader)? },
            _ => return Err(DecodeError::Invalid("request")),
        })
    }
}

impl Answer {
    /// The most bytes that an answer takes.
    pub const LEN_MAX: usize = 44 + Register::LEN;

    /// What it says as a vote.
    pub fn verdict(&self) -> Verdict {
        let epoch = self.register.map_or(Epoch::NONE, |register| register.membership.epoch);
        match self.outcome {
            Outcome::Ok => Verdict::Granted(epoch),
            Outcome::Refused(_) | Outcome::Empty => Verdict::Refused(epoch),
        }
    }

    /// Appends the body to `out`.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(self.to.as_u8());
        out.put_u64(self.boot.0);
        out.put_u64(self.number);
        out.put_u64(self.incarnation.0);
        out.put_slice(&match self.outcome {
            Outcome::Ok => [0, 0],
            Outcome::Refused(refusal) => [1, refusal.code()],
            Outcome::Empty => [2, 0],
        });
        put_duration(self.left, out);
        put_duration(self.grace, out);
        out.put_u8(u8::from(self.register.is_some()));
        if let Some(register) = &self.register {
            out.put_slice(&register.encode());
        }
    }

    /// The answer in a datagram's body.
    ///
    /// # Errors
    /// When the body is cut, longer, or a field holds what it cannot.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let answer = Self {
            to: reader.node("answer receiver")?,
            boot: Boot(reader.u64("answer boot")?),
            number: reader.u64("answer number")?,
            incarnation: Incarnation(reader.u64("answer incarnation")?),
            outcome: match (reader.u8("outcome")?, reader.u8("refusal")?) {
                (0, 0) => Outcome::Ok,
                (1, code) => Outcome::Refused(Refusal::from_code(code)?),
                (2, 0) => Outcome::Empty,
                _ => return Err(DecodeError::Invalid("outcome")),
            },
            left: Duration::from_nanos(reader.u64("time left")?),
            grace: Duration::from_nanos(reader.u64("grace left")?),
            register: match reader.u8("register mark")? {
                0 => None,
                1 => Some(Register::read(&mut reader)?),
                _ => return Err(DecodeError::Invalid("register mark")),
            },
        };
        reader.finish()?;
        Ok(answer)
    }
}

impl Refusal {
    /// Every refusal; the place in this list, from 1, is its number on the wire.
    const ALL: [Self; 17] = [
        Self::Epoch,
        Self::NotHolder,
        Self::NotInSet,
        Self::LeaseHeld,
        Self::Grace,
        Self::LeaseDiffers,
        Self::Exists,
        Self::Data,
        Self::Peer,
        Self::Incarnation,
        Self::Blank,
        Self::Waiting,
        Self::Record,
        Self::Counter,
        Self::Full,
        Self::Empty,
        Self::Boot,
    ];

    const fn code(self) -> u8 {
        self as u8 + 1
    }

    fn from_code(code: u8) -> Result<Self, DecodeError> {
        let place = usize::from(code).wrapping_sub(1);
        Self::ALL.get(place).copied().ok_or(DecodeError::Invalid("refusal"))
    }
}

const _: () = {
    let mut place = 0;
    while place < Refusal::ALL.len() {
        let own = Refusal::ALL[place].code() as usize == place + 1;
        assert!(own, "a refusal would be read as another");
        place += 1;
    }
};

const _: () = assert!(
    Ask::LEN_MAX == ASK_HEAD_LEN + 8 + Membership::LEN + 1,
    "the layout has another length than its table"
);

const _: () =
    assert!(Answer::LEN_MAX <= ha_proto::wire::BODY_MAX, "an answer would not fit in a datagram");

/// Everything of an ask up to the request's arguments.
const ASK_HEAD_LEN: usize = 33;

pub(crate) const fn state_code(state: DataState) -> u8 {
    match state {
        DataState::Blank => 0,
        DataState::Target => 1,
        DataState::Complete => 2,
    }
}

pub(crate) fn read_state(reader: &mut Reader<'_>) -> Result<DataState, DecodeError> {
    match reader.u8("state")? {
        0 => Ok(DataState::Blank),
        1 => Ok(DataState::Target),
        2 => Ok(DataState::Complete),
        _ => Err(DecodeError::Invalid("state")),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use ha_proto::{ClusterId, ModuleId, NodeSet};
    use proptest::prelude::*;

    use super::*;

    /// An Adopt of version 1. Never edited.
    const GOLDEN_ASK: [u8; Ask::LEN_MAX] = [
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xb0, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x01, 0x00, 0x00, 0x00, 0x00, 0xb2, 0xd0,
        0x5e, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1d, 0xea, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x0c, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xda, 0x7a, 0x02,
    ];

    /// A refusal with a register, of version 1. Never edited.
    const GOLDEN_ANSWER: [u8; Answer::LEN_MAX] = [
        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xb0, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1d, 0xea, 0x01, 0x04, 0x00, 0x00, 0x00,
        0x00, 0x0e, 0xe6, 0xb2, 0x80, 0x00, 0x00, 0x00, 0x00, 0x07, 0x73, 0x59, 0x40, 0x01, 0x01,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc1, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x0c, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xda, 0x7a, 0x00, 0x00,
        0x00, 0x00, 0xb2, 0xd0, 0x5e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1d, 0xea, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0xc1, 0x7b, 0xfc, 0xcd,
    ];

    fn node(id: u8) -> NodeId {
        NodeId::new(id).expect("an id")
    }

    fn membership() -> Membership {
        Membership {
            epoch: Epoch::new(12, node(1)),
            holder: node(1),
            set: NodeSet::from_bits(0b11),
            data: DataId(0xda7a),
        }
    }

    fn ask(request: Request) -> Ask {
        Ask {
            from: node(1),
            boot: Boot(0xb007),
            number: 9,
            expected: membership().epoch,
            lease: Duration::from_secs(3),
            request,
        }
    }

    fn answer(outcome: Outcome, with_register: bool) -> Answer {
        let register = Register {
            cluster: ClusterId(0xc1),
            module: ModuleId(2),
            membership: membership(),
            lease: Duration::from_secs(3),
            incarnation: Incarnation(0x1dea),
            renewals: 5,
        };
        Answer {
            to: node(1),
            boot: Boot(0xb007),
            number: 9,
            incarnation: Incarnation(0x1dea),
            outcome,
            register: with_register.then_some(register),
            left: Duration::from_millis(250),
            grace: Duration::from_millis(125),
        }
    }

    fn bytes_of(ask: &Ask) -> Vec<u8> {
        let mut bytes = Vec::new();
        ask.encode(&mut bytes);
        bytes
    }

    fn bytes_of_answer(answer: &Answer) -> Vec<u8> {
        let mut bytes = Vec::new();
        answer.encode(&mut bytes);
        bytes
    }

    fn requests() -> [Request; 11] {
        let adopt = |state| Request::Adopt {
            incarnation: Incarnation(0x1dea),
            membership: membership(),
            state,
        };
        [
            Request::Read,
            Request::Create { incarnation: Incarnation(0x1dea), data: DataId(5) },
            Request::Renew,
            Request::Take,
            Request::Exclude,
            Request::Admit { peer: node(0) },
            Request::Give { to: node(0) },
            adopt(DataState::Blank),
            adopt(DataState::Target),
            adopt(DataState::Complete),
            Request::Force { membership: membership() },
        ]
    }

    #[test]
    fn bytes_are_those_of_version_one() {
        let adopt = ask(requests()[9]);
        assert_eq!(bytes_of(&adopt), GOLDEN_ASK);
        assert_eq!(Ask::decode(node(1), &GOLDEN_ASK), Ok(adopt));
        let refused = answer(Outcome::Refused(Refusal::LeaseHeld), true);
        assert_eq!(bytes_of_answer(&refused), GOLDEN_ANSWER);
        assert_eq!(Answer::decode(&GOLDEN_ANSWER), Ok(refused));
        let mut unknown = GOLDEN_ANSWER;
        unknown[26] = 17;
        assert_eq!(bytes_of_answer(&answer(Outcome::Refused(Refusal::Boot), true)), unknown);
    }

    #[test]
    fn every_request_survives_the_wire_and_is_named_by_its_number() {
        let numbers = [0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 8];
        for (request, number) in requests().into_iter().zip(numbers) {
            let bytes = bytes_of(&ask(request));
            assert!(bytes.len() <= Ask::LEN_MAX);
            assert_eq!(bytes[32], number);
            assert_eq!(Ask::decode(node(1), &bytes), Ok(ask(request)));
            for len in 0..bytes.len() {
                assert!(Ask::decode(node(1), &bytes[..len]).is_err(), "{request:?} cut at {len}");
            }
        }
    }

    #[test]
    fn every_outcome_survives_the_wire_and_is_named_by_its_number() {
        for with_register in [false, true] {
            let refused = Refusal::ALL.map(Outcome::Refused);
            for outcome in refused.into_iter().chain([Outcome::Ok, Outcome::Empty]) {
                let answer = answer(outcome, with_register);
                let bytes = bytes_of_answer(&answer);
                assert!(bytes.len() <= Answer::LEN_MAX);
                assert_eq!(Answer::decode(&bytes), Ok(answer));
                for len in 0..bytes.len() {
                    assert!(Answer::decode(&bytes[..len]).is_err(), "{outcome:?} cut at {len}");
                }
            }
        }
        for (place, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(refusal.code()), place + 1, "{refusal:?} has another's number");
        }
    }

    #[test]
    fn values_that_a_field_cannot_have_are_refused() {
        let with = |at: usize, value: u8| {
            let mut bytes = GOLDEN_ASK;
            bytes[at] = value;
            Ask::decode(node(1), &bytes)
        };
        assert_eq!(with(24, 0xff), Err(DecodeError::Invalid("lease")));
        assert_eq!(with(32, 9), Err(DecodeError::Invalid("request")));
        assert_eq!(with(74, 3), Err(DecodeError::Invalid("state")));
        let with = |at: usize, value: u8| {
            let mut bytes = GOLDEN_ANSWER;
            bytes[at] = value;
            Answer::decode(&bytes)
        };
        assert_eq!(with(0, 128), Err(DecodeError::Invalid("answer receiver")));
        assert_eq!(with(25, 0), Err(DecodeError::Invalid("outcome")));
        assert_eq!(with(25, 3), Err(DecodeError::Invalid("outcome")));
        assert_eq!(with(26, 0), Err(DecodeError::Invalid("refusal")));
        assert_eq!(with(26, 18), Err(DecodeError::Invalid("refusal")));
        assert_eq!(with(43, 2), Err(DecodeError::Invalid("register mark")));
        assert_eq!(with(43, 0), Err(DecodeError::Trailing));
        assert_eq!(with(115, 0), Err(DecodeError::Invalid("register checksum")));
    }

    #[test]
    fn an_answer_is_a_vote_in_the_epoch_of_its_register() {
        let epoch = membership().epoch;
        let refused = Outcome::Refused(Refusal::Epoch);
        assert_eq!(answer(Outcome::Ok, true).verdict(), Verdict::Granted(epoch));
        assert_eq!(answer(refused, true).verdict(), Verdict::Refused(epoch));
        assert_eq!(answer(Outcome::Empty, false).verdict(), Verdict::Refused(Epoch::NONE));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_value_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..2 * Answer::LEN_MAX)
        ) {
            if let Ok(ask) = Ask::decode(node(3), &bytes) {
                prop_assert_eq!(bytes_of(&ask), bytes.clone());
            }
            if let Ok(answer) = Answer::decode(&bytes) {
                prop_assert_eq!(bytes_of_answer(&answer), bytes);
            }
        }

        #[test]
        fn damaged_bytes_are_a_value_or_an_error(at in 0..Answer::LEN_MAX, value in any::<u8>()) {
            let mut bytes = GOLDEN_ANSWER;
            bytes[at] = value;
            if let Ok(answer) = Answer::decode(&bytes) {
                prop_assert_eq!(bytes_of_answer(&answer), bytes.to_vec());
            }
            let mut bytes = GOLDEN_ASK;
            let at = at % bytes.len();
            bytes[at] = value;
            if let Ok(ask) = Ask::decode(node(1), &bytes) {
                prop_assert_eq!(bytes_of(&ask), bytes.to_vec());
            }
        }
    }
}
