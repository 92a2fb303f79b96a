//! The best-ranked clique, by trying all of them: what a proposal is compared with (F4).

use ha_proto::NodeSet;

use super::fact::ranks_better;

/// The best-ranked set with all of `with`, and else only of `within`, of nodes that are all adjacent
/// to each other; nodes as bits.
pub fn best(adjacent: &[u16], with: u16, within: u16) -> NodeSet {
    let mut best = with;
    grow(adjacent, with, within & !with, &mut best);
    set(best)
}

fn grow(adjacent: &[u16], clique: u16, mut left: u16, best: &mut u16) {
    if ranks_better(set(clique), set(*best)) {
        *best = clique;
    }
    while left != 0 && clique.count_ones() + left.count_ones() >= best.count_ones() {
        let node = left.trailing_zeros() as usize;
        left &= left - 1;
        grow(adjacent, clique | 1 << node, left & adjacent[node], best);
    }
}

/// Bits as a set.
pub fn set(bits: u16) -> NodeSet {
    NodeSet::from_bits(bits.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_chain_the_lower_end() {
        // 0 and 1 do not hear each other.
        let adjacent = [0b100, 0b100, 0b011];
        assert_eq!(best(&adjacent, 0, 0b111), set(0b101));
        assert_eq!(best(&adjacent, 0b010, 0b100), set(0b110));
        assert_eq!(best(&adjacent, 0b010, 0), set(0b010));
    }
}
