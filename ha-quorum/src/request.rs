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
/// | 32 | 1 | request: 0 Read, 1 Create, 2 Renew, 3 Take, 4 Exclude, 5 Admit, 6 Give, 7 Adopt, 8 Force |
/// | 33 | 8 | Create: data |
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
    /// Adopt: meant for another life of this witness.
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
/// | 35 | 1 | 1 when a register follows, else 0 |
/// | 36 | 72 | register |
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
            Self::Create { data } => {
                out.put_u8(1);
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
            1 => Self::Create { data: DataId(reader.u64("data")?) },
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
    pub const LEN_MAX: usize = 36 + Register::LEN;

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
    const ALL: [Self; 16] = [
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
    ];

    const fn code(self) -> u8 {
        self as u8 + 1
    }

    fn from_code(code: u8) -> Result<Self, DecodeError> {
        let place = usize::from(code).wrapping_sub(1);
        Self::ALL.get(place).copied().ok_or(DecodeError::Invalid("refusal"))
    }
}

const fn state_code(state: DataState) -> u8 {
    match state {
        DataState::Blank => 0,
        DataState::Target => 1,
        DataState::Complete => 2,
    }
}

fn read_state(reader: &mut Reader<'_>) -> Result<DataState, DecodeError> {
    match reader.u8("state")? {
        0 => Ok(DataState::Blank),
        1 => Ok(DataState::Target),
        2 => Ok(DataState::Complete),
        _ => Err(DecodeError::Invalid("state")),
    }
}
