//! Checkers at work beside a node of its own, for tests.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ha_core::checker::{Action, Loops, State};
use ha_core::driver::{Clock, Driver, Handle, Host, Running};
use ha_core::linux::checkers::{Checkers, CheckersError, Event, Surroundings, Watched};
use ha_core::proto::Instant;
use ha_core::raw::{NodeConfig, RawChecker, RawKind, checkers};
use ha_core::{Order, Status};

use crate::processes::SOON;
use crate::rig::{Node, Pair, Toy, block_on, until};

/// A node without a peer, and the checkers of its modules. Ends in this order.
pub(crate) struct Rig {
    pub(crate) checkers: Checkers,
    pub(crate) handles: Vec<Handle>,
    events: Receiver<(String, Event)>,
    _running: Running,
    pair: Pair,
}

/// One module.
pub(crate) struct Setup<H> {
    pub(crate) name: &'static str,
    pub(crate) host: H,
    pub(crate) checkers: Vec<RawChecker>,
    pub(crate) loops: Loops,
    pub(crate) surroundings: Surroundings,
}

impl Setup<Toy> {
    /// A module that does nothing.
    pub(crate) fn quiet(name: &'static str, checkers: Vec<RawChecker>) -> Self {
        let surroundings = Surroundings {
            node: "n1".into(),
            folder: std::env::temp_dir(),
            output: None,
            group: None,
        };
        Self { name, host: Toy::default(), checkers, loops: Loops::default(), surroundings }
    }
}

impl Rig {
    /// One module that does nothing, and serves.
    pub(crate) fn serving(checkers: Vec<RawChecker>) -> Self {
        let rig = Self::start(vec![Setup::quiet("shop", checkers)], Checkers::start).unwrap();
        rig.serve();
        rig
    }

    /// Likewise, with its checkers on a host of a lab.
    pub(crate) fn on(host: &ha_lab::Host, checkers: Vec<RawChecker>) -> Self {
        let setup = vec![Setup::quiet("shop", checkers)];
        let start = |watched, observe| host.inside(|| Checkers::start(watched, observe)).unwrap();
        let rig = Self::start(setup, start).unwrap();
        rig.serve();
        rig
    }

    pub(crate) fn start<H: Host>(
        modules: Vec<Setup<H>>,
        start: impl FnOnce(Vec<Watched>, Observe) -> Result<Checkers, CheckersError>,
    ) -> Result<Self, CheckersError> {
        let (pair, mut driver) = (Pair::new(), Driver::new());
        let mut watched = Vec::new();
        for (id, setup) in (0..).zip(modules) {
            let config = NodeConfig::try_from(pair.raw(0, id)).unwrap();
            watched.push(Watched {
                name: setup.name.into(),
                handle: Some(driver.add(config, setup.host).unwrap()),
                checkers: checkers(setup.checkers).unwrap(),
                loops: setup.loops,
                surroundings: setup.surroundings,
                suspended: false,
            });
        }
        let handles = watched.iter().filter_map(|it| it.handle.clone()).collect();
        let (say, events) = channel();
        let observe = Box::new(move |module: &str, event: &Event| {
            // At the end nobody listens.
            let _ = say.send((module.to_owned(), event.clone()));
        });
        let checkers = start(watched, observe)?;
        let running = driver.start().unwrap();
        Ok(Self { checkers, handles, events, _running: running, pair })
    }

    /// The other node, which has no checkers.
    pub(crate) fn peer(&self) -> Node {
        self.pair.start(1)
    }

    /// Makes all modules primaries.
    fn serve(&self) {
        for handle in &self.handles {
            block_on(handle.order(Order::Prim)).unwrap();
            Self::until(handle, "serving", |status| status.serving);
        }
    }

    pub(crate) fn until(
        handle: &Handle,
        what: &str,
        wanted: impl FnMut(&Status) -> bool,
    ) -> Status {
        block_on(until(handle, what, wanted))
    }

    /// Waits for an event; what is told before it is forgotten.
    pub(crate) fn told<T>(&self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let clock = Clock::start();
        let mut seen = Vec::new();
        loop {
            let left = (Instant::ZERO + SOON).saturating_since(clock.now());
            let Ok((_, event)) = self.events.recv_timeout(left) else {
                panic!("never told: {what}; but {seen:#?}");
            };
            if let Some(found) = wanted(&event) {
                return found;
            }
            seen.push(event);
        }
    }

    /// Waits until the checker is in this state; why.
    pub(crate) fn becomes(&self, wanted: State) -> String {
        self.told(&format!("{wanted:?}"), |event| match event {
            Event::Changed { state, why, .. } if *state == wanted => Some(why.clone()),
            _ => None,
        })
    }
}

pub(crate) type Observe = Box<dyn FnMut(&str, &Event) + Send>;

/// A checker that is fast, and patient with a machine that has other work.
pub(crate) fn quick(kind: RawKind, change: impl FnOnce(&mut RawChecker)) -> RawChecker {
    let mut raw = RawChecker::new("it", kind, Action::None);
    raw.interval = Some("50ms".parse().unwrap());
    raw.timeout = Some("2s".parse().unwrap());
    (raw.rise, raw.fall) = (Some(2), Some(2));
    change(&mut raw);
    raw
}

/// Longer than anything may take that is waited for by a checker.
pub(crate) const NEVER: Duration = Duration::from_hours(1);
