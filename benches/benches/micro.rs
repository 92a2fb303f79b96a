//! The small figures: what one datagram and one record cost, in memory.

use bytes::BufMut;
use divan::{Bencher, black_box};
use ha_benches::Pair;
use ha_proto::wire::{self, Header, Keys, Kind};
use ha_proto::{ClusterId, Epoch, ModuleId, NodeId};

fn main() {
    divan::main();
}

const CLUSTER: ClusterId = ClusterId(7);

fn header() -> Header {
    Header {
        kind: Kind::Beat,
        sender: NodeId::new(1).expect("1 is an id"),
        flags: 0,
        waited: 0,
        cluster: CLUSTER,
        module: ModuleId(1),
        epoch: Epoch::NONE,
        sequence: 12,
        echo: 11,
    }
}

/// Header, a body of a beat's size and the MAC.
#[divan::bench]
fn seal_a_datagram(bencher: Bencher<'_, '_>) {
    let (keys, header) = (Keys::new(&[7; 32]), header());
    bencher.bench_local(|| wire::seal(black_box(&header), |body| body.put_slice(&[1; 160]), &keys));
}

/// MAC checked, header decoded.
#[divan::bench]
fn open_a_datagram(bencher: Bencher<'_, '_>) {
    let keys = Keys::new(&[7; 32]);
    let datagram = wire::seal(&header(), |body| body.put_slice(&[1; 160]), &keys);
    bencher.bench_local(|| wire::open(black_box(datagram.as_bytes()), &keys, CLUSTER).is_ok());
}

/// A damaged one costs a MAC and nothing more.
#[divan::bench]
fn reject_a_datagram(bencher: Bencher<'_, '_>) {
    let keys = Keys::new(&[7; 32]);
    let datagram = wire::seal(&header(), |body| body.put_slice(&[1; 160]), &keys);
    let mut bytes = datagram.as_bytes().to_vec();
    bytes[60] ^= 1;
    bencher.bench_local(|| wire::open(black_box(&bytes), &keys, CLUSTER).is_err());
}

/// A whole node hears a beat: opened, believed, settled.
#[divan::bench]
fn mirror_hears_a_beat(bencher: Bencher<'_, '_>) {
    let pair = std::cell::RefCell::new(Pair::new());
    bencher
        .with_inputs(|| pair.borrow_mut().next_beat())
        .bench_local_values(|beat| pair.borrow_mut().hear(&beat));
}

/// Proposed, encoded, on both nodes' logs, acknowledged, committed and applied; 340 bytes each,
/// with so many in flight. Both nodes' work is in it.
#[divan::bench(args = [1, 16, 256])]
fn propose_to_commit(bencher: Bencher<'_, '_>, in_flight: u64) {
    let mut pair = Pair::new();
    bencher
        .counter(divan::counter::ItemsCount::new(in_flight))
        .bench_local(|| pair.commit(&[1; 340], in_flight));
}
