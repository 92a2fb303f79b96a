//! What the demonstrations are made of: a small replicated application and a network that can be
//! cut.
//!
//! - [`ha`]: the program with which an administrator sees and orders. The daemons that it talks to
//!   are those of [`ha_core::linux::node`]; [`mod@log`] says where they write.
//! - [`ledger`]: an append-only list of lines, the host application of a mirror pair. Its state
//!   ([`ledger::Ledger`]) is pure; its server ([`ledger::Server`]) answers over TCP at the virtual
//!   address; its client ([`ledger::Client`]) reconnects by itself.
//! - [`relay`]: stands between the processes of a demonstration and cuts links by not relaying,
//!   so that the product needs no fault switch.
//!
//! ```
//! use bytes::Bytes;
//! use ha_node::ledger::{Append, ClientId, Ledger, Outcome, RequestNumber};
//!
//! let mut ledger = Ledger::default();
//! let append = Append { client: ClientId(7), number: RequestNumber(1), line: b"first" };
//! let record = Bytes::from(append.to_record());
//! let Outcome::Appended(receipt) = ledger.apply(record.clone()) else { panic!("it was new") };
//! // The same request again, after a reconnect say, is acknowledged and not applied.
//! assert_eq!(ledger.apply(record), Outcome::Repeated(receipt));
//! assert_eq!(ledger.len(), 1);
//! ```
#![forbid(unsafe_code)]
// Real sockets and real clients, which live in real time: nothing here is simulated.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod ha;
pub mod ledger;
pub mod log;
pub mod relay;
