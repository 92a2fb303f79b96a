//! Rules of nftables, and what they decide by, in somebody else's hands.

use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ha_core::driver::Clock;
use ha_core::ha_farm::Mode;
use ha_core::linux::plane::Guard;
use ha_core::proto::Instant;
use ha_lab::Host;

use crate::nft::{Rig, small};

const MODES: [Mode; 2] = [Mode::Invisible, Mode::Directed];
/// More than there are: all of its own.
const ALL: usize = usize::MAX;

/// `systemctl reload nftables` begins with it; there may be no next lease for long.
#[test]
fn rules_that_are_flushed_while_a_member_stands_by_are_put_back() {
    for mode in MODES {
        let Some(mut stage) = Stage::start("flushed_standing_by", mode) else { return };
        stage.shut();
        stage.nft("flush ruleset");
        assert_eq!(stage.tables(), [""; 0]);
        stage.look();
        assert!(stage.rig.decides_by(&small(mode, ALL), false), "{mode:?}: its kernel answers all");
        stage.check_calm();
    }
}

#[test]
fn rules_that_are_flushed_while_a_member_takes_are_put_back_with_its_lease() {
    for mode in MODES {
        let Some(mut stage) = Stage::start("flushed_taking", mode) else { return };
        stage.nft("flush ruleset");
        stage.look();
        assert!(stage.rig.decides_by(&small(mode, ALL), true), "{mode:?}");
        stage.shut();
        assert!(stage.rig.decides_by(&small(mode, ALL), false), "{mode:?}: it was written again");
    }
}

#[test]
fn a_chain_or_a_rule_that_is_taken_away_is_put_back() {
    for mode in MODES {
        let Some(mut stage) = Stage::start("a_chain", mode) else { return };
        let table = stage.tables().remove(0);
        let entry = format!("netdev {table} entry");
        stage.nft(&format!("flush chain {entry}; delete chain {entry}"));
        stage.look();
        assert!(stage.rig.decides_by(&small(mode, ALL), true), "{mode:?}");
        let table = stage.tables().remove(0);
        stage.nft(&format!("flush chain netdev {table} vips_0_4"));
        stage.look();
        assert!(stage.rig.decides_by(&small(mode, ALL), true), "{mode:?}");
        let table = stage.tables().remove(0);
        stage.nft(&format!("insert rule netdev {table} entry accept"));
        stage.look();
        assert!(stage.rig.decides_by(&small(mode, ALL), true), "{mode:?}");
        let table = stage.tables().remove(0);
        stage.nft(&format!("add table netdev {table} {{ flags dormant; }}"));
        stage.look();
        assert!(stage.rig.decides_by(&small(mode, ALL), true), "{mode:?}");
        stage.check_calm();
    }
}

/// A process that goes on has written nothing of it, and its next view may be days away.
#[test]
fn what_somebody_changes_after_a_hand_over_is_put_back() {
    for mode in MODES {
        let damages: [fn(&Stage); 4] = [
            |stage| stage.nft("flush ruleset"),
            |stage| {
                let table = &stage.tables()[0];
                stage.nft(&format!("flush chain netdev {table} vips_0_4"));
            },
            |stage| {
                let table = &stage.tables()[0];
                stage.nft(&format!("flush set netdev {table} mine_0_0"));
            },
            // At any time, so before the new process has looked at all.
            |stage| {
                let table = &stage.tables()[0];
                stage.nft(&format!("insert rule netdev {table} entry accept"));
            },
        ];
        for (which, damage) in damages.into_iter().enumerate() {
            let Some(mut stage) = Stage::start("after_a_hand_over", mode) else { return };
            stage.hand_over();
            if which != 3 {
                let listed = without_lease(&stage.listed());
                stage.look();
                assert!(without_lease(&stage.listed()) == listed, "{mode:?}: all was well");
            }
            damage(&stage);
            stage.look();
            assert!(stage.rig.decides_by(&small(mode, ALL), true), "{mode:?}, {which}");
            stage.check_calm();
        }
    }
}

#[test]
fn an_interface_that_is_made_anew_after_a_hand_over_is_filtered() {
    let Some(mut stage) = Stage::start("anew_after_a_hand_over", Mode::Invisible) else { return };
    stage.hand_over();
    let plane = &mut stage.rig.plane;
    stage.rig.host.inside(|| plane.moved()).unwrap().unwrap();
    assert!(stage.rig.decides_by(&small(stage.mode, ALL), true));
    stage.check_calm();
}

