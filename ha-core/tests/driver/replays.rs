//! A stranger without the key plays back what a dead primary once said to the arbiter.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use ha_proto::Role;
use ha_proto::wire::Reject;

use crate::rig::{Pair, block_on, ready, whole};

/// Passes datagrams between one node and the arbiter, and keeps the last Renew.
struct Tap {
    address: SocketAddr,
    renew: Arc<Mutex<Option<Vec<u8>>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tap {
    fn start(arbiter: SocketAddr) -> Self {
        let [front, back] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        for socket in [&front, &back] {
            socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        }
        let address = front.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let renew = Arc::new(Mutex::new(None));
        let (seen, over) = (Arc::clone(&renew), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            let (mut buffer, mut node) = ([0; 600], None);
            while !over.load(Ordering::Relaxed) {
                while let Ok((len, from)) = front.recv_from(&mut buffer) {
                    node = Some(from);
                    if buffer[KIND_AT] == RENEW {
                        *seen.lock().unwrap() = Some(buffer[..len].to_vec());
                    }
                    back.send_to(&buffer[..len], arbiter).unwrap();
                }
                while let (Ok(len), Some(node)) = (back.recv(&mut buffer), node) {
                    // The node may be gone.
                    let _ = front.send_to(&buffer[..len], node);
                }
            }
        });
        Self { address, renew, ended, thread: Some(thread) }
    }

    fn renew(&self) -> Option<Vec<u8>> {
        self.renew.lock().unwrap().clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// Where the request of an ask stands, behind the header.
const KIND_AT: usize = 48 + 32;
const RENEW: u8 = 2;

#[test]
fn a_recorded_renewal_does_not_keep_the_peer_from_taking_over() {
    block_on(async {
        let mut pair = Pair::new();
        let arbiter = pair.arbiter();
        let tap = Tap::start(arbiter.address());
        let mut raw = pair.raw(0, 0);
        raw.witness = Some(tap.address);
        let (first, second) = (Pair::run(raw), pair.start(1));
        whole(&first, &second).await;
        while tap.renew().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        first.running.shutdown();
        let recorded = tap.renew().expect("the primary renewed its lease");
        let before = arbiter.rejections().of(Reject::Replayed);
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        let again = async {
            loop {
                stranger.send_to(&recorded, arbiter.address()).unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = again => unreachable!("a stranger does not tire"),
            status = second.until("alone", ready(Role::Alone)) => assert!(status.witness_up),
        }
        let counted = arbiter.rejections();
        assert!(counted.of(Reject::Replayed) > before + 5, "{counted:?}");
        assert_eq!(counted.total(), counted.of(Reject::Replayed));
    });
}

#[test]
fn a_primary_goes_on_when_the_arbiter_has_restarted() {
    block_on(async {
        let mut pair = Pair::new();
        let arbiter = pair.arbiter();
        let (first, second) = (pair.start(0), pair.start(1));
        whole(&first, &second).await;
        let before = first.handle.status().now().unwrap().membership.epoch;
        drop(arbiter);
        let _arbiter = pair.arbiter();
        let taken = first.until("taken", |status| status.membership.epoch > before).await;
        assert_eq!(taken.role, Role::Prim);
        first.propose(b"on").await;
        second.until("applied", |status| status.applied.0 == 1).await;
        assert_eq!(first.host.look(|seen| seen.fenced), 0);
        assert!(first.host.look(|seen| seen.serving));
    });
}
