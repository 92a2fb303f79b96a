//! What is remembered of a module between two looks at it.

use core::time::Duration;
use std::prelude::rust_2024::*;

use ha_proto::Instant;

use crate::control::Report;
use crate::verdict::{Ages, Facts, Finding, Verdict, judge, notes};
use crate::view::CopyView;

/// Since when things are as they are, and how fast a copy goes. Pure: looked at each second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    ages: Ages,
    /// Each network: whether it is up, and since when.
    links: Vec<(bool, Instant)>,
    copy: Option<Pace>,
}

/// What a look finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) verdict: Verdict,
    /// For how long the verdict's word stands.
    pub(crate) age: Duration,
    pub(crate) notes: Vec<Finding>,
    /// For how long each network is up, or down.
    pub(crate) links: Vec<Duration>,
    /// Records a second of the copy under way.
    pub(crate) rate: Option<u64>,
}

/// How a copy goes.
#[derive(Clone, Copy, Debug)]
struct Pace {
    began: Instant,
    first: u64,
}

impl Board {
    /// Looks at a report.
    pub(crate) fn look(&mut self, now: Instant, report: &Report) -> Noted {
        let facts = Facts { view: &report.view, host: &report.host, names: &report.names };
        let (mut verdict, mut notes) = (judge(&facts), notes(&facts));
        self.ages.stamp(now, &mut verdict, &mut notes);
        let links = self.look_at_links(now, report);
        let rate = self.pace(now, report.view.copy);
        let age = self.ages.age(now).unwrap_or_default();
        Noted { verdict, age, notes, links, rate }
    }

    fn look_at_links(&mut self, now: Instant, report: &Report) -> Vec<Duration> {
        let links = &report.view.links;
        self.links.resize(links.len(), (false, now));
        for ((was, since), link) in self.links.iter_mut().zip(links) {
            if core::mem::replace(was, link.up) != link.up {
                *since = now;
            }
        }
        self.links.iter().map(|(_, since)| now.saturating_since(*since)).collect()
    }

    /// The mean since the copy was first seen, once that is a second ago.
    fn pace(&mut self, now: Instant, copy: Option<CopyView>) -> Option<u64> {
        let Some(copy) = copy else {
            self.copy = None;
            return None;
        };
        let done = copy.done.0;
        let pace = self.copy.filter(|pace| pace.first <= done);
        let pace = *self.copy.insert(pace.unwrap_or(Pace { began: now, first: done }));
        let millis =
            u64::try_from(now.saturating_since(pace.began).as_millis()).unwrap_or(u64::MAX);
        let rate = (done - pace.first).saturating_mul(1_000).checked_div(millis)?;
        (millis >= 1_000 && rate > 0).then_some(rate)
    }
}
