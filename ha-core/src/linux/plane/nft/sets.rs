//! What the sets hold for a filter, and what of it is other than for the one before.

use std::collections::BTreeMap;
use std::prelude::rust_2024::*;
use std::string::String;

use ha_farm::{Filter, Mac, Mode};
use ha_proto::NodeId;

use super::batch::{Batch, Element, Shape};
use super::rules;

/// What the sets hold until now.
#[derive(Clone, Copy, Debug)]
pub(super) enum Before<'a> {
    /// There are none.
    None,
    /// Something, by these same rules.
    Unknown,
    /// What this filter says, which has the same rules, mode and buckets.
    Filter(&'a Filter),
}

/// What becomes of one set.
#[derive(Clone, Debug, Default)]
pub(super) struct Edit {
    pub(super) gone: Vec<Element>,
    pub(super) come: Vec<Element>,
}

/// Brings the sets of a generation to what a filter says; how many elements are written.
pub(super) fn write(
    batch: &mut Batch,
    generation: u32,
    before: Before<'_>,
    filter: &Filter,
) -> usize {
    let mut written = 0;
    each(generation, before, filter, |name, shape, edit| {
        match before {
            Before::None => batch.set(name, shape),
            Before::Unknown => batch.flush(name),
            Before::Filter(_) => batch.remove(name, &edit.gone),
        }
        batch.elements(name, &edit.come);
        written += edit.gone.len() + edit.come.len();
    });
    written
}

/// What the sets of a generation are to hold, by their names, in order.
pub(super) fn contents(generation: u32, filter: &Filter) -> BTreeMap<String, Vec<Element>> {
    let mut all = BTreeMap::new();
    each(generation, Before::None, filter, |name, _, mut edit| {
        edit.come.sort_unstable();
        edit.come.dedup();
        all.insert(name.into(), edit.come);
    });
    all
}

fn each(
    generation: u32,
    before: Before<'_>,
    filter: &Filter,
    mut with: impl FnMut(&str, Shape, Edit),
) {
    let setup = filter.setup();
    let directed = setup.mode == Mode::Directed;
    for service in 0..setup.rules.len() {
        let edit = mine(before, filter, service);
        with(&rules::mine(generation, service), Shape::BUCKETS, edit);
        if directed {
            let edit = owners(before, filter, service);
            with(&rules::owners(generation, service), Shape::OWNERS, edit);
        }
    }
    if directed {
        with(&rules::members(generation), Shape::MACS, members(before, filter));
    }
}

/// The buckets that this node takes.
fn mine(before: Before<'_>, filter: &Filter, service: usize) -> Edit {
    let takes = |filter: &Filter, bucket: usize| {
        (filter.words(service)[bucket] & Filter::TAKE != 0).then_some(())
    };
    edit(before, filter, service, takes, |bucket, ()| Element::key(&key(bucket)))
}

/// Whose the others are.
fn owners(before: Before<'_>, filter: &Filter, service: usize) -> Edit {
    let owner = |filter: &Filter, bucket: usize| -> Option<Mac> {
        let setup = filter.setup();
        let owner = filter.words(service)[bucket] as u8;
        let other = NodeId::new(owner).filter(|owner| *owner != setup.me)?;
        setup.macs.get(&other).copied()
    };
    edit(before, filter, service, owner, |bucket, mac| Element::pair(&key(bucket), &mac.0))
}

/// What is other now, bucket by bucket: `of` says what a filter has of one.
fn edit<T: Copy + PartialEq>(
    before: Before<'_>,
    filter: &Filter,
    service: usize,
    of: impl Fn(&Filter, usize) -> Option<T>,
    element: impl Fn(usize, T) -> Element,
) -> Edit {
    let mut edit = Edit::default();
    for bucket in 0..filter.words(service).len() {
        let old = match before {
            Before::None | Before::Unknown => None,
            Before::Filter(before) => of(before, bucket),
        };
        let new = of(filter, bucket);
        if old == new {
            continue;
        }
        edit.gone.extend(old.map(|_| Element::key(&key(bucket))));
        edit.come.extend(new.map(|new| element(bucket, new)));
    }
    edit
}

