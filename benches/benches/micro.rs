//! The small figures: what one datagram, one record and one packet cost, in memory.

use std::net::IpAddr;

use bytes::BufMut;
use divan::{Bencher, black_box};
use ha_benches::Pair;
use ha_farm::{
    Buckets, Filter, Hash, HashOn, Mode, NoSockets, Plan, Protocol, Rule, Setup, Table, Uncovered,
};
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

/// Of three members' first; one rule for each family.
fn filter() -> Filter {
    let rule = |vip: &str| {
        let vip: IpAddr = vip.parse().expect("an address");
        Rule { vip, ports: 80..=80, protocol: Protocol::Tcp, on: HashOn::AddrPort }
    };
    let setup = Setup {
        me: NodeId::new(0).expect("0 is an id"),
        mode: Mode::Invisible,
        uncovered: Uncovered::Deny,
        hash: Hash::Sip { key: [7; 16] },
        rules: vec![rule("192.0.2.1"), rule("2001:db8::1")],
        macs: [].into(),
    };
    let tables = vec![Table::new(Buckets::Many).next(&plan(1, 3)); 2];
    Filter::new(setup, &tables, |_, _| true).expect("the rules can work")
}

fn plan(counter: u64, members: u8) -> Plan<'static> {
    let nodes = (0..members).filter_map(NodeId::new);
    Plan { counter, weights: nodes.map(|node| (node, 1)).collect(), settled: 0, taken: None }
}

/// Segments of many clients, so that no branch is learnt by heart.
fn segments(family: u8) -> Vec<Vec<u8>> {
    let segment = |client: u16| {
        let mut frame = vec![0; 12];
        if family == 4 {
            frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 198, 51, 100, 7]);
            frame.extend([192, 0, 2, 1]);
        } else {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
            frame.extend(0x2001_0db8_u128.rotate_right(32).to_be_bytes());
            frame.extend((0x2001_0db8_u128.rotate_right(32) | 1).to_be_bytes());
        }
        frame.extend(client.to_be_bytes());
        frame.extend([0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
        frame
    };
    (0..1_024).map(|client| segment(client * 61)).collect()
}

/// A farm's decision on one segment: the limit is 20 ns.
#[divan::bench(args = [4, 6])]
fn decide_on_a_segment(bencher: Bencher<'_, '_>, family: u8) {
    let (filter, segments) = (filter(), segments(family));
    assert!(
        segments.iter().all(|frame| filter.examine(frame, true, &mut NoSockets).place.is_some())
    );
    bencher.counter(divan::counter::ItemsCount::new(segments.len())).bench_local(|| {
        for frame in &segments {
            black_box(filter.decide(black_box(frame), true, &mut NoSockets));
        }
    });
}

/// The table of the view in which the last of 64 members is gone, or has come: 100 us.
#[divan::bench(args = [63, 64])]
fn table_of_4096_buckets(bencher: Bencher<'_, '_>, members: u8) {
    let table = Table::new(Buckets::Many).next(&plan(1, 127 - members));
    let plan = plan(2, members);
    bencher.bench_local(|| black_box(&table).next(black_box(&plan)));
}
