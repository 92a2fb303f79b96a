//! A disk that answers late, or not at all: the node waits for it, and its memory stays bounded.

use std::time::Duration;

use ha_core::config::{Identity, Limits, Policy};
use ha_core::proto::wire::Keys;
use ha_core::proto::{Boot, ClusterId, DataState, Instant, ModuleId, NodeId, Seq, StoreId};
use ha_core::quorum::Vote;
use ha_core::replicate::{ProposeError, Recovered};
use ha_core::{Answer, Config, Effect, Event, Input, Mirror, Order, Output, Profile, Saved};

/// A primary without a peer, whose disk answers everything but appends.
fn primary(limits: Limits) -> (Mirror, Instant) {
    let (me, peer) = (NodeId::new(0).expect("an id"), NodeId::new(1).expect("an id"));
    let (cluster, module) = (ClusterId(1), ModuleId(0));
    let identity = Identity { cluster, module, me, peer, links: 1 };
    let policy = Policy { vote: Vote::None, ..Policy::default() };
    let config = Config::new(identity, Profile::Lan.timing(), policy, limits).expect("possible");
    let saved = Saved::blank(cluster, module, me, StoreId(7));
    let recovered = Recovered {
        position: ha_core::proto::Position::default(),
        lineage: saved.lineage.clone(),
        state: DataState::Blank,
        membership: None,
        store: saved.store,
        applied: Seq::ZERO,
        bytes: 0,
    };
    let mut now = Instant::ZERO;
    let mut node = Mirror::new(config, Keys::insecure(), saved, recovered, Boot(1), 2, now);
    node.order(now, Order::Prim).expect("it is blank");
    while !serve(&mut node, now, &mut Vec::new()) {
        let due = node.poll_timeout().expect("a node always waits for something");
        now = due.at.max(now + Duration::from_millis(1));
        node.handle_input(now, Input::Timeout);
    }
    (node, now)
}

/// Does what the node asks for but appends, which it collects; whether the node began to serve.
fn serve(node: &mut Mirror, now: Instant, appends: &mut Vec<ha_core::proto::Ticket>) -> bool {
    let mut serving = false;
    while let Some(output) = node.poll_output() {
        match output {
            Output::Effect { ticket, effect: Effect::Append(_) } => appends.push(ticket),
            Output::Effect { ticket, .. } => {
                node.handle_input(now, Input::Done { ticket, answer: Answer::Done });
            }
            Output::Event(Event::Serving(_)) => serving = true,
            Output::Event(_) | Output::Transmit { .. } => {}
        }
    }
    serving
}

#[test]
fn a_disk_that_does_not_answer_fills_the_window_and_nothing_else() {
    let limits = Limits { window_records: 20_000, ..Limits::default() };
    let (mut node, now) = primary(limits);
    let mut appends = Vec::new();
    let mut proposed = 0;
    while node.propose(now, b"a record") != Err(ProposeError::Full) {
        proposed += 1;
        node.handle_input(now, Input::Timeout);
        serve(&mut node, now, &mut appends);
    }
    assert_eq!(proposed, limits.window_records, "the window alone says when to stop");

    let mut answered = 0;
    while let Some(&ticket) = appends.get(answered) {
        answered += 1;
        node.handle_input(now, Input::Done { ticket, answer: Answer::Done });
        serve(&mut node, now, &mut appends);
    }
    assert_eq!(node.status().committed, Seq(proposed as u64), "the disk woke: all is written");
}

#[test]
fn a_full_disk_of_a_node_alone_refuses_records_until_there_is_room() {
    let (mut node, mut now) = primary(Limits::default());
    node.propose(now, b"one").expect("the disk has room so far");
    node.handle_input(now, Input::Timeout);
    let mut appends = Vec::new();
    serve(&mut node, now, &mut appends);
    node.handle_input(now, Input::Done { ticket: appends[0], answer: Answer::Full });
    assert_eq!(node.propose(now, b"two"), Err(ProposeError::NoSpace));
    assert!(node.status().serving, "nothing else stops");
    while appends.len() == 1 {
        let due = node.poll_timeout().expect("it tries again");
        now = due.at.max(now);
        node.handle_input(now, Input::Timeout);
        serve(&mut node, now, &mut appends);
    }
    node.handle_input(now, Input::Done { ticket: appends[1], answer: Answer::Done });
    let told = core::iter::from_fn(|| node.poll_output());
    let writable = told.filter(|said| matches!(said, Output::Event(Event::LogWritable)));
    assert_eq!(writable.count(), 1);
    assert_eq!(node.propose(now, b"two"), Ok(Seq(2)));
}

/// What the node tells until `millis` later, with no append answered.
fn pass(node: &mut Mirror, now: &mut Instant, millis: u64) -> Vec<Event> {
    let (end, mut told) = (*now + Duration::from_millis(millis), Vec::new());
    loop {
        let due = node.poll_timeout().map_or(end, |due| due.at).min(end);
        *now = due.max(*now);
        node.handle_input(*now, Input::Timeout);
        while let Some(output) = node.poll_output() {
            match output {
                Output::Event(event) => told.push(event),
                Output::Effect { effect: Effect::Append(_), .. } | Output::Transmit { .. } => {}
                Output::Effect { ticket, .. } => {
                    node.handle_input(*now, Input::Done { ticket, answer: Answer::Done });
                }
            }
        }
        if due == end {
            return told;
        }
    }
}

#[test]
fn a_disk_of_a_node_alone_that_does_not_answer_is_told_once_and_refuses_records() {
    let (mut node, mut now) = primary(Limits::default());
    let mut appends = Vec::new();
    node.propose(now, b"one").expect("nothing is known yet");
    node.handle_input(now, Input::Timeout);
    serve(&mut node, now, &mut appends);
    let stall = Limits::default().stall.as_millis() as u64;
    assert_eq!(pass(&mut node, &mut now, stall - 1), []);
    assert_eq!(node.propose(now, b"two"), Ok(Seq(2)));
    assert_eq!(pass(&mut node, &mut now, 1), [Event::DiskStalled]);
    assert_eq!(node.propose(now, b"three"), Err(ProposeError::Stalled));
    assert_eq!(pass(&mut node, &mut now, 60_000), [], "once, and nothing is done about it");
    assert!(node.status().serving, "nothing else stops");
    node.handle_input(now, Input::Done { ticket: appends[0], answer: Answer::Done });
    assert_eq!(pass(&mut node, &mut now, stall - 1)[..], [Event::DiskBack]);
    assert_eq!(node.propose(now, b"three"), Ok(Seq(3)));
    assert_eq!(pass(&mut node, &mut now, 1), [Event::DiskStalled], "the next one hangs again");
}
