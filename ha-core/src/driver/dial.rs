//! Making the stream: one node dials, the other listens.

use core::future::poll_fn;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Poll;
use core::time::Duration;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::prelude::rust_2024::*;
use std::sync::Arc;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::cipher::{Attempt, Ends, HandshakeError};
use super::greetings::{Greetings, Refused};
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
///
/// `heard` tells that beats of the peer come again. What was sent into a cut is sent again by TCP
/// seconds later; a new attempt is answered within a round trip.
///
/// It is dialled from the address of `own`, where the peer would dial to: a virtual address may be
/// the source of other connections, and the stream must not end with it.
pub(super) async fn dial(
    ends: Ends,
    own: SocketAddr,
    to: SocketAddr,
    patience: Patience,
    mailbox: Arc<Mailbox>,
    refused: Arc<Refused>,
    heard: Arc<Notify>,
) {
    let mut attempt = Attempt::Own;
    loop {
        let Some(dialled) = unless(&heard, connect(own, to), patience).await else {
            continue;
        };
        let connected = match dialled {
            Ok(stream) => greet_first(&ends, stream, patience, &mut attempt).await,
            Err(error) => Err(error.into()),
        };
        match connected {
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
        // The peer may be heard in the meantime: then it is dialled at once.
        let _ = timeout(patience.retry, heard.notified()).await;
    }
}

async fn connect(own: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    if own.ip().is_unspecified() || own.is_ipv4() != to.is_ipv4() {
        return TcpStream::connect(to).await;
    }
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    let mut from = own;
    from.set_port(0);
    socket.bind(from)?;
    socket.connect(to).await
}

/// A connection, unless the peer is heard before there is one.
async fn unless(
    heard: &Notify,
    connecting: impl Future<Output = io::Result<TcpStream>>,
    patience: Patience,
) -> Option<io::Result<TcpStream>> {
    let mut connecting = pin!(in_time(patience, connecting));
    let mut heard = pin!(heard.notified());
    poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(connected) => Poll::Ready(Some(connected.flatten())),
        Poll::Pending => heard.as_mut().poll(cx).map(|()| None),
    })
    .await
}

async fn greet_first(
    ends: &Ends,
    mut stream: TcpStream,
    patience: Patience,
    attempt: &mut Attempt,
) -> Result<(Session, oneshot::Receiver<()>), HandshakeError> {
    prepare(&stream, patience)?;
    // Should the peer not accept this node's key yet, or any more, it may have the other one.
    let present = std::mem::replace(attempt, attempt.next());
    let cipher = in_time(patience, ends.dial(&mut stream, present)).await??;
    *attempt = Attempt::Own;
    let (sender, ended) = oneshot::channel();
    Ok((Session::new(stream, cipher, Some(sender)), ended))
}

/// Listens for the peer for ever; each new stream takes the place of the one before, once the peer
/// has confirmed it.
pub(super) async fn listen(
    ends: Ends,
    listener: StdListener,
    patience: Patience,
    mailbox: Arc<Mailbox>,
    refused: Arc<Refused>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "cannot listen for the replication stream"),
    };
    let mut greetings = Greetings::default();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let greeted = Arc::new(AtomicBool::new(false));
                let (ends, mailbox) = (ends.clone(), Arc::clone(&mailbox));
                let (news, said) = (Arc::clone(&refused), Arc::clone(&greeted));
                let task = tokio::spawn(async move {
                    match greet(&ends, stream, patience, &said).await {
                        Ok(session) => {
                            info!(%from, "the replication stream is up");
                            news.forget();
                            let _ = mailbox.post(Letter::Session(Box::new(session)));
                        }
                        Err(error) => refuse(&news, from, &error),
                    }
                });
                if let Some((from, error)) = greetings.push(from, greeted, task) {
                    refuse(&refused, from, &error);
                }
            }
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                sleep(patience.retry).await;
            }
        }
    }
}

fn refuse(refused: &Refused, from: SocketAddr, error: &HandshakeError) {
    if refused.is_news(error) {
        warn!(%from, %error, "a connection is refused: told once, counted always");
    } else {
        debug!(%from, %error, "a connection is refused");
    }
}

