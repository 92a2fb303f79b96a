//! One module in the node's loop.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::prelude::rust_2024::*;
use std::sync::Arc;

use bytes::Bytes;
use ha_proto::wire::{Datagram, Reject};
use ha_proto::{Epoch, Instant, LinkId, ModuleId, Ticket};
use ha_replicate::ProposeError;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use super::handle::Shared;
use super::hosting::{GuardJob, HostJob, Hosting};
use super::mailbox::Proposal;
use super::probe::Prober;
use super::udp::Port;
use crate::event::Level;
use crate::store::Storage;
use crate::{Destination, Effect, Event, Input, Mirror, Order, OrderError, Output, Status};

/// Whoever wants to hear of each event at once.
pub(super) type Observers = Vec<Box<dyn Fn(ModuleId, Epoch, &Event) + Send + Sync>>;

/// A module's machine and whatever performs its effects.
pub(super) struct Module {
    pub(super) mirror: Mirror,
    pub(super) shared: Arc<Shared>,
    pub(super) status: watch::Sender<Option<Status>>,
    /// Ends before the storage: an application that runs has somewhere to write.
    pub(super) hosting: Hosting,
    pub(super) storage: Storage,
    pub(super) prober: Prober,
    pub(super) observers: Arc<Observers>,
    /// Whether its application goes on without this process.
    pub(super) outlives: bool,
    /// Where the peer hears, link by link.
    pub(super) peers: Vec<SocketAddr>,
    /// The place of its witness's socket, and where the witness hears.
    pub(super) witness: Option<(usize, SocketAddr)>,
    /// What stands in its place where an etcd keeps the register.
    #[cfg(feature = "etcd")]
    pub(super) clerk: Option<super::clerk::Caller>,
    pub(super) proposals: VecDeque<Proposal>,
    /// When it wants to be called although nothing happens.
    pub(super) due: Option<Instant>,
    /// Whether it was told something since its outputs were polled.
    pub(super) touched: bool,
    /// Whether it may have a message for the stream: it was told something since it had none.
    pub(super) streams: bool,
}

/// The sockets that all modules share.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) links: Vec<Port>,
    pub(super) witnesses: Vec<Port>,
}

impl Module {
    /// Whether it asks the witness at this place.
    pub(super) fn asks(&self, witness: usize) -> bool {
        self.witness.is_some_and(|(place, _)| place == witness)
    }

    /// Tells the machine one fact.
    pub(super) fn tell(&mut self, now: Instant, input: Input<'_>) {
        self.mirror.handle_input(now, input);
        (self.touched, self.streams) = (true, true);
    }

    /// Gives the machine an order; what it answers.
    pub(super) fn order(&mut self, now: Instant, order: Order) -> Result<(), OrderError> {
        let answer = self.mirror.order(now, order);
        (self.touched, self.streams) = (true, true);
        let module = self.shared.id.0;
        match answer {
            Ok(()) => info!(module, ?order, "an order is accepted"),
            Err(error) => warn!(module, ?order, %error, "an order is refused"),
        }
        answer
    }

    /// Proposes what waits, as much as the window takes and one turn allows; whether more could
    /// follow at once.
    pub(super) fn propose(&mut self, now: Instant) -> bool {
        let mut taken = 0;
        while let Some(proposal) = self.proposals.front() {
            if taken == PROPOSE_MAX {
                break;
            }
            let result = self.mirror.propose(now, &proposal.record);
            if result == Err(ProposeError::Full) {
                break;
            }
            taken += 1;
            let proposal = self.proposals.pop_front().expect("it was looked at above");
            match (proposal.reply, result) {
                // Who proposed may have gone.
                (Some(reply), result) => drop(reply.send(result)),
                (None, Ok(_)) => {}
                (None, Err(why)) => self.refuse(proposal.record, why),
            }
        }
        if taken > 0 {
            self.shared.permits.add_permits(taken);
            // Closes the batch.
            self.tell(now, Input::Timeout);
        }
        taken == PROPOSE_MAX
    }

