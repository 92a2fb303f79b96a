//! R13: the application is stopped and the addresses are gone before Give is sent.

use ha_quorum::Request;

use super::{Check, Seen};
use crate::fact::Fact;
use crate::network::Site;
use crate::scene::Scene;

/// Looks at every Give, and at starts after one.
#[derive(Debug)]
pub(super) struct Swap;

impl Check for Swap {
    fn rule(&self) -> &'static str {
        "R13"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Sent { from: Site::Node(node), fact: Fact::Ask(ask) } => {
                let Request::Give { to } = ask.request else { return Ok(()) };
                let here = &scene.nodes[node];
                if here.serves() || here.has_address(scene.now) {
                    return Err(format!("node {node} gives to {to} and still serves"));
                }
                Ok(())
            }
            Seen::AppStarts { node, epoch } => {
                let here = &scene.nodes[node];
                let leased = here.rights.is_leased(here.local(scene.now));
                match here.rights.given() {
                    Some(given) if epoch <= given && !leased => {
                        Err(format!("node {node} resumes {epoch}, which it gave away"))
                    }
                    Some(_) | None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
