//! What clients do.

use super::{Event, World};
use crate::farm::check::Seen;
use crate::farm::client::{Loss, Phase, Reply, TRIES_MAX};
use crate::farm::frame::{self, Segment};
use crate::trace::Column;

impl World {
    /// Every third client wants the service that comes and goes.
    pub(crate) fn browse(&mut self) {
        let clients = self.scene.clients.iter_mut().step_by(3);
        clients.for_each(|client| client.flow.port = frame::WEB_PORT);
    }

    /// A client acts, unless something came of what it did since.
    pub(super) fn client(&mut self, client: usize, step: u64) {
        if self.steps[client] != step {
            return;
        }
        let here = &mut self.scene.clients[client];
        here.tries += 1;
        if here.phase != Phase::Idle && here.phase != Phase::Open && here.tries > 1 {
            // Something was lost; whoever has the address may have changed.
            self.resolve();
        }
        let here = &mut self.scene.clients[client];
        match here.phase {
            Phase::Idle => self.open(client),
            Phase::Opening if here.tries > TRIES_MAX => self.end(client),
            Phase::Opening => self.say(client, Segment::Syn),
            Phase::Waiting if here.tries > TRIES_MAX => self.lose(client, Loss::Silence),
            Phase::Waiting => self.say(client, Segment::Ack),
            Phase::Open if here.left == 0 => {
                (here.phase, here.tries) = (Phase::Closing, 1);
                self.say(client, Segment::Fin);
            }
            // It is gone, and its server does not know: a half-open connection.
            Phase::Open if self.prng.chance(FORGETS) => self.end(client),
            Phase::Open => {
                (here.phase, here.tries) = (Phase::Waiting, 1);
                here.left -= 1;
                self.say(client, Segment::Ack);
            }
            Phase::Closing if here.tries > 3 => self.end(client),
            Phase::Closing => self.say(client, Segment::Fin),
        }
    }

    fn open(&mut self, client: usize) {
        let fresh = self.prng.chance(700_000);
        let port = 1_024 + self.prng.below(60_000) as u16;
        let left = 1 + self.prng.below(60) as u32;
        self.datagram(client);
        let here = &mut self.scene.clients[client];
        if fresh {
            here.flow.client_port = port;
        }
        here.number += 1;
        (here.phase, here.tries, here.left) = (Phase::Opening, 1, left);
        here.server = None;
        self.say(client, Segment::Syn);
    }

    /// Sends a segment, and does so again if nothing comes of it.
    fn say(&mut self, client: usize, segment: Segment) {
        let number = self.scene.clients[client].number;
        if !self.prng.chance(self.weather.packet_loss) {
            self.at(self.weather.delay_min, Event::Packet { client, number, segment });
        }
        self.next(client, self.scene.spans.interval);
    }

    fn next(&mut self, client: usize, delay: u64) {
        self.steps[client] += 1;
        let step = self.steps[client];
        self.at(1 + delay, Event::Client { client, step });
    }

    fn end(&mut self, client: usize) {
        let here = &mut self.scene.clients[client];
        (here.phase, here.tries) = (Phase::Idle, 0);
        let delay = self.prng.below(self.weather.think_max);
        self.next(client, delay);
    }

    fn lose(&mut self, client: usize, loss: Loss) {
        self.note(Column::World, || format!("client {client} lost its connection: {loss:?}"));
        self.note_apart();
        self.see(&Seen::Lost { client, loss });
        self.end(client);
    }

    /// A server's answer arrives.
    pub(super) fn reply(&mut self, client: usize, number: u64, node: usize, reply: Reply) {
        let now = self.scene.now;
        let here = &mut self.scene.clients[client];
        if here.number != number {
            return;
        }
        let established = matches!(here.phase, Phase::Open | Phase::Waiting);
        match (reply, here.phase) {
            (Reply::SynAck, Phase::Opening) => {
                here.server = Some(node);
                here.since = now;
                (here.phase, here.tries) = (Phase::Waiting, 1);
                self.say(client, Segment::Ack);
            }
            // The challenge of a server that has an older connection of these ports.
            (Reply::Ack, Phase::Opening) => {
                self.at(
                    self.weather.delay_min,
                    Event::Packet { client, number, segment: Segment::Rst },
                );
            }
            (Reply::Ack, Phase::Waiting) if here.server == Some(node) => {
                here.answered += 1;
                (here.phase, here.tries) = (Phase::Open, 0);
                let delay = self.prng.below(self.weather.think_max);
                self.next(client, delay);
            }
            (Reply::Rst, _) if established => self.lose(client, Loss::Reset(node)),
            (Reply::Rst | Reply::FinAck, Phase::Closing) => self.end(client),
            (Reply::Rst, Phase::Opening)
            | (Reply::SynAck | Reply::Ack | Reply::FinAck | Reply::Rst, _) => {}
        }
    }
}

/// How often a client vanishes without a word, per million packets.
const FORGETS: u32 = 10_000;
