//! FG1: two members that are linked for 2 i + r or more never both take one packet.

use std::sync::Arc;

use ha_farm::{Filter, Sockets};

use super::{Check, Seen};
use crate::farm::frame::Segment;
use crate::farm::scene::Scene;

/// The first bucket that the filters of two members both take, leases apart; by pair. It is computed
/// once for each filter: it is asked after every event.
#[derive(Debug, Default)]
pub(super) struct OneTaker {
    filters: Vec<Option<Arc<Filter>>>,
    both: Vec<Vec<Option<(usize, usize)>>>,
}

impl OneTaker {
    fn note(&mut self, scene: &Scene, node: usize) {
        let filter = &scene.nodes[node].kernel.filter;
        let same = match (filter, &self.filters[node]) {
            (Some(filter), Some(known)) => Arc::ptr_eq(filter, known),
            (None, None) => true,
            (_, _) => false,
        };
        if same {
            return;
        }
        self.filters[node].clone_from(filter);
        for other in 0..scene.nodes.len() {
            let both = scene.filters_overlap(node, other);
            self.both[node][other] = both;
            self.both[other][node] = both;
        }
    }

    /// Whether two that are linked both took one packet.
    fn twice(scene: &Scene, taken: &[usize], what: impl Fn() -> String) -> Result<(), String> {
        for (at, &one) in taken.iter().enumerate() {
            for &other in &taken[at + 1..] {
                if scene.are_bound(one, other) {
                    return Err(format!("{one} and {other}, linked, both take {}", what()));
                }
            }
        }
        Ok(())
    }

    /// Whether a member takes what another one takes that it has been linked to for long.
    fn look(&self, scene: &Scene, one: usize) -> Result<(), String> {
        for other in (0..scene.nodes.len()).filter(|other| *other != one) {
            let Some((service, bucket)) = self.both[one][other] else { continue };
            if scene.is_open(one) && scene.is_open(other) && scene.are_bound(one, other) {
                return Err(format!("{one} and {other}, linked, both take {service}/{bucket}"));
            }
        }
        Ok(())
    }
}

impl Check for OneTaker {
    fn rule(&self) -> &'static str {
        "FG1"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let members = scene.nodes.len();
        self.filters.resize(members, None);
        self.both.resize(members, vec![None; members]);
        match *seen {
            Seen::Kernel { node, .. } => {
                self.note(scene, node);
                Ok(())
            }
            Seen::Settled { node } => self.look(scene, node),
            Seen::Look => (0..members).try_for_each(|node| self.look(scene, node)),
            Seen::Packet { flow, segment, taken, .. } => {
                // To take is to accept what is not of a live socket of one's own.
                let live = |node: usize| {
                    let sockets = &scene.nodes[node].kernel.sockets;
                    segment.is_some_and(|segment| segment != Segment::Syn) && sockets.live(flow)
                };
                let taken: Vec<usize> = taken.iter().copied().filter(|at| !live(*at)).collect();
                Self::twice(scene, &taken, || format!("{segment:?} of {flow:?}"))
            }
            Seen::Fragments { first, later, .. } => {
                Self::twice(scene, first, || "a first fragment".into())?;
                Self::twice(scene, later, || "a later fragment".into())
            }
            _ => Ok(()),
        }
    }
}
