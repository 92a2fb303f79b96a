//! The plain store at work: asks into clerks, reads and writes over the network, answers out.

use ha_proto::{Instant, Machine, Ticket};
use ha_quorum::clerk::{self, Input, Output, Stored};
use ha_quorum::{Answer, Ask, Clerk, Entry};

use super::World;
use super::build::{CLUSTER, MODULE};
use crate::check::Seen;
use crate::network::{self, Channel, Site};
use crate::node::Process;
use crate::plain::{Act, Desk, Job, Plain, Reply, Rule};
use crate::queue::Event;
use crate::trace::Column;
use crate::weather::MS;
use crate::witness::Storing;

impl World {
    fn plain(&mut self) -> &mut Plain {
        self.scene.witness.plain.as_mut().expect("this world has a plain store")
    }

    /// A node's process starts: its clerk has seen nothing yet.
    pub(super) fn plain_boot(&mut self, node: usize) {
        let (me, lease) = (self.scene.nodes[node].id, self.scene.lease);
        if let Some(plain) = &mut self.scene.witness.plain {
            let config = clerk::Config { cluster: CLUSTER, module: MODULE, me, lease };
            let clerk = Some(Clerk::new(config).expect("a profile's lease"));
            plain.desks[node] = Desk { clerk, ..Desk::default() };
        }
    }

    /// A node's process ends. What it wanted is under way all the same.
    pub(super) fn plain_end(&mut self, node: usize) {
        if let Some(plain) = &mut self.scene.witness.plain {
            plain.desks[node] = Desk::default();
        }
    }

    /// A node asks its clerk, which hears it at once.
    pub(super) fn plain_ask(&mut self, node: usize, ask: &Ask) {
        self.see(&Seen::Asked { ask });
        self.plain_feed(node, Input::Ask(*ask));
    }

    fn plain_feed(&mut self, node: usize, input: Input) {
        let now = self.scene.now;
        let local = self.scene.nodes[node].clock.local(now);
        let mut out = ha_proto::Outbox::new(Clerk::OUTPUTS_MAX);
        let clerk = self.plain().desks[node].clerk.as_mut().expect("a running process has one");
        clerk.handle(local, input, &mut out);
        while let Some(output) = out.pop() {
            match output {
                Output::Answer(answer) => self.plain_answers(node, &answer),
                Output::Read { ticket } | Output::Write { ticket, .. } => {
                    self.plain_wants(node, ticket, &output);
                }
            }
        }
        let clerk = self.plain().desks[node].clerk.as_ref().expect("it was just told something");
        let Some(deadline) = clerk.deadline() else { return };
        let at = self.scene.nodes[node].clock.true_at(deadline.at);
        let life = self.scene.nodes[node].life;
        let timer = &mut self.plain().desks[node].timer;
        if timer.is_none_or(|timer| at < timer || timer <= now) {
            *timer = Some(at);
            self.queue.push(at, Event::PlainWake { node, life });
        }
    }

    /// A clerk's deadline may have come.
    pub(super) fn plain_wake(&mut self, node: usize, life: u32) {
        let here = &self.scene.nodes[node];
        if here.life == life && here.process == Process::Running {
            self.plain().desks[node].timer = None;
            self.plain_feed(node, Input::Tick);
        }
    }

    /// No socket lies between a clerk and its node, but a thread does.
    fn plain_answers(&mut self, node: usize, answer: &Answer) {
        let parcel = self.answer_parcel(node, answer);
        let slot = self.scene.network.post(parcel);
        let after = 1_000 + self.prng.below(100_000);
        self.at(after, Event::Deliver { slot });
    }

    /// The adapter asks the store: bounded by R, over a network that loses, delays and doubles.
    fn plain_wants(&mut self, node: usize, ticket: Ticket, output: &Output) {
        let life = self.scene.nodes[node].life;
        if let Output::Write { over, entry, .. } = *output {
            let over = over.map_or(0, |over| over.revision);
            self.note(Column::of(node), || format!("-> store over {over}: {}", describe(&entry)));
        }
        let round_trip = self.options.profile.timing().round_trip;
        let patience = self.scene.nodes[node].clock.true_span(round_trip);
        // It is refused at once where no process listens, now and then.
        let down = self.scene.witness.process == Process::Down && self.prng.chance(500_000);
        let within = if down { MS } else { patience / 3 + self.prng.below(patience * 2 / 3) };
        self.at(within, Event::PlainTimeout { node, life, ticket: ticket.0 });
        let mute = match self.plain().rule(node, output) {
            Some(Act::Hold) => {
                return self.plain().waiting.push(Job { node, life, output: *output, mute: false });
            }
            Some(Act::Mute) => true,
            None => false,
        };
        let job = Job { node, life, output: *output, mute };
        // A second time, when the first member said nothing in time, or later still.
        for delay in self.ways(Site::Node(node), Site::Witness).into_iter().flatten() {
            let disk = self.plain_disk(output);
            let number = self.plain_number();
            self.plain().jobs.insert(number, job);
            self.at(delay + disk, Event::PlainDo { number });
        }
    }

    /// How long the store takes.
    fn plain_disk(&mut self, output: &Output) -> u64 {
        if matches!(output, Output::Read { .. }) {
            return 0;
        }
        let slow = self.prng.chance(self.weather.slow);
        let extra = if slow { self.prng.below(self.weather.slow_max) } else { 0 };
        self.weather.disk_min + self.prng.below(self.weather.disk_jitter) + extra
    }

