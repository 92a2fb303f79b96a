//! The cluster's key.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;

use ha_proto::wire::Keys;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tracing::{info, warn};

use super::StartError;
use super::cipher::StreamKeys;
use crate::raw::Key;

/// What the key of a cluster gives to each use, and the second one that is accepted while it is
/// changed.
#[derive(Clone)]
pub(crate) struct Secrets {
    pub(crate) datagrams: Keys,
    /// `None` without a key.
    pub(super) stream: Option<StreamKeys>,
}

impl Secrets {
    /// Reads what `key` names. A file that others may read is a warning.
    pub(crate) fn load(key: &Key) -> Result<Self, StartError> {
        match key {
            Key::Insecure => {
                warn!("insecure = true: whoever reaches the ports can stop this cluster");
                Ok(Self { datagrams: Keys::insecure(), stream: None })
            }
            Key::File(path) => {
                let key = key_in("key_file", path)?;
                Ok(Self { datagrams: Keys::new(&key), stream: Some(StreamKeys::new(&key)) })
            }
            Key::Rotating { signing, accepted } => {
                let key = key_in("key_file", signing)?;
                let other = key_in("accept_key_file", accepted)?;
                info!("two keys are accepted: the cluster's key is being changed");
                Ok(Self {
                    datagrams: Keys::new(&key).accepting(&other),
                    stream: Some(StreamKeys::new(&key).accepting(&other)),
                })
            }
        }
    }
}

/// What a farm's members hash clients by, 128 bits out of the cluster's key in this file (the field
/// `field` of a configuration).
///
/// # Errors
/// [`StartError::Key`] or [`StartError::KeyFormat`].
pub fn hash_key(field: &'static str, path: &str) -> Result<[u8; 16], StartError> {
    let key = key_in(field, path)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes a key of any length");
    mac.update(b"ha-farm: which server takes a client");
    let bytes = mac.finalize().into_bytes();
    Ok(bytes[..16].try_into().expect("SHA-256 has 32 bytes"))
}

fn key_in(field: &'static str, path: &str) -> Result<[u8; 32], StartError> {
    let path = PathBuf::from(path);
    let bytes = read(field, &path)?;
    parse(&bytes).ok_or(StartError::KeyFormat { field, path })
}

fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    let failed = |source| StartError::Key { field, path: path.to_path_buf(), source };
    let data = fs::metadata(path).map_err(failed)?;
    if data.mode() & 0o077 != 0 {
        let mode = data.mode() & 0o777;
        let path = path.display();
        warn!(field, %path, "others may read the key (mode {mode:03o}): chmod 400");
    }
    fs::read(path).map_err(failed)
}

/// 64 hexadecimal digits with any white space around them, or 32 bytes.
fn parse(bytes: &[u8]) -> Option<[u8; 32]> {
    if let Ok(key) = bytes.try_into() {
        return Some(key);
    }
    let digits = bytes.trim_ascii();
    if digits.len() != 64 {
        return None;
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_key_is_hexadecimal_or_raw() {
        let mut key = [0xab; 32];
        key[0] = 1;
        let hex = format!("01{}", "aB".repeat(31));
        assert_eq!(parse(hex.as_bytes()), Some(key));
        assert_eq!(parse(format!(" {hex}\n").as_bytes()), Some(key));
        assert_eq!(parse(&key), Some(key));
    }

    #[test]
    fn anything_else_is_no_key() {
        for bytes in [&b""[..], &[0; 31], &[0; 33], &[b'g'; 64], &[b'0'; 63], &[b'0'; 65]] {
            assert_eq!(parse(bytes), None);
        }
    }

    #[test]
    fn an_error_names_the_field() {
        let missing = Secrets::load(&Key::File("/nowhere/key".into()));
        let Err(error) = missing else { panic!("there is no such file") };
        assert!(error.to_string().contains("key_file"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let empty = Secrets::load(&Key::File(file.path().to_str().unwrap().into()));
        let Err(error) = empty else { panic!("there is no key") };
        assert!(error.to_string().contains("64 hexadecimal digits"));
        std::fs::write(file.path(), [1; 32]).unwrap();
        let signing = String::from(file.path().to_str().unwrap());
        let second = Secrets::load(&Key::Rotating { signing, accepted: "/nowhere/key".into() });
        let Err(error) = second else { panic!("there is no such file") };
        assert!(error.to_string().contains("accept_key_file = \"/nowhere/key\" cannot be read"));
    }
}
