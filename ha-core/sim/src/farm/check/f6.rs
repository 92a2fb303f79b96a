//! F6: after a boot or a gap a member takes nothing, and proposes nothing for D + i.

use super::{Check, Seen};
use crate::farm::fact::Fact;
use crate::farm::scene::Scene;

#[derive(Debug)]
pub(super) struct Begins;

impl Check for Begins {
    fn rule(&self) -> &'static str {
        "F6"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Sent { node, fact: Fact::Propose { id, .. } } => {
                let here = &scene.nodes[node];
                let ran = here.acted.saturating_since(here.begun).as_nanos();
                if ran < u128::from(scene.spans.timeout + scene.spans.interval) {
                    return Err(format!(
                        "{node} proposes {id} {} ms after it began",
                        ran / 1_000_000
                    ));
                }
                Ok(())
            }
            Seen::Sent { node, fact: Fact::Beat(said) } => {
                let here = &scene.nodes[node];
                if here.said.is_none() && (said.takes || scene.is_open(node)) {
                    return Err(format!("{node} takes with its first beat after a boot"));
                }
                Ok(())
            }
            Seen::Settled { node } => {
                let here = &scene.nodes[node];
                if scene.is_open(node) && !here.said.as_ref().is_some_and(|said| said.takes) {
                    return Err(format!("{node} takes and has said nothing of it since it began"));
                }
                // Until it was told of a view that was made since.
                if here.gap_view == Some(here.view) && scene.is_open(node) {
                    return Err(format!("{node} takes in {} across a gap", here.view));
                }
                Ok(())
            }
            Seen::Paused { node, late } => Err(format!(
                "{node} begins anew and says that it was {late:?} late, which it was not"
            )),
            _ => Ok(()),
        }
    }
}
