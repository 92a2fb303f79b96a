//! The node's loop.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::ops::ControlFlow;
use std::prelude::rust_2024::*;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use ha_proto::{Instant, LinkId, ModuleId, wire};
use ha_replicate::MESSAGE_MAX;
use tracing::{debug, info};

use super::Failure;
use super::clock::{Alarm, Clock};
use super::mailbox::{Letter, Mailbox};
use super::module::{Module, Ports};
use super::session::{self, Session};
use super::upgrade::Leaving;
use crate::{Input, Source};

/// All modules of a process, and what they share.
///
/// One turn gives every source of facts a bounded share: datagrams first, since a late heartbeat
/// costs a takeover, bulk last. What is left over is due at once, after the others.
pub(super) struct Loop {
    pub(super) clock: Clock,
    pub(super) alarm: Alarm,
    pub(super) ports: Ports,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) modules: Vec<Module>,
    /// Where each module stands among them.
    pub(super) places: BTreeMap<ModuleId, usize>,
    pub(super) session: Option<Session>,
    pub(super) letters: Vec<Letter>,
    /// The modules that may have a message for the stream.
    pub(super) streaming: Vec<usize>,
    /// Another process is to go on as soon as all modules can hand over.
    pub(super) leaving: Option<Leaving>,
}

impl Loop {
    /// One turn; ready when the driver shall end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let mut more = self.receive(cx);
        if let ControlFlow::Break(end) = self.read_letters(cx) {
            return Poll::Ready(end);
        }
        // Nothing new is begun while what is under way comes to its end.
        let begins = self.leaving.is_none();
        if begins {
            more |= self.stream_in(cx);
            for module in self.modules.iter_mut().filter(|it| !it.proposals.is_empty()) {
                more |= module.propose(self.clock.now());
            }
        }
        self.perform();
        if begins {
            more |= self.stream_out(cx);
        } else if let ControlFlow::Break(end) = self.settle_leaving(cx) {
            return Poll::Ready(end);
        }
        if more {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.sleep(cx).map_err(|source| Failure::Io { what: "the timer", source })
    }

