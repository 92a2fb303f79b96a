//! Who may serve: the witness, how nodes ask it, and the leases that follow.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod apply;
pub mod arbiter;
mod lease;
mod register;
mod request;
mod vote;
pub mod voter;

pub use apply::{Facts, apply, reconcile};
pub use arbiter::Arbiter;
pub use lease::{Binding, Grantor, Promise, RHO_INVERSE, Tenure, longer, shorter};
pub use register::{LEASE_MAX, LEASE_MIN, Register};
pub use request::{Answer, Ask, Outcome, Refusal, Request};
pub use vote::{Verdict, Vote};
pub use voter::{Voter, Wish};
