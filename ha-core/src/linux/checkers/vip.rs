//! Whether a virtual address is here, and only here.

use core::future::poll_fn;
use core::net::IpAddr;
use core::time::Duration;
use std::format;
use std::prelude::rust_2024::*;
use std::string::String;
use std::sync::{Arc, Mutex, PoisonError};
use std::vec;

use ha_vip::{Address, Config, InterfaceId, Mac, OnRemoved, arp_probe, neighbor_probe, sighting};

use super::told;
use crate::linux::address::Addresses;
use crate::linux::frames::Frames;
use crate::linux::link::Link;

/// One address, and what is heard on its interface.
pub(super) struct Vip {
    address: IpAddr,
    interface: String,
    /// The address, for the eye that finds claims to it.
    ours: Config,
    addresses: Arc<Mutex<Addresses>>,
    /// Claims are heard between the looks too.
    frames: tokio::sync::Mutex<Option<Frames>>,
}

impl Vip {
    pub(super) fn new(
        address: IpAddr,
        interface: String,
        addresses: Arc<Mutex<Addresses>>,
    ) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        let one = Address { ip: address, prefix, interface: InterfaceId(0) };
        let ours = Config::new(1, vec![one], Config::REFRESH, OnRemoved::PutBack)
            .expect("one address makes a set");
        Self { address, interface, ours, addresses, frames: tokio::sync::Mutex::new(None) }
    }

    /// It is set here; nobody has claimed it since the last look; and nobody answers to the
    /// question who has it. The kernel does not hear its own question.
    pub(super) async fn look(&self, within: Duration) -> Result<(), String> {
        let link = self.set_here()?;
        let mac = link.mac.ok_or("the interface has no Ethernet address")?;
        let mut frames = self.frames.lock().await;
        if frames.as_ref().is_none_or(|frames| frames.index() != link.index) {
            *frames =
                Some(Frames::open(link.index, &[self.address]).map_err(told("no packet socket"))?);
        }
        let frames = frames.as_ref().expect("it was opened above");
        let question = match self.address {
            IpAddr::V4(ip) => arp_probe(ip, mac),
            IpAddr::V6(ip) => neighbor_probe(ip, mac),
        };
        frames.send(&question).map_err(told("cannot ask who has it"))?;
        let listen = LISTEN_MAX.min(within / 2);
        match tokio::time::timeout(listen, self.claimant(frames, mac)).await {
            Ok(Ok(claimant)) => Err(format!("{claimant} claims it too")),
            Ok(Err(error)) => Err(told("cannot hear who has it")(error)),
            // Nobody spoke.
            Err(_) => Ok(()),
        }
    }

    fn set_here(&self) -> Result<Link, String> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let link = addresses.link(&self.interface).map_err(told("netlink"))?;
        let link = link.ok_or_else(|| format!("there is no interface {:?}", self.interface))?;
        let all = addresses.list().map_err(told("netlink"))?;
        let here = |ip, index| ip == self.address && index == link.index;
        if all.iter().any(|found| here(found.spot.ip, found.spot.index)) {
            Ok(link)
        } else {
            Err(format!("it is not set on {}", self.interface))
        }
    }

    /// Waits for somebody else's claim, beginning with those that were heard since the last look.
    async fn claimant(&self, frames: &Frames, mac: Mac) -> std::io::Result<Mac> {
        let mut bytes = [0; Frames::BYTES_MAX];
        loop {
            let len = poll_fn(|cx| frames.poll_receive(cx, &mut bytes)).await?;
            let seen = sighting(&bytes[..len], &self.ours);
            if let Some(seen) = seen.filter(|seen| seen.mac != mac) {
                return Ok(seen.mac);
            }
        }
    }
}

/// How long is listened for answers: they come in less than a millisecond, unless the machine that
/// answers is busy.
const LISTEN_MAX: Duration = Duration::from_millis(200);
