//! A plain compare-and-set store in the place of the arbiter, and the nodes' clerks at it.

use std::collections::BTreeMap;

use ha_quorum::clerk::{Input, Output, Stored};
use ha_quorum::{Clerk, Entry, Register};

/// The store. It is up, paused and gone with the witness's process, and forgets nothing.
#[derive(Debug, Default)]
pub struct Plain {
    /// What is under the pair's key.
    pub held: Option<Stored>,
    /// The number of the last write.
    pub revision: u64,
    /// The clerks of A and B, parts of their processes.
    pub desks: [Desk; 2],
    /// What is on its way to the store, by number.
    pub jobs: BTreeMap<u64, Job>,
    /// What is on its way back.
    pub replies: BTreeMap<u64, Reply>,
    /// Numbers both.
    pub number: u64,
    /// What reached the paused store, or is held by a script.
    pub waiting: Vec<Job>,
    /// A script's rules.
    pub rules: Vec<Rule>,
}

/// A node's side.
#[derive(Debug, Default)]
pub struct Desk {
    /// The machine under test, while the process is there.
    pub clerk: Option<Clerk>,
    /// The earliest scheduled wake-up.
    pub timer: Option<u64>,
    /// What came while the process was paused.
    pub deferred: Vec<Input>,
}

/// Something that a clerk wants done at the store.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Whose.
    pub node: usize,
    /// In which boot.
    pub life: u32,
    /// What.
    pub output: Output,
    /// Whether the answer is lost, because a script says so.
    pub mute: bool,
}

/// What a clerk is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// Whose.
    pub node: usize,
    /// In which boot.
    pub life: u32,
    /// What.
    pub input: Input,
}

/// What a script does with what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is done, and nobody hears of it.
    Mute,
    /// It waits until it is released.
    Hold,
}

/// A script's rule: the first that fits decides.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Whose.
    pub node: usize,
    /// Which ones.
    pub wants: fn(&Output) -> bool,
    /// What is done with them.
    pub act: Act,
    /// How often.
    pub times: u32,
}

impl Plain {
    /// What a script does with this.
    pub fn rule(&mut self, node: usize, output: &Output) -> Option<Act> {
        let mut rules = self.rules.iter_mut();
        let fits = |rule: &&mut Rule| rule.node == node && rule.times > 0 && (rule.wants)(output);
        let rule = rules.find(fits)?;
        rule.times -= 1;
        Some(rule.act)
    }

    /// The register, if one is there.
    pub fn register(&self) -> Option<Register> {
        match self.held?.entry {
            Entry::Register(register) => Some(register),
            Entry::Note(_) => None,
        }
    }
}
