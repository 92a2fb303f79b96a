//! A status as text: what stands where, within the columns, and never by colour alone.

use ha_core::control::{
    CheckerStatus, CopyStatus, DownStatus, Explained, Found, Here, LinkStatus, ModuleStatus, There,
    WitnessStatus,
};
use ha_core::proto::{DataState, Role};
use ha_node::ha::show::{Style, status};

fn here(role: Role) -> Here {
    Here {
        role,
        ready: true,
        state: DataState::Complete,
        epoch: "7.0".into(),
        application: if role.serves() { "up" } else { "down" }.into(),
        failed: false,
        right: "standing".into(),
        right_ms: None,
        bound_ms: None,
        started: true,
        failover: true,
        yielding: false,
        head: 1_200,
        durable: 1_200,
        committed: 1_200,
        applied: 1_200,
        log_bytes: 9_000,
        disk: "ok".into(),
        resources_down: vec![],
        uptime_ms: 900_000,
    }
}

fn there(role: Role) -> There {
    There {
        up: true,
        age_ms: 40,
        role,
        ready: role.serves(),
        state: DataState::Target,
        epoch: "7.1".into(),
        durable: 620,
        able: false,
        broken: false,
        waits: false,
        resources_down: vec![],
    }
}

fn link(name: &str, up: bool, since_ms: u64) -> LinkStatus {
    let name = name.into();
    let (since_ms, round_trip_us) = (Some(since_ms), up.then_some(312));
    LinkStatus { name, up, since_ms, round_trip_us, longest_gap_ms: Some(104), timeout_ms: 1_000 }
}

fn text(text: &str) -> String {
    text.into()
}

/// A primary whose secondary fell behind when a network was lost.
fn shop() -> ModuleStatus {
    ModuleStatus {
        module: text("shop"),
        id: 1,
        node: text("node1"),
        peer: text("node2"),
        service: text("postgresql"),
        verdict: text("UNPROTECTED"),
        verdict_for_ms: 840_000,
        takeover_ms: 4_000,
        blockers: vec![Found {
            kind: text("not_in_sync"),
            since_ms: Some(840_000),
            why: text("node2 copies: 62 % of 1000 records"),
            if_dies: text("no takeover (node2 is not up to date); the service stops"),
            next: text("wait: protection returns by itself"),
        }],
        notes: vec![Found {
            kind: text("network"),
            since_ms: Some(840_000),
            why: text("repl is down between node1 and node2"),
            if_dies: text("node2 takes over, unless something else is in the way"),
            next: text("cable or switch of repl; it comes back by itself"),
        }],
        down: None,
        explain: Explained {
            now: text("node1 serves"),
            this_dies: text("no takeover"),
            peer_dies: text("nothing"),
            networks: vec![],
            witness_dies: None,
            swap: text("refused"),
        },
        vote: text("arbiter"),
        here: here(Role::Alone),
        there: Some(there(Role::Second)),
        set: vec![text("node1")],
        links: vec![link("prod", true, 900_000), link("repl", false, 840_000)],
        witness: Some(WitnessStatus {
            answers: true,
            round_trip_us: Some(1_240),
            lease_ms: Some(2_900),
            held_ms: None,
            set: vec![text("node1")],
        }),
        copy: Some(CopyStatus {
            to: text("node2"),
            done: 620,
            goal: 1_000,
            rate: Some(2),
            left_ms: Some(240_000),
        }),
        checkers: vec![
            CheckerStatus { name: text("tcp"), up: Some(true), since_ms: Some(1) },
            CheckerStatus { name: text("disk"), up: Some(false), since_ms: Some(180_000) },
        ],
        maintenance_ms: None,
        checkers_act: true,
        restarts_left: Some(3),
        config_differs: false,
        swap_refused: None,
    }
}

const PLAIN: Style = Style { colour: false, columns: 80 };

const SHOP: &str = "\
shop                                                     UNPROTECTED  for 14 min
  here    node1 * ALONE  ready  postgresql   up to date
  there   node2   SECOND …      62 % · 2 records/s · 4 min left
  links   prod 312 us   repl DOWN 14 min   witness 1.2 ms
  checks  tcp up   disk DOWN 3 min
  why     node2 copies: 62 % of 1000 records (for 14 min)
  if node1 dies now: no takeover (node2 is not up to date); the service stops
  next    wait: protection returns by itself
  note    repl is down between node1 and node2: cable or switch of repl; it
          comes back by itself
";

#[test]
fn what_is_wrong_comes_first_and_what_to_do_last() {
    assert_eq!(status(&shop(), PLAIN), SHOP);
}

#[test]
fn colours_say_nothing_that_words_do_not() {
    let coloured = status(&shop(), Style { colour: true, columns: 80 });
    assert!(coloured.contains("\x1b[1;33mUNPROTECTED\x1b[0m"));
    let bare = coloured.replace("\x1b[1;33m", "").replace("\x1b[0m", "");
    assert_eq!(bare, SHOP);
}

#[test]
fn every_line_fits_however_narrow_and_wide() {
    for columns in [60, 80, 132] {
        let shown = status(&shop(), Style { colour: false, columns });
        let longest = shown.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(columns), "{columns}: {shown}");
    }
}

#[test]
fn what_is_old_stands_in_parentheses_with_its_age() {
    let mut old = shop();
    let there = old.there.as_mut().unwrap();
    (there.up, there.age_ms) = (false, 60_000);
    old.copy = None;
    let shown = status(&old, PLAIN);
    assert!(
        shown.contains("\n  there   node2   (SECOND …      incomplete, 60 s ago)\n"),
        "{shown}"
    );
}

#[test]
fn two_nodes_that_wait_show_both_last_writes_and_ask_which_to_keep() {
    let mut waits = shop();
    (waits.verdict, waits.blockers, waits.notes) = (text("DOWN"), vec![], vec![]);
    (waits.copy, waits.checkers) = (None, vec![]);
    waits.here = Here { ready: false, ..here(Role::Wait) };
    waits.there = Some(There { state: DataState::Complete, ..there(Role::Wait) });
    waits.set = vec![text("node1"), text("node2")];
    waits.down = Some(DownStatus {
        why: text("node1 and node2 hold data without a common history"),
        mover: text("operator"),
        next: text("choose whose to keep: `ha prim --keep NODE`; the other's are set aside"),
        within_ms: None,
    });
    let shown = "\
shop                                                            DOWN  for 14 min
  here    node1   WAIT   …                   up to date
  there   node2   WAIT   …      up to date
  links   prod 312 us   repl DOWN 14 min   witness 1.2 ms
  why     node1 and node2 hold data without a common history
  move    yours
  next    choose whose to keep: `ha prim --keep NODE`; the other's are set aside
  keep?   node1: record 1200 of epoch 7.0; node2: record 620 of epoch 7.1. The
          other side's are set aside
";
    assert_eq!(status(&waits, PLAIN), shown);
}