/// The first look is after what was done to it.
#[test]
fn a_chain_that_is_taken_away_before_the_first_look_is_put_back() {
    for mode in MODES {
        let Some(mut rig) = Rig::start("before_the_first_look") else { return };
        rig.install(&small(mode, ALL));
        rig.plane.lease(later()).unwrap();
        let mut stage = Stage { guard: rig.plane.guard().unwrap(), rig, mode };
        let table = stage.tables().remove(0);
        stage.nft(&format!("flush chain netdev {table} vips_0_4"));
        stage.look();
        assert!(stage.rig.decides_by(&small(mode, ALL), true), "{mode:?}");
        stage.check_calm();
    }
}

#[test]
fn an_old_list_of_rules_that_is_put_back_while_a_member_takes_does_not_stay() {
    for mode in MODES {
        for flush in ["flush ruleset\n", ""] {
            let Some(mut stage) = Stage::start("an_old_list", mode) else { return };
            let (old, now) = (small(mode, ALL), small(mode, 60));
            stage.rig.install(&old);
            stage.look();
            let list = stage.loadable();
            stage.rig.install(&now);
            assert!(stage.rig.decides_by(&now, true), "{mode:?}");
            stage.nft(&format!("{flush}{list}"));
            assert_ne!(
                flush.is_empty(),
                stage.leads() == 1,
                "{mode:?}: it is added, or in its place"
            );
            stage.look();
            assert_eq!(stage.leads(), 1, "{mode:?} {flush:?}");
            assert!(stage.rig.decides_by(&now, true), "{mode:?} {flush:?}");
            stage.check_calm();
        }
    }
}

/// It is of before the table was made anew: it filters, and takes nothing.
#[test]
fn an_old_table_that_is_put_back_is_taken_away() {
    for mode in MODES {
        let Some(mut stage) = Stage::start("an_old_table", mode) else { return };
        let list = stage.loadable();
        stage.nft("flush ruleset");
        stage.look();
        let tables = stage.tables();
        stage.nft(&list);
        assert_eq!(stage.tables().len(), 2, "{mode:?}");
        stage.look();
        assert_eq!(stage.tables(), tables, "{mode:?}");
        assert!(stage.rig.decides_by(&small(mode, ALL), true), "{mode:?}");
        stage.check_calm();
    }
}

#[test]
fn sets_that_somebody_empties_are_written_as_a_whole() {
    for mode in MODES {
        let Some(mut stage) = Stage::start("sets_emptied", mode) else { return };
        let table = stage.tables().remove(0);
        let empty = format!("flush set netdev {table} mine_0_0");
        stage.nft(&empty);
        stage.look();
        assert!(stage.rig.decides_by(&small(mode, ALL), true), "{mode:?}: seen by the guard");
        // And where the node's own write comes first, of which the difference is little.
        stage.nft(&empty);
        stage.rig.install(&small(mode, 100));
        assert!(stage.rig.decides_by(&small(mode, 100), true), "{mode:?}: seen by the write");
        assert_eq!(stage.tables(), [table], "{mode:?}: no rules were made for that");
        stage.check_calm();
    }
}

/// F5: a lease is this node's alone.
#[test]
fn a_lease_that_somebody_writes_does_not_open_a_filter_that_is_shut() {
    let mode = Mode::Invisible;
    let Some(mut stage) = Stage::start("a_lease_written", mode) else { return };
    stage.shut();
    stage.look();
    let table = stage.tables().remove(0);
    stage.nft(&format!("add element netdev {table} lease {{ 0-0x7fffffffffffffff }}"));
    assert!(stage.rig.decides_by(&small(mode, ALL), true), "it is open");
    stage.look();
    assert!(stage.rig.decides_by(&small(mode, ALL), false), "it is shut");
    stage.check_calm();
}

/// Another farm's leases on this machine are some, ten times a second.
#[test]
fn what_others_write_for_themselves_costs_a_look_and_nothing_else() {
    for mode in MODES {
        let Some(mut stage) = Stage::start("for_themselves", mode) else { return };
        let tables = stage.tables();
        let list = stage.listed();
        for _ in 0..3 {
            stage.nft("add table inet others; delete table inet others");
            stage.look();
            // Nothing of ours was written anew, and the node's writes go on.
            stage.rig.plane.lease(later()).unwrap();
        }
        assert_eq!(stage.tables(), tables, "{mode:?}");
        assert!(without_lease(&stage.listed()) == without_lease(&list), "{mode:?}");
        assert!(stage.rig.decides_by(&small(mode, ALL), true), "{mode:?}");
    }
}

