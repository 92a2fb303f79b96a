//! Random histories of two clerks at one store that loses, delays and repeats what is done there
//! (G1, G2).

mod common;

use std::time::Duration;

use common::{CLUSTER, DATA, LEASE, LIFE, MODULE, ask, membership, node, register};
use ha_proto::{Boot, DataState, Epoch, Instant, Machine, Membership, Outbox, Ticket, laws};
use ha_quorum::clerk::{Config, Input, Output, Stored};
use ha_quorum::{Answer, Ask, Clerk, Entry, Outcome, Register, Request, shorter};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A new ask that expects the epoch of so many changes ago.
    Ask {
        from: u8,
        request: Request,
        ago: usize,
    },
    /// What a node's clerk wants done is done, and it hears of it.
    Done(u8),
    /// Something that was once wanted is done, again perhaps, and its clerk may not hear of it.
    Late {
        which: prop::sample::Index,
        told: bool,
    },
    /// A node's clerk hears that nobody knows.
    Failed(u8),
    /// A node boots; what it wanted is under way.
    Boot(u8),
    Wait(u64),
}

/// An effect under way.
#[derive(Clone, Copy, Debug)]
struct Job {
    from: usize,
    boot: u64,
    output: Output,
}

struct Node {
    clerk: Clerk,
    boot: u64,
    /// Thousandths that its clock counts in a thousandth of true time.
    rate: u64,
    asks: Vec<(Ask, u64)>,
    wants: Option<Output>,
    /// Renews up to this number are void: it has dropped its leases since (R13).
    dropped: u64,
    /// True nanoseconds.
    leased: u64,
}

struct World {
    now: u64,
    nodes: [Node; 2],
    stored: Option<Stored>,
    revision: u64,
    jobs: Vec<Job>,
    told: Vec<Membership>,
    /// When each node last lost the register to the other one, by a Take, and of which epoch.
    lost: [Option<(u64, Epoch)>; 2],
}

fn clerk(me: u8) -> Clerk {
    Clerk::new(Config { cluster: CLUSTER, module: MODULE, me: node(me), lease: LEASE })
        .expect("a lease")
}

impl Node {
    fn new(me: u8, rate: u64) -> Self {
        let (boot, asks) = (u64::from(me) + 1, Vec::new());
        Self { clerk: clerk(me), boot, rate, asks, wants: None, dropped: 0, leased: 0 }
    }

    fn local(&self, now: u64) -> Instant {
        Instant::from_nanos(now / 1_000 * self.rate)
    }
}

impl World {
    fn new(rates: [u64; 2]) -> Self {
        Self {
            now: 1_000,
            nodes: [Node::new(0, rates[0]), Node::new(1, rates[1])],
            stored: None,
            revision: 1,
            jobs: Vec::new(),
            told: Vec::new(),
            lost: [None; 2],
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask { from, request, ago } => self.ask(from, request, ago),
            Step::Done(from) => {
                let at = usize::from(from);
                let wants = self.nodes[at].wants;
                let mut jobs = self.jobs.iter().rev();
                let job = jobs.find(|job| job.from == at && Some(job.output) == wants).copied();
                if let Some(job) = job {
                    self.perform(&job, true);
                }
            }
            Step::Late { which, told } if !self.jobs.is_empty() => {
                let job = self.jobs[which.index(self.jobs.len())];
                self.perform(&job, told);
            }
            Step::Late { .. } => {}
            Step::Failed(from) => {
                let at = usize::from(from);
                if let Some(output) = self.nodes[at].wants.take() {
                    self.handle(at, Input::Failed { ticket: ticket_of(&output) });
                }
            }
            Step::Boot(from) => {
                let here = &mut self.nodes[usize::from(from)];
                // A boot has no lease of an earlier one: it Takes first (R12).
                let next = Node { boot: here.boot + 2, ..Node::new(from, here.rate) };
                *here = next;
            }
            Step::Wait(millis) => self.wait(millis * 1_000_000),
        }
    }

    fn wait(&mut self, nanos: u64) {
        self.now += nanos;
        for at in 0..2 {
            self.handle(at, Input::Tick);
        }
    }

    fn ask(&mut self, from: u8, request: Request, ago: usize) {
        let at = usize::from(from);
        let told = self.told.len().checked_sub(1 + ago).map(|at| self.told[at].epoch);
        let here = &mut self.nodes[at];
        let number = here.asks.last().map_or(1, |(ask, _)| ask.number + 1);
        let boot = Boot(here.boot);
        let ask = Ask { boot, number, ..ask(from, told.unwrap_or_default(), request) };
        if let Request::Give { .. } = request {
            (here.dropped, here.leased) = (number, 0);
        }
        here.asks.push((ask, self.now));
        self.handle(at, Input::Ask(ask));
    }

