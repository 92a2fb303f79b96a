//! What a program prints, kept in a file with a bound.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The file that a program's output is kept in.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    path: PathBuf,
    over: Arc<AtomicBool>,
}

impl Output {
    /// An output and the end to write to. A thread copies, up to [`OUTPUT_MAX`] bytes; the rest is
    /// read and dropped, so that no program waits for a full pipe. It ends with the last writer.
    pub(crate) fn make(path: &Path) -> io::Result<(Self, PipeWriter)> {
        let (reader, writer) = pipe()?;
        let file = File::create(path)?;
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        thread::spawn(move || {
            copy(reader, file);
            told.store(true, Ordering::Release);
        });
        Ok((Self { path: path.to_owned(), over }, writer))
    }

    /// Whether all writers have ended, and what they printed is in the file.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// What was printed until now.
    pub(crate) fn text(&self) -> String {
        // A file that was removed with the lab has nothing to say.
        fs::read(&self.path)
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A program that prints more than this has said what it has to say: a failure's report stays
/// readable, and the disk of the test machine is safe.
const OUTPUT_MAX: usize = 1 << 20;

fn copy(mut reader: PipeReader, mut file: File) {
    let mut buffer = [0; 8192];
    let mut room = OUTPUT_MAX;
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        let kept = count.min(room);
        room -= kept;
        // A full disk loses output and must not stop the program.
        let _ = file.write_all(&buffer[..kept]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::within;
    use std::time::Duration;

    #[test]
    fn output_is_kept_up_to_its_bound_and_nobody_waits() {
        let path = std::env::temp_dir().join(format!("{}-output", crate::leftovers::fresh_name()));
        let (output, mut writer) = Output::make(&path).unwrap();
        writer.write_all(b"begin ").unwrap();
        assert!(within(Duration::from_mins(1), || output.text() == "begin "));
        for _ in 0..40 {
            writer.write_all(&vec![b'x'; 1 << 16]).unwrap();
        }
        assert!(!output.is_over());
        drop(writer);
        assert!(within(Duration::from_mins(1), || output.is_over()));
        assert_eq!(output.text().len(), OUTPUT_MAX);
        fs::remove_file(path).unwrap();
        assert_eq!(output.text(), "");
    }
}
