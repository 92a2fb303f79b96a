//! Other rules, drawn: who is told of them when, who never, and who is told of the former ones
//! again at a bad moment. From a sequence of its own, so that the histories of old seeds stay what
//! they were.

use ha_proto::Prng;

use super::fault::{Fault, Planned};
use super::options::{Options, Spans};

/// What an operator does to members' files in one history.
#[derive(Clone, Debug, Default)]
pub struct Rollout {
    /// Who is told when; in no order.
    pub plan: Vec<Planned>,
    /// The set that every member's file says in the end; `None`: the rules never change.
    pub last: Option<usize>,
    /// In the end files say what they say then.
    pub stays_mixed: bool,
}

impl Rollout {
    /// Nothing in the histories of older seeds, and in every third one of the others.
    pub fn draw(options: &Options, members: usize, sets: usize, spans: &Spans) -> Self {
        let mut prng = Prng::new(options.seed ^ SALT);
        if options.seed < Options::RULES_FROM || prng.chance(333_000) {
            return Self::default();
        }
        let mut all = Self::default();
        let mut set = 0;
        for _ in 0..=prng.below(4) {
            let before = set;
            set = prng.below(sets as u64) as usize;
            let at = spans.timeout * 4 + prng.below(spans.safety() - spans.timeout * 4);
            let window = [spans.round_trip, spans.interval, spans.interval * 10];
            let window = window[prng.below(3) as usize];
            for node in 0..members {
                let at = at + prng.below(window);
                all.tell(&mut prng, node, at, set, spans);
                if prng.chance(150_000) {
                    let back = Fault::Rules { node, set: before, web: web(&mut prng) };
                    all.plan.push(Planned { at: at + prng.below(window), fault: back });
                }
            }
        }
        all.last = Some(set);
        all.stays_mixed = prng.chance(250_000);
        all
    }

    /// One member is told of a set, or its daemon begins anew with it, or it is not told at all.
    fn tell(&mut self, prng: &mut Prng, node: usize, at: u64, set: usize, spans: &Spans) {
        let web = web(prng);
        let file = Fault::File { node, set, web };
        let soon = 1 + prng.below(spans.interval);
        let then = match prng.below(16) {
            0 => return,
            1 => None,
            2 => Some(Fault::DaemonKill { node, down: soon }),
            3 => Some(Fault::HandOver { node, gap: 1 + prng.below(spans.slack) }),
            4 => Some(Fault::HostKill { node, down: soon }),
            _ => {
                let fault = Fault::Rules { node, set, web };
                return self.plan.push(Planned { at, fault });
            }
        };
        self.plan.push(Planned { at, fault: file });
        self.plan.extend(then.map(|fault| Planned { at: at + 1, fault }));
    }
}

fn web(prng: &mut Prng) -> u16 {
    [1, 1, 2, 5][prng.below(4) as usize]
}

/// This sequence is not the world's or the weather's.
const SALT: u64 = 0x0b5e_55ed;
