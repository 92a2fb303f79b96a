//! What the benches measure with: a pair in memory, and the bare operations that bound it.
//!
//! `cargo bench -p ha-benches` prints all figures: first the small ones (`micro`, each in
//! nanoseconds), then a table of the large ones, each beside what the machine does without us in
//! the same run. The ratio is the figure; absolute numbers say more about the disk than about us.
//! `cargo bench -p ha-benches --bench figures -- ledger` measures one part only. [`takeover`] is a
//! bench of its own: what clients notice in a lab of network namespaces, beside keepalived.
#![forbid(unsafe_code)]
// A bench is about real time.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod bare;
mod figures;
mod live;
mod pair;
mod pump;
mod stream;
pub mod takeover;

pub use figures::{Figure, Figures};
pub use live::{Live, Privacy, free_tcp};
pub use pair::Pair;
pub use pump::{Pump, Pumped, Unguarded};
