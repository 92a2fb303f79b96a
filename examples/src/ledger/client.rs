//! A client of the ledger that finds the one who serves by itself.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::wire::{
    Append, ClientId, FrameError, LineIndex, Refusal, Request, RequestNumber, Response, frame,
};

/// One client: one request in flight. It repeats a request, with its number, until it is
/// acknowledged, and connects again whenever a connection breaks or says nothing for too long.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    id: ClientId,
    number: RequestNumber,
    patience: Patience,
    stream: Option<TcpStream>,
    output: Vec<u8>,
    input: Vec<u8>,
}

/// How long a client waits, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For an answer on one connection; longer than the longest stall that the pair promises.
    pub answer: Duration,
    /// After the first attempt that failed: short, because it adds to each interruption. Each
    /// further one doubles it, so that many clients leave the nodes time to take over.
    pub pause: Duration,
    /// The longest of these pauses.
    pub pause_max: Duration,
    /// For an acknowledgement, all repetitions included; then it gives up.
    pub give_up: Duration,
}

/// An acknowledged line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which request it was.
    pub number: RequestNumber,
    /// Where the line is.
    pub index: LineIndex,
    /// From the first sending to the acknowledgement, repetitions included.
    pub took: Duration,
}

/// Why a request has no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// It was refused: nothing was done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody acknowledged it in time. It may have been done, or may be done yet.
    #[error("no answer within {after:?}; the last connection failed with: {error}")]
    GaveUp {
        /// How long it tried.
        after: Duration,
        /// How the last attempt ended.
        error: io::Error,
    },
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(10),
            pause: Duration::from_millis(2),
            pause_max: Duration::from_millis(50),
            give_up: Duration::from_mins(2),
        }
    }
}

impl Patience {
    /// The pause after `pause`.
    fn after(&self, pause: Duration) -> Duration {
        pause.saturating_mul(2).min(self.pause_max.max(self.pause))
    }
}

impl Client {
    /// A client called `id`, which has asked nothing yet, of the ledger at `address`.
    pub fn new(address: SocketAddr, id: ClientId, patience: Patience) -> Self {
        let (output, input) = (Vec::new(), Vec::new());
        Self { address, id, number: RequestNumber(0), patience, stream: None, output, input }
    }

    /// Its name.
    pub const fn id(&self) -> ClientId {
        self.id
    }

    /// Appends a line; returns once it is committed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn append(&mut self, line: &[u8]) -> Result<Receipt, ClientError> {
        self.number.0 += 1;
        let number = self.number;
        let append = Append { client: self.id, number, line };
        let started = Instant::now();
        let answer = self.ask(&Request::Append(append), number, |response| match response {
            Response::Appended { index, .. } => Some(Ok(*index)),
            Response::Refused { why, .. } => Some(Err(*why)),
            Response::Line { .. } | Response::NoLine { .. } => None,
        })?;
        Ok(Receipt { number, index: answer?, took: started.elapsed() })
    }

    /// Reads a line back; `None` when there is no such line yet.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn read(&mut self, index: LineIndex) -> Result<Option<Vec<u8>>, ClientError> {
        let number = self.number;
        let answer = self.ask(&Request::Read { number, index }, number, |response| {
            match response {
                Response::Line { append, .. } => Some(Ok(Some(append.line.to_vec()))),
                Response::NoLine { .. } => Some(Ok(None)),
                Response::Refused { why, .. } => Some(Err(*why)),
                // A late answer to what this client repeated before.
                Response::Appended { .. } => None,
            }
        })?;
        Ok(answer?)
    }

    fn ask<T>(
        &mut self,
        request: &Request<'_>,
        number: RequestNumber,
        mut accept: impl FnMut(&Response<'_>) -> Option<T>,
    ) -> Result<T, ClientError> {
        self.output.clear();
        request.encode(&mut self.output);
        let started = Instant::now();
        let mut pause = self.patience.pause;
        loop {
            let error = match self.attempt(number, &mut accept) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let after = started.elapsed();
            if after >= self.patience.give_up {
                return Err(ClientError::GaveUp { after, error });
            }
            thread::sleep(pause);
            pause = self.patience.after(pause);
        }
    }

    /// Sends the request once and waits for its answer.
    fn attempt<T>(
        &mut self,
        number: RequestNumber,
        accept: &mut impl FnMut(&Response<'_>) -> Option<T>,
    ) -> io::Result<T> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.address, &self.patience)?,
        };
        let answer = self.exchange(&mut stream, number, accept)?;
        self.stream = Some(stream);
        Ok(answer)
    }

    /// Leaves the connection; the next request is sent on a new one.
    pub fn disconnect(&mut self) {
        self.stream = None;
    }

    fn exchange<T>(
        &mut self,
        stream: &mut TcpStream,
        number: RequestNumber,
        accept: &mut impl FnMut(&Response<'_>) -> Option<T>,
    ) -> io::Result<T> {
        // What is left of an earlier connection is of no use on a new one; nothing is left of
        // this one once its answer was taken.
        self.input.clear();
        stream.write_all(&self.output)?;
        let mut chunk = [0; 4096];
        loop {
            while let Some((content, len)) = frame(&self.input).map_err(io::Error::other)? {
                let response = Response::decode(content).map_err(FrameError::from);
                let response = response.map_err(io::Error::other)?;
                let answer = (response.number() == number).then(|| accept(&response)).flatten();
                self.input.drain(..len);
                if let Some(answer) = answer {
                    return Ok(answer);
                }
            }
            match stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => self.input.extend_from_slice(&chunk[..len]),
            }
        }
    }
}

fn connect(address: SocketAddr, patience: &Patience) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, patience.answer)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience.answer))?;
    stream.set_write_timeout(Some(patience.answer))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let patience = Patience::default();
        let pauses = std::iter::successors(Some(patience.pause), |&one| Some(patience.after(one)));
        let millis: Vec<u128> = pauses.take(7).map(|pause| pause.as_millis()).collect();
        assert_eq!(millis, [2, 4, 8, 16, 32, 50, 50]);
        let steady = Patience { pause_max: Duration::ZERO, ..patience };
        assert_eq!(steady.after(steady.pause), steady.pause);
    }
}
