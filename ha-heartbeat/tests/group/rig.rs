//! One member by hand, and others that say what a test makes them say.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use ha_heartbeat::group::{
    Beat, Config, Echo, Group, Input, Output, Part, Proposal, Said, State, ViewId,
};
use ha_proto::{Boot, Instant, Machine, NodeId, NodeSet, Outbox};

pub(crate) const MY_BOOT: Boot = Boot(7);

pub(crate) fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

pub(crate) fn set(ids: &[u8]) -> NodeSet {
    ids.iter().map(|&id| node(id)).collect()
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The boot of the other members.
pub(crate) fn boot(id: u8) -> Boot {
    Boot(100 + u64::from(id))
}

pub(crate) fn id(counter: u64, coordinator: u8) -> ViewId {
    let boot = if coordinator == 0 { MY_BOOT } else { boot(coordinator) };
    ViewId { counter, coordinator: node(coordinator), boot }
}

pub(crate) fn config(members: u8) -> Config {
    Config {
        me: node(0),
        members: (0..members).map(node).collect(),
        interval: millis(100),
        lease: millis(180),
        slack: millis(75),
        alone: true,
    }
}

pub(crate) fn proposal(counter: u64, coordinator: u8, members: &[u8]) -> Proposal {
    let member = |&id: &u8| (node(id), if id == 0 { MY_BOOT } else { boot(id) });
    Proposal {
        id: id(counter, coordinator),
        members: members.iter().map(member).collect(),
        body: Bytes::from_static(b"weights"),
    }
}

/// A member that says nothing of itself: in no view, it hears everybody.
pub(crate) fn blank(members: u8) -> Said {
    Said {
        view: None,
        members: NodeSet::EMPTY,
        state: State::Nothing,
        highest: 0,
        hears: (0..members).map(node).collect(),
        accord: 0,
        next: 0,
    }
}

/// The same in a view.
pub(crate) fn at(view: &Proposal, state: State, members: u8) -> Said {
    let (id, set) = (view.id, view.set());
    Said { view: Some(id), members: set, state, highest: id.counter, ..blank(members) }
}

/// One member, node 0, whose kernel does what it is told in the same moment.
pub(crate) struct Rig {
    pub(crate) group: Group,
    pub(crate) now: Instant,
    pub(crate) members: u8,
    /// What the kernel answers; `None`: nothing yet.
    pub(crate) writes: Option<bool>,
    numbers: [u64; 64],
    said: u64,
}

impl Rig {
    pub(crate) fn new(members: u8) -> Self {
        Self::with(members, config(members))
    }

    pub(crate) fn with(members: u8, config: Config) -> Self {
        let now = Instant::ZERO + millis(1_000);
        let group = Group::new(config, MY_BOOT, now);
        Self { group, now, members, writes: Some(true), numbers: [0; 64], said: 0 }
    }

    /// A member that is able, linked to all others, who take in `view`; it is not in it yet.
    pub(crate) fn linked(members: u8) -> Self {
        let mut rig = Self::new(members);
        rig.tell(Input::Tick);
        rig.tell(Input::Able(true));
        for _ in 0..2 {
            rig.all_say(&blank(members));
            rig.pass(millis(1));
            rig.pass(millis(99));
        }
        rig
    }

    /// A member that takes all that view 1 of all members gives, which node 1 made.
    pub(crate) fn taking(members: u8) -> Self {
        let mut rig = Self::linked(members);
        let all: Vec<u8> = (0..members).collect();
        let view = proposal(1, 1, &all);
        rig.propose(1, &view);
        rig.all_say(&at(&view, State::Takes, members));
        assert!(rig.group.is_full(), "every member is at the view");
        rig
    }

    /// Tells it something, and the kernel what it says; gives all that it said.
    pub(crate) fn tell(&mut self, input: Input) -> Vec<Output> {
        let mut inputs = VecDeque::from([input]);
        let mut said = Vec::new();
        let mut out = Outbox::new(Group::OUTPUTS_MAX);
        while let Some(input) = inputs.pop_front() {
            self.group.handle(self.now, input, &mut out);
            while let Some(output) = out.pop() {
                match &output {
                    Output::Build { id, .. } => {
                        let body = Bytes::from_static(b"weights");
                        inputs.push_back(Input::Built { id: *id, body });
                    }
                    Output::Check(proposal) => {
                        inputs.push_back(Input::Checked { id: proposal.id, known: true });
                    }
                    Output::Install { proposal, .. } => {
                        let id = proposal.id;
                        inputs.extend(self.writes.map(|ok| Input::Written { id, ok }));
                    }
                    Output::Take(id) => {
                        let id = *id;
                        inputs.extend(self.writes.map(|ok| Input::Written { id, ok }));
                    }
                    Output::Beat(beat) => self.said = beat.number,
                    _ => {}
                }
                said.push(output);
            }
        }
        said
    }

    /// Lets time go on, punctually.
    pub(crate) fn pass(&mut self, span: Duration) -> Vec<Output> {
        let end = self.now + span;
        let mut said = Vec::new();
        while let Some(due) = self.group.deadline().filter(|due| due.at <= end) {
            self.now = self.now.max(due.at);
            said.extend(self.tell(Input::Tick));
        }
        self.now = end;
        said
    }

    /// The next beat of another member, which echoes what this one said last.
    pub(crate) fn beat(&mut self, from: u8, said: Said) -> Beat {
        let number = &mut self.numbers[usize::from(from)];
        *number += 1;
        let echo = Echo { node: node(0), boot: MY_BOOT.0 as u32, number: self.said };
        let facts = Bytes::new();
        Beat { boot: boot(from), number: *number, said, echoes: vec![echo], facts }
    }

    pub(crate) fn say(&mut self, from: u8, said: &Said) -> Vec<Output> {
        let beat = self.beat(from, *said);
        self.tell(Input::Beat { from: node(from), beat })
    }

    pub(crate) fn all_say(&mut self, said: &Said) -> Vec<Output> {
        (1..self.members).flat_map(|from| self.say(from, said)).collect()
    }

    /// A view, as its coordinator sends it, in one part.
    pub(crate) fn propose(&mut self, from: u8, view: &Proposal) -> Vec<Output> {
        let part = part(from, view);
        self.tell(Input::Propose { from: node(from), part })
    }

    /// All others go on saying this, while time passes in steps of 50 ms.
    pub(crate) fn go_on(&mut self, span: Duration, said: &Said) -> Vec<Output> {
        let end = self.now + span;
        let mut all = Vec::new();
        while self.now < end {
            all.extend(self.all_say(said));
            all.extend(self.pass(millis(50)));
        }
        all
    }
}

pub(crate) fn part(from: u8, view: &Proposal) -> Part {
    let mut bytes = Vec::new();
    view.encode(&mut bytes);
    Part { boot: boot(from), id: view.id, part: 0, parts: 1, bytes: bytes.into() }
}

/// What is said, in a word each, without the beats' and views' contents.
pub(crate) fn words(outputs: &[Output]) -> Vec<String> {
    let word = |output: &Output| match output {
        Output::Beat(beat) => format!("beat {:?}", beat.said.state),
        Output::Propose { to, part } => format!("propose {} to {to}", part.id),
        Output::Pull { to, pull } => format!("pull {}+{} from {to}", pull.part, pull.count),
        Output::Lease(_) => "lease".into(),
        Output::Shut(cause) => format!("shut {cause:?}"),
        Output::Build { id, .. } => format!("build {id}"),
        Output::Check(view) => format!("check {}", view.id),
        Output::Install { proposal, keeps: true } => format!("install {}, keep", proposal.id),
        Output::Install { proposal, keeps: false } => format!("install {}", proposal.id),
        Output::Take(id) => format!("take {id}"),
        Output::Tables { id, parts } => format!("{} parts of {id}", parts.len()),
        Output::View { id, member: true } => format!("in view {id}"),
        Output::View { id, member: false } => format!("out of view {id}"),
        Output::Facts { from, .. } => format!("facts of {from}"),
        Output::Linked(node) => format!("linked {node}"),
        Output::Unlinked(node) => format!("unlinked {node}"),
        Output::Restarted(node, _) => format!("restarted {node}"),
        Output::Disagrees(node) => format!("disagrees {node}"),
        Output::Agrees(node) => format!("agrees {node}"),
        Output::Twice(node) => format!("twice {node}"),
        Output::Future(node) => format!("future {node}"),
        Output::Paused(_) => "paused".into(),
    };
    outputs.iter().map(word).collect()
}
