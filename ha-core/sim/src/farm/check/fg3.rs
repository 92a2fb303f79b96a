//! FG3: once faults stop, one view of the largest clique, and every bucket taken by one member of
//! it; who reaches one of them and is not in it takes nothing.

use ha_core::farm::Isolated;
use ha_proto::NodeSet;

use super::{Check, Seen};
use crate::farm::fact::{self, Said};
use crate::farm::scene::{Scene, id};

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

impl Settles {
    /// One view of these, and each bucket taken by one of them.
    fn is_settled(scene: &Scene, group: NodeSet) -> Result<(), String> {
        let nodes: Vec<_> =
            group.iter().map(|node| &scene.nodes[usize::from(node.as_u8())]).collect();
        let alone = nodes.len() == 1 && scene.nodes.len() > 1;
        if alone && scene.isolated == Isolated::Nothing {
            return Ok(());
        }
        let mut views = nodes.iter().map(|node| node.said.as_ref());
        let first = nodes[0].said.as_ref().map(|said| said.view);
        let there = |said: &Said| said.takes && said.members == group && Some(said.view) == first;
        if !views.all(|said| said.is_some_and(|said| there(said))) {
            let said = nodes.iter().map(|node| node.said.as_ref().map(|said| fact::show(said)));
            return Err(format!("not one view of {group}: {:?}", said.collect::<Vec<_>>()));
        }
        if !nodes.iter().any(|node| node.is_wanted()) {
            return Ok(());
        }
        for service in scene.services(group) {
            for (bucket, takers) in takers(scene, service).iter().enumerate() {
                let here = takers.iter().filter(|taker| group.contains(id(**taker))).count();
                if here != 1 {
                    return Err(format!("{service}/{bucket} is taken by {takers:?} of {group}"));
                }
            }
        }
        Ok(())
    }

    /// Whether a member could be in a view with nobody that it is joined to, none of whom takes: it
    /// serves by itself (F4), since the group beyond them is across a cut for it (FG1).
    fn serves_alone(scene: &Scene, node: usize) -> bool {
        let here = &scene.nodes[node];
        let Some(mine) = here.said.as_ref().filter(|_| here.stopped == 0) else { return false };
        let members = 0..scene.nodes.len();
        let mut others =
            members.filter(|other| *other != node && scene.network.joins(node, *other));
        others.all(|other| {
            let said = scene.nodes[other].said.as_ref();
            said.is_some_and(|said| !said.agrees(mine) && !said.takes)
        })
    }
}

impl Check for Settles {
    fn rule(&self) -> &'static str {
        "FG3"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Settling { .. } = *seen else { return Ok(()) };
        let groups = scene.groups();
        for &group in &groups {
            Self::is_settled(scene, group)?;
        }
        let stand_by = (0..scene.nodes.len())
            .filter(|node| !groups.iter().any(|group| group.contains(id(*node))));
        let takes = |node: &usize| scene.is_open(*node) && !Self::serves_alone(scene, *node);
        match stand_by.into_iter().find(takes) {
            Some(node) => Err(format!("{node} takes something, and is in no group of {groups:?}")),
            None => Ok(()),
        }
    }
}
