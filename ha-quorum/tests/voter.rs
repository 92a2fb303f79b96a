//! The voter, call by call, and as a lawful machine.

mod common;

use std::time::Duration;

use common::{DATA, LEASE, LIFE, ask, node, register};
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{Boot, Epoch, Incarnation, Instant, Machine, Outbox, laws};
use ha_quorum::voter::{Config, ConfigError, Handed, Input, Output, Void};
use ha_quorum::{Answer, Ask, Outcome, Refusal, Register, Request, Voter, Wish};
use proptest::prelude::*;

/// R.
const ROUND_TRIP: u64 = 100;

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn config() -> Config {
    Config::new(node(1), Boot(1), LEASE, Duration::from_millis(ROUND_TRIP)).expect("possible")
}

fn epoch(counter: u64) -> Epoch {
    Epoch::new(counter, node(0))
}

fn say(voter: &mut Voter, millis: u64, input: Input) -> Vec<Output> {
    let mut out = Outbox::new(Voter::OUTPUTS_MAX);
    voter.handle(at(millis), input, &mut out);
    std::iter::from_fn(|| out.pop()).collect()
}

fn wish(wish: Wish, counter: u64) -> Input {
    Input::Wish { wish, expected: epoch(counter), incarnation: LIFE }
}

fn asks(number: u64, request: Request, counter: u64) -> Output {
    Output::Ask(Ask { number, ..ask(1, epoch(counter), request) })
}

fn answer(number: u64, outcome: Outcome, left: u64) -> Answer {
    Answer {
        to: node(1),
        boot: Boot(1),
        number,
        incarnation: LIFE,
        outcome,
        register: Some(now()),
        left: Duration::from_millis(left),
        grace: Duration::ZERO,
    }
}

fn now() -> Register {
    register(4, 0, 0b11)
}

fn answered(request: Request, outcome: Outcome, sent: u64, left: u64) -> Output {
    Output::Answered {
        request,
        expected: epoch(4),
        outcome,
        register: Some(now()),
        sent: at(sent),
        left: Duration::from_millis(left),
        grace: Duration::ZERO,
        incarnation: LIFE,
        foreign: false,
    }
}

fn due(voter: &Voter) -> Option<(Instant, &'static str)> {
    voter.deadline().map(|deadline| (deadline.at, deadline.why))
}

#[test]
fn it_says_nothing_before_it_wishes() {
    let mut voter = Voter::new(config());
    assert_eq!(say(&mut voter, 0, Input::Tick), []);
    assert_eq!(voter.deadline(), None);
    assert!(!voter.answering());
}

#[test]
fn a_wish_is_asked_at_once_again_when_nothing_answers_and_the_silence_is_told_once() {
    let mut voter = Voter::new(config());
    assert_eq!(say(&mut voter, 0, wish(Wish::Take, 4)), [asks(1, Request::Take, 4)]);
    assert_eq!(say(&mut voter, 50, wish(Wish::Take, 4)), [], "the same again");
    for number in 2..=10 {
        assert_eq!(due(&voter), Some((at((number - 1) * ROUND_TRIP), "ask")));
        let said = say(&mut voter, (number - 1) * ROUND_TRIP, Input::Tick);
        assert_eq!(said, [asks(number, Request::Take, 4)]);
    }
    let said = say(&mut voter, 1000, Input::Tick);
    assert_eq!(said, [Output::Silent, asks(11, Request::Take, 4)]);
    for number in 12..=40 {
        let said = say(&mut voter, (number - 1) * ROUND_TRIP, Input::Tick);
        assert_eq!(said, [asks(number, Request::Take, 4)]);
    }
    assert!(!voter.answering());
    let said = say(&mut voter, 3950, Input::Answer(answer(40, Outcome::Ok, 0)));
    assert_eq!(said, [Output::Back, answered(Request::Take, Outcome::Ok, 3900, 0)]);
    assert!(voter.answering());
}

