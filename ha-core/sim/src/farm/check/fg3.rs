//! FG3: once faults stop, one view of all, and every bucket taken by one member.

use super::{Check, Seen};
use crate::farm::scene::Scene;

#[derive(Debug)]
pub(super) struct Settles;

/// Who takes each bucket of a service now.
pub(in crate::farm) fn takers(scene: &Scene, service: usize) -> Vec<Vec<usize>> {
    let takes = |node: usize, bucket| {
        let here = &scene.nodes[node];
        here.up && here.kernel.takes(here.local(scene.now), service, bucket)
    };
    let nodes = 0..scene.nodes.len();
    let buckets = 0..crate::farm::world::build::BUCKETS;
    buckets.map(|bucket| nodes.clone().filter(|node| takes(*node, bucket)).collect()).collect()
}

impl Check for Settles {
    fn rule(&self) -> &'static str {
        "FG3"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Settling { .. } = *seen else { return Ok(()) };
        let serving: Vec<_> = scene.nodes.iter().filter(|node| node.stopped == 0).collect();
        let views: Vec<_> = serving.iter().map(|node| node.said.map(|said| said.view)).collect();
        if views.iter().any(|view| view.is_none() || *view != views[0]) {
            return Err(format!("not one view: {views:?}"));
        }
        if !serving.iter().any(|node| node.is_wanted()) {
            return Ok(());
        }
        for service in 0..crate::farm::scene::SERVICES {
            let takers = takers(scene, service);
            if let Some(bucket) = takers.iter().position(|takers| takers.len() != 1) {
                return Err(format!("{service}/{bucket} is taken by {:?}", takers[bucket]));
            }
        }
        Ok(())
    }
}
