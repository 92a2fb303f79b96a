//! Making the stream: one node dials, the other listens.

use core::time::Duration;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::prelude::rust_2024::*;
use std::sync::Arc;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::cipher::{Ends, HandshakeError};
use super::mailbox::{Letter, Mailbox};
use super::session::Session;

/// How one end waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Between two attempts to dial.
    pub(super) retry: Duration,
    /// For a connection, for a greeting, and for acknowledged bytes.
    pub(super) timeout: Duration,
}

impl Patience {
    /// What fits beats every `heartbeat` and a peer that is lost after `timeout`.
    pub(super) fn new(heartbeat: Duration, timeout: Duration) -> Self {
        Self {
            retry: heartbeat.clamp(RETRY_MIN, RETRY_MAX),
            timeout: timeout.clamp(TIMEOUT_MIN, TIMEOUT_MAX),
        }
    }
}

/// Dials the peer for ever: one stream at a time, a new one when it ended.
pub(super) async fn dial(ends: Ends, to: SocketAddr, patience: Patience, mailbox: Arc<Mailbox>) {
    let mut said = false;
    loop {
        match connect(&ends, to, patience).await {
            Ok((session, ended)) => {
                info!(%to, "the replication stream is up");
                said = false;
                if mailbox.post(Letter::Session(Box::new(session))).is_err() {
                    return;
                }
                // The sender is dropped with the session: that is the message.
                let _ = ended.await;
            }
            // An absent peer is said once; what is there and refuses the key, each time.
            Err(HandshakeError::Io(error)) if said => debug!(%to, %error, "still no stream"),
            Err(error) => {
                warn!(%to, %error, "no replication stream");
                said = true;
            }
        }
        sleep(patience.retry).await;
    }
}

async fn connect(
    ends: &Ends,
    to: SocketAddr,
    patience: Patience,
) -> Result<(Session, oneshot::Receiver<()>), HandshakeError> {
    let mut stream = in_time(patience, TcpStream::connect(to)).await??;
    prepare(&stream, patience)?;
    let cipher = in_time(patience, ends.dial(&mut stream)).await??;
    let (sender, ended) = oneshot::channel();
    Ok((Session::new(stream, cipher, Some(sender)), ended))
}

/// Listens for the peer for ever; each new stream takes the place of the one before.
pub(super) async fn listen(
    ends: Ends,
    listener: StdListener,
    patience: Patience,
    mailbox: Arc<Mailbox>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "cannot listen for the replication stream"),
    };
    let greetings = Arc::new(Semaphore::new(GREETINGS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&greetings).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let (ends, mailbox) = (ends.clone(), Arc::clone(&mailbox));
                tokio::spawn(async move {
                    match greet(&ends, stream, patience).await {
                        Ok(session) => {
                            info!(%from, "the replication stream is up");
                            let _ = mailbox.post(Letter::Session(Box::new(session)));
                        }
                        Err(error) => warn!(%from, %error, "a connection is refused"),
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                sleep(patience.retry).await;
            }
        }
    }
}

async fn greet(
    ends: &Ends,
    mut stream: TcpStream,
    patience: Patience,
) -> Result<Session, HandshakeError> {
    prepare(&stream, patience)?;
    let cipher = in_time(patience, ends.accept(&mut stream)).await??;
    Ok(Session::new(stream, cipher, None))
}

/// A stream that sends at once and ends when its peer does not answer.
fn prepare(stream: &TcpStream, patience: Patience) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE)
        .with_retries(KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(patience.timeout))
}

async fn in_time<T>(patience: Patience, work: impl Future<Output = T>) -> io::Result<T> {
    timeout(patience.timeout, work).await.map_err(|_| io::ErrorKind::TimedOut.into())
}

const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// TCP sends a lost segment again after 200 ms at the soonest: less would end healthy streams.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// The least that Linux knows.
const KEEPALIVE: Duration = Duration::from_secs(1);
const KEEPALIVE_RETRIES: u32 = 3;
/// Connections that may be greeting at a time: one is the peer's, the others a stranger's.
const GREETINGS_MAX: usize = 8;
