//! A local socket at which an administrator sees and orders: the daemon's end and the client's.
//!
//! A daemon implements [`Desk`], keeps an [`EventLog`] and starts a [`Server`]; a program asks with
//! a [`Client`]. Between them go lines of JSON (see [`protocol`]). Root, the daemon's own user and
//! the group `ha-admin` order, the group `ha` sees.
//!
//! No client holds up the node: the server has one thread of its own, a bounded number of clients,
//! bounded lines, and leaves whoever neither writes nor reads.

mod access;
mod board;
mod client;
mod desk;
mod exit;
mod farm;
mod farm_log;
mod log;
mod ops;
mod plan;
pub mod protocol;
mod ring;
mod server;
mod status;
mod told;
mod wall;

pub use self::client::{Client, ClientError};
pub use self::desk::{Checker, Command, ConfigTexts, Desk, Report};
pub use self::exit::{Exit, Refused};
pub use self::farm::{
    FarmLink, FarmMember, FarmReport, FarmRun, FarmService, FarmStatus, FarmStranger, FarmTable,
    FarmVerb,
};
pub use self::farm_log::FarmLog;
pub use self::log::{Entry, EventLog, HandedLog, Past};
pub use self::plan::Plan;
pub use self::ring::Since;
pub use self::server::{Server, ServerError};
pub use self::status::{
    CheckerStatus, CopyStatus, DownStatus, Explained, Found, Here, LinkStatus, ModuleStatus, There,
    WitnessStatus,
};
pub use self::wall::Wall;
