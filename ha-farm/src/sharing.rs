//! Who is to give buckets, and who is to get them, on the way from one table to the next.

use alloc::vec::Vec;

use ha_proto::{NodeId, NodeSet};

use crate::quota::{Claim, quotas};
use crate::{Bucket, Plan};

const IDS: usize = NodeId::MAX as usize + 1;

/// What is still to be moved. Once it is done, nothing is missing and nothing is spare.
pub(crate) struct Sharing {
    /// Members, whatever their weight.
    members: NodeSet,
    /// Members with a weight.
    takers: NodeSet,
    /// How many settled buckets each is to give for balance.
    spare: [usize; IDS],
    /// How many each is to get.
    missing: [usize; IDS],
}

impl Sharing {
    pub(crate) fn new(buckets: &[Bucket], plan: &Plan<'_>) -> Self {
        let weighty = plan.weights.iter().filter(|(_, weight)| **weight > 0);
        let takers: NodeSet = weighty.map(|(node, _)| *node).collect();
        let members = plan.weights.keys().copied().collect();
        let (mut holds, mut settled) = ([0; IDS], [0; IDS]);
        let mut homeless = 0;
        for bucket in buckets {
            match bucket.owner {
                Some(owner) if takers.contains(owner) => {
                    holds[at(owner)] += 1;
                    settled[at(owner)] += usize::from(!bucket.drains());
                }
                Some(_) | None => homeless += 1,
            }
        }
        let nodes: Vec<NodeId> = takers.iter().collect();
        let claims: Vec<Claim> = nodes
            .iter()
            .map(|node| Claim { weight: plan.weights[node], holds: holds[at(*node)] })
            .collect();
        let mut sharing = Self { members, takers, spare: [0; IDS], missing: [0; IDS] };
        for (&node, quota) in nodes.iter().zip(quotas(&claims, buckets.len())) {
            let node = at(node);
            sharing.spare[node] = holds[node].saturating_sub(quota).min(settled[node]);
            sharing.missing[node] = quota.saturating_sub(holds[node]);
        }
        if !takers.is_empty() {
            sharing.ration(homeless + sharing.spare.iter().sum::<usize>());
        }
        sharing
    }

    /// While something drains there may be less to get than is missing: each gets the same part
    /// of it, rounded down, and the lowest ids what is left then.
    fn ration(&mut self, available: usize) {
        let wanted: usize = self.missing.iter().sum();
        assert!(available <= wanted, "buckets would be taken from members that nobody gets");
        if available == wanted {
            return;
        }
        let mut given = 0;
        let full = self.missing;
        for missing in &mut self.missing {
            *missing = *missing * available / wanted;
            given += *missing;
        }
        for (missing, full) in self.missing.iter_mut().zip(full) {
            let more = usize::from(given < available && *missing < full);
            *missing += more;
            given += more;
        }
        assert_eq!(given, available, "rounding loses less than one bucket a member");
    }

    /// Whether the node takes part, as a taker or as one that drains.
    pub(crate) fn is_member(&self, node: NodeId) -> bool {
        self.members.contains(node)
    }

    /// Whether the bucket's owner cannot keep it.
    pub(crate) fn is_forced(&self, bucket: &Bucket) -> bool {
        !bucket.owner.is_some_and(|owner| self.takers.contains(owner))
    }

    /// Whether the bucket's owner is to give it away, or others that it has.
    pub(crate) fn is_spare(&self, bucket: &Bucket) -> bool {
        !bucket.drains() && bucket.owner.is_some_and(|owner| self.spare[at(owner)] > 0)
    }

    /// The first of these that is to get something.
    pub(crate) fn wants(&self, liked: [Option<NodeId>; 3]) -> Option<NodeId> {
        liked.into_iter().flatten().find(|node| self.missing[at(*node)] > 0)
    }

    /// The lowest id that is to get something, not below `from`, which rises to it.
    pub(crate) fn next_wanting(&self, from: &mut usize) -> Option<NodeId> {
        while *from < IDS && self.missing[*from] == 0 {
            *from += 1;
        }
        NodeId::new(*from as u8)
    }

    /// The bucket goes to `to`; whether for balance.
    pub(crate) fn moved(&mut self, from: Option<NodeId>, to: NodeId, balance: bool) {
        self.missing[at(to)] -= 1;
        if let (Some(from), true) = (from, balance) {
            self.spare[at(from)] -= 1;
        }
    }

    /// Whether everything has found its place.
    pub(crate) fn is_done(&self) -> bool {
        self.missing.iter().chain(&self.spare).all(|left| *left == 0)
    }
}

fn at(node: NodeId) -> usize {
    usize::from(node.as_u8())
}
