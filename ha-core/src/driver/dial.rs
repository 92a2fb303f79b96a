//! Making the stream: one node dials, the other listens.

use core::sync::atomic::{AtomicU8, Ordering};
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

use super::cipher::{Attempt, Ends, HandshakeError};
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
    let refused = Refused::default();
    let mut attempt = Attempt::Own;
    loop {
        match connect(&ends, to, patience, &mut attempt).await {
            Ok((session, ended)) => {
                info!(%to, "the replication stream is up");
                refused.forget();
                if mailbox.post(Letter::Session(Box::new(session))).is_err() {
                    return;
                }
                // The sender is dropped with the session: that is the message.
                let _ = ended.await;
            }
            Err(error) if refused.is_news(&error) => warn!(%to, %error, "no replication stream"),
            Err(error) => debug!(%to, %error, "still no replication stream"),
        }
        sleep(patience.retry).await;
    }
}

async fn connect(
    ends: &Ends,
    to: SocketAddr,
    patience: Patience,
    attempt: &mut Attempt,
) -> Result<(Session, oneshot::Receiver<()>), HandshakeError> {
    let mut stream = in_time(patience, TcpStream::connect(to)).await??;
    prepare(&stream, patience)?;
    // Should the peer not accept this node's key yet, or any more, it may have the other one.
    let present = std::mem::replace(attempt, attempt.next());
    let cipher = in_time(patience, ends.dial(&mut stream, present)).await??;
    *attempt = Attempt::Own;
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
    let refused = Arc::new(Refused::default());
    loop {
        let Ok(permit) = Arc::clone(&greetings).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let (ends, mailbox) = (ends.clone(), Arc::clone(&mailbox));
                let refused = Arc::clone(&refused);
                tokio::spawn(async move {
                    match greet(&ends, stream, patience).await {
                        Ok(session) => {
                            info!(%from, "the replication stream is up");
                            refused.forget();
                            let _ = mailbox.post(Letter::Session(Box::new(session)));
                        }
                        Err(error) if refused.is_news(&error) => {
                            warn!(%from, %error, "a connection is refused");
                        }
                        Err(error) => debug!(%from, %error, "a connection is refused"),
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

/// Which kinds of refusal were told since the stream was up last: each is told once, or a wrong key
/// would fill the log.
#[derive(Debug, Default)]
struct Refused(AtomicU8);

impl Refused {
    fn is_news(&self, error: &HandshakeError) -> bool {
        let bit = match error {
            HandshakeError::Io(_) => 1,
            HandshakeError::Noise(_) => 2,
            HandshakeError::Greeting(_) => 4,
            HandshakeError::Stranger { .. } => 8,
        };
        self.0.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use core::future::poll_fn;
    use core::task::Poll;

    use ha_proto::{ClusterId, NodeId};

    use super::super::cipher::StreamKeys;
    use super::*;

    fn ends(me: u8, keys: StreamKeys) -> Ends {
        let node = |id| NodeId::new(id).unwrap();
        Ends { cluster: ClusterId(1), me: node(me), peer: node(1 - me), keys: Some(keys) }
    }

    /// Until one end has its stream.
    async fn session(mailbox: &Mailbox) {
        let mut letters = Vec::new();
        poll_fn(|cx| {
            mailbox.collect(cx, &mut letters);
            match letters.pop() {
                Some(Letter::Session(_)) => Poll::Ready(()),
                Some(other) => panic!("{other:?}"),
                None => Poll::Pending,
            }
        })
        .await;
    }

    #[test]
    fn a_dialler_whose_key_is_refused_tries_the_other_one_next() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let patience = Patience::new(Duration::from_millis(10), Duration::from_secs(5));
            let listener = StdListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let to = listener.local_addr().unwrap();
            let [here, there] = [(); 2].map(|()| Arc::new(Mailbox::default()));
            let old = ends(1, StreamKeys::new(&[1; 32]));
            let new = ends(0, StreamKeys::new(&[2; 32]).accepting(&[1; 32]));
            tokio::spawn(listen(old, listener, patience, Arc::clone(&there)));
            tokio::spawn(dial(new, to, patience, Arc::clone(&here)));
            let met = async {
                session(&here).await;
                session(&there).await;
            };
            timeout(Duration::from_secs(30), met).await.expect("the second attempt succeeds");
        });
    }

    #[test]
    fn each_kind_of_refusal_is_told_once_until_the_stream_was_up() {
        let refused = Refused::default();
        let broken = || HandshakeError::Io(io::ErrorKind::UnexpectedEof.into());
        let other = HandshakeError::Noise(snow::Error::Decrypt);
        assert!(refused.is_news(&broken()));
        assert!(!refused.is_news(&broken()));
        assert!(refused.is_news(&other));
        assert!(!refused.is_news(&other));
        refused.forget();
        assert!(refused.is_news(&broken()));
    }
}
