//! G7: once faults stop the pair is `PRIM`/`SECOND` ready within a bound.
//!
//! Unlike the others this is a verdict at the end, and it may ask the machines what they announce:
//! that they say so is a part of what is promised.

use ha_proto::{DataState, NodeId, NodeSet, Role};

use crate::node::Node;
use crate::scene::Scene;

/// One serves, the other is ready to, both have everything, and W knows.
pub fn is_whole(scene: &Scene) -> bool {
    let both = NodeSet::from_bits(3);
    let nodes = &scene.nodes;
    let sound = |node: &Node| {
        let saved = &node.disk.saved;
        node.runs() && saved.state == DataState::Complete && saved.membership.set == both
    };
    let same = nodes[0].disk.saved.membership == nodes[1].disk.saved.membership;
    let known = nodes[0].disk.saved.membership;
    let witnessed = !scene.has_arbiter()
        || scene.register().is_some_and(|register| register.membership == known);
    nodes.iter().all(sound) && same && witnessed && is_announced(nodes)
}

/// Whether the contract excuses that the pair is not whole: a set with no `Complete` member, as
/// when the Exclude of a node that is lost meanwhile arrives late; or, with no witness, two logs
/// that have no reign in common: both keep their data, and an operator decides.
pub fn is_excused(scene: &Scene) -> bool {
    if !scene.has_arbiter() {
        let [one, other] = scene.nodes.each_ref().map(|node| node.disk.saved.lineage.entries());
        let apart = !one.iter().any(|entry| other.contains(entry));
        // Of a pair that an operator founded at both nodes each has data of its own, though one has
        // no record.
        let [one, other] = scene.nodes.each_ref().map(|node| &node.disk.saved);
        let initialised = one.is_initialised() && other.is_initialised();
        let two = initialised && one.membership.data != other.membership.data;
        let founded = two && scene.founders == [true; 2];
        return apart && (founded || scene.nodes.iter().all(|node| !node.disk.log.is_empty()));
    }
    let complete =
        |id: NodeId| scene.nodes[scene.index(id)].disk.saved.state == DataState::Complete;
    let register = scene.register();
    register.is_some_and(|register| !register.membership.set.iter().any(complete))
}

/// What the pair looks like, for a report.
pub fn describe(scene: &Scene) -> String {
    let node = |node: &Node| {
        let saved = &node.disk.saved;
        let head = node.disk.log.head().seq;
        format!("{:?} {} {:?} log {head}", role(node), saved.membership, saved.state)
    };
    let register = scene.register().map(|register| register.membership.to_string());
    let register = register.unwrap_or_else(|| "-".into());
    format!("A {}; B {}; W {register}", node(&scene.nodes[0]), node(&scene.nodes[1]))
}

fn is_announced(nodes: &[Node; 2]) -> bool {
    let ready = |node: &Node| role(node).filter(|(_, ready)| *ready).map(|(role, _)| role);
    let pair = (ready(&nodes[0]), ready(&nodes[1]));
    let (prim, second) = (Some(Role::Prim), Some(Role::Second));
    pair == (prim, second) || pair == (second, prim)
}

fn role(node: &Node) -> Option<(Role, bool)> {
    node.mirror.as_ref().map(ha_core::Mirror::status).map(|status| (status.role, status.ready))
}
