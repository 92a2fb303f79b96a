//! What one log says to one fact, whole.

mod following;
mod host;
mod leading;

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use ha_proto::{
    Chain, DataId, DataState, Epoch, Instant, Lineage, LineageEntry, Machine, Membership, NodeId,
    NodeSet, Outbox, Position, Seq, StoreId,
};

use crate::batch::Batch;
use crate::message::{Ack, Frames, Hello, Message, Sync};
use crate::record::Body;
use crate::{Config, Input, Log, MESSAGE_MAX, Output, Recovered};

const A: usize = 0;
const B: usize = 1;

fn node(at: usize) -> NodeId {
    NodeId::new(u8::try_from(at).unwrap()).unwrap()
}

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// A's reign.
fn epoch(counter: u64) -> Epoch {
    Epoch::new(counter, node(A))
}

fn alone(counter: u64) -> Membership {
    let (epoch, set) = (epoch(counter), NodeSet::only(node(A)));
    Membership { epoch, holder: node(A), set, data: DataId(7) }
}

fn both(counter: u64) -> Membership {
    let set = alone(counter).set.with(node(B));
    Membership { set, ..alone(counter) }
}

/// A log of `count` records of 60 bytes, written in A's first reign.
fn records(count: usize) -> Vec<(Position, Bytes)> {
    let (mut out, mut position, mut records) = (BytesMut::new(), Position::default(), Vec::new());
    for at in 0..count {
        let payload = [u8::try_from(at).unwrap(); 4];
        position = Body::data(&payload).encode(epoch(1), position, &mut out);
        records.push((position, out.split().freeze()));
    }
    records
}

fn head(count: usize) -> Position {
    records(count).last().map_or(Position::default(), |(position, _)| *position)
}

/// Records `first` to `last`, as one batch.
fn batch(first: usize, last: usize) -> Batch {
    let records = records(last);
    let parts: Vec<_> = records[first - 1..].iter().map(|(_, bytes)| bytes.to_vec()).collect();
    let (first, last) = (Seq(first as u64), Seq(last as u64));
    Batch { first, last, end: head(records.len()), bytes: Bytes::from(parts.concat()) }
}

fn lineage(entries: &[(u64, u64, Chain)]) -> Lineage {
    let mut lineage = Lineage::default();
    for &(counter, first, chain) in entries {
        lineage.push(LineageEntry { epoch: epoch(counter), first: Seq(first), chain });
    }
    lineage
}

/// Written in A's first reign, from the first record on.
fn first_reign() -> Lineage {
    lineage(&[(1, 1, Chain(0))])
}

fn recovered(count: usize) -> Recovered {
    Recovered {
        position: head(count),
        lineage: if count == 0 { Lineage::default() } else { first_reign() },
        state: DataState::Complete,
        membership: Some(both(1)),
        store: StoreId(0xa),
        applied: Seq(count as u64),
        bytes: 60 * count as u64,
    }
}

fn blank() -> Recovered {
    let (position, lineage) = (Position::default(), Lineage::default());
    let (state, membership) = (DataState::Blank, None);
    Recovered { position, lineage, state, membership, ..recovered(0) }
}

fn config(me: usize) -> Config {
    Config::new(node(me), node(1 - me))
}

fn say(log: &mut Log, now: u64, input: Input) -> Vec<Output> {
    let mut out = Outbox::new(Log::OUTPUTS_MAX);
    log.handle(at(now), input, &mut out);
    core::iter::from_fn(|| out.pop()).collect()
}

/// All that the log has to tell its peer.
fn told(log: &mut Log) -> Vec<Message> {
    let poll = || {
        let mut buf = BytesMut::new();
        let len = log.poll_message(at(0), MESSAGE_MAX, &mut buf);
        assert_eq!(len, buf.len());
        (len > 0).then(|| Message::decode(&buf.freeze()).unwrap())
    };
    core::iter::from_fn(poll).collect()
}

fn message(message: &Message) -> Input {
    let mut out = BytesMut::new();
    match message {
        Message::Hello(hello) => hello.encode(&mut out),
        Message::Sync(sync) => sync.encode(&mut out),
        Message::Frames(frames) => {
            Frames::encode_start(frames.epoch, frames.commit, &mut out);
            out.extend_from_slice(&frames.records);
        }
        Message::Ack(ack) => ack.encode(&mut out),
        Message::Commit(commit) => commit.encode(&mut out),
    }
    Input::Message(out.freeze())
}

fn frames(counter: u64, commit: u64, batch: &Batch) -> Message {
    let (epoch, commit, records) = (epoch(counter), Seq(commit), batch.bytes.clone());
    Message::Frames(Frames { epoch, commit, records })
}

/// B greets: it has `count` of A's records.
fn greeting(count: usize) -> Hello {
    Hello {
        number: 1,
        leading: false,
        again: false,
        state: DataState::Complete,
        store: StoreId(0xb),
        position: head(count),
        membership: Some(both(1)),
        lineage: recovered(count).lineage,
    }
}

fn durable(upto: u64) -> Input {
    Input::Durable { seq: Seq(upto) }
}
