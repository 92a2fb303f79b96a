//! The replication stream: messages in order, until it breaks.

use std::collections::VecDeque;

use bytes::Bytes;

/// One session between two processes. It delays, and it breaks with all that is on it; each end
/// notices in its own time.
#[derive(Debug, Default)]
pub struct Stream {
    /// The newest session's number.
    pub life: u32,
    /// Whether that session works.
    pub up: bool,
    /// What each node believes.
    pub ends: [End; 2],
    /// What is on its way to each node.
    pub toward: [Lane; 2],
    /// What arrived where since a script asked for it.
    pub remembered: Option<Vec<(usize, Bytes)>>,
}

/// One node's end.
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    /// Whether the node was told that it is connected.
    pub connected: bool,
    /// To which session.
    pub life: u32,
}

/// One direction.
#[derive(Debug, Default)]
pub struct Lane {
    /// Messages in order.
    pub queue: VecDeque<Bytes>,
    /// Their bytes.
    pub bytes: usize,
    /// Whether a delivery is scheduled.
    pub scheduled: bool,
}

impl Stream {
    /// What the sockets of one direction hold.
    pub const ROOM: usize = 256 << 10;

    /// Whether `node` has an end of the newest session, as far as it knows.
    pub fn is_connected(&self, node: usize) -> bool {
        self.ends[node].connected
    }

    /// Whether what `node` sends goes anywhere.
    pub fn carries_from(&self, node: usize) -> bool {
        self.up && self.ends[node].connected && self.ends[node].life == self.life
    }

    /// How many bytes `node` may send now: a socket takes one message of any size when it is empty.
    pub fn room(&self, node: usize) -> usize {
        let lane = &self.toward[1 - node];
        if lane.queue.is_empty() { usize::MAX } else { Self::ROOM.saturating_sub(lane.bytes) }
    }

    /// Ends the session and drops what is on it.
    pub fn shut(&mut self) {
        self.up = false;
        for lane in &mut self.toward {
            *lane = Lane::default();
        }
    }
}

impl Lane {
    /// Takes one message.
    pub fn push(&mut self, message: Bytes) {
        self.bytes += message.len();
        self.queue.push_back(message);
    }

    /// The oldest message.
    pub fn pop(&mut self) -> Option<Bytes> {
        let message = self.queue.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }
}
