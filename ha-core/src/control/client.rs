//! The client's end of the socket.

use core::time::Duration;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;

use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

use crate::control::protocol::{Line, Reply, Request, line};

/// One request to a daemon, and its answers.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    answers: BufReader<UnixStream>,
}

/// Why a daemon's answer is not to be had.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no daemon at {}: start it (systemctl start ha-node), or name its socket",
        path.display()
    )]
    NoDaemon {
        /// Where.
        path: PathBuf,
    },
    /// The socket is not for this user.
    #[error("not allowed to use {}", path.display())]
    Denied {
        /// Which.
        path: PathBuf,
    },
    /// It did not answer in time.
    #[error("the daemon at {} does not answer", path.display())]
    Silent {
        /// Which.
        path: PathBuf,
    },
    /// Anything else that is wrong with the socket.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What.
        source: io::Error,
    },
    /// It says something else than answers.
    #[error(
        "the daemon at {} says what this client does not understand: install the same release",
        path.display()
    )]
    Strange {
        /// Which.
        path: PathBuf,
    },
}

impl Client {
    /// Most bytes of one answer: a hundred modules' status, many times over.
    const ANSWER_MAX: u64 = 16 << 20;
    /// How long a daemon may take to take a request.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Asks the daemon at this socket.
    ///
    /// # Errors
    /// [`ClientError`]: nothing was asked.
    pub fn ask(path: &Path, request: &Request) -> Result<Self, ClientError> {
        let failed = |error| ClientError::of(path, error);
        let mut stream = connect(path).map_err(failed)?;
        match stream.write_all(&line(request)) {
            // It was turned away, and hears why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.map_err(failed)?,
        }
        Ok(Self { path: path.into(), answers: BufReader::new(stream) })
    }

    /// The number of the daemon's process, which a next program of it keeps.
    pub fn process(&self) -> Option<i32> {
        let peer = rustix::net::sockopt::socket_peercred(self.answers.get_ref()).ok()?;
        Some(peer.pid.as_raw_pid())
    }

    /// The next answer, within `patience`; `None` when there are no more.
    ///
    /// # Errors
    /// [`ClientError`]; what comes after it means nothing.
    pub fn next(&mut self, patience: Option<Duration>) -> Result<Option<Reply>, ClientError> {
        let failed = |error| ClientError::of(&self.path, error);
        // Zero would be refused.
        let patience = patience.map(|span| span.max(Duration::from_millis(1)));
        self.answers.get_ref().set_read_timeout(patience).map_err(failed)?;
        let mut text = Vec::new();
        let mut bounded = io::Read::take(&mut self.answers, Self::ANSWER_MAX);
        bounded.read_until(b'\n', &mut text).map_err(failed)?;
        if text.is_empty() {
            return Ok(None);
        }
        let line: Result<Line<Reply>, _> = serde_json::from_slice(&text);
        let line = line.map_err(|_| ClientError::Strange { path: self.path.clone() })?;
        Ok(Some(line.what))
    }
}

/// A connection, in [`Client::PATIENCE`]: where as many wait as the kernel lets wait for a daemon
/// that stands still, one more would wait for ever.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(Client::PATIENCE))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(OwnedFd::from(socket).into())
}

impl ClientError {
    fn of(path: &Path, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::NoDaemon { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent { path },
            _ => Self::Io { path, source },
        }
    }
}
