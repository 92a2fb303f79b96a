//! A cable passes what it is given, and loses or holds it while it is cut.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use ha_node::relay::{Network, Passing};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn a_cut_cable_loses_datagrams_in_the_directions_that_are_cut() {
    let [a, b] = [0, 1].map(|_| UdpSocket::bind((HERE, 0)).unwrap());
    let mut network = Network::new().unwrap();
    let (left, right) = (a.local_addr().unwrap(), b.local_addr().unwrap());
    let cable = network.datagrams(HERE, left, right).unwrap();
    let relay = network.start().unwrap();
    let mut bytes = [0; 16];

    relay.set(cable.id, Passing { forth: false, back: true });
    a.send_to(b"lost", cable.far).unwrap();
    b.send_to(b"back", cable.near).unwrap();
    // Answered by the same thread as the lost one, which came first: no sleep is needed.
    assert_eq!(a.recv_from(&mut bytes).unwrap(), (4, cable.far));

    relay.set(cable.id, Passing::ALL);
    a.send_to(b"through", cable.far).unwrap();
    assert_eq!(b.recv_from(&mut bytes).unwrap(), (7, cable.near));
    assert_eq!(&bytes[..7], b"through");
}

#[test]
fn an_answer_finds_whoever_asked_last() {
    let [old, new, witness] = [0, 1, 2].map(|_| UdpSocket::bind((HERE, 0)).unwrap());
    let mut network = Network::new().unwrap();
    let cable = network.questions(HERE, witness.local_addr().unwrap()).unwrap();
    let _relay = network.start().unwrap();
    let mut bytes = [0; 16];
    for node in [&old, &new] {
        node.send_to(b"ask", cable.far).unwrap();
        let (_, from) = witness.recv_from(&mut bytes).unwrap();
        witness.send_to(b"answer", from).unwrap();
        assert_eq!(node.recv_from(&mut bytes).unwrap(), (6, cable.far));
    }
}

#[test]
fn a_cut_cable_holds_a_stream_still_and_a_closed_end_closes_the_other() {
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    let mut network = Network::new().unwrap();
    let cable = network.streams(HERE, listener.local_addr().unwrap()).unwrap();
    let relay = network.start().unwrap();
    let mut dialler = TcpStream::connect(cable.dial).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    let mut bytes = [0; 4];
    dialler.write_all(b"1234").unwrap();
    accepted.read_exact(&mut bytes).unwrap();

    relay.set(cable.id, Passing::NOTHING);
    dialler.write_all(b"held").unwrap();
    accepted.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(accepted.read(&mut bytes).unwrap_err().kind(), ErrorKind::WouldBlock);

    accepted.set_read_timeout(None).unwrap();
    relay.set(cable.id, Passing::ALL);
    accepted.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"held");

    drop(dialler);
    assert_eq!(accepted.read(&mut bytes).unwrap(), 0);
}

#[test]
fn a_stream_carries_more_than_its_buffers_hold() {
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    let mut network = Network::new().unwrap();
    let cable = network.streams(HERE, listener.local_addr().unwrap()).unwrap();
    let _relay = network.start().unwrap();
    let sent: Vec<u8> = (0..8_000_000u32).map(|at| (at % 251) as u8).collect();
    let mut dialler = TcpStream::connect(cable.dial).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    let mut received = vec![0; sent.len()];
    std::thread::scope(|scope| {
        scope.spawn(|| dialler.write_all(&sent).unwrap());
        accepted.read_exact(&mut received).unwrap();
    });
    assert!(received == sent, "the stream was changed on its way");
}