#[test]
fn a_renewal_keeps_its_period_from_the_sending_that_was_granted() {
    let mut voter = Voter::new(config());
    say(&mut voter, 0, wish(Wish::Renew, 4));
    say(&mut voter, 100, Input::Tick);
    let said = say(&mut voter, 130, Input::Answer(answer(2, Outcome::Ok, 3003)));
    assert_eq!(said, [answered(Request::Renew, Outcome::Ok, 100, 3003)]);
    assert_eq!(due(&voter), Some((at(1100), "ask")));
    assert_eq!(say(&mut voter, 1100, Input::Tick), [asks(3, Request::Renew, 4)]);
    let said = say(&mut voter, 1110, Input::Answer(answer(1, Outcome::Ok, 3003)));
    assert_eq!(said, [answered(Request::Renew, Outcome::Ok, 0, 3003)]);
    assert_eq!(due(&voter), Some((at(1200), "ask")), "an answer of the last round ends no round");
}

#[test]
fn after_an_answer_later_than_a_poll_the_node_speaks_first() {
    let mut voter = Voter::new(config());
    say(&mut voter, 0, wish(Wish::Take, 4));
    let said = say(&mut voter, 1200, Input::Answer(answer(1, Outcome::Ok, 0)));
    assert_eq!(said, [answered(Request::Take, Outcome::Ok, 0, 0)]);
    assert_eq!(due(&voter), Some((at(1201), "ask")));
    assert_eq!(say(&mut voter, 1200, wish(Wish::Renew, 5)), [asks(2, Request::Renew, 5)]);
}

#[test]
fn another_wish_or_epoch_is_asked_at_once_and_answers_to_the_former_still_count() {
    let mut voter = Voter::new(config());
    say(&mut voter, 0, wish(Wish::Watch, 4));
    assert_eq!(say(&mut voter, 10, wish(Wish::Renew, 4)), [asks(2, Request::Renew, 4)]);
    assert_eq!(say(&mut voter, 20, wish(Wish::Renew, 5)), [asks(3, Request::Renew, 5)]);
    let said = say(&mut voter, 30, Input::Answer(answer(1, Outcome::Ok, 0)));
    assert_eq!(said, [answered(Request::Read, Outcome::Ok, 0, 0)]);
    assert_eq!(due(&voter), Some((at(120), "ask")));
}

#[test]
fn an_answer_counts_once_for_a_number_of_this_boot() {
    let mut voter = Voter::new(config());
    say(&mut voter, 0, wish(Wish::Exclude, 4));
    let good = answer(1, Outcome::Ok, 0);
    let void = |why| [Output::Void { why }];
    let mut hear = |answer| say(&mut voter, 10, Input::Answer(answer));
    assert_eq!(hear(Answer { to: node(0), ..good }), void(Void::Receiver));
    assert_eq!(hear(Answer { boot: Boot(2), ..good }), void(Void::Boot));
    assert_eq!(hear(Answer { number: 2, ..good }), void(Void::Number));
    assert_eq!(hear(good), [answered(Request::Exclude, Outcome::Ok, 0, 0)]);
    assert_eq!(hear(good), void(Void::Number));
}

#[test]
fn only_the_last_eight_numbers_are_remembered() {
    let mut voter = Voter::new(config());
    say(&mut voter, 0, wish(Wish::Take, 4));
    for round in 1..9 {
        say(&mut voter, round * ROUND_TRIP, Input::Tick);
    }
    let mut hear = |number| say(&mut voter, 850, Input::Answer(answer(number, Outcome::Ok, 0)));
    assert_eq!(hear(1), [Output::Void { why: Void::Number }]);
    assert_eq!(hear(2), [answered(Request::Take, Outcome::Ok, 100, 0)]);
}

