//! What is under test.

use std::io;

/// The daemons of two servers, whole: the first is primary, the second would take over.
pub trait Pair {
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
}
