//! A farm's decision allocates nothing, whatever the frame.

use std::collections::BTreeMap;

use ha_farm::generate::Generator;
use ha_farm::{
    Buckets, Filter, Flow, Hash, HashOn, Mac, Mode, Plan, Protocol, Rule, Setup, Sockets, Table,
    Uncovered,
};
use ha_proto::NodeId;

/// Every other connection is live.
struct Half;

impl Sockets for Half {
    fn live(&self, flow: &Flow) -> bool {
        flow.client_port.is_multiple_of(2)
    }

    fn release(&mut self, _: &Flow) {}
}

#[test]
fn deciding_on_any_frame_allocates_nothing() {
    let node = |id| NodeId::new(id).expect("below 128");
    let rule = |vip: &str, protocol, on| {
        let vip = vip.parse().expect("an address");
        Rule { vip, ports: 80..=443, protocol, on }
    };
    let setup = |mode| Setup {
        me: node(0),
        mode,
        uncovered: Uncovered::Deny,
        hash: Hash::Sip { key: [7; 16] },
        rules: vec![
            rule("192.0.2.1", Protocol::Tcp, HashOn::AddrPort),
            rule("192.0.2.1", Protocol::Udp, HashOn::IpId),
            rule("2001:db8::1", Protocol::Tcp, HashOn::Net { v4: 24, v6: 56 }),
        ],
        macs: (0..4).map(|id| (node(id), Mac([2, 0, 0, 0, 0, id]))).collect(),
    };
    let plan = |counter, weights: [u16; 4]| {
        let weights: BTreeMap<_, _> = (0..).map(node).zip(weights).collect();
        Plan { counter, weights, settled: 0, taken: None }
    };
    // Some buckets drain from this node, and some to it.
    let table = Table::new(Buckets::Many).next(&plan(1, [1, 1, 0, 0]));
    let table = table.next(&plan(2, [0, 1, 1, 0])).next(&plan(3, [1, 1, 1, 1]));
    let tables = vec![table; 3];
    let mut frame = Vec::with_capacity(Generator::FRAME_MAX);
    let mut taken = 0;
    for mode in [Mode::Invisible, Mode::Directed] {
        let filter = Filter::new(setup(mode), &tables, |_, _| true).expect("the rules can work");
        let mut generator = Generator::new(1, filter.setup());
        for _ in 0..50_000 {
            generator.next(&mut frame);
            let counted = allocation_counter::measure(|| {
                let decision = filter.examine(&frame, true, &mut Half);
                taken += u32::from(decision.place.is_some());
            });
            assert_eq!(counted.count_total, 0, "allocations for {frame:02x?}: {counted:?}");
        }
    }
    assert!(taken > 10_000, "few frames reached a bucket: {taken}");
}
