//! The members of a farm: who is in the view, and who may take (`CONTRACT-FARM.md` F1 to F6).
//!
//! A [`Group`] tells all others in [`Beat`]s which view it is at, whether it takes, and whom it
//! hears. Who is the lowest of the best clique proposes the next view; whoever installs it first
//! lets go, in the kernel, of what it does not give, and says so; and takes more only once all that
//! it is linked to have said the same.

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
