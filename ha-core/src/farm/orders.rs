//! Orders about this node.

use ha_farm::Rule;

use crate::farm::config::check_weights;
use crate::farm::{App, ConfigError, Effect, Farm, Order, OrderError, Policy};

impl Farm {
    pub(super) fn obey(&mut self, order: Order) -> Result<(), OrderError> {
        match order {
            Order::Weight { service, weight } => self.weigh(service, weight),
            Order::Drain(drain) => {
                self.asked.drain = drain;
                Ok(())
            }
            Order::Gate(open) => {
                self.asked.gate = open;
                Ok(())
            }
            Order::Rules { rules, weights } => {
                Rule::check(&rules)?;
                check_weights(&weights, rules.len())?;
                self.offer_rules(rules, weights);
                Ok(())
            }
            Order::Checker { ok, cut } => {
                // Who is cut comes back at once: then the others must have its bucket already.
                self.cuts = !ok && (self.cuts || cut && self.asked.checked);
                self.asked.checked = ok;
                Ok(())
            }
            Order::Stop { force } => {
                if !self.asked.stopped {
                    self.asked.stopped = true;
                    // It says that it takes nothing before its application is gone.
                    self.tell(self.now);
                    self.app = App::Down;
                    self.effect(Effect::Stop { force });
                } else if force {
                    self.effect(Effect::Stop { force });
                }
                Ok(())
            }
            Order::Start => {
                self.asked.stopped = false;
                if self.app == App::Down {
                    let start = self.effect(Effect::Start);
                    self.app = App::Starting(start);
                }
                Ok(())
            }
        }
    }

    fn weigh(&mut self, service: Option<u16>, weight: u16) -> Result<(), OrderError> {
        if weight > Policy::WEIGHT_MAX {
            return Err(ConfigError::Weight(weight).into());
        }
        let Some(service) = service else {
            self.rulings_mut().for_each(|ruling| ruling.weights.fill(weight));
            return Ok(());
        };
        let rule = self.rules.rules.get(usize::from(service)).cloned();
        let rule = rule.ok_or(OrderError::NoService(service))?;
        for ruling in self.rulings_mut() {
            // Rules that wait may have it in another place, or no more.
            if let Some(at) = ruling.rules.iter().position(|known| *known == rule) {
                ruling.weights[at] = weight;
            }
        }
        Ok(())
    }
}
