//! The one stream to the peer process, shared by all modules.

use std::io;
use std::prelude::rust_2024::*;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ha_proto::ModuleId;
use ha_replicate::MESSAGE_MAX;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::cipher::Cipher;

/// An established stream. Each message is framed by its length (u32, without the frame's head) and
/// its module (u16).
#[derive(Debug)]
pub(super) struct Session {
    stream: TcpStream,
    cipher: Cipher,
    received: BytesMut,
    opened: BytesMut,
    filled: BytesMut,
    sealed: BytesMut,
    /// Whose turn it is to fill the buffer first.
    turn: usize,
    /// Dropped with the session, so that whoever made it hears of its end.
    _ended: Option<oneshot::Sender<()>>,
}

/// What the loop does with each module in turn: writes one message behind the buffer's content, if
/// one is due and at most so long; its length and module.
pub(super) trait Source {
    /// How many modules take turns.
    fn count(&self) -> usize;
    /// The next message of the module at this place.
    fn poll(&mut self, place: usize, room: usize, buffer: &mut BytesMut) -> (ModuleId, usize);
}

impl Session {
    pub(super) fn new(
        stream: TcpStream,
        cipher: Cipher,
        ended: Option<oneshot::Sender<()>>,
    ) -> Self {
        Self {
            stream,
            cipher,
            received: BytesMut::new(),
            opened: BytesMut::new(),
            filled: BytesMut::new(),
            sealed: BytesMut::new(),
            turn: 0,
            _ended: ended,
        }
    }

    /// Reads what is there, at most [`BUDGET`] bytes; whether there may be more. Ready to be woken
    /// for more otherwise.
    pub(super) fn read(
        &mut self,
        cx: &mut Context<'_>,
        deliver: &mut dyn FnMut(ModuleId, Bytes),
    ) -> io::Result<bool> {
        let mut budget = BUDGET;
        loop {
            match self.stream.poll_read_ready(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(ready) => ready?,
            }
            self.received.reserve(READ_SIZE);
            match self.stream.try_read_buf(&mut self.received) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    self.cipher.open(&mut self.received, &mut self.opened)?;
                    self.deliver(deliver)?;
                    budget = budget.saturating_sub(read);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if budget == 0 {
                return Ok(true);
            }
        }
    }

    fn deliver(&mut self, deliver: &mut dyn FnMut(ModuleId, Bytes)) -> io::Result<()> {
        while let Some(head) = self.opened.first_chunk::<HEAD_LEN>() {
            let (len, module) = decode_head(head);
            if len > MESSAGE_MAX {
                return Err(io::Error::other("a frame is longer than any message"));
            }
            if self.opened.len() < HEAD_LEN + len {
                self.opened.reserve(HEAD_LEN + len - self.opened.len());
                break;
            }
            self.opened.advance(HEAD_LEN);
            deliver(module, self.opened.split_to(len).freeze());
        }
        Ok(())
    }

    /// Sends what is due, at most [`BUDGET`] bytes; whether there may be more. Ready to be woken once
    /// the socket takes more otherwise.
    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn Source,
    ) -> io::Result<bool> {
        let mut budget = BUDGET;
        loop {
            while !self.sealed.is_empty() {
                match self.stream.poll_write_ready(cx) {
                    Poll::Pending => return Ok(false),
                    Poll::Ready(ready) => ready?,
                }
                match self.stream.try_write(&self.sealed) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => self.sealed.advance(written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            if budget == 0 {
                return Ok(true);
            }
            self.fill(source, budget.min(FILL));
            if self.filled.is_empty() {
                return Ok(false);
            }
            budget = budget.saturating_sub(self.filled.len());
            self.cipher.seal(&mut self.filled, &mut self.sealed)?;
        }
    }

    /// Fills the buffer with about `room` bytes of whole messages, one module after the other.
    fn fill(&mut self, source: &mut dyn Source, room: usize) {
        let (count, first) = (source.count(), self.turn);
        self.turn = self.turn.wrapping_add(1);
        let mut quiet = 0;
        let mut at = first;
        while quiet < count && self.filled.len() < room {
            let start = self.filled.len();
            // The longest message fits an empty buffer, so that each module comes to its turn.
            let left = if start == 0 { MESSAGE_MAX } else { room.saturating_sub(start + HEAD_LEN) };
            self.filled.put_bytes(0, HEAD_LEN);
            let (module, len) = source.poll(at % count, left, &mut self.filled);
            if len == 0 {
                self.filled.truncate(start);
                quiet += 1;
            } else {
                self.filled[start..start + HEAD_LEN].copy_from_slice(&encode_head(len, module));
                quiet = 0;
            }
            at = at.wrapping_add(1);
        }
    }
}

fn encode_head(len: usize, module: ModuleId) -> [u8; HEAD_LEN] {
    assert!(len <= MESSAGE_MAX, "the peer would end the stream");
    let mut head = [0; HEAD_LEN];
    head[..4].copy_from_slice(&(len as u32).to_be_bytes());
    head[4..].copy_from_slice(&module.0.to_be_bytes());
    head
}

fn decode_head(mut head: &[u8]) -> (usize, ModuleId) {
    let len = head.get_u32() as usize;
    (len, ModuleId(head.get_u16()))
}

const HEAD_LEN: usize = 6;
/// How much is moved in one turn of the loop in each direction: at a gigabyte a second of cipher a
/// heartbeat waits for a quarter of a millisecond.
const BUDGET: usize = 256 << 10;
/// How much is gathered before it is sealed and sent.
const FILL: usize = 256 << 10;
/// How much is asked of the socket at once.
const READ_SIZE: usize = 128 << 10;

const _: () = assert!(size_of::<usize>() >= 4, "a frame's length would not fit");
