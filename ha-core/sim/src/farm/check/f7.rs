//! F7 and FG2: only needed moves. Nobody that stays loses and gains buckets by one view, and a
//! draining bucket moves only from who cannot keep it.

use std::collections::BTreeSet;

use ha_farm::Filter;

use super::{Check, Seen};
use crate::farm::scene::{SERVICES, Scene, owner};

#[derive(Debug, Default)]
pub(super) struct Moves;

impl Moves {
    fn step(scene: &Scene, node: usize, old: &Filter, new: &Filter) -> Result<(), String> {
        let members = scene.nodes[node].said.map(|said| said.members);
        for service in 0..SERVICES {
            let (mut gains, mut loses) = (BTreeSet::new(), BTreeSet::new());
            for (old, new) in old.words(service).iter().zip(new.words(service)) {
                let (from, to) = (owner(*old), owner(*new));
                if from != to {
                    loses.extend(from);
                    gains.extend(to);
                }
            }
            if let Some(both) = gains.intersection(&loses).next() {
                return Err(format!(
                    "{both} loses and gains buckets of service {service} by one view ({members:?})"
                ));
            }
        }
        Ok(())
    }
}

impl Check for Moves {
    fn rule(&self) -> &'static str {
        "F7"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            // The proposer goes from the base to its view in one step; others may have missed some,
            // and at a merge the tables of two groups become one.
            Seen::Kernel { node, old: Some(old), was_open: true }
                if scene.now > scene.split_at + scene.spans.liveness() && scene.split_at == 0 =>
            {
                let new = scene.nodes[node].kernel.filter.as_ref().expect("it was just written");
                Self::step(scene, node, old, new)
            }
            _ => Ok(()),
        }
    }
}
