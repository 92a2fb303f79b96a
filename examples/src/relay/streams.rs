//! One cable for streams: a listener, and a pair of sockets for each stream.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Poll, Token};

use super::Passing;

/// The streams of one cable.
#[derive(Debug)]
pub(super) struct Streams {
    first: usize,
    listener: TcpListener,
    to: SocketAddr,
    pairs: [Option<Pair>; Streams::STREAMS_MAX],
}

impl Streams {
    /// Streams at once, at most: a pair of nodes has one, and for a moment an old and a new one.
    pub(super) const STREAMS_MAX: usize = 8;

    pub(super) fn new(
        poll: &Poll,
        first: usize,
        address: IpAddr,
        to: SocketAddr,
    ) -> io::Result<Self> {
        let mut listener = TcpListener::bind((address, 0).into())?;
        poll.registry().register(&mut listener, Token(first), Interest::READABLE)?;
        Ok(Self { first, listener, to, pairs: Default::default() })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// Something is ready: the listener, or a stream.
    pub(super) fn ready(&mut self, poll: &Poll, token: usize, passing: Passing) {
        match token.checked_sub(2) {
            None => self.accept(poll, passing),
            Some(at) => self.pump(at / 2, passing),
        }
    }

    /// Goes on where a cut held it still.
    pub(super) fn resume(&mut self, poll: &Poll, passing: Passing) {
        self.accept(poll, passing);
        for at in 0..Self::STREAMS_MAX {
            self.pump(at, passing);
        }
    }

    fn accept(&mut self, poll: &Poll, passing: Passing) {
        // Through a cut cable nobody is reached; who dials waits in the listener's queue.
        if !passing.forth {
            return;
        }
        loop {
            let Ok((near, _)) = self.listener.accept() else { return };
            let Some(at) = self.pairs.iter().position(Option::is_none) else { continue };
            // A stream that cannot be relayed is dropped, and so closed: the dialler tries again.
            if let Ok(pair) = Pair::new(poll, self.first + 2 + 2 * at, near, self.to) {
                self.pairs[at] = Some(pair);
            }
        }
    }

    fn pump(&mut self, at: usize, passing: Passing) {
        let Some(pair) = &mut self.pairs[at] else { return };
        if pair.pump(passing).is_err() {
            self.pairs[at] = None;
        }
    }
}

/// One stream: the dialler's socket and the listener's, and what is under way in each direction.
#[derive(Debug)]
struct Pair {
    sockets: [TcpStream; 2],
    pipes: [Pipe; 2],
}

impl Pair {
    fn new(poll: &Poll, token: usize, near: TcpStream, to: SocketAddr) -> io::Result<Self> {
        let mut sockets = [near, TcpStream::connect(to)?];
        for (side, socket) in sockets.iter_mut().enumerate() {
            socket.set_nodelay(true)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(socket, Token(token + side), interest)?;
        }
        Ok(Self { sockets, pipes: [Pipe::new(), Pipe::new()] })
    }

    /// Moves what can be moved; an error once either end is closed.
    fn pump(&mut self, passing: Passing) -> io::Result<()> {
        let [near, far] = &mut self.sockets;
        let [forth, back] = &mut self.pipes;
        if passing.forth {
            forth.pump(near, far)?;
        }
        if passing.back {
            back.pump(far, near)?;
        }
        Ok(())
    }
}

/// Bytes under way in one direction.
#[derive(Debug)]
struct Pipe {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Pipe {
    /// As much as two ends write at once.
    const LEN: usize = 256 << 10;

    fn new() -> Self {
        Self { buffer: vec![0; Self::LEN].into(), start: 0, end: 0 }
    }

    fn pump(&mut self, from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
        loop {
            if self.start == self.end {
                match from.read(&mut self.buffer) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(len) => (self.start, self.end) = (0, len),
                    Err(error) => return later(error),
                }
            }
            match to.write(&self.buffer[self.start..self.end]) {
                Ok(len) => self.start += len,
                Err(error) => return later(error),
            }
        }
    }
}

/// Whether an error only means that an event will come: also while a connection is being made.
fn later(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => Ok(()),
        _ => Err(error),
    }
}
