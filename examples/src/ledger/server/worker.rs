//! The ledger's thread.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufWriter};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ha_proto::{Instant, Seq};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use super::connection::{Closed, Connection};
use super::{Command, Proposer, Refused, ServerError, Shared};
use crate::ledger::state::{Ledger, Outcome};
use crate::ledger::wire::{Append, ClientId, Refusal, Request, RequestNumber, Response};

pub(super) const WAKE: Token = Token(0);
const LISTENER: Token = Token(1);
const FIRST: usize = 2;

/// The poll loop and all that it owns.
pub(super) struct Worker {
    poll: Poll,
    shared: Arc<Shared>,
    ledger: Ledger,
    /// The last record that is applied.
    applied: Seq,
    /// Serving, and since which record it may answer.
    serving: Option<Seq>,
    /// Where it listens, and until when.
    listener: Option<(TcpListener, Instant)>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Counts connections, so that a place that is used again is not taken for what it was.
    serial: u64,
    waiting: BTreeMap<ClientId, Waiting>,
    proposer: Option<Box<dyn Proposer>>,
    /// Records that the proposer has not taken, in order.
    proposals: VecDeque<Bytes>,
    /// Connections with answers to write at the end of the turn.
    dirty: Vec<usize>,
    scratch: Vec<u8>,
    /// Where records are copied to, so that a turn's records share one allocation.
    arena: BytesMut,
}

/// Which connection waits for which request of a client.
#[derive(Clone, Copy)]
struct Waiting {
    slot: usize,
    serial: u64,
    number: RequestNumber,
}

/// Connections at once, at most: four times what the benches use.
const CONNECTIONS_MAX: usize = 1024;
/// Records that wait for the proposer, at most; beyond, the connection that sends more is closed.
/// One for each connection and as much again for clients that connected anew.
const PROPOSALS_MAX: usize = 2 * CONNECTIONS_MAX;
/// How long to wait before the proposer is asked again when it had no room.
const RETRY: Duration = Duration::from_micros(500);
/// Bytes read at once.
const SCRATCH: usize = 64 << 10;
/// Room for a turn's records.
const ARENA: usize = 256 << 10;

impl Worker {
    pub(super) fn new(poll: Poll, shared: Arc<Shared>) -> Self {
        Self {
            poll,
            shared,
            ledger: Ledger::default(),
            applied: Seq::ZERO,
            serving: None,
            listener: None,
            connections: Vec::new(),
            free: Vec::new(),
            serial: 0,
            waiting: BTreeMap::new(),
            proposer: None,
            proposals: VecDeque::new(),
            dirty: Vec::new(),
            scratch: vec![0; SCRATCH],
            arena: BytesMut::new(),
        }
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(CONNECTIONS_MAX);
        let mut commands = Vec::new();
        while self.turn(&mut events, &mut commands) {}
    }

