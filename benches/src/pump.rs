//! An application that keeps so many records in flight, and counts what comes back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ha_core::driver::{Guard, Handle, Host, HostError};
use ha_core::replicate::Batch;
use ha_proto::{Epoch, Seq};

/// Counts what is committed and, while it runs, proposes as much again. As thin as a host can be,
/// so that what is measured is the pair.
#[derive(Clone, Debug, Default)]
pub struct Pump {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    committed: AtomicU64,
    running: AtomicBool,
    again: Mutex<Again>,
}

/// What is proposed again, and when the last was.
#[derive(Debug, Default)]
struct Again {
    handle: Option<Handle>,
    record: Bytes,
    sent: Option<Instant>,
    latencies: Vec<Duration>,
}

/// What a run found.
#[derive(Clone, Debug, PartialEq)]
pub struct Pumped {
    /// Records committed per second.
    pub rate: f64,
    /// The median time from a proposal to its commit; of use with one in flight only.
    pub latency: Duration,
}

const POISONED: &str = "nobody panics while holding it";

impl Pump {
    /// Keeps `in_flight` records of `len` bytes in flight for `duration` on the primary `handle`.
    ///
    /// # Panics
    /// When the records do not come back within ten seconds.
    pub fn run(&self, handle: &Handle, in_flight: u64, len: usize, duration: Duration) -> Pumped {
        let record = Bytes::from(vec![1; len]);
        {
            let mut again = self.shared.again.lock().expect(POISONED);
            let (sent, latencies) = (Some(Instant::now()), Vec::new());
            *again =
                Again { handle: Some(handle.clone()), record: record.clone(), sent, latencies };
        }
        self.shared.running.store(true, Ordering::Release);
        let before = self.committed();
        let started = Instant::now();
        for _ in 0..in_flight {
            handle.submit(record.clone()).expect("a pair in service takes what fits its window");
        }
        thread::sleep(duration);
        let (committed, took) = (self.committed() - before, started.elapsed());
        self.shared.running.store(false, Ordering::Release);
        self.drain();
        let mut latencies = self.shared.again.lock().expect(POISONED).latencies.clone();
        latencies.sort_unstable();
        let latency = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
        // Exact up to 2^53 records.
        #[allow(clippy::cast_precision_loss)]
        let rate = committed as f64 / took.as_secs_f64();
        Pumped { rate, latency }
    }

    fn committed(&self) -> u64 {
        self.shared.committed.load(Ordering::Acquire)
    }

    /// Waits until nothing comes back any more.
    fn drain(&self) {
        let mut last = self.committed();
        for _ in 0..100 {
            thread::sleep(Duration::from_millis(100));
            if last == self.committed() {
                return;
            }
            last = self.committed();
        }
        panic!("records still come back ten seconds after the last was proposed");
    }
}

impl Again {
    fn propose(&mut self, times: u64) {
        let now = Instant::now();
        self.latencies.extend(self.sent.replace(now).map(|sent| now - sent));
        let handle = self.handle.as_ref().expect("it was set before the first was proposed");
        for _ in 0..times {
            handle.submit(self.record.clone()).expect("as many were taken before");
        }
    }
}

impl Host for Pump {
    type Guard = Unguarded;

    fn guard(&mut self) -> Unguarded {
        Unguarded
    }

    async fn start(&mut self, _: Epoch, _: Seq) -> Result<(), HostError> {
        Ok(())
    }

    async fn stop(&mut self, _: bool) -> Result<(), HostError> {
        Ok(())
    }

    async fn apply(&mut self, _: Seq, _: Bytes) -> Result<(), HostError> {
        self.count(1);
        Ok(())
    }

    async fn apply_batch(&mut self, batch: &Batch) -> Result<(), HostError> {
        self.count(batch.last.0 + 1 - batch.first.0);
        Ok(())
    }

    async fn reset(&mut self) -> Result<(), HostError> {
        Ok(())
    }
}

impl Pump {
    fn count(&self, records: u64) {
        self.shared.committed.fetch_add(records, Ordering::AcqRel);
        if self.shared.running.load(Ordering::Acquire) {
            self.shared.again.lock().expect(POISONED).propose(records);
        }
    }
}

/// Nothing is served, so nothing is to be fenced.
#[derive(Clone, Copy, Debug)]
pub struct Unguarded;

impl Guard for Unguarded {
    async fn fence(&mut self, _: Epoch) -> Result<(), HostError> {
        Ok(())
    }
}
