//! What a proposal says, read from its bytes as an observer on the wire would: checkers compute
//! what follows from it by themselves.

use ha_core::heartbeat::group::Proposal;
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{NodeId, NodeSet};

use super::fact::Id;
use super::options::MEMBERS_MAX;

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
    /// Their weights, in eighths, by service and member.
    pub weights: Vec<[u16; MEMBERS_MAX]>,
}

impl Plan {
    /// Reads a whole proposal: its id and what it says.
    ///
    /// # Panics
    /// If it is none: it was just sent by a member.
    pub fn read(bytes: &[u8]) -> (Id, Self) {
        let proposal = Proposal::decode(bytes).expect("a member has just sent it");
        let plan = Self::decode(&proposal).expect("a member has just sent it");
        (Id::of(proposal.id), plan)
    }

    fn decode(proposal: &Proposal) -> Result<Self, DecodeError> {
        let mut from = Reader::new(&proposal.body);
        let _version = from.u8("the version")?;
        let base = Self::view(&mut from)?;
        let taken = Self::view(&mut from)?;
        let settled = from.u64("what has drained")?;
        let _digest_and_accord = (from.u64("the digest")?, from.u64("the accord")?);
        let _announcer = from.u8("the announcer")?;
        let services = usize::from(from.u8("the number of services")?);
        let mut weights = vec![[0; MEMBERS_MAX]; services];
        for member in proposal.members.keys() {
            let _mac = from.bytes(7, "a MAC")?;
            for weights in &mut weights {
                weights[usize::from(member.as_u8())] = from.u16("a weight")?;
            }
        }
        let members = proposal.members.keys().copied().collect();
        Ok(Self { base, taken, settled, members, weights })
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

    /// By how much a member may differ from its fair share: 1.2 buckets when all are equal, and by
    /// Sainte-Laguë a little more for who has much more weight than others (FG2 says 1 % of 4,096
    /// buckets; the simulator has 256).
    pub fn slack(&self, fair: f64, buckets: usize) -> f64 {
        let claims = f64::from(self.members.len());
        1.2_f64.max(0.5 + fair * claims / (2.0 * buckets as f64))
    }

    /// How many of `buckets` a member is to have by its weight; `None` if nobody has any weight.
    pub fn fair(&self, service: usize, node: usize, buckets: usize) -> Option<f64> {
        let total: u64 = self.weights[service].iter().map(|&weight| u64::from(weight)).sum();
        let weight = f64::from(self.weight(service, node));
        (total > 0).then(|| buckets as f64 * weight / total as f64)
    }
}
