//! One client's connection: bounded lines in, answers out within bounded time.

use std::io;
use std::prelude::rust_2024::*;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::PATIENCE;
use crate::control::protocol::{self, REQUEST_MAX, Reply, Request, line};

/// A client's connection.
pub(super) struct Wire {
    stream: UnixStream,
}

/// Why there is no request.
pub(super) enum Bad {
    /// What came is none.
    Request(String),
    /// The connection broke.
    Io(io::Error),
}

impl Wire {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream }
    }

    /// The one request; `None` when the client has gone without one.
    pub(super) async fn request(&mut self) -> Result<Option<Request>, Bad> {
        let mut bytes = Vec::with_capacity(256);
        loop {
            let before = bytes.len();
            if self.stream.read_buf(&mut bytes).await.map_err(Bad::Io)? == 0 {
                return if before == 0 { Ok(None) } else { Self::parse(&bytes) };
            }
            if let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
                return Self::parse(&bytes[..end]);
            }
            if bytes.len() > REQUEST_MAX {
                return Err(Bad::Request(std::format!(
                    "a request has {REQUEST_MAX} bytes at most"
                )));
            }
        }
    }

    fn parse(line: &[u8]) -> Result<Option<Request>, Bad> {
        if line.len() > REQUEST_MAX {
            return Err(Bad::Request(std::format!("a request has {REQUEST_MAX} bytes at most")));
        }
        protocol::request(line).map(Some).map_err(Bad::Request)
    }

    /// Says one line; a client that does not read it in time is given up.
    pub(super) async fn say(&mut self, reply: Reply) -> io::Result<()> {
        let line = line(reply);
        match timeout(PATIENCE, self.stream.write_all(&line)).await {
            Ok(written) => written,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it does not read")),
        }
    }

    /// Returns once the client has gone. What it sends after its request is ignored.
    pub(super) async fn gone(&mut self) {
        let mut ignored = [0; 256];
        while self.stream.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
    }
}
