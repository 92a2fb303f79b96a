//! A log and its host: writers, the host's own state, and storage that fails.

use super::*;
use crate::event::{Event, ReadFor};
use crate::record::RECORD_MAX;
use crate::{ConfigError, ProposeError};

fn leader(config: Config, recovered: Recovered) -> Log {
    let mut log = Log::new(config, recovered);
    let lineage = log.next_lineage(epoch(2));
    say(&mut log, 0, Input::Lead { membership: alone(2), lineage });
    log
}

#[test]
fn limits_that_cannot_be_kept_are_refused() {
    let good = config(A);
    assert_eq!(good.check(), Ok(()));
    let refused = [
        (Config { peer: good.me, ..good }, ConfigError::SameNode),
        (Config { window_bytes: Config::WINDOW_MIN - 1, ..good }, ConfigError::Window),
        (Config { window_records: 0, ..good }, ConfigError::Window),
        (Config { batch_bytes: RECORD_MAX + 1, ..good }, ConfigError::Batch),
        (Config { stall: core::time::Duration::ZERO, ..good }, ConfigError::Stall),
    ];
    for (config, error) in refused {
        assert_eq!(config.check(), Err(error));
    }
}

#[test]
fn only_a_leader_takes_records() {
    let mut log = Log::new(config(A), recovered(0));
    assert_eq!(log.propose(at(0), b""), Err(ProposeError::NotLeader));
}

#[test]
fn a_full_window_says_when_there_is_room() {
    let mut log = leader(Config { window_records: 2, ..config(A) }, recovered(0));
    assert_eq!(log.propose(at(0), b"one"), Ok(Seq(1)));
    assert_eq!(log.propose(at(0), b"two"), Ok(Seq(2)));
    assert_eq!(log.propose(at(0), b"three"), Err(ProposeError::Full));
    say(&mut log, 0, Input::Tick);
    let said = say(&mut log, 0, durable(2));
    assert_eq!(said.last(), Some(&Output::Writable));
    assert_eq!(log.propose(at(0), b"three"), Ok(Seq(3)));
}

#[test]
fn the_window_counts_bytes_too() {
    let window_bytes = Config::WINDOW_MIN;
    let mut log = leader(Config { window_bytes, ..config(A) }, recovered(0));
    let large = alloc::vec![0; RECORD_MAX];
    assert_eq!(log.propose(at(0), &large), Ok(Seq(1)));
    assert_eq!(log.propose(at(0), &large), Ok(Seq(2)));
    assert_eq!(log.propose(at(0), b""), Err(ProposeError::Full));
    let larger = alloc::vec![0; RECORD_MAX + 1];
    assert_eq!(log.propose(at(0), &larger), Err(ProposeError::TooLarge));
    let said = say(&mut log, 0, Input::Tick);
    assert_eq!(said.len(), 2, "one batch each");
}

#[test]
fn so_many_batches_wait_for_one_call() {
    let mut log = leader(Config { batch_bytes: 1, ..config(A) }, recovered(0));
    let taken = (0..100).take_while(|_| log.propose(at(0), b"").is_ok()).count();
    assert_eq!(taken, 32);
    assert_eq!(say(&mut log, 0, Input::Tick).len(), 33, "32 batches, and writable");
}

#[test]
fn a_log_has_a_largest_size() {
    let mut log = leader(Config { log_max_bytes: 100, ..config(A) }, recovered(0));
    assert_eq!(log.propose(at(0), b"one"), Ok(Seq(1)));
    say(&mut log, 0, Input::Tick);
    assert_eq!(log.propose(at(0), b"two"), Err(ProposeError::NoSpace));
    assert_eq!(say(&mut log, 0, Input::Tick), [Output::Event(Event::NoSpace)]);
    assert_eq!(log.propose(at(0), b"two"), Err(ProposeError::NoSpace));
    assert_eq!((log.deadline(), say(&mut log, 0, Input::Tick)), (None, Vec::new()));
}

