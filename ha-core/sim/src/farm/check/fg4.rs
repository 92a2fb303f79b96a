//! FG4 and F8: an established TCP connection on a live, awake, linked server survives joins,
//! weights, drains (to their end), deaths elsewhere and daemons that hand over.

use super::{Check, Seen};
use crate::farm::client::Client;
use crate::farm::scene::Scene;

#[derive(Debug)]
pub(super) struct LivesOn;

impl LivesOn {
    /// Why the contract does not promise it, if it does not.
    fn excuse(scene: &Scene, client: &Client) -> Option<&'static str> {
        let Some(server) = client.server else { return Some("it never had one") };
        let here = &scene.nodes[server];
        // What happened just before the connection can still end it: a view under way.
        let since = client.since.saturating_sub(scene.spans.liveness() * 2);
        if scene.split_at >= since && scene.split_at > 0 {
            return Some("the farm was split");
        }
        if !here.up || here.hurt_at >= since || here.begun_at >= client.since {
            return Some("its server died, was paused or was told to cut");
        }
        let drained = scene.spans.drain.saturating_sub(scene.spans.drain / 500);
        let moved = scene.lost[server].iter().flatten().filter(|at| **at >= since);
        if moved.min().is_some_and(|first| scene.now >= first + drained) {
            return Some("its drain is over");
        }
        let often = |bucket: &Vec<u64>| bucket.iter().filter(|at| **at >= since).count() >= 3;
        if scene.moves.iter().flatten().any(often) {
            return Some("a third move cuts the oldest owner");
        }
        None
    }
}

impl Check for LivesOn {
    fn rule(&self) -> &'static str {
        "FG4"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Lost { client, loss } = *seen else { return Ok(()) };
        let client_of = &scene.clients[client];
        match Self::excuse(scene, client_of) {
            Some(_) => Ok(()),
            None => Err(format!(
                "client {client} lost its connection to {:?} ({loss:?}, {} answers)",
                client_of.server, client_of.answered
            )),
        }
    }
}
