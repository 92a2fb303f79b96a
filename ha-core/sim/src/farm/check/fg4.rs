//! FG4 and F8: an established TCP connection on a live, awake, linked server survives joins,
//! weights, drains (to their end), deaths elsewhere and daemons that hand over.

use ha_core::farm::Isolated;

use super::{Check, Seen};
use crate::farm::client::{Client, Loss, TRIES_MAX};
use crate::farm::scene::Scene;

#[derive(Debug)]
pub(super) struct LivesOn;

impl LivesOn {
    /// Why the contract does not promise it, if it does not.
    fn excuse(scene: &Scene, client: &Client, loss: Loss) -> Option<&'static str> {
        let Some(server) = client.server else { return Some("it never had one") };
        let here = &scene.nodes[server];
        // What happened just before the connection can still end it: a view under way.
        let since = client.since.saturating_sub(scene.spans.liveness() * 2);
        if scene.apart[server] >= since && scene.apart[server] > 0 {
            return Some("its server was cut off from another member");
        }
        if !here.up || !here.runs() || here.hurt_at >= since || here.begun_at >= client.since {
            return Some("its server died, was paused or was told to cut");
        }
        if scene.isolated == Isolated::Nothing && scene.alone[server] >= since {
            return Some("its server heard nobody, and serves nothing then");
        }
        let Some((service, bucket)) = scene.place_at(server, &client.flow) else {
            return Some("its service is in force no more");
        };
        if here.came[service] >= since {
            return Some("its service came back, or was changed");
        }
        if here.differs_at >= since && here.differs_at > 0 {
            return Some("its server has other rules than another member, and may be left out");
        }
        let gone = scene.lost[server][service][bucket];
        let gone = scene.moved_from(server, service, bucket).map_or(gone, |at| at.min(gone));
        // Its kernel may be told a little later than the coordinator's, whose time counts.
        if gone > 0 && scene.now + scene.spans.interval >= gone + scene.spans.drained() {
            return Some("its drain is over");
        }
        // A new owner that has an older socket of these ports says nothing that its client hears:
        // that is seen long after, while half of the packets had to find the server.
        let tries = match loss {
            Loss::Reset(_) => 1,
            Loss::Silence => u64::from(TRIES_MAX) / 2,
        };
        let back = scene.back[server][service][bucket];
        if back > 0 && scene.now <= back + scene.spans.interval * tries {
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
        match Self::excuse(scene, client_of, loss) {
            Some(_) => Ok(()),
            None => Err(format!(
                "client {client} lost its connection to {:?} ({loss:?}, {} answers)",
                client_of.server, client_of.answered
            )),
        }
    }
}