    /// Waits until there is something to do, does it; false at the end.
    fn turn(&mut self, events: &mut Events, commands: &mut Vec<Command>) -> bool {
        match self.poll.poll(events, self.timeout()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(error) => panic!("a poll of valid descriptors does not fail: {error}"),
        }
        // This may not have run for long: before a command or a request is looked at.
        self.expire();
        self.shared.take(commands);
        for command in commands.drain(..) {
            if matches!(command, Command::End) {
                self.shared.close();
                return false;
            }
            self.obey(command);
        }
        self.expire();
        for event in &*events {
            match event.token() {
                WAKE => {}
                LISTENER => self.accept(),
                Token(token) => self.ready(token - FIRST, event.is_writable()),
            }
        }
        self.propose();
        self.flush();
        true
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.proposals.is_empty() && self.proposer.is_some() {
            return Some(RETRY);
        }
        let (_, expires) = self.listener.as_ref()?;
        // Rounded up by the system to a whole millisecond: never early, so never in vain.
        Some(expires.saturating_since(self.shared.clock.now()))
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Connect(proposer) => self.proposer = Some(proposer),
            Command::TakeAddress { address, shared, expires, reply } => {
                let result = self.listen(address, shared, expires);
                // A reply that nobody waits for any more is of no use to anyone: here and below.
                let _ = reply.send(result.map_err(|error| ServerError::Listen { address, error }));
            }
            Command::KeepAddress(until) => {
                if let Some((_, expires)) = &mut self.listener {
                    *expires = until;
                }
            }
            Command::DropAddress(reply) => {
                self.unlisten();
                let _ = reply.send(());
            }
            Command::Serve { head, reply } => {
                self.serving = Some(head);
                self.open();
                let _ = reply.send(());
            }
            Command::Cease(reply) => {
                self.cease();
                let _ = reply.send(());
            }
            Command::Apply(seq, record) => self.apply(seq, record),
            Command::Refuse(record, why) => self.refuse(&record, why),
            Command::Reset => {
                self.ledger = Ledger::default();
                self.applied = Seq::ZERO;
            }
            Command::Dump { path, reply } => {
                let _ = reply.send(self.dump(path));
            }
            Command::End => unreachable!("the loop ends before it obeys"),
        }
    }

    /// Listens at `address`, in place of wherever it listened.
    fn listen(&mut self, address: SocketAddr, shared: bool, until: Instant) -> io::Result<()> {
        self.unlisten();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Connections of an earlier reign may linger in TIME_WAIT; a listener of another process
        // still makes this fail, which is what keeps the address with one owner.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(CONNECTIONS_MAX).expect("a small constant"))?;
        let mut listener = TcpListener::from_std(socket.into());
        self.poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        self.listener = Some((listener, until));
        Ok(())
    }

    fn unlisten(&mut self) {
        self.listener = None;
        self.close_all();
    }

    /// The address has a finite life, so that a node that is not told to keep it loses it (R10).
    fn expire(&mut self) {
        let now = self.shared.clock.now();
        if self.listener.as_ref().is_some_and(|(_, expires)| *expires <= now) {
            self.unlisten();
        }
    }

    fn cease(&mut self) {
        self.serving = None;
        self.close_all();
    }

    fn close_all(&mut self) {
        // Dropping the sockets closes them, and epoll forgets what is closed.
        self.connections.clear();
        self.free.clear();
        self.waiting.clear();
        self.proposals.clear();
        self.dirty.clear();
    }

    /// Whether requests are taken: what was acknowledged before must be readable first.
    fn is_open(&self) -> bool {
        self.serving.is_some_and(|head| self.applied >= head)
    }

    /// Takes requests that came while it was not open: their events are gone.
    fn open(&mut self) {
        if self.is_open() {
            for slot in 0..self.connections.len() {
                self.ready(slot, false);
            }
        }
    }

    fn accept(&mut self) {
        while let Some((listener, _)) = &self.listener {
            match listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The client gave up while it was queued, or descriptors are short: the next one.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => return,
            }
        }
    }

    fn admit(&mut self, mut stream: TcpStream) {
        let slot = self.free.pop().unwrap_or(self.connections.len());
        if slot >= CONNECTIONS_MAX || stream.set_nodelay(true).is_err() {
            return;
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut stream, Token(FIRST + slot), interest).is_err() {
            self.free.push(slot);
            return;
        }
        self.serial += 1;
        let connection = Some(Connection::new(stream, self.serial));
        match self.connections.get_mut(slot) {
            Some(place) => *place = connection,
            None => self.connections.push(connection),
        }
    }

    /// A connection can be read, or written.
    fn ready(&mut self, slot: usize, writable: bool) {
        let Some(mut connection) = self.connections.get_mut(slot).and_then(Option::take) else {
            return;
        };
        let mut result = if writable { connection.flush() } else { Ok(()) };
        if self.is_open() {
            let mut scratch = std::mem::take(&mut self.scratch);
            let from = (slot, connection.serial);
            result = result.and_then(|()| {
                let mut replies = Vec::new();
                connection.read(&mut scratch, |frame| {
                    self.request(from, Request::decode(frame)?, &mut replies);
                    Ok(())
                })?;
                connection.answer()?.extend_from_slice(&replies);
                connection.flush()
            });
            self.scratch = scratch;
        }
        if result.is_ok() && self.proposals.len() <= PROPOSALS_MAX {
            self.connections[slot] = Some(connection);
        } else {
            // Requests that wait for an answer here are acknowledged when they are repeated.
            self.free.push(slot);
        }
    }

    /// Takes one request; what can be answered at once goes to `replies`.
    fn request(&mut self, from: (usize, u64), request: Request<'_>, replies: &mut Vec<u8>) {
        match request {
            Request::Append(append) => {
                let (slot, serial) = from;
                let waiting = Waiting { slot, serial, number: append.number };
                self.waiting.insert(append.client, waiting);
                if self.arena.capacity() < Append::HEAD + append.line.len() {
                    self.arena = BytesMut::with_capacity(ARENA);
                }
                append.encode(&mut self.arena);
                self.proposals.push_back(self.arena.split().freeze());
            }
            Request::Read { number, index } => match self.ledger.line(index) {
                Some(append) => Response::Line { number, append }.encode(replies),
                None => Response::NoLine { number }.encode(replies),
            },
        }
    }

    fn propose(&mut self) {
        let Some(mut proposer) = self.proposer.take() else { return };
        while !self.proposals.is_empty() {
            match proposer.propose(&mut self.proposals) {
                Ok(()) => break,
                Err(why) => {
                    let record = self.proposals.pop_front().expect("the first one was refused");
                    self.refuse(&record, why);
                }
            }
        }
        self.proposer = Some(proposer);
    }

    /// A record of a client will not be committed.
    fn refuse(&mut self, record: &[u8], why: Refused) {
        let append = Append::decode(record).expect("it was encoded here");
        let (client, number) = (append.client, append.number);
        match why {
            // Clients find the one that serves by connecting again.
            Refused::NotServing => self.close_all(),
            Refused::NoSpace => {
                self.answer(client, number, &Response::Refused { number, why: Refusal::NoSpace });
            }
        }
    }

    fn apply(&mut self, seq: Seq, record: Bytes) {
        let was_open = self.is_open();
        self.applied = seq;
        match self.ledger.apply(record) {
            Outcome::Appended(at) | Outcome::Repeated(at) => {
                let response = Response::Appended { number: at.number, index: at.index };
                self.answer(at.client, at.number, &response);
            }
            Outcome::Refused(client, number, why) => {
                self.answer(client, number, &Response::Refused { number, why });
            }
            Outcome::Foreign => {}
        }
        if !was_open {
            self.open();
        }
    }

    /// Answers whoever waits for this request, if anyone does and this node serves.
    fn answer(&mut self, client: ClientId, number: RequestNumber, response: &Response<'_>) {
        let Some(&Waiting { slot, serial, number: expected }) = self.waiting.get(&client) else {
            return;
        };
        if expected != number || self.serving.is_none() {
            return;
        }
        self.waiting.remove(&client);
        let Some(connection) = self.connection(slot).filter(|one| one.serial == serial) else {
            return;
        };
        let was_dirty = std::mem::replace(&mut connection.dirty, true);
        match connection.answer() {
            Ok(output) => response.encode(output),
            Err(Closed) => return self.close(slot),
        }
        if !was_dirty {
            self.dirty.push(slot);
        }
    }

    /// Writes the answers of this turn, once for each connection.
    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            if self.connection(slot).is_some_and(|connection| connection.flush().is_err()) {
                self.close(slot);
            }
        }
        self.dirty = dirty;
    }

    fn connection(&mut self, slot: usize) -> Option<&mut Connection> {
        self.connections.get_mut(slot).and_then(Option::as_mut)
    }

    fn close(&mut self, slot: usize) {
        self.connections[slot] = None;
        self.free.push(slot);
    }

    fn dump(&self, path: PathBuf) -> Result<Seq, ServerError> {
        let written = File::create(&path).and_then(|file| self.ledger.dump(BufWriter::new(file)));
        match written {
            Ok(()) => Ok(self.applied),
            Err(error) => Err(ServerError::Dump { path, error }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_request_that_waited_while_the_address_expired_is_not_answered() {
        let poll = Poll::new().unwrap();
        let shared = Arc::new(Shared::new(&poll).unwrap());
        let clock = shared.clock;
        let mut worker = Worker::new(poll, shared);
        let address =
            std::net::TcpListener::bind((ha_lab::own_loopback(), 0)).unwrap().local_addr().unwrap();
        worker.listen(address, false, clock.now() + Duration::from_mins(1)).unwrap();
        worker.serving = Some(Seq::ZERO);
        let (mut events, mut commands) = (Events::with_capacity(8), Vec::new());
        let mut client = std::net::TcpStream::connect(address).unwrap();
        while worker.connections.is_empty() {
            assert!(worker.turn(&mut events, &mut commands));
        }
        let mut request = Vec::new();
        let (number, index) = (RequestNumber(1), crate::ledger::wire::LineIndex(0));
        Request::Read { number, index }.encode(&mut request);
        client.write_all(&request).unwrap();
        // The process does not run for longer than the address lives; the node is late to keep it.
        worker.listener.as_mut().unwrap().1 = clock.now();
        assert!(worker.turn(&mut events, &mut commands));
        drop(worker);
        let mut answer = Vec::new();
        // The request was not even read, so that the connection may be reset, too.
        let _ = client.read_to_end(&mut answer);
        assert!(answer.is_empty(), "a stale state would be read");
    }
}
