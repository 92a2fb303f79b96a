//! Clients of the farm: they open connections, send on them, send again, end or forget them.

use ha_farm::Flow;

/// One client, on one port at a time.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address and port, and the service.
    pub flow: Flow,
    /// Which of its connections this is.
    pub number: u64,
    /// How far it is.
    pub phase: Phase,
    /// How often it sent this without an answer.
    pub tries: u32,
    /// Who answered the first packet.
    pub server: Option<usize>,
    /// Since when the connection is established, true nanoseconds.
    pub since: u64,
    /// How many packets it still sends.
    pub left: u32,
    /// How many were answered.
    pub answered: u64,
}

/// How far a client's connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is none.
    Idle,
    /// The first packet was sent.
    Opening,
    /// It is established, and nothing is under way.
    Open,
    /// It is established, and waits for an answer.
    Waiting,
    /// It ends.
    Closing,
}

/// What a server says to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// The second of a handshake.
    SynAck,
    /// It has the packet; of a connection that the client does not know, a challenge.
    Ack,
    /// The end is known.
    FinAck,
    /// There is no such connection.
    Rst,
}

/// Why a connection ended that its client wanted to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// This server said that there is none.
    Reset(usize),
    /// Nobody answered for long.
    Silence,
}

/// How often a client sends one packet before it gives up: well above the two D and an interval
/// in which a farm settles, with a packet each interval.
pub const TRIES_MAX: u32 = 16;
