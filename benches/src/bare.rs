//! What the machine does without us: the limits that each figure stands beside.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};

/// A log with nothing in it but bytes: each write made durable, in files whose space is reserved when
/// they are made, as ours are.
#[derive(Debug)]
struct Journal {
    path: PathBuf,
    file: File,
    blocks: Blocks,
    at: u64,
}

/// What the disk was told of a file's blocks before the first write to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// They are reserved: the first write to each is also noted in the file system's journal. The
    /// end of a log that grows.
    Reserved,
    /// They were written before, and are over and over: nothing is left to note. What a log could
    /// reach that uses its old files again.
    Written,
}

impl Journal {
    /// As long as one file of the log.
    const LEN: u64 = 64 << 20;

    fn new(folder: &Path, name: &str, blocks: Blocks) -> io::Result<Self> {
        let path = folder.join(name);
        let file = Self::create(&path, blocks)?;
        Ok(Self { path, file, blocks, at: 0 })
    }

    fn create(path: &Path, blocks: Blocks) -> io::Result<File> {
        let file = File::create(path)?;
        // Gone as soon as it is closed.
        fs::remove_file(path)?;
        match blocks {
            Blocks::Reserved => fallocate(&file, FallocateFlags::empty(), 0, Self::LEN)?,
            Blocks::Written => {
                let zeros = vec![0; 1 << 20];
                for at in (0..Self::LEN).step_by(zeros.len()) {
                    file.write_all_at(&zeros, at)?;
                }
            }
        }
        file.sync_all()?;
        Ok(file)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.at + bytes.len() as u64 > Self::LEN {
            self.at = 0;
            if self.blocks == Blocks::Reserved {
                self.file = Self::create(&self.path, self.blocks)?;
            }
        }
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        self.file.sync_data()
    }
}

/// Durable records per second on one disk with no mirror: so many records of so many bytes
/// written together, one fdatasync, again.
///
/// # Errors
/// Those of the disk.
pub fn local_commits(
    folder: &Path,
    blocks: Blocks,
    (together, len): (usize, usize),
    duration: Duration,
) -> io::Result<f64> {
    let mut journal = Journal::new(folder, "local", blocks)?;
    let bytes = vec![1; len * together];
    let started = Instant::now();
    let mut records = 0.0;
    while started.elapsed() < duration {
        journal.append(&bytes)?;
        records += as_f64(together);
    }
    Ok(records / started.elapsed().as_secs_f64())
}

/// The median time of one record made durable here and, at the same time, sent to another thread
/// over TCP, made durable there and acknowledged: max(local fdatasync, round trip + remote
/// fdatasync), by hand. Both files are on one disk, as in every other figure here.
///
/// # Errors
/// Those of the disk and the sockets.
pub fn mirrored_commit(folder: &Path, len: usize, times: usize) -> io::Result<Duration> {
    let mut remote = Journal::new(folder, "remote", Blocks::Reserved)?;
    let mut local = Journal::new(folder, "local", Blocks::Reserved)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    let (mut accepted, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    accepted.set_nodelay(true)?;
    let peer = thread::spawn(move || -> io::Result<()> {
        let mut record = vec![0; len];
        for _ in 0..times {
            accepted.read_exact(&mut record)?;
            remote.append(&record)?;
            accepted.write_all(&[1])?;
        }
        Ok(())
    });
    let record = vec![1; len];
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let started = Instant::now();
        stream.write_all(&record)?;
        local.append(&record)?;
        stream.read_exact(&mut [0])?;
        took.push(started.elapsed());
    }
    peer.join().expect("it does not panic")?;
    took.sort_unstable();
    Ok(took[times / 2])
}

/// Bytes per second of a bare copy through a TCP connection on loopback, in 256 KiB writes.
///
/// # Errors
/// Those of the sockets.
pub fn tcp_copy(total: u64) -> io::Result<f64> {
    const CHUNK: usize = 256 << 10;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    let reader = thread::spawn(move || -> io::Result<u64> {
        let (mut accepted, mut buffer, mut sum) = (accepted, vec![0; CHUNK], 0);
        loop {
            match accepted.read(&mut buffer)? {
                0 => return Ok(sum),
                len => sum += len as u64,
            }
        }
    });
    let chunk = vec![1; CHUNK];
    let started = Instant::now();
    for _ in 0..total.div_ceil(CHUNK as u64) {
        stream.write_all(&chunk)?;
    }
    drop(stream);
    let bytes = reader.join().expect("it does not panic")?;
    // Exact up to 2^53 bytes.
    #[allow(clippy::cast_precision_loss)]
    Ok(bytes as f64 / started.elapsed().as_secs_f64())
}

/// A count as a figure: exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_can_be_measured() {
        let folder = tempfile::tempdir().unwrap();
        let short = Duration::from_millis(20);
        for blocks in [Blocks::Reserved, Blocks::Written] {
            assert!(local_commits(folder.path(), blocks, (4, 396), short).unwrap() > 0.0);
        }
        assert!(mirrored_commit(folder.path(), 396, 5).unwrap() > Duration::ZERO);
        assert!(tcp_copy(1 << 20).unwrap() > 0.0);
    }
}
