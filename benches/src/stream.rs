//! The replication stream by itself: two logs, their records over TCP, and no disk.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::task::{Context, Poll};
use std::thread;

use bytes::{Bytes, BytesMut};
use ha_core::driver::{Session, Source};
use ha_core::{Input, Output};
use ha_proto::{Instant, ModuleId, NodeId, Seq};

use crate::pair::{CLUSTER, Node, Pair};

impl Pair {
    /// Bytes per second of records of `len` bytes that the primary proposes, the secondary checks
    /// and acknowledges, and the primary commits: everything but disks. Each node has a thread and
    /// its end of one TCP connection; with a `key` it is encrypted.
    ///
    /// # Errors
    /// Those of the sockets.
    pub fn stream(self, total: u64, len: usize, key: Option<[u8; 32]>) -> io::Result<f64> {
        let ([primary, secondary], now) = self.split();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let dialled = TcpStream::connect(listener.local_addr()?)?;
        let (accepted, _) = listener.accept()?;
        let goal = Seq(primary.applied.0 + total / len as u64);
        let follower = thread::spawn(move || {
            let end = End { node: secondary, now, work: None };
            end.run(accepted, false, key)
        });
        let started = std::time::Instant::now();
        let work = Some(Work { record: vec![1; len], goal });
        End { node: primary, now, work }.run(dialled, true, key)?;
        let took = started.elapsed().as_secs_f64();
        follower.join().expect("it does not panic")?;
        // Exact up to 2^53 bytes.
        #[allow(clippy::cast_precision_loss)]
        Ok(total as f64 / took)
    }
}

/// One node at its end of the stream. Its time stands still, so that nobody misses a beat.
struct End {
    node: Node,
    now: Instant,
    /// What the primary has to do; the secondary goes on until the stream ends.
    work: Option<Work>,
}

struct Work {
    record: Vec<u8>,
    goal: Seq,
}

const MODULE: ModuleId = ModuleId(1);

impl End {
    fn run(mut self, stream: TcpStream, dials: bool, key: Option<[u8; 32]>) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream)?;
            let [dialler, other] = [0, 1].map(|id| NodeId::new(id).expect("0 and 1 are ids"));
            let (me, peer) = if dials { (dialler, other) } else { (other, dialler) };
            let mut session = Session::greet(stream, CLUSTER, me, peer, key.as_ref()).await?;
            for input in [Input::Disconnected, Input::Connected] {
                self.node.mirror.handle_input(self.now, input);
            }
            poll_fn(|cx| self.turn(cx, &mut session)).await
        })
    }

    fn turn(&mut self, cx: &mut Context<'_>, session: &mut Session) -> Poll<io::Result<()>> {
        let mut more = match session.read(cx, &mut |_, message| self.hear(message)) {
            Ok(more) => more,
            // The primary is done.
            Err(_) if self.work.is_none() => return Poll::Ready(Ok(())),
            Err(error) => return Poll::Ready(Err(error)),
        };
        self.propose();
        self.perform();
        if self.work.as_ref().is_some_and(|work| self.node.applied >= work.goal) {
            return Poll::Ready(Ok(()));
        }
        match session.write(cx, self) {
            Ok(left) => more |= left,
            Err(_) if self.work.is_none() => return Poll::Ready(Ok(())),
            Err(error) => return Poll::Ready(Err(error)),
        }
        if more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn hear(&mut self, message: Bytes) {
        self.node.mirror.handle_input(self.now, Input::Stream { message });
        self.perform();
    }

    fn propose(&mut self) {
        let Some(work) = &self.work else { return };
        while self.node.mirror.status().head.seq < work.goal {
            if self.node.mirror.propose(self.now, &work.record).is_err() {
                break;
            }
        }
    }

    fn perform(&mut self) {
        while let Some(due) = self.node.mirror.poll_timeout().filter(|due| due.at <= self.now) {
            let Some(output) = self.node.mirror.poll_output() else {
                self.node.mirror.handle_input(due.at, Input::Timeout);
                continue;
            };
            if let Output::Effect { ticket, effect } = output {
                let answer = self.node.perform(effect);
                self.node.mirror.handle_input(self.now, Input::Done { ticket, answer });
            }
        }
    }
}

impl Source for End {
    fn count(&self) -> usize {
        1
    }

    fn poll(
        &mut self,
        _: usize,
        room: usize,
        buffer: &mut BytesMut,
        bulk: &mut Option<Bytes>,
    ) -> (ModuleId, usize) {
        (MODULE, self.node.mirror.poll_stream_parts(self.now, room, buffer, bulk))
    }
}