    fn job(&self, from: usize, output: &Output) -> Job {
        Job { from, boot: self.nodes[from].boot, output: *output }
    }

    fn perform(&mut self, job: &Job, told: bool) {
        let input = match job.output {
            Output::Answer(_) => unreachable!("an answer is no effect"),
            Output::Write { ticket, over, entry, ask } if self.stored == over => {
                self.revision += 1;
                let revision = self.revision;
                self.change(&ask, entry);
                self.stored = Some(Stored { revision, entry });
                Input::Written { ticket, incarnation: LIFE, revision }
            }
            Output::Read { ticket } | Output::Write { ticket, .. } => {
                Input::Holds { ticket, incarnation: LIFE, stored: self.stored }
            }
        };
        if told && self.nodes[job.from].boot == job.boot {
            self.handle(job.from, input);
        }
    }

    fn handle(&mut self, at: usize, input: Input) {
        let here = &mut self.nodes[at];
        let mut out = Outbox::new(Clerk::OUTPUTS_MAX);
        let now = here.local(self.now);
        here.clerk.handle(now, input, &mut out);
        if let Input::Holds { ticket, .. } | Input::Written { ticket, .. } = input {
            here.wants = here.wants.filter(|wants| ticket_of(wants) != ticket);
        }
        while let Some(output) = out.pop() {
            match output {
                Output::Answer(answer) => self.answered(at, &answer),
                Output::Read { .. } | Output::Write { .. } => {
                    let here = &mut self.nodes[at];
                    assert!(here.wants.is_none(), "two effects in flight");
                    here.wants = Some(output);
                    self.jobs.push(self.job(at, &output));
                }
            }
        }
    }

    /// The step from one register to the next, as the table has it.
    fn change(&mut self, ask: &Ask, entry: Entry) {
        let (Some(Stored { entry: Entry::Register(old), .. }), Entry::Register(new)) =
            (self.stored, entry)
        else {
            return;
        };
        let (from, old_renewals) = (ask.from, old.renewals);
        let (old, renewals, new) = (old.membership, new.renewals, new.membership);
        if old == new {
            assert_eq!(renewals, old_renewals + 1, "a write that changes nothing");
            assert_eq!(from, new.holder, "G2: a lease for another than the holder");
            return;
        }
        assert_eq!(new.epoch.owner(), Some(new.holder));
        assert_eq!(ask.expected, old.epoch, "applied to a register that the sender did not know");
        assert!(new.epoch > old.epoch, "G1: an epoch did not rise");
        let by_holder = from == old.holder;
        if new.holder != old.holder && !by_holder {
            let at = usize::from(old.holder.as_u8());
            assert!(self.nodes[at].leased <= self.now, "G2: a holder changed within a lease");
            self.lost[at] = Some((self.now, new.epoch));
        }
        let forced = matches!(ask.request, Request::Force { .. });
        if new.set != old.set && !forced {
            assert!(by_holder, "a set changed by another than the holder");
        }
    }

    fn answered(&mut self, at: usize, answer: &Answer) {
        let here = &mut self.nodes[at];
        let asked = here.asks.iter().find(|(ask, _)| ask.number == answer.number).copied();
        let (ask, sent) = asked.expect("an answer is for an ask of this boot");
        assert_eq!((answer.to, answer.boot), (ask.from, ask.boot));
        let Some(register) = answer.register else {
            assert_ne!(answer.outcome, Outcome::Ok, "nothing to be so");
            return;
        };
        let membership = register.membership;
        if let (Outcome::Ok, Request::Renew) = (answer.outcome, ask.request) {
            assert_eq!(membership.holder, ask.from, "G2: a lease for another than the holder");
            assert_eq!(
                membership.epoch, ask.expected,
                "a lease of another epoch than it asked for"
            );
            let end = (here.local(sent) + shorter(LEASE)).as_nanos() / here.rate * 1_000;
            if ask.number > here.dropped {
                // The other one may have taken since this was written.
                let lost = self.lost[at].filter(|(_, epoch)| *epoch > membership.epoch);
                assert!(lost.is_none_or(|(lost, _)| end <= lost), "G2: a lease beyond a takeover");
                here.leased = here.leased.max(end);
            }
        }
        let changed = answer.outcome == Outcome::Ok && ask.request != Request::Read;
        if changed && ask.request != Request::Renew {
            assert!(!matches!(ask.request, Request::Take) || membership.holder == ask.from);
        }
        if self.told.last().is_none_or(|last| last.epoch < membership.epoch) {
            self.told.push(membership);
        }
        let same = self.told.iter().find(|told| told.epoch == membership.epoch);
        assert!(same.is_none_or(|told| *told == membership), "G1: two records of one epoch");
    }
}