#[test]
fn nothing_is_written_while_the_next_lineage_is_saved() {
    let mut log = leader(config(A), recovered(0));
    log.propose(at(0), b"one").unwrap();
    let lineage = log.next_lineage(epoch(3));
    let last = lineage.last().unwrap();
    assert_eq!((last.first, last.chain), (Seq(2), log.head().chain));
    assert_eq!(log.propose(at(0), b"two"), Err(ProposeError::Full));
    let said = say(&mut log, 0, Input::Lead { membership: alone(3), lineage });
    assert_eq!((said.len(), said.last()), (2, Some(&Output::Writable)));
    assert_eq!(log.propose(at(0), b"two"), Ok(Seq(2)));
}

#[test]
#[should_panic(expected = "a saved epoch would fall (R3)")]
fn a_lower_epoch_cannot_lead() {
    let mut log = leader(config(A), recovered(0));
    let lineage = log.lineage().clone();
    say(&mut log, 0, Input::Lead { membership: alone(1), lineage });
}

#[test]
fn the_host_is_brought_up_to_date_from_the_log() {
    let mut log = leader(config(A), Recovered { applied: Seq(1), ..recovered(3) });
    assert_eq!(log.committed(), Seq(3));
    let what = ReadFor::Apply;
    let read = Input::Read { what, from: Seq(2), batch: batch(2, 2).bytes };
    assert_eq!(say(&mut log, 0, read), [Output::Apply(batch(2, 2))]);
    let more = Output::Read { what, from: Seq(3), max: 256 << 10 };
    assert_eq!(say(&mut log, 0, Input::Applied { seq: Seq(2) }), [more]);
}

#[test]
fn a_host_with_more_than_the_log_begins_again() {
    let mut log = Log::new(config(A), Recovered { applied: Seq(9), ..recovered(3) });
    let read = Output::Read { what: ReadFor::Apply, from: Seq(1), max: 256 << 10 };
    assert_eq!(say(&mut log, 0, Input::Tick), [Output::Reset, read]);
    assert_eq!((log.applied(), log.committed()), (Seq(0), Seq(3)));
}

#[test]
fn after_a_storage_error_it_says_nothing() {
    let mut log = leader(config(A), recovered(0));
    say(&mut log, 0, Input::Connected);
    log.propose(at(0), b"one").unwrap();
    say(&mut log, 0, Input::Tick);
    assert_eq!(say(&mut log, 0, Input::Failed), []);
    assert_eq!(log.propose(at(0), b"two"), Err(ProposeError::Failed));
    assert_eq!(say(&mut log, 0, durable(1)), []);
    assert_eq!((told(&mut log), log.deadline(), log.committed()), (Vec::new(), None, Seq(0)));
}

#[test]
fn a_host_cannot_skip_what_cannot_be_read() {
    let mut log = leader(config(A), Recovered { applied: Seq(1), ..recovered(3) });
    let what = ReadFor::Apply;
    let read = Input::Read { what, from: Seq(2), batch: Bytes::new() };
    let said = say(&mut log, 0, read);
    assert_eq!(said, [Output::Event(Event::Unreadable { what, from: Seq(2) })]);
    assert_eq!(log.propose(at(0), b""), Err(ProposeError::Failed));
}

#[test]
fn a_host_is_not_given_what_continues_another_history() {
    let mut log = leader(config(A), Recovered { applied: Seq(1), ..recovered(3) });
    let what = ReadFor::Apply;
    let read = Input::Read { what, from: Seq(2), batch: batch(2, 2).bytes };
    assert_eq!(say(&mut log, 0, read), [Output::Apply(batch(2, 2))]);
    say(&mut log, 0, Input::Applied { seq: Seq(2) });
    // Whole, of the right sequence, and behind another record 2.
    let mut other = BytesMut::new();
    let before = Position { chain: Chain(9), ..head(2) };
    Body::data(b"undone").encode(epoch(1), before, &mut other);
    let read = Input::Read { what, from: Seq(3), batch: other.freeze() };
    let unreadable = Output::Event(Event::Unreadable { what, from: Seq(3) });
    assert_eq!(say(&mut log, 0, read), [unreadable]);
}

#[test]
fn a_small_buffer_gets_nothing() {
    let mut log = leader(config(A), recovered(0));
    say(&mut log, 0, Input::Connected);
    let mut buf = BytesMut::from(&b"before"[..]);
    assert_eq!(log.poll_message(at(0), 20, &mut buf), 0);
    assert_eq!(&buf[..], b"before");
    assert!(log.poll_message(at(0), 200, &mut buf) > 0);
}
