//! What makes the replication stream the cluster's own: a handshake, then chunks.

use std::io;
use std::prelude::rust_2024::*;
use std::vec;

use bytes::{BufMut, BytesMut};
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{ClusterId, NodeId};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use snow::{Builder, HandshakeState, TransportState};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The two ends of a stream and the secret that they share.
#[derive(Clone)]
pub(super) struct Ends {
    pub(super) cluster: ClusterId,
    pub(super) me: NodeId,
    pub(super) peer: NodeId,
    /// `None` when the stream is neither encrypted nor authentic.
    pub(super) keys: Option<StreamKeys>,
}

/// What the cluster's key gives for streams, and a second one that is accepted.
#[derive(Clone)]
pub(super) struct StreamKeys {
    own: [u8; 32],
    accepted: Option<[u8; 32]>,
}

impl StreamKeys {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self { own: derive(key), accepted: None }
    }

    /// Accepts `key` besides.
    pub(super) fn accepting(self, key: &[u8; 32]) -> Self {
        Self { accepted: Some(derive(key)), ..self }
    }
}

/// Which key a stream is dialled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// This node's own.
    Own,
    /// The one that it accepts besides, if there is one.
    Accepted,
}

impl Attempt {
    /// What to try after this one was refused.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Own => Self::Accepted,
            Self::Accepted => Self::Own,
        }
    }
}

/// One direction-pair of an established stream.
pub(super) enum Cipher {
    /// Bytes as they are (`insecure`).
    Plain,
    /// Noise messages of at most [`CHUNK_MAX`] bytes, each behind its length as u16.
    Noise(Box<TransportState>),
}

