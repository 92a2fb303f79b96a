//! Keyed hashes: from the client's side of a packet to a bucket.

use core::fmt;

/// The hash that chooses buckets, with its key. Part of the view: members never mix.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SipHash-2-4 under the cluster's key (Aumasson and Bernstein, 2012): who does not know the
    /// key cannot choose clients that all go to one server.
    Sip {
        /// 128 secret bits.
        key: [u8; 16],
    },
    /// Jenkins' lookup3 as the Linux kernel has it (`jhash`): what nftables can compute. Its seed
    /// is no secret that would withstand an attack.
    Jhash {
        /// Its start value.
        seed: u32,
    },
}

impl fmt::Debug for Hash {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sip { .. } => "Sip",
            Self::Jhash { .. } => "Jhash",
        })
    }
}
