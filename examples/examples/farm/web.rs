//! The service: HTTP from each server, which counts what it does.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ha_lab::Host;
use socket2::SockRef;

/// A web server on a host, in threads of this process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Web(Arc<Shared>);

/// What its threads share.
#[derive(Debug)]
struct Shared {
    counts: Arc<Counts>,
    ends: AtomicBool,
    /// Its open connections, by number.
    open: Mutex<BTreeMap<u64, TcpStream>>,
}

/// What a server did, however often it was killed.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Requests that were answered.
    pub served: AtomicU64,
    /// Connections that ended before their client ended them.
    pub broken: AtomicU64,
}

impl Web {
    /// Serves on every address of a host.
    pub(crate) fn start(host: &Host, name: &str, counts: &Arc<Counts>) -> io::Result<Self> {
        let listener = host.inside(|| TcpListener::bind(("0.0.0.0", PORT)))??;
        let shared = Arc::new(Shared {
            counts: Arc::clone(counts),
            ends: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let (all, name) = (Arc::clone(&shared), Arc::<str>::from(name));
        // Looked at often enough for a picture: `accept` itself cannot be interrupted.
        listener.set_nonblocking(true)?;
        thread::Builder::new().name("web".into()).spawn(move || all.accept(&listener, &name))?;
        Ok(Self(shared))
    }
}

impl Web {
    /// Whether it has no connection.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.open.lock().expect("nothing panics while it is held").is_empty()
    }
}

impl Drop for Web {
    /// As the kernel does for a process that is killed: its connections are reset.
    fn drop(&mut self) {
        self.0.ends.store(true, Ordering::Relaxed);
        let open =
            std::mem::take(&mut *self.0.open.lock().expect("nothing panics while it is held"));
        self.0.counts.broken.fetch_add(open.len() as u64, Ordering::Relaxed);
        for stream in open.values() {
            // One that its client has ended meanwhile needs neither.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener, name: &Arc<str>) {
        let mut number = 0;
        while !self.ends.load(Ordering::Relaxed) {
            let Ok((stream, _)) = listener.accept() else {
                thread::sleep(LOOK);
                continue;
            };
            number += 1;
            let (all, name) = (Arc::clone(self), Arc::clone(name));
            let served = stream.set_nonblocking(false).and_then(|()| stream.try_clone());
            let Ok(kept) = served else { continue };
            self.open.lock().expect("nothing panics while it is held").insert(number, kept);
            // Without a thread the connection is closed: its client tries again.
            let _ = thread::Builder::new().stack_size(STACK).spawn(move || {
                let ended = all.serve(stream, &name);
                let mut open = all.open.lock().expect("nothing panics while it is held");
                // One that was killed is counted already.
                if open.remove(&number).is_some() && ended.is_err() {
                    all.counts.broken.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }

    /// Answers requests until the client ends, or has had so many that it shall begin anew.
    fn serve(&self, stream: TcpStream, name: &str) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut answers = stream.try_clone()?;
        let mut requests = BufReader::new(stream);
        for number in 1..=REQUESTS_MAX {
            if !read_request(&mut requests)? {
                return Ok(());
            }
            thread::sleep(WORK);
            let last = if number == REQUESTS_MAX { "close" } else { "keep-alive" };
            let head = format!("Content-Length: {}\r\nConnection: {last}", name.len() + 1);
            answers.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{name}\n").as_bytes())?;
            self.counts.served.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// A request without a body; `false` when the client has ended.
fn read_request(from: &mut impl BufRead) -> io::Result<bool> {
    let mut line = String::new();
    for at in 0..LINES_MAX {
        line.clear();
        match from.read_line(&mut line)? {
            0 if at == 0 => return Ok(false),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if line.trim_end().is_empty() => return Ok(true),
            _ => {}
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Of HTTP.
const PORT: u16 = 80;
/// What a request costs: the machine has other things to do than to answer as fast as it can.
const WORK: Duration = Duration::from_millis(10);
/// Requests of a connection: about a second, so that clients meet other servers soon.
const REQUESTS_MAX: u32 = 100;
/// Lines of a request's head.
const LINES_MAX: usize = 64;
const LOOK: Duration = Duration::from_millis(5);
const STACK: usize = 128 << 10;
