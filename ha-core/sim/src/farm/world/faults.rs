//! Faults: they begin and end.

use super::{Event, World};
use crate::farm::fault::Fault;
use crate::farm::network::{LINKS, Network};
use crate::node::Process;
use crate::trace::Column;

impl World {
    /// A planned fault begins.
    pub(super) fn fault_begins(&mut self, index: usize) {
        if self.scene.calm_at.is_some() {
            return;
        }
        let fault = self.plan[index].fault;
        if let Some(lasts) = fault.lasts() {
            self.lasting.insert(index);
            self.at(lasts, Event::Heal { index });
        }
        self.inject(fault);
    }

    /// A fault that lasts ends by itself.
    pub(super) fn fault_ends(&mut self, index: usize) {
        if self.lasting.remove(&index) {
            self.mend(self.plan[index].fault);
        }
    }

    /// Something goes wrong now; what lasts does so until it is [mended](Self::mend).
    pub fn inject(&mut self, fault: Fault) {
        self.note(Column::World, || format!("{fault:?}"));
        match fault {
            Fault::HostKill { node, down } => {
                if self.scene.nodes[node].up {
                    self.kill_host(node);
                    let life = self.scene.nodes[node].life;
                    self.at(down, Event::Boot { node, life });
                }
            }
            Fault::DaemonKill { node, down } => {
                if self.scene.nodes[node].process != Process::Down {
                    self.kill_daemon(node);
                    let life = self.scene.nodes[node].life;
                    self.at(down, Event::Boot { node, life });
                }
            }
            Fault::HandOver { node, gap } => self.hand_over(node, gap),
            Fault::Pause { node, lasts } => self.pause(node, lasts),
            Fault::CutOneWay { .. }
            | Fault::CutPair { .. }
            | Fault::Split { .. }
            | Fault::CutLink { .. } => self.cut(fault),
            Fault::Weight { node, weight } => self.weigh(node, weight),
            Fault::Drain { node, .. } => self.drain_order(node, true),
            Fault::Gate { node, .. } => self.gate(node, true),
            Fault::Checker { node, cut, .. } => self.checker(node, true, cut),
            Fault::FilterFail { node, .. } => self.scene.nodes[node].write_fails += 1,
            Fault::Stop { node, .. } => self.stop_order(node, true),
            Fault::File { node, set, web } => self.edit(node, set, web),
            Fault::Rules { node, set, web } => {
                self.edit(node, set, web);
                self.reload(node);
            }
        }
    }

    /// Something goes wrong no more.
    pub fn mend(&mut self, fault: Fault) {
        self.note(Column::World, || format!("over: {fault:?}"));
        match fault {
            Fault::HostKill { .. }
            | Fault::DaemonKill { .. }
            | Fault::HandOver { .. }
            | Fault::Pause { .. }
            | Fault::Weight { .. }
            | Fault::File { .. }
            | Fault::Rules { .. } => {}
            Fault::CutOneWay { .. }
            | Fault::CutPair { .. }
            | Fault::Split { .. }
            | Fault::CutLink { .. } => self.each_way(fault, |network, link, from, to| {
                network.heal(link, from, to);
            }),
            Fault::Drain { node, .. } => self.drain_order(node, false),
            Fault::Gate { node, .. } => self.gate(node, false),
            Fault::Checker { node, .. } => self.checker(node, false, false),
            Fault::FilterFail { node, .. } => self.scene.nodes[node].write_fails -= 1,
            Fault::Stop { node, .. } => self.stop_order(node, false),
        }
    }

    fn cut(&mut self, fault: Fault) {
        self.each_way(fault, Network::cut);
    }

    /// Does something to each way that a cut is about.
    fn each_way(&mut self, fault: Fault, act: impl Fn(&mut Network, usize, usize, usize)) {
        let members = self.scene.nodes.len();
        for (from, to) in (0..members).flat_map(|from| (0..members).map(move |to| (from, to))) {
            let (cut, only) = match fault {
                Fault::CutOneWay { from: one, to: other, .. } => ((from, to) == (one, other), None),
                Fault::CutPair { one, other, .. } => {
                    ((from, to) == (one, other) || (to, from) == (one, other), None)
                }
                Fault::Split { group, .. } => (group >> from & 1 != group >> to & 1, None),
                Fault::CutLink { link, .. } => (true, Some(usize::from(link))),
                Fault::HostKill { .. }
                | Fault::DaemonKill { .. }
                | Fault::HandOver { .. }
                | Fault::Pause { .. }
                | Fault::Weight { .. }
                | Fault::Drain { .. }
                | Fault::Gate { .. }
                | Fault::Checker { .. }
                | Fault::FilterFail { .. }
                | Fault::Stop { .. }
                | Fault::File { .. }
                | Fault::Rules { .. } => unreachable!("{fault:?} cuts nothing"),
            };
            if cut && from != to {
                let links = (0..LINKS).filter(|link| only.is_none_or(|only| only == *link));
                links.for_each(|link| act(&mut self.scene.network, link, from, to));
            }
        }
    }

    /// The operator sees to it that all have the same rules, if that is how this history ends.
    fn roll_out(&mut self) {
        let Some(set) = self.rolls_out else { return };
        for node in 0..self.scene.nodes.len() {
            if self.scene.nodes[node].file != set {
                let web = self.scene.nodes[node].web;
                self.inject(Fault::Rules { node, set, web });
            }
        }
    }

    /// All faults stop: every daemon runs, every link carries, and nothing is lost any more.
    pub fn stop_faults(&mut self) {
        self.note(Column::World, || "faults stop".into());
        for index in std::mem::take(&mut self.lasting) {
            self.mend(self.plan[index].fault);
        }
        self.scene.network.heal_all();
        if let Some(cut) = self.stays {
            self.cut(cut);
        }
        self.scene.network.rules.clear();
        self.weather.settle();
        for node in 0..self.scene.nodes.len() {
            self.scene.nodes[node].write_fails = 0;
            match self.scene.nodes[node].process {
                Process::Running => {}
                Process::Paused => self.resume(node, self.scene.nodes[node].life),
                Process::Down => self.boot(node),
            }
        }
        self.roll_out();
        self.scene.calm_at = Some(self.scene.now);
    }
}
