//! The daemon's end of the socket.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::string::String;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::process::geteuid;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::control::access::{May, Roll};
use crate::control::board::{Board, Noted};
use crate::control::log::EventLog;
use crate::control::ops::Ops;
use crate::control::protocol::{Reply, line};
use crate::control::{Desk, Exit, Refused, Report};

mod answer;
mod farm;
mod obey;
mod tail;
mod wire;

use self::wire::Wire;

/// Answers at a socket, on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    /// Dropped, it ends the thread.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Why there is no server. Nothing was left behind.
#[derive(Debug, Error)]
pub enum ServerError {
    /// Somebody answers there.
    #[error(
        "control socket {} is in use: another daemon answers there: stop it, or name another \
         folder for this one",
        path.display()
    )]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("control socket {}: {source}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system gives no thread or runtime.
    #[error("no thread for the control socket: {0}")]
    Thread(io::Error),
}

/// What all clients share.
struct Office<D> {
    desk: Arc<D>,
    events: Arc<EventLog>,
    boards: Mutex<BTreeMap<String, Board>>,
    ops: Mutex<Ops>,
    /// The daemon's own user.
    own: u32,
}

impl Server {
    /// Listens at `path`, where a socket that nobody answers any more may lie. Everybody may
    /// connect; who may see and order is asked of the kernel for each connection.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn start<D: Desk>(
        path: &Path,
        desk: Arc<D>,
        events: Arc<EventLog>,
    ) -> Result<Self, ServerError> {
        let listener = listen(path)?;
        let ops = Mutex::new(Ops::after(desk.orders_before()));
        let office = Arc::new(Office {
            desk,
            events,
            boards: Mutex::default(),
            ops,
            own: geteuid().as_raw(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ServerError::Thread)?;
        let (end, ended) = oneshot::channel::<()>();
        let work = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(office, listener) => {}
                    _ = ended => {}
                }
            });
            // What still runs for clients is left: they see their connection close.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name(THREAD.into()).spawn(work);
        let thread = thread.map_err(ServerError::Thread)?;
        Ok(Self { path: path.into(), end: Some(end), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the thread of the control socket has panicked");
        }
        // One that is gone already is no loss.
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds, in place of a socket whose daemon was killed.
fn listen(path: &Path) -> Result<StdListener, ServerError> {
    let failed = |source| ServerError::Socket { path: path.into(), source };
    let bound = match StdListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let kind = fs::symlink_metadata(path).map_err(failed)?.file_type();
            if !std::os::unix::fs::FileTypeExt::is_socket(&kind) {
                return Err(failed(error));
            }
            if StdStream::connect(path).is_ok() {
                return Err(ServerError::InUse { path: path.into() });
            }
            fs::remove_file(path).map_err(failed)?;
            StdListener::bind(path)
        }
        bound => bound,
    };
    let listener = bound.map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Lets clients in, for ever, and looks at the modules each second.
async fn serve<D: Desk>(office: Arc<Office<D>>, listener: StdListener) {
    let Ok(listener) = UnixListener::from_std(listener) else {
        return warn!("the control socket cannot be watched");
    };
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    tokio::spawn(watch(Arc::clone(&office)));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "no client is let in");
                sleep(LOOK).await;
                continue;
            }
        };
        let may = office.may(&stream);
        if let Err(refused) = may.allow(May::See) {
            // Whoever may not even see takes no place from those who may, not for a moment.
            turn_away(&stream, refused);
            continue;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let text = "the control socket has too many clients: try again in a moment";
            turn_away(&stream, Refused::new(Exit::Busy, text));
            continue;
        };
        let office = Arc::clone(&office);
        tokio::spawn(async move {
            let _place = place;
            client(&office, stream, may).await;
        });
    }
}

/// The ages of what is found are seen although nobody asks.
async fn watch<D: Desk>(office: Arc<Office<D>>) {
    loop {
        for (_, name) in office.desk.modules() {
            if let Some(report) = office.desk.report(&name).await {
                office.look(&report);
            }
        }
        sleep(LOOK).await;
    }
}

/// One line, as far as it goes into the socket's buffer at once.
fn turn_away(stream: &UnixStream, refused: Refused) {
    let _ = stream.try_write(&line(Reply::Refused(refused)));
}

/// One client: its request, and the answers.
async fn client<D: Desk>(office: &Arc<Office<D>>, stream: UnixStream, may: May) {
    let mut wire = Wire::new(stream);
    let asked = timeout(PATIENCE, wire.request()).await;
    let done = match asked {
        Ok(Ok(Some(request))) => match office.answer(&mut wire, may, request).await {
            Ok(()) => Ok(()),
            Err(answer::Stop::Refused(refused)) => wire.say(Reply::Refused(refused)).await,
            Err(answer::Stop::Gone(gone)) => Err(gone),
        },
        Ok(Ok(None)) => Ok(()),
        Ok(Err(wire::Bad::Request(what))) => {
            wire.say(Reply::Refused(Refused::new(Exit::Usage, what))).await
        }
        Ok(Err(wire::Bad::Io(error))) => Err(error),
        Err(_) => {
            let what = "no request came within ten seconds";
            wire.say(Reply::Refused(Refused::new(Exit::Usage, what))).await
        }
    };
    if let Err(error) = done {
        debug!(%error, "a client of the control socket is left");
    }
}

impl<D: Desk> Office<D> {
    /// Looks at a module, and remembers.
    fn look(&self, report: &Report) -> Noted {
        let now = self.events.clock().now();
        let mut boards = self.boards.lock().unwrap_or_else(PoisonError::into_inner);
        boards.entry(report.name.clone()).or_default().look(now, report)
    }

    /// What the process at the other end may do.
    fn may(&self, stream: &UnixStream) -> May {
        match stream.peer_cred() {
            Ok(peer) => Roll::read().may(peer.uid(), peer.gid(), self.own),
            Err(_) => May::Nothing,
        }
    }

    fn ops(&self) -> std::sync::MutexGuard<'_, Ops> {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const THREAD: &str = "ha-control";
/// Clients at once: a few consoles, scripts and monitors. More are told to come again.
const CLIENTS_MAX: usize = 32;
/// How long a client may take to ask, or to take an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at the modules.
const LOOK: Duration = Duration::from_secs(1);
