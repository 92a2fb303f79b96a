//! `ha reload`: done when the daemon runs what the files say.

use std::time::{Duration, Instant};

use ha_core::control::protocol::{Reply, Request};
use ha_core::control::{Exit, Refused};
use ha_core::verdict::span;

use super::ask::{self, Answers, PATIENCE, strange};
use super::run::{At, End};

/// Orders it, and waits for the program that goes on where the daemon hands over to one.
pub(super) fn reload(at: &At<'_>) -> Result<End, Refused> {
    let patience = at.timeout.unwrap_or(PATIENCE);
    let began = Instant::now();
    let mut answers = Answers::of(at.socket, &Request::Reload, Some(patience))?;
    let said = match answers.next()? {
        Some(Reply::Said(said)) => said,
        Some(other) => return Err(strange(&other)),
        // It goes on as another program.
        None => {
            await_next(at, began + patience)?;
            format!("the files are in force; services ran on; {}", span(began.elapsed()))
        }
    };
    at.output.say(said);
    Ok(End::Exit(Exit::Done))
}

/// Waits until a daemon answers for its modules, and looks whether it runs what the files say.
fn await_next(at: &At<'_>, end: Instant) -> Result<(), Refused> {
    let up = |left| ask::within(at.socket, &Request::Status { module: None, watch: false }, left);
    while let Err(refused) = up(end.saturating_duration_since(Instant::now())) {
        if refused.exit != Exit::Unavailable || Instant::now() >= end {
            let text = "no daemon goes on: see its log (`journalctl -u ha-node`), and start it";
            return Err(Refused::new(Exit::Unavailable, text));
        }
        std::thread::sleep(AGAIN);
    }
    match ask::once(at.socket, &Request::Config)? {
        Reply::Config(texts) if !texts.differs => Ok(()),
        Reply::Config(_) => {
            let text = "the new files could not be run: the daemon goes on with those before; its \
                        log says why (`journalctl -u ha-node`)";
            Err(Refused::new(Exit::Failed, text))
        }
        other => Err(strange(&other)),
    }
}

/// Between two looks whether somebody answers.
const AGAIN: Duration = Duration::from_millis(20);
