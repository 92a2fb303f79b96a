//! What the failure detector says: beats out, life and words of the peer in.

use ha_heartbeat::{Beat, Input, Output as Said};
use ha_proto::wire::{self, Header, Kind};
use ha_proto::{Epoch, Instant, LinkId, Machine, Membership, Outbox};
use ha_quorum::{Grantor, Promise, Vote, shorter};

use crate::io::{Destination, Output};
use crate::mirror::Facts;
use crate::{Event, Mirror};

impl Mirror {
    /// Calls the detector and translates all that it says.
    pub(super) fn detect(&mut self, now: Instant, input: Input) {
        let mut out = core::mem::replace(&mut self.boxes.detector, Outbox::new(0));
        self.detector.handle(now, input, &mut out);
        while let Some(said) = out.pop() {
            match said {
                Said::Beat { peer: _, link, link_echo, beat } => {
                    self.send_beat(link, link_echo, &beat);
                }
                Said::Heard { peer: _, beat, fresh, promised } => {
                    self.heard(now, &beat, fresh, promised);
                }
                Said::PeerUp(peer, _) => {
                    self.met_peer_again(now);
                    self.event(Event::PeerUp(peer));
                }
                Said::PeerDown(peer, _) => {
                    self.peer = None;
                    self.outdate();
                    self.outside.lost_peer(now, self.config.timing.timeout);
                    self.event(Event::PeerDown(peer));
                }
                Said::PeerRestarted { peer, boot: _ } => {
                    self.peer = None;
                    self.event(Event::PeerRestarted(peer));
                }
                Said::LinkUp(_, link) => self.event(Event::LinkUp(link)),
                Said::LinkDown(_, link) => self.event(Event::LinkDown(link)),
                Said::Paused(length) => {
                    // R8, R10: whoever missed something begins to wait for its turn anew.
                    self.vacant = None;
                    self.look_anew(now);
                    self.event(Event::Paused(length));
                }
                Said::Replayed { peer: _, link: _ } => self.event(Event::Replayed),
            }
        }
        self.boxes.detector = out;
    }

    fn send_beat(&mut self, link: LinkId, link_echo: u64, beat: &Beat) {
        let identity = self.config.identity;
        let waited = self.detector.waited(identity.peer, link, self.now);
        let header = Header {
            kind: Kind::Beat,
            sender: identity.me,
            flags: 0,
            cluster: identity.cluster,
            module: identity.module,
            waited: u32::try_from(waited.as_micros()).unwrap_or(u32::MAX),
            epoch: beat.status.membership.epoch,
            sequence: beat.number,
            echo: link_echo,
        };
        let datagram = wire::seal(&header, |mut body| beat.encode(&mut body), &self.keys);
        self.say(Output::Transmit { to: Destination::Peer(link), datagram });
    }

    /// A beat was accepted. Whatever it says of epochs counts (R3); what it says of its sender
    /// counts only if it proves that the sender lives, and is the newest such word.
    fn heard(&mut self, now: Instant, beat: &Beat, fresh: bool, promised: Option<Instant>) {
        self.outside.heard_beat(now);
        let newest = self
            .peer
            .is_none_or(|peer| peer.echo.boot != beat.boot || peer.echo.number <= beat.number);
        if fresh && newest {
            self.peer = Some(Facts { told: beat.status, echo: beat.to_echo() });
            self.heard = Some((now, beat.status));
        }
        let told = beat.status.membership;
        // The witness may have made a reign of what this node was before it was forced. One of the
        // peer's ends the override: there would be two primaries for as long as both are heard.
        if told.holder != self.me() || !self.overrides(told) {
            self.learn(now, told);
        }
        if fresh && newest {
            self.heard_tell(beat);
            self.consider_promise(now, beat);
        }
        if let Some(sent) = promised {
            self.renewed_by_peer(now, sent);
        }
    }

    /// R6: the peer itself says, of an epoch not lower than any that binds this node, that it does
    /// not hold it.
    fn heard_tell(&mut self, beat: &Beat) {
        let told = beat.status.membership;
        let serving = beat.status.role.serves() || beat.status.asks;
        if told.holder != self.peer_id() && !serving {
            self.binding.freed_by_tell(told.epoch, self.memory.epoch());
            self.forget_promise();
        }
    }

    fn forget_promise(&mut self) {
        if self.binding.promise().is_none() {
            self.promise = None;
        }
    }

    /// R6: a node that does not serve says yes to the renewal of an epoch not lower than its own.
    fn consider_promise(&mut self, now: Instant, beat: &Beat) {
        let asked = beat.status.membership;
        let by_holder = beat.status.asks && asked.holder == self.peer_id();
        // A reign that this very beat ends is over once all is settled: the next beat is answered.
        let idle = self.service.is_harmless() && !self.reign.leads();
        if by_holder && asked.epoch == self.memory.epoch() && idle {
            let promise = Promise { boot: beat.boot, number: beat.number, epoch: asked.epoch };
            self.binding.promised(now, promise);
            self.promise = Some(beat.to_echo());
        }
    }

    /// R6: the peer says yes to the renewal that this node sent at `sent`: it does not serve, and
    /// will not. So nothing that this node promised to it, or may have before it booted, binds.
    fn renewed_by_peer(&mut self, now: Instant, sent: Instant) {
        let counts = self.holds() && sent >= self.tenure_began;
        if counts && now < sent + shorter(self.config.timing.lease) {
            assert!(sent <= now, "a lease would begin in the future");
            self.tenure.granted(Grantor::Peer, sent);
            self.binding.freed_by_promise();
            self.promise = None;
            self.plan.taken();
            (self.agreed, self.yielded) = (true, false);
        }
    }

    /// R3: whoever learns a higher epoch takes that record over whole. Without a witness a primary
    /// that meets another one compares lineages first.
    pub(super) fn learn(&mut self, now: Instant, told: Membership) -> bool {
        let known = self.memory.wanted().membership;
        if told.epoch == Epoch::NONE || told.epoch <= known.epoch {
            return false;
        }
        let strange = known.epoch != Epoch::NONE && known.data != told.data;
        // A blank node that is forced names data that W then corrects: who heard of it follows.
        let provisional = known.epoch.is_override() && known.holder != self.me();
        if strange && !told.epoch.is_override() && !provisional {
            if !core::mem::replace(&mut self.witness.data_told, true) {
                self.event(Event::NoCommonHistory);
            }
            return false;
        }
        if self.config.policy.vote != Vote::Arbiter && self.is_contested(told) {
            return false;
        }
        self.found(told);
        let newer = self.memory.learn(told);
        assert!(newer, "R3: an older record would be acted on");
        self.learned(now, known, told);
        true
    }

    /// A node that named the data and finds itself alone in the register founded them: there is
    /// nothing that it could lack.
    fn found(&mut self, told: Membership) {
        let founder = self.memory.wanted().membership.data == told.data && told.is_alone(self.me());
        if self.is_founding() && founder {
            self.memory.set_state(ha_proto::DataState::Complete);
        }
    }

    fn learned(&mut self, now: Instant, known: Membership, told: Membership) {
        let me = self.me();
        if told.holder != me {
            self.drop_tenure(now);
            self.plan.taken();
            (self.agreed, self.yielded) = (false, false);
            self.lost_contest = false;
        } else if known.holder != me {
            self.tenure_began = now;
            self.plan.took_over = !self.peer_is_alive();
        }
        self.excluding = None;
    }
}
