//! What happened, told from some number on.

use tokio::sync::watch;

use super::answer::Stop;
use super::wire::Wire;
use crate::control::Since;
use crate::control::protocol::{EventLine, Reply};

/// Which events somebody asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// From this number on.
    pub(super) since: u64,
    /// And what comes.
    pub(super) follow: bool,
}

/// Tells what `read` gives, each piece that `line` does not leave out.
pub(super) async fn tell<T>(
    wire: &mut Wire,
    asked: Asked,
    mut newer: watch::Receiver<u64>,
    read: impl Fn(u64) -> Since<T>,
    line: impl Fn(T) -> Option<EventLine>,
) -> Result<(), Stop> {
    let (mut next, mut ready) = (asked.since, false);
    loop {
        let found = read(next);
        if found.forgotten > 0 && next > 0 {
            wire.say(Reply::Forgotten(found.forgotten)).await?;
        }
        next = found.next;
        let any = !found.entries.is_empty();
        for event in found.entries.into_iter().filter_map(&line) {
            wire.say(Reply::Event(event)).await?;
        }
        if any {
            continue;
        }
        if !std::mem::replace(&mut ready, true) {
            wire.say(Reply::Ready(next)).await?;
        }
        if !asked.follow {
            return Ok(());
        }
        tokio::select! {
            () = wire.gone() => return Ok(()),
            changed = newer.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}
