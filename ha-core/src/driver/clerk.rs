//! The thread of a pair's clerk: between the node and the store that keeps its register.

use core::time::Duration;
use std::format;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::prelude::rust_2024::*;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;

use ha_proto::wire::{self, Datagram, Keys};
use ha_proto::{Machine, Outbox};
use ha_quorum::clerk::{Config, Input, Output};
use ha_quorum::{Ask, Clerk};
use tracing::{debug, info_span};

use super::Clock;
use super::arbiter::seal;
use super::etcd::{Gateway, Outcome};
use crate::raw::{Etcd, NodeConfig};

/// A clerk at work. It takes the datagrams that would go to an arbiter and gives the answers that
/// would come from one; no socket lies between, and while etcd is waited for, the node's loop goes
/// on.
///
/// It ends with this. What etcd is being asked just then goes on for R at most, and nobody waits
/// for it: applications are to be stopped meanwhile.
#[derive(Debug)]
pub(super) struct Caller {
    asks: SyncSender<Datagram>,
}

impl Caller {
    /// Starts the thread. `answer` is called on it with each answer; `died` with its name if it
    /// panicked.
    pub(super) fn start(
        node: &NodeConfig,
        etcd: &Etcd,
        keys: Keys,
        answer: impl Fn(Datagram) + Send + 'static,
        died: impl Fn(&str) + Send + 'static,
    ) -> io::Result<Self> {
        let identity = node.config.identity();
        let timing = node.config.timing();
        let (cluster, module, me) = (identity.cluster, identity.module, identity.me);
        let config = Config { cluster, module, me, lease: timing.lease };
        let clerk = Clerk::new(config).map_err(io::Error::other)?;
        let clock = Clock::start();
        let (from, pair) = (node.witness_from, (cluster, module));
        let gateway = Gateway::new(etcd, from, pair, timing.round_trip, clock);
        let (asks, todo) = sync_channel(ASKS_MAX);
        let mut desk = Desk { clerk, config, keys, clock, gateway, answer, todo: None };
        let span = info_span!("etcd", module = module.0);
        let name = format!("ha-etcd-{}", module.0);
        thread::Builder::new().name(name.clone()).spawn(move || {
            let _span = span.entered();
            if catch_unwind(AssertUnwindSafe(|| desk.serve(&todo))).is_err() {
                died(&name);
            }
        })?;
        Ok(Self { asks })
    }

    /// Passes on what the node asks; false when it is lost, because too much waits.
    pub(super) fn ask(&self, datagram: &Datagram) -> bool {
        self.asks.try_send(*datagram).is_ok()
    }
}

/// The clerk with all that it needs.
struct Desk<A> {
    clerk: Clerk,
    config: Config,
    keys: Keys,
    clock: Clock,
    gateway: Gateway,
    answer: A,
    /// The effect that the clerk waits for.
    todo: Option<Output>,
}

impl<A: Fn(Datagram)> Desk<A> {
    /// Until nobody asks any more.
    fn serve(&mut self, asks: &Receiver<Datagram>) {
        loop {
            let wait = self
                .clerk
                .deadline()
                .map_or(IDLE, |next| next.at.saturating_since(self.clock.now()));
            match asks.recv_timeout(wait) {
                Ok(datagram) => self.hear(&datagram),
                Err(RecvTimeoutError::Timeout) => self.handle(Input::Tick),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Some(effect) = self.todo.take() {
                let done = self.perform(&effect);
                // What was asked meanwhile is heard first: only the newest of it is to be answered.
                let (newest, more) = newest(asks);
                if !more {
                    return;
                }
                if let Some(datagram) = newest {
                    self.hear(&datagram);
                }
                self.handle(done);
            }
        }
    }

    fn hear(&mut self, datagram: &Datagram) {
        let packet = wire::open(datagram.as_bytes(), &self.keys, self.config.cluster);
        let packet = packet.expect("this process has sealed it with these keys");
        let ask = Ask::decode(packet.header.sender, packet.body).expect("its node has asked this");
        self.handle(Input::Ask(ask));
    }

    fn handle(&mut self, input: Input) {
        let mut out = Outbox::new(Clerk::OUTPUTS_MAX);
        self.clerk.handle(self.clock.now(), input, &mut out);
        while let Some(output) = out.pop() {
            match output {
                Output::Answer(answer) => {
                    let (cluster, module) = (self.config.cluster, self.config.module);
                    (self.answer)(seal(cluster, module, &answer, &self.keys));
                }
                Output::Read { .. } | Output::Write { .. } => {
                    assert!(self.todo.is_none(), "an effect that is forgotten is never answered");
                    self.todo = Some(output);
                }
            }
        }
    }

    fn perform(&mut self, effect: &Output) -> Input {
        let (ticket, came) = match *effect {
            Output::Answer(_) => unreachable!("an answer is not waited for"),
            Output::Read { ticket } => (ticket, self.gateway.read()),
            Output::Write { ticket, over, entry, ask } => {
                debug!(request = ?ask.request, ?entry, "a write to etcd");
                (ticket, self.gateway.write(over, &entry))
            }
        };
        match came {
            Some((incarnation, Outcome::Holds(stored))) => {
                Input::Holds { ticket, incarnation, stored }
            }
            Some((incarnation, Outcome::Written(revision))) => {
                Input::Written { ticket, incarnation, revision }
            }
            None => Input::Failed { ticket },
        }
    }
}

/// The newest of the asks that wait, if any does, and whether there will be more.
fn newest(asks: &Receiver<Datagram>) -> (Option<Datagram>, bool) {
    let mut newest = None;
    loop {
        match asks.try_recv() {
            Ok(datagram) => newest = Some(datagram),
            Err(TryRecvError::Empty) => return (newest, true),
            Err(TryRecvError::Disconnected) => return (newest, false),
        }
    }
}

/// Asks that may wait: a node sends a few within R, and only the newest is answered. As many as a
/// voter remembers.
const ASKS_MAX: usize = 8;
/// How long nothing is waited for at most, when there is nothing to wait for.
const IDLE: Duration = Duration::from_hours(1);