#[test]
fn a_candidate_waits_for_the_end_of_lease_and_grace() {
    for (refusal, left, due_at) in [
        (Refusal::LeaseHeld, 2500, 2510),
        (Refusal::Grace, 2500, 2510),
        (Refusal::LeaseHeld, 0, 11),
        (Refusal::Grace, 1_000_000, 3113),
        (Refusal::Epoch, 2500, 1000),
        (Refusal::Waiting, 0, 1000),
    ] {
        let mut voter = Voter::new(config());
        say(&mut voter, 0, wish(Wish::Take, 4));
        let outcome = Outcome::Refused(refusal);
        let said = say(&mut voter, 10, Input::Answer(answer(1, outcome, left)));
        assert_eq!(said, [answered(Request::Take, outcome, 0, left)]);
        assert_eq!(say(&mut voter, 10, wish(Wish::Take, 4)), []);
        assert_eq!(due(&voter), Some((at(due_at), "ask")), "{refusal:?}");
        assert!(voter.answering(), "waiting is not silence");
    }
}

#[test]
fn another_life_of_the_witness_is_marked_unless_none_is_known() {
    for (known, foreign) in [(LIFE, true), (Incarnation(0), false), (Incarnation(3), false)] {
        let mut voter = Voter::new(config());
        let wish = Input::Wish { wish: Wish::Watch, expected: epoch(4), incarnation: known };
        say(&mut voter, 0, wish);
        let stranger = Answer { incarnation: Incarnation(3), ..answer(1, Outcome::Empty, 0) };
        let said = say(&mut voter, 10, Input::Answer(stranger));
        let expected = Output::Answered {
            request: Request::Read,
            expected: epoch(4),
            outcome: Outcome::Empty,
            register: Some(now()),
            sent: at(0),
            left: Duration::ZERO,
            grace: Duration::ZERO,
            incarnation: Incarnation(3),
            foreign,
        };
        assert_eq!(said, [expected]);
    }
}

#[test]
fn a_life_that_was_over_when_the_present_one_was_saved_says_nothing() {
    let mut voter = Voter::new(config());
    say(&mut voter, 0, wish(Wish::Exclude, 4));
    say(&mut voter, 100, Input::Tick);
    let empty = Answer { incarnation: Incarnation(3), ..answer(2, Outcome::Empty, 0) };
    say(&mut voter, 110, Input::Answer(empty));
    let saved = Incarnation(3);
    say(&mut voter, 120, Input::Wish { wish: Wish::Watch, expected: epoch(4), incarnation: saved });
    let late = say(&mut voter, 130, Input::Answer(answer(1, Outcome::Ok, 0)));
    assert_eq!(late, [Output::Void { why: Void::Life }]);
}

#[test]
fn impossible_timings_are_refused() {
    let build = |lease, round_trip| {
        let (lease, round_trip) = (Duration::from_millis(lease), Duration::from_millis(round_trip));
        Config::new(node(1), Boot(1), lease, round_trip).map(|config| config.patience())
    };
    assert_eq!(build(2, 0), Err(ConfigError::Lease));
    assert_eq!(build(86_400_001, 0), Err(ConfigError::Lease));
    assert_eq!(build(3000, 997), Err(ConfigError::RoundTrip));
    assert_eq!(build(3000, 996), Ok(Duration::from_millis(1992)));
    assert_eq!(build(3000, 100), Ok(Duration::from_secs(1)));
}

fn inputs() -> impl Strategy<Value = Input> {
    let wishes = prop::sample::select(vec![
        Wish::Watch,
        Wish::Renew,
        Wish::Take,
        Wish::Exclude,
        Wish::Admit { peer: node(0) },
        Wish::Give { to: node(0) },
        Wish::Create { incarnation: LIFE, data: DATA },
    ]);
    let outcomes = prop::sample::select(vec![
        Outcome::Ok,
        Outcome::Empty,
        Outcome::Refused(Refusal::LeaseHeld),
        Outcome::Refused(Refusal::Epoch),
    ]);
    prop_oneof![
        2 => Just(Input::Tick),
        1 => (wishes, 1..4_u64).prop_map(|(it, counter)| wish(it, counter)),
        4 => (1..60_u64, outcomes, any::<u64>())
            .prop_map(|(number, outcome, left)| Input::Answer(answer(number, outcome, left))),
    ]
}

