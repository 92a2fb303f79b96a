//! Clients' packets: through the switch, the kernels' filters and the servers' sockets.

use ha_farm::{Flow, Mode, Protocol, Verdict};

use super::{Event, World};
use crate::farm::check::Seen;
use crate::farm::client::Reply;
use crate::farm::frame::{self, CLIENT, Segment, VIRTUAL};
use crate::farm::kernel::{Socket, State};

impl World {
    /// A client's packet arrives at the switch, which shows it to whoever is to see it.
    pub(super) fn packet(&mut self, client: usize, number: u64, segment: Segment) {
        let flow = self.scene.clients[client].flow;
        let taken = self.offer_segment(&flow, segment);
        for node in taken {
            if let Some(reply) = self.serve(node, &flow, number, segment) {
                self.answer(client, number, node, reply);
            }
        }
    }

    /// A packet that nobody answers: of UDP, or fragments.
    pub(super) fn datagram(&mut self, client: usize) {
        let flow = self.scene.clients[client].flow;
        let udp = Flow { protocol: Protocol::Udp, port: frame::UDP_PORT, ..flow };
        if self.prng.chance(700_000) {
            let (taken, shown) = self.offer(|from, to| frame::udp(from, to, &udp));
            let seen = Seen::Packet { flow: &udp, segment: None, taken: &taken, shown: &shown };
            return self.see(&seen);
        }
        for flow in [udp, flow] {
            let (first, _) = self.offer(|from, to| frame::fragment(from, to, &flow, true));
            let (later, _) = self.offer(|from, to| frame::fragment(from, to, &flow, false));
            let beside = Flow { client_port: flow.client_port ^ 1, ..flow };
            let (other, _) = self.offer(|from, to| frame::fragment(from, to, &beside, true));
            let (protocol, first, later, other) = (flow.protocol, &first, &later, &other);
            self.see(&Seen::Fragments { protocol, first, later, other });
        }
    }

    /// Shows a segment to the switch: who takes it.
    pub(crate) fn offer_segment(&mut self, flow: &Flow, segment: Segment) -> Vec<usize> {
        let (taken, shown) = self.offer(|from, to| frame::tcp(from, to, flow, segment));
        let segment = Some(segment);
        self.see(&Seen::Packet { flow, segment, taken: &taken, shown: &shown });
        taken
    }

    /// A client asks, in a script.
    pub fn ask(&mut self) {
        self.resolve();
    }

    /// A client asks who has the virtual address.
    pub(super) fn resolve(&mut self) {
        let frame = frame::who_has(CLIENT);
        for node in 0..self.scene.nodes.len() {
            let verdict = self.decide(node, &frame);
            self.see(&Seen::Asked { node, verdict });
            let here = &self.scene.nodes[node];
            if here.runs() && here.announces && self.scene.is_open(node) {
                self.resolved = Some(node);
            }
        }
    }

    /// Who takes a frame that a client sends, and to whom it is shown.
    fn offer(
        &mut self,
        frame: impl Fn(ha_farm::Mac, ha_farm::Mac) -> Vec<u8>,
    ) -> (Vec<usize>, Vec<usize>) {
        let (mut taken, mut shown) = (Vec::new(), Vec::new());
        match self.scene.mode {
            Mode::Invisible => {
                let frame = frame(CLIENT, VIRTUAL);
                for node in 0..self.scene.nodes.len() {
                    self.take(node, &frame, &mut taken);
                    shown.push(node);
                }
            }
            Mode::Directed => {
                let Some(to) = self.resolved else { return (taken, shown) };
                let first = frame(CLIENT, frame::mac(to));
                let on = self.take(to, &first, &mut taken);
                self.see(&Seen::HandedOn { by: to, frame: &first, to: &on });
                shown.push(to);
                for other in on {
                    let handed = frame(frame::mac(to), frame::mac(other));
                    let again = self.take(other, &handed, &mut taken);
                    shown.push(other);
                    if !again.is_empty() {
                        self.see(&Seen::HandedOnTwice { from: to, by: other, to: &again });
                    }
                }
            }
        }
        (taken, shown)
    }

