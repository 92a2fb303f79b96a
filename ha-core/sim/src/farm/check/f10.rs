//! F10: fragments go by addresses alone, the first like all others; of TCP under a rule that hashes
//! ports they are dropped.

use ha_farm::Protocol;

use super::{Check, Seen};
use crate::farm::scene::Scene;
use crate::farm::services;

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
        let hashes_ports = |node: &&usize| {
            let filter = scene.nodes[**node].kernel.filter.as_deref();
            filter.is_some_and(|filter| services::set(filter).any(|it| it == services::BY_PORT))
        };
        match protocol {
            Protocol::Tcp => match later.iter().find(hashes_ports) {
                Some(node) => Err(format!("{node} takes fragments of TCP, and ports are hashed")),
                None => Ok(()),
            },
            Protocol::Udp => Ok(()),
        }
    }
}
