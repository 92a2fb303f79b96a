//! Datagrams, sealed and opened.

use alloc::vec::Vec;

use bytes::Bytes;
use ha_heartbeat::group::{self, Beat, Part, Pull};
use ha_proto::wire::{self, Header, Keys, Kind, Packet, Reject};
use ha_proto::{Epoch, Instant, LinkId, NodeId};

use crate::farm::links::{self, Arrival};
use crate::farm::survey::{Hashing, Word};
use crate::farm::{Event, Farm, Identity};

impl Farm {
    /// A datagram came in.
    pub(super) fn receive(&mut self, now: Instant, link: LinkId, bytes: &[u8]) {
        let keys = self.keys.clone();
        let read = wire::open(bytes, &keys, self.config.identity.cluster)
            .and_then(|packet| self.read(now, link, &packet));
        if let Err(reject) = read
            && self.rejections.count(reject)
        {
            self.event(Event::Rejected(reject));
        }
    }

    fn read(&mut self, now: Instant, link: LinkId, packet: &Packet<'_>) -> Result<(), Reject> {
        let (header, body) = (&packet.header, packet.body);
        let from = header.sender;
        let identity = &self.config.identity;
        if header.module != identity.module || !identity.members.contains(from) {
            return Err(Reject::Misplaced);
        }
        let input = match header.kind {
            Kind::Beat | Kind::Ask | Kind::Answer => return Err(Reject::Misplaced),
            Kind::Member => {
                let (body, mutual) = links::split(header.flags, body, link, identity.me)?;
                let beat = Beat::decode(header.sequence, body)?;
                if beat.boot == self.group.boot() && from == identity.me {
                    return Err(Reject::Misplaced);
                }
                let (boot, number) = (beat.boot, beat.number);
                self.drive(now, group::Input::Beat { from, beat });
                self.hear_on(now, Arrival { from, link, boot, number, mutual });
                return Ok(());
            }
            Kind::Propose => {
                if from == identity.me {
                    return Err(Reject::Misplaced);
                }
                group::Input::Propose { from, part: Part::decode(body)? }
            }
            Kind::Part => group::Input::Part { from, part: Part::decode(body)? },
            Kind::Pull => {
                let pull = Pull::decode(body)?;
                self.give(link, from, &pull);
                return Ok(());
            }
            Kind::Survey => {
                if from == identity.me {
                    return Err(Reject::Misplaced);
                }
                let word = Word::decode(body)?;
                self.tell_asker(link, from, &word);
                return Ok(());
            }
        };
        self.drive(now, input);
        Ok(())
    }

    /// A beat came on this network. The same one comes on each, so it may be no news to the group.
    fn hear_on(&mut self, now: Instant, it: Arrival) {
        /// Beats by which one network may be slower than another.
        const LAG: u64 = 2;
        // A recording of former beats would make a network work that does not.
        let newest = self.group.newest(it.from);
        let believed = |(boot, number)| boot == it.boot && it.number.saturating_add(LAG) >= number;
        if newest.is_some_and(believed) {
            self.links.hear(now, it);
        }
    }

    /// Somebody asks for the tables of a view.
    fn give(&mut self, link: LinkId, to: NodeId, pull: &Pull) {
        // A recording would make this node answer who does not ask.
        let asks = self.group.peer(to).and_then(|peer| peer.boot) == Some(pull.boot);
        let Some(parts) = self.shelf.parts(pull.id).filter(|_| asks) else { return };
        let total = parts.len() as u16;
        for part in pull.part..pull.part.saturating_add(pull.count).min(total) {
            let bytes = parts[usize::from(part)].clone();
            let boot = self.group.boot();
            let part = Part { boot, id: pull.id, part, parts: total, bytes };
            let datagram = self.seal(Head::of(Kind::Part, 0), |out| part.encode(out));
            self.transmit(link, to, datagram);
        }
    }

    /// Somebody who starts asks which hash is in use here, whether it was chosen or configured.
    fn tell_asker(&mut self, link: LinkId, to: NodeId, asked: &Word) {
        let takes = self.group.stands_by().is_none();
        let hashing = Hashing::of(&self.config.policy.hash);
        let Some(word) = asked.answer(self.group.boot(), hashing, takes) else { return };
        let datagram = word.seal(&self.config.identity, &self.keys);
        self.transmit(link, to, datagram);
    }

    pub(super) fn send_beat(&mut self, now: Instant, beat: &Beat) {
        assert!(beat.boot == self.group.boot(), "it would speak for another process");
        let count = self.config.identity.links;
        let head = Head { flags: links::flags(count), ..Head::of(Kind::Member, beat.number) };
        let datagram = self.seal(head, |out| {
            beat.encode(out);
            self.links.encode(now, count, out);
        });
        for to in self.others() {
            self.send(to, &datagram);
        }
    }

    pub(super) fn send_proposal(&mut self, to: NodeId, part: &Part) {
        let datagram = self.seal(Head::of(Kind::Propose, 0), |out| part.encode(out));
        self.send(to, &datagram);
    }

    pub(super) fn send_pull(&mut self, to: NodeId, pull: &Pull) {
        let datagram = self.seal(Head::of(Kind::Pull, 0), |out| pull.encode(out));
        self.send(to, &datagram);
    }

    fn send(&mut self, to: NodeId, datagram: &Bytes) {
        assert!(to != self.me(), "it would hear itself as another");
        for link in self.links() {
            self.transmit(link, to, datagram.clone());
        }
    }

    fn seal(&self, head: Head, body: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        seal(&self.config.identity, &self.keys, head, body)
    }
}

/// What differs between the headers of a member's datagrams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    kind: Kind,
    sequence: u64,
    flags: u8,
}

impl Head {
    pub(super) const fn of(kind: Kind, sequence: u64) -> Self {
        Self { kind, sequence, flags: 0 }
    }
}

/// A datagram of this member's.
pub(super) fn seal(
    identity: &Identity,
    keys: &Keys,
    Head { kind, sequence, flags }: Head,
    body: impl FnOnce(&mut Vec<u8>),
) -> Bytes {
    let header = Header {
        kind,
        sender: identity.me,
        flags,
        cluster: identity.cluster,
        module: identity.module,
        waited: 0,
        epoch: Epoch::NONE,
        sequence,
        echo: 0,
    };
    let mut bytes = Vec::new();
    body(&mut bytes);
    wire::seal_long(&header, &bytes, keys).into()
}
