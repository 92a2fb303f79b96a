//! How clients' frames reach the servers, and what filters there.

use std::time::Duration;

use ha_core::ha_farm::{Hash, Mode};
use ha_core::linux::plane::Plane;
use ha_core::linux::plane::bpf::{Bpf, Settings};
use ha_core::linux::plane::nft::{self, Nft};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bpf,
    Nft,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) mode: Mode,
    pub(crate) plane: Kind,
}

impl Case {
    pub(crate) const ALL: [Self; 4] = [
        Self { mode: Mode::Invisible, plane: Kind::Bpf },
        Self { mode: Mode::Directed, plane: Kind::Bpf },
        Self { mode: Mode::Invisible, plane: Kind::Nft },
        Self { mode: Mode::Directed, plane: Kind::Nft },
    ];

    pub(crate) fn place(self) -> usize {
        Self::ALL.iter().position(|it| *it == self).unwrap()
    }

    pub(super) fn hash(self, seed: u8) -> Hash {
        match self.plane {
            Kind::Bpf => Hash::Sip { key: [seed; 16] },
            Kind::Nft => Hash::Jhash { seed: seed.into() },
        }
    }

    pub(super) fn tick(self) -> Duration {
        match self.plane {
            Kind::Bpf => Duration::ZERO,
            // A jiffy.
            Kind::Nft => Duration::from_millis(10),
        }
    }

    /// On `eth0`; what an earlier process left is adopted, or shut.
    pub(super) fn plane(self, module: &str, adopt: bool) -> Box<dyn Plane + Send> {
        let (module, interfaces) = (module.to_owned(), vec!["eth0".to_owned()]);
        match self.plane {
            Kind::Bpf => {
                let settings = Settings::new(module, interfaces);
                let open = if adopt { Bpf::adopt } else { Bpf::open };
                Box::new(open(settings).unwrap())
            }
            Kind::Nft => {
                let settings = nft::Settings { module, interfaces };
                let open = if adopt { Nft::adopt } else { Nft::open };
                Box::new(open(settings).unwrap())
            }
        }
    }
}
