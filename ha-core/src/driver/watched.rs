//! File descriptors of our own in the runtime.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use tokio::io::unix::AsyncFd;

/// Lets the runtime watch `fd`. Needs the runtime's context.
#[allow(
    deprecated,
    reason = "`new` is discouraged for what does not own its descriptor; `T` does, and the unsafe \
              `register` is not for a crate that forbids that"
)]
pub(crate) fn watch<T: AsRawFd + Into<OwnedFd>>(fd: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::new(fd)
}
