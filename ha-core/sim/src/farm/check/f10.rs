//! F10: fragments go by addresses alone, the first like all others; of TCP under a rule that hashes
//! ports they are dropped.

use ha_farm::{HashOn, Protocol};

use super::{Check, Seen};
use crate::farm::scene::Scene;

#[derive(Debug)]
pub(super) struct Fragments;

impl Check for Fragments {
    fn rule(&self) -> &'static str {
        "F10"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Fragments { protocol, first, later, other } = *seen else { return Ok(()) };
        if first != later {
            return Err(format!("a first fragment goes to {first:?}, a later one to {later:?}"));
        }
        if first != other {
            return Err(format!("fragments of one address go to {first:?} and to {other:?}"));
        }
        match (protocol, scene.on) {
            (Protocol::Tcp, HashOn::AddrPort) if !later.is_empty() => {
                Err(format!("{later:?} take fragments of TCP, and ports are hashed"))
            }
            (Protocol::Tcp | Protocol::Udp, _) => Ok(()),
        }
    }
}
