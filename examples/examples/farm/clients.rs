//! Clients of the farm in user space: each opens a connection, asks, ends it, and opens another one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::frame::{Reply, Segment, frame, read_answer};
use crate::stage::Tally;

/// Clients at work, on a thread of their own.
#[derive(Debug)]
pub(crate) struct Clients {
    at: SocketAddr,
    ends: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    thread: Option<JoinHandle<()>>,
}

impl Clients {
    /// `count` clients on a network where the switch sends every frame to all `servers`.
    pub(crate) fn start(
        socket: UdpSocket,
        servers: Vec<SocketAddr>,
        count: u16,
    ) -> io::Result<Self> {
        let at = socket.local_addr()?;
        socket.set_read_timeout(Some(TICK))?;
        let (ends, tally) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let body = Body {
            socket,
            servers,
            ends: Arc::clone(&ends),
            tally: Arc::clone(&tally),
            clients: Vec::new(),
            next: u32::from(FIRST_PORT),
        };
        let thread = thread::Builder::new().name("clients".into());
        let thread = Some(thread.spawn(move || body.run(count))?);
        Ok(Self { at, ends, tally, thread })
    }

    /// Where servers answer them.
    pub(crate) fn at(&self) -> SocketAddr {
        self.at
    }

    /// What they saw so far.
    pub(crate) fn tally(&self) -> Tally {
        *self.tally.lock().expect("nothing panics while it is counted")
    }

    /// They stop.
    pub(crate) fn end(&mut self) -> Tally {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("clients do not panic");
        }
        self.tally()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.end();
    }
}

struct Body {
    socket: UdpSocket,
    servers: Vec<SocketAddr>,
    ends: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    clients: Vec<Client>,
    /// The next connection's port.
    next: u32,
}

/// One client, and its connection.
struct Client {
    from: SocketAddrV4,
    /// Who answered its SYN.
    server: Option<usize>,
    /// The request that is asked, from 1; 0 while it opens.
    asked: u32,
    began: Instant,
    /// When it asks next, or again.
    due: Instant,
    /// Whether it waits for an answer.
    waits: bool,
}

impl Body {
    fn run(mut self, count: u16) {
        for _ in 0..count {
            let client = self.open();
            self.clients.push(client);
        }
        let mut buffer = [0; 16];
        let mut ticked = Instant::now();
        while !self.ends.load(Ordering::Relaxed) {
            if let Ok((len, _)) = self.socket.recv_from(&mut buffer) {
                self.heard(&buffer[..len]);
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                for at in 0..self.clients.len() {
                    self.tick(at);
                }
            }
        }
    }

    /// A new connection: another port, and so another bucket.
    fn open(&mut self) -> Client {
        let taken = |clients: &[Client], port| clients.iter().any(|it| it.from.port() == port);
        let port = loop {
            let port = self.next as u16;
            self.next =
                if self.next == u32::from(u16::MAX) { FIRST_PORT.into() } else { self.next + 1 };
            if !taken(&self.clients, port) {
                break port;
            }
        };
        let from = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, (port % 250) as u8 + 1), port);
        let now = Instant::now();
        Client { from, server: None, asked: 0, began: now, due: now, waits: false }
    }

    fn send(&self, from: SocketAddrV4, segment: Segment) {
        let frame = frame(from, segment);
        for server in &self.servers {
            // What is lost is sent again.
            let _ = self.socket.send_to(&frame, server);
        }
    }

    fn tick(&mut self, at: usize) {
        let now = Instant::now();
        let client = &mut self.clients[at];
        if now < client.due {
            return;
        }
        if client.waits && now.duration_since(client.began) > PATIENCE {
            self.fail(at);
            return;
        }
        if !client.waits {
            (client.waits, client.began) = (true, now);
        }
        client.due = now + AGAIN;
        let segment = match client.asked {
            0 => Segment::Syn,
            number => Segment::Request(number),
        };
        let from = client.from;
        self.send(from, segment);
    }

    fn fail(&mut self, at: usize) {
        let mut tally = self.tally.lock().expect("nothing panics while it is looked at");
        match self.clients[at].server {
            Some(server) => tally.broken[server] += 1,
            None => tally.unopened += 1,
        }
        drop(tally);
        self.clients[at] = self.open();
    }

    fn heard(&mut self, bytes: &[u8]) {
        let Some((server, port, reply)) = read_answer(bytes) else { return };
        let Some(at) = self.clients.iter().position(|it| it.from.port() == port) else { return };
        let client = &mut self.clients[at];
        let now = Instant::now();
        match (reply, client.server) {
            (Reply::SynAck, None) => {
                (client.server, client.asked, client.waits) = (Some(server), 1, false);
                client.due = now + PAUSE;
            }
            (Reply::Answer(number), Some(of)) if of == server => {
                if number == client.asked && client.waits {
                    self.answered(at, server, now);
                }
            }
            (Reply::Reset, Some(_)) => self.fail(at),
            // Asked again, and answered twice by one server.
            (Reply::SynAck, Some(of)) if of == server => {}
            // Of a connection that has the same port now.
            (Reply::Answer(_) | Reply::Reset, None) => {}
            (Reply::SynAck | Reply::Answer(_), Some(_)) => {
                self.tally.lock().expect("nothing panics while it is looked at").twice += 1;
            }
        }
    }

    fn answered(&mut self, at: usize, server: usize, now: Instant) {
        self.tally.lock().expect("nothing panics while it is looked at").served[server] += 1;
        let client = &mut self.clients[at];
        if client.asked < REQUESTS {
            (client.asked, client.waits, client.due) = (client.asked + 1, false, now + PAUSE);
            return;
        }
        let from = client.from;
        self.send(from, Segment::Fin);
        self.clients[at] = self.open();
    }
}

/// Requests of a connection: with the pauses between them, it lasts two seconds.
const REQUESTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);
const TICK: Duration = Duration::from_millis(2);
/// As TCP does, if sooner: what is not answered is sent again.
const AGAIN: Duration = Duration::from_millis(200);
/// Then the connection is broken.
const PATIENCE: Duration = Duration::from_secs(3);
const FIRST_PORT: u16 = 10_000;
