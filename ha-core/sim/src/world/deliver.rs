//! Datagrams: sent, and arriving.

use ha_core::{Input, Source};

use super::World;
use crate::check::Seen;
use crate::fact::Fact;
use crate::network::{Channel, Parcel, Site};
use crate::node::Process;
use crate::queue::Event;
use crate::trace::Column;

impl World {
    /// Puts a datagram on its way, if it is not lost.
    pub(super) fn send(&mut self, parcel: Parcel) {
        let fate = self.scene.network.fate(&mut self.prng, &self.weather, &parcel);
        let [once, twice] = fate;
        if let Some(delay) = twice {
            let slot = self.scene.network.post(parcel.clone());
            self.at(delay, Event::Deliver { slot });
        }
        if let Some(delay) = once {
            let slot = self.scene.network.post(parcel);
            self.at(delay, Event::Deliver { slot });
        }
    }

    /// A datagram arrives at a site.
    pub(super) fn deliver(&mut self, slot: usize) {
        let parcel = self.scene.network.take(slot);
        match parcel.to {
            Site::Witness => self.deliver_to_witness(parcel),
            Site::Node(node) => {
                let here = &mut self.scene.nodes[node];
                match here.process {
                    Process::Paused if here.inbox.len() < INBOX_MAX => here.inbox.push_back(parcel),
                    Process::Down | Process::Paused => {}
                    Process::Running => self.receive(node, &parcel),
                }
            }
        }
    }

    /// A running node reads a datagram.
    pub(super) fn receive(&mut self, node: usize, parcel: &Parcel) {
        let channel = Channel::between(parcel.from, parcel.to, parcel.link);
        self.scene.network.arrived[channel.0] = self.scene.now;
        let source = match parcel.from {
            Site::Node(_) => Source::Peer(parcel.link),
            Site::Witness => Source::Witness,
        };
        self.observe_received(node, &parcel.fact);
        self.feed(node, Input::Datagram { source, bytes: parcel.datagram.as_bytes() });
    }

    fn observe_received(&mut self, node: usize, fact: &Fact) {
        self.see(&Seen::RightsChange { node });
        self.see(&Seen::Received { node, fact });
        let now = self.scene.now;
        let (from, timeout) = (self.scene.nodes[1 - node].id, self.scene.timeout);
        let here = &mut self.scene.nodes[node];
        let local = here.local(now);
        match fact {
            Fact::Beat(beat) => {
                let epoch = here.disk.saved.membership.epoch;
                here.rights.beat_heard(local, beat, from, epoch, timeout);
            }
            Fact::Answer(answer) => {
                here.rights.answered(answer);
                self.note(Column::of(node), || {
                    let register = answer.register.map(|register| register.membership.to_string());
                    let register = register.unwrap_or_default();
                    format!("W -> #{} {:?} {register}", answer.number, answer.outcome)
                });
            }
            Fact::Ask(_) => unreachable!("nodes do not ask each other"),
        }
    }

    /// Lets a script's held datagrams go, oldest first.
    pub fn release(&mut self) {
        for parcel in std::mem::take(&mut self.scene.network.held) {
            let slot = self.scene.network.post(parcel);
            self.at(1_000, Event::Deliver { slot });
        }
    }

    /// What rules hold back arrives, and is held on: a stranger says it again.
    pub fn say_again(&mut self) {
        let held = self.scene.network.held.clone();
        self.release();
        self.scene.network.held = held;
    }
}

/// What a socket's buffer holds: a paused process finds it full when it goes on.
pub(super) const INBOX_MAX: usize = 256;
