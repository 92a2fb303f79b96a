//! Addresses that no other test uses.

use std::net::{IpAddr, Ipv4Addr};
use std::process;
use std::sync::atomic::{AtomicU8, Ordering};

/// An address of this machine's loopback that nobody else is given: a port of it that was found
/// free is still free when a program binds it. On an address that tests share, the kernel may have
/// given the port to another test by then.
///
/// By this process's number and how often it was called: two processes whose numbers are the same
/// modulo 2^16 share theirs, and a process that calls it more than 254 times its own.
pub fn own_loopback() -> IpAddr {
    static CALLS: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = process::id().to_be_bytes();
    // Neither 127.0.0.0 nor 127.255.255.255 is anybody's.
    let last = CALLS.fetch_add(1, Ordering::Relaxed) % 254 + 1;
    Ipv4Addr::new(127, high, low, last).into()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn each_is_another_one_and_can_be_bound() {
        let [one, other] = [(); 2].map(|()| own_loopback());
        assert_ne!(one, other);
        let first = UdpSocket::bind((one, 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        UdpSocket::bind((other, port)).unwrap();
    }
}
