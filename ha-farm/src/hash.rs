//! Keyed hashes: from the client's side of a packet to a bucket.

use core::fmt;

use siphasher::sip::SipHasher24;

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

impl Hash {
    /// The bucket of these bytes, of `buckets` (a power of two, at most 2^32).
    ///
    /// SipHash gives its lowest bits. `jhash` is scaled as the kernel's `reciprocal_scale` does,
    /// so its highest bits count.
    pub(crate) fn bucket(&self, key: Key, buckets: usize) -> usize {
        match self {
            Self::Sip { key: secret } => {
                let hash = SipHasher24::new_with_key(secret).hash(key.sip());
                hash as usize & (buckets - 1)
            }
            Self::Jhash { seed } => {
                let hash = jhash(key.jhash(), *seed);
                ((u64::from(hash) * buckets as u64) >> 32) as usize
            }
        }
    }

    /// A number that tells hash and key apart from others, and reveals nothing of the key: what
    /// members compare (F1), and what may be told in a view.
    pub fn id(&self) -> u64 {
        match self {
            Self::Sip { key } => {
                SipHasher24::new_with_key(key).hash(b"ha-farm: the id of this key")
            }
            Self::Jhash { seed } => u64::from(*seed),
        }
    }
}

/// What is hashed: bytes as they are in the packet.
///
/// | `on` | for SipHash | for `jhash`: as nftables lays registers out |
/// |---|---|---|
/// | address, network | 4 or 16 bytes | the same |
/// | address and port | these and 2 | these, 2, and 2 of zero |
/// | identification | 2 | 2 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    bytes: [u8; 20],
    len: usize,
    /// Behind them, to a multiple of four.
    zeros: usize,
}

impl Key {
    #[inline]
    pub(crate) fn address<const N: usize>(address: &[u8; N]) -> Self {
        let mut bytes = [0; 20];
        bytes[..N].copy_from_slice(address);
        Self { bytes, len: N, zeros: 0 }
    }

    #[inline]
    pub(crate) fn address_and_port<const N: usize>(address: &[u8; N], port: u16) -> Self {
        let mut key = Self::address(address);
        key.bytes[N..N + 2].copy_from_slice(&port.to_be_bytes());
        Self { len: N + 2, zeros: 2, ..key }
    }

    /// The first `prefix` bits of the address; the others are zero.
    #[inline]
    pub(crate) fn network<const N: usize>(address: &[u8; N], prefix: u8) -> Self {
        let mut key = Self::address(address);
        for (at, byte) in key.bytes[..N].iter_mut().enumerate() {
            let bits = usize::from(prefix).saturating_sub(8 * at).min(8);
            *byte &= !(0xff_u16 >> bits) as u8;
        }
        key
    }

    #[inline]
    pub(crate) fn ip_id(id: u16) -> Self {
        Self::address(&id.to_be_bytes())
    }

    #[inline]
    fn sip(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn jhash(&self) -> &[u8] {
        &self.bytes[..self.len + self.zeros]
    }
}

/// Jenkins' lookup3 (`hashlittle`), as `include/linux/jhash.h` has it. No crate of it is kept.
fn jhash(bytes: &[u8], seed: u32) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(bytes.len() as u32).wrapping_add(seed);
    let (mut a, mut b, mut c) = (start, start, start);
    let word = |bytes: &[u8], at: usize| {
        let byte = |at: usize| u32::from(bytes.get(at).copied().unwrap_or(0));
        byte(at) | byte(at + 1) << 8 | byte(at + 2) << 16 | byte(at + 3) << 24
    };
    let mut rest = bytes;
    while rest.len() > 12 {
        a = a.wrapping_add(word(rest, 0));
        b = b.wrapping_add(word(rest, 4));
        c = c.wrapping_add(word(rest, 8));
        [a, b, c] = mix(a, b, c);
        rest = &rest[12..];
    }
    if rest.is_empty() {
        return c;
    }
    a = a.wrapping_add(word(rest, 0));
    b = b.wrapping_add(word(rest, 4));
    c = c.wrapping_add(word(rest, 8));
    last(a, b, c)
}

fn mix(mut a: u32, mut b: u32, mut c: u32) -> [u32; 3] {
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    [a, b, c]
}

fn last(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::format;

    #[test]
    fn jhash_gives_the_published_numbers() {
        // Jenkins, lookup3.c, driver5.
        let text = b"Four score and seven years ago";
        assert_eq!(jhash(text, 0), 0x1777_0551);
        assert_eq!(jhash(text, 1), 0xcd62_8161);
        assert_eq!(jhash(b"", 0), 0xdead_beef);
        assert_eq!(jhash(b"", 0xdead_beef), 0xbd5b_7dde);
    }

    #[test]
    fn siphash_gives_the_published_number() {
        // Aumasson and Bernstein, appendix A.
        let key = core::array::from_fn(|at| at as u8);
        let data: [u8; 15] = core::array::from_fn(|at| at as u8);
        assert_eq!(SipHasher24::new_with_key(&key).hash(&data), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn keys_are_laid_out_as_the_kernel_has_them() {
        let v4 = [192, 0, 2, 201];
        assert_eq!(Key::address(&v4).sip(), v4);
        assert_eq!(Key::address_and_port(&v4, 0x1234).sip(), [192, 0, 2, 201, 0x12, 0x34]);
        assert_eq!(Key::address_and_port(&v4, 0x1234).jhash(), [192, 0, 2, 201, 0x12, 0x34, 0, 0]);
        assert_eq!(Key::network(&v4, 0).sip(), [0; 4]);
        assert_eq!(Key::network(&v4, 25).sip(), [192, 0, 2, 128]);
        assert_eq!(Key::network(&v4, 32), Key::address(&v4));
        assert_eq!(Key::network(&[0xff; 16], 65).sip()[7..10], [0xff, 0x80, 0]);
        assert_eq!(Key::ip_id(0x1234).jhash(), [0x12, 0x34]);
        assert_eq!(Key::address_and_port(&[7; 16], 1).jhash().len(), 20);
    }

    #[test]
    fn an_id_tells_keys_apart_and_does_not_show_them() {
        let hash = Hash::Sip { key: [7; 16] };
        assert_ne!(hash.id(), Hash::Sip { key: [8; 16] }.id());
        assert_ne!(hash.id(), Hash::Jhash { seed: 7 }.id());
        assert_eq!(format!("{hash:?}"), "Sip");
    }

    #[test]
    fn clients_of_a_regular_plan_reach_every_bucket() {
        // CRC32 and Toeplitz leave half of 256 empty for such, folding by XOR all but two.
        let clients = (0..=255_u8).flat_map(|x| (0..16).map(move |y| [10, x, 16 * y, 1]));
        for hash in [Hash::Sip { key: [7; 16] }, Hash::Jhash { seed: 7 }] {
            let bucket = |client| hash.bucket(Key::address(&client), 256);
            assert_eq!(clients.clone().map(bucket).collect::<BTreeSet<_>>().len(), 256);
        }
    }
}
