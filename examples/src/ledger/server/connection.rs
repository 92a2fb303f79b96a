//! One client's connection: bytes in until a frame is whole, bytes out until the socket took them.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use crate::ledger::wire::{FRAME_MAX, FrameError, frame};

/// A connection and what it has not finished.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// Which one, of all that there ever were.
    pub(super) serial: u64,
    /// The beginning of a frame whose end has not come.
    partial: Vec<u8>,
    /// Answers that are not written yet.
    output: Vec<u8>,
    /// Whether it is among those that the worker flushes at the end of the turn.
    pub(super) dirty: bool,
}

/// Why a connection is closed.
#[derive(Debug)]
pub(super) struct Closed;

impl Connection {
    /// Answers that a client did not read, at most; beyond, it is closed. Two lines of the
    /// longest kind.
    const OUTPUT_MAX: usize = 2 * FRAME_MAX;

    pub(super) fn new(stream: TcpStream, serial: u64) -> Self {
        Self { stream, serial, partial: Vec::new(), output: Vec::new(), dirty: false }
    }

    /// Reads what came, through `scratch`, and shows each whole frame to `each`.
    pub(super) fn read(
        &mut self,
        scratch: &mut [u8],
        mut each: impl FnMut(&[u8]) -> Result<(), FrameError>,
    ) -> Result<(), Closed> {
        loop {
            let len = match self.stream.read(scratch) {
                Ok(0) => return Err(Closed),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(Closed),
            };
            self.take(&scratch[..len], &mut each).map_err(|_| Closed)?;
            // A short read emptied the socket: the next byte is a new event (epoll(7)).
            if len < scratch.len() {
                return Ok(());
            }
        }
    }

    fn take(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(&[u8]) -> Result<(), FrameError>,
    ) -> Result<(), FrameError> {
        if self.partial.is_empty() {
            let used = frames(bytes, each)?;
            self.partial.extend_from_slice(&bytes[used..]);
        } else {
            self.partial.extend_from_slice(bytes);
            let used = frames(&self.partial, each)?;
            self.partial.drain(..used);
        }
        Ok(())
    }

    /// Where the next answer is to be written.
    ///
    /// # Errors
    /// [`Closed`] when the client reads none of its answers.
    pub(super) fn answer(&mut self) -> Result<&mut Vec<u8>, Closed> {
        if self.output.len() > Self::OUTPUT_MAX { Err(Closed) } else { Ok(&mut self.output) }
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self) -> Result<(), Closed> {
        self.dirty = false;
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(len) if len == self.output.len() => self.output.clear(),
                Ok(len) => drop(self.output.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Closed),
            }
        }
        Ok(())
    }
}

/// Shows each whole frame of `bytes` to `each`; how many bytes they took.
fn frames(
    bytes: &[u8],
    each: &mut impl FnMut(&[u8]) -> Result<(), FrameError>,
) -> Result<usize, FrameError> {
    let mut used = 0;
    while let Some((content, len)) = frame(&bytes[used..])? {
        each(content)?;
        used += len;
    }
    Ok(used)
}
