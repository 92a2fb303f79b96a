//! Whether a module serves here, for load balancers, and its metrics, for Prometheus, over HTTP.
//!
//! | request | answer |
//! |---|---|
//! | `GET /ready?module=NAME` | 200 `OK` where its clients are to be sent, else 404 `NOT FOUND` |
//! | `GET /var/modules/NAME/ready.txt` | the same |
//! | `GET /metrics` | the text of [`Source::metrics`] |
//!
//! `HEAD` is answered like `GET`, without the text; other methods by 405, anything else by 404.
//!
//! It has a thread of its own, and what a client can cost is bounded: one request a connection, of
//! 8 KiB at most; 5 s a connection, whatever it waits for; 64 connections, and one more ends the
//! oldest of them, so silent clients cannot keep a load balancer out. Metrics are made at most
//! once a second, whoever asks.
//!
//! ```no_run
//! use ha_core::driver::Handle;
//! use ha_core::http::{Server, Source};
//!
//! struct Node {
//!     shop: Handle,
//! }
//!
//! impl Source for Node {
//!     fn ready(&self, module: &str) -> Option<bool> {
//!         let status = self.shop.status().now();
//!         (module == "shop").then(|| status.is_some_and(|status| status.takes_clients()))
//!     }
//!
//!     async fn metrics(&self) -> Option<String> {
//!         // In full: `ha_core::metrics::render`.
//!         let counters = self.shop.counters().await?;
//!         Some(format!("ha_heartbeat_sent_total {}\n", counters.heartbeat.sent))
//!     }
//! }
//!
//! # fn start(shop: Handle) -> Result<(), ha_core::driver::StartError> {
//! let server = Server::start("0.0.0.0:9010".parse().expect("an address"), Node { shop })?;
//! println!("http://{}/metrics", server.address());
//! # Ok(())
//! # }
//! ```

mod answer;

use core::convert::Infallible;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::prelude::rust_2024::*;
use std::string::String;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle as Task;
use tracing::{debug, warn};

use self::answer::Site;
use crate::driver::{self, StartError};

/// What is served.
pub trait Source: Send + Sync + 'static {
    /// Whether clients of this module are to be sent to this node; `None` for a module that is not
    /// here. Must not wait.
    fn ready(&self, module: &str) -> Option<bool>;

    /// All metrics in the text format of Prometheus; `None` when the node cannot say, which is
    /// answered by 503, as is one that takes longer than 2 s.
    fn metrics(&self) -> impl Future<Output = Option<String>> + Send;
}

/// For whoever serves it elsewhere, too.
impl<S: Source> Source for Arc<S> {
    fn ready(&self, module: &str) -> Option<bool> {
        (**self).ready(module)
    }

    fn metrics(&self) -> impl Future<Output = Option<String>> + Send {
        (**self).metrics()
    }
}

/// Where to listen, as an administrator writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct RawHttp {
    /// Address and TCP port of health and metrics; default `0.0.0.0:9010`, which is every network.
    /// There is neither encryption nor a password: name an address that only load balancers and
    /// Prometheus reach, where others share the network.
    pub listen: SocketAddr,
}

impl Default for RawHttp {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)) }
    }
}

/// A server at work, until it is dropped: then every connection is cut.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens, on a thread of its own.
    ///
    /// # Errors
    /// [`StartError::Bind`] names the address, [`StartError::Thread`] says that there is no thread.
    pub fn start<S: Source>(listen: SocketAddr, source: S) -> Result<Self, StartError> {
        Self::bounded(listen, source, Bounds::default())
    }

    fn bounded<S: Source>(
        listen: SocketAddr,
        source: S,
        bounds: Bounds,
    ) -> Result<Self, StartError> {
        let field = "http.listen";
        let listener = driver::listen(field, listen)?;
        let address = listener.local_addr();
        let address =
            address.map_err(|source| StartError::Bind { field, address: listen, source })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("ha-http".into()).spawn(move || {
            runtime.block_on(async {
                let site = Arc::new(Site::new(source, bounds.page));
                // It is watched by the runtime, and cut with everything else when that goes.
                tokio::spawn(accept(listener, site, bounds));
                let _ = ended.await;
            });
        })?;
        Ok(Self { address, end: Some(end), thread: Some(thread) })
    }

    /// Where it listens: the port that was asked for, or the one that the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked serves as little as one that has ended.
            let _ = thread.join();
        }
    }
}

/// What the clients can cost together.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Open connections: two load balancers and a few scrapers need less than ten.
    connections: usize,
    /// How long a connection lasts: a health check that takes longer has failed anyway.
    connection: Duration,
    /// How long the metrics may take: the node answers within a turn of its loop.
    page: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        let (connection, page) = (Duration::from_secs(5), Duration::from_secs(2));
        Self { connections: 64, connection, page }
    }
}

/// Where load balancers look for the health of such modules already.
const PORT: u16 = 9010;

/// Bytes of a request; the least that `hyper` takes.
const REQUEST_MAX: usize = 8192;

/// How long nobody is let in when the system gives no more sockets: they come back when others
/// close theirs, and asking at once again would only burn time.
const NO_SOCKETS: Duration = Duration::from_millis(100);

async fn accept<S: Source>(listener: std::net::TcpListener, site: Arc<Site<S>>, bounds: Bounds) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "http.listen: nobody is answered"),
    };
    let mut open: VecDeque<Task<()>> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                open.retain(|task| !task.is_finished());
                if open.len() >= bounds.connections
                    && let Some(oldest) = open.pop_front()
                {
                    debug!("too many connections: the oldest one is closed");
                    oldest.abort();
                }
                let talk = converse(stream, Arc::clone(&site));
                open.push_back(tokio::spawn(async move {
                    match tokio::time::timeout(bounds.connection, talk).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => debug!(%from, %error, "a client is not understood"),
                        Err(_late) => debug!(%from, "a client is too slow"),
                    }
                }));
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                warn!(%error, "http.listen: no connection can be taken now");
                tokio::time::sleep(NO_SOCKETS).await;
            }
        }
    }
}

/// Whether only this one connection is lost.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// One request and its answer.
async fn converse<S: Source>(stream: TcpStream, site: Arc<Site<S>>) -> hyper::Result<()> {
    let service = service_fn(|request: Request<Incoming>| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(request.method(), request.uri()).await) }
    });
    http1::Builder::new()
        .keep_alive(false)
        // Whoever sent all that it has to say still wants to hear the answer.
        .half_close(true)
        .max_buf_size(REQUEST_MAX)
        // The whole connection has one.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

#[cfg(test)]
mod tests;
