//! What two logs tell each other, over a stream that keeps order.

use bytes::{BufMut, Bytes, BytesMut};
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{DataState, Epoch, Lineage, Membership, Position, Seq, StoreId};

use crate::event::Run;
use crate::record::{HEADER_LEN, RECORD_MAX};

/// Most bytes of one message: frames that hold the largest record.
pub const MESSAGE_MAX: usize = FRAMES_LEN + HEADER_LEN + RECORD_MAX;

/// Bytes of frames before the records.
pub(crate) const FRAMES_LEN: usize = 17;

const _: () = assert!(
    1 + 8 + 1 + 1 + Membership::LEN + 8 + 1 + Position::LEN + 8 + Lineage::LEN_MAX < MESSAGE_MAX,
    "a greeting or an order is never the longest message"
);

/// One message. Kind first, big-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Hello(Hello),
    Sync(Sync),
    Frames(Frames),
    Ack(Ack),
    Commit(Commit),
}

/// A greeting: who I am and where my log ends.
///
/// | size | field |
/// |---|---|
/// | 1 | kind, 1 |
/// | 8 | number: rises with each greeting of one log |
/// | 1 | flags: bit 0 leading, bit 1 greet me again, bit 2 has a membership |
/// | 1 | state: as in [`DataState::as_u8`] |
/// | 8 | store |
/// | 24 | position, durable |
/// | 33 | membership, if any |
/// | 2 + 24 n | lineage |
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) number: u64,
    pub(crate) leading: bool,
    pub(crate) again: bool,
    pub(crate) state: DataState,
    pub(crate) store: StoreId,
    pub(crate) position: Position,
    pub(crate) membership: Option<Membership>,
    pub(crate) lineage: Lineage,
}

/// A leader's order where to go on, in answer to a follower's greeting.
///
/// | size | field |
/// |---|---|
/// | 1 | kind, 2 |
/// | 8 | the number of the greeting that it answers |
/// | 1 | flags: bit 0 copy: what is behind `keep` may be overwritten |
/// | 24 | keep: the last common record |
/// | 8 | goal: the last record of the leader's log |
/// | 33 | membership |
/// | 2 + 24 n | lineage |
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sync {
    pub(crate) answers: u64,
    pub(crate) copy: bool,
    pub(crate) keep: Position,
    pub(crate) goal: Seq,
    pub(crate) membership: Membership,
    pub(crate) lineage: Lineage,
}

/// Records.
///
/// | size | field |
/// |---|---|
/// | 1 | kind, 3 |
/// | 8 | epoch of the leader; its records may be of older ones |
/// | 8 | committed |
/// | n | records |
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frames {
    pub(crate) epoch: Epoch,
    pub(crate) commit: Seq,
    pub(crate) records: Bytes,
}

/// A follower's cumulative acknowledgement.
///
/// | size | field |
/// |---|---|
/// | 1 | kind, 4 |
/// | 1 | state |
/// | 8 | epoch that it has saved |
/// | 8 | store |
/// | 8, 8 | epoch and first sequence of the lineage entry that it follows |
/// | 8 | received |
/// | 8 | written |
/// | 8 | durable |
/// | 8 | bytes of its log up to there |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) state: DataState,
    pub(crate) epoch: Epoch,
    pub(crate) store: StoreId,
    pub(crate) run: Run,
    pub(crate) received: Seq,
    pub(crate) written: Seq,
    pub(crate) durable: Seq,
    pub(crate) bytes: u64,
}

/// What is committed, when no frames carry it.
///
/// | size | field |
/// |---|---|
/// | 1 | kind, 5 |
/// | 8 | epoch of the leader |
/// | 8 | committed |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) epoch: Epoch,
    pub(crate) commit: Seq,
}

impl Message {
    /// Reads one message, which is all of `bytes`. Records stay where they are.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let message = match from.u8("the message's kind")? {
            HELLO => Self::Hello(Hello::decode(&mut from)?),
            SYNC => Self::Sync(Sync::decode(&mut from)?),
            FRAMES => {
                let epoch = from.epoch("the frames' epoch")?;
                let commit = from.seq("the frames' commit")?;
                from.rest();
                Self::Frames(Frames { epoch, commit, records: bytes.slice(FRAMES_LEN..) })
            }
            ACK => Self::Ack(Ack::decode(&mut from)?),
            COMMIT => {
                let epoch = from.epoch("the commit's epoch")?;
                let commit = from.seq("the commit's sequence")?;
                Self::Commit(Commit { epoch, commit })
            }
            _ => return Err(DecodeError::Invalid("the message's kind")),
        };
        from.finish()?;
        Ok(message)
    }
}

