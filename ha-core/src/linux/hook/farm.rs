//! The same for a farm's member.

use std::collections::BTreeMap;
use std::format;
use std::prelude::rust_2024::*;
use std::string::String;
use std::sync::Mutex;

use ha_proto::{NodeId, Role};

use super::words::{At, Words};
use super::{Hook, HookConfig, HookError};
use crate::farm::{Event, Why};

/// Tells a program, or a URL, of the events of a farm's member, as a [`Hook`] does of a mirror's,
/// by the same names; what differs:
///
/// | JSON | environment | |
/// |---|---|---|
/// | `module` | `HA_MODULE` | the farm's name |
/// | `node` | `HA_NODE` | this member's name |
/// | `role` | `HA_ROLE` | `UP` while it takes what is its own, `STOP` while its service is stopped, else `WAIT` |
/// | `view` | `HA_VIEW` | the view in force, `-` if it has told of none yet; there is no `epoch` |
/// | `event` | `HA_EVENT` | [`Event::name`] |
/// | `text` | `HA_TEXT` | [`Event::told`] |
/// | `level` | `HA_LEVEL` | of [`Event::level`] |
///
/// Give its [`tell`](Self::tell) each event that the
/// [observer](crate::linux::farm::Setup::observer) is shown.
#[derive(Debug)]
pub struct FarmHook {
    hook: Hook,
    named: FarmNamed,
    then: Mutex<Then>,
}

/// What a farm and its surroundings are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FarmNamed {
    /// The farm.
    pub module: String,
    /// This member.
    pub node: String,
    /// All members.
    pub members: BTreeMap<NodeId, String>,
    /// The networks, in their order.
    pub links: Vec<String>,
}

/// What the events so far say.
#[derive(Debug)]
struct Then {
    role: Role,
    view: String,
}

impl FarmHook {
    /// Starts to tell, in a process whose predecessors dropped so many events
    /// ([`give_up`](Self::give_up)).
    ///
    /// # Errors
    /// As [`Hook::start`].
    pub fn resume(config: HookConfig, named: FarmNamed, dropped: u64) -> Result<Self, HookError> {
        let hook = Hook::resume(config, BTreeMap::new(), dropped)?;
        let then = Mutex::new(Then { role: Role::Wait, view: "-".into() });
        Ok(Self { hook, named, then })
    }

    /// Tells of an event, if it is of the level; never waits.
    pub fn tell(&self, sequence: u64, event: &Event) {
        let mut then = self.then.lock().expect("nothing panics while an event is noted");
        then.note(event);
        let named = &self.named;
        let name = |node: NodeId| {
            named.members.get(&node).cloned().unwrap_or_else(|| format!("node {node}"))
        };
        self.hook.put(event.level(), || Words {
            module: named.module.clone(),
            node: named.node.clone(),
            role: then.role,
            at: At::View(then.view.clone()),
            event: event.name(),
            text: event.told(name, &named.links),
            level: event.level(),
            sequence,
        });
    }

    /// How many events were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.hook.dropped()
    }

    /// As [`Hook::give_up`].
    pub fn give_up(self) -> u64 {
        self.hook.give_up()
    }
}

impl Then {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Takes(_) => self.role = Role::Up,
            // Nothing is handed over by who takes nothing.
            Event::Resumed { view, until: _ } => {
                (self.role, self.view) = (Role::Up, format!("{view}"));
            }
            Event::StandsBy(Why::Stopped) => self.role = Role::Stop,
            Event::StandsBy(_) => self.role = Role::Wait,
            Event::View { id, .. } => self.view = format!("{id}"),
            Event::Linked(_)
            | Event::Unlinked(_)
            | Event::LinkUp(..)
            | Event::LinkDown(..)
            | Event::Restarted(_)
            | Event::Paused(_)
            | Event::Rejected(_)
            | Event::Disagrees(_)
            | Event::Agrees(_)
            | Event::Twice(_)
            | Event::MacTwice(_)
            | Event::Future(_)
            | Event::Newer(_)
            | Event::FilterFailed
            | Event::FilterBack
            | Event::ApplicationFailed
            | Event::Drained { .. }
            | Event::Rules => {}
        }
    }
}
