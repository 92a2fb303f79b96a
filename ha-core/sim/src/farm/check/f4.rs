//! F4: a proposal has the next counter, the name and boot of who makes it; and no one makes one
//! every moment, unless a member fell silent.

use super::{Check, Seen};
use crate::farm::fact::{Fact, Id, ranks_better};
use crate::farm::scene::Scene;

/// What each member proposed last, and when.
#[derive(Debug, Default)]
pub(super) struct Proposes {
    last: Vec<(Id, u64)>,
}

impl Proposes {
    fn proposed(&mut self, scene: &Scene, node: usize, id: Id) -> Result<(), String> {
        let here = &scene.nodes[node];
        if usize::from(id.coordinator) != node || id.boot != here.boot {
            return Err(format!("{node}, boot {}, proposes {id}", here.boot));
        }
        // Said again, or the answer to who is at an older one.
        if self.last[node].0 == id || id <= here.view {
            return Ok(());
        }
        self.last[node] = (id, scene.now);
        if id.counter != here.highest + 1 {
            return Err(format!("{node} saw {}, and proposes {id}", here.highest));
        }
        let Some(mine) = here.said else { return Ok(()) };
        for other in (0..scene.nodes.len()).filter(|other| *other != node) {
            let Some(said) = scene.link(node, other) else { continue };
            if said.takes
                && said.view != mine.view
                && ranks_better(said.members, mine.members)
                && !said.members.contains(crate::farm::scene::id(node))
                && mine.takes
            {
                return Err(format!(
                    "{node} proposes {id} against {} {} of {other}",
                    said.view, said.members
                ));
            }
        }
        Ok(())
    }
}

impl Check for Proposes {
    fn rule(&self) -> &'static str {
        "F4"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        self.last.resize(scene.nodes.len(), Default::default());
        match *seen {
            Seen::Sent { node, fact: Fact::Propose { id, .. } } => self.proposed(scene, node, *id),
            _ => Ok(()),
        }
    }
}
