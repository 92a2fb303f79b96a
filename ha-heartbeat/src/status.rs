//! What a node says of itself in every beat.

use bytes::BufMut;
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{DataState, Epoch, Incarnation, Membership, Position, Role, StoreId};

use crate::Echo;

/// What a node says of itself in every beat (`CONTRACT.md` "Messages": Beat, Ack and Tell).
///
/// The detector carries it and decides nothing by it.
///
/// Layout, [`Status::LEN`] bytes, big-endian:
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 33 | membership |
/// | 33 | 1 | role |
/// | 34 | 1 | state |
/// | 35 | 1 | flags: bit 0 ready, 1 asks, 2 able, 3 broken, 4 yields, 5 waits, 6 unanswered, 7 zero |
/// | 36 | 1 | preference |
/// | 37 | 8 | store id |
/// | 45 | 8 | incarnation |
/// | 53 | 24 | position |
/// | 77 | 16 | promise: boot and number; all zero when there is none |
/// | 93 | 8 | resources known |
/// | 101 | 8 | resources up |
/// | 109 | 8 | the last joint reign |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, one flag each on the wire")]
pub struct Status {
    /// The node's saved record.
    pub membership: Membership,
    /// What it is.
    pub role: Role,
    /// Whether it is settled in that role.
    pub ready: bool,
    /// What its data are worth.
    pub state: DataState,
    /// Which store they are in.
    pub store: StoreId,
    /// Which life of the witness it knows.
    pub incarnation: Incarnation,
    /// Its last durable record.
    pub position: Position,
    /// Asks the peer for a renewal (R6).
    pub asks: bool,
    /// "Yes" to the renewal that the receiver asked for in the beat with this boot and number.
    ///
    /// The boot is named again, although the beat's own echo has one, because a status outlives a
    /// peer's restart: a "yes" to beat 9 of its former boot must not be taken for beat 9 of this
    /// one, nor for beat 9 of another peer.
    pub promise: Option<Echo>,
    /// Could serve: data complete, no storage error, resources up.
    pub able: bool,
    /// Its storage failed: it is no copy any more, whatever its state says (R2).
    pub broken: bool,
    /// It has stopped and flushed, and hands over to the peer (swap without a witness).
    pub yields: bool,
    /// It would not take over by itself: `failover off`, or it has to meet the peer first. Only for
    /// operators: no decision of the receiver depends on it.
    pub waits: bool,
    /// The witness that it asks does not answer it. Only for operators, too.
    pub unanswered: bool,
    /// Which of its resources are up.
    pub resources: Resources,
    /// Its configured preference; the higher one is preferred (R8).
    pub preference: u8,
    /// The newest reign known to it that both nodes of a pair were copies in; [`Epoch::NONE`] before
    /// the first. Where two primaries meet it says who was the former one.
    pub joint: Epoch,
}

/// One bit for each resource, in the order of the configuration: its place is the bit's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Whether its state is known.
    pub known: u64,
    /// Whether it is up; means nothing for one that is not known.
    pub up: u64,
}

impl Status {
    /// How many bytes it takes.
    pub const LEN: usize = Membership::LEN + 4 + 16 + Position::LEN + Echo::LEN + 24;

    const READY: u8 = 1;
    const ASKS: u8 = 1 << 1;
    const ABLE: u8 = 1 << 2;
    const BROKEN: u8 = 1 << 3;
    const YIELDS: u8 = 1 << 4;
    const WAITS: u8 = 1 << 5;
    const UNANSWERED: u8 = 1 << 6;
    const FLAGS: u8 = (1 << 7) - 1;

    /// Writes it.
    pub fn encode(&self, out: &mut impl BufMut) {
        self.membership.encode(out);
        out.put_u8(self.role.as_u8());
        out.put_u8(self.state.as_u8());
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.put_u8(
            flag(self.ready, Self::READY)
                | flag(self.asks, Self::ASKS)
                | flag(self.able, Self::ABLE)
                | flag(self.broken, Self::BROKEN)
                | flag(self.yields, Self::YIELDS)
                | flag(self.waits, Self::WAITS)
                | flag(self.unanswered, Self::UNANSWERED),
        );
        out.put_u8(self.preference);
        out.put_u64(self.store.0);
        out.put_u64(self.incarnation.0);
        self.position.encode(out);
        Echo::encode(self.promise, out);
        out.put_u64(self.resources.known);
        out.put_u64(self.resources.up);
        out.put_u64(self.joint.bits());
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes end early or a field holds a value that it cannot have.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let membership = Membership::decode(from)?;
        let role = Role::decode(from)?;
        let state = DataState::decode(from)?;
        let flags = from.u8("the status's flags")?;
        if flags & !Self::FLAGS != 0 {
            return Err(DecodeError::Invalid("the status's flags"));
        }
        let preference = from.u8("the preference")?;
        let store = StoreId(from.u64("the store id")?);
        let incarnation = Incarnation(from.u64("the incarnation")?);
        let position = Position::decode(from)?;
        let promise = Echo::decode(from, "the promise")?;
        let known = from.u64("the resources known")?;
        let up = from.u64("the resources up")?;
        let joint = from.epoch("the last joint reign")?;
        Ok(Self {
            membership,
            role,
            ready: flags & Self::READY != 0,
            state,
            store,
            incarnation,
            position,
            asks: flags & Self::ASKS != 0,
            promise,
            able: flags & Self::ABLE != 0,
            broken: flags & Self::BROKEN != 0,
            yields: flags & Self::YIELDS != 0,
            waits: flags & Self::WAITS != 0,
            unanswered: flags & Self::UNANSWERED != 0,
            resources: Resources { known, up },
            preference,
            joint,
        })
    }
}

const _: () = assert!(Status::LEN == 117, "a released layout gets a new version");