    /// Performs all that the machine wants done.
    pub(super) fn perform(&mut self, ports: &Ports) {
        let mut beats = false;
        while let Some(output) = self.mirror.poll_output() {
            match output {
                Output::Transmit { to, datagram } => {
                    beats |= matches!(to, Destination::Peer(_));
                    self.send(ports, to, &datagram);
                }
                Output::Effect { ticket, effect } => self.effect(ticket, effect),
                Output::Event(event) => self.event(event),
            }
        }
        if beats {
            self.hosting.beat();
        }
        self.touched = false;
        self.due = self.mirror.poll_timeout().map(|deadline| deadline.at);
        let status = self.mirror.status();
        self.status.send_if_modified(|last| {
            let changed = *last != Some(status);
            *last = Some(status);
            changed
        });
    }

    fn send(&self, ports: &Ports, to: Destination, datagram: &Datagram) {
        let bytes = datagram.as_bytes();
        let sent = match to {
            Destination::Peer(LinkId(link)) => {
                let link = usize::from(link);
                ports.links[link].send(bytes, self.peers[link])
            }
            #[cfg(feature = "etcd")]
            Destination::Witness if let Some(clerk) = &self.clerk => clerk.ask(datagram),
            Destination::Witness => match self.witness {
                Some((place, address)) => ports.witnesses[place].send(bytes, address),
                None => false,
            },
        };
        if !sent {
            debug!(module = self.shared.id.0, ?to, "a datagram is lost here");
        }
    }

    fn effect(&self, ticket: Ticket, effect: Effect) {
        let (storage, hosting) = (&self.storage, &self.hosting);
        match effect {
            Effect::Save(saved) => storage.save(ticket, saved),
            Effect::Append(batch) => storage.append(ticket, batch),
            Effect::SetAside { from } => storage.set_aside(ticket, from),
            Effect::Truncate { keep } => storage.truncate(ticket, keep),
            Effect::Read { what: _, from, max } => storage.read(ticket, from, max),
            Effect::Apply(batch) => hosting.host(HostJob::Apply { ticket, batch }),
            Effect::Reset => hosting.host(HostJob::Reset { ticket }),
            Effect::StartApp { epoch, head } => {
                hosting.host(HostJob::Start { ticket, epoch, head });
            }
            Effect::AdoptApp { epoch, head } => {
                hosting.host(HostJob::Adopt { ticket, epoch, head });
            }
            Effect::AdoptAddress { epoch, lifetime } => {
                hosting.guard(GuardJob::Adopt { ticket, epoch, lifetime });
            }
            Effect::StopApp { force } => hosting.host(HostJob::Stop { ticket, force }),
            Effect::Fence { epoch } => hosting.guard(GuardJob::Fence { ticket, epoch }),
            Effect::TakeAddress { epoch, lifetime } => {
                hosting.guard(GuardJob::Take { ticket, epoch, lifetime });
            }
            Effect::KeepAddress { lifetime } => hosting.guard(GuardJob::Keep { ticket, lifetime }),
            Effect::Probe { target, within } => self.prober.probe(ticket, target, within),
            Effect::DropAddress => hosting.guard(GuardJob::Drop { ticket }),
        }
    }

    fn event(&self, event: Event) {
        let epoch = self.mirror.saved_state().membership.epoch;
        log(self.shared.id.0, epoch, &event);
        for observer in self.observers.iter() {
            observer(self.shared.id, epoch, &event);
        }
        if let Event::PeerUp(_) | Event::LinkUp(_) = event {
            self.shared.heard.notify_one();
            self.hosting.announce();
        }
        self.hosting.note(HostJob::Observe(event));
    }

    fn refuse(&self, record: Bytes, why: ProposeError) {
        self.hosting.host(HostJob::Refused { record, why });
    }
}

/// Each event once, at the level that says who should look at it.
fn log(module: u16, epoch: Epoch, event: &Event) {
    if let Event::Rejected(reject) = event {
        let keys = *reject == Reject::Mac;
        let mend = if keys { ": give both nodes one key_file" } else { "" };
        return warn!(module, %epoch, "a datagram of the peer is refused, {reject}{mend}");
    }
    match event.level() {
        Level::Error => error!(module, %epoch, ?event),
        Level::Warn => warn!(module, %epoch, ?event),
        Level::Info => info!(module, %epoch, ?event),
        Level::Debug => debug!(module, %epoch, ?event),
    }
}

/// Records that one module may propose in one turn: some hundred microseconds of work.
const PROPOSE_MAX: usize = 1024;
