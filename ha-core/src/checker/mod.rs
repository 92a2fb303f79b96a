//! Checkers: what is looked at again and again, and what follows when it is down.
//!
//! - [`Checker`]: one thing that is watched. When to look, and when looks make it up or down.
//! - [`Rules`]: all of a module. What is told to the node and to its peer, and which orders the
//!   node gets, one at a time.
//! - [`Loops`]: how often a module may act by itself before it is stopped for good.
//! - [`CheckerConfig`]: what an administrator wrote, checked
//!   ([`RawChecker`](crate::raw::RawChecker)).
//!
//! Both machines are pure; the feature `linux` brings what looks at sockets, interfaces and
//! processes.
//!
//! ```
//! use core::time::Duration;
//! use ha_core::checker::{Action, Checker, Loops, Pace, Rules, When, checker, rules};
//! use ha_core::proto::{Instant, Machine, Outbox, Role};
//! use ha_core::Order;
//!
//! let pace = Pace { fall: 1, grace: Duration::ZERO, ..Pace::new(When::Serving) };
//! let mut checker = Checker::new(pace, Instant::ZERO);
//! let mut rules = Rules::new(&[Action::Restart], Loops::default());
//! let serving = Some(Instant::ZERO);
//!
//! // The application serves: the first look is due at once, and fails.
//! let mut out = Outbox::new(Checker::OUTPUTS_MAX);
//! checker.handle(Instant::ZERO, checker::Input::Serving(serving), &mut out);
//! let changed = out.pop();
//! assert!(matches!(changed, Some(checker::Output::Changed(_))));
//! let Some(checker::Output::Probe { ticket, .. }) = out.pop() else { panic!("it looks") };
//! checker.handle(Instant::ZERO, checker::Input::Done { ticket, passed: false }, &mut out);
//! let Some(checker::Output::Changed(state)) = out.pop() else { panic!("it is down") };
//!
//! // So the node is ordered to restart it.
//! let mut said = Outbox::new(Rules::OUTPUTS_MAX);
//! let node = rules::Input::Node { serving, role: Role::Prim, ready: true };
//! rules.handle(Instant::ZERO, node, &mut said);
//! rules.handle(Instant::ZERO, rules::Input::Changed { index: 0, state }, &mut said);
//! let orders = core::iter::from_fn(|| said.pop())
//!     .filter(|said| matches!(said, rules::Output::Order { order: Order::Restart, .. }));
//! assert_eq!(orders.count(), 1);
//! ```

#[expect(clippy::module_inception, reason = "the machine is named for what it is")]
pub mod checker;
mod config;
mod loops;
pub mod rules;

pub use checker::{Checker, State};
pub use config::{
    Action, CHECKERS_MAX, CheckerConfig, Custom, Kind, ModuleState, Pace, Process, When,
};
pub use loops::Loops;
pub use rules::Rules;