fn members(before: Before<'_>, filter: &Filter) -> Edit {
    let of = |filter: &Filter| -> Vec<Mac> { filter.setup().macs.values().copied().collect() };
    let old = match before {
        Before::None | Before::Unknown => Vec::new(),
        Before::Filter(before) => of(before),
    };
    let new = of(filter);
    let without = |some: &[Mac], others: &[Mac]| -> Vec<Element> {
        let rest = some.iter().filter(|mac| !others.contains(mac));
        rest.map(|mac| Element::key(&mac.0)).collect()
    };
    Edit { gone: without(&old, &new), come: without(&new, &old) }
}

/// As `jhash` gives it: in the machine's order.
fn key(bucket: usize) -> [u8; 4] {
    (bucket as u32).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    use ha_farm::{Buckets, Hash, HashOn, Plan, Protocol, Rule, Setup, Table, Uncovered};

    const SERVICES: usize = 16;
    const BUCKETS: usize = 4_096;

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn mac(id: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, id])
    }

    /// Of two nodes, of which this one, the first, takes so many of each service.
    fn filter(mode: Mode, taken: usize) -> Filter {
        let rule = |port| Rule {
            vip: "192.0.2.1".parse().unwrap(),
            ports: port..=port,
            protocol: Protocol::Tcp,
            on: HashOn::Addr,
        };
        let setup = Setup {
            me: node(0),
            mode,
            uncovered: Uncovered::Deny,
            hash: Hash::Jhash { seed: 7 },
            rules: (1..=SERVICES as u16).map(rule).collect(),
            macs: (0..2).map(|id| (node(id), mac(id))).collect(),
        };
        let weights = (0..2).map(|id| (node(id), 1)).collect();
        let plan = Plan { counter: 1, weights, settled: 1, taken: None };
        let table = Table::new(Buckets::Many).next(&plan);
        let mut left = [taken; SERVICES];
        Filter::new(setup, &vec![table; SERVICES], |service, _| {
            left[service] = left[service].saturating_sub(1);
            left[service] > 0
        })
        .unwrap()
    }

    fn written(before: Before<'_>, filter: &Filter) -> usize {
        write(&mut Batch::new("t"), 0, before, filter)
    }

    #[test]
    fn a_small_change_of_the_largest_farm_is_a_few_elements() {
        for mode in [Mode::Invisible, Mode::Directed] {
            let (before, after) = (filter(mode, 2_001), filter(mode, 1_991));
            assert_eq!(written(Before::Filter(&before), &after), 10 * SERVICES, "{mode:?}");
            assert_eq!(written(Before::Filter(&after), &before), 10 * SERVICES, "{mode:?}");
            assert_eq!(written(Before::Filter(&after), &after), 0, "{mode:?}");
            let all = match mode {
                Mode::Invisible => 1_990 * SERVICES,
                // And whose each of the other half is, and two members.
                Mode::Directed => (1_990 + BUCKETS / 2) * SERVICES + 2,
            };
            for before in [Before::None, Before::Unknown] {
                assert_eq!(written(before, &after), all, "{mode:?}");
            }
        }
    }

    #[test]
    fn a_bucket_of_another_owner_is_taken_out_and_put_in() {
        let before = filter(Mode::Directed, BUCKETS);
        let mut setup = before.setup().clone();
        setup.macs.insert(node(1), mac(9));
        let plan = Plan {
            counter: 1,
            weights: (0..2).map(|id| (node(id), 1)).collect(),
            settled: 1,
            taken: None,
        };
        let table = Table::new(Buckets::Many).next(&plan);
        let after = Filter::new(setup, &vec![table; SERVICES], |_, _| true).unwrap();
        let edit = owners(Before::Filter(&before), &after, 0);
        assert_eq!((edit.gone.len(), edit.come.len()), (BUCKETS / 2, BUCKETS / 2));
        let edit = members(Before::Filter(&before), &after);
        assert_eq!((edit.gone.len(), edit.come.len()), (1, 1), "the other member's card");
    }
}
