//! The cursor of what the host has applied: one batch at a time, committed records only.

use ha_proto::{Outbox, Position, Seq};

use crate::batch::Batch;
use crate::event::{Event, Output, ReadFor};
use crate::log::{Log, READ_MAX};

/// Where the host is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Apply {
    applied: Seq,
    /// Where `applied` is in the history, if that is known: what is read next must continue it.
    after: Option<Position>,
    doing: Doing,
    reset: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    Reading { from: Seq },
    Applying { end: Position },
}

impl Apply {
    /// The host has `applied`; the log ends at `head`.
    pub(crate) fn new(applied: Seq, head: Seq) -> Self {
        let applied_here = applied.min(head);
        let after = (applied_here == Seq::ZERO).then(Position::default);
        Self { applied: applied_here, after, doing: Doing::Nothing, reset: applied > head }
    }

    pub(crate) const fn applied(&self) -> Seq {
        self.applied
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.doing == Doing::Nothing
    }

    /// The log was cut behind `head`: a host that has more must begin again.
    pub(crate) fn cut(&mut self, head: Seq) {
        assert!(self.is_idle(), "the host would apply what was just taken back");
        self.reset |= self.applied > head;
    }

    pub(crate) fn on_applied(&mut self, seq: Seq) {
        let end = match self.doing {
            Doing::Applying { end } if end.seq == seq => end,
            Doing::Nothing | Doing::Reading { .. } | Doing::Applying { .. } => {
                panic!("the host would skip records, or count some twice")
            }
        };
        self.applied = seq;
        self.after = Some(end);
        self.doing = Doing::Nothing;
    }
}

impl Log {
    /// Says what the host has to do next, if it is idle.
    pub(crate) fn step_apply(&mut self, out: &mut Outbox<Output>) {
        if self.apply.reset && self.apply.is_idle() {
            self.apply = Apply::new(Seq::ZERO, Seq::ZERO);
            out.push(Output::Reset);
        }
        let applied = self.apply.applied;
        if !self.apply.is_idle() || self.is_cutting() || applied >= self.committed {
            return;
        }
        match self.journal.after(applied) {
            Some(batch) => self.say_apply(&batch, out),
            None => self.read_to_apply(applied.next(), out),
        }
    }

    fn read_to_apply(&mut self, from: Seq, out: &mut Outbox<Output>) {
        self.apply.doing = Doing::Reading { from };
        self.counters.reads += 1;
        out.push(Output::Read { what: ReadFor::Apply, from, max: READ_MAX });
    }

    pub(crate) fn on_read_to_apply(
        &mut self,
        from: Seq,
        bytes: &bytes::Bytes,
        out: &mut Outbox<Output>,
    ) {
        assert!(
            self.apply.doing == Doing::Reading { from },
            "records that nobody asked for would be applied"
        );
        if let Ok(batch) = Batch::read(bytes, from, self.apply.after) {
            self.say_apply(&batch, out);
        } else {
            self.cannot_apply(from, out);
        }
    }

    /// What was committed cannot be read: the host can never go on.
    pub(crate) fn cannot_apply(&mut self, from: Seq, out: &mut Outbox<Output>) {
        out.push(Output::Event(Event::Unreadable { what: ReadFor::Apply, from }));
        self.fail();
    }

    fn say_apply(&mut self, batch: &Batch, out: &mut Outbox<Output>) {
        let batch = batch.upto(self.committed).expect("only committed records are looked for");
        assert!(batch.last <= self.journal.durable().seq, "the host would be ahead of the disk");
        self.apply.doing = Doing::Applying { end: batch.end };
        out.push(Output::Apply(batch));
    }
}
