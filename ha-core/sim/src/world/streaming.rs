//! The replication stream between the two processes.

use bytes::Bytes;
use ha_core::Input;
use ha_proto::Epoch;

use super::World;
use crate::check::Seen;
use crate::node::Process;
use crate::queue::Event;
use crate::stream::{End, Stream};
use crate::trace::Column;
use crate::weather::MS;

impl World {
    /// Takes what a node has to say on the stream, while there is room.
    pub(super) fn pump(&mut self, node: usize) {
        if !self.stream.is_connected(node) {
            return;
        }
        let carries = self.stream.carries_from(node);
        let mut lost = 0;
        loop {
            let room = if carries { self.stream.room(node) } else { Stream::ROOM - lost };
            let here = &mut self.scene.nodes[node];
            let local = here.clock.local(self.scene.now);
            let mirror = here.mirror.as_mut().expect("it runs");
            let len = mirror.poll_stream(local, room, &mut self.pulled);
            assert!(len == self.pulled.len(), "the length of a message is not what was written");
            if len == 0 {
                break;
            }
            let message = self.pulled.split().freeze();
            if carries {
                self.stream.toward[1 - node].push(message);
            } else {
                lost = (lost + len).min(Stream::ROOM);
            }
        }
        if carries {
            self.schedule_stream(1 - node);
        }
    }

    /// Sees that the next message to a node arrives.
    pub(super) fn schedule_stream(&mut self, to: usize) {
        let life = self.stream.life;
        let lane = &mut self.stream.toward[to];
        if lane.scheduled || lane.queue.is_empty() {
            return;
        }
        lane.scheduled = true;
        let delay = self.weather.delay_min + self.prng.below(self.weather.delay_jitter);
        self.at(delay, Event::StreamDeliver { life, to });
    }

    /// The next message to a node arrives, unless the network is cut: then it is sent again.
    pub(super) fn stream_deliver(&mut self, life: u32, to: usize) {
        if life != self.stream.life || !self.stream.up {
            return;
        }
        if !self.scene.network.carries_stream() {
            return self.at(RESEND, Event::StreamDeliver { life, to });
        }
        self.stream.toward[to].scheduled = false;
        if self.scene.nodes[to].process != Process::Running {
            return;
        }
        let Some(message) = self.stream.toward[to].pop() else { return };
        self.note(Column::of(to), || format!("stream: {}", name(&message)));
        if let Some(remembered) = &mut self.stream.remembered {
            remembered.push((to, message.clone()));
        }
        self.observe_frames(to, &message);
        self.feed(to, Input::Stream { message });
        self.schedule_stream(to);
        if self.scene.nodes[1 - to].runs() {
            self.drain(1 - to);
        }
    }

    /// Reads frames as an observer on the wire would; the layout stands in `ha_replicate`.
    fn observe_frames(&mut self, node: usize, message: &[u8]) {
        if let [FRAMES, rest @ ..] = message
            && let Some((epoch, rest)) = rest.split_first_chunk()
            && let Some(records) = rest.get(COMMIT_LEN..)
        {
            let epoch = Epoch::from_bits(u64::from_be_bytes(*epoch));
            self.see(&Seen::Frames { node, epoch, records });
        }
    }

    /// The dialling node tries to connect, again and again.
    pub(super) fn dial(&mut self) {
        let again = 50 * MS + self.prng.below(100 * MS);
        self.at(again, Event::Dial);
        let ready = self.scene.nodes.iter().all(crate::node::Node::runs);
        let busy = self.stream.up || self.stream.is_connected(0);
        if busy || !ready || !self.scene.network.carries_stream() {
            return;
        }
        self.stream.shut();
        self.stream.life += 1;
        self.stream.up = true;
        if self.stream.is_connected(1) {
            self.stream.ends[1].connected = false;
            self.feed(1, Input::Disconnected);
        }
        self.stream.ends = [End { connected: true, life: self.stream.life }; 2];
        let first = self.prng.below(2) as usize;
        for node in [first, 1 - first] {
            self.note(Column::of(node), || "stream up".into());
            self.feed(node, Input::Connected);
        }
    }

    /// The session breaks, with everything on it; the ends notice each in their own time.
    pub(super) fn break_stream(&mut self) {
        if !self.stream.up {
            return;
        }
        self.stream.shut();
        let life = self.stream.life;
        for node in 0..2 {
            if self.stream.ends[node].connected {
                let after = 1 + self.prng.below(NOTICE_MAX);
                self.at(after, Event::StreamNotice { life, node });
            }
        }
    }

    /// A node notices that its session is gone.
    pub(super) fn stream_notice(&mut self, life: u32, node: usize) {
        let end = self.stream.ends[node];
        if !end.connected || end.life != life {
            return;
        }
        match self.scene.nodes[node].process {
            Process::Down => self.stream.ends[node].connected = false,
            Process::Paused => self.at(RESEND, Event::StreamNotice { life, node }),
            Process::Running => {
                self.stream.ends[node].connected = false;
                self.note(Column::of(node), || "stream down".into());
                self.feed(node, Input::Disconnected);
            }
        }
    }

    /// The network of the stream was cut a while ago: it breaks unless it is mended.
    pub(super) fn stream_timeout(&mut self, life: u32) {
        if life == self.stream.life && !self.scene.network.carries_stream() {
            self.break_stream();
        }
    }

    /// A process ended: its end is gone, and what was on the way to it.
    pub(super) fn stream_end_dies(&mut self, node: usize) {
        self.break_stream();
        self.stream.ends[node].connected = false;
    }

    /// The newest message of `kind` (its first byte) that arrived at a node since
    /// [`World::remember_stream`].
    pub fn remembered(&self, to: usize, kind: u8) -> Option<Bytes> {
        let mut messages = self.stream.remembered.iter().flatten().rev();
        let fits = |found: &&(usize, Bytes)| found.0 == to && found.1.first() == Some(&kind);
        messages.find(fits).map(|(_, message)| message.clone())
    }

    /// A script wants to say again what arrives from now on.
    pub fn remember_stream(&mut self) {
        self.stream.remembered = Some(Vec::new());
    }

    /// A script says to a running node what an old stream has kept for so long.
    pub fn say_late(&mut self, to: usize, message: Bytes) {
        self.note(Column::of(to), || format!("late: {}", name(&message)));
        self.observe_frames(to, &message);
        self.feed(to, Input::Stream { message });
    }
}

/// A message's name, by its first byte.
fn name(message: &[u8]) -> String {
    let kind = match message.first() {
        Some(1) => "Hello",
        Some(2) => "Sync",
        Some(3) => "Frames",
        Some(4) => "Ack",
        Some(5) => "Commit",
        Some(_) | None => "?",
    };
    format!("{kind}, {} bytes", message.len())
}

/// What a message with records begins with; before them, epoch and commit.
const FRAMES: u8 = 3;
const COMMIT_LEN: usize = 8;
/// How soon a lost segment is sent again.
const RESEND: u64 = 50 * MS;
/// How long a broken session may look whole to one of its ends.
const NOTICE_MAX: u64 = 1_500 * MS;
