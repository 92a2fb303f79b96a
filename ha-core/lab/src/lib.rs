//! A network in one machine: hosts, switches and a router as network namespaces, for tests that
//! need a real kernel. Linux, root, `iproute2`, `nftables`; `tcpdump` and `stress-ng` where a test
//! asks for them.
//!
//! ```no_run
//! use std::time::Duration;
//! use ha_lab::{Cut, Lab, Prober, Turns};
//!
//! let Some(mut lab) = Lab::root_or_skip("a_cut_is_a_gap") else { return Ok(()) };
//! let network = lab.bridge()?;
//! let (server, client) = (lab.host("a", &[&network])?, lab.host("client", &[&network])?);
//! let address = (server.v4(&network), 7000).into();
//! let _service = server.serve(&[address])?;
//! let prober = Prober::start(&client, address, Duration::from_millis(1))?;
//! assert!(prober.wait_for("a", Duration::from_secs(5)));
//! let cut = Cut::of(&server, &network);
//! lab.cut(&[cut.clone()])?;
//! lab.heal(&[cut])?;
//! assert!(prober.wait_for("a", Duration::from_secs(5)));
//! let report = prober.finish()?;
//! println!("longest gap: {:?}", report.worst(&Turns::of("a")).length());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! - **Nothing on the real host.** The switches live in a namespace of their own, and cables are
//!   made between namespaces; the machine itself has no interface in the lab and no route to it.
//!   All labs use the same addresses, since none can reach another.
//! - **Nothing left behind.** Dropping the [`Lab`] kills whatever runs in its namespaces, and
//!   removes them and its folder, after a panic too. What a killed test left is swept by the next
//!   lab: names carry the process that made them.
//! - **One clock.** [`now`] and each time in a [`Report`] are `CLOCK_MONOTONIC`, which all
//!   namespaces share, so a test can tell when it cut from when the client noticed.
//! - **Programs** start by `nsenter`, not by `ip netns exec`: that one remounts `/sys`, under
//!   which programs would find no control groups. It is the quicker one too (8.3 and 10.1 ms on two
//!   busy cores). `/sys/class/net` thus shows the real host's interfaces; `/proc/net` and
//!   `/proc/sys/net` the namespace's.

#![forbid(unsafe_code)]
// Tests of real kernels live in real time: they wait for conditions with a deadline.
#![allow(clippy::disallowed_methods)]

mod bridge;
mod capture;
mod clock;
mod cut;
pub mod datagram;
mod disk;
mod group;
mod host;
mod lab;
mod leftovers;
mod loopback;
mod namespace;
mod neighbour;
mod node;
mod output;
mod prober;
mod process;
mod programs;
mod report;
mod skip;
mod switch;
mod tool;

pub use bridge::{Bridge, Learned};
pub use capture::Capture;
pub use clock::{now, within};
pub use cut::{Cut, Traffic};
pub use disk::{Disk, Frozen};
pub use host::Host;
pub use lab::Lab;
pub use loopback::own_loopback;
pub use neighbour::{Mac, Neighbour, NotAMac};
pub use node::{Node, PairFile, key};
pub use prober::Prober;
pub use process::Process;
pub use programs::{built, copy_program, in_repository, program};
pub use report::{Answer, Gap, Line, NotALine, Report, Strays, Turns};
pub use skip::{faketime, installed_or_skip, root_or_skip, skip};
