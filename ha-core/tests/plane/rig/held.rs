//! Many connections that stay open and say something all the time (FG4).

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ha_core::proto::Instant;
use ha_lab::{Host, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use super::SOON;

/// Between two bytes of one connection.
const EVERY: Duration = Duration::from_millis(100);
/// Silent for so long it is broken: some retransmissions.
const BROKEN: Duration = Duration::from_secs(12);

/// One connection, as it was seen last.
#[derive(Clone, Debug, Default)]
struct One {
    by: Option<u8>,
    /// When that was asked which was answered last.
    asked: Option<Instant>,
    broken: Option<String>,
}

pub(crate) struct Held {
    all: Arc<Mutex<Vec<One>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Held {
    /// Opens `count` connections from `client`, in turns to these addresses, and waits until each
    /// was answered.
    pub(crate) fn open(client: &Host, to: &[SocketAddr], count: usize) -> Self {
        let all = Arc::new(Mutex::new(vec![One::default(); count]));
        let over = Arc::new(AtomicBool::new(false));
        let (those, end, to) = (Arc::clone(&all), Arc::clone(&over), to.to_vec());
        let thread = client.inside(|| {
            thread::spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    for number in 0..count {
                        let (all, to) = (Arc::clone(&those), to[number % to.len()]);
                        tokio::spawn(async move {
                            // Not all in one moment.
                            sleep(EVERY * number as u32 / count as u32).await;
                            if let Err(error) = hold(&all, number, to).await {
                                all.lock().unwrap()[number].broken = Some(error.to_string());
                            }
                        });
                    }
                    while !end.load(Ordering::Relaxed) {
                        sleep(Duration::from_millis(20)).await;
                    }
                });
            })
        });
        let held = Self { all, over, thread: Some(thread.unwrap()) };
        let opened = within(SOON, || held.look(|all| all.iter().all(|one| one.by.is_some())));
        assert!(opened, "some never opened: {:?}", held.broken());
        held
    }

    /// Waits until each that is not broken has asked after this moment and was answered: an answer
    /// that was under way already says nothing of what holds now.
    pub(crate) fn wait(&self) {
        let now = ha_lab::now();
        let fresh = |one: &One| one.broken.is_some() || one.asked > Some(now);
        let heard = within(SOON, || self.look(|all| all.iter().all(fresh)));
        assert!(heard, "some neither go on nor break");
    }

    /// Who served those that broke, and what was seen of each.
    pub(crate) fn broken(&self) -> Vec<(Option<u8>, String)> {
        self.look(|all| {
            let broken = all.iter().filter_map(|one| Some((one.by, one.broken.clone()?)));
            broken.collect()
        })
    }

    /// How many this server has that are not broken.
    pub(crate) fn of(&self, server: usize) -> usize {
        let its = |one: &&One| one.by == Some(server as u8) && one.broken.is_none();
        self.look(|all| all.iter().filter(its).count())
    }

    fn look<T>(&self, look: impl FnOnce(&[One]) -> T) -> T {
        look(&self.all.lock().unwrap())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic was told.
            let _ = thread.join();
        }
    }
}

async fn hold(all: &Mutex<Vec<One>>, number: usize, to: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    loop {
        let (mut answer, asked) = ([0], ha_lab::now());
        stream.write_all(&[0]).await?;
        timeout(BROKEN, stream.read_exact(&mut answer)).await??;
        {
            let one = &mut all.lock().unwrap()[number];
            if one.by.is_some_and(|by| by != answer[0]) {
                return Err(io::Error::other("another server answers"));
            }
            (one.by, one.asked) = (Some(answer[0]), Some(asked));
        }
        sleep(EVERY).await;
    }
}
