//! The clients: each has one request at a time and asks until it is acknowledged.

/// One client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    /// The number of its request.
    pub number: u64,
    /// Whether it heard that this one is in the ledger.
    pub acknowledged: bool,
}
