//! What is known of one other node.

use core::time::Duration;

use bytes::Bytes;
use ha_proto::{Boot, Instant};

use crate::group::{Beat, Echo, Said};

/// One other node, by its beats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
pub(super) struct Peer {
    /// Its process, as far as it is believed.
    pub(super) boot: Option<Boot>,
    /// The highest number that was seen of that boot.
    pub(super) number: u64,
    /// When it was heard last; `None` after a gap.
    pub(super) last: Option<Instant>,
    /// When it last said that it hears this node.
    pub(super) mutual: Option<Instant>,
    /// Its last beat echoed a number of this boot: what it says of this node is of this process.
    pub(super) echoes: bool,
    /// What it said last; `None` after a gap.
    pub(super) said: Option<Said>,
    /// The facts that it told last.
    pub(super) facts: Bytes,
    /// Another boot that sends beats, until it has proved that it hears this node.
    pub(super) candidate: Option<Candidate>,
    /// How often beats of the boot that is believed and of the other one took turns.
    pub(super) turns: u8,
    /// It was told that it was heard (events).
    pub(super) linked: bool,
    /// It was told that it disagrees (events).
    pub(super) disagrees: bool,
    /// It was told that it speaks of the future (events).
    pub(super) future: bool,
}

/// A boot that is not believed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) boot: Boot,
    /// The highest number that was seen of it.
    number: u64,
    /// This node's number when it was first heard: only an echo of it, or
    /// of a later one, proves that it runs.
    since: u64,
    /// It echoed what this node has only just said: it is no recording.
    live: bool,
}

/// What a beat is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It was seen before, or is older than what was seen.
    Nothing,
    /// It proves nothing yet: what it says is not believed.
    Number,
    /// It is believed.
    Word,
    /// It is believed, and it is the first of another process.
    Restart,
}

impl Peer {
    /// Judges a beat and takes notice of its number. `echo` is the number of this node's that it
    /// echoes, `number` this node's last, `fresh` the least echo that is believed at all now.
    pub(super) fn weigh(&mut self, beat: &Beat, echo: u64, number: u64, fresh: u64) -> Worth {
        if self.boot == Some(beat.boot) {
            if beat.number <= self.number {
                return Worth::Nothing;
            }
            self.number = beat.number;
            if self.candidate.take().is_some_and(|candidate| candidate.live) {
                self.turns = self.turns.saturating_add(1);
            }
            return if echo >= fresh { Worth::Word } else { Worth::Number };
        }
        let known = self.candidate.filter(|known| known.boot == beat.boot);
        let live = echo > 0 && echo.saturating_add(1) >= number;
        let Some(known) = known else {
            let (boot, since) = (beat.boot, number);
            self.candidate = Some(Candidate { boot, number: beat.number, since, live });
            return Worth::Number;
        };
        if beat.number <= known.number {
            return Worth::Nothing;
        }
        self.candidate = Some(Candidate { number: beat.number, live, ..known });
        if echo < known.since.max(1) {
            return Worth::Number;
        }
        let first = self.boot.is_none();
        self.boot = Some(beat.boot);
        self.number = beat.number;
        self.candidate = None;
        self.turns = 0;
        self.mutual = None;
        self.said = None;
        self.future = false;
        if first { Worth::Word } else { Worth::Restart }
    }

    /// What is echoed: the boot that is believed, as long as it was heard within `lively`;
    /// then another one that speaks. Else a recording of an older process would unlink the one that
    /// runs.
    pub(super) fn echo(&self, now: Instant, lively: Duration) -> Option<(Boot, u64)> {
        let candidate = self.candidate.map(|candidate| (candidate.boot, candidate.number));
        let believed = self.boot.map(|boot| (boot, self.number));
        let runs = self.last.is_some_and(|last| now < last + lively);
        if runs { believed.or(candidate) } else { candidate.or(believed) }
    }

    /// Whether what is echoed is one of its last beats; with `any`, also of a boot that is not
    /// believed.
    pub(super) fn has_just_said(&self, echo: &Echo, any: bool) -> bool {
        /// Beats that may be on their way.
        const LAG: u64 = 2;
        let believed = self.boot.map(|boot| (boot, self.number));
        let other = self.candidate.filter(|_| any).map(|other| (other.boot, other.number));
        believed
            .into_iter()
            .chain(other)
            .any(|(boot, number)| echo.is_of(boot) && echo.number.saturating_add(LAG) >= number)
    }

    /// After a gap: what it said may have been long ago.
    pub(super) fn forget(&mut self) {
        self.last = None;
        self.mutual = None;
        self.said = None;
    }
}
