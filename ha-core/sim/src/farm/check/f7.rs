//! F7 and FG2: a view moves only what it has to. Judged by what its coordinator proposed and by the
//! tables of the view that it goes on from.

use std::collections::BTreeSet;

use ha_farm::Filter;

use super::{Check, Seen};
use crate::farm::fact::Id;
use crate::farm::plan::Plan;
use crate::farm::scene::{SERVICES, Scene, UNKNOWN, id, owner, was_owner};
use crate::farm::world::build::BUCKETS;

#[derive(Debug)]
pub(super) struct Moves;

/// One step from a base to a view, of one service.
struct Step<'a> {
    service: usize,
    plan: &'a Plan,
    old: &'a [u32],
    new: &'a [u32],
    /// Which view moved each draining bucket of the base.
    moved: &'a [u64],
    /// Whether moves drain at all.
    keeps: bool,
}

impl Step<'_> {
    /// Who had the bucket cannot keep it.
    fn is_forced(&self, bucket: usize) -> bool {
        owner(self.old[bucket]).is_none_or(|from| self.plan.weight(self.service, from) == 0)
    }

    /// Whether somebody who stays still has connections in the bucket; `None`: it is not known
    /// since when.
    fn drains(&self, bucket: usize) -> Option<bool> {
        let word = self.old[bucket];
        if word & Filter::DRAIN == 0 {
            return Some(false);
        }
        let mut members = self.plan.members.iter();
        let stays = members.any(|member| was_owner(word, usize::from(member.as_u8())));
        match self.moved[bucket] {
            UNKNOWN => None,
            moved => Some(stays && moved > self.plan.settled),
        }
    }

    fn check(&self) -> Result<(), String> {
        let (mut gains, mut loses) = (BTreeSet::new(), BTreeSet::new());
        let somebody = self.plan.fair(self.service, 0, BUCKETS).is_some();
        for bucket in 0..BUCKETS {
            let (from, to) = (owner(self.old[bucket]), owner(self.new[bucket]));
            let forced = self.is_forced(bucket);
            if forced && somebody && to.is_none_or(|to| self.plan.weight(self.service, to) == 0) {
                return Err(format!("bucket {bucket} is left to {to:?}, who has no weight"));
            }
            if from != to && !forced && self.drains(bucket) == Some(true) {
                return Err(format!("bucket {bucket} drains, and is moved for balance"));
            }
            if from != to {
                gains.extend(to);
                loses.extend(from.filter(|_| !forced));
            }
            self.keeps_previous(bucket)?;
        }
        if let Some(both) = gains.intersection(&loses).next() {
            return Err(format!("{both} gains and loses buckets"));
        }
        self.is_fair(&gains, &loses)
    }

    /// A living owner that loses a bucket is its last previous owner, and nobody else is forgotten
    /// before the drain ends, but the third.
    fn keeps_previous(&self, bucket: usize) -> Result<(), String> {
        let (old, new) = (self.old[bucket], self.new[bucket]);
        let (from, to) = (owner(old), owner(new));
        let living = from.filter(|&from| self.plan.members.contains(id(from)));
        if let Some(from) = living.filter(|_| from != to)
            && self.keeps
            && (new & Filter::DRAIN == 0 || new.to_le_bytes()[1] != from as u8)
        {
            return Err(format!("bucket {bucket} leaves {from}, whose connections are forgotten"));
        }
        if from == to && self.drains(bucket) == Some(true) {
            let [_, last, before, _] = old.to_le_bytes();
            let mut stay = [last, before].into_iter().filter(|&node| node != Filter::NONE);
            let forgotten = stay.find(|&node| {
                self.plan.members.contains(id(node.into())) && !was_owner(new, node.into())
            });
            if let Some(node) = forgotten {
                return Err(format!("bucket {bucket} drains, and {node} is forgotten"));
            }
        }
        Ok(())
    }

    /// Nobody gets more than its share, or loses more than what is above it; and if nothing drains
    /// each has its share.
    fn is_fair(&self, gains: &BTreeSet<usize>, loses: &BTreeSet<usize>) -> Result<(), String> {
        let calm = (0..BUCKETS).all(|bucket| self.drains(bucket) == Some(false));
        for member in self.plan.members.iter().map(|member| usize::from(member.as_u8())) {
            let Some(fair) = self.plan.fair(self.service, member, BUCKETS) else { continue };
            let has = self.new.iter().filter(|word| owner(**word) == Some(member)).count() as f64;
            let slack = self.plan.slack(fair, BUCKETS);
            let (above, below) = (has > fair + slack, has < fair - slack);
            if (calm && (above || below))
                || (above && gains.contains(&member))
                || (below && loses.contains(&member))
            {
                return Err(format!("{member} has {has} buckets after it, and {fair:.1} are fair"));
            }
        }
        Ok(())
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
        for service in 0..SERVICES {
            let (old, new) = (old.words(service), new.words(service));
            let (moved, keeps) = (&moved[service], scene.spans.drain > 0);
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

    /// At a merge a bucket goes first to who takes it already: nobody gets another one instead.
    fn merge(scene: &Scene, step: &Step<'_>) -> Result<(), String> {
        let Some(taken) = scene.views.get(&step.plan.taken) else { return Ok(()) };
        let taken = taken.words(step.service);
        let moves = || (0..BUCKETS).filter(|at| owner(step.old[*at]) != owner(step.new[*at]));
        for bucket in moves() {
            let Some(taker) = owner(taken[bucket]) else { continue };
            if owner(step.new[bucket]) == Some(taker) {
                continue;
            }
            let other = moves().find(|&other| {
                let had = owner(taken[other]) == Some(taker) || was_owner(step.old[other], taker);
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
            _ => Ok(()),
        }
    }
}