impl Hello {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_u8(HELLO);
        out.put_u64(self.number);
        let has_membership = self.membership.is_some();
        let flags = [(self.leading, LEADING), (self.again, AGAIN), (has_membership, MEMBERSHIP)];
        out.put_u8(flags.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum());
        out.put_u8(self.state.as_u8());
        out.put_u64(self.store.0);
        self.position.encode(out);
        if let Some(membership) = &self.membership {
            membership.encode(out);
        }
        self.lineage.encode(out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = from.u64("the greeting's number")?;
        let flags = from.u8("the greeting's flags")?;
        if flags & !(LEADING | AGAIN | MEMBERSHIP) != 0 {
            return Err(DecodeError::Invalid("the greeting's flags"));
        }
        let state = DataState::decode(from)?;
        let store = StoreId(from.u64("the greeting's store")?);
        let position = Position::decode(from)?;
        let membership = match flags & MEMBERSHIP {
            0 => None,
            _ => Some(Membership::decode(from)?),
        };
        Ok(Self {
            number,
            leading: flags & LEADING != 0,
            again: flags & AGAIN != 0,
            state,
            store,
            position,
            membership,
            lineage: Lineage::decode(from)?,
        })
    }
}

impl Sync {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_u8(SYNC);
        out.put_u64(self.answers);
        out.put_u8(u8::from(self.copy));
        self.keep.encode(out);
        out.put_u64(self.goal.0);
        self.membership.encode(out);
        self.lineage.encode(out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let answers = from.u64("the order's number")?;
        let copy = match from.u8("the order's flags")? {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::Invalid("the order's flags")),
        };
        let keep = Position::decode(from)?;
        let goal = from.seq("the order's goal")?;
        let membership = Membership::decode(from)?;
        let lineage = Lineage::decode(from)?;
        if lineage.last().is_none_or(|run| run.epoch != membership.epoch) {
            return Err(DecodeError::Invalid("the order's lineage"));
        }
        Ok(Self { answers, copy, keep, goal, membership, lineage })
    }

    /// The leader's run: its lineage's last entry.
    pub(crate) fn run(&self) -> Run {
        Run::from(self.lineage.last().expect("an order names the run that it begins"))
    }
}

impl Frames {
    /// Writes what stands before the records.
    pub(crate) fn encode_start(epoch: Epoch, commit: Seq, out: &mut BytesMut) {
        out.put_u8(FRAMES);
        out.put_u64(epoch.bits());
        out.put_u64(commit.0);
    }
}

impl Ack {
    pub(crate) const LEN: usize = 66;

    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_u8(ACK);
        out.put_u8(self.state.as_u8());
        out.put_u64(self.epoch.bits());
        out.put_u64(self.store.0);
        out.put_u64(self.run.epoch.bits());
        out.put_u64(self.run.first.0);
        out.put_u64(self.received.0);
        out.put_u64(self.written.0);
        out.put_u64(self.durable.0);
        out.put_u64(self.bytes);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let state = DataState::decode(from)?;
        let epoch = from.epoch("the acknowledged epoch")?;
        let store = StoreId(from.u64("the acknowledging store")?);
        let run =
            Run { epoch: from.epoch("the run's epoch")?, first: from.seq("the run's first")? };
        let received = from.seq("received")?;
        let written = from.seq("written")?;
        let durable = from.seq("durable")?;
        let bytes = from.u64("the acknowledged bytes")?;
        if durable > written || written > received {
            return Err(DecodeError::Invalid("the watermarks' order"));
        }
        Ok(Self { state, epoch, store, run, received, written, durable, bytes })
    }
}

impl Commit {
    pub(crate) const LEN: usize = 17;

    pub(crate) fn encode(self, out: &mut BytesMut) {
        out.put_u8(COMMIT);
        out.put_u64(self.epoch.bits());
        out.put_u64(self.commit.0);
    }
}

const HELLO: u8 = 1;
const SYNC: u8 = 2;
const FRAMES: u8 = 3;
const ACK: u8 = 4;
const COMMIT: u8 = 5;

