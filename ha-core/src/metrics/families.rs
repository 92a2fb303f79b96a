//! What each family says.

use alloc::string::String;

use ha_proto::Role;

use super::Sample;
use super::page::{Family, Kind, Value};
use crate::history::Cause;
use crate::tally::Phase;
use crate::verdict::{self, Word};
use crate::view::Right;

use Kind::{Counter, Gauge, Histogram};

/// Writes the metrics of a node's modules behind what is on the page. `version` is that of the
/// program.
pub fn render(version: &str, modules: &[Sample], page: &mut String) {
    let mut build = Family::new(page, "ha_build_info", Gauge, "The version of this daemon.");
    build.line(&[("version", version)], true);
    let mut page = Page { page, modules };
    page.verdicts();
    page.module();
    page.history();
    page.links();
    page.beats();
    page.witness();
    page.replication();
    page.addresses();
}

/// The page, and the modules of which each family has its lines.
struct Page<'a> {
    page: &'a mut String,
    modules: &'a [Sample],
}

/// The lines of one module in one family.
struct Lines<'f, 'p> {
    family: &'f mut Family<'p>,
    module: &'f str,
}

impl Lines<'_, '_> {
    /// A line of the module itself.
    fn one(&mut self, value: impl Into<Value>) {
        self.family.line(&[("module", self.module)], value);
    }

    /// A line if there is something to say.
    fn some(&mut self, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.one(value);
        }
    }

    /// The lines of a histogram.
    fn times(&mut self, times: &ha_replicate::Histogram) {
        self.family.histogram(("module", self.module), times);
    }

    /// A line with one more label.
    fn of(&mut self, name: &str, text: &str, value: impl Into<Value>) {
        self.family.line(&[("module", self.module), (name, text)], value);
    }

    /// A line with two more.
    fn both(&mut self, one: (&str, &str), two: (&str, &str), value: impl Into<Value>) {
        self.family.line(&[("module", self.module), one, two], value);
    }
}

