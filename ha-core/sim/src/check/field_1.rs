//! `FIELD.md` rows 1 and 7: a loser never announces, and the clients' caches follow the winner, all
//! addresses alike.

use core::time::Duration;

use ha_vip::Config;

use super::{Check, Seen};
use crate::lan::{Card, IPS};
use crate::network::{Channel, Site};
use crate::node::Process;
use crate::scene::Scene;

/// Looks at what is announced, and whom the clients' caches name once nothing changes any more.
#[derive(Debug, Default)]
pub(super) struct Caches {
    known: Option<Facts>,
    since: u64,
    /// Whether it was the owner that changed then: it had not all of the addresses before.
    taken: bool,
}

/// What the way of the clients depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    holds: [[bool; IPS]; 2],
    processes: [(Process, u32); 2],
    carries: [bool; 2],
    hears: [bool; 2],
    strangers: [bool; IPS],
}

impl Check for Caches {
    fn rule(&self) -> &'static str {
        "FIELD 1"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        if let Seen::Announced { node, place } = *seen
            && scene.nodes[node].address.until[place] <= scene.now
        {
            return Err(format!("node {node} announces address {place}, which it has not"));
        }
        let facts = Facts::of(scene);
        if self.known != Some(facts) {
            let before = self.known.replace(facts);
            self.taken = facts.owner().is_some_and(|owner| {
                before.is_some_and(|before| before.holds[owner] != [true; IPS])
            });
            self.since = scene.now;
            return Ok(());
        }
        let Some(owner) = facts.owner() else { return Ok(()) };
        let quiet = Duration::from_nanos(scene.now - self.since);
        let told = quiet > WITHIN && (self.taken || facts.hears[owner]);
        let refreshed = quiet > Config::REFRESH + WITHIN;
        let wrong = |place: &usize| {
            let heard = refreshed || (told && !scene.lan.unheard[*place][owner]);
            heard && scene.lan.cached[*place].is_some_and(|card| card != Card::Node(owner))
        };
        match (0..IPS).find(wrong).map(|place| scene.lan.cached[place]) {
            Some(card) => {
                Err(format!("node {owner} alone has the addresses, clients go to {card:?}"))
            }
            None => Ok(()),
        }
    }
}

impl Facts {
    fn of(scene: &Scene) -> Self {
        let has = |node: usize| scene.nodes[node].address.until.map(|until| until > scene.now);
        let process = |node: usize| (scene.nodes[node].process, scene.nodes[node].life);
        let carries = |from: usize| {
            let (from, to) = (Site::Node(from), Site::Node(1 - from));
            scene.network.carries(Channel::between(from, to, ha_proto::LinkId(0)))
        };
        Self {
            holds: [has(0), has(1)],
            processes: [process(0), process(1)],
            carries: [carries(0), carries(1)],
            hears: scene.lan.hears,
            strangers: scene.lan.strangers.map(|until| until > scene.now),
        }
    }

    /// Who has all the addresses alone, and could tell everybody.
    fn owner(&self) -> Option<usize> {
        let calm = self.carries == [true; 2] && self.strangers == [false; IPS];
        let owns = |node: &usize| {
            let alone = self.holds[*node] == [true; IPS] && self.holds[1 - node] == [false; IPS];
            alone && self.processes[*node].0 == Process::Running
        };
        (0..2).find(owns).filter(|_| calm)
    }
}

/// Within this time the clients are at the winner, from when it took the addresses, or hears its
/// peer again; without either from the next refresh on.
const WITHIN: Duration = Duration::from_secs(1);
