//! The process of a witness.

use std::collections::BTreeMap;
use std::format;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::time::Duration;
use std::vec;
use std::vec::Vec;

use serde::Deserialize;
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::EX_CONFIG;
use super::config::{FileError, Source};
use super::daemon::Signals;
use crate::driver::{Arbiter, ArbiterConfig, Failure, StartError};
use crate::raw::{Key, RawError};
use crate::systemd::Notifier;

/// A witness, as an administrator writes it: `/etc/ha-node/witness.toml`.
///
/// `examples/config/witness.toml` is a commented example with every field.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawWitness {
    /// Address and UDP port at which nodes ask.
    pub listen: SocketAddr,
    /// Where it keeps its registers, some hundred bytes for each module of each cluster; default
    /// `/var/lib/ha-witness`. Never to be restored from a copy.
    #[serde(default = "folder")]
    pub folder: PathBuf,
    /// The key of all clusters that have none below. Needed where there is no `[[cluster]]`.
    #[serde(default)]
    pub key_file: Option<String>,
    /// A second key that is accepted while that one is changed.
    #[serde(default)]
    pub accept_key_file: Option<String>,
    /// `true`: run without a key.
    #[serde(default)]
    pub insecure: bool,
    /// Clusters with a key of their own, so that none can speak for another.
    #[serde(default)]
    pub cluster: Vec<RawCluster>,
}

/// A cluster with a key of its own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCluster {
    /// Its name, as at its nodes.
    pub name: String,
    /// Its key.
    pub key_file: String,
    /// A second key that is accepted while that one is changed.
    #[serde(default)]
    pub accept_key_file: Option<String>,
}

/// Reads the file of a witness.
///
/// # Errors
/// The first thing that cannot work, by file, line and field.
pub fn read(path: &Path) -> Result<ArbiterConfig, FileError> {
    let source = Source::read(path)?;
    let raw: RawWitness = source.parse()?;
    raw.check().map_err(|(place, what)| {
        let place: Vec<&str> = place.iter().map(String::as_str).collect();
        source.error(&place, &what)
    })
}

/// Why a witness does not run.
#[derive(Debug, Error)]
pub enum WitnessError {
    /// It cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Signals or a runtime.
    #[error("the system refuses a runtime: {0}")]
    Runtime(io::Error),
    /// systemd.
    #[error("systemd: {0}: start this by its unit, or without NOTIFY_SOCKET")]
    Systemd(io::Error),
    /// The watchdog could never be fed.
    #[error(
        "it cannot send itself a datagram, by which it would know that it works: allow its own \
         address (IPAddressAllow)"
    )]
    Mute,
    /// It ended by itself.
    #[error("ended by itself: {0}: start it again")]
    Failure(#[from] Failure),
}

impl WitnessError {
    /// What the process ends with: 78 where the configuration is to be changed, else 1.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Start(StartError::Key { .. } | StartError::KeyFormat { .. }) => EX_CONFIG,
            Self::Start(_)
            | Self::Runtime(_)
            | Self::Systemd(_)
            | Self::Mute
            | Self::Failure(_) => 1,
        }
    }
}

/// Answers until it is told to end, by SIGTERM or SIGINT. Whatever it acknowledged is on its disk.
///
/// # Errors
/// [`WitnessError`]: nothing runs any more.
pub fn run(config: &ArbiterConfig) -> Result<(), WitnessError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(WitnessError::Runtime)?;
    let systemd = Notifier::from_env().map_err(WitnessError::Systemd)?;
    let arbiter = runtime.block_on(async {
        let mut signals = Signals::new().map_err(WitnessError::Runtime)?;
        let arbiter = Arbiter::start(config)?;
        systemd.ready(&format!("answers at {}", arbiter.address()));
        let told = tokio::select! {
            () = signals.end() => true,
            () = systemd.keep_alive(async || works(&arbiter).await) => false,
            () = until_ended(&arbiter) => false,
        };
        if told {
            systemd.stopping("told to end");
            return Ok(None);
        }
        if arbiter.has_ended() { Ok(Some(arbiter)) } else { Err(WitnessError::Mute) }
    })?;
    arbiter.map_or(Ok(()), |arbiter| Ok(arbiter.wait()?))
}

/// Whether it takes a datagram and comes back from what that asks for; no answer while it hangs.
async fn works(arbiter: &Arbiter) -> bool {
    let before = arbiter.turns();
    while arbiter.turns() == before {
        // The one before may have been lost.
        if arbiter.has_ended() || arbiter.prod().is_err() {
            return false;
        }
        sleep(LOOK).await;
    }
    true
}

async fn until_ended(arbiter: &Arbiter) {
    while !arbiter.has_ended() {
        sleep(LOOK * 10).await;
    }
}

/// How long a datagram that does nothing may take.
const LOOK: Duration = Duration::from_millis(100);

/// Where something is wrong, and what.
type Wrong = (Vec<String>, String);

impl RawWitness {
    fn check(self) -> Result<ArbiterConfig, Wrong> {
        let mut clusters = BTreeMap::new();
        for (at, cluster) in self.cluster.into_iter().enumerate() {
            let wrong = |field: &str, what| {
                (vec!["cluster".into(), at.to_string(), field.to_string()], what)
            };
            if cluster.name.is_empty() {
                return Err(wrong(
                    "name",
                    "name is empty: write the cluster's, as at its nodes".into(),
                ));
            }
            let key = Key::of(Some(cluster.key_file), cluster.accept_key_file, false)
                .map_err(|error| wrong(error.field(), error.to_string()))?;
            if clusters.insert(cluster.name.clone(), key).is_some() {
                let what = format!("name {:?} is there twice: leave one of them out", cluster.name);
                return Err(wrong("name", what));
            }
        }
        let key = match Key::of(self.key_file, self.accept_key_file, self.insecure) {
            Ok(key) => Some(key),
            Err(RawError::NoKey) if !clusters.is_empty() => None,
            Err(error) => return Err((vec![error.field().into()], error.to_string())),
        };
        Ok(ArbiterConfig { listen: self.listen, folder: self.folder, key, clusters })
    }
}

fn folder() -> PathBuf {
    "/var/lib/ha-witness".into()
}