const LEADING: u8 = 1;
const AGAIN: u8 = 2;
const MEMBERSHIP: u8 = 4;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use ha_proto::{Chain, DataId, LineageEntry, NodeId, NodeSet};
    use proptest::prelude::*;

    use super::*;

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn epoch() -> Epoch {
        Epoch::new(2, node(1))
    }

    fn lineage() -> Lineage {
        let mut lineage = Lineage::default();
        lineage.push(LineageEntry { epoch: epoch(), first: Seq(5), chain: Chain(6) });
        lineage
    }

    fn membership() -> Membership {
        Membership {
            epoch: epoch(),
            holder: node(1),
            set: NodeSet::only(node(1)),
            data: DataId(0xd),
        }
    }

    fn position() -> Position {
        Position { epoch: epoch(), seq: Seq(7), chain: Chain(8) }
    }

    fn hello(membership: Option<Membership>) -> Hello {
        Hello {
            number: 9,
            leading: false,
            again: true,
            state: DataState::Complete,
            store: StoreId(0xa),
            position: position(),
            membership,
            lineage: lineage(),
        }
    }

    fn sync() -> Sync {
        let (keep, goal) = (position(), Seq(11));
        Sync { answers: 9, copy: true, keep, goal, membership: membership(), lineage: lineage() }
    }

    fn ack() -> Ack {
        let run = Run { epoch: epoch(), first: Seq(5) };
        let (received, written, durable) = (Seq(9), Seq(8), Seq(7));
        let (state, store) = (DataState::Target, StoreId(0xa));
        Ack { state, epoch: epoch(), store, run, received, written, durable, bytes: 420 }
    }

    const EPOCH: &str = "0000000000000201";
    const POSITION: &str = "000000000000020100000000000000070000000000000008";
    const LINEAGE: &str = "0001000000000000020100000000000000050000000000000006";
    const MEMBER: &str = "00000000000002010100000000000000000000000000000002000000000000000d";

    fn check(encode: impl FnOnce(&mut BytesMut), golden: &[&str], message: Message) {
        let mut out = BytesMut::new();
        encode(&mut out);
        let hex: Vec<_> = out.iter().map(|byte| alloc::format!("{byte:02x}")).collect();
        assert_eq!(hex.concat(), golden.concat());
        let bytes = out.freeze();
        assert_eq!(Message::decode(&bytes), Ok(message));
        for len in 0..bytes.len() {
            let cut = Message::decode(&bytes.slice(..len));
            let records = len >= FRAMES_LEN && bytes[0] == FRAMES;
            assert!(cut.is_err() || records, "{len} bytes");
        }
    }

    #[test]
    fn golden_hello() {
        let hello = hello(Some(membership()));
        let number = "0000000000000009";
        let store = "000000000000000a";
        let golden = ["01", number, "06", "02", store, POSITION, MEMBER, LINEAGE];
        check(|out| hello.clone().encode(out), &golden, Message::Hello(hello.clone()));
    }

    #[test]
    fn golden_hello_of_a_stranger() {
        let hello = hello(None);
        let golden = ["01", "0000000000000009", "02", "02", "000000000000000a", POSITION, LINEAGE];
        check(|out| hello.clone().encode(out), &golden, Message::Hello(hello.clone()));
    }

    #[test]
    fn golden_sync() {
        let goal = "000000000000000b";
        let golden = ["02", "0000000000000009", "01", POSITION, goal, MEMBER, LINEAGE];
        check(|out| sync().encode(out), &golden, Message::Sync(sync()));
        assert_eq!(sync().run(), Run { epoch: epoch(), first: Seq(5) });
    }

    #[test]
    fn golden_frames() {
        let encode = |out: &mut BytesMut| {
            Frames::encode_start(epoch(), Seq(4), out);
            out.put_slice(b"records");
        };
        let frames =
            Frames { epoch: epoch(), commit: Seq(4), records: Bytes::from_static(b"records") };
        let golden = ["03", EPOCH, "0000000000000004", "7265636f726473"];
        check(encode, &golden, Message::Frames(frames));
    }

    #[test]
    fn golden_ack() {
        let watermarks = "000000000000000900000000000000080000000000000007";
        let run = "00000000000002010000000000000005";
        let bytes = "00000000000001a4";
        let golden = ["04", "01", EPOCH, "000000000000000a", run, watermarks, bytes];
        check(|out| ack().encode(out), &golden, Message::Ack(ack()));
        assert_eq!(golden.concat().len(), 2 * Ack::LEN);
    }

    #[test]
    fn golden_commit() {
        let commit = Commit { epoch: epoch(), commit: Seq(4) };
        let golden = ["05", EPOCH, "0000000000000004"];
        check(|out| commit.encode(out), &golden, Message::Commit(commit));
        assert_eq!(golden.concat().len(), 2 * Commit::LEN);
    }

    #[test]
    fn an_order_of_another_run_is_refused() {
        let mut out = BytesMut::new();
        let membership = Membership { epoch: epoch().next(node(1)), ..membership() };
        Sync { membership, ..sync() }.encode(&mut out);
        let refused = Err(DecodeError::Invalid("the order's lineage"));
        assert_eq!(Message::decode(&out.freeze()), refused);
    }

    #[test]
    fn watermarks_in_disorder_are_refused() {
        let mut out = BytesMut::new();
        Ack { durable: Seq(9), ..ack() }.encode(&mut out);
        let refused = Err(DecodeError::Invalid("the watermarks' order"));
        assert_eq!(Message::decode(&out.freeze()), refused);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(kind in 0..7_u8, rest: Vec<u8>) {
            let mut bytes = alloc::vec![kind];
            bytes.extend(rest);
            let _ = Message::decode(&Bytes::from(bytes));
        }
    }
}
