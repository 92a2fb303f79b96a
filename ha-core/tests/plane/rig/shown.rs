//! What a daemon tells of its view, in one line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use ha_core::farm::View;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) id: String,
    pub(crate) members: BTreeSet<usize>,
    /// Whether it takes all that is its own.
    pub(crate) full: bool,
    pub(crate) announcer: Option<usize>,
    pub(crate) drains: usize,
    /// Of each service: whose buckets how many are.
    pub(crate) shares: Vec<BTreeMap<usize, usize>>,
}

impl From<&View> for Shown {
    fn from(view: &View) -> Self {
        let shares = |service: &ha_core::farm::Service| {
            let of_each = service.table.shares();
            of_each.iter().map(|(node, count)| (node.as_u8().into(), *count)).collect()
        };
        Self {
            id: view.id.map_or("-".into(), |id| format!("{id}").replace(' ', "")),
            members: view.members.keys().map(|node| node.as_u8().into()).collect(),
            full: view.full,
            announcer: view.announcer.map(|node| node.as_u8().into()),
            drains: view.drains.len(),
            shares: view.services.iter().map(shares).collect(),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members: Vec<String> = self.members.iter().map(ToString::to_string).collect();
        let announcer = self.announcer.map_or("-".into(), |it| it.to_string());
        let of = |shares: &BTreeMap<usize, usize>| {
            let each = shares.iter().map(|(node, count)| format!("{node}:{count}"));
            each.collect::<Vec<_>>().join(",")
        };
        let shares: Vec<String> = self.shares.iter().map(of).collect();
        write!(
            f,
            "{} ,{} {} {announcer} {} {}",
            self.id,
            members.join(","),
            self.full,
            self.drains,
            shares.join(" ")
        )
    }
}

impl FromStr for Shown {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split(' ');
        let mut next = || words.next().ok_or(());
        let (id, members, full) = (next()?.to_owned(), next()?, next()? == "true");
        let (announcer, drains) = (next()?.parse().ok(), next()?.parse().map_err(drop)?);
        let number = |word: &str| word.parse::<usize>().map_err(drop);
        let members = members.split(',').filter(|word| !word.is_empty()).map(number);
        let members = members.collect::<Result<_, _>>()?;
        let pair = |pair: &str| {
            let (node, count) = pair.split_once(':').ok_or(())?;
            Ok((number(node)?, number(count)?))
        };
        let service = |all: &str| all.split(',').filter(|it| !it.is_empty()).map(pair).collect();
        let shares = words.map(service).collect::<Result<_, ()>>()?;
        Ok(Self { id, members, full, announcer, drains, shares })
    }
}
