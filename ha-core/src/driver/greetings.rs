//! Connections that may be the peer's, until they have proved it; and those that did not.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::prelude::rust_2024::*;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::cipher::HandshakeError;

/// The connections that are greeting. When one more comes than there is room for, one that has
/// said nothing gives way, the oldest first: strangers cannot keep the peer out by being there
/// before it, as it greets as soon as it is connected.
#[derive(Debug, Default)]
pub(super) struct Greetings {
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    from: SocketAddr,
    greeted: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Greetings {
    /// One more; `greeted` becomes true once its greeting was opened. Who gave way for it, and why.
    pub(super) fn push(
        &mut self,
        from: SocketAddr,
        greeted: Arc<AtomicBool>,
        task: JoinHandle<()>,
    ) -> Option<(SocketAddr, HandshakeError)> {
        self.waiting.retain(|waiting| !waiting.task.is_finished());
        self.waiting.push_back(Waiting { from, greeted, task });
        if self.waiting.len() <= GREETINGS_MAX {
            return None;
        }
        let silent = |waiting: &Waiting| !waiting.greeted.load(Ordering::Relaxed);
        let others = self.waiting.iter().take(GREETINGS_MAX);
        let at = others.enumerate().find(|(_, waiting)| silent(waiting)).map_or(0, |(at, _)| at);
        let gone = self.waiting.remove(at)?;
        gone.task.abort();
        let why = if silent(&gone) { HandshakeError::Crowded } else { HandshakeError::Unconfirmed };
        Some((gone.from, why))
    }
}

/// Connections of the stream that came to nothing: each kind is told once until the stream is up
/// again, or a wrong key would fill the log, and all are counted.
#[derive(Debug, Default)]
pub(super) struct Refused {
    told: AtomicU8,
    count: AtomicU64,
}

impl Refused {
    /// Counts one; whether its kind is news.
    pub(super) fn is_news(&self, error: &HandshakeError) -> bool {
        let bit = match error {
            HandshakeError::Io(_) => 1,
            HandshakeError::Noise(_) => 2,
            HandshakeError::Greeting(_) => 4,
            HandshakeError::Stranger { .. } => 8,
            HandshakeError::Unconfirmed => 16,
            HandshakeError::Crowded => 32,
        };
        self.count.fetch_add(1, Ordering::Relaxed);
        self.told.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// The stream is up: what goes wrong from now on is news.
    pub(super) fn forget(&self) {
        self.told.store(0, Ordering::Relaxed);
    }

    /// How many since the start.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Connections that may be greeting at a time: one is the peer's, the others are strangers'. To
/// push the peer out, so many must come, and greet with something that was recorded, within one
/// round trip.
pub(super) const GREETINGS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use std::io;
    use std::vec;

    use super::*;

    fn from(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_oldest_that_said_nothing_gives_way() {
        let mut greetings = Greetings::default();
        let mut come = |port, greeted| {
            let task = tokio::spawn(core::future::pending());
            greetings.push(from(port), Arc::new(AtomicBool::new(greeted)), task)
        };
        let max = GREETINGS_MAX as u16;
        for port in 0..max {
            assert!(come(port, port != 3 && port != 5).is_none(), "there is room");
        }
        let mut gone = vec![];
        for port in max..max + 3 {
            gone.extend(come(port, true).map(|(from, why)| (from.port(), why.to_string())));
        }
        let (crowded, unconfirmed) = (HandshakeError::Crowded, HandshakeError::Unconfirmed);
        let rows = [(3, crowded.to_string()), (5, crowded.to_string())];
        assert_eq!(gone[..2], rows);
        assert_eq!(gone[2..], [(0, unconfirmed.to_string())], "then the oldest of all");
    }

    #[test]
    fn each_kind_of_refusal_is_told_once_until_the_stream_was_up() {
        let refused = Refused::default();
        let broken = || HandshakeError::Io(io::ErrorKind::UnexpectedEof.into());
        let other = HandshakeError::Noise(snow::Error::Decrypt);
        assert!(refused.is_news(&broken()));
        assert!(!refused.is_news(&broken()));
        assert!(refused.is_news(&other));
        assert!(!refused.is_news(&other));
        refused.forget();
        assert!(refused.is_news(&broken()));
        assert_eq!(refused.count(), 5);
    }
}
