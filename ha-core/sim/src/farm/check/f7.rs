//! F7 and FG2: a view moves only what it has to, and remembers whose connections are in what moved.
//! Judged by what its coordinator proposed and by the tables of the view that it goes on from.

use std::collections::BTreeSet;

use ha_farm::Filter;
use ha_proto::NodeSet;

use super::quota::{self, Holding};
use super::{Check, Seen};
use crate::farm::fact::Id;
use crate::farm::plan::Plan;
use crate::farm::scene::{Scene, UNKNOWN, id, owner, was_owner};
use crate::farm::services;
use crate::farm::world::build::BUCKETS;

#[derive(Debug)]
pub(super) struct Moves;

/// The table before a service's first view.
const BLANK: [u32; BUCKETS] = [services::NOBODY; BUCKETS];

/// One step from a base to a view, of one service.
struct Step<'a> {
    service: usize,
    plan: &'a Plan,
    old: &'a [u32],
    new: &'a [u32],
    /// Which view moved each draining bucket of the base.
    moved: &'a [u64],
    /// Whether what this view moves drains at all.
    keeps: bool,
}

impl Step<'_> {
    fn weight(&self, node: usize) -> u16 {
        self.plan.weight(self.service, node)
    }

    /// Who had the bucket cannot keep it.
    fn is_forced(&self, bucket: usize) -> bool {
        owner(self.old[bucket]).is_none_or(|from| self.weight(from) == 0)
    }

    /// Who stays of those that owned the bucket before and may have connections; `None`: it is not
    /// known since when it drains.
    fn previous(&self, bucket: usize) -> Option<Vec<usize>> {
        let word = self.old[bucket];
        if word & Filter::DRAIN == 0 {
            return Some(Vec::new());
        }
        let over = match self.moved.get(bucket).copied().unwrap_or(UNKNOWN) {
            UNKNOWN => return None,
            moved => moved <= self.plan.settled,
        };
        let [_, last, before, _] = word.to_le_bytes();
        let all = [last, before].into_iter().filter(|node| *node != Filter::NONE);
        let all = all.map(usize::from).filter(|node| self.plan.members.contains(id(*node)));
        Some(all.filter(|_| !over).collect())
    }

    /// Whether somebody who stays still has connections in the bucket.
    fn drains(&self, bucket: usize) -> Option<bool> {
        self.previous(bucket).map(|previous| !previous.is_empty())
    }

    fn check(&self) -> Result<(), String> {
        let (mut gains, mut loses) = (BTreeSet::new(), BTreeSet::new());
        let somebody = self.plan.has_weight(self.service);
        for bucket in 0..BUCKETS {
            let (from, to) = (owner(self.old[bucket]), owner(self.new[bucket]));
            let forced = self.is_forced(bucket);
            if somebody != to.is_some_and(|to| self.weight(to) > 0) {
                return Err(format!("bucket {bucket} is left to {to:?}"));
            }
            if from != to && !forced && self.drains(bucket) == Some(true) {
                return Err(format!("bucket {bucket} drains, and is moved for balance"));
            }
            if from != to {
                gains.extend(to);
                loses.extend(from.filter(|_| !forced));
            }
            self.remembers(bucket)?;
        }
        if let Some(both) = gains.intersection(&loses).next() {
            return Err(format!("{both} gains and loses buckets"));
        }
        self.is_fair(&gains, &loses)
    }

    /// A living owner that loses a bucket becomes its last previous owner; the others stay behind
    /// it until their drain ends, but for a third.
    fn remembers(&self, bucket: usize) -> Result<(), String> {
        let (from, to) = (owner(self.old[bucket]), owner(self.new[bucket]));
        let Some(mut right) = self.previous(bucket) else { return Ok(()) };
        let living = from.filter(|&from| self.plan.members.contains(id(from)));
        if let Some(from) = living.filter(|_| from != to && self.keeps) {
            right.insert(0, from);
        }
        right.retain(|node| Some(*node) != to);
        right.truncate(2);
        let [_, last, before, _] = self.new[bucket].to_le_bytes();
        let all = [last, before].into_iter().filter(|node| *node != Filter::NONE);
        let all: Vec<usize> = all.map(usize::from).collect();
        let drains = self.new[bucket] & Filter::DRAIN != 0;
        if all == right && drains != right.is_empty() {
            return Ok(());
        }
        Err(format!(
            "bucket {bucket} goes from {from:?} to {to:?} and remembers {all:?} of {right:?}"
        ))
    }

    /// Nobody gives what would not be worth more elsewhere, and if nothing drains each has its
    /// share.
    fn is_fair(&self, gains: &BTreeSet<usize>, loses: &BTreeSet<usize>) -> Result<(), String> {
        let holding = |node: usize| {
            let has = self.new.iter().filter(|word| owner(**word) == Some(node)).count() as u64;
            Holding { node, weight: self.weight(node).into(), has }
        };
        let of = |nodes: &BTreeSet<usize>| nodes.iter().copied().map(holding).collect::<Vec<_>>();
        quota::were_needed(&of(loses), &of(gains))?;
        let calm = (0..BUCKETS).all(|bucket| self.drains(bucket) == Some(false));
        if !calm || !self.plan.has_weight(self.service) {
            return Ok(());
        }
        let members = self.plan.members.iter().map(|member| usize::from(member.as_u8()));
        quota::are_fair(&members.map(holding).collect::<Vec<_>>())
    }
}

