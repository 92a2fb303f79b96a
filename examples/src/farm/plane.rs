//! Where packets are decided on, and why there.

use std::fmt;
use std::io;
use std::time::Duration;

use ha_core::driver::{StartError, hash_key};
use ha_core::ha_farm::Hash;
use ha_core::linux::plane::bpf::{Bpf, Settings};
use ha_core::linux::plane::nft::{self, Nft};
use ha_core::linux::plane::{Plane, PlaneError};
use ha_core::raw::Key;
use thiserror::Error;
use tracing::{info, warn};

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

/// How a plane is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Shut, whatever was left there.
    Shut,
    /// As an earlier process left it, to the end of its lease.
    Adopted,
}

/// Opens the plane that the file asks for.
///
/// # Errors
/// [`NoPlane`], in one line; nothing was left in the kernel, but for what was to be adopted.
pub fn choose(node: &FarmNode, begin: Begin) -> Result<Chosen, NoPlane> {
    match node.raw.plane {
        RawPlane::Bpf => bpf(node, begin, "configured"),
        RawPlane::Nft => nft(node, begin, "configured"),
        RawPlane::Auto => match bpf(node, begin, "auto: the best that this kernel can do") {
            Err(NoPlane::Plane(lacks)) => {
                warn!(%lacks, "no BPF: every member needs plane = \"nft\" then");
                nft(node, begin, &format!("auto: {lacks}"))
            }
            chosen => chosen,
        },
    }
}

/// Puts the programs of this release in the place of those that an earlier process left at work, on
/// a thread of its own: the kernel checks them for a while.
///
/// # Errors
/// No thread can be had.
pub fn renew(node: &FarmNode, plane: &str) -> io::Result<()> {
    if plane == "nft" {
        // Its rules are written anew with the next filter.
        return Ok(());
    }
    let settings = Settings::new(node.raw.module.clone(), vec![node.raw.interface.clone()]);
    let renew = move || match Bpf::renew(settings) {
        Ok(()) => info!("the filter's programs are this release's"),
        Err(error) => warn!(%error, "the filter's programs stay as they were"),
    };
    std::thread::Builder::new().name("ha-farm-renew".into()).spawn(renew).map(drop)
}

/// What chooses the buckets on a plane of this name.
///
/// # Errors
/// The key's file.
pub fn hash(node: &FarmNode, plane: &str) -> Result<Hash, StartError> {
    let key = secret(node)?;
    let [a, b, c, d, ..] = key;
    let seed = u32::from_be_bytes([a, b, c, d]);
    Ok(if plane == "nft" { Hash::Jhash { seed } } else { Hash::Sip { key } })
}

fn nft(node: &FarmNode, begin: Begin, why: &str) -> Result<Chosen, NoPlane> {
    let hash = hash(node, "nft")?;
    let settings = nft::Settings {
        module: node.raw.module.clone(),
        interfaces: vec![node.raw.interface.clone()],
    };
    let plane = match begin {
        Begin::Shut => Nft::open(settings),
        Begin::Adopted => Nft::adopt(settings),
    };
    let why = format!("{why}; connections of clients that move break");
    let plane = Box::new(plane?);
    Ok(Chosen { plane, name: "nft", why, hash, tick: TICK })
}

fn bpf(node: &FarmNode, begin: Begin, why: &str) -> Result<Chosen, NoPlane> {
    let hash = hash(node, "bpf")?;
    let settings = Settings::new(node.raw.module.clone(), vec![node.raw.interface.clone()]);
    let bpf = match begin {
        Begin::Shut => Bpf::open(settings),
        Begin::Adopted => Bpf::adopt(settings),
    };
    let bpf = bpf?;
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