/// The node writes while the guard looks, and others write, too.
#[test]
fn a_guard_takes_none_of_our_own_writes_for_somebody_elses() {
    for mode in MODES {
        for others in [false, true] {
            let Some(mut stage) = Stage::start("our_own_writes", mode) else { return };
            let tables = stage.tables();
            let over = AtomicBool::new(false);
            let Stage { rig, guard, .. } = &mut stage;
            let host = rig.host.clone();
            std::thread::scope(|scope| {
                let looks = scope.spawn(|| {
                    let mut looks = 0;
                    while !over.load(Ordering::Relaxed) {
                        host.inside(|| guard.look()).unwrap().unwrap();
                        looks += 1;
                    }
                    looks
                });
                for below in 0..200 {
                    rig.install(&small(mode, below));
                    rig.plane.lease(later()).unwrap();
                    if others && below % 10 == 0 {
                        run(&rig.host, "add table inet others; delete table inet others");
                    }
                }
                over.store(true, Ordering::Relaxed);
                assert!(looks.join().unwrap() > 0);
            });
            assert_eq!(stage.tables(), tables, "{mode:?}: it was made anew");
            assert!(stage.rig.decides_by(&small(mode, 199), true), "{mode:?}");
        }
    }
}

#[test]
#[ignore = "a measurement: run it with --nocapture"]
fn what_a_look_costs() {
    let Some(mut rig) = Rig::start("a_look_costs") else { return };
    let mut guard = rig.plane.guard().unwrap();
    for mode in MODES {
        for filter in [small(mode, ALL), crate::nft::largest(mode, ALL)] {
            rig.install(&filter);
            rig.plane.lease(later()).unwrap();
            for (what, nft) in [
                ("the first", ""),
                ("nobody wrote", ""),
                ("somebody wrote", "add table inet others"),
                ("somebody took it away", "flush ruleset"),
            ] {
                run(&rig.host, nft);
                let began = ha_lab::now();
                rig.host.inside(|| guard.look()).unwrap().unwrap();
                let took = ha_lab::now().saturating_since(began);
                let services = filter.setup().rules.len();
                println!("{mode:?}, {services} services: {what}: {took:?}");
            }
        }
    }
}

/// A filter that takes all of its own, and was looked at.
struct Stage {
    rig: Rig,
    guard: Box<dyn Guard + Send>,
    mode: Mode,
}

impl Stage {
    fn start(test: &str, mode: Mode) -> Option<Self> {
        let mut rig = Rig::start(test)?;
        rig.install(&small(mode, ALL));
        rig.plane.lease(later()).unwrap();
        let guard = rig.plane.guard().expect("somebody looks after the rules");
        let mut stage = Self { rig, guard, mode };
        stage.look();
        assert!(stage.rig.decides_by(&small(mode, ALL), true), "{mode:?}");
        Some(stage)
    }

    /// Another process goes on with it.
    fn hand_over(&mut self) {
        self.rig.adopt();
        self.rig.plane.resume(&small(self.mode, ALL), later());
        self.guard = self.rig.plane.guard().expect("somebody looks after the rules");
    }

    fn shut(&mut self) {
        self.rig.plane.lease(Instant::ZERO).unwrap();
    }

    fn look(&mut self) {
        let guard = &mut self.guard;
        self.rig.host.inside(|| guard.look()).unwrap().unwrap();
    }

    fn nft(&self, text: &str) {
        run(&self.rig.host, text);
    }

    fn tables(&self) -> Vec<String> {
        let mut nft = self.rig.host.command("nft");
        let listed = nft.args(["list", "tables", "netdev"]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        listed.lines().map(|line| line.replace("table netdev ", "")).collect()
    }

    fn listed(&self) -> String {
        let listed = self.rig.host.command("nft").args(["list", "ruleset"]).output().unwrap();
        String::from_utf8(listed.stdout).unwrap()
    }

    /// How many rules lead to those of the addresses.
    fn leads(&self) -> usize {
        self.listed().matches("goto vips_").count()
    }

    /// What is listed, without a lease, which would be over by the time that somebody loads it.
    fn loadable(&self) -> String {
        without_lease(&self.listed())
    }

    /// Another look finds nothing to do, and writes go on as differences.
    fn check_calm(&mut self) {
        let listed = without_lease(&self.listed());
        self.look();
        self.look();
        assert!(without_lease(&self.listed()) == listed, "{:?}: made anew for ever", self.mode);
        self.rig.install(&small(self.mode, 10));
        self.shut();
        assert!(self.rig.decides_by(&small(self.mode, 10), false), "{:?}", self.mode);
    }
}

fn later() -> Instant {
    Clock::of_the_machine().now() + Duration::from_mins(9)
}

fn run(host: &Host, text: &str) {
    let mut nft = host.command("nft");
    nft.args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = nft.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{text}");
}

/// A list of rules without what a lease's set holds.
fn without_lease(list: &str) -> String {
    let lines = list.lines().filter(|line| !line.contains("expires"));
    lines.collect::<Vec<_>>().join("\n")
}
