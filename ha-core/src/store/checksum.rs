//! The checksum that ends every small layout of the store.

use crc::{CRC_32_ISCSI, Crc};

/// CRC-32C of `bytes`.
pub(super) fn of(bytes: &[u8]) -> u32 {
    CHECKSUM.checksum(bytes)
}

/// Fills the last four of `bytes` with the checksum of all before them.
pub(super) fn seal(bytes: &mut [u8]) {
    let (body, end) = bytes.split_last_chunk_mut().expect("a layout is longer than its checksum");
    *end = of(body).to_be_bytes();
}

/// Whether the last four of `bytes` are the checksum of all before them.
pub(super) fn is_sound(bytes: &[u8]) -> bool {
    bytes.split_last_chunk().is_some_and(|(body, end)| *end == of(body).to_be_bytes())
}

const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
