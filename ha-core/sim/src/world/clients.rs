//! Clients ask whoever has the address; the application answers once a request is in its ledger.

use ha_core::Input;
use ha_proto::Position;

use super::World;
use crate::check::Seen;
use crate::host::{Last, Request};
use crate::queue::Event;
use crate::trace::Column;
use crate::weather::MS;

impl World {
    /// A client asks anew, or asks again.
    pub(super) fn client(&mut self, client: usize) {
        let wake = if self.clients[client].acknowledged || self.clients[client].number == 0 {
            self.clients[client].number += 1;
            self.clients[client].acknowledged = false;
            50 * MS + self.prng.below(self.weather.think_max)
        } else {
            50 * MS + self.prng.below(300 * MS)
        };
        self.at(wake, Event::Client { client });
        let now = self.scene.now;
        let first = self.prng.below(2) as usize;
        let reached = [first, 1 - first].into_iter().find(|&node| {
            let here = &self.scene.nodes[node];
            here.has_address(now) && here.runs() && here.host.answers()
        });
        if let Some(node) = reached {
            self.request(node, Request { client, number: self.clients[client].number });
        }
    }

    /// A request arrives at a node that answers.
    fn request(&mut self, node: usize, request: Request) {
        let Request { client, number } = request;
        let here = &mut self.scene.nodes[node];
        let last = here.host.state.last[client];
        if last.number >= number {
            return self.acknowledge(node, client, last);
        }
        if last.number + 1 != number {
            let text = format!("client {client}: {number} is asked, {last:?} is known");
            let given_up = !self.scene.counts(node) || last.number < self.scene.gaps[client];
            if !given_up && self.broken_unless_excused(node, text) {
                return;
            }
        }
        let here = &mut self.scene.nodes[node];
        if here.host.pending[client] == number {
            return;
        }
        let len = 9 + self.prng.below(self.weather.payload_max) as usize;
        request.encode(len, &mut self.asked);
        let local = here.local(self.scene.now);
        let mirror = here.mirror.as_mut().expect("it runs");
        if mirror.propose(local, &self.asked).is_ok() {
            here.host.pending[client] = number;
            self.feed(node, Input::Timeout);
        }
    }

    /// A stale reader is what the contract's exceptions for paused processes are about, and what
    /// votes without a witness allow (there the application goes on behind the gap, since what is
    /// missing was set aside); anything else has lost an acknowledged request.
    fn broken_unless_excused(&mut self, node: usize, text: String) -> bool {
        let gaps = self.options.vote != ha_quorum::Vote::Arbiter;
        let excused = self.scene.nodes[node].is_excused(self.scene.now);
        if !excused && !gaps {
            self.broken("no lost acknowledgement", text);
        }
        !gaps
    }

    /// The host puts one record into its ledger, and answers the client that waits for it here.
    pub(super) fn apply_one(&mut self, node: usize, position: Position, request: Request) {
        let Request { client, number } = request;
        let host = &mut self.scene.nodes[node].host;
        (host.state.applied, host.state.chain) = (position.seq, position.chain);
        let known = &mut host.state.last[client];
        if number > known.number {
            *known = Last { number, seq: position.seq, chain: position.chain };
        }
        let last = *known;
        let waits = host.pending[client] != 0 && host.pending[client] <= last.number;
        if waits {
            host.pending[client] = 0;
            if host.answers() {
                self.acknowledge(node, client, last);
            }
        }
    }

    /// An answer leaves; the client may not hear it.
    fn acknowledge(&mut self, node: usize, client: usize, last: Last) {
        let heard = !self.prng.chance(30_000);
        let asked = &mut self.clients[client];
        if heard && asked.number == last.number && !asked.acknowledged {
            asked.acknowledged = true;
            self.acknowledged += 1;
        }
        let text = || format!("ack {}: client {client} number {}", last.seq, last.number);
        self.note(Column::of(node), text);
        if !self.scene.counts(node) {
            self.gap(client);
        }
        self.see(&Seen::Acknowledged { node, record: (last.seq, last.chain) });
    }
}
