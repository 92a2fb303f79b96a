//! What a datagram says, read from its bytes as an observer on the wire would.

use ha_heartbeat::Beat;
use ha_proto::wire::{self, Datagram, Keys, Kind};
use ha_proto::ClusterId;
use ha_quorum::{Answer, Ask, Request};

/// What a datagram says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fact {
    /// Node to node.
    Beat(Beat),
    /// Node to witness.
    Ask(Ask),
    /// Witness to node.
    Answer(Answer),
}

impl Fact {
    /// Reads a datagram that was just sealed.
    ///
    /// # Panics
    /// When a machine sealed what it cannot open: that is a bug, and a finding.
    pub fn read(datagram: &Datagram, keys: &Keys, cluster: ClusterId) -> Self {
        let packet = wire::open(datagram.as_bytes(), keys, cluster).expect("sealed just now");
        match packet.header.kind {
            Kind::Beat => Self::Beat(
                Beat::decode(packet.header.sequence, packet.body).expect("encoded just now"),
            ),
            Kind::Ask => {
                Self::Ask(Ask::decode(packet.header.sender, packet.body).expect("encoded just now"))
            }
            Kind::Answer => Self::Answer(Answer::decode(packet.body).expect("encoded just now")),
        }
    }

    /// The request, if this is an ask.
    pub fn request(&self) -> Option<Request> {
        match self {
            Self::Ask(ask) => Some(ask.request),
            Self::Beat(_) | Self::Answer(_) => None,
        }
    }
}
