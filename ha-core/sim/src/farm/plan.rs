//! What a proposal says, read from its bytes as an observer on the wire would: checkers compute
//! what follows from it by themselves.

use std::collections::BTreeMap;

use ha_core::heartbeat::group::Proposal;
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{NodeId, NodeSet};

use super::fact::Id;
use super::options::MEMBERS_MAX;
use super::services::{SERVICES, Set};

/// What a view is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The view whose tables come before; the zero view for none.
    pub base: Id,
    /// The view of a group that joins; the zero view for none.
    pub taken: Id,
    /// What views up to this counter moved has drained.
    pub settled: u64,
    /// Its members.
    pub members: NodeSet,
    /// Their boots.
    pub boots: BTreeMap<usize, u64>,
    /// Who answers ARP.
    pub announcer: usize,
    /// The number of the rules that it is of.
    pub accord: u64,
    /// The services of those rules, in their order.
    pub set: Set,
    /// Their weights, in eighths, by service and member; of no service that it is not of.
    pub weights: [[u16; MEMBERS_MAX]; SERVICES],
}

impl Plan {
    /// Reads a whole proposal: its id and what it says.
    ///
    /// # Panics
    /// If it is none: it was just sent by a member.
    pub fn read(bytes: &[u8], accords: &BTreeMap<u64, Set>) -> (Id, Self) {
        let proposal = Proposal::decode(bytes).expect("a member has just sent it");
        let plan = Self::decode(&proposal, accords).expect("a member has just sent it");
        (Id::of(proposal.id), plan)
    }

    fn decode(proposal: &Proposal, accords: &BTreeMap<u64, Set>) -> Result<Self, DecodeError> {
        let mut from = Reader::new(&proposal.body);
        let _version = from.u8("the version")?;
        let base = Self::view(&mut from)?;
        let taken = Self::view(&mut from)?;
        let settled = from.u64("what has drained")?;
        let _digest = from.u64("the digest")?;
        let accord = from.u64("the accord")?;
        let set = accords.get(&accord).expect("files say no other rules").clone();
        let announcer = usize::from(from.u8("the announcer")?);
        let services = usize::from(from.u8("the number of services")?);
        assert!(services == set.len(), "a weight would be read as another service's");
        let mut weights = [[0; MEMBERS_MAX]; SERVICES];
        for member in proposal.members.keys() {
            let _mac = from.bytes(7, "a MAC")?;
            for &service in &set {
                weights[service][usize::from(member.as_u8())] = from.u16("a weight")?;
            }
        }
        let members = proposal.members.keys().copied().collect();
        let boots = proposal.members.iter();
        let boots = boots.map(|(node, boot)| (usize::from(node.as_u8()), boot.0)).collect();
        Ok(Self { base, taken, settled, members, boots, announcer, accord, set, weights })
    }

    fn view(from: &mut Reader<'_>) -> Result<Id, DecodeError> {
        let counter = from.u64("a view")?;
        let coordinator = from.u8("a view")?;
        Ok(Id { counter, coordinator, boot: from.u64("a view")? })
    }

    /// A member's weight in a service; 0 of who is none.
    pub fn weight(&self, service: usize, node: usize) -> u16 {
        let member = NodeId::new(node as u8).is_some_and(|node| self.members.contains(node));
        if member { self.weights[service][node] } else { 0 }
    }

    /// Whether anybody is to take new clients.
    pub fn has_weight(&self, service: usize) -> bool {
        self.weights[service].iter().any(|&weight| weight > 0)
    }
}
