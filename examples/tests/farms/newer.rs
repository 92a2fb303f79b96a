//! A member of a later version, as far as the others can see: what it says of itself in its beats is
//! of a version that no program of today has.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ha_core::heartbeat::group::{Beat, Echo, Said, State};
use ha_core::proto::wire::{Header, Keys, Kind, open, seal_long};
use ha_core::proto::{Boot, ClusterId, Epoch, ModuleId, NodeId, NodeSet};
use ha_core::raw::cluster_id;
use ha_lab::within;
use serde_json::Value;

use crate::SOON;
use crate::rig::{CALM, Rig, kept};

/// Far beyond all that was ever released.
const VERSION: u8 = 200;

fn keys(rig: &Rig) -> Keys {
    let text = fs::read_to_string(ha_lab::key(&rig.lab).unwrap()).unwrap();
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    Keys::new(&std::array::from_fn(|at| byte(2 * at)))
}

/// Answers each beat that comes in by one of `me`'s, until it is told to end.
fn speak(socket: &UdpSocket, me: NodeId, cluster: ClusterId, keys: &Keys, over: &AtomicBool) {
    let (mut bytes, mut number) = ([0; 1_500], 0);
    while !over.load(Ordering::Relaxed) {
        // None for a while: looks whether it is over.
        let Ok((len, from)) = socket.recv_from(&mut bytes) else { continue };
        let Ok(packet) = open(&bytes[..len], keys, cluster) else { continue };
        if packet.header.kind != Kind::Member {
            continue;
        }
        let heard = Beat::decode(packet.header.sequence, packet.body).unwrap();
        number += 1;
        let (node, boot) = (packet.header.sender, (heard.boot.0 & u64::from(u32::MAX)) as u32);
        let said = Said {
            view: None,
            members: NodeSet::EMPTY,
            // No view may have it.
            state: State::Unable,
            highest: 0,
            hears: NodeSet::only(node),
            ..heard.said
        };
        let echoes = vec![Echo { node, boot, number: heard.number }];
        let facts = vec![VERSION, 0, 0, 0].into();
        let beat = Beat { boot: Boot(7), number, said, echoes, facts };
        let mut body = Vec::new();
        beat.encode(&mut body);
        let header = Header {
            kind: Kind::Member,
            sender: me,
            flags: 0,
            cluster,
            module: ModuleId(0),
            waited: 0,
            epoch: Epoch::NONE,
            sequence: number,
            echo: 0,
        };
        socket.send_to(&seal_long(&header, &body, keys), from).unwrap();
    }
}

#[test]
fn a_member_of_a_later_version_is_named_by_all_and_the_rest_serves_on() {
    let Some(mut rig) = Rig::new("farm_newer", 3) else { return };
    rig.configure(CALM, "");
    rig.start(0);
    rig.start(1);
    rig.until_serve(&[0, 1]);
    let mut open = rig.connect(20);
    let (me, keys) = (NodeId::new(2).unwrap(), keys(&rig));
    let cluster = cluster_id(rig.lab.name());
    let own: IpAddr = rig.hosts[2].v4(&rig.network).into();
    let socket = rig.hosts[2].inside(|| UdpSocket::bind((own, 7500))).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| speak(&socket, me, cluster, &keys, &over));
        let line = "c has a later version of the program, which this one cannot read";
        let told = [0, 1].map(|node| rig.daemon(node).wait_for(line, SOON));
        // Heard within its interval.
        let age = || rig.status(0).and_then(|it| it["members"][2]["age_ms"].as_u64());
        let again = within(SOON, || age().is_some_and(|age| age < 200));
        over.store(true, Ordering::Relaxed);
        assert!(told == [true; 2] && again, "{}", rig.daemon(0).output());
    });
    for node in [0, 1] {
        let said = rig.done(node, &["events", "--json"]);
        let events: Vec<Value> = said.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        let newer = events.iter().filter(|it| it["event"]["event"] == "newer");
        let texts: Vec<&str> = newer.map(|it| it["event"]["text"].as_str().unwrap()).collect();
        assert!(texts.len() == 1 && texts[0].starts_with("c has a later"), "{texts:?}");
    }
    rig.until_serve(&[0, 1]);
    assert_eq!(kept(&mut open), open.len());
}
