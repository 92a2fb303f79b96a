//! How long clients wait when the primary is lost: keepalived and `mirror-node` in one lab, with
//! the same service, the same prober and the same settings of detection.
//!
//! `cargo bench -p ha-benches --bench takeover` prints the table (root, `keepalived`); with
//! `-- --short` one setting and one run of each row; with `-- --judge` it fails if a time is beyond
//! its bound; with `-- --idle` what daemons cost that do nothing, with `-- --minutes 10` whether
//! busy cores look like a death.

mod fault;
mod ground;
mod keepalived;
mod mirror;
mod pair;
mod setting;
mod table;
mod trial;
mod usage;

pub use fault::Fault;
pub use ground::Ground;
pub use keepalived::Keepalived;
pub use mirror::{Durations, Mirror, Programs, Vote};
pub use pair::Pair;
pub use setting::Setting;
pub use table::{Bounds, Row, Table};
pub use trial::{Left, Outcome, Trial};
pub use usage::Usage;
