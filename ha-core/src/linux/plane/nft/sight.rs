//! How a table is in the kernel, but for what its sets hold.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::prelude::rust_2024::*;
use std::string::String;

use super::rules::{ENTRY, lines};
use super::wire::Wire;
use super::words::{
    GET_CHAIN, GET_OBJECT, GET_RULE, GET_SET, GET_TABLE, NEW_CHAIN, NEW_OBJECT, NEW_RULE, NEW_SET,
    NEW_TABLE, find, long, name, text,
};

/// All that decides, as the kernel lists it. What was taken away and put back has other handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight(Vec<Part>);

/// A table, or something in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    kind: u16,
    /// Its own; a rule's chain's.
    name: String,
    handle: u64,
    /// A table's flags, a chain's hook and policy, a rule's expressions.
    says: Vec<u8>,
}

impl Sight {
    /// Looks at a table; and which tables filter, this one or others.
    pub(super) fn read(wire: &mut Wire, table: &str) -> io::Result<(Self, BTreeSet<String>)> {
        let of = text(1, table);
        // These two cannot be asked for by the table.
        let tables = wire.list(GET_TABLE, NEW_TABLE, &[], |it| {
            let flags = find(it, 2).unwrap_or(&[]);
            part(NEW_TABLE, name(it, 1), long(it, 4), &[flags])
        })?;
        let tables = tables.into_iter().filter(|it| it.name == table);
        let mut parts: Vec<Part> = tables.collect();
        let chains = chains(wire)?;
        let in_force = chains.iter().filter(|(_, chain)| chain.name == ENTRY);
        let in_force = in_force.map(|(table, _)| table.clone()).collect();
        if parts.is_empty() {
            // Its rules cannot be asked for.
            return Ok((Self(parts), in_force));
        }
        let rules = wire.list(GET_RULE, NEW_RULE, &of, |it| {
            part(NEW_RULE, name(it, 2), long(it, 3), &[find(it, 4).unwrap_or(&[])])
        })?;
        let sets =
            wire.list(GET_SET, NEW_SET, &of, |it| part(NEW_SET, name(it, 2), long(it, 16), &[]))?;
        let counters = wire.list(GET_OBJECT, NEW_OBJECT, &of, |it| {
            part(NEW_OBJECT, name(it, 2), long(it, 6), &[])
        })?;
        parts.extend(chains.into_iter().filter(|it| it.0 == table).map(|it| it.1));
        parts.extend([rules, sets, counters].into_iter().flatten());
        Ok((Self(parts), in_force))
    }

    /// Whether the chains are as they were, and at the same interfaces.
    pub(super) fn has_its_chains(&self, wire: &mut Wire, table: &str) -> io::Result<bool> {
        let now = chains(wire)?.into_iter().filter(|it| it.0 == table).map(|it| it.1);
        Ok(now.eq(self.0.iter().filter(|part| part.kind == NEW_CHAIN).cloned()))
    }

    /// Whether it is what this text makes: to be asked of the first sight, since only the kernel
    /// knows handles and expressions.
    pub(super) fn fits(&self, made: &str) -> bool {
        let wanted = lines(made).map(|(word, name)| match word {
            "chain" => (NEW_CHAIN, name),
            _ => (NEW_RULE, name),
        });
        let found = self.0.iter().map(|part| (part.kind, &*part.name));
        let found = count(found);
        let all = count(wanted).iter().all(|(what, many)| found.get(what) == Some(many));
        // Not asleep (`flags dormant`), and at its interfaces.
        let filters = self.0.iter().all(|part| match part.kind {
            NEW_TABLE => part.says.iter().all(|byte| *byte == 0),
            NEW_CHAIN => part.name != ENTRY || !part.says.is_empty(),
            _ => true,
        });
        all && filters
    }
}

fn part(kind: u16, name: Option<String>, handle: Option<u64>, says: &[&[u8]]) -> Option<Part> {
    Some(Part { kind, name: name?, handle: handle.unwrap_or(0), says: says.concat() })
}

/// All chains, by their tables.
fn chains(wire: &mut Wire) -> io::Result<Vec<(String, Part)>> {
    wire.list(GET_CHAIN, NEW_CHAIN, &[], |it| {
        let (hook, policy) = (find(it, 4).unwrap_or(&[]), find(it, 5).unwrap_or(&[]));
        Some((name(it, 1)?, part(NEW_CHAIN, name(it, 3), long(it, 2), &[hook, policy])?))
    })
}

fn count<T: Ord>(all: impl Iterator<Item = T>) -> BTreeMap<T, usize> {
    all.fold(BTreeMap::new(), |mut counts, one| {
        *counts.entry(one).or_default() += 1;
        counts
    })
}
