//! Seeds of farms that failed once.

use ha_sim::farm::history::{Verdict, draw, run};
use ha_sim::farm::options::Options;

/// Each with what was wrong.
const SEEDS: &[(u64, &str)] = &[
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
    (300_726, "a view went on from one that its maker had left, and forgot who had connections"),
    (300_772, "the same with sixteen members"),
    (300_500, "a drain was counted from when its server's kernel got the table, one view late"),
    (1383, "two beats lost while a member joined, and another one was left out for it"),
    (21_295, "who missed a view refused each later one, and took what another one had taken since"),
    (30_528, "a frame was handed on twice where one who came back was not known by its card yet"),
    (3_000_351, "the same, and who had restarted had never heard of who handed it on"),
    (
        346,
        "who yielded was left out, with all connections, as nobody took in the moment of a merge",
    ),
    (200_076, "of two cliques the better one waited longer after a gap: D began at the end of F6"),
    (600_414, "no rule of the farm: a server with an older socket of these ports, long before"),
    (498_311, "the same"),
    (100_160, "no rule of the farm: two were linked by what one had said before a cut"),
    // From here on services change, too.
    (1_000_004, "a member's weights were read in the order of other services than it told them of"),
    (1_000_032, "tables that were pulled were read as if they were of other services"),
    (1_000_300, "the same, and connections were forgotten"),
    (1_000_021, "tables that could not be used were asked for without end"),
    (1_000_015, "members of which no three had services in common were to be in one view"),
    (
        1_000_084,
        "a member with other services only was taken in, and one that served left out for it",
    ),
    (1_000_263, "services changed as two groups met, and what the other one took was forgotten"),
    (
        1_000_461,
        "no rule of the farm: the checker took a view that was long proposed for a new one",
    ),
    (5_000_750, "no rule of the farm: a member was to stand by for one of whom it could not hear"),
    (5_000_331, "no rule of the farm: who took over had never been linked to who died"),
    (1_000_045, "who followed a view went on from an older one at once, and that was kept for D"),
    (
        2_000_121,
        "tables of services that were replaced here could not be read, and what another took was forgotten",
    ),
    (4_000_007, "the same"),
    (1_001_801, "services waited although all of a group had them"),
    (6_000_385, "the same in a larger one"),
    (2_501_390, "who restarted with other services kept all others in the view of its former boot"),
    (7_001_475, "all followed one who was about to yield, and nobody took for a while"),
    (7_003_035, "tables were given up before who did not hear the question could say so"),
    (7_004_157, "a member was left out for one that had just fallen silent"),
    (2_300_550, "each view that others made began D anew for whom the best group leaves out"),
    (8_003_121, "a view was whole whose members had gone on to other rules by another one"),
    (8_003_242, "no rule of the farm: an owner that takes a SYN claims what it had released"),
    (8_003_368, "who could not follow kept what others had taken from it after D of silence (FG1)"),
    (8_000_440, "no rule of the farm: a beat was due between a write and the word of it"),
    (8_012_618, "a member stayed in a view that others had left, and they yielded to it for ever"),
    (8_012_602, "no rule of the farm: two had no rules in common for less than between two looks"),
    (1_102_794, "no rule of the farm: a beat was due between a write and the word of it"),
    (1_103_207, "the same with a slow write"),
    (1_104_734, "no rule of the farm: it was linked for less time than between two looks"),
    (
        1_001_497,
        "no rule of the farm: across a cut each serves, and between them one with other rules",
    ),
];

#[test]
fn what_failed_once_passes() {
    for &(seed, what) in SEEDS {
        let verdict = run(&mut draw(Options::new(seed)));
        assert_eq!(verdict, Verdict::Good, "seed {seed}: {what}");
    }
}