async fn greet(
    ends: &Ends,
    mut stream: TcpStream,
    patience: Patience,
    greeted: &AtomicBool,
) -> Result<Session, HandshakeError> {
    prepare(&stream, patience)?;
    let handshake = async {
        let mut cipher = ends.answer(&mut stream).await?;
        greeted.store(true, Ordering::Relaxed);
        cipher.confirmed(&mut stream).await?;
        Ok(cipher)
    };
    match in_time(patience, handshake).await {
        Ok(cipher) => cipher.map(|cipher| Session::new(stream, cipher, None)),
        Err(_) if greeted.load(Ordering::Relaxed) => Err(HandshakeError::Unconfirmed),
        Err(error) => Err(error.into()),
    }
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

#[cfg(test)]
mod tests {
    use core::future::poll_fn;
    use core::task::Poll;

    use ha_proto::{ClusterId, NodeId};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::cipher::StreamKeys;
    use super::super::greetings::GREETINGS_MAX;
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
            let refused = || Arc::new(Refused::default());
            tokio::spawn(listen(old, listener, patience, Arc::clone(&there), refused()));
            tokio::spawn(dial(
                new,
                anywhere(),
                to,
                patience,
                Arc::clone(&here),
                refused(),
                Arc::default(),
            ));
            let met = async {
                session(&here).await;
                session(&there).await;
            };
            timeout(Duration::from_secs(30), met).await.expect("the second attempt succeeds");
        });
    }

    /// A listener with one key, and what reaches its loop.
    struct Listening {
        at: SocketAddr,
        mailbox: Arc<Mailbox>,
        refused: Arc<Refused>,
        patience: Patience,
    }

    impl Listening {
        fn start(patience: Patience) -> Self {
            let listener = StdListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let at = listener.local_addr().unwrap();
            let (mailbox, refused) = (Arc::default(), Arc::default());
            let letters = (Arc::clone(&mailbox), Arc::clone(&refused));
            tokio::spawn(listen(ends(1, key()), listener, patience, letters.0, letters.1));
            Self { at, mailbox, refused, patience }
        }

        fn dial(&self) {
            let (mailbox, refused, heard) = Default::default();
            let ends = ends(0, key());
            let dialler = dial(ends, anywhere(), self.at, self.patience, mailbox, refused, heard);
            tokio::spawn(dialler);
        }

        /// Whether a stream comes up within two seconds.
        async fn is_up(&self) -> bool {
            timeout(Duration::from_secs(2), session(&self.mailbox)).await.is_ok()
        }
    }

    fn key() -> StreamKeys {
        StreamKeys::new(&[1; 32])
    }

    fn anywhere() -> SocketAddr {
        "0.0.0.0:0".parse().unwrap()
    }

    #[test]
    fn the_stream_begins_at_the_nodes_own_address() {
        block_on(async {
            let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let to = peer.local_addr().unwrap();
            let peer = &peer;
            let from = async |own: &str| {
                let dialled = connect(own.parse().unwrap(), to);
                let (_dialled, seen) = tokio::join!(dialled, peer.accept());
                seen.unwrap().1.ip().to_string()
            };
            assert_eq!(from("127.0.0.9:7401").await, "127.0.0.9");
            // Who listens everywhere, or by the other family, dials as the system has it.
            assert_eq!(from("0.0.0.0:7401").await, "127.0.0.1");
            assert_eq!(from("[::1]:7401").await, "127.0.0.1");
        });
    }

    /// What a dialler with the key says first, as a stranger on the wire records it.
    async fn recorded() -> [u8; 66] {
        let tap = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut dialled = TcpStream::connect(tap.local_addr().unwrap()).await.unwrap();
        let (mut seen, _) = tap.accept().await.unwrap();
        let record = async move {
            let mut bytes = [0; 66];
            seen.read_exact(&mut bytes).await.unwrap();
            bytes
        };
        let victim = ends(0, key());
        tokio::join!(victim.dial(&mut dialled, Attempt::Own), record).1
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work)
    }

    #[test]
    fn who_is_heard_is_dialled_anew_and_not_waited_for() {
        block_on(async {
            let heard = Notify::new();
            let patience = Patience::new(Duration::from_millis(10), Duration::from_secs(10));
            heard.notify_one();
            let into_a_cut = poll_fn(|_| Poll::Pending);
            assert!(unless(&heard, into_a_cut, patience).await.is_none());
            let refused = async { Err(io::ErrorKind::ConnectionRefused.into()) };
            heard.notify_one();
            let told = unless(&heard, refused, patience).await.expect("it is answered already");
            assert_eq!(told.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        });
    }

    #[test]
    fn a_dialler_that_waits_for_its_next_attempt_makes_it_when_the_peer_is_heard() {
        block_on(async {
            let minute = Duration::from_mins(1);
            let patience = Patience { retry: minute, timeout: minute };
            let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (to, heard) = (peer.local_addr().unwrap(), Arc::new(Notify::new()));
            let (mailbox, refused) = Default::default();
            let (ends, again) = (ends(0, key()), Arc::clone(&heard));
            tokio::spawn(dial(ends, anywhere(), to, patience, mailbox, refused, again));
            drop(peer.accept().await.unwrap());
            heard.notify_one();
            assert!(timeout(minute / 2, peer.accept()).await.is_ok());
        });
    }

    #[test]
    fn a_recorded_greeting_does_not_take_the_place_of_the_live_stream() {
        block_on(async {
            let recorded = recorded().await;
            let patience = Patience::new(Duration::from_millis(10), Duration::from_secs(1));
            let there = Listening::start(patience);
            there.dial();
            assert!(there.is_up().await);
            // The first goes at once, the second holds on, the third makes its own confirmation up.
            let mut strangers = Vec::new();
            for _ in 0..3 {
                let mut stranger = TcpStream::connect(there.at).await.unwrap();
                stranger.write_all(&recorded).await.unwrap();
                strangers.push(stranger);
            }
            strangers[2].write_all(&[&[0, 16][..], &[7; 16]].concat()).await.unwrap();
            strangers.remove(0);
            assert!(!there.is_up().await, "a stranger's connection became the stream");
            assert_eq!(there.refused.count(), 3);
            assert!(!there.refused.is_news(&HandshakeError::Unconfirmed), "it was told");
        });
    }

    #[test]
    fn strangers_who_say_nothing_or_old_greetings_do_not_keep_the_peer_out() {
        block_on(async {
            for recorded in [None, Some(recorded().await)] {
                let patience = Patience::new(Duration::from_millis(10), Duration::from_secs(10));
                let there = Listening::start(patience);
                let mut strangers = Vec::new();
                for _ in 0..2 * GREETINGS_MAX {
                    let mut stranger = TcpStream::connect(there.at).await.unwrap();
                    if let Some(recorded) = &recorded {
                        stranger.write_all(recorded).await.unwrap();
                    }
                    strangers.push(stranger);
                }
                there.dial();
                assert!(there.is_up().await);
                let gone = there.refused.count();
                assert!(gone >= GREETINGS_MAX as u64, "only {gone} gave way");
            }
        });
    }
}
