//! Seeds of farms that failed once.

use ha_sim::farm::history::{Verdict, draw, run};
use ha_sim::farm::options::Options;

/// Each with what was wrong.
const SEEDS: [(u64, &str); 11] = [
    (54, "a member of two cliques went to and fro between their coordinators for ever"),
    (123, "the same, and who was to take everything waited for it"),
    (20, "nobody told who stands by, on the deaf side of a cut, of the view that goes on"),
    (33, "the same with three members"),
    (52, "who hears nobody, and is to serve nothing then, went on in a view of its own"),
    (700_067, "tables that nobody had were asked for without end, in one call"),
    (177, "tables asked for in vain were not asked for again once their holder was linked again"),
    (1173, "a drain taken back was proposed all the same: its end and a link came in one beat"),
    (1176, "who yielded to a view with a dead member in it was left out of the next one"),
    (
        973,
        "each view was taken an interval late: who stands by, deaf to its coordinator, heard late",
    ),
    (1025, "the same with three members"),
];

#[test]
fn what_failed_once_passes() {
    for (seed, what) in SEEDS {
        let verdict = run(&mut draw(Options::new(seed)));
        assert_eq!(verdict, Verdict::Good, "seed {seed}: {what}");
    }
}
