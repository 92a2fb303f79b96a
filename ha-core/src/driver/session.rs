//! The one stream to the peer process, shared by all modules.
//!
//! The driver runs one. By itself it is for whoever measures it, or brings a driver of their own.

use std::collections::VecDeque;
use std::io;
use std::prelude::rust_2024::*;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ha_proto::{ClusterId, ModuleId, NodeId};
use ha_replicate::MESSAGE_MAX;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::cipher::{Attempt, Cipher, Ends, StreamKeys};

/// An established stream. Each message is framed by its length (u32, without the frame's head) and
/// its module (u16).
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    cipher: Cipher,
    received: BytesMut,
    opened: BytesMut,
    filled: BytesMut,
    sealed: BytesMut,
    /// Pieces that wait for the socket, in order.
    pieces: VecDeque<Bytes>,
    /// Whose turn it is to fill the buffer first.
    turn: usize,
    /// Dropped with the session, so that whoever made it hears of its end.
    _ended: Option<oneshot::Sender<()>>,
}

/// What the loop does with each module in turn: writes one message behind the buffer's content, if
/// one is due and at most so long; its length and module. A long end of it may be left in `bulk`.
pub trait Source {
    /// How many modules take turns.
    fn count(&self) -> usize;
    /// The next message of the module at this place.
    fn poll(
        &mut self,
        place: usize,
        room: usize,
        buffer: &mut BytesMut,
        bulk: &mut Option<Bytes>,
    ) -> (ModuleId, usize);
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
            pieces: VecDeque::new(),
            turn: 0,
            _ended: ended,
        }
    }

    /// Greets over a new connection between the nodes `me` and `peer`, of which the one with the
    /// lower id has dialled; with no `key` the stream is neither encrypted nor authentic.
    ///
    /// # Errors
    /// When the connection breaks, or the other end is not that peer with that key.
    pub async fn greet(
        mut stream: TcpStream,
        cluster: ClusterId,
        me: NodeId,
        peer: NodeId,
        key: Option<&[u8; 32]>,
    ) -> io::Result<Self> {
        let ends = Ends { cluster, me, peer, keys: key.map(StreamKeys::new) };
        let cipher = if me < peer {
            ends.dial(&mut stream, Attempt::Own).await
        } else {
            ends.accept(&mut stream).await
        };
        Ok(Self::new(stream, cipher.map_err(io::Error::other)?, None))
    }

    /// Reads what is there, at most 256 KiB; whether there may be more. Ready to be woken for more
    /// otherwise.
    ///
    /// # Errors
    /// When the stream is over: closed by the other end, broken, or not what the key seals.
    pub fn read(
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
            let plain = matches!(self.cipher, Cipher::Plain);
            let buffer = if plain { &mut self.opened } else { &mut self.received };
            buffer.reserve(READ_SIZE);
            match self.stream.try_read_buf(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    if !plain {
                        self.cipher.open(&mut self.received, &mut self.opened)?;
                    }
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

    /// Sends what is due, at most 256 KiB; whether there may be more. Ready to be woken once the
    /// socket takes more otherwise.
    ///
    /// # Errors
    /// When the stream is over.
    pub fn write(&mut self, cx: &mut Context<'_>, source: &mut dyn Source) -> io::Result<bool> {
        let mut budget = BUDGET;
        loop {
            while !self.pieces.is_empty() {
                match self.stream.poll_write_ready(cx) {
                    Poll::Pending => return Ok(false),
                    Poll::Ready(ready) => ready?,
                }
                match send(&self.stream, &self.pieces) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => self.sent(written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            if budget == 0 {
                return Ok(true);
            }
            let filled = self.fill(source, budget.min(FILL))?;
            if filled == 0 {
                return Ok(false);
            }
            budget = budget.saturating_sub(filled);
        }
    }

    /// Forgets what the socket took.
    fn sent(&mut self, mut written: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            if written < piece.len() {
                piece.advance(written);
                return;
            }
            written -= piece.len();
            self.pieces.pop_front();
        }
        assert!(written == 0, "the socket took more than it was given");
    }

    /// Makes pieces of about `room` bytes of whole messages, one module after the other; how many
    /// bytes.
    fn fill(&mut self, source: &mut dyn Source, room: usize) -> io::Result<usize> {
        let (count, first) = (source.count(), self.turn);
        self.turn = self.turn.wrapping_add(1);
        let mut quiet = 0;
        let mut at = first;
        let mut total = 0;
        while quiet < count && total < room {
            let start = self.filled.len();
            // The longest message fits an empty buffer, so that each module comes to its turn.
            let left = if total == 0 { MESSAGE_MAX } else { room.saturating_sub(total + HEAD_LEN) };
            self.filled.put_bytes(0, HEAD_LEN);
            let mut bulk = None;
            let (module, len) = source.poll(at % count, left, &mut self.filled, &mut bulk);
            if len == 0 {
                self.filled.truncate(start);
                quiet += 1;
            } else {
                self.filled[start..start + HEAD_LEN].copy_from_slice(&encode_head(len, module));
                quiet = 0;
                total += HEAD_LEN + len;
                self.seal(bulk)?;
            }
            at = at.wrapping_add(1);
        }
        self.seal_filled()?;
        Ok(total)
    }

    /// What lies in the buffer so far goes before the bulk of the message that it ends with.
    fn seal(&mut self, bulk: Option<Bytes>) -> io::Result<()> {
        let Some(bulk) = bulk else { return Ok(()) };
        self.seal_filled()?;
        if let Cipher::Plain = self.cipher {
            self.pieces.push_back(bulk);
            return Ok(());
        }
        self.cipher.seal(&bulk, &mut self.sealed)?;
        self.pieces.push_back(self.sealed.split().freeze());
        Ok(())
    }

    fn seal_filled(&mut self) -> io::Result<()> {
        if self.filled.is_empty() {
            return Ok(());
        }
        let filled = self.filled.split().freeze();
        if let Cipher::Plain = self.cipher {
            self.pieces.push_back(filled);
            return Ok(());
        }
        self.cipher.seal(&filled, &mut self.sealed)?;
        self.pieces.push_back(self.sealed.split().freeze());
        Ok(())
    }
}

/// Gives the socket as many pieces as it takes at once.
fn send(stream: &TcpStream, pieces: &VecDeque<Bytes>) -> io::Result<usize> {
    let mut slices = [io::IoSlice::new(&[]); AT_ONCE];
    for (slice, piece) in slices.iter_mut().zip(pieces) {
        *slice = io::IoSlice::new(piece);
    }
    stream.try_write_vectored(&slices[..pieces.len().min(AT_ONCE)])
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
/// Pieces of one call: a fill makes at most about two for each of its longer messages.
const AT_ONCE: usize = 16;
/// How much is asked of the socket at once.
const READ_SIZE: usize = 128 << 10;

const _: () = assert!(size_of::<usize>() >= 4, "a frame's length would not fit");

#[cfg(test)]
mod tests {
    use core::future::poll_fn;
    use std::vec;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::cipher::HandshakeError;
    use super::*;

    fn ends(me: u8, key: Option<u8>) -> Ends {
        let node = |id| NodeId::new(id).unwrap();
        let keys = key.map(|key| StreamKeys::new(&[key; 32]));
        Ends { cluster: ClusterId(1), me: node(me), peer: node(1 - me), keys }
    }

    async fn streams() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (dialled.unwrap(), accepted.unwrap().0)
    }

    async fn greet(
        one: &Ends,
        other: &Ends,
    ) -> (Result<Cipher, HandshakeError>, Result<Cipher, HandshakeError>) {
        let (mut dialled, mut accepted) = streams().await;
        // Each end drops its stream when it gives up, so that the other one hears of it.
        tokio::join!(async move { one.dial(&mut dialled, Attempt::Own).await }, async move {
            other.accept(&mut accepted).await
        })
    }

    async fn sessions(key: Option<u8>) -> (Session, Session) {
        let (mut dialled, mut accepted) = streams().await;
        let (one, other) = (ends(0, key), ends(1, key));
        let (here, there) =
            tokio::join!(one.dial(&mut dialled, Attempt::Own), other.accept(&mut accepted));
        (Session::new(dialled, here.unwrap(), None), Session::new(accepted, there.unwrap(), None))
    }

    /// Modules with messages of these lengths to send, each module's filled with its number.
    struct Queues(Vec<Vec<usize>>);

    impl Source for Queues {
        fn count(&self) -> usize {
            self.0.len()
        }

        fn poll(
            &mut self,
            place: usize,
            room: usize,
            buffer: &mut BytesMut,
            bulk: &mut Option<Bytes>,
        ) -> (ModuleId, usize) {
            let id = ModuleId(place as u16);
            match self.0[place].first().copied() {
                Some(len) if len <= room => {
                    self.0[place].remove(0);
                    // Every second long one in two parts.
                    let apart = if len > 20_000 && len % 2 == 0 { len - 30 } else { 0 };
                    buffer.put_bytes(place as u8, len - apart);
                    *bulk = (apart > 0).then(|| Bytes::from(vec![place as u8; apart]));
                    (id, len)
                }
                Some(_) | None => (id, 0),
            }
        }
    }

    /// Moves all messages across; the order in which they came.
    async fn transfer(queues: Vec<Vec<usize>>, key: Option<u8>) -> Vec<(u16, usize)> {
        let (mut from, mut to) = sessions(key).await;
        let total: usize = queues.iter().map(Vec::len).sum();
        let mut queues = Queues(queues);
        let mut came = Vec::new();
        poll_fn(|cx| {
            let more = from.write(cx, &mut queues).unwrap();
            let mut deliver = |module: ModuleId, message: Bytes| {
                assert!(message.iter().all(|&byte| u16::from(byte) == module.0));
                came.push((module.0, message.len()));
            };
            let left = to.read(cx, &mut deliver).unwrap();
            if came.len() == total {
                return Poll::Ready(());
            }
            if more || left {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        came
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work)
    }

    #[test]
    fn messages_of_any_size_cross_whole_and_in_order() {
        let sizes = vec![1, 65_513, 65_514, 3, MESSAGE_MAX, 200_000, 262_138, 262_139, 1, 70_000];
        for key in [None, Some(7)] {
            let came = block_on(transfer(vec![sizes.clone()], key));
            assert_eq!(came, sizes.iter().map(|&len| (0, len)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn modules_take_turns_however_much_one_has_to_say() {
        let came = block_on(transfer(vec![vec![60_000; 40], vec![10; 5], vec![]], Some(7)));
        let last = came.iter().rposition(|&(module, _)| module == 1).unwrap();
        assert!(last < 12, "the small ones wait behind {last} messages");
    }

    #[test]
    fn the_longest_message_comes_to_its_turn() {
        let queues = vec![vec![100; 20_000], vec![MESSAGE_MAX], vec![100; 20_000]];
        let came = block_on(transfer(queues, None));
        let longest = came.iter().position(|&(module, _)| module == 1).unwrap();
        assert!(longest < 20_000, "it waits behind {longest} messages");
    }

    #[test]
    fn only_the_peer_with_the_key_is_let_in() {
        let stranger = |ends: Ends| Ends { cluster: ClusterId(2), ..ends };
        let third = |ends: Ends| Ends { me: NodeId::new(5).unwrap(), ..ends };
        block_on(async {
            let fine = greet(&ends(0, Some(7)), &ends(1, Some(7))).await;
            assert!(matches!(fine, (Ok(Cipher::Noise(_)), Ok(Cipher::Noise(_)))));
            let plain = greet(&ends(0, None), &ends(1, None)).await;
            assert!(matches!(plain, (Ok(Cipher::Plain), Ok(Cipher::Plain))));
            let key = greet(&ends(0, Some(7)), &ends(1, Some(8))).await;
            assert!(matches!(key, (Err(_), Err(HandshakeError::Noise(_)))));
            let keyless = greet(&ends(0, None), &ends(1, Some(8))).await;
            assert!(matches!(keyless, (Err(_), Err(HandshakeError::Noise(_)))));
            let unwanted = greet(&ends(0, Some(7)), &ends(1, None)).await;
            assert!(matches!(unwanted, (Err(_), Err(HandshakeError::Greeting(_)))));
            for key in [None, Some(7)] {
                let cluster = greet(&stranger(ends(0, key)), &ends(1, key)).await;
                assert!(matches!(cluster, (Err(_), Err(HandshakeError::Stranger { .. }))));
                let node = greet(&third(ends(0, key)), &ends(1, key)).await;
                assert!(matches!(node, (Err(_), Err(HandshakeError::Stranger { .. }))));
                let same = greet(&ends(0, key), &ends(0, key)).await;
                assert!(matches!(same, (Err(_), Err(HandshakeError::Stranger { .. }))));
            }
        });
    }

    #[test]
    fn two_keys_are_valid_at_once() {
        let both = |me, own, accepted| {
            let mut ends = ends(me, Some(own));
            ends.keys = ends.keys.map(|keys| keys.accepting(&[accepted; 32]));
            ends
        };
        block_on(async {
            // Each step of a change of the key, at either end first.
            for (one, other) in [
                (both(0, 1, 2), ends(1, Some(1))),
                (ends(0, Some(1)), both(1, 1, 2)),
                (both(0, 1, 2), both(1, 2, 1)),
                (both(0, 2, 1), both(1, 1, 2)),
                (ends(0, Some(2)), both(1, 2, 1)),
                (both(0, 2, 1), ends(1, Some(2))),
            ] {
                let met = greet(&one, &other).await;
                assert!(matches!(met, (Ok(Cipher::Noise(_)), Ok(Cipher::Noise(_)))));
            }
            let third = greet(&ends(0, Some(3)), &both(1, 1, 2)).await;
            assert!(matches!(third, (Err(_), Err(HandshakeError::Noise(_)))));
        });
    }

    #[test]
    fn a_greeting_that_is_none_is_refused() {
        block_on(async {
            for bytes in [&[0xff; 80][..], b"GET / HTTP/1.1\r\n\r\n", &[0, 1, 0], &[0, 0], &[]] {
                for key in [None, Some(7)] {
                    let (mut dialled, mut accepted) = streams().await;
                    dialled.write_all(bytes).await.unwrap();
                    dialled.shutdown().await.unwrap();
                    assert!(ends(1, key).accept(&mut accepted).await.is_err());
                }
            }
        });
    }

    #[test]
    fn one_changed_byte_ends_an_encrypted_stream() {
        block_on(async {
            let (mut from, mut to) = sessions(Some(7)).await;
            from.filled.put_bytes(1, 100);
            from.cipher.seal(&from.filled.split(), &mut from.sealed).unwrap();
            from.sealed[50] ^= 1;
            from.pieces.push_back(from.sealed.split().freeze());
            let mut nothing = Queues(vec![]);
            poll_fn(|cx| Poll::Ready(from.write(cx, &mut nothing))).await.unwrap();
            let read = poll_fn(|cx| match to.read(cx, &mut |_, _| panic!("believed")) {
                Ok(_) => Poll::Pending,
                Err(error) => Poll::Ready(error),
            });
            assert_eq!(read.await.kind(), io::ErrorKind::Other);
        });
    }

    #[test]
    fn a_frame_longer_than_any_message_ends_the_stream_before_it_is_buffered() {
        block_on(async {
            let (from, mut to) = sessions(None).await;
            let mut raw = from.stream;
            raw.write_all(&[0xff; 6]).await.unwrap();
            let read = poll_fn(|cx| match to.read(cx, &mut |_, _| panic!("believed")) {
                Ok(_) => Poll::Pending,
                Err(error) => Poll::Ready(error),
            });
            assert_eq!(read.await.kind(), io::ErrorKind::Other);
            assert!(to.opened.capacity() <= 2 * READ_SIZE);
        });
    }

    #[test]
    fn an_encrypted_stream_does_not_show_what_is_on_it() {
        block_on(async {
            let (mut from, to) = sessions(Some(7)).await;
            let mut queue = Queues(vec![vec![], vec![64]]);
            poll_fn(|cx| Poll::Ready(from.write(cx, &mut queue))).await.unwrap();
            let mut raw = to.stream;
            let mut seen = vec![0; 64 + HEAD_LEN + 2 + 16];
            raw.read_exact(&mut seen).await.unwrap();
            assert!(!seen.windows(8).any(|window| window == [1; 8]));
        });
    }

    #[test]
    fn a_frames_head_is_golden() {
        assert_eq!(encode_head(0x0001_0203, ModuleId(0x0405)), [0, 1, 2, 3, 4, 5]);
        assert_eq!(decode_head(&[0, 1, 2, 3, 4, 5]), (0x0001_0203, ModuleId(0x0405)));
    }
}
