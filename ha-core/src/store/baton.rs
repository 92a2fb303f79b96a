//! What a process hands over to the next one that opens a module's folder.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::prelude::rust_2024::*;

use tracing::warn;

use super::{StoreError, checksum};

/// Leaves `bytes` in the folder. The file, `baton`:
///
/// | at | bytes | |
/// |---|---|---|
/// | 0 | 36 | the machine's run: its `boot_id`, as text |
/// | 36 | | what is handed over |
/// | end | 4 | CRC-32C of all before |
///
/// Nothing is synced: what a power cut leaves of it is of another run of the machine.
pub(super) fn leave(folder: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = run_of_the_machine()?.to_vec();
    file.extend_from_slice(bytes);
    file.extend_from_slice(&[0; 4]);
    checksum::seal(&mut file);
    File::create(folder.join(NAME))?.write_all(&file)
}

/// Takes away what lies there, and says it if this machine has not been started anew since. Nobody
/// gets it twice, whatever becomes of this process.
///
/// # Errors
/// It cannot be read, or not be removed.
pub(super) fn take(folder: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let path = folder.join(NAME);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("open", &path)(error)),
    };
    fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(StoreError::io("read", &path))?;
    let run = run_of_the_machine().map_err(StoreError::io("read", Path::new(BOOT_ID)))?;
    let sound = checksum::is_sound(&bytes) && bytes.len() >= RUN + 4;
    if !sound || bytes[..RUN] != run {
        warn!(
            path = %path.display(),
            "what was handed over is damaged, or of an earlier run of this machine"
        );
        return Ok(None);
    }
    Ok(Some(bytes[RUN..bytes.len() - 4].to_vec()))
}

/// Which run of the machine this is: its clock counts from the begin of it.
fn run_of_the_machine() -> io::Result<[u8; RUN]> {
    let text = fs::read(BOOT_ID)?;
    let found = text.first_chunk().copied();
    found.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no boot_id"))
}

const NAME: &str = "baton";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// A UUID as text.
const RUN: usize = 36;
/// More than any version of it takes.
const BYTES_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(take(folder.path()).unwrap().is_none());
        leave(folder.path(), b"volatile").unwrap();
        assert_eq!(take(folder.path()).unwrap().as_deref(), Some(&b"volatile"[..]));
        assert!(take(folder.path()).unwrap().is_none(), "it is gone");
    }

    #[test]
    fn what_is_damaged_or_of_another_run_is_taken_away_and_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        leave(folder.path(), b"volatile").unwrap();
        let whole = fs::read(&path).unwrap();
        let mut another = whole.clone();
        another[3] ^= 1;
        checksum::seal(&mut another);
        let mut flipped = whole.clone();
        flipped[RUN + 2] ^= 1;
        let cut = whole[..whole.len() - 1].to_vec();
        for bytes in [another, flipped, cut, Vec::new(), Vec::from([0; 3])] {
            fs::write(&path, &bytes).unwrap();
            assert!(take(folder.path()).unwrap().is_none(), "{bytes:?}");
            assert!(!path.exists(), "it is gone");
        }
        fs::write(&path, &whole).unwrap();
        assert!(take(folder.path()).unwrap().is_some());
    }
}
