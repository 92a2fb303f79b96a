//! The witness's process: asks in, answers and stores out.

use ha_proto::wire::{self, Header, Kind};
use ha_proto::{Epoch, LinkId, Machine, Membership, NodeId};
use ha_quorum::{Ask, arbiter};

use super::World;
use super::build::{CLUSTER, MODULE};
use super::deliver::INBOX_MAX;
use crate::check::Seen;
use crate::fact::Fact;
use crate::network::{Channel, Parcel, Site};
use crate::node::Process;
use crate::queue::Event;
use crate::trace::Column;
use crate::witness::Storing;

impl World {
    /// An ask arrives at the witness's socket.
    pub(super) fn deliver_to_witness(&mut self, parcel: Parcel) {
        match self.scene.witness.process {
            Process::Paused if self.scene.witness.inbox.len() < INBOX_MAX => {
                self.scene.witness.inbox.push_back(parcel);
            }
            Process::Down | Process::Paused => {}
            Process::Running => self.witness_reads(&parcel),
        }
    }

    /// The running witness reads an ask.
    pub(super) fn witness_reads(&mut self, parcel: &Parcel) {
        let channel = Channel::between(parcel.from, parcel.to, parcel.link);
        self.scene.network.arrived[channel.0] = self.scene.now;
        let packet = wire::open(parcel.datagram.as_bytes(), &self.keys, CLUSTER);
        let packet = packet.expect("the network does not damage datagrams");
        let ask = Ask::decode(packet.header.sender, packet.body).expect("a node asked this");
        let input = arbiter::Input::Ask { cluster: CLUSTER, module: packet.header.module, ask };
        self.see(&Seen::Asked { ask: &ask });
        self.witness_feed(input);
    }

    fn witness_feed(&mut self, input: arbiter::Input) {
        let witness = &mut self.scene.witness;
        let local = witness.clock.local(self.scene.now);
        let arbiter = witness.arbiter.as_mut().expect("a running process has its machine");
        arbiter.handle(local, input, &mut self.arbiter_box);
        while let Some(output) = self.arbiter_box.pop() {
            match output {
                arbiter::Output::Answer { answer, .. } => self.witness_answers(&answer),
                arbiter::Output::Store { ticket, register } => {
                    let text = || format!("store {}", register.membership);
                    self.note(Column::W, text);
                    let witness = &mut self.scene.witness;
                    assert!(witness.storing.is_none(), "one store at a time for one pair");
                    let arbiter::Input::Ask { ask, .. } = input else {
                        unreachable!("the witness stores only while it reads");
                    };
                    witness.storing = Some(Storing { ticket, register, ask, at: local });
                    let life = witness.life;
                    let slow = self.prng.chance(self.weather.slow);
                    let extra = if slow { self.prng.below(self.weather.slow_max) } else { 0 };
                    let disk = self.weather.disk_min + self.prng.below(self.weather.disk_jitter);
                    self.at(disk + extra, Event::WitnessStore { life });
                }
                arbiter::Output::Event(event) => self.note(Column::W, || match event {
                    arbiter::Event::Changed { register, by, request } => {
                        format!("{by} {request:?}: {}", register.membership)
                    }
                    arbiter::Event::StoreFailed { .. } | arbiter::Event::Replayed { .. } => {
                        format!("{event:?}")
                    }
                }),
            }
        }
    }

    fn witness_answers(&mut self, answer: &ha_quorum::Answer) {
        let to = self.scene.index(answer.to);
        let parcel = self.answer_parcel(to, answer);
        self.send(parcel);
    }

    /// The answer as it leaves, and what observers learn by that.
    pub(super) fn answer_parcel(&mut self, to: usize, answer: &ha_quorum::Answer) -> Parcel {
        let witness = &mut self.scene.witness;
        witness.sequence += 1;
        let epoch = answer.register.map_or(Epoch::NONE, |register| register.membership.epoch);
        if let Some(register) = answer.register {
            witness.told = true;
            // A clerk may tell what it saw before the other one's change.
            let older = |told: Membership| told.epoch > register.membership.epoch;
            if !(witness.plain.is_some() && witness.told_record.is_some_and(older)) {
                witness.told_record = Some(register.membership);
            }
            // Only what is told is so, and what a restart would tell: a store that failed may be
            // on the disk or not.
            let kept = witness.stored.map(|stored| stored.membership.set).unwrap_or_default();
            let set = kept.union(register.membership.set);
            for node in &mut self.scene.nodes {
                node.lost_storage &= set.contains(node.id);
            }
        }
        let header = Header {
            kind: Kind::Answer,
            sender: NodeId::new(NodeId::MAX).expect("the highest id is one"),
            flags: 0,
            cluster: CLUSTER,
            module: MODULE,
            waited: 0,
            epoch,
            sequence: witness.sequence,
            echo: answer.number,
        };
        let datagram = wire::seal(&header, |body| answer.encode(body), &self.keys);
        let fact = Fact::read(&datagram);
        self.see(&Seen::Sent { from: Site::Witness, fact: &fact });
        Parcel { from: Site::Witness, to: Site::Node(to), link: LinkId(0), datagram, fact }
    }

    /// A store ends.
    pub(super) fn witness_stored(&mut self, life: u32) {
        let witness = &mut self.scene.witness;
        if witness.life != life {
            return;
        }
        match witness.process {
            Process::Down => unreachable!("a process that ended has another life"),
            Process::Paused => witness.store_waits = true,
            Process::Running => self.witness_store_ends(),
        }
    }

    pub(super) fn witness_store_ends(&mut self) {
        let witness = &mut self.scene.witness;
        let Some(step) = witness.storing.take() else { return };
        let failed = std::mem::take(&mut witness.disk_fail);
        if !failed || self.prng.chance(500_000) {
            self.store(&step);
        }
        let Storing { ticket, register, .. } = step;
        if !failed {
            self.scene.witness.kept = Some(register);
        }
        self.witness_feed(if failed {
            arbiter::Input::StoreFailed { ticket }
        } else {
            arbiter::Input::Stored { ticket }
        });
    }

    fn store(&mut self, step: &Storing) {
        self.scene.witness.stored = Some(step.register);
        self.see(&Seen::Stored { step });
    }

    /// The witness's process is killed: what it was storing is stored or not.
    pub(crate) fn witness_kill(&mut self) {
        let witness = &mut self.scene.witness;
        if witness.process == Process::Down {
            return;
        }
        witness.process = Process::Down;
        witness.life += 1;
        witness.arbiter = None;
        witness.inbox.clear();
        witness.store_waits = false;
        let storing = witness.storing.take();
        self.note(Column::W, || "killed".into());
        if let Some(step) = storing
            && self.prng.chance(500_000)
        {
            self.store(&step);
        }
    }

    /// The paused witness goes on, and reads what waits.
    pub(super) fn witness_resume(&mut self, life: u32) {
        let witness = &mut self.scene.witness;
        if witness.life != life || witness.process != Process::Paused {
            return;
        }
        witness.process = Process::Running;
        let inbox = std::mem::take(&mut witness.inbox);
        let stored = std::mem::take(&mut witness.store_waits);
        self.note(Column::W, || "goes on".into());
        if self.scene.witness.plain.is_some() {
            self.plain_release();
        }
        if stored {
            self.witness_store_ends();
        }
        for parcel in inbox {
            self.witness_reads(&parcel);
        }
    }
}
