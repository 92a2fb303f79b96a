//! What the operator, the application's scripts and the checkers tell members.

use ha_core::farm::Order;

use super::World;
use crate::farm::services::{self, SERVICES, UDP, WEB};
use crate::trace::Column;

impl World {
    /// A member's weight changes, in all services.
    pub fn weigh(&mut self, node: usize, weight: u16) {
        self.scene.nodes[node].weights.fill(weight);
        self.order(node, Order::Weight { service: None, weight });
    }

    /// A member's file says another set of services from now on, with this weight in the one that
    /// comes and goes.
    pub fn edit(&mut self, node: usize, set: usize, web: u16) {
        let here = &mut self.scene.nodes[node];
        (here.file, here.web) = (set, web);
    }

    /// A daemon reads its member's file. Its weights but for one are those that an operator gave it
    /// last; who is to have no clients is to have none of that service either.
    pub(super) fn read_file(&mut self, node: usize) {
        let here = &mut self.scene.nodes[node];
        here.told = here.file;
        let brings = self.scene.sets[here.file].contains(&WEB);
        if brings && here.weights[UDP] > 0 {
            here.weights[WEB] = here.web;
        }
    }

    /// A member is told to read its file again.
    pub fn reload(&mut self, node: usize) {
        self.read_file(node);
        let here = &self.scene.nodes[node];
        let set = &self.scene.sets[here.file];
        let rules = set.iter().copied().map(services::rule).collect();
        let weights = set.iter().map(|service| here.weights[*service]).collect();
        self.order(node, Order::Rules { rules, weights });
    }

    /// A member is to drain, or to take part again.
    pub fn drain_order(&mut self, node: usize, yes: bool) {
        self.count(node, 0, yes);
        self.order(node, Order::Drain(self.scene.nodes[node].drained[0] > 0));
    }

    /// A member's gate is closed, or opened again.
    pub fn gate(&mut self, node: usize, closed: bool) {
        self.count(node, 1, closed);
        self.order(node, Order::Gate(self.scene.nodes[node].drained[1] == 0));
    }

    /// A checker of a member fails, or does not any more.
    pub fn checker(&mut self, node: usize, fails: bool, cut: bool) {
        self.count(node, 2, fails);
        if cut {
            self.scene.nodes[node].hurt_at = self.scene.now;
        }
        let ok = self.scene.nodes[node].drained[2] == 0;
        self.order(node, Order::Checker { ok, cut });
    }

    /// A member is stopped, or started again.
    pub fn stop_order(&mut self, node: usize, stop: bool) {
        let stopped = &mut self.scene.nodes[node].stopped;
        *stopped = if stop { *stopped + 1 } else { stopped.saturating_sub(1) };
        let stops = *stopped > 0;
        self.scene.nodes[node].hurt_at = self.scene.now;
        self.order(node, if stops { Order::Stop { force: false } } else { Order::Start });
    }

    fn count(&mut self, node: usize, reason: usize, more: bool) {
        let count = &mut self.scene.nodes[node].drained[reason];
        *count = if more { *count + 1 } else { count.saturating_sub(1) };
    }

    /// A daemon that begins is told again what holds for it, as a checker and an operator would.
    pub(super) fn repeat_orders(&mut self, node: usize) {
        let here = &self.scene.nodes[node];
        let (weights, drained, stopped) = (here.weights, here.drained, here.stopped);
        let weight = weights[UDP];
        if weights == [weight; SERVICES] {
            self.obey(node, &Order::Weight { service: None, weight });
        }
        self.obey(node, &Order::Drain(drained[0] > 0));
        self.obey(node, &Order::Gate(drained[1] == 0));
        self.obey(node, &Order::Checker { ok: drained[2] == 0, cut: false });
        if stopped > 0 {
            self.obey(node, &Order::Stop { force: false });
        }
    }

    /// Tells a member something; one whose driver is busy or that stands still hears it when it
    /// goes on.
    fn order(&mut self, node: usize, order: Order) {
        self.scene.changed_at[node] = self.scene.now;
        let here = &mut self.scene.nodes[node];
        if here.farm.is_none() {
            return;
        }
        if !here.runs() || here.busy.is_some() {
            return here.orders.push_back(order);
        }
        self.obey(node, &order);
        self.drain(node);
    }

    /// What was said to a busy or a paused daemon reaches it.
    pub(super) fn hear_orders(&mut self, node: usize) {
        while let Some(order) = self.scene.nodes[node].orders.pop_front() {
            self.obey(node, &order);
        }
    }

    fn obey(&mut self, node: usize, order: &Order) {
        self.observe_gap(node);
        let here = &mut self.scene.nodes[node];
        let local = here.clock.local(self.scene.now);
        let farm = here.farm.as_mut().expect("a daemon that is there has its machine");
        here.acted = local;
        let answer = farm.order(local, order.clone());
        if let Err(error) = answer {
            self.note(Column::Member(node), || format!("refuses {order:?}: {error}"));
        }
    }
}
