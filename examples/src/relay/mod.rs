//! A network that can be cut: cables between sockets of processes, and one thread that relays.
//!
//! Each process is configured with the relay's addresses in place of the other's. A cut cable
//! loses datagrams and holds streams still, as an unplugged one does: neither end is told.
//!
//! ```
//! use std::net::{Ipv4Addr, UdpSocket};
//! use ha_node::relay::{Network, Passing};
//!
//! let here = Ipv4Addr::LOCALHOST.into();
//! let (a, b) = (UdpSocket::bind((here, 0))?, UdpSocket::bind((here, 0))?);
//! let mut network = Network::new()?;
//! let cable = network.datagrams(here, a.local_addr()?, b.local_addr()?)?;
//! let relay = network.start()?;
//! let mut bytes = [0; 8];
//! a.send_to(b"one", cable.far)?; // what `a` is told that `b` is
//! assert_eq!(b.recv_from(&mut bytes)?, (3, cable.near)); // what `b` is told that `a` is
//! relay.set(cable.id, Passing::NOTHING);
//! a.send_to(b"lost", cable.far)?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod datagrams;
mod streams;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use mio::{Events, Poll, Token, Waker};

use datagrams::Datagrams;
use streams::Streams;

/// The cables of a relay that is not running yet.
#[derive(Debug)]
pub struct Network {
    poll: Poll,
    datagrams: Vec<Datagrams>,
    streams: Vec<Streams>,
    cables: usize,
}

/// A running relay. Dropping it stops it; then nothing passes any more.
#[derive(Debug)]
pub struct Relay {
    control: Arc<Mutex<Control>>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// Which cable of a network, in the order in which they were laid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CableId(usize);

/// A cable for datagrams between two sockets, `left` and `right`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cable {
    /// To cut it by.
    pub id: CableId,
    /// Where `right` sends to, and hears from, instead of `left`.
    pub near: SocketAddr,
    /// Where `left` sends to, and hears from, instead of `right`.
    pub far: SocketAddr,
}

/// A cable for streams that one end dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamCable {
    /// To cut it by.
    pub id: CableId,
    /// What is dialled instead of the listener.
    pub dial: SocketAddr,
}

/// What a cable lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passing {
    /// From left to right; from the dialler to the listener.
    pub forth: bool,
    /// From right to left; from the listener to the dialler.
    pub back: bool,
}

impl Passing {
    /// A whole cable.
    pub const ALL: Self = Self { forth: true, back: true };
    /// A cut cable.
    pub const NOTHING: Self = Self { forth: false, back: false };
}

impl Network {
    /// Tokens of each cable: a stream cable needs one for its listener and two for each stream.
    const TOKENS: usize = 2 + 2 * Streams::STREAMS_MAX;

    /// No cable yet.
    ///
    /// # Errors
    /// When the system gives no poll.
    pub fn new() -> io::Result<Self> {
        let (datagrams, streams) = (Vec::new(), Vec::new());
        Ok(Self { poll: Poll::new()?, datagrams, streams, cables: 0 })
    }

    /// Lays a cable for datagrams between the sockets `left` and `right`, which are or will be
    /// bound there; the relay's own sockets are bound at `address`.
    ///
    /// # Errors
    /// Those of the sockets.
    pub fn datagrams(
        &mut self,
        address: IpAddr,
        left: SocketAddr,
        right: SocketAddr,
    ) -> io::Result<Cable> {
        self.datagram_cable(address, Some(left), right)
    }

    fn datagram_cable(
        &mut self,
        address: IpAddr,
        left: Option<SocketAddr>,
        right: SocketAddr,
    ) -> io::Result<Cable> {
        let (id, first) = self.lay();
        let cable = Datagrams::new(&self.poll, first, address, left, right)?;
        let (far, near) = cable.addresses()?;
        self.datagrams.push(cable);
        Ok(Cable { id, near, far })
    }

