//! One POST over plain HTTP, in bounds of time.

use core::net::SocketAddr;
use core::time::Duration;
use std::format;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::prelude::rust_2024::*;
use std::string::String;

use super::config::Url;
use crate::driver::Clock;
use crate::linux::child::since;

/// Posts this JSON and waits for the answer's first line.
pub(super) fn post(url: &Url, json: &str, limit: Duration) -> io::Result<()> {
    let watch = Watch { clock: Clock::start(), limit };
    let mut stream = connect(url, &watch)?;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: ha-core\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        url.path,
        url.authority,
        json.len()
    );
    stream.set_write_timeout(Some(watch.left()?))?;
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(json.as_bytes()))?;
    let line = first_line(&mut stream, &watch)?;
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    match status {
        Some(status) if status.len() == 3 && status.starts_with('2') => Ok(()),
        Some(_) | None => Err(io::Error::other(format!("it answered {line:?}"))),
    }
}

/// What is left of the time.
struct Watch {
    clock: Clock,
    limit: Duration,
}

impl Watch {
    fn left(&self) -> io::Result<Duration> {
        let left = self.limit.saturating_sub(since(self.clock));
        if left.is_zero() { Err(self.over()) } else { Ok(left) }
    }

    fn over(&self) -> io::Error {
        let late = format!("it did not answer within {:?}", self.limit);
        io::Error::new(ErrorKind::TimedOut, late)
    }
}

/// Connects to the first address of the host that takes it; each has its share of the time.
fn connect(url: &Url, watch: &Watch) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = (url.host.as_str(), url.port).to_socket_addrs()?.collect();
    let mut failed = io::Error::new(ErrorKind::NotFound, "its host has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, watch.left()? / others) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn first_line(stream: &mut TcpStream, watch: &Watch) -> io::Result<String> {
    let mut line = Vec::new();
    let mut buffer = [0; LINE_MAX];
    while !line.contains(&b'\n') && line.len() < LINE_MAX {
        stream.set_read_timeout(Some(watch.left()?))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => line.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(watch.over()),
            Err(error) => return Err(error),
        }
    }
    let end = line.iter().position(|&byte| byte == b'\n').unwrap_or(line.len());
    Ok(String::from_utf8_lossy(&line[..end]).trim_end().into())
}

/// Bytes of an answer that are looked at: a status line is far shorter.
const LINE_MAX: usize = 512;
