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
        if scene.apart.iter().any(|at| *at >= since && *at > 0) {
            return Some("the farm was split");
        }
        if !here.up || !here.runs() || here.hurt_at >= since || here.begun_at >= client.since {
            return Some("its server died, was paused or was told to cut");
        }
        let Some((service, bucket)) = scene.place(&client.flow) else {
            return Some("there is no server at all");
        };
        let lost = scene.lost[server][service][bucket];
        // Its kernel may be told a little later than the coordinator's, whose time counts.
        if lost > 0 && scene.now + scene.spans.interval >= lost + scene.spans.drained() {
            return Some("its drain is over");
        }
        let back = scene.back[server][service][bucket];
        if back > 0 && scene.now <= back + scene.spans.interval {
            return Some("its drain was over, and the bucket came back just now");
        }
        if scene.moves[service][bucket].iter().filter(|at| **at >= since).count() >= 3 {
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
                "client {client} DBG {:?} {:?} lost its connection to {:?} ({loss:?}, {} answers)",
                scene.place(&client_of.flow).map(|(s, b)| scene
                    .nodes
                    .iter()
                    .map(|n| n.kernel.filter.as_ref().map(|f| f.words(s)[b].to_le_bytes()))
                    .collect::<Vec<_>>()),
                scene
                    .nodes
                    .iter()
                    .map(|n| n.kernel.sockets.all.get(&client_of.flow).map(|s| (
                        s.state,
                        s.number as i64 - client_of.number as i64,
                        s.released
                    )))
                    .collect::<Vec<_>>(),
                client_of.server,
                client_of.answered
            )),
        }
    }
}
