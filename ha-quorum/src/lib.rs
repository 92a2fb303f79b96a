//! Who may serve: the witness, how nodes ask it, and the leases that follow. Pure: no clock, no
//! I/O, no `std`; the rules are those of `CONTRACT.md`.
//!
//! Two nodes that do not see each other cannot know which of them is to serve. With
//! [`Vote::Arbiter`] a third party knows: it keeps one [`Register`] for each pair (who holds which
//! epoch, and who has every acknowledged write) and changes it only by compare-and-set on the
//! epoch. A holder serves while it has a lease, or when it is alone in the set.
//!
//! - [`apply`] is the table of requests as one pure function, for any store with compare-and-set;
//!   [`reconcile`] makes a register from two nodes' records when the witness has lost its own.
//! - [`Arbiter`] is the witness: it stores before it answers, and times leases.
//! - [`Clerk`] stands in its place where a plain compare-and-set store keeps the register: it reads,
//!   judges by the same table, and writes over what it has read, an [`Entry`] under one key.
//! - [`Voter`] is a node's side: it asks what the node wishes until the node wishes something
//!   else, and tells which answers count.
//! - [`Ping`] looks whether a majority of addresses outside the cluster answers: evidence, no vote.
//! - [`Tenure`] and [`Binding`] are the arithmetic of leases received and promises given.
//!
//! Both machines are driven by the same loop: tell a fact, do what they say, call again at the
//! deadline. Here a node begins a cluster:
//!
//! ```
//! use core::time::Duration;
//! use ha_proto::{Boot, ClusterId, DataId, Epoch, Incarnation, Instant, Machine, ModuleId, NodeId};
//! use ha_proto::Outbox;
//! use ha_quorum::{Arbiter, Outcome, Voter, Wish, arbiter, voter};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Instant::ZERO;
//! let me = NodeId::new(0).expect("below 128");
//! let (lease, round_trip) = (Duration::from_secs(3), Duration::from_millis(50));
//! let mut node = Voter::new(voter::Config::new(me, Boot(42), lease, round_trip)?);
//! let mut witness = Arbiter::new(now, Incarnation(7), [])?;
//!
//! // Its incarnation comes with the answer to a Read.
//! let (expected, incarnation) = (Epoch::NONE, Incarnation(7));
//! let wish = Wish::Create { incarnation, data: DataId(1) };
//! let mut said = Outbox::new(Voter::OUTPUTS_MAX);
//! node.handle(now, voter::Input::Wish { wish, expected, incarnation }, &mut said);
//! let Some(voter::Output::Ask(ask)) = said.pop() else { panic!("a wish is asked at once") };
//!
//! // A driver would carry it: `ask.encode`, the network, `Ask::decode`.
//! let (cluster, module) = (ClusterId(9), ModuleId(0));
//! let mut out = Outbox::new(Arbiter::OUTPUTS_MAX);
//! witness.handle(now, arbiter::Input::Ask { cluster, module, ask }, &mut out);
//! let Some(arbiter::Output::Store { ticket, register }) = out.pop() else {
//!     panic!("a change is stored before it is answered")
//! };
//! assert!(register.encode().len() < 200);
//! witness.handle(now, arbiter::Input::Stored { ticket }, &mut out);
//! let Some(arbiter::Output::Answer { answer, .. }) = out.pop() else { panic!("now it is") };
//!
//! node.handle(now, voter::Input::Answer(answer), &mut said);
//! let Some(voter::Output::Answered { outcome: Outcome::Ok, register, .. }) = said.pop() else {
//!     panic!("the answer counts")
//! };
//! assert!(register.is_some_and(|register| register.membership.is_alone(me)));
//! assert_eq!(node.deadline().map(|next| next.at), Some(now + lease / 3));
//! # Ok(())
//! # }
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod apply;
pub mod arbiter;
mod boots;
pub mod clerk;
mod entry;
mod lease;
pub mod ping;
mod register;
mod request;
mod vote;
pub mod voter;

pub use apply::{Facts, apply, reconcile};
pub use arbiter::Arbiter;
pub use clerk::Clerk;
pub use entry::{Entry, Note};
pub use lease::{Binding, Grantor, Promise, RHO_INVERSE, Tenure, longer, shorter};
pub use ping::Ping;
pub use register::{LEASE_MAX, LEASE_MIN, Register};
pub use request::{Answer, Ask, Outcome, Refusal, Request};
pub use vote::{Verdict, Vote};
pub use voter::{Voter, Wish};
