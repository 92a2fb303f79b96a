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
    #[inline]
    pub(crate) fn bucket(&self, key: &Key, buckets: usize) -> usize {
        match self {
            Self::Sip { key: secret } => key.sip(secret) as usize & (buckets - 1),
            Self::Jhash { seed } => {
                let hash = key.jhash(*seed);
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
///
/// Held as SipHash reads it, in words that never were bytes of memory: a load of eight bytes that
/// were just stored one by one would wait for all of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    words: [u64; 2],
    /// What follows the two words: a port behind an address of IPv6.
    rest: u16,
    len: u8,
    /// Behind them, to a multiple of four.
    zeros: u8,
}

impl Key {
    #[inline]
    pub(crate) fn address<const N: usize>(address: &[u8; N]) -> Self {
        Self { words: words(address), rest: 0, len: N as u8, zeros: 0 }
    }

    #[inline]
    pub(crate) fn address_and_port<const N: usize>(address: &[u8; N], port: u16) -> Self {
        let key = Self { len: N as u8 + 2, zeros: 2, ..Self::address(address) };
        let port = port.swap_bytes();
        if N == 16 {
            Self { rest: port, ..key }
        } else {
            let [first, second] = key.words;
            Self { words: [first | u64::from(port) << (8 * N), second], ..key }
        }
    }

    /// The first `prefix` bits of the address; the others are zero.
    #[inline]
    pub(crate) fn network<const N: usize>(address: &[u8; N], prefix: u8) -> Self {
        assert!(usize::from(prefix) <= 8 * N, "a network would be narrower than its address");
        let mut network = *address;
        for (at, byte) in network.iter_mut().enumerate() {
            let bits = usize::from(prefix).saturating_sub(8 * at).min(8);
            *byte &= !(0xff_u16 >> bits) as u8;
        }
        Self::address(&network)
    }

    #[inline]
    pub(crate) fn ip_id(id: u16) -> Self {
        Self::address(&id.to_be_bytes())
    }

    /// SipHash-2-4 of these bytes. Written out, since a hasher of any bytes takes three times as
    /// long for as few as these.
    #[expect(clippy::inline_always, reason = "of each packet; a call costs more")]
    #[inline(always)]
    fn sip(&self, secret: &[u8; 16]) -> u64 {
        let [k0, k1] = words(secret);
        let mut state = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        let len = u64::from(self.len) << 56;
        if self.len < 8 {
            compress(&mut state, self.words[0] | len);
        } else {
            compress(&mut state, self.words[0]);
            compress(&mut state, self.words[1]);
            compress(&mut state, u64::from(self.rest) | len);
        }
        state[2] ^= 0xff;
        (0..4).for_each(|_| round(&mut state));
        state[0] ^ state[1] ^ state[2] ^ state[3]
    }

    fn jhash(&self, seed: u32) -> u32 {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.words[0].to_le_bytes());
        bytes[8..16].copy_from_slice(&self.words[1].to_le_bytes());
        bytes[16..18].copy_from_slice(&self.rest.to_le_bytes());
        jhash(&bytes[..usize::from(self.len + self.zeros)], seed)
    }
}

/// The first sixteen bytes, the first one lowest; zeros behind them.
#[inline]
fn words<const N: usize>(bytes: &[u8; N]) -> [u64; 2] {
    const { assert!(N == 2 || N == 4 || N == 16, "a key would lose bytes") };
    if let Some(bytes) = bytes.first_chunk::<16>() {
        let both = u128::from_le_bytes(*bytes);
        return [both as u64, (both >> 64) as u64];
    }
    let first = match bytes.first_chunk::<4>() {
        Some(bytes) => u32::from_le_bytes(*bytes),
        None => u32::from(u16::from_le_bytes([bytes[0], bytes[1]])),
    };
    [u64::from(first), 0]
}

#[expect(clippy::inline_always, reason = "of each packet; a call costs more")]
#[inline(always)]
fn compress(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    round(state);
    round(state);
    state[0] ^= word;
}

#[expect(clippy::inline_always, reason = "of each packet; a call costs more")]
#[inline(always)]
fn round([v0, v1, v2, v3]: &mut [u64; 4]) {
    *v0 = v0.wrapping_add(*v1);
    *v2 = v2.wrapping_add(*v3);
    *v1 = v1.rotate_left(13) ^ *v0;
    *v3 = v3.rotate_left(16) ^ *v2;
    *v0 = v0.rotate_left(32).wrapping_add(*v3);
    *v2 = v2.wrapping_add(*v1);
    *v1 = v1.rotate_left(17) ^ *v2;
    *v3 = v3.rotate_left(21) ^ *v0;
    *v2 = v2.rotate_left(32);
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
        let (v4, v6) = ([192, 0, 2, 201], core::array::from_fn::<u8, 16, _>(|at| at as u8 + 1));
        let port = |address: &[u8], padded: bool| {
            let tail: &[u8] = if padded { &[0x12, 0x34, 0, 0] } else { &[0x12, 0x34] };
            [address, tail].concat()
        };
        for (key, sip, register) in [
            (Key::address(&v4), v4.to_vec(), v4.to_vec()),
            (Key::address(&v6), v6.to_vec(), v6.to_vec()),
            (Key::address_and_port(&v4, 0x1234), port(&v4, false), port(&v4, true)),
            (Key::address_and_port(&v6, 0x1234), port(&v6, false), port(&v6, true)),
            (Key::network(&v4, 25), [192, 0, 2, 128].to_vec(), [192, 0, 2, 128].to_vec()),
            (Key::network(&v4, 0), [0; 4].to_vec(), [0; 4].to_vec()),
            (Key::ip_id(0x1234), [0x12, 0x34].to_vec(), [0x12, 0x34].to_vec()),
        ] {
            let secret = core::array::from_fn(|at| 3 * at as u8);
            assert_eq!(key.sip(&secret), SipHasher24::new_with_key(&secret).hash(&sip), "{sip:?}");
            assert_eq!(key.jhash(9), jhash(&register, 9), "{register:?}");
        }
        let half = [[0xff; 8].as_slice(), &[0x80], &[0; 7]].concat();
        assert_eq!(Key::network(&[0xff; 16], 65).words, words(half.first_chunk::<16>().unwrap()));
        assert_eq!(Key::network(&v4, 32), Key::address(&v4));
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
        let clients = (0..=255_u8).flat_map(|x| (0..16).map(move |y| [10, x, 16 * y, 1]));
        for hash in [Hash::Sip { key: [7; 16] }, Hash::Jhash { seed: 7 }] {
            let bucket = |client| hash.bucket(&Key::address(&client), 256);
            assert_eq!(clients.clone().map(bucket).collect::<BTreeSet<_>>().len(), 256);
        }
    }
}