fn ticket_of(output: &Output) -> Ticket {
    match output {
        Output::Answer(_) => unreachable!("an answer is no effect"),
        Output::Read { ticket } | Output::Write { ticket, .. } => *ticket,
    }
}

fn requests() -> impl Strategy<Value = Request> {
    let record =
        (1..9_u64, 0..2_u8).prop_map(|(counter, holder)| membership(counter, holder, 1 << holder));
    prop_oneof![
        2 => Just(Request::Read),
        1 => Just(Request::Create { incarnation: LIFE, data: DATA }),
        5 => Just(Request::Renew),
        5 => Just(Request::Take),
        1 => Just(Request::Exclude),
        3 => (0..2_u8).prop_map(|peer| Request::Admit { peer: node(peer) }),
        1 => (0..2_u8).prop_map(|to| Request::Give { to: node(to) }),
        1 => record.clone().prop_map(|membership| Request::Force { membership }),
        1 => record.prop_map(|membership| Request::Adopt {
            incarnation: LIFE,
            membership,
            state: DataState::Complete,
        }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2_u8, requests(), prop_oneof![8 => Just(0), 1 => 1..3_usize])
            .prop_map(|(from, request, ago)| Step::Ask { from, request, ago }),
        12 => (0..2_u8).prop_map(Step::Done),
        3 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(which, told)| Step::Late { which, told }),
        2 => (0..2_u8).prop_map(Step::Failed),
        1 => (0..2_u8).prop_map(Step::Boot),
        6 => prop_oneof![0..50_u64, 200..1_100_u64, 2_900..3_100_u64].prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_history_makes_two_holders(
        rates in prop::sample::select(vec![[1_000, 1_000], [999, 1_001], [1_001, 999]]),
        history in prop::collection::vec(steps(), 0..150),
    ) {
        let mut world = World::new(rates);
        // Most histories begin with a pair, some in an empty store.
        if !history.len().is_multiple_of(8) {
            let entry = Entry::Register(register(4, 0, 0b11));
            world.stored = Some(Stored { revision: 1, entry });
        }
        for step in history {
            world.step(step);
        }
    }
}

proptest! {
    #[test]
    fn the_clerk_is_a_lawful_machine(
        history in prop::collection::vec((0..4000_u64, requests(), 3..9_u64, 0..9, 0..4_u64), 0..60)
    ) {
        let inputs = history.into_iter().zip(1..).map(|(step, number)| {
            let (gap, request, counter, kind, back) = step;
            let ask = Ask { number, ..ask(0, Epoch::new(counter, node(0)), request) };
            let ticket = Ticket(number.saturating_sub(back));
            let held = |holder| Stored {
                revision: number,
                entry: Entry::Register(Register { renewals: number, ..register(counter, holder, 0b11) }),
            };
            let holds = |stored| Input::Holds { ticket, incarnation: LIFE, stored };
            let input = match kind {
                0 => Input::Failed { ticket },
                1 => holds(None),
                2 => holds(Some(held(0))),
                3 => holds(Some(held(1))),
                _ => Input::Ask(ask),
            };
            (Duration::from_millis(gap), input)
        });
        laws::check(clerk(0), || Input::Tick, inputs);
    }
}

/// Too deep for chance: the renewal of an earlier ask lands, the other node sees it, and the next
/// ask writes the same bytes. Its lease must not count from that ask on.
#[test]
fn a_renewal_that_landed_for_an_earlier_ask_gives_no_later_lease() {
    let mut world = World::new([1_000; 2]);
    world.stored = Some(Stored { revision: 1, entry: Entry::Register(register(4, 0, 0b11)) });
    let ask = |from, request| Step::Ask { from, request, ago: 0 };
    for step in [ask(1, Request::Read), Step::Done(1), ask(0, Request::Read), Step::Done(0)] {
        world.step(step);
    }
    world.step(ask(0, Request::Renew));
    let renewal = *world.jobs.last().expect("it is under way");
    world.perform(&renewal, false);
    for step in [Step::Wait(10), ask(1, Request::Read), Step::Done(1), Step::Wait(500)] {
        world.step(step);
    }
    // Asked again while the first one is still waited for, and in vain.
    for step in [ask(0, Request::Renew), Step::Failed(0), Step::Done(0), Step::Done(0)] {
        world.step(step);
    }
    assert!(world.nodes[0].leased > 3_500_000_000, "it has a lease by a write of its own");
    for step in [Step::Wait(2_510), ask(1, Request::Take), Step::Done(1)] {
        world.step(step);
    }
    let Some(Stored { entry: Entry::Register(register), .. }) = world.stored else {
        panic!("it was there")
    };
    assert_eq!((register.membership.holder, register.renewals), (node(0), 2));
}
