//! Datagrams: sent, and arriving.

use core::time::Duration;

use ha_core::farm::Input;
use ha_proto::LinkId;

use super::{Event, World};
use crate::farm::check::Seen;
use crate::farm::fact::Fact;
use crate::farm::network::Parcel;
use crate::farm::node::Heard;
use crate::farm::scene::id;
use crate::node::Process;

impl World {
    /// Puts a datagram on its way, if it is not lost.
    pub(super) fn send(&mut self, parcel: &Parcel) {
        let [once, twice] = self.scene.network.fate(&mut self.prng, &self.weather, parcel);
        for delay in [twice, once].into_iter().flatten() {
            let slot = self.scene.network.post(parcel.clone());
            self.at(delay, Event::Deliver { slot });
        }
    }

    /// A datagram arrives at a member.
    pub(super) fn deliver(&mut self, slot: usize) {
        let parcel = self.scene.network.take(slot);
        let here = &mut self.scene.nodes[parcel.to];
        match here.process {
            Process::Down => {}
            Process::Paused => self.keep(parcel),
            Process::Running if here.busy.is_some() => self.keep(parcel),
            Process::Running => self.receive(&parcel),
        }
    }

    fn keep(&mut self, parcel: Parcel) {
        let inbox = &mut self.scene.nodes[parcel.to].inbox;
        if inbox.len() < INBOX_MAX {
            inbox.push_back(parcel);
        }
    }

    /// A running member reads a datagram.
    pub(super) fn receive(&mut self, parcel: &Parcel) {
        self.observe_gap(parcel.to);
        self.observe_received(parcel);
        let link = LinkId(parcel.link);
        self.feed(parcel.to, Input::Datagram { link, bytes: &parcel.datagram });
    }

    fn observe_received(&mut self, parcel: &Parcel) {
        let (now, node) = (self.scene.now, parcel.to);
        match &parcel.fact {
            Fact::Beat(said) => {
                let here = &self.scene.nodes[node];
                let echo = said.echo(node, here.boot);
                let local = here.local(now);
                let early = local < here.begun + Duration::from_nanos(self.scene.spans.interval);
                let fresh = if early { here.fresh } else { 0 };
                let number = here.said.as_ref().map_or(0, |said| said.number);
                let numbers = &mut self.scene.nodes[node].numbers[said.from];
                if !numbers.believe(said, echo, number, fresh) {
                    return;
                }
                self.note_pair(node, said.from);
                let mutual = said.hears.contains(id(node)) && echo > 0;
                if !mutual || !self.scene.hears(node, said.from) {
                    self.scene.unlink(node, said.from);
                }
                let here = &mut self.scene.nodes[node];
                let at = here.local(now);
                here.heard[said.from] = Some(Heard { at, said: said.clone() });
                here.highest = here.highest.max(said.view.counter).max(said.highest);
                self.note_link(node, said.from);
                self.see(&Seen::Heard { node, said });
            }
            Fact::Propose { from, boot, id } | Fact::Passes { from, boot, id } => {
                let (from, id) = (*from, *id);
                let here = &mut self.scene.nodes[node];
                if here.numbers[from].believed.is_some_and(|(believed, _)| believed == *boot) {
                    here.highest = here.highest.max(id.counter);
                    here.offers.entry(id).or_default().insert(from);
                }
            }
            Fact::Pull { .. } | Fact::Part { .. } => {}
        }
    }

    /// Lets what scripts hold go, oldest first.
    pub fn release(&mut self) {
        for parcel in std::mem::take(&mut self.scene.network.held) {
            let slot = self.scene.network.post(parcel);
            self.at(1_000, Event::Deliver { slot });
        }
    }
}

/// What the sockets' buffers hold: a paused daemon finds them full when it goes on.
const INBOX_MAX: usize = 512;
