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
    let process = answers.process();
    let said = match answers.next()? {
        Some(Reply::Said(said)) => said,
        Some(other) => return Err(strange(&other)),
        // It goes on as another program of the same process.
        None => {
            if await_next(at, began + patience)? != process {
                let text = "the daemon has ended, and another one was started: see `ha status`";
                return Err(Refused::new(Exit::Failed, text));
            }
            look(at)?;
            format!("the daemon goes on with the files as they are; {}", span(began.elapsed()))
        }
    };
    at.output.say(said);
    Ok(End::Exit(Exit::Done))
}

/// Waits until a daemon answers for its modules; the number of its process.
pub(super) fn await_next(at: &At<'_>, end: Instant) -> Result<Option<i32>, Refused> {
    let status = Request::Status { module: None, watch: false };
    let up = |left| {
        let mut answers = Answers::of(at.socket, &status, Some(left))?;
        let process = answers.process();
        answers.next().map(|answer| answer.and(process))
    };
    loop {
        match up(end.saturating_duration_since(Instant::now())) {
            Ok(Some(process)) => return Ok(Some(process)),
            Err(refused) if refused.exit != Exit::Unavailable => return Err(refused),
            Ok(None) | Err(_) if Instant::now() < end => std::thread::sleep(AGAIN),
            Ok(None) | Err(_) => {
                let text = "no daemon goes on yet: see its log (`journalctl -u ha-node`)";
                return Err(Refused::new(Exit::Running, text));
            }
        }
    }
}

/// Whether what runs is what the files say.
fn look(at: &At<'_>) -> Result<(), Refused> {
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