    /// Takes datagrams from all sockets.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { clock, ports, modules, places, .. } = self;
        let mut more = false;
        for (link, port) in ports.links.iter().enumerate() {
            let source = Source::Peer(LinkId(link as u8));
            more |= port.receive(cx, |bytes, from| {
                let module = wire::peek_module(bytes).and_then(|id| places.get(&id));
                if module.is_none() {
                    debug!(%from, "a datagram for no module of this process");
                }
                // The first one refuses and counts what is for none.
                let at = module.copied().unwrap_or(0);
                modules[at].tell(clock.now(), Input::Datagram { source, bytes });
            });
        }
        for (place, port) in ports.witnesses.iter().enumerate() {
            let source = Source::Witness;
            more |= port.receive(cx, |bytes, from| {
                let module = wire::peek_module(bytes).and_then(|id| places.get(&id));
                let named = module.copied().filter(|&at| modules[at].asks(place));
                if named.is_none() {
                    debug!(%from, "an answer for no module of this process");
                }
                let first = || modules.iter().position(|module| module.asks(place));
                if let Some(at) = named.or_else(first) {
                    modules[at].tell(clock.now(), Input::Datagram { source, bytes });
                }
            });
        }
        more
    }

    /// Reads what other threads have sent; breaks at the end of the driver.
    fn read_letters(&mut self, cx: &mut Context<'_>) -> ControlFlow<Result<(), Failure>> {
        let mut letters = mem::take(&mut self.letters);
        self.mailbox.collect(cx, &mut letters);
        for letter in letters.drain(..) {
            let now = self.clock.now();
            match letter {
                Letter::Done { module, ticket, answer } => {
                    self.modules[module].tell(now, Input::Done { ticket, answer });
                }
                Letter::Propose { module, proposal } => {
                    self.modules[module].proposals.push_back(proposal);
                }
                Letter::Order { module, order, reply } => {
                    // Who ordered may have gone.
                    let _ = reply.send(self.modules[module].order(now, order));
                }
                Letter::Resource { module, index, up, blocks } => {
                    self.modules[module].tell(now, Input::Resource { index, up, blocks });
                }
                Letter::AddressLost { module } => {
                    self.modules[module].tell(now, Input::AddressLost);
                }
                #[cfg(feature = "etcd")]
                Letter::Witness { module, datagram } => {
                    let bytes = datagram.as_bytes();
                    let source = Source::Witness;
                    self.modules[module].tell(now, Input::Datagram { source, bytes });
                }
                Letter::Inspect { module, look } => look(&self.modules[module].mirror),
                Letter::Session(session) => self.connected(now, *session),
                Letter::Died { thread } => {
                    return ControlFlow::Break(Err(Failure::Panicked(thread)));
                }
                Letter::HandOver { patience, reply } => {
                    self.leaving = Some(Leaving { until: now + patience, reply });
                }
                Letter::Shutdown => return ControlFlow::Break(Ok(())),
            }
        }
        self.letters = letters;
        ControlFlow::Continue(())
    }

    /// A stream is up; one before is gone with all that was on it.
    fn connected(&mut self, now: Instant, session: Session) {
        self.disconnected(now);
        self.session = Some(session);
        for module in &mut self.modules {
            module.tell(now, Input::Connected);
        }
    }

    fn disconnected(&mut self, now: Instant) {
        if self.session.take().is_some() {
            for module in &mut self.modules {
                module.tell(now, Input::Disconnected);
            }
        }
    }

    fn stream_in(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(session) = &mut self.session else { return false };
        let (clock, modules, places) = (&self.clock, &mut self.modules, &self.places);
        let read = session.read(cx, &mut |id, message| {
            if let Some(&at) = places.get(&id) {
                modules[at].tell(clock.now(), Input::Stream { message });
            } else {
                debug!(module = id.0, "a message for no module of this process");
            }
        });
        self.went(read, "read from")
    }

    fn stream_out(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(session) = &mut self.session else { return false };
        let modules = self.modules.iter().enumerate();
        self.streaming.clear();
        self.streaming.extend(modules.filter(|(_, module)| module.streams).map(|(at, _)| at));
        let places = &self.streaming;
        let mut turns = Turns { now: self.clock.now(), modules: &mut self.modules, places };
        let written = session.write(cx, &mut turns);
        self.went(written, "write to")
    }

    /// Whether more can be moved at once; a broken stream is taken down, and the modules told.
    fn went(&mut self, moved: io::Result<bool>, what: &'static str) -> bool {
        match moved {
            Ok(more) => more,
            Err(error) => {
                info!(%error, "cannot {what} the replication stream: it is down");
                self.disconnected(self.clock.now());
                true
            }
        }
    }

    /// Calls the modules whose time has come, and performs what any of them wants.
    fn perform(&mut self) {
        let Self { clock, ports, modules, .. } = self;
        let now = clock.now();
        for module in modules {
            if module.due.is_some_and(|due| due <= now) {
                module.tell(now, Input::Timeout);
            }
            if module.touched {
                module.perform(ports);
            }
        }
    }

    /// Arms the alarm for the soonest deadline.
    fn sleep(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.modules.iter().any(|module| module.touched) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            let leaving = self.leaving.as_ref().map(|leaving| leaving.until);
            let due = self.modules.iter().filter_map(|module| module.due).chain(leaving).min();
            if due.is_some_and(|due| due <= self.clock.now()) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(due) = due
                && let Err(error) = self.alarm.arm(due)
            {
                return Poll::Ready(Err(error));
            }
            match self.alarm.poll(cx) {
                // It rang for an earlier deadline: armed again for the present one.
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Drop for Loop {
    /// Whoever waits for an answer hears that there will be none.
    fn drop(&mut self) {
        self.mailbox.close();
        for module in &self.modules {
            module.shared.permits.close();
            // Nobody is to be sent here by what was true once.
            module.status.send_replace(None);
        }
    }
}

/// Some modules as sources of messages for the stream.
struct Turns<'a> {
    now: Instant,
    modules: &'a mut [Module],
    places: &'a [usize],
}

impl session::Source for Turns<'_> {
    fn count(&self) -> usize {
        self.places.len()
    }

    fn poll(
        &mut self,
        place: usize,
        room: usize,
        buffer: &mut BytesMut,
        bulk: &mut Option<Bytes>,
    ) -> (ModuleId, usize) {
        let module = &mut self.modules[self.places[place]];
        let len = module.mirror.poll_stream_parts(self.now, room, buffer, bulk);
        if len > 0 {
            // What was sent may have moved the deadline.
            module.due = module.mirror.poll_timeout().map(|deadline| deadline.at);
        }
        // With less room than for any message it may have one nevertheless.
        module.streams = len > 0 || room < MESSAGE_MAX;
        (module.shared.id, len)
    }
}