    /// What one member does with a frame: takes it, or says to whom it is handed on.
    fn take(&mut self, node: usize, frame: &[u8], taken: &mut Vec<usize>) -> Vec<usize> {
        let (accept, on) = match self.decide(node, frame) {
            Some(Verdict::Accept) => (true, Vec::new()),
            Some(Verdict::Forward { to, accept }) => {
                (accept, to.iter().map(|to| usize::from(to.as_u8())).collect())
            }
            Some(Verdict::Pass | Verdict::Neighbour | Verdict::Drop(_)) | None => {
                (false, Vec::new())
            }
        };
        if accept {
            taken.push(node);
        }
        on
    }

    fn decide(&mut self, node: usize, frame: &[u8]) -> Option<Verdict> {
        let now = self.scene.now;
        let here = &mut self.scene.nodes[node];
        let local = here.clock.local(now);
        if here.up { here.kernel.decide(local, frame) } else { None }
    }

    /// What a server's sockets make of a segment.
    fn serve(&mut self, node: usize, flow: &Flow, number: u64, segment: Segment) -> Option<Reply> {
        let lingers = self.prng.chance(500_000);
        let here = &mut self.scene.nodes[node];
        if !here.app {
            return (segment != Segment::Rst).then_some(Reply::Rst);
        }
        let sockets = &mut here.kernel.sockets.all;
        let socket = sockets.get_mut(flow).filter(|socket| socket.state != State::TimeWait);
        let Some(socket) = socket else {
            return match segment {
                Segment::Syn => {
                    let new = Socket { state: State::Request, number, released: false };
                    sockets.insert(*flow, new);
                    Some(Reply::SynAck)
                }
                Segment::Ack | Segment::Fin => Some(Reply::Rst),
                Segment::Rst => None,
            };
        };
        match segment {
            Segment::Syn if socket.number == number => Some(match socket.state {
                State::Request => Reply::SynAck,
                State::Established | State::TimeWait => Reply::Ack,
            }),
            Segment::Syn if socket.state == State::Request || socket.released => {
                *socket = Socket { state: State::Request, number, released: false };
                Some(Reply::SynAck)
            }
            // A challenge (RFC 5961): the client that forgot the connection resets it.
            Segment::Syn => Some(Reply::Ack),
            // Beside the window of that connection (RFC 9293): the client takes no notice.
            Segment::Ack | Segment::Fin if socket.number != number => Some(Reply::Ack),
            Segment::Ack => {
                socket.state = State::Established;
                Some(Reply::Ack)
            }
            Segment::Fin => {
                if lingers {
                    socket.state = State::TimeWait;
                } else {
                    sockets.remove(flow);
                }
                Some(Reply::FinAck)
            }
            Segment::Rst => {
                sockets.remove(flow);
                None
            }
        }
    }

    fn answer(&mut self, client: usize, number: u64, node: usize, reply: Reply) {
        if !self.prng.chance(self.weather.packet_loss) {
            let delay = self.weather.delay_min + self.prng.below(self.weather.delay_jitter);
            self.at(delay, Event::Reply { client, number, node, reply });
        }
    }

    /// A server's connections are cut: it says so to each client, and knows none any more.
    pub(super) fn cut_connections(&mut self, node: usize) {
        self.scene.nodes[node].hurt_at = self.scene.now;
        let sockets = std::mem::take(&mut self.scene.nodes[node].kernel.sockets.all);
        for client in 0..self.scene.clients.len() {
            let here = &self.scene.clients[client];
            let number = here.number;
            // A half-open socket of the same connection elsewhere is beside its window.
            if here.server.is_some_and(|server| server != node) {
                continue;
            }
            if sockets.get(&here.flow).is_some_and(|socket| socket.number == number) {
                self.answer(client, number, node, Reply::Rst);
            }
        }
    }
}