proptest! {
    #[test]
    fn the_voter_is_a_lawful_machine(
        history in prop::collection::vec((0..1500_u64, inputs()), 0..80)
    ) {
        let gaps = history.into_iter().map(|(gap, input)| (Duration::from_millis(gap), input));
        laws::check(Voter::new(config()), || Input::Tick, gaps);
    }

    /// Whatever the witness answers, no number counts twice, and one wish is asked no more often
    /// than once in a millisecond.
    #[test]
    fn no_answer_counts_twice_and_none_makes_it_spin(
        history in prop::collection::vec((0..300_u64, inputs()), 0..200)
    ) {
        let mut voter = Voter::new(config());
        let (mut time, mut counted, mut last_ask) = (0, Vec::new(), None);
        for (gap, input) in history {
            time += gap;
            let said = say(&mut voter, time, input);
            for output in said {
                if let (Output::Answered { .. }, Input::Answer(answer)) = (output, input) {
                    prop_assert!(!counted.contains(&answer.number));
                    counted.push(answer.number);
                }
                if let Output::Ask(ask) = output {
                    let same = last_ask.replace((ask.request, ask.expected, time));
                    if let Some((request, expected, before)) = same {
                        let resent = (request, expected) == (ask.request, ask.expected);
                        prop_assert!(!resent || time > before);
                    }
                }
            }
        }
    }
}

/// The voter after a hand-over to another process.
fn resumed(voter: &Voter) -> Voter {
    let mut bytes = Vec::new();
    voter.hand_over().encode(&mut bytes);
    let mut reader = Reader::new(&bytes);
    let handed = Handed::decode(&mut reader).expect("written just now");
    reader.finish().expect("nothing more was");
    Voter::resume(config(), handed)
}

#[test]
fn after_a_hand_over_numbers_go_on_and_old_asks_are_forgotten() {
    let mut voter = Voter::new(config());
    say(&mut voter, 0, wish(Wish::Renew, 4));
    say(&mut voter, 1, Input::Answer(answer(1, Outcome::Ok, 0)));
    assert!(voter.answering());
    say(&mut voter, 1_000, Input::Tick);

    let mut voter = resumed(&voter);
    assert!(voter.answering(), "it is not asked whether the witness is back");
    assert_eq!(voter.deadline(), None, "it wishes nothing yet");
    let late = say(&mut voter, 1_001, Input::Answer(answer(2, Outcome::Ok, 0)));
    assert_eq!(late, [Output::Void { why: Void::Number }], "asked before the hand-over");
    let asked = say(&mut voter, 1_002, wish(Wish::Renew, 4));
    assert_eq!(asked, [asks(3, Request::Renew, 4)]);
    let told = say(&mut voter, 1_003, Input::Answer(answer(3, Outcome::Ok, 0)));
    assert_eq!(told, [answered(Request::Renew, Outcome::Ok, 1_002, 0)]);
}

#[test]
fn a_witness_that_was_silent_is_so_after_a_hand_over() {
    let mut voter = Voter::new(config());
    say(&mut voter, 0, wish(Wish::Renew, 4));
    let silent = say(&mut voter, 1_000, Input::Tick);
    assert!(silent.contains(&Output::Silent));
    let mut voter = resumed(&voter);
    assert_eq!(say(&mut voter, 1_010, wish(Wish::Renew, 4)), [asks(3, Request::Renew, 4)]);
    let told = say(&mut voter, 1_011, Input::Answer(answer(3, Outcome::Ok, 0)));
    assert_eq!(told, [Output::Back, answered(Request::Renew, Outcome::Ok, 1_010, 0)]);
}

#[test]
fn a_standing_that_nobody_knows_is_refused() {
    let bytes = [0, 0, 0, 0, 0, 0, 0, 9, 3];
    let decoded = Handed::decode(&mut Reader::new(&bytes));
    assert_eq!(decoded, Err(DecodeError::Invalid("the witness's standing")));
    let decoded = Handed::decode(&mut Reader::new(&bytes[..8]));
    assert_eq!(decoded, Err(DecodeError::Truncated("the witness's standing")));
}
