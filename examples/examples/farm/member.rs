//! One server: its node, its kernel in memory, and two sockets.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ha_core::driver::Clock;
use ha_core::farm::{Config, Effect, Farm, Input, Order, Output};
use ha_core::proto::wire::{Keys, LONG_MAX};
use ha_core::proto::{Boot, LinkId};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

use crate::frame::{FRAME_MAX, answer};
use crate::kernel::Kernel;
use crate::stage::Server;

/// A server that runs, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Member {
    orders: Sender<Order>,
    dies: Arc<AtomicBool>,
    seen: Arc<Mutex<Server>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// The addresses of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where it hears the others' beats.
    pub beats: SocketAddr,
    /// Where frames of clients arrive.
    pub frames: SocketAddr,
}

impl Member {
    /// Starts a server at its place; `boot` is another number at each start.
    pub(crate) fn start(
        config: Config,
        boot: Boot,
        places: Vec<Place>,
        clients: SocketAddr,
    ) -> io::Result<Self> {
        let me = usize::from(config.identity().me.as_u8());
        let bind = |at: SocketAddr| UdpSocket::bind(at);
        let (mut beats, mut frames) = (bind(places[me].beats)?, bind(places[me].frames)?);
        let poll = Poll::new()?;
        poll.registry().register(&mut beats, BEATS, Interest::READABLE)?;
        poll.registry().register(&mut frames, FRAMES, Interest::READABLE)?;
        let clock = Clock::of_the_machine();
        let (orders, asked) = channel();
        let dies = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Server { up: true, ..Server::default() }));
        let body = Body {
            me,
            farm: Farm::new(config, Keys::insecure(), boot, clock.now()),
            kernel: Kernel::default(),
            clock,
            beats,
            frames,
            places,
            clients,
            asked,
            dies: Arc::clone(&dies),
            seen: Arc::clone(&seen),
        };
        let thread = thread::Builder::new().name(format!("server{me}"));
        let thread = Some(thread.spawn(move || body.run(poll))?);
        Ok(Self { orders, dies, seen, thread })
    }

    /// Asks something of its node.
    pub(crate) fn order(&self, order: Order) {
        // One that is dead obeys nobody.
        let _ = self.orders.send(order);
    }

    /// How it is doing.
    pub(crate) fn seen(&self) -> Server {
        self.seen.lock().expect("nothing panics while it is changed").clone()
    }
}

impl Drop for Member {
    /// It dies, and its kernel with it: nobody is told.
    fn drop(&mut self) {
        self.dies.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && !matches!(thread.join(), Ok(Ok(())))
        {
            eprintln!("farm: a server ended by itself");
        }
    }
}

/// What is on the thread.
struct Body {
    me: usize,
    farm: Farm,
    kernel: Kernel,
    clock: Clock,
    beats: UdpSocket,
    frames: UdpSocket,
    places: Vec<Place>,
    clients: SocketAddr,
    asked: Receiver<Order>,
    dies: Arc<AtomicBool>,
    seen: Arc<Mutex<Server>>,
}

impl Body {
    fn run(mut self, mut poll: Poll) -> io::Result<()> {
        let mut events = Events::with_capacity(8);
        while !self.dies.load(Ordering::Relaxed) {
            self.perform();
            let due = self.farm.poll_timeout().map(|due| due.at.saturating_since(self.clock.now()));
            let wait = due.unwrap_or(LOOK).min(LOOK);
            match poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            self.hear();
            self.serve();
            for order in self.asked.try_iter().collect::<Vec<_>>() {
                if let Err(refused) = self.farm.order(self.clock.now(), order) {
                    eprintln!("farm: server{}: {refused}", self.me);
                }
            }
            self.farm.handle_input(self.clock.now(), Input::Timeout);
            self.tell();
        }
        Ok(())
    }

    fn hear(&mut self) {
        let mut buffer = [0; LONG_MAX + 1];
        for _ in 0..TURN {
            let Ok((len, _)) = self.beats.recv_from(&mut buffer) else { return };
            let bytes = &buffer[..len];
            self.farm.handle_input(self.clock.now(), Input::Datagram { link: LINK, bytes });
            self.perform();
        }
    }

    fn serve(&mut self) {
        let mut buffer = [0; FRAME_MAX + 1];
        for _ in 0..TURN {
            let Ok((len, _)) = self.frames.recv_from(&mut buffer) else { return };
            if let Some((port, reply)) = self.kernel.receive(self.clock.now(), &buffer[..len]) {
                // What is lost is asked for again.
                let _ = self.frames.send_to(&answer(self.me, port, reply), self.clients);
            }
        }
    }

    /// Does what the node wants done, in its order (F1, F5).
    fn perform(&mut self) {
        let mut done = Vec::new();
        loop {
            while let Some(output) = self.farm.poll_output() {
                match output {
                    Output::Transmit { link: _, to, datagram } => {
                        let to = self.places[usize::from(to.as_u8())].beats;
                        let _ = self.beats.send_to(&datagram, to);
                    }
                    Output::Event(_) => {}
                    Output::Effect { ticket, effect } => {
                        self.effect(effect);
                        done.push(ticket);
                    }
                }
            }
            if done.is_empty() {
                return;
            }
            for ticket in done.drain(..) {
                self.farm.handle_input(self.clock.now(), Input::Done { ticket, ok: true });
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Filter(filter) => self.kernel.filter = Some(filter),
            Effect::Lease(until) => self.kernel.until = Some(until),
            Effect::Shut => self.kernel.until = None,
            // There is no ARP, and TCP is the whole application.
            Effect::Announce(_) | Effect::Start | Effect::Stop { .. } | Effect::Reset => {}
        }
    }

    fn tell(&self) {
        let now = self.clock.now();
        let view = self.farm.view(now);
        let says = match view.why {
            Some(why) => why.to_string(),
            None if view.drained => "drains".into(),
            None => String::new(),
        };
        let buckets = self.kernel.buckets(now);
        let server = Server { up: true, says, buckets, full: view.full };
        *self.seen.lock().expect("nothing panics while it is looked at") = server;
    }
}

/// A place for a server on loopback that nobody else has: its sockets are bound once, to find
/// free ports.
pub(crate) fn place() -> io::Result<Place> {
    let free = || StdSocket::bind("127.0.0.1:0")?.local_addr();
    Ok(Place { beats: free()?, frames: free()? })
}

const BEATS: Token = Token(0);
const FRAMES: Token = Token(1);
/// There is one network.
const LINK: LinkId = LinkId(0);
/// Datagrams of one socket in a turn, so that the other one comes to its own.
const TURN: usize = 64;
/// How long a turn waits at most: orders come without waking the thread.
const LOOK: Duration = Duration::from_millis(10);