/// Why a connection is not the peer's.
#[derive(Debug, Error)]
pub(super) enum HandshakeError {
    /// It broke, or ended.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It has another key, or none.
    #[error("another key, or not a node of this cluster ({0}): give both nodes one key_file")]
    Noise(#[from] snow::Error),
    /// It says something else than a greeting.
    #[error("not a greeting: {0}")]
    Greeting(#[from] DecodeError),
    /// It is not the node that is expected.
    #[error("not the peer of this node: cluster {cluster}, from node {from} to node {to}")]
    Stranger {
        /// Its cluster.
        cluster: ClusterId,
        /// Its id.
        from: NodeId,
        /// Whom it expects here.
        to: NodeId,
    },
    /// It began with a greeting that opens, and did not confirm it: a recorded one that somebody
    /// played back, or its sender is gone.
    #[error("a greeting that nobody confirms: an old one, or its sender is gone")]
    Unconfirmed,
    /// It said nothing, and there were many that came later.
    #[error("too many connections that say nothing")]
    Crowded,
}

/// The secret of replication streams under the cluster's `key`; no other use of the key gives it.
fn derive(key: &[u8; 32]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(b"ha-core replication stream 1");
    mac.finalize().into_bytes().into()
}

impl Ends {
    /// Greets as the one who dialled.
    pub(super) async fn dial(
        &self,
        stream: &mut TcpStream,
        attempt: Attempt,
    ) -> Result<Cipher, HandshakeError> {
        let mut noise = match &self.keys {
            Some(StreamKeys { accepted: Some(key), .. }) if attempt == Attempt::Accepted => {
                Some(builder(key)?.build_initiator()?)
            }
            Some(StreamKeys { own, .. }) => Some(builder(own)?.build_initiator()?),
            None => None,
        };
        self.say(stream, noise.as_mut()).await?;
        let message = hear(stream).await?;
        let greeting = match &mut noise {
            Some(noise) => opened(noise, &message)?,
            None => message,
        };
        self.check(&greeting)?;
        let mut cipher = finish(noise)?;
        cipher.confirm(stream).await?;
        Ok(cipher)
    }

    /// Greets as the one who was dialled, and waits until the other end has confirmed.
    pub(super) async fn accept(&self, stream: &mut TcpStream) -> Result<Cipher, HandshakeError> {
        let mut cipher = self.answer(stream).await?;
        cipher.confirmed(stream).await?;
        Ok(cipher)
    }

    /// Answers a greeting. It may be an old one, which anybody can play back: the stream is the
    /// peer's only once it is [`confirmed`](Cipher::confirmed).
    pub(super) async fn answer(&self, stream: &mut TcpStream) -> Result<Cipher, HandshakeError> {
        let message = hear(stream).await?;
        let (mut noise, greeting) = self.recognise(message)?;
        self.check(&greeting)?;
        self.say(stream, noise.as_mut()).await?;
        finish(noise)
    }

    /// Opens the first message with whichever accepted key it was sealed with.
    fn recognise(
        &self,
        message: Vec<u8>,
    ) -> Result<(Option<HandshakeState>, Vec<u8>), HandshakeError> {
        let Some(StreamKeys { own, accepted }) = &self.keys else { return Ok((None, message)) };
        let mut noise = builder(own)?.build_responder()?;
        let first = opened(&mut noise, &message);
        match (first, accepted) {
            (Ok(greeting), _) => Ok((Some(noise), greeting)),
            (Err(error), None) => Err(error.into()),
            (Err(_), Some(key)) => {
                let mut noise = builder(key)?.build_responder()?;
                let greeting = opened(&mut noise, &message)?;
                Ok((Some(noise), greeting))
            }
        }
    }

    async fn say(
        &self,
        stream: &mut TcpStream,
        noise: Option<&mut HandshakeState>,
    ) -> Result<(), HandshakeError> {
        let greeting = self.greeting();
        let mut message = vec![0; GREETING_MAX];
        let len = if let Some(noise) = noise {
            noise.write_message(&greeting, &mut message)?
        } else {
            message[..greeting.len()].copy_from_slice(&greeting);
            greeting.len()
        };
        let mut framed = (len as u16).to_be_bytes().to_vec();
        framed.extend_from_slice(&message[..len]);
        stream.write_all(&framed).await?;
        Ok(())
    }

    /// Layout, 16 bytes, big-endian: magic `0x48535452` ("HSTR"), version u8 (1), from u8, to u8,
    /// zero u8, cluster u64.
    fn greeting(&self) -> [u8; GREETING_LEN] {
        let mut bytes = [0; GREETING_LEN];
        let mut out = &mut bytes[..];
        out.put_u32(MAGIC);
        out.put_u8(VERSION);
        out.put_u8(self.me.as_u8());
        out.put_u8(self.peer.as_u8());
        out.put_u8(0);
        out.put_u64(self.cluster.0);
        assert!(out.is_empty(), "a gap in the greeting would be read as a field");
        bytes
    }

    fn check(&self, greeting: &[u8]) -> Result<(), HandshakeError> {
        let mut reader = Reader::new(greeting);
        if reader.u32("the magic number")? != MAGIC {
            return Err(DecodeError::Invalid("the magic number").into());
        }
        if reader.u8("the version")? != VERSION {
            return Err(DecodeError::Invalid("the version").into());
        }
        let (from, to) = (reader.node("the sender")?, reader.node("the receiver")?);
        reader.u8("the reserved byte")?;
        let cluster = ClusterId(reader.u64("the cluster")?);
        reader.finish()?;
        if (cluster, from, to) == (self.cluster, self.peer, self.me) {
            Ok(())
        } else {
            Err(HandshakeError::Stranger { cluster, from, to })
        }
    }
}

fn builder(secret: &[u8; 32]) -> Result<Builder<'_>, snow::Error> {
    Builder::new(PATTERN.parse()?).psk(0, secret)?.prologue(PROLOGUE)
}

/// One message of a handshake.
async fn hear(stream: &mut TcpStream) -> Result<Vec<u8>, HandshakeError> {
    let len = usize::from(stream.read_u16().await?);
    if len > GREETING_MAX {
        return Err(DecodeError::Invalid("the greeting's length").into());
    }
    let mut message = vec![0; len];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

fn opened(noise: &mut HandshakeState, message: &[u8]) -> Result<Vec<u8>, snow::Error> {
    let mut greeting = vec![0; GREETING_MAX];
    let len = noise.read_message(message, &mut greeting)?;
    greeting.truncate(len);
    Ok(greeting)
}

fn finish(noise: Option<HandshakeState>) -> Result<Cipher, HandshakeError> {
    match noise {
        Some(noise) => Ok(Cipher::Noise(Box::new(noise.into_transport_mode()?))),
        None => Ok(Cipher::Plain),
    }
}

impl Cipher {
    /// Shows, right after the handshake, that this end can seal with its fresh keys: a chunk with
    /// nothing in it. Whoever only plays a greeting back cannot.
    async fn confirm(&mut self, stream: &mut TcpStream) -> Result<(), HandshakeError> {
        let Self::Noise(noise) = self else { return Ok(()) };
        let mut chunk = [0; CONFIRMATION_LEN];
        chunk[..2].copy_from_slice(&(TAG_LEN as u16).to_be_bytes());
        noise.write_message(&[], &mut chunk[2..])?;
        stream.write_all(&chunk).await?;
        Ok(())
    }

    /// Waits for the other end's confirmation.
    pub(super) async fn confirmed(&mut self, stream: &mut TcpStream) -> Result<(), HandshakeError> {
        let Self::Noise(noise) = self else { return Ok(()) };
        let mut chunk = [0; CONFIRMATION_LEN];
        let read = stream.read_exact(&mut chunk).await;
        let empty =
            read.is_ok() && usize::from(u16::from_be_bytes([chunk[0], chunk[1]])) == TAG_LEN;
        if empty && noise.read_message(&chunk[2..], &mut []).is_ok() {
            Ok(())
        } else {
            Err(HandshakeError::Unconfirmed)
        }
    }

    /// Writes `plain` behind `wire`'s content, ready to be sent.
    pub(super) fn seal(&mut self, plain: &[u8], wire: &mut BytesMut) -> io::Result<()> {
        let Self::Noise(noise) = self else {
            wire.extend_from_slice(plain);
            return Ok(());
        };
        wire.reserve(plain.len() + (plain.len() / CHUNK_MAX + 1) * (2 + TAG_LEN));
        for chunk in plain.chunks(CHUNK_MAX) {
            let at = wire.len();
            wire.put_u16((chunk.len() + TAG_LEN) as u16);
            wire.resize(at + 2 + chunk.len() + TAG_LEN, 0);
            noise.write_message(chunk, &mut wire[at + 2..]).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Moves what is whole in `wire` to the end of `plain`.
    pub(super) fn open(&mut self, wire: &mut BytesMut, plain: &mut BytesMut) -> io::Result<()> {
        let Self::Noise(noise) = self else {
            // Read into `plain` at once: there is nothing to open.
            assert!(wire.is_empty(), "bytes that were read would never be delivered");
            return Ok(());
        };
        let mut taken = 0;
        while let Some(len) = wire.get(taken..taken + 2) {
            let len = usize::from(u16::from_be_bytes([len[0], len[1]]));
            let Some(sealed) = wire.get(taken + 2..taken + 2 + len) else { break };
            let at = plain.len();
            plain.resize(at + len, 0);
            let opened = noise.read_message(sealed, &mut plain[at..]).map_err(io::Error::other)?;
            plain.truncate(at + opened);
            taken += 2 + len;
        }
        bytes::Buf::advance(wire, taken);
        Ok(())
    }
}

impl std::fmt::Debug for Cipher {
    /// Which kind; never what is in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Noise(_) => "Noise",
        })
    }
}

impl std::fmt::Debug for Ends {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ends({} to {} of {})", self.me, self.peer, self.cluster)
    }
}

/// No certificates: who has the cluster's key is of the cluster. Fresh keys for each connection.
const PATTERN: &str = "Noise_NNpsk0_25519_AESGCM_SHA256";
const PROLOGUE: &[u8] = b"ha-core replication stream 1";
const MAGIC: u32 = u32::from_be_bytes(*b"HSTR");
const VERSION: u8 = 1;
const GREETING_LEN: usize = 16;
/// A greeting with what Noise adds: an ephemeral key and a tag.
const GREETING_MAX: usize = GREETING_LEN + 32 + TAG_LEN;
/// The most that fits into one Noise message with its tag.
pub(super) const CHUNK_MAX: usize = 65_535 - TAG_LEN;
const TAG_LEN: usize = 16;
/// The chunk with nothing in it, behind its length.
const CONFIRMATION_LEN: usize = 2 + TAG_LEN;
