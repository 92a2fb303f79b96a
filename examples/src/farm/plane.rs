//! Where packets are decided on, and why there.

use std::fmt;
use std::time::Duration;

use ha_core::driver::{StartError, hash_key};
use ha_core::ha_farm::Hash;
use ha_core::linux::plane::bpf::{Bpf, Settings};
use ha_core::linux::plane::nft::{self, Nft};
use ha_core::linux::plane::{Plane, PlaneError};
use ha_core::raw::Key;
use thiserror::Error;
use tracing::warn;

use super::config::{FarmNode, RawPlane};

/// A plane that is open, and what follows from its choice.
pub struct Chosen {
    /// Where the filter goes.
    pub plane: Box<dyn Plane + Send>,
    /// What it is called: `bpf` or `nft`.
    pub name: &'static str,
    /// Why it is that one, and what is less than it could be.
    pub why: String,
    /// What chooses the buckets.
    pub hash: Hash,
    /// The tick of the clock that ends its lease.
    pub tick: Duration,
}

/// Why no plane can be had.
#[derive(Debug, Error)]
pub enum NoPlane {
    /// The plane that is configured, or the only one.
    #[error("plane: {0}")]
    Plane(#[from] PlaneError),
    /// The hash's key.
    #[error(transparent)]
    Key(#[from] StartError),
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chosen")
            .field("name", &self.name)
            .field("why", &self.why)
            .field("tick", &self.tick)
            .finish_non_exhaustive()
    }
}

/// Opens the plane that the file asks for, shut.
///
/// # Errors
/// [`NoPlane`], in one line; nothing was left in the kernel.
pub fn choose(node: &FarmNode) -> Result<Chosen, NoPlane> {
    match node.raw.plane {
        RawPlane::Bpf => bpf(node, "configured"),
        RawPlane::Nft => nft(node, "configured"),
        RawPlane::Auto => match bpf(node, "auto: the best that this kernel can do") {
            Err(NoPlane::Plane(lacks)) => {
                warn!(%lacks, "no BPF: every member needs plane = \"nft\" then");
                nft(node, &format!("auto: {lacks}"))
            }
            chosen => chosen,
        },
    }
}

fn nft(node: &FarmNode, why: &str) -> Result<Chosen, NoPlane> {
    let [a, b, c, d, ..] = secret(node)?;
    let seed = u32::from_be_bytes([a, b, c, d]);
    let plane = Nft::open(nft::Settings {
        module: node.raw.module.clone(),
        interfaces: vec![node.raw.interface.clone()],
    })?;
    let why = format!("{why}; connections of clients that move break");
    let (plane, hash) = (Box::new(plane), Hash::Jhash { seed });
    Ok(Chosen { plane, name: "nft", why, hash, tick: TICK })
}

fn bpf(node: &FarmNode, why: &str) -> Result<Chosen, NoPlane> {
    let hash = Hash::Sip { key: secret(node)? };
    let settings = Settings::new(node.raw.module.clone(), vec![node.raw.interface.clone()]);
    let bpf = Bpf::open(settings)?;
    let mut why = String::from(why);
    for note in bpf.notes() {
        why.push_str("; ");
        why.push_str(note);
    }
    Ok(Chosen { plane: Box::new(bpf), name: "bpf", why, hash, tick: Duration::ZERO })
}

/// The key of the hash: that of its file, or of the cluster's.
fn secret(node: &FarmNode) -> Result<[u8; 16], StartError> {
    if let Some(file) = &node.raw.hash_key_file {
        return hash_key("hash_key_file", file);
    }
    match &node.key {
        Key::File(file) | Key::Rotating { signing: file, accepted: _ } => {
            hash_key("key_file", file)
        }
        // The administrator said that there are no secrets.
        Key::Insecure => Ok([0; 16]),
    }
}

/// A jiffy at 100 Hz, the longest that a kernel has: by it a lease of nftables may end late.
const TICK: Duration = Duration::from_millis(10);
