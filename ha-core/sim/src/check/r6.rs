//! R6, R9: while bound by a promise or by its boot, a node sends neither Take nor Exclude and does
//! not start.

use ha_quorum::Request;

use super::{Check, Seen};
use crate::fact::Fact;
use crate::network::Site;
use crate::scene::Scene;

/// Looks at every Take, every Exclude and every start.
#[derive(Debug)]
pub(super) struct Bound;

impl Bound {
    fn free(scene: &Scene, node: usize, what: &str) -> Result<(), String> {
        let here = &scene.nodes[node];
        let now = here.local(scene.now);
        match here.rights.bound_until() {
            Some(until) if until > now => {
                let left = until.saturating_since(now);
                Err(format!("node {node} {what}, bound for {left:?} more"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Check for Bound {
    fn rule(&self) -> &'static str {
        "R6"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Sent { from: Site::Node(node), fact: Fact::Ask(ask) } => match ask.request {
                Request::Take => Self::free(scene, node, "asks to Take"),
                Request::Exclude => Self::free(scene, node, "asks to Exclude"),
                _ => Ok(()),
            },
            Seen::AppStarts { node, .. } => Self::free(scene, node, "starts"),
            _ => Ok(()),
        }
    }
}
