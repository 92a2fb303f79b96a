//! Orders under way: each has a number, and goes on when whoever gave it goes away.

use std::collections::VecDeque;
use std::prelude::rust_2024::*;

use ha_proto::Instant;
use tokio::sync::watch;

use crate::control::protocol::{OpLine, Outcome, Verb};
use crate::control::status::millis;
use crate::control::{Exit, Refused};

/// The newest orders.
#[derive(Debug)]
pub(crate) struct Ops {
    newest: u64,
    kept: VecDeque<Op>,
}

/// One of them.
#[derive(Debug)]
struct Op {
    id: u64,
    state: watch::Receiver<State>,
}

/// How far an order is.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) module: String,
    pub(crate) verb: Verb,
    pub(crate) outcome: Outcome,
    pub(crate) text: String,
    pub(crate) began: Instant,
    pub(crate) ended: Option<Instant>,
}

impl Ops {
    /// Orders that are remembered: more than an operator gives in an hour.
    pub(crate) const KEPT: usize = 64;

    /// None yet; their numbers begin after this one.
    pub(crate) fn after(newest: u64) -> Self {
        Self { newest, kept: VecDeque::new() }
    }

    /// A number for one more order, and where it tells how far it is.
    ///
    /// # Errors
    /// All that are remembered still run.
    pub(crate) fn begin(&mut self, state: State) -> Result<(u64, watch::Sender<State>), Refused> {
        if self.kept.len() == Self::KEPT {
            let ended = self.kept.iter().position(|op| op.state.borrow().ended.is_some());
            let Some(ended) = ended else {
                let text = "too many orders are under way: wait for one of them to end";
                return Err(Refused::new(Exit::Busy, text));
            };
            self.kept.remove(ended);
        }
        self.newest += 1;
        let (tell, state) = watch::channel(state);
        self.kept.push_back(Op { id: self.newest, state });
        assert!(self.kept.len() <= Self::KEPT, "orders would fill the memory");
        Ok((self.newest, tell))
    }

    /// Where the order of this number tells how far it is.
    pub(crate) fn find(&self, id: u64) -> Option<watch::Receiver<State>> {
        self.kept.iter().find(|op| op.id == id).map(|op| op.state.clone())
    }
}

impl State {
    /// As a line.
    pub(crate) fn line(&self, id: u64, now: Instant) -> OpLine {
        let took = self.ended.unwrap_or(now).saturating_since(self.began);
        OpLine {
            id,
            module: self.module.clone(),
            verb: self.verb,
            outcome: self.outcome,
            text: self.text.clone(),
            took_ms: millis(took),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            module: "web".into(),
            verb: Verb::Swap,
            outcome: Outcome::Running,
            text: String::new(),
            began: Instant::ZERO,
            ended: None,
        }
    }

    #[test]
    fn the_oldest_that_ended_makes_room_and_running_ones_do_not() {
        let mut ops = Ops::after(0);
        let running: Vec<_> = (0..Ops::KEPT).map(|_| ops.begin(state()).unwrap()).collect();
        assert_eq!(ops.begin(state()).unwrap_err().exit, Exit::Busy);
        running[7].1.send_modify(|state| state.ended = Some(Instant::ZERO));
        assert_eq!(ops.begin(state()).unwrap().0, 65);
        assert!(ops.find(8).is_none(), "it made room");
        assert!(ops.find(1).is_some());
        assert!(ops.find(99).is_none());
        drop(running);
    }
}