    fn plain_number(&mut self) -> u64 {
        let plain = self.plain();
        plain.number += 1;
        plain.number
    }

    /// After which times something arrives: once, twice or never.
    fn ways(&mut self, from: Site, to: Site) -> [Option<u64>; 2] {
        let channel = Channel::between(from, to, ha_proto::LinkId(0));
        if !self.scene.network.carries(channel) || self.prng.chance(self.weather.loss) {
            return [None, None];
        }
        let once = network::delay(&mut self.prng, &self.weather);
        let twice = self.prng.chance(self.weather.twice);
        let again = twice.then(|| network::delay(&mut self.prng, &self.weather));
        [Some(once), again]
    }

    /// Something reaches the store.
    pub(super) fn plain_do(&mut self, number: u64) {
        let job = self.plain().jobs.remove(&number).expect("it arrives once");
        match self.scene.witness.process {
            Process::Down => {}
            Process::Paused => self.plain().waiting.push(job),
            Process::Running => self.plain_perform(&job),
        }
    }

    /// What waited is done, oldest first.
    pub fn plain_release(&mut self) {
        for job in std::mem::take(&mut self.plain().waiting) {
            self.plain_perform(&job);
        }
    }

    fn plain_perform(&mut self, job: &Job) {
        let incarnation = self.scene.witness.incarnation;
        let held = self.plain().held;
        let (ticket, input) = match job.output {
            Output::Answer(_) => unreachable!("an answer is for the node"),
            Output::Write { ticket, over, entry, ask } if held == over => {
                let failed = std::mem::take(&mut self.scene.witness.disk_fail);
                if failed && self.prng.chance(500_000) {
                    return;
                }
                let revision = self.plain().revision + 1;
                self.plain().revision = revision;
                self.plain_stores(ticket, Stored { revision, entry }, &ask);
                if failed {
                    return;
                }
                (ticket, Some(Input::Written { ticket, incarnation, revision }))
            }
            Output::Read { ticket } | Output::Write { ticket, .. } => (ticket, None),
        };
        if job.mute {
            return self.note(Column::W, || "(nobody hears of it)".into());
        }
        let input = input.unwrap_or(Input::Holds { ticket, incarnation, stored: held });
        for delay in self.ways(Site::Witness, Site::Node(job.node)).into_iter().flatten() {
            let number = self.plain_number();
            let reply = Reply { node: job.node, life: job.life, input };
            self.plain().replies.insert(number, reply);
            self.at(delay, Event::PlainReply { number });
        }
    }

    fn plain_stores(&mut self, ticket: Ticket, stored: Stored, ask: &Ask) {
        let incarnation = self.scene.witness.incarnation;
        let text = || format!("{} {:?}: {}", ask.from, ask.request, describe(&stored.entry));
        self.note(Column::W, text);
        self.plain().held = Some(stored);
        let register =
            self.plain().register().filter(|register| register.incarnation == incarnation);
        self.scene.witness.stored = register;
        if let Some(register) = register {
            // A store has no clock: true time.
            let at = Instant::from_nanos(self.scene.now);
            let step = Storing { ticket, register, ask: *ask, at };
            self.see(&Seen::Stored { step: &step });
        }
        self.scene.witness.kept = register;
    }

    /// An answer of the store reaches a node.
    pub(super) fn plain_reply(&mut self, number: u64) {
        let reply = self.plain().replies.remove(&number).expect("it arrives once");
        self.plain_told(reply.node, reply.life, reply.input);
    }

    /// A node's adapter waits no longer.
    pub(super) fn plain_timeout(&mut self, node: usize, life: u32, ticket: u64) {
        self.plain_told(node, life, Input::Failed { ticket: Ticket(ticket) });
    }

    fn plain_told(&mut self, node: usize, life: u32, input: Input) {
        let here = &self.scene.nodes[node];
        if here.life != life {
            return;
        }
        match here.process {
            Process::Down => unreachable!("a process that ended has another life"),
            Process::Paused => self.plain().desks[node].deferred.push(input),
            Process::Running => self.plain_feed(node, input),
        }
    }

    /// A paused process goes on: what came meanwhile is read, and its clerk looks at the clock.
    pub(super) fn plain_resume(&mut self, node: usize) {
        if self.scene.witness.plain.is_none() {
            return;
        }
        for input in std::mem::take(&mut self.plain().desks[node].deferred) {
            self.plain_feed(node, input);
        }
        self.plain_feed(node, Input::Tick);
    }

    /// The store is lost; now and then it comes back as a copy of what it was, under another
    /// identity.
    pub(super) fn plain_lost(&mut self) {
        if self.scene.witness.plain.is_none() {
            return;
        }
        let restored = self.prng.chance(300_000);
        let plain = self.plain();
        plain.waiting.clear();
        if !restored {
            plain.held = None;
        }
        self.scene.witness.kept = None;
    }

    /// From now on does `act` with the next `times` things that a node's clerk wants.
    pub fn plain_rule(&mut self, node: usize, wants: fn(&Output) -> bool, act: Act, times: u32) {
        self.plain().rules.push(Rule { node, wants, act, times });
    }
}

/// An entry in a few words, for the trace.
fn describe(entry: &Entry) -> String {
    match entry {
        Entry::Register(register) => format!("{} *{}", register.membership, register.renewals),
        Entry::Note(note) => format!("note of {}: {}", note.from, note.membership),
    }
}
