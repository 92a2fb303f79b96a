//! What is under test.

use std::io;

/// The daemons of two servers, whole: the first is primary, the second would take over.
pub trait Pair: Sync {
    /// Kills the primary's daemon (`SIGKILL`), every process of it.
    ///
    /// # Errors
    /// The kernel refuses it.
    fn kill(&self) -> io::Result<()>;

    /// Stops the primary's daemon (`SIGSTOP`), every process of it.
    ///
    /// # Errors
    /// The kernel refuses it.
    fn stop(&self) -> io::Result<()>;

    /// Moves the service to the other server as an administrator does; need not wait for it.
    ///
    /// # Errors
    /// It was refused.
    fn swap(&self) -> io::Result<()>;

    /// Whether the service of the primary that has lost its daemon is frozen or gone; `None` where
    /// nobody looks after that.
    fn is_fenced(&self) -> Option<bool> {
        None
    }
}
