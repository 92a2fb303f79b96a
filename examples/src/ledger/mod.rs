//! A ledger: append a line, read it back. One acknowledgement for each line, once it is committed.

mod client;
mod host;
mod load;
mod memory;
mod server;
mod state;
mod wire;

pub use client::{Client, ClientError, Patience, Receipt};
pub use host::{LedgerGuard, LedgerHost};
pub use load::{Load, LoadReport};
pub use memory::MemoryLog;
pub use server::{Application, Proposer, Refused, Server, ServerError};
pub use state::{Applied, Ledger, Outcome};
pub use wire::{
    Append, ClientId, FRAME_MAX, FrameError, LINE_MAX, LineIndex, Refusal, Request, RequestNumber,
    Response, frame,
};
