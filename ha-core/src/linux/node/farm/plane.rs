//! Where packets are decided on, and why there.

use std::fmt;
use std::format;
use std::prelude::rust_2024::*;
use std::time::Duration;
use std::vec;

use thiserror::Error;
use tracing::{info, warn};

use super::config::{FarmNode, RawPlane};
use crate::driver::{self, hash_key};
use crate::farm::Baton;
use crate::farm::survey::{Able, Because, Choice, Hashing, Told};
use crate::ha_farm::Hash;
use crate::linux::farm::{Asker, Link, StartError, ask};
use crate::linux::plane::bpf::{Bpf, Settings};
use crate::linux::plane::nft::{self, Nft};
use crate::linux::plane::{Plane, PlaneError};
use crate::proto::NodeId;
use crate::raw::Key;
use crate::verdict::span;

/// A plane that is open, and what follows from its choice.
pub struct Chosen {
    /// Where the filter goes.
    pub plane: Box<dyn Plane + Send>,
    /// What is told of it.
    pub told: PlaneTold,
    /// The tick of the clock that ends its lease.
    pub tick: Duration,
}

/// Where packets are decided on, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaneTold {
    /// `bpf` or `nft`.
    pub name: &'static str,
    /// Why it is that one, and what is less than it could be.
    pub why: String,
    /// What chooses the buckets.
    pub hash: Hash,
    /// What would choose them on the other plane.
    pub other: Hash,
}

