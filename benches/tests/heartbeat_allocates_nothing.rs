//! A pair in service allocates nothing for its beats: it can run beside any application.

use ha_benches::Pair;

#[test]
fn hearing_a_beat_allocates_nothing_in_steady_state() {
    let mut pair = Pair::new();
    for _ in 0..100 {
        let beat = pair.next_beat();
        pair.hear(&beat);
    }
    for _ in 0..100 {
        let beat = pair.next_beat();
        let counted = allocation_counter::measure(|| {
            pair.hear(&beat);
        });
        assert_eq!(counted.count_total, 0, "allocations for one beat: {counted:?}");
    }
    // Ten times the time-out has passed: had the beats not been believed, the peer were lost.
    assert!(pair.is_whole());
}
