//! The stream to the peer: greetings, and which message is due.

use bytes::{Bytes, BytesMut};
use ha_proto::codec::DecodeError;
use ha_proto::{Comparison, DataState, Epoch, Instant, Outbox};

use crate::event::{Event, Output, PeerEvent};
use crate::log::{Log, Mode};
use crate::message::{Hello, Message};

/// What both sides have said since the stream was opened.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts, not a hidden state")]
pub(crate) struct Session {
    pub(crate) connected: bool,
    /// Number of our last greeting. It is never reset, so that an order that answers an older one
    /// is known for what it is.
    pub(crate) number: u64,
    /// A greeting is to be sent.
    pub(crate) greets: bool,
    /// It asks the peer to greet again.
    pub(crate) again: bool,
    /// An order that answers our last greeting was accepted: the log may differ from it by now.
    pub(crate) answered: bool,
    /// The peer's last greeting.
    pub(crate) greeting: Option<Hello>,
    /// An order answered it, so that the peer's log may differ from it by now.
    pub(crate) used: bool,
    pub(crate) comparison: Option<Comparison>,
    /// The peer holds a reign too, as this node does or did on this stream: two have met. Each
    /// greets the other anew in each of its reigns, since only then do lineages tell who goes on.
    pub(crate) rival: bool,
    /// The reign in which this node last greeted as a leader.
    greeted_in: Option<Epoch>,
    /// A refused epoch was told since our last greeting.
    told_refusal: bool,
}

impl Session {
    /// A new stream, or none: nothing that was said before counts.
    fn reset(&mut self, connected: bool) {
        *self = Self { connected, greets: connected, number: self.number, ..Self::default() };
    }
}

impl Log {
    pub(crate) fn on_connection(&mut self, connected: bool) {
        self.session.reset(connected);
        self.abandon_job();
        match &mut self.mode {
            Mode::Detached => {}
            Mode::Leading(leader) => leader.lose_peer(),
            Mode::Following(follower) => follower.lose_leader(),
        }
        self.peer_read_is_stale();
    }

    pub(crate) fn on_message(&mut self, bytes: &bytes::Bytes, out: &mut Outbox<Output>) {
        if !self.session.connected {
            self.counters.ignored += 1;
            return;
        }
        match Message::decode(bytes) {
            Ok(Message::Hello(hello)) => self.on_hello(hello, out),
            Ok(Message::Sync(sync)) => self.on_sync(sync, out),
            Ok(Message::Frames(frames)) => self.on_frames(frames, out),
            Ok(Message::Ack(ack)) => self.on_ack(&ack, out),
            Ok(Message::Commit(commit)) => self.on_commit(commit, out),
            Err(error) => self.on_malformed(error, out),
        }
    }

    /// Whether `epoch` is lower than ours (R3). Once for each greeting that is news.
    pub(crate) fn refuses(&mut self, epoch: Epoch, out: &mut Outbox<Output>) -> bool {
        let Some(ours) = self.membership.map(|ours| ours.epoch).filter(|&ours| epoch < ours) else {
            return false;
        };
        self.counters.refused_epoch += 1;
        if !self.session.told_refusal {
            self.session.told_refusal = true;
            out.push(Output::Event(Event::RefusedEpoch { theirs: epoch, ours }));
        }
        true
    }

    /// Writes the message that is due, if there is one that fits.
    pub(crate) fn write_message(
        &mut self,
        now: Instant,
        room: usize,
        buf: &mut BytesMut,
        bulk: &mut Option<Bytes>,
    ) -> usize {
        if self.failed || !self.session.connected {
            return 0;
        }
        let start = buf.len();
        if self.session.greets && (self.leads() || self.is_at_rest()) {
            self.write_hello(room, buf);
        } else {
            match &self.mode {
                Mode::Detached => {}
                Mode::Leading(_) => self.write_as_leader(now, room, buf, bulk),
                Mode::Following(_) => self.write_as_follower(room, buf),
            }
        }
        let len = buf.len() - start + bulk.as_ref().map_or(0, Bytes::len);
        assert!(len <= room, "a driver would overrun its buffer");
        len
    }

    fn write_hello(&mut self, room: usize, buf: &mut BytesMut) {
        let hello = Hello {
            number: self.session.number + 1,
            leading: self.leads(),
            again: self.session.again,
            state: self.state,
            store: self.store,
            position: self.journal.durable(),
            membership: self.membership,
            lineage: self.lineage.clone(),
        };
        if !write_whole(room, buf, |out| hello.encode(out)) {
            return;
        }
        self.counters.hellos += 1;
        self.session.number = hello.number;
        self.session.greeted_in = hello.membership.filter(|_| hello.leading).map(|ours| ours.epoch);
        self.session.greets = false;
        self.session.again = false;
        self.session.answered = false;
        self.session.told_refusal = false;
    }

    fn on_hello(&mut self, hello: Hello, out: &mut Outbox<Output>) {
        let leads = self.leads();
        let head = if leads { self.journal.head() } else { self.journal.durable() };
        let comparison = self.lineage.compare(head, &hello.lineage, hello.position);
        self.session.comparison = Some(comparison);
        out.push(Output::Peer(PeerEvent::Hello {
            comparison,
            membership: hello.membership,
            lineage: hello.lineage.clone(),
            position: hello.position,
            store: hello.store,
            state: hello.state,
            leading: hello.leading,
        }));
        if hello.again && !leads {
            self.greet_again();
        }
        if hello.leading || hello.membership.is_some_and(|told| told.holder == self.config.peer) {
            self.meet_rival();
        }
        self.session.greeting = Some(hello);
        self.session.used = false;
        if leads {
            self.judge_greeting(out);
        }
    }

    /// A message has come that only another holder sends.
    pub(crate) fn meet_rival(&mut self) {
        if self.leads() {
            self.session.rival = true;
            let ours = self.membership.map(|ours| ours.epoch);
            self.session.greets |= self.session.greeted_in != ours;
        }
    }

    fn on_malformed(&mut self, error: DecodeError, out: &mut Outbox<Output>) {
        self.counters.corrupt += 1;
        out.push(Output::Event(Event::Malformed(error)));
    }

    /// Whether the peer greeted with the data of another bootstrap, which nobody may overwrite.
    pub(crate) fn is_foreign(&self, hello: &Hello) -> bool {
        let (Some(ours), Some(theirs)) = (self.membership, hello.membership) else { return false };
        hello.state != DataState::Blank && ours.data != theirs.data
    }
}

/// Writes a message, unless it is longer than `room`.
pub(crate) fn write_whole(
    room: usize,
    buf: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut),
) -> bool {
    let start = buf.len();
    write(buf);
    let fits = buf.len() - start <= room;
    if !fits {
        buf.truncate(start);
    }
    fits
}
