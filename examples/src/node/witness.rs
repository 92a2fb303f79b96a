//! The process of a witness.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ha_core::driver::ArbiterConfig;
use ha_core::raw::{Key, RawError};
use serde::Deserialize;

use super::config::{FileError, Source};

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
