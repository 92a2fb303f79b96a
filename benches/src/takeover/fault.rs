//! What happens to the primary.

use std::fmt;
use std::io;

use ha_lab::Cut;

use super::ground::Ground;
use super::pair::Pair;

/// What happens to the primary, whose service runs on in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Its link is cut, both ways; nobody is told.
    Cut,
    /// Its daemon is killed (`SIGKILL`), the link stays up.
    Kill,
    /// Its daemon is stopped (`SIGSTOP`), the link stays up.
    Stop,
    /// No fault: an administrator moves the service to the other server.
    Swap,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cut, Self::Kill, Self::Stop, Self::Swap];

    /// Makes it happen.
    ///
    /// # Errors
    /// It did not.
    pub fn strike(self, ground: &mut Ground, pair: &dyn Pair) -> io::Result<()> {
        match self {
            Self::Cut => {
                let cut = Cut::of(&ground.a, &ground.network);
                ground.lab.cut(&[cut])
            }
            Self::Kill => pair.kill(),
            Self::Stop => pair.stop(),
            Self::Swap => pair.swap(),
        }
    }

    /// Whether the primary has no daemon now that could take its address off.
    pub fn leaves_nobody(self) -> bool {
        match self {
            Self::Kill | Self::Stop => true,
            Self::Cut | Self::Swap => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cut => "link cut",
            Self::Kill => "daemon killed",
            Self::Stop => "daemon stopped",
            Self::Swap => "planned swap",
        })
    }
}
