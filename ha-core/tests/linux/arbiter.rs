//! A witness at an address that only one link has.

use std::net::{SocketAddr, SocketAddrV6};
use std::time::Duration;

use ha_core::driver::{Arbiter, ArbiterConfig};
use ha_core::raw::Key;
use ha_lab::{Lab, within};

#[test]
fn an_arbiter_is_alive_at_an_address_of_one_link() {
    let Some(mut lab) = Lab::root_or_skip("arbiter_of_a_link") else { return };
    let bridge = lab.bridge().unwrap();
    let host = lab.host("w", &[&bridge]).unwrap();
    let ip = |arguments: &str| {
        let output = host.command("ip").args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "{arguments}");
        String::from_utf8(output.stdout).unwrap()
    };
    ip("address add fe80::77/64 dev eth0 nodad");
    let index = ip("-o link show eth0").split(':').next().unwrap().parse().unwrap();
    let listen = SocketAddr::V6(SocketAddrV6::new("fe80::77".parse().unwrap(), 0, 0, index));
    let folder = tempfile::tempdir().unwrap();
    let config = ArbiterConfig::new(listen, folder.path().to_path_buf(), Key::Insecure);
    let arbiter = host.inside(|| Arbiter::start(&config)).unwrap().unwrap();
    let before = arbiter.turns();
    host.inside(|| arbiter.prod()).unwrap().expect("its watchdog would end it");
    assert!(within(Duration::from_secs(20), || arbiter.turns() > before));
}