impl Moves {
    fn view(scene: &Scene, view: Id) -> Result<(), String> {
        let (Some(plan), Some(new)) = (scene.plans.get(&view), scene.views.get(&view)) else {
            return Ok(());
        };
        let (Some(old), Some(moved)) = (scene.views.get(&plan.base), scene.moved.get(&plan.base))
        else {
            return Ok(());
        };
        for (service, new) in services::rows(new) {
            let old = services::row(old, service).unwrap_or(&BLANK);
            let (moved, keeps) = (&moved[service], view.counter > plan.settled);
            let step = Step { service, plan, old, new, moved, keeps };
            let judged = step.check().and_then(|()| Self::idle(scene, &step));
            let judged = judged.and_then(|()| Self::merge(scene, &step));
            judged.map_err(|text| format!("{} to {view}, service {service}: {text}", plan.base))?;
        }
        Ok(())
    }

    /// Where neither members nor weights change and nothing drains, nothing moves.
    fn idle(scene: &Scene, step: &Step<'_>) -> Result<(), String> {
        let Some(before) = scene.plans.get(&step.plan.base) else { return Ok(()) };
        let same = before.members == step.plan.members
            && before.weights[step.service] == step.plan.weights[step.service];
        let calm = step.old.iter().all(|word| word & Filter::DRAIN == 0);
        let mut pairs = step.old.iter().zip(step.new);
        let moved = pairs.position(|(old, new)| owner(*old) != owner(*new));
        match moved.filter(|_| same && calm) {
            Some(bucket) => Err(format!("bucket {bucket} moves, and nothing asks for it")),
            None => Ok(()),
        }
    }

    /// A group that joins, and takes, is named: else its members would not get first what they take.
    fn names(scene: &Scene, node: usize, view: Id) -> Result<(), String> {
        let new = view > scene.nodes[node].view;
        let Some(plan) = scene.plans.get(&view).filter(|_| new) else { return Ok(()) };
        if plan.base == Id::default() || plan.taken != Id::default() {
            return Ok(());
        }
        // Who makes a view for itself tells nobody of it.
        let alone = || id(usize::from(plan.base.coordinator));
        let base =
            scene.plans.get(&plan.base).map_or_else(|| NodeSet::only(alone()), |base| base.members);
        let joins = |other: &usize| {
            let said = scene.link_then(node, *other).filter(|said| said.takes);
            let member = plan.members.contains(id(*other));
            member && said.is_some_and(|said| said.members.bits() & base.bits() == 0)
        };
        match (0..scene.nodes.len()).filter(|other| *other != node).find(joins) {
            Some(other) => Err(format!(
                "{view} goes on from {} {base}, and forgets what {other} takes",
                plan.base
            )),
            None => Ok(()),
        }
    }

    /// At a merge a bucket goes first to who takes it already: nobody gets another one instead.
    fn merge(scene: &Scene, step: &Step<'_>) -> Result<(), String> {
        let Some(joining) = scene.views.get(&step.plan.taken) else { return Ok(()) };
        let Some(joining) = services::row(joining, step.service) else { return Ok(()) };
        let moves = || (0..BUCKETS).filter(|at| owner(step.old[*at]) != owner(step.new[*at]));
        for bucket in moves() {
            let Some(taker) = owner(joining[bucket]) else { continue };
            if owner(step.new[bucket]) == Some(taker) {
                continue;
            }
            let other = moves().find(|&other| {
                let had = owner(joining[other]) == Some(taker) || was_owner(step.old[other], taker);
                owner(step.new[other]) == Some(taker) && !had
            });
            if let Some(other) = other {
                return Err(format!(
                    "{taker} takes {bucket}, which goes elsewhere, and gets {other}"
                ));
            }
        }
        Ok(())
    }
}

impl Check for Moves {
    fn rule(&self) -> &'static str {
        "F7"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::View { id } => Self::view(scene, id),
            Seen::Planned { node, id } => Self::names(scene, node, id),
            _ => Ok(()),
        }
    }
}
