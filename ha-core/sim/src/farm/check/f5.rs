//! F5: a lease runs from before a beat that was sent, at most F long, and once ended is not
//! extended in the same view; and a dead or paused member's filter has closed before another takes
//! its buckets, if the two were linked and not two of its last beats in a row were lost. Without it
//! nothing is taken.

use std::sync::Arc;

use ha_proto::Instant;

use super::{Check, Seen};
use crate::farm::fact::{Id, Said};
use crate::farm::scene::{Scene, id};

/// The view in which each member's kernel last was open.
#[derive(Debug, Default)]
pub(super) struct Lease {
    open_in: Vec<Option<(Id, u64)>>,
    /// When each member's filter was written last, or opened.
    written: Vec<u64>,
}

impl Lease {
    fn written(
        &mut self,
        scene: &Scene,
        node: usize,
        until: Instant,
        was: Option<Instant>,
        was_open: bool,
    ) -> Result<(), String> {
        let here = &scene.nodes[node];
        let lease = until.saturating_since(here.beat_at).as_nanos();
        if here.said.is_none() || lease > u128::from(scene.spans.lease) {
            return Err(format!(
                "{node} takes until {until}, its last beat was at {}",
                here.beat_at
            ));
        }
        let before = self.open_in[node].replace((here.view, here.boot));
        let again = before == Some((here.view, here.boot)) && here.view.counter > 0;
        // The time is read before the beat: a write that took its time extends what still ran.
        let ended = !was_open && was.is_none_or(|was| was <= here.beat_at);
        if again && ended && scene.is_open(node) {
            return Err(format!("{node} opens again in {}, its lease had ended", here.view));
        }
        Ok(())
    }

    /// A daemon that does not run, its kernel that takes, and one that took over since although it
    /// read the dead one's last beat.
    fn dead(&self, scene: &Scene) -> Result<(), String> {
        for (at, dead) in scene.nodes.iter().enumerate().filter(|(_, node)| !node.runs()) {
            let Some(last) = dead.said.as_ref().filter(|_| dead.baton.is_none()) else { continue };
            // Across a cut both took before it died.
            if dead.stopped_at < scene.apart[at] + scene.spans.liveness() && scene.apart[at] > 0 {
                continue;
            }
            for (other, taker) in scene.nodes.iter().enumerate() {
                let since = self.written[other] > dead.stopped_at;
                if other == at || !taker.runs() || !since || scene.overlap(at, other).is_none() {
                    continue;
                }
                let read = taker.heard[at].as_ref().map(|heard| &heard.said);
                // Two that are linked never both take (FG1): of others it is not promised.
                let linked = |said: &&Arc<Said>| {
                    said.hears.contains(id(other)) && said.echo(other, taker.boot) > 0
                };
                let read = read.filter(|said| said.boot == last.boot).filter(linked);
                let read = read.map(|said| said.number);
                if read.is_some_and(|number| Self::is_recent(scene, at, number)) {
                    return Err(format!(
                        "{other} takes, and so does the kernel of {at}, whose daemon does not run"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether a beat was sent at most an interval before the last one of its sender, and one at
    /// most was lost in between.
    fn is_recent(scene: &Scene, node: usize, number: u64) -> bool {
        let here = &scene.nodes[node];
        let Some((last, _)) = here.beats.front() else { return false };
        let read = here.beats.iter().find(|(beat, _)| *beat == number);
        read.is_some_and(|(_, at)| {
            let before = here.beat_at.saturating_since(*at).as_nanos();
            number + 1 >= *last && before <= u128::from(scene.spans.interval)
        })
    }

    /// Who takes a packet has a lease.
    fn taken(scene: &Scene, taken: &[usize]) -> Result<(), String> {
        match taken.iter().find(|node| !scene.is_open(**node)) {
            Some(node) => Err(format!("{node} takes a packet, and has no lease")),
            None => Ok(()),
        }
    }
}

impl Check for Lease {
    fn rule(&self) -> &'static str {
        "F5"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        self.open_in.resize(scene.nodes.len(), None);
        self.written.resize(scene.nodes.len(), 0);
        match *seen {
            Seen::Leased { node, until, was, was_open } => {
                self.written(scene, node, until, was, was_open)
            }
            Seen::Kernel { node, old, was_open } => {
                let new = scene.nodes[node].kernel.filter.as_deref();
                let same = old.zip(new).is_some_and(|(old, new)| std::ptr::eq(old, new));
                if !was_open || !same {
                    self.written[node] = scene.now;
                }
                self.dead(scene)
            }
            Seen::Look => self.dead(scene),
            Seen::Packet { taken, .. } => Self::taken(scene, taken),
            Seen::Fragments { first, later, .. } => {
                Self::taken(scene, first).and_then(|()| Self::taken(scene, later))
            }
            _ => Ok(()),
        }
    }
}
