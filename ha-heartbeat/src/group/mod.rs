//! The members of a farm: who is in the view, and who may take (`CONTRACT-FARM.md` F1 to F6).
//!
//! A [`Group`] tells all others in [`Beat`]s which view it is at, whether it takes, and whom it
//! hears. Who is the lowest of the best clique proposes the next view; whoever installs it first
//! lets go, in the kernel, of what it does not give, and says so; and takes more only once all that
//! it is linked to have said the same.
//!
//! What a view gives to whom is the node's around it: the group asks it to build a view
//! ([`Output::Build`]), to check one ([`Output::Check`]), and to tell the kernel
//! ([`Output::Install`], [`Output::Take`], [`Output::Shut`], [`Output::Lease`]), in this order: a
//! node lets go before it says so, and its lease is written after the beat that it counts from.
//!
//! ```
//! use std::collections::VecDeque;
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use ha_heartbeat::group::{Config, Group, Input, Output};
//! use ha_proto::{Boot, Instant, Machine, NodeId, NodeSet, Outbox};
//!
//! let nodes = [0, 1, 2].map(|id| NodeId::new(id).expect("below 128"));
//! let members: NodeSet = nodes.into_iter().collect();
//! let millis = Duration::from_millis;
//! let mut groups = nodes.map(|me| {
//!     let (interval, lease, slack) = (millis(100), millis(180), millis(75));
//!     let config = Config { me, members, interval, lease, slack, alone: true };
//!     Group::new(config, Boot(0x1234 + u64::from(me.as_u8())), Instant::ZERO)
//! });
//!
//! // A network without delay, nodes whose views hold nothing, and a kernel that obeys at once.
//! let mut facts: VecDeque<(usize, Input)> = (0..3).map(|at| (at, Input::Able(true))).collect();
//! let mut out = Outbox::new(Group::OUTPUTS_MAX);
//! let mut now = Instant::ZERO;
//! while !groups.iter().all(Group::is_full) {
//!     while let Some((at, fact)) = facts.pop_front() {
//!         let from = nodes[at];
//!         groups[at].handle(now, fact, &mut out);
//!         while let Some(output) = out.pop() {
//!             match output {
//!                 Output::Beat(beat) => {
//!                     let others = (0..3).filter(|other| *other != at);
//!                     facts.extend(others.map(|to| (to, Input::Beat { from, beat: beat.clone() })));
//!                 }
//!                 Output::Propose { to, part } => {
//!                     facts.push_back((to.as_u8().into(), Input::Propose { from, part }));
//!                 }
//!                 Output::Build { id, .. } => {
//!                     facts.push_front((at, Input::Built { id, body: Bytes::new() }));
//!                 }
//!                 Output::Check(view) => {
//!                     facts.push_front((at, Input::Checked { id: view.id, known: true }));
//!                 }
//!                 Output::Install { proposal, .. } => {
//!                     facts.push_front((at, Input::Written { id: proposal.id, ok: true }));
//!                 }
//!                 Output::Take(id) => facts.push_front((at, Input::Written { id, ok: true })),
//!                 _ => {}
//!             }
//!         }
//!     }
//!     let due = groups.iter().filter_map(Machine::deadline).map(|deadline| deadline.at).min();
//!     now = due.expect("the next beat is always due");
//!     facts.extend((0..3).map(|at| (at, Input::Tick)));
//!     assert!(now < Instant::ZERO + millis(600), "they agree in time");
//! }
//! let view = groups[0].view().expect("it takes in one");
//! assert_eq!(view.set(), members);
//! assert!(groups.iter().all(|group| group.view() == Some(view)));
//! ```

mod beat;
mod clique;
mod config;
mod fetch;
mod handed;
mod id;
mod install;
mod io;
mod judge;
mod machine;
mod message;
mod peer;
mod propose;

pub use beat::{Beat, Echo, Said, State};
pub use config::Config;
pub use handed::Handed;
pub use id::{ViewId, rank};
pub use io::{Cause, Input, Output};
pub use machine::{Group, PeerStatus};
pub use message::{Part, Proposal, Pull};