    /// Lays a cable for datagrams from whoever asks to the socket `right`; what comes back goes to
    /// the last who asked. It has no `near` that anyone needs to know.
    ///
    /// # Errors
    /// Those of the sockets.
    pub fn questions(&mut self, address: IpAddr, right: SocketAddr) -> io::Result<Cable> {
        self.datagram_cable(address, None, right)
    }

    /// Lays a cable for streams to the listener `to`; the relay listens at `address`.
    ///
    /// # Errors
    /// Those of the sockets.
    pub fn streams(&mut self, address: IpAddr, to: SocketAddr) -> io::Result<StreamCable> {
        let (id, first) = self.lay();
        let cable = Streams::new(&self.poll, first, address, to)?;
        let dial = cable.address()?;
        self.streams.push(cable);
        Ok(StreamCable { id, dial })
    }

    /// Relays from now on, on a thread of its own. All cables are whole.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(mut self) -> io::Result<Relay> {
        let waker = Waker::new(self.poll.registry(), WAKE)?;
        let passing = vec![Passing::ALL; self.cables];
        let control = Arc::new(Mutex::new(Control { passing, ended: false }));
        let controlled = Arc::clone(&control);
        let thread = std::thread::Builder::new()
            .name("relay".into())
            .spawn(move || self.run(&controlled))?;
        Ok(Relay { control, waker, thread: Some(thread) })
    }

    fn lay(&mut self) -> (CableId, usize) {
        let id = self.cables;
        self.cables += 1;
        (CableId(id), id * Self::TOKENS)
    }

    fn run(&mut self, control: &Mutex<Control>) {
        let mut events = Events::with_capacity(256);
        let mut buffer = vec![0; BUFFER];
        loop {
            match self.poll.poll(&mut events, None) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => panic!("a poll of valid descriptors does not fail: {error}"),
            }
            // Held for the whole turn: once `set` has returned nothing passes that is cut.
            let control = control.lock().expect(POISONED);
            if control.ended {
                return;
            }
            for event in &events {
                if event.token() == WAKE {
                    // A cable may be whole again: what was held still goes on.
                    for cable in &mut self.streams {
                        let passing = control.passing[cable.first() / Self::TOKENS];
                        cable.resume(&self.poll, passing);
                    }
                } else {
                    self.ready(event.token(), &control, &mut buffer);
                }
            }
        }
    }

    fn ready(&mut self, Token(token): Token, control: &Control, buffer: &mut [u8]) {
        let first = token / Self::TOKENS * Self::TOKENS;
        let passing = control.passing[token / Self::TOKENS];
        if let Some(cable) = self.datagrams.iter_mut().find(|cable| cable.first() == first) {
            cable.ready(token - first, passing, buffer);
        } else if let Some(cable) = self.streams.iter_mut().find(|cable| cable.first() == first) {
            cable.ready(&self.poll, token - first, passing);
        }
    }
}

impl Relay {
    /// What `cable` lets through, from the moment on when this returns.
    pub fn set(&self, cable: CableId, passing: Passing) {
        self.control.lock().expect(POISONED).passing[cable.0] = passing;
        self.waker.wake().expect("an eventfd takes more wake-ups than anyone can send");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.control.lock().expect(POISONED).ended = true;
        // Should this fail, the thread ends at the next byte that comes.
        if self.waker.wake().is_ok()
            && let Some(thread) = self.thread.take()
        {
            // A panic there has been printed already; here it only means that it ended.
            let _ = thread.join();
        }
    }
}

/// What the relay's thread is told.
#[derive(Debug)]
struct Control {
    /// By cable.
    passing: Vec<Passing>,
    ended: bool,
}

const POISONED: &str = "the relay's thread does not panic, and nobody else may while holding it";
const WAKE: Token = Token(usize::MAX - 1);
/// The longest datagram.
const BUFFER: usize = 64 << 10;
