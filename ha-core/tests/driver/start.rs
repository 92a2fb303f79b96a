//! What keeps a driver from starting, in words.

use std::fs;
use std::net::UdpSocket;

use ha_core::driver::{Arbiter, ArbiterConfig, Driver};
use ha_core::raw::{Key, NodeConfig, RawConfig};

use crate::rig::{Pair, Toy, refused};

fn add(driver: &mut Driver, raw: RawConfig) -> String {
    refused(driver.add(NodeConfig::try_from(raw).unwrap(), Toy::default()))
}

fn start(raw: RawConfig) -> String {
    let mut driver = Driver::new();
    driver.add(NodeConfig::try_from(raw).unwrap(), Toy::default()).unwrap();
    refused(driver.start())
}

#[test]
fn a_key_that_cannot_be_used_is_named() {
    let pair = Pair::new();
    let mut raw = pair.raw(0, 0);
    raw.key_file = Some("/nowhere/key".into());
    assert!(start(raw.clone()).contains("key_file = \"/nowhere/key\" cannot be read"));
    let path = pair.folder.path().join("short");
    fs::write(&path, "secret").unwrap();
    raw.key_file = Some(path.to_str().unwrap().into());
    assert!(start(raw).contains("64 hexadecimal digits"));
}

#[test]
fn a_socket_that_is_taken_is_named() {
    let pair = Pair::new();
    let raw = pair.raw(0, 0);
    let taken = UdpSocket::bind(raw.links[1].local).unwrap();
    let error = start(raw);
    assert!(error.contains("links") && error.contains(&taken.local_addr().unwrap().to_string()));
}

#[test]
fn modules_that_do_not_fit_together_are_named() {
    let pair = Pair::new();
    let mut driver = Driver::new();
    let config = NodeConfig::try_from(pair.raw(0, 7)).unwrap();
    driver.add(config, Toy::default()).unwrap();
    assert!(add(&mut driver, pair.raw(0, 7)).contains("module = 7 is used twice"));
    let mut cluster = pair.raw(0, 8);
    cluster.cluster = "other".into();
    let error = add(&mut driver, cluster);
    assert!(error.contains("modules 7 and 8") && error.contains("cluster"), "{error}");
    let mut links = pair.raw(0, 8);
    links.links.pop();
    assert!(add(&mut driver, links).contains("links"));
    let mut insecure = pair.raw(0, 8);
    (insecure.key_file, insecure.insecure) = (None, true);
    assert!(add(&mut driver, insecure).contains("key_file"));
}

#[test]
fn a_folder_in_use_or_of_another_is_named() {
    let pair = Pair::new();
    let mut driver = Driver::new();
    let config = NodeConfig::try_from(pair.raw(0, 7)).unwrap();
    driver.add(config.clone(), Toy::default()).unwrap();
    let error = refused(Driver::new().add(config, Toy::default()));
    assert!(error.contains("in use by another process"), "{error}");
    drop(driver);
    let mut other = pair.raw(1, 7);
    other.folder = pair.raw(0, 7).folder;
    let error = add(&mut Driver::new(), other);
    assert!(error.contains("belongs to node 0"), "{error}");
}

#[test]
fn a_driver_needs_a_module() {
    assert!(refused(Driver::new().start()).contains("0 modules"));
}

#[test]
fn an_arbiter_needs_its_own_folder_and_its_own_files() {
    let mut pair = Pair::new();
    let arbiter = pair.arbiter();
    let folder = pair.folder.path().join("arbiter");
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = ArbiterConfig::new(listen, folder.clone(), Key::Insecure);
    assert!(refused(Arbiter::start(&config)).contains("in use by another process"));
    drop(arbiter);
    let register = folder.join("0000000000000001-0.register");
    fs::write(&register, b"half").unwrap();
    assert!(refused(Arbiter::start(&config)).contains("0000000000000001-0.register is damaged"));
    fs::remove_file(&register).unwrap();
    fs::write(folder.join("incarnation"), b"1").unwrap();
    assert!(refused(Arbiter::start(&config)).contains("eight bytes"));
}

/// A program that was built without etcd says so at once, and does not wait for an answer.
#[cfg(not(feature = "etcd"))]
#[test]
fn an_etcd_needs_its_feature() {
    let pair = Pair::new();
    let mut raw = pair.raw(0, 0);
    raw.vote = ha_core::raw::RawVote::Arbiter;
    raw.etcd = vec!["http://127.0.0.1:2379".parse().unwrap()];
    let added = Driver::new().add(NodeConfig::try_from(raw).unwrap(), Toy::default());
    assert!(refused(added).contains("feature etcd"));
}
