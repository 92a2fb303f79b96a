//! The application: a ledger of requests, one counter for each client.

use bytes::{BufMut, BytesMut};
use ha_proto::{Chain, Epoch, Instant, Seq};

/// How many clients there are.
pub const CLIENTS: usize = 3;

/// What a client asks for, and what a record of the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub client: usize,
    /// Which of its requests, from 1; it asks the next one only when this one is acknowledged.
    pub number: u64,
}

/// The last request of one client that is in the ledger, and the record that put it there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// Its number.
    pub number: u64,
    /// The record.
    pub seq: Seq,
    /// The record's chain.
    pub chain: Chain,
}

/// What the ledger knows: the whole of it follows from the records up to `applied`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The last record that is in it.
    pub applied: Seq,
    /// Its chain.
    pub chain: Chain,
    /// For each client.
    pub last: [Last; CLIENTS],
}

/// One run of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// In which reign.
    pub epoch: Epoch,
    /// Nobody is answered before this record is applied.
    pub head: Seq,
    /// Whether it is up. Until then it may serve, for all that anyone knows.
    pub started: bool,
}

/// The application of one node.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// What it knows.
    pub state: State,
    /// What it would know after a restart.
    pub kept: State,
    /// The run, if there is one.
    pub run: Option<Run>,
    /// Whether it is kept from doing anything.
    pub fenced: bool,
    /// Since a fence of this run was asked for: until when there was a lease then.
    pub stops_by: Option<Instant>,
    /// Requests that are proposed and not yet applied.
    pub pending: [u64; CLIENTS],
}

impl Request {
    /// The record's payload: client u8, number u64, padding up to `len`.
    pub fn encode(&self, len: usize, out: &mut BytesMut) {
        out.clear();
        out.put_u8(self.client as u8);
        out.put_u64(self.number);
        if let Some(rest) = len.checked_sub(out.len()) {
            out.put_bytes(self.number as u8, rest);
        }
    }

    /// Reads a payload; `None` when it is none of ours, or damaged.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (&client, rest) = payload.split_first()?;
        let (number, padding) = rest.split_first_chunk()?;
        let number = u64::from_be_bytes(*number);
        let whole = padding.iter().fold(0, |wrong, &byte| wrong | (byte ^ number as u8)) == 0;
        let client = usize::from(client);
        (whole && client < CLIENTS).then_some(Self { client, number })
    }
}

impl Host {
    /// Whether it could answer someone, as far as its node knows.
    pub fn may_serve(&self) -> bool {
        self.run.is_some() && !self.fenced
    }

    /// Whether it answers.
    pub fn answers(&self) -> bool {
        let ready = |run: Run| run.started && self.state.applied >= run.head;
        !self.fenced && self.run.is_some_and(ready)
    }

    /// The process is gone; `kept` is what it finds when it starts again.
    pub fn crash(&mut self) {
        *self = Self { state: self.kept, kept: self.kept, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_read_back_and_damage_is_seen() {
        let request = Request { client: 2, number: 77 };
        let mut bytes = BytesMut::new();
        request.encode(20, &mut bytes);
        assert_eq!(bytes.len(), 20);
        assert_eq!(Request::decode(&bytes), Some(request));
        bytes[19] ^= 1;
        assert_eq!(Request::decode(&bytes), None);
        assert_eq!(Request::decode(&[]), None);
        assert_eq!(Request::decode(&[9; 9]), None);
    }

    #[test]
    fn nobody_is_answered_before_the_head_is_applied() {
        let mut host = Host::default();
        assert!(!host.answers());
        host.run = Some(Run { epoch: Epoch::NONE, head: Seq(3), started: true });
        assert!(host.may_serve() && !host.answers());
        host.state.applied = Seq(3);
        assert!(host.answers());
        host.fenced = true;
        assert!(!host.may_serve() && !host.answers());
    }
}
