//! What would happen next.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use ha_quorum::Vote;

use crate::verdict::find::Primary;
use crate::verdict::words::{link, span};
use crate::verdict::{Facts, Kind, Verdict, judge, takeover};
use crate::view::Right;

/// What would happen to the service if one thing more went wrong, and on a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Why things are as they are.
    pub now: String,
    /// If this node died.
    pub this_dies: String,
    /// If the other node died.
    pub peer_dies: String,
    /// If one network between the nodes failed, in the order of the configuration.
    pub networks: Vec<String>,
    /// If the witness died; `None` without one.
    pub witness_dies: Option<String>,
    /// If a swap were ordered here.
    pub swap: String,
}

/// Says what would happen next, of the same facts as [`judge`].
pub fn explain(facts: &Facts<'_>) -> Explanation {
    let verdict = judge(facts);
    let witness = facts.view.vote == Vote::Arbiter;
    Explanation {
        now: now(facts, &verdict),
        this_dies: dies(facts, &verdict, Primary::Here),
        peer_dies: dies(facts, &verdict, Primary::There),
        networks: (0..facts.view.links.len()).map(|at| network(facts, at)).collect(),
        witness_dies: witness.then(|| witness_dies(facts)),
        swap: swap(facts),
    }
}

fn now(facts: &Facts<'_>, verdict: &Verdict) -> String {
    let serves = match facts.primary() {
        Primary::Here => format!("{} serves", facts.names.me),
        Primary::There => format!("{} serves", facts.names.peer),
        Primary::Nowhere => "nobody serves".into(),
    };
    match verdict {
        Verdict::Protected { .. } => format!("{serves}, and the other node could take over"),
        Verdict::Unprotected { blockers } => {
            let why = blockers.first().map_or("", |blocker| &blocker.why);
            format!("{serves}; {why}")
        }
        Verdict::Down(down) => format!("{serves}; {}", down.why),
    }
}

/// What follows when the node on that side dies.
fn dies(facts: &Facts<'_>, verdict: &Verdict, side: Primary) -> String {
    let (names, primary) = (facts.names, facts.primary());
    if primary == Primary::Nowhere {
        return "nothing is lost that runs: nobody serves".into();
    }
    if side == primary {
        let standby = if side == Primary::Here { &names.peer } else { &names.me };
        return match verdict {
            Verdict::Protected { .. } => {
                format!("{standby} takes over within {}", span(takeover(facts)))
            }
            Verdict::Unprotected { blockers } => {
                // What stops a takeover says more than what only weakens it.
                let heaviest = blockers.iter().min_by_key(|blocker| blocker.kind);
                heaviest.map_or_else(String::new, |blocker| blocker.if_dies.clone())
            }
            Verdict::Down(_) => "nothing is lost that runs: nobody serves".into(),
        };
    }
    let serving = if side == Primary::Here { &names.peer } else { &names.me };
    standby_dies(facts, serving)
}

/// The node that serves loses its standby.
fn standby_dies(facts: &Facts<'_>, serving: &str) -> String {
    let (view, timing) = (facts.view, facts.view.timing);
    if primary_stands_alone(facts) {
        return format!("nothing: {serving} serves alone already");
    }
    let stall = timing.timeout + timing.round_trip;
    match view.vote {
        Vote::Arbiter if facts.is_unanswered(facts.primary()) => {
            let lease = span(timing.lease);
            format!("{serving} stops within {lease}: the witness does not answer either")
        }
        Vote::Arbiter => {
            format!("{serving} goes on alone; writes wait for at most {}", span(stall))
        }
        Vote::Ping => format!("{serving} goes on alone if it reaches the addresses outside"),
        Vote::None | Vote::Manual => {
            format!("{serving} goes on alone; writes wait for at most {}", span(timing.timeout))
        }
    }
}

fn primary_stands_alone(facts: &Facts<'_>) -> bool {
    match facts.primary() {
        Primary::Here => facts.view.right == Right::Standing && facts.view.membership.set.len() < 2,
        Primary::There => facts.view.membership.set.len() < 2,
        Primary::Nowhere => false,
    }
}

fn network(facts: &Facts<'_>, at: usize) -> String {
    let (view, names) = (facts.view, facts.names);
    let name = link(at, &names.links);
    if !view.links[at].up {
        return format!("{name}: down already");
    }
    let others = view.links.iter().enumerate().filter(|(other, link)| *other != at && link.up);
    if others.count() > 0 {
        return format!("{name}: an event; nobody stops, the other network carries on");
    }
    let (me, peer) = (&names.me, &names.peer);
    let serving = match facts.primary() {
        Primary::Here => me,
        Primary::There => peer,
        Primary::Nowhere => return format!("{name}: the last one; {me} and {peer} part"),
    };
    match view.vote {
        Vote::Arbiter if facts.is_unanswered(facts.primary()) => {
            format!("{name}: the last one; {serving} stops, as no witness answers")
        }
        Vote::Arbiter => format!("{name}: the last one; {serving} goes on alone by the witness"),
        Vote::Ping => {
            format!("{name}: the last one; two primaries if both nodes reach the outside")
        }
        Vote::None => format!("{name}: the last one; two primaries (vote = \"none\")"),
        Vote::Manual => format!("{name}: the last one; {serving} goes on alone"),
    }
}

fn witness_dies(facts: &Facts<'_>) -> String {
    if facts.view.witness.answering == Some(false) {
        return "it does not answer already".into();
    }
    match facts.primary() {
        Primary::Here | Primary::There => {
            "nothing stops; no takeover and no swap until it is back".into()
        }
        Primary::Nowhere => "nobody can begin to serve until it is back".into(),
    }
}

fn swap(facts: &Facts<'_>) -> String {
    match facts.view.swap {
        Ok(()) => {
            let took = swap_takes(facts)
                .map_or_else(|| "as long as the application stops and starts".to_string(), span);
            format!("{} takes over; the service is away for {took}", facts.names.peer)
        }
        Err(refused) => format!("refused: {refused}"),
    }
}

/// How long the service is away on a planned swap; `None` before a stop and a start were measured
/// here.
pub fn swap_takes(facts: &Facts<'_>) -> Option<Duration> {
    Some(facts.host.stop? + facts.host.start?)
}

const _: () = assert!(
    (Kind::NoPeer as usize) < (Kind::Maxloop as usize),
    "what only weakens a takeover would hide what stops it"
);
