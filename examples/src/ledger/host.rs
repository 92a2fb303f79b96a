//! The ledger as the host application of a mirror pair.

use std::net::SocketAddr;
use std::time::Duration;

use std::collections::VecDeque;

use bytes::Bytes;
use ha_core::Event;
use ha_core::driver::{Guard, Handle, Host, HostError, ProposeError as HandleError};
use ha_core::replicate::{Batch, ProposeError};
use ha_proto::{Epoch, Seq};

use super::server::{Application, Proposer, Refused};

/// The ledger, for a [`Host`] of a driver. Its state is in memory and rebuilt from the log.
#[derive(Clone, Debug)]
pub struct LedgerHost<O> {
    /// The ledger's server.
    pub application: Application,
    /// The virtual address.
    pub vip: SocketAddr,
    /// Whether two primaries may listen there at once (a kind of vote that cannot exclude it).
    pub share_vip: bool,
    /// Sees all that happens.
    pub observer: O,
}

/// What the driver keeps the ledger in bounds with.
#[derive(Clone, Debug)]
pub struct LedgerGuard {
    application: Application,
    vip: SocketAddr,
    share_vip: bool,
}

impl<O: FnMut(&Event) + Send + 'static> Host for LedgerHost<O> {
    type Guard = LedgerGuard;

    fn guard(&mut self) -> LedgerGuard {
        let Self { application, vip, share_vip, observer: _ } = self;
        LedgerGuard { application: application.clone(), vip: *vip, share_vip: *share_vip }
    }

    async fn start(&mut self, _epoch: Epoch, head: Seq) -> Result<(), HostError> {
        Ok(self.application.serve(head).await?)
    }

    async fn stop(&mut self, _force: bool) -> Result<(), HostError> {
        Ok(self.application.cease().await?)
    }

    async fn apply(&mut self, seq: Seq, record: Bytes) -> Result<(), HostError> {
        self.application.apply([(seq, record)]);
        Ok(())
    }

    async fn apply_batch(&mut self, batch: &Batch) -> Result<(), HostError> {
        // One lock and one wake-up for all of them.
        self.application.apply(
            batch
                .records()
                .map(|record| (record.position.seq, batch.bytes.slice_ref(record.body.payload))),
        );
        Ok(())
    }

    async fn reset(&mut self) -> Result<(), HostError> {
        self.application.reset();
        Ok(())
    }

    fn refused(&mut self, record: Bytes, why: ProposeError) {
        let why = match why {
            ProposeError::NoSpace => Refused::NoSpace,
            ProposeError::NotLeader
            | ProposeError::Full
            | ProposeError::TooLarge
            | ProposeError::Stalled
            | ProposeError::Failed => Refused::NotServing,
        };
        self.application.refuse(record, why);
    }

    fn observe(&mut self, event: &Event) {
        (self.observer)(event);
    }
}

impl Guard for LedgerGuard {
    async fn fence(&mut self, _epoch: Epoch) -> Result<(), HostError> {
        Ok(self.application.cease().await?)
    }

    async fn take_address(&mut self, _epoch: Epoch, life: Duration) -> Result<(), HostError> {
        Ok(self.application.take_address(self.vip, self.share_vip, life).await?)
    }

    async fn keep_address(&mut self, lifetime: Duration) -> Result<(), HostError> {
        self.application.keep_address(lifetime);
        Ok(())
    }

    async fn drop_address(&mut self) -> Result<(), HostError> {
        Ok(self.application.drop_address().await?)
    }
}

impl Proposer for Handle {
    fn propose(&mut self, records: &mut VecDeque<Bytes>) -> Result<(), Refused> {
        while let Some(record) = records.front() {
            match self.submit(record.clone()) {
                Ok(()) => records.pop_front(),
                Err(HandleError::Busy) => return Ok(()),
                Err(HandleError::Refused(_) | HandleError::Closed) => {
                    return Err(Refused::NotServing);
                }
            };
        }
        Ok(())
    }
}
