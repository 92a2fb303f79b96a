//! R12: a lease at W is renewed only in the boot that got its epoch from W, and not after a Give.

use ha_quorum::Request;

use super::{Check, Seen};
use crate::fact::Fact;
use crate::network::Site;
use crate::scene::Scene;

/// Looks at every Renew.
#[derive(Debug)]
pub(super) struct RenewsItsOwn;

impl Check for RenewsItsOwn {
    fn rule(&self) -> &'static str {
        "R12"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Sent { from: Site::Node(node), fact: Fact::Ask(ask) } = *seen else {
            return Ok(());
        };
        if ask.request != Request::Renew {
            return Ok(());
        }
        let rights = &scene.nodes[node].rights;
        if ask.expected > rights.obtained() {
            return Err(format!("node {node} renews {}, not got in this boot", ask.expected));
        }
        if rights.given().is_some_and(|given| ask.expected <= given) {
            return Err(format!("node {node} renews {}, which it gave away", ask.expected));
        }
        Ok(())
    }
}
