//! Many clients in one thread, to find out how fast a ledger is.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::wire::{Append, ClientId, Request, RequestNumber, Response, frame};

/// So many clients, each on a connection of its own with one request in flight, as fast as they
/// are answered. They do not connect again: a connection that breaks ends the run with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// How many clients, 1 to 1,000.
    pub clients: u16,
    /// Bytes in each line.
    pub line: usize,
    /// How long to go on.
    pub duration: Duration,
    /// The id of the first client: new for each run against one ledger.
    pub first: ClientId,
}

/// What a run found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadReport {
    /// How long it really took.
    pub took: Duration,
    /// From sending to acknowledgement, of each line, ascending.
    pub latencies: Vec<Duration>,
}

impl LoadReport {
    /// Acknowledged lines per second.
    pub fn rate(&self) -> f64 {
        // Exact up to 2^53 lines.
        #[allow(clippy::cast_precision_loss)]
        let lines = self.latencies.len() as f64;
        lines / self.took.as_secs_f64()
    }

    /// The latency that `part` of `whole` lines did not exceed; `None` when there was no line.
    pub fn latency(&self, part: usize, whole: usize) -> Option<Duration> {
        let last = self.latencies.len().checked_sub(1)?;
        self.latencies.get(last * part / whole).copied()
    }
}

impl Load {
    /// Runs against the ledger at `address`.
    ///
    /// # Errors
    /// Those of the sockets; [`io::ErrorKind::InvalidData`] for an answer that is none, or a
    /// refusal.
    pub fn run(&self, address: SocketAddr) -> io::Result<LoadReport> {
        let mut poll = Poll::new()?;
        let line = vec![b'x'; self.line];
        let mut clients = (0..u64::from(self.clients))
            .map(|at| Driven::connect(&poll, address, ClientId(self.first.0 + at), at))
            .collect::<io::Result<Vec<_>>>()?;
        let mut events = Events::with_capacity(1024);
        let mut scratch = vec![0; 4096];
        let mut latencies = Vec::with_capacity(1 << 20);
        let started = Instant::now();
        for client in &mut clients {
            client.send(&line)?;
        }
        while started.elapsed() < self.duration {
            poll.poll(&mut events, Some(Duration::from_secs(10)))?;
            if events.is_empty() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer for 10 s"));
            }
            for event in events.iter().filter(|event| event.is_readable()) {
                let client = &mut clients[event.token().0];
                if let Some(latency) = client.receive(&mut scratch)? {
                    latencies.push(latency);
                    client.send(&line)?;
                }
            }
        }
        let took = started.elapsed();
        latencies.sort_unstable();
        Ok(LoadReport { took, latencies })
    }
}

/// One client of a load.
struct Driven {
    stream: TcpStream,
    id: ClientId,
    number: RequestNumber,
    sent: Instant,
    output: Vec<u8>,
    input: Vec<u8>,
}

impl Driven {
    fn connect(poll: &Poll, address: SocketAddr, id: ClientId, token: u64) -> io::Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let token = Token(usize::try_from(token).expect("it counts clients"));
        poll.registry().register(&mut stream, token, Interest::READABLE)?;
        let (output, input) = (Vec::new(), Vec::new());
        Ok(Self { stream, id, number: RequestNumber(0), sent: Instant::now(), output, input })
    }

    fn send(&mut self, line: &[u8]) -> io::Result<()> {
        self.number.0 += 1;
        self.output.clear();
        Request::Append(Append { client: self.id, number: self.number, line })
            .encode(&mut self.output);
        self.sent = Instant::now();
        // One request is far smaller than a socket's buffer, which is empty between two requests.
        self.stream.write_all(&self.output)
    }

    /// Reads once; the latency of the request when its answer is whole.
    fn receive(&mut self, scratch: &mut [u8]) -> io::Result<Option<Duration>> {
        let len = match self.stream.read(scratch) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        self.input.extend_from_slice(&scratch[..len]);
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let whole = frame(&self.input).map_err(|error| invalid(error.to_string()))?;
        let Some((content, len)) = whole else { return Ok(None) };
        match Response::decode(content) {
            Ok(Response::Appended { number, .. }) if number == self.number => {
                self.input.drain(..len);
                Ok(Some(self.sent.elapsed()))
            }
            other => Err(invalid(format!("{other:?} for request {}", self.number.0))),
        }
    }
}
