//! A checker of a farm's node, as it is written.

use std::prelude::rust_2024::*;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::checker::CheckerConfig;
use crate::raw::RawChecker;

/// What follows when a checker is down: this node takes no new clients until it is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Its connections go on, and drain.
    #[default]
    Drain,
    /// Its connections are cut, so that clients go elsewhere at once.
    Reset,
}

/// A checker as it is written: the fields of a mirror's, and `on_failure` in place of `action`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFarmChecker {
    /// `drain` (default) or `reset`.
    pub on_failure: OnFailure,
    /// What is looked at.
    pub checker: RawChecker,
}

impl<'de> Deserialize<'de> for RawFarmChecker {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut table = toml::Table::deserialize(from)?;
        if table.contains_key("action") {
            let what = "action is a mirror's: a farm's checker has on_failure = \"drain\" or \
                \"reset\"";
            return Err(D::Error::custom(what));
        }
        let on_failure = match table.remove("on_failure") {
            Some(word) => word.try_into().map_err(D::Error::custom)?,
            None => OnFailure::default(),
        };
        table.insert("action".into(), "none".into());
        let checker = table.try_into().map_err(D::Error::custom)?;
        Ok(Self { on_failure, checker })
    }
}

/// The checkers, checked, and what follows from each.
pub(super) fn checkers(raw: &[RawFarmChecker]) -> Result<Vec<(CheckerConfig, OnFailure)>, String> {
    let all = raw.iter().map(|it| it.checker.clone()).collect();
    let all = crate::raw::checkers(all).map_err(|error| error.to_string())?;
    Ok(all.into_iter().zip(raw.iter().map(|it| it.on_failure)).collect())
}
