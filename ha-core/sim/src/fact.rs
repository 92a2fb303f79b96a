//! What a datagram says, read from its bytes as an observer on the wire would.

use ha_heartbeat::Beat;
use ha_proto::NodeId;
use ha_proto::wire::{Datagram, Header, Kind};
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
    /// Reads a datagram that was just sealed; the receiver checks its MAC, this does not.
    ///
    /// # Panics
    /// When a machine sealed what nobody can read: that is a bug, and a finding.
    pub fn read(datagram: &Datagram) -> Self {
        let bytes = datagram.as_bytes();
        let body = &bytes[Header::LEN..bytes.len() - MAC_LEN];
        let sequence = *bytes[SEQUENCE_AT..].first_chunk().expect("the header is whole");
        match Kind::from_u8(bytes[KIND_AT]) {
            Some(Kind::Beat) => {
                let number = u64::from_be_bytes(sequence);
                Self::Beat(Beat::decode(number, body).expect("encoded just now"))
            }
            Some(Kind::Ask) => {
                let sender = NodeId::new(bytes[SENDER_AT]).expect("a node sealed it");
                Self::Ask(Ask::decode(sender, body).expect("encoded just now"))
            }
            Some(Kind::Answer) => Self::Answer(Answer::decode(body).expect("encoded just now")),
            Some(Kind::Member | Kind::Propose | Kind::Pull | Kind::Part | Kind::Survey) => {
                panic!("a pair sends no datagram of a farm")
            }
            None => panic!("nobody knows datagrams of kind {}", bytes[KIND_AT]),
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

/// Where the header has what is read here; see `ha_proto::wire`.
const KIND_AT: usize = 5;
const SENDER_AT: usize = 6;
const SEQUENCE_AT: usize = 32;
const MAC_LEN: usize = 16;
