//! Frames made by hand, which no ordinary client sends.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use ha_core::ha_farm::{Mac, Mode};
use ha_lab::within;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, bind};
use socket2::{Domain, Socket, Type};

use crate::rig::{Case, Farm, Kind, SOON, UDP};
use crate::seen::check_once;

/// Of each kind.
const FRAMES: u16 = 60;
/// The place of the UDP service of each VIP among the rules.
const SERVICES: [usize; 2] = [2, 8];

#[test]
fn a_tagged_frame_is_taken_by_its_owner_alone() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("a_tagged_frame", case) else { return };
        farm.boot_all();
        // No bucket moves while a frame waits in the queue of one host.
        farm.settle_evenly(&[0, 1, 2]);
        let capture = farm.client.capture(&farm.network, "udp").unwrap();
        // A priority tag, which the kernel takes off; a VLAN's, which this host has no device for,
        // so that only the counters tell; and two tags, which nftables does not read.
        let tags: &[&[u16]] = match case.plane {
            Kind::Bpf => &[&[0x2000], &[7], &[7, 0]],
            Kind::Nft => &[&[0x2000], &[7]],
        };
        for (vip, service) in farm.vips.into_iter().zip(SERVICES) {
            let to = to(&farm, vip);
            let mut port = 20_000;
            for tags in tags {
                let before = farm.taken(service);
                let frames: Vec<_> = (0..FRAMES)
                    .map(|_| {
                        port += 1;
                        datagram(&farm, to, tags, vip, port)
                    })
                    .collect();
                let _clients = send(&farm, &frames);
                let arrived = before + u64::from(FRAMES);
                let all = within(SOON, || farm.taken(service) >= arrived);
                assert!(all, "{case:?} {vip} {tags:x?}: {} of them", farm.taken(service) - before);
                // Each by one: more would be counted soon.
                std::thread::sleep(Duration::from_millis(20));
                let now = farm.taken(service);
                assert_eq!(now, arrived, "{case:?} {vip} {tags:x?}: {}", farm.said());
            }
        }
        check_once(&capture, &farm, 0, 2 * usize::from(FRAMES));
    }
}

/// Where clients send.
fn to(farm: &Farm, vip: IpAddr) -> Mac {
    match farm.case.mode {
        Mode::Invisible => Mac::of_vip(vip),
        Mode::Directed => {
            let announcer = farm.view(0).announcer.unwrap();
            Mac(farm.hosts[announcer].mac(&farm.network).unwrap().0)
        }
    }
}

/// Puts frames on the client's cable.
fn send(farm: &Farm, frames: &[Vec<u8>]) -> Vec<UdpSocket> {
    let sent = farm.client.inside(|| {
        // Answers find somebody, or the kernel would tell the servers that nobody is there.
        let ports = frames.iter().map(|frame| port(frame));
        let sockets: Vec<_> = ports.map(|port| UdpSocket::bind(("::", port)).unwrap()).collect();
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
        let mut all = getifaddrs().unwrap().filter(|it| it.interface_name == "eth0");
        let address: LinkAddr = all.find_map(|one| one.address?.as_link_addr().copied()).unwrap();
        bind(socket.as_raw_fd(), &address).unwrap();
        frames.iter().try_for_each(|frame| socket.send(frame).map(drop)).map(|()| sockets)
    });
    sent.unwrap().unwrap()
}

/// The client's, which stands before the last seven bytes of a frame of one byte, with the other.
fn port(frame: &[u8]) -> u16 {
    u16::from_be_bytes(*frame[frame.len() - 9..].first_chunk().unwrap())
}

/// One from this port of the client's.
fn datagram(farm: &Farm, to: Mac, tags: &[u16], vip: IpAddr, port: u16) -> Vec<u8> {
    let own = farm.client.mac(&farm.network).unwrap();
    let mut frame = [to.0, own.0].concat();
    for tag in tags {
        frame.extend([0x81, 0x00]);
        frame.extend(tag.to_be_bytes());
    }
    let from = SocketAddr::new(vip, UDP);
    let mut udp = [port.to_be_bytes(), from.port().to_be_bytes()].concat();
    udp.extend([0, 9, 0, 0, 0]);
    let pseudo = match vip {
        IpAddr::V4(vip) => {
            let client = farm.client.v4(&farm.network);
            let mut ip = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0];
            ip.extend([client.octets(), vip.octets()].concat());
            let sum = checksum(&ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            frame.extend([8, 0]);
            frame.extend(&ip);
            ip[12..20].to_vec()
        }
        IpAddr::V6(vip) => {
            let client = farm.client.v6(&farm.network);
            let both = [client.octets(), vip.octets()].concat();
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 9, 17, 64]);
            frame.extend(&both);
            both
        }
    };
    let mut summed = [pseudo, vec![0, 17, 0, 9], udp.clone()].concat();
    summed.push(0);
    let sum = checksum(&summed);
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    frame.extend(udp);
    frame
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}
