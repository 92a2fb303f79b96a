//! Events and takeovers, as the protocol tells them.

use std::format;
use std::prelude::rust_2024::*;

use crate::control::log::{Entry, Past};
use crate::control::protocol::{EventLine, PastLine};
use crate::control::status::millis;
use crate::history::Cause;
use crate::verdict::Names;

impl EventLine {
    pub(super) fn new(entry: &Entry, module: &str, names: &Names) -> Self {
        Self {
            seq: entry.seq,
            module: module.into(),
            epoch: format!("{}", entry.epoch),
            at: format!("{}", entry.wall),
            level: entry.event.level().name().into(),
            event: entry.event.name().into(),
            text: entry.event.told(names),
        }
    }
}

impl PastLine {
    pub(super) fn new(past: &Past) -> Self {
        let takeover = past.takeover;
        let at_risk = (takeover.cause == Cause::Forced)
            .then(|| "what only the other node had acknowledged".into());
        Self {
            seq: past.seq,
            at: format!("{}", past.wall),
            epoch: format!("{}", takeover.epoch),
            cause: takeover.cause.name().into(),
            decide_ms: takeover.decide.map(millis),
            start_ms: millis(takeover.start),
            at_risk,
        }
    }
}