impl Page<'_> {
    /// A family: what `lines` says of each module.
    fn family(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &'static str,
        lines: impl Fn(&Sample, &mut Lines<'_, '_>),
    ) {
        let mut family = Family::new(self.page, name, kind, help);
        for sample in self.modules {
            lines(sample, &mut Lines { family: &mut family, module: &sample.module });
        }
    }

    fn verdicts(&mut self) {
        self.family(
            "ha_module_protected",
            Gauge,
            "Whether a takeover would succeed now.",
            |it, lines| lines.one(it.verdict.word() == Word::Protected),
        );
        self.family(
            "ha_module_takeover_blockers",
            Gauge,
            "What stands in the way of a takeover while the service runs.",
            |it, lines| {
                for kind in verdict::Kind::ALL {
                    let blocks = it.verdict.blockers().iter().any(|found| found.kind == kind);
                    lines.of("blocker", kind.name(), blocks);
                }
            },
        );
    }

    fn module(&mut self) {
        self.family("ha_module_state", Gauge, "The role of the module here.", |it, lines| {
            for role in ROLES {
                lines.of("state", name(role), it.view.role == role);
            }
        });
        self.family(
            "ha_module_ready",
            Gauge,
            "Whether all that the role asks for is done.",
            |it, lines| lines.one(it.view.ready),
        );
        self.family(
            "ha_module_epoch",
            Gauge,
            "The epoch that is saved here, as scripts get it.",
            |it, lines| lines.one(it.view.membership.epoch.bits()),
        );
        self.family(
            "ha_module_loop_remaining",
            Gauge,
            "Automatic restarts that are left.",
            |it, lines| lines.some(it.host.restarts_left.map(u64::from)),
        );
        self.family(
            "ha_checker_up",
            Gauge,
            "Whether a resource of the module is up here, as far as that is known.",
            |it, lines| {
                let known = it.view.resources;
                for (at, resource) in it.names.resources.iter().enumerate().take(64) {
                    if known.known >> at & 1 == 1 {
                        lines.of("checker", resource, known.up >> at & 1 == 1);
                    }
                }
            },
        );
        self.family(
            "ha_script_duration_seconds",
            Gauge,
            "How long a script took when it last ended in this way.",
            |it, lines| {
                for run in &it.scripts {
                    lines.both(("script", run.script), ("result", run.result), run.took);
                }
            },
        );
    }

    fn history(&mut self) {
        self.family("ha_module_transitions_total", Counter, "Changes of the role.", |it, lines| {
            for from in ROLES {
                for to in ROLES.into_iter().filter(|&to| to != from) {
                    let count = it.counters.totals.transitions(from, to);
                    lines.both(("from", name(from)), ("to", name(to)), count);
                }
            }
        });
        self.family(
            "ha_module_takeovers_total",
            Counter,
            "Moves of the service to this node, and starts of it here.",
            |it, lines| {
                for cause in Cause::ALL {
                    lines.of("cause", cause.name(), it.counters.totals.takeovers(cause));
                }
            },
        );
        self.family(
            "ha_module_takeover_duration_seconds",
            Gauge,
            "How long each part of the last takeover by this node took.",
            |it, lines| {
                for phase in Phase::ALL {
                    if let Some(took) = it.counters.totals.phase(phase) {
                        lines.of("phase", phase.name(), took);
                    }
                }
            },
        );
        self.family(
            "ha_module_serving_seconds_total",
            Counter,
            "How long the application served here.",
            |it, lines| lines.one(it.counters.totals.serving),
        );
        self.family(
            "ha_module_unprotected_seconds_total",
            Counter,
            "How long the service ran, and no takeover would have succeeded.",
            |it, lines| lines.one(it.unprotected),
        );
        self.family(
            "ha_pause_seconds",
            Gauge,
            "The longest time that this node did not run although it wanted to.",
            |it, lines| lines.one(it.counters.totals.longest_pause),
        );
    }

    /// A family with a line for each network between the nodes.
    fn each_link<V: Into<Value>>(
        &mut self,
        name: &'static str,
        help: &'static str,
        value: impl Fn(&crate::view::LinkView) -> Option<V>,
    ) {
        self.family(name, Gauge, help, |it, lines| {
            for (at, link) in it.view.links.iter().enumerate() {
                if let Some(value) = value(link) {
                    let number = alloc::format!("{at}");
                    let named = it.names.links.get(at).unwrap_or(&number);
                    lines.both(("peer", &it.names.peer), ("link", named), value);
                }
            }
        });
    }

    fn links(&mut self) {
        self.each_link(
            "ha_heartbeat_link_up",
            "Whether the peer is heard on a network, and hears this node.",
            |link| Some(link.up),
        );
        self.each_link(
            "ha_heartbeat_round_trip_seconds",
            "From a beat to its echo, without the time that it waited at the peer.",
            |link| link.round_trip,
        );
        self.each_link(
            "ha_heartbeat_headroom_ratio",
            "1 - worst gap between beats / time-out: near 0 a takeover without a cause is near.",
            |link| link.margin.map(ha_heartbeat::Margin::headroom),
        );
    }

    fn beats(&mut self) {
        self.family(
            "ha_heartbeat_sent_total",
            Counter,
            "Beats sent, one for each network.",
            |it, lines| lines.one(it.counters.heartbeat.sent),
        );
        self.family(
            "ha_heartbeat_received_total",
            Counter,
            "Beats of the peer that were accepted.",
            |it, lines| lines.one(it.counters.heartbeat.received),
        );
        self.family(
            "ha_heartbeat_lost_total",
            Counter,
            "Beats of the peer that did not come, or came too late.",
            |it, lines| lines.one(it.counters.heartbeat.lost),
        );
        self.family(
            "ha_heartbeat_rejected_total",
            Counter,
            "Datagrams from the peer's side that were refused.",
            |it, lines| {
                for (reason, count) in it.counters.peer_rejections.iter() {
                    // Those of the detector, which alone knows numbers, are of the same kind.
                    let replayed =
                        if reason == "replayed" { it.counters.heartbeat.replayed } else { 0 };
                    lines.of("reason", reason, count + replayed);
                }
            },
        );
    }

    fn witness(&mut self) {
        self.family("ha_witness_up", Gauge, "Whether the witness answers.", |it, lines| {
            lines.some(it.view.witness.answering);
        });
        self.family(
            "ha_lease_remaining_seconds",
            Gauge,
            "How long the right to serve lasts unless it is renewed.",
            |it, lines| {
                lines.some(match it.view.right {
                    Right::Lease(left) => Some(left),
                    Right::None | Right::Standing => None,
                });
            },
        );
    }

    fn replication(&mut self) {
        self.family(
            "ha_replication_state",
            Gauge,
            "How far the two copies are from each other.",
            |it, lines| {
                let now = copies(it);
                for state in Copies::ALL {
                    lines.of("state", state.name(), state == now);
                }
            },
        );
        self.family(
            "ha_replication_unacked_bytes",
            Gauge,
            "Bytes sent to the peer that it has not acknowledged.",
            |it, lines| lines.one(it.view.peer.copy.in_flight as u64),
        );
        self.family(
            "ha_replication_out_of_sync_bytes",
            Gauge,
            "Bytes of the log that the secondary lacks, as the primary knows; 0 at both in sync.",
            |it, lines| lines.some(out_of_sync(it)),
        );
        self.family(
            "ha_replication_ack_seconds",
            Histogram,
            "From a record's proposal here until it was durable on each node of the set.",
            |it, lines| lines.times(&it.counters.log.acknowledged),
        );
        self.family("ha_replication_log_used_bytes", Gauge, "The size of the log.", |it, lines| {
            lines.one(it.view.log.bytes);
        });
        self.family(
            "ha_replication_resync_ratio",
            Gauge,
            "How much of what the copy under way needs it has.",
            |it, lines| {
                lines.some(it.view.copy.map(|copy| {
                    let (done, goal) = (copy.done.0, copy.goal.0);
                    if goal == 0 { 1.0 } else { ratio(done, goal) }
                }));
            },
        );
    }

    fn addresses(&mut self) {
        self.family(
            "ha_vip_assigned",
            Gauge,
            "Whether the virtual addresses are held here.",
            |it, lines| lines.some(it.vips.map(|vips| vips.assigned)),
        );
        self.family(
            "ha_vip_announcements_total",
            Counter,
            "Announcements of virtual addresses.",
            |it, lines| lines.some(it.vips.map(|vips| vips.announcements)),
        );
        self.family(
            "ha_vip_conflicts_total",
            Counter,
            "Sightings of somebody else who claims a virtual address that is held here.",
            |it, lines| lines.some(it.vips.map(|vips| vips.conflicts)),
        );
        self.family(
            "ha_vip_lost_total",
            Counter,
            "Virtual addresses that somebody else removed or changed here.",
            |it, lines| lines.some(it.vips.map(|vips| vips.lost)),
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 15 digits")]
fn ratio(part: u64, whole: u64) -> f64 {
    (part as f64 / whole as f64).min(1.0)
}

/// The roles of a mirror.
const ROLES: [Role; 5] = [Role::Stop, Role::Wait, Role::Second, Role::Prim, Role::Alone];

const fn name(role: Role) -> &'static str {
    match role {
        Role::Stop => "STOP",
        Role::Wait => "WAIT",
        Role::Second => "SECOND",
        Role::Prim => "PRIM",
        Role::Alone => "ALONE",
        Role::Up => "UP",
    }
}

/// How far the two copies are from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copies {
    /// Both are in the set: what is acknowledged is on both.
    InSync,
    /// One catches up.
    Resync,
    /// There is a stream, and nothing on it yet.
    Connected,
    /// There is no stream.
    Disconnected,
}

impl Copies {
    const ALL: [Self; 4] = [Self::InSync, Self::Resync, Self::Connected, Self::Disconnected];

    const fn name(self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Resync => "resync",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
        }
    }
}

/// Bytes that the copy which is behind lacks; `None` where this node cannot know: it is that copy, or
/// there is no stream, or nothing was acknowledged on it yet.
fn out_of_sync(it: &Sample) -> Option<u64> {
    let copies_to = it.view.copy.map(|copy| copy.to);
    match copies(it) {
        Copies::InSync => Some(0),
        Copies::Resync if copies_to == Some(it.view.peer.id) => it.view.peer.copy.lacks,
        Copies::Resync | Copies::Connected | Copies::Disconnected => None,
    }
}

fn copies(it: &Sample) -> Copies {
    let (view, set) = (&it.view, it.view.membership.set);
    if !view.peer.copy.connected {
        Copies::Disconnected
    } else if view.copy.is_some() {
        Copies::Resync
    } else if set.contains(view.me) && set.contains(view.peer.id) {
        Copies::InSync
    } else {
        Copies::Connected
    }
}
