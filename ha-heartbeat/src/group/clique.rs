//! The best set of nodes that are all linked to each other (F4).

use ha_proto::{NodeId, NodeSet};

use super::id::rank;

/// Who is linked to whom, as bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Graph {
    rows: [u64; 64],
}

impl Graph {
    pub(super) fn new() -> Self {
        Self { rows: [0; 64] }
    }

    /// Links two nodes; one with itself says that it may be a member.
    pub(super) fn link(&mut self, one: NodeId, other: NodeId) {
        let (one, other) = (usize::from(one.as_u8()), usize::from(other.as_u8()));
        self.rows[one] |= 1 << other;
        self.rows[other] |= 1 << one;
    }

    /// The best-ranked clique with `me` in it. The search is exact as long as it takes no more than
    /// [`STEPS_MAX`] steps, which a graph of 64 nodes needs only if dozens of links are cut each in
    /// its own way; then it is the best that was found, the same at all who see the same graph.
    pub(super) fn best(&self, me: NodeId) -> NodeSet {
        let row = self.rows[usize::from(me.as_u8())];
        let own = 1 << me.as_u8();
        assert!(row & own != 0, "a clique without this node is nothing that it may propose");
        let mut search = Search { graph: self, best: own, steps: 0 };
        search.extend(own, row & !own);
        NodeSet::from_bits(search.best.into())
    }
}

/// Branch and bound: each candidate in or out, the lowest id first, so that the first clique that is
/// found of a size is often the best of it.
struct Search<'a> {
    graph: &'a Graph,
    best: u64,
    steps: u32,
}

impl Search<'_> {
    fn extend(&mut self, clique: u64, mut left: u64) {
        self.steps += 1;
        if left == 0 {
            let set = |bits: u64| NodeSet::from_bits(bits.into());
            if rank(set(clique), set(self.best)).is_gt() {
                self.best = clique;
            }
            return;
        }
        while left != 0 {
            let most = (clique | left).count_ones();
            if most < self.best.count_ones() || self.steps > STEPS_MAX {
                return;
            }
            let node = left.trailing_zeros();
            left &= left - 1;
            let row = self.graph.rows[node as usize];
            // Its neighbors among those left, and nothing of what was tried before it.
            self.extend(clique | 1 << node, left & row);
            if left & !row == 0 {
                // It is linked to all that are left: no clique without it is better.
                return;
            }
        }
        let set = |bits: u64| NodeSet::from_bits(bits.into());
        if rank(set(clique), set(self.best)).is_gt() {
            self.best = clique;
        }
    }
}

/// Well below a millisecond.
const STEPS_MAX: u32 = 20_000;

#[cfg(test)]
mod tests {
    use super::*;
    use ha_proto::Prng;

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn set(ids: &[u8]) -> NodeSet {
        ids.iter().map(|&id| node(id)).collect()
    }

    fn graph(nodes: u8, cut: &[(u8, u8)]) -> Graph {
        let mut graph = Graph::new();
        for one in 0..nodes {
            for other in 0..=one {
                if !cut.contains(&(one, other)) && !cut.contains(&(other, one)) {
                    graph.link(node(one), node(other));
                }
            }
        }
        graph
    }

    #[test]
    fn a_whole_farm_is_one_clique() {
        let all: NodeSet = (0..64).map(node).collect();
        assert_eq!(graph(64, &[]).best(node(17)), all);
        assert_eq!(graph(1, &[]).best(node(0)), set(&[0]));
    }

    #[test]
    fn of_a_chain_the_lower_end_wins() {
        let chain = graph(3, &[(0, 1)]);
        assert_eq!(chain.best(node(2)), set(&[0, 2]));
        assert_eq!(chain.best(node(0)), set(&[0, 2]));
        assert_eq!(chain.best(node(1)), set(&[1, 2]));
    }

    #[test]
    fn who_is_unable_is_in_no_clique() {
        let mut graph = Graph::new();
        graph.link(node(0), node(0));
        assert_eq!(graph.best(node(0)), set(&[0]));
    }

    #[test]
    fn is_the_best_of_all_subsets() {
        for seed in 0..300 {
            let mut prng = Prng::new(seed);
            let mut cut = [(64, 64); 28];
            for pair in &mut cut[..prng.below(28) as usize] {
                *pair = (prng.below(8) as u8, prng.below(8) as u8);
                if pair.0 == pair.1 {
                    *pair = (64, 64);
                }
            }
            let graph = graph(8, &cut);
            for me in 0..8 {
                let linked = |one: u32, other: u32| graph.rows[one as usize] >> other & 1 == 1;
                let cliques = (1_u32..256).filter(|bits| {
                    let has = |id: u32| bits >> id & 1 == 1;
                    let pairs = (0..8).flat_map(|one| (0..8).map(move |other| (one, other)));
                    has(me) && pairs.into_iter().all(|(a, b)| !has(a) || !has(b) || linked(a, b))
                });
                let sets = cliques.map(|bits| NodeSet::from_bits(bits.into()));
                let best = sets.max_by(|&one, &other| rank(one, other)).unwrap();
                assert_eq!(graph.best(node(me as u8)), best, "seed {seed}, node {me}");
            }
        }
    }
}
