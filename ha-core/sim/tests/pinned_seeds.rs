//! Seeds that once failed, each with what it found. They are histories of the simulator of their
//! day: a change of what is drawn makes others of them, and they stay as cheap as any.

use ha_core::Profile;
use ha_quorum::Vote;
use ha_sim::history::{Verdict, draw, run};
use ha_sim::options::Options;

const PINNED: [(u64, Vote, &str); 37] = [
    (9, Vote::Arbiter, "a save of the log that changes nothing on disk was never answered"),
    (42, Vote::Arbiter, "an address expires while a slow start is under way"),
    (63, Vote::Arbiter, "what is committed by a set is told after the set has grown"),
    (68, Vote::Arbiter, "an address of an earlier boot was left while the node gave"),
    (74, Vote::Arbiter, "an application was started after a save had failed"),
    (75, Vote::Arbiter, "a full disk was never tried again under load"),
    (188, Vote::Arbiter, "a fenced holder told its peer while its address was still set"),
    (410, Vote::Arbiter, "a promise comes together with the record that it is for"),
    (844, Vote::Arbiter, "what was acknowledged under an override that no witness ever had"),
    (1045, Vote::Arbiter, "a resumed primary tells what its successor has"),
    (1874, Vote::Arbiter, "a late Exclude of a node that is gone leaves no complete member"),
    (2318, Vote::Arbiter, "the right to run alone takes longer to save than the lease lasts"),
    (2513, Vote::Arbiter, "a failed start was taken for a running application"),
    (4257, Vote::Arbiter, "a new witness counted a node that the forced holder did not"),
    (10474, Vote::Arbiter, "a blank node and a blank witness are two losses"),
    (12747, Vote::Arbiter, "a stray Create founded the pair anew at a replaced witness"),
    (33_002_243, Vote::Arbiter, "an address expires before the lease that a fence obeys"),
    (60_000_875, Vote::Arbiter, "a node was lost in a set that only a failed store had"),
    (94_000_836, Vote::Arbiter, "both nodes were forced, and one override was taken for the end"),
    (96_001_358, Vote::Arbiter, "an Exclude that was late was given no time to be mended"),
    (216_703_220, Vote::Arbiter, "two operators overrode each other's choice, three times"),
    (53, Vote::None, "two primaries outbid each other for ever"),
    (97_100_093, Vote::Manual, "two logs without a common reign wait for an operator"),
    (14, Vote::Ping, "the late answer of a look that was over was taken for a failed disk"),
    (579, Vote::Ping, "a node that had yielded went on before its peer agreed"),
    (896, Vote::Ping, "a peer without progress was left behind without a look"),
    (2_626, Vote::Ping, "what was seen before a pause was saved after it"),
    (2_726, Vote::Ping, "a reign that had not begun when the peer was lost began after all"),
    (3_654, Vote::Ping, "a primary that could not save went on beside its successor"),
    (4_484, Vote::Ping, "a node that had yielded came back before its turn"),
    (420_165_228_344, Vote::Ping, "what was decided in one isolation was saved in the next"),
    (457_979_385_023, Vote::Ping, "the same, after a swap"),
    (457_979_388_192, Vote::Ping, "the same, with a slow disk"),
    (7_985, Vote::Arbiter, "what an override gave up was applied, and taken for the pair's"),
    (295, Vote::Arbiter, "addresses whose removal was said to have failed were gone for ever"),
    (4_533, Vote::Arbiter, "what came after an override was taken for what it gave up"),
    (8, Vote::Manual, "a blank node was left alone with the choice"),
];

/// With the profile `fast`.
const PINNED_FAST: [(u64, Vote, &str); 10] = [
    (
        7_100_288,
        Vote::Arbiter,
        "whoever followed a forced blank node could not follow what W made of it",
    ),
    (210_658_550, Vote::Arbiter, "a promise that came while Give was repeated was taken for void"),
    (7_101_304, Vote::Arbiter, "a blank node that held before was forced, and W was never told"),
    (762_482_849_992, Vote::Arbiter, "a reign that W made of an old Adopt ended an override"),
    (422_958_135_132, Vote::None, "a pair that had never a record found no common history"),
    (1_027_558_759_730, Vote::None, "the same, with the other node's log empty"),
    (864_150_126_865, Vote::Ping, "what was decided in one isolation was saved in the next"),
    (563_382_552_829, Vote::Ping, "the same, after a pause"),
    (
        777_191,
        Vote::Ping,
        "a peer took over while its exclusion was saved, which counted after all",
    ),
    (88_101_697, Vote::Ping, "who booted alone did not wait for a peer that was cut off to stop"),
];

/// With upgrades.
const PINNED_UPGRADES: [(u64, Vote, &str); 5] = [
    (316, Vote::Arbiter, "a node went on too late to stop its application in time"),
    (
        104_031,
        Vote::Arbiter,
        "addresses kept by the right to run alone outlived the lease after it",
    ),
    (
        660_000_657,
        Vote::Ping,
        "a primary that came out of a pause lost its peer later than that lost it",
    ),
    (408, Vote::None, "addresses that could not be kept twice were kept for ever"),
    (7_479, Vote::Ping, "what was decided by a look was saved in the next isolation"),
];

/// With meddling.
const PINNED_MEDDLING: [(u64, Vote, &str); 6] = [
    (143, Vote::Arbiter, "addresses that could not be kept twice were kept for ever"),
    (51, Vote::None, "the same"),
    (497, Vote::Ping, "the same"),
    (45, Vote::Manual, "the same"),
    (15, Vote::None, "a node that had lost its addresses waited for a peer that could not serve"),
    (10_539, Vote::Arbiter, "an override that ended without a witness was not seen to end"),
];

#[test]
fn what_failed_once_does_not_fail_again() {
    for (seed, vote, why) in PINNED {
        let verdict = run(&mut draw(Options::new(seed, vote)));
        assert_eq!(verdict, Verdict::Good, "seed {seed}, vote {vote}: {why}");
    }
    for (seed, vote, why) in PINNED_FAST {
        let options = Options { profile: Profile::Fast, ..Options::new(seed, vote) };
        assert_eq!(run(&mut draw(options)), Verdict::Good, "seed {seed}, vote {vote}, fast: {why}");
    }
    for (seed, vote, why) in PINNED_UPGRADES {
        let options = Options { upgrades: true, ..Options::new(seed, vote) };
        assert_eq!(run(&mut draw(options)), Verdict::Good, "seed {seed}, upgrades: {why}");
    }
    for (seed, vote, why) in PINNED_MEDDLING {
        let options = Options { meddling: true, ..Options::new(seed, vote) };
        assert_eq!(run(&mut draw(options)), Verdict::Good, "seed {seed}, meddling: {why}");
    }
}