/// Why no plane can be had.
#[derive(Debug, Error)]
pub enum NoPlane {
    /// The plane that is configured, or the only one.
    #[error("plane: {0}")]
    Plane(#[from] PlaneError),
    /// The hash's key.
    #[error(transparent)]
    Key(#[from] driver::StartError),
    /// The other members cannot be asked.
    #[error(transparent)]
    Ask(#[from] StartError),
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plane: _, told, tick } = self;
        f.debug_struct("Chosen").field("told", told).field("tick", tick).finish_non_exhaustive()
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

/// Opens the plane that the file asks for; where it leaves that open, the one of the process that
/// handed over, or else the best that all members can do, who are asked.
///
/// # Errors
/// [`NoPlane`], in one line; nothing was left in the kernel, but for what was to be adopted.
pub async fn choose(
    node: &FarmNode,
    links: &[Link],
    baton: Option<&Baton>,
) -> Result<Chosen, NoPlane> {
    let begin = if baton.is_some() { Begin::Adopted } else { Begin::Shut };
    match node.raw.plane {
        RawPlane::Bpf => open(node, Hashing::Sip, begin, "configured"),
        RawPlane::Nft => open(node, Hashing::Jhash, begin, "configured"),
        RawPlane::Auto => {
            let hashes = hashes(node)?;
            let before = baton.and_then(|baton| before(node, baton, hashes));
            match before {
                Some(hashing) => open(node, hashing, begin, "auto: as before the restart"),
                // What it left is of another farm's member: nobody goes on with it.
                None => survey(node, links, Begin::Shut).await,
            }
        }
    }
}

/// Whether this machine can do the plane of this hash.
///
/// # Errors
/// What is missing.
pub fn probe(hashing: Hashing) -> Result<(), PlaneError> {
    match hashing {
        Hashing::Sip => Bpf::probe(),
        Hashing::Jhash => Nft::probe(),
    }
}

/// What chooses the buckets by this file on the plane of a hash.
///
/// # Errors
/// The key's file.
pub fn hash(node: &FarmNode, hashing: Hashing) -> Result<Hash, driver::StartError> {
    let [sip, jhash] = hashes(node)?;
    Ok(match hashing {
        Hashing::Sip => sip,
        Hashing::Jhash => jhash,
    })
}

/// What the plane of a hash is called.
pub const fn name(hashing: Hashing) -> &'static str {
    match hashing {
        Hashing::Sip => "bpf",
        Hashing::Jhash => "nft",
    }
}

/// The tick of the clock that ends the lease on the plane of a hash.
pub const fn tick(hashing: Hashing) -> Duration {
    match hashing {
        Hashing::Sip => Duration::ZERO,
        // A jiffy at 100 Hz, the longest that a kernel has: by it a lease of nftables may end late.
        Hashing::Jhash => Duration::from_millis(10),
    }
}

/// What the process that handed over ran with, if the file still means that.
fn before(node: &FarmNode, baton: &Baton, hashes: [Hash; 2]) -> Option<Hashing> {
    let of = |hash: &Hash| node.config_as(*hash).is_ok_and(|config| baton.is_of(&config));
    hashes.iter().find(|hash| of(hash)).map(Hashing::of)
}

/// Asks the others, and opens what follows.
async fn survey(node: &FarmNode, links: &[Link], begin: Begin) -> Result<Chosen, NoPlane> {
    let told = able()?;
    let choice = asked(node, links, told.clone()).await?;
    let opened = open(node, choice.hashing, begin, &because(node, &choice));
    match opened {
        // The kernel has the programs, but no place for them.
        Err(NoPlane::Plane(lacks)) if choice.hashing == Hashing::Sip && told.able == Able::Both => {
            let told = Told::new(Able::Jhash, &lacks.to_string());
            let choice = asked(node, links, told).await?;
            open(node, choice.hashing, begin, &because(node, &choice))
        }
        opened => opened,
    }
}

/// What this machine can do.
fn able() -> Result<Told, NoPlane> {
    match (probe(Hashing::Sip), probe(Hashing::Jhash)) {
        (Ok(()), Ok(())) => Ok(Told::new(Able::Both, "")),
        (Ok(()), Err(_)) => Ok(Told::new(Able::Sip, "")),
        (Err(lacks), Ok(())) => Ok(Told::new(Able::Jhash, &lacks.to_string())),
        (Err(lacks), Err(nft)) => {
            warn!(%lacks, "no BPF");
            Err(nft.into())
        }
    }
}

async fn asked(node: &FarmNode, links: &[Link], told: Told) -> Result<Choice, StartError> {
    info!(at_most = ?node.survey(), "plane = \"auto\": asks the other members what they can do");
    let asker = Asker {
        identity: node.identity(),
        key: &node.key,
        links,
        told,
        interval: node.timing(Duration::ZERO).interval,
        patience: node.survey(),
    };
    let choice = ask(asker).await?;
    match choice.because {
        Because::Cannot(_) | Because::Most => warn!(why = because(node, &choice), "{ONE_PLANE}"),
        Because::Follows(_) | Because::Common => {}
    }
    Ok(choice)
}

/// A choice in words, as they go on after `bpf: ` or `nft: `.
fn because(node: &FarmNode, choice: &Choice) -> String {
    let mut parts = Vec::new();
    match choice.because {
        Because::Follows(farm) => return format!("auto: {} runs with it", node.name_of(farm)),
        Because::Cannot(farm) => {
            let (name, its) = (node.name_of(farm), choice.heard[&farm].able);
            let other = if its == Able::Sip { Hashing::Sip } else { Hashing::Jhash };
            let lacks = reason(&choice.heard[&node.me()]);
            let plane = self::name(other);
            return format!("auto: {name} runs with {plane}, which this machine cannot do{lacks}");
        }
        Because::Common if choice.hashing == Hashing::Jhash => {
            parts.extend(without(node, choice, Hashing::Sip));
        }
        Because::Common if choice.unheard.is_empty() => {
            parts.push(format!("all {} members can", choice.heard.len()));
        }
        Because::Common => {}
        Because::Most => {
            parts.push("no plane that all can do".into());
            parts.extend(without(node, choice, Hashing::Sip));
            parts.extend(without(node, choice, Hashing::Jhash));
        }
    }
    let waited = span(node.survey());
    let silent = |member| format!("{} was not heard within {waited}", node.name_of(member));
    parts.extend(choice.unheard.iter().map(silent));
    format!("auto: {}", parts.join(", "))
}

/// Who does not do a plane, and why not.
fn without(node: &FarmNode, choice: &Choice, hashing: Hashing) -> Vec<String> {
    let line = |(&member, told): (&NodeId, &Told)| {
        let lacks = if hashing == Hashing::Sip { reason(told) } else { String::new() };
        format!("{} does not do {}{lacks}", node.name_of(member), name(hashing))
    };
    choice.heard.iter().filter(|(_, told)| !told.able.does(hashing)).map(line).collect()
}

fn reason(told: &Told) -> String {
    if told.lacks.is_empty() { String::new() } else { format!(" ({})", told.lacks) }
}

fn open(node: &FarmNode, hashing: Hashing, begin: Begin, why: &str) -> Result<Chosen, NoPlane> {
    let [sip, jhash] = hashes(node)?;
    let (plane, notes, hash, other) = match hashing {
        Hashing::Sip => {
            let bpf = bpf(node, begin)?;
            let notes = bpf.notes().to_vec();
            (Box::new(bpf) as Box<dyn Plane + Send>, notes, sip, jhash)
        }
        Hashing::Jhash => {
            let notes = vec!["connections of clients that move break".into()];
            (Box::new(nft(node, begin)?) as Box<dyn Plane + Send>, notes, jhash, sip)
        }
    };
    let why = [vec![why.into()], notes].concat().join("; ");
    let told = PlaneTold { name: name(hashing), why, hash, other };
    Ok(Chosen { plane, told, tick: tick(hashing) })
}

fn nft(node: &FarmNode, begin: Begin) -> Result<Nft, PlaneError> {
    let settings = nft::Settings {
        module: node.raw.module.clone(),
        interfaces: vec![node.raw.interface.clone()],
    };
    match begin {
        Begin::Shut => Nft::open(settings),
        Begin::Adopted => Nft::adopt(settings),
    }
}

fn bpf(node: &FarmNode, begin: Begin) -> Result<Bpf, PlaneError> {
    let settings = Settings::new(node.raw.module.clone(), vec![node.raw.interface.clone()]);
    match begin {
        Begin::Shut => Bpf::open(settings),
        Begin::Adopted => Bpf::adopt(settings),
    }
}

/// What chooses the buckets, on BPF and on nftables.
fn hashes(node: &FarmNode) -> Result<[Hash; 2], driver::StartError> {
    let key = secret(node)?;
    let [a, b, c, d, ..] = key;
    Ok([Hash::Sip { key }, Hash::Jhash { seed: u32::from_be_bytes([a, b, c, d]) }])
}

/// The key of the hash: that of its file, or of the cluster's.
fn secret(node: &FarmNode) -> Result<[u8; 16], driver::StartError> {
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

/// What to do where members cannot have one plane by themselves.
pub(super) const ONE_PLANE: &str = "left out until all members have one plane: mend what is \
     missing and start that member anew, or write plane = \"nft\" in the file of all and start \
     them all anew";
