//! What happens to the pair, and in which order.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ha_node::relay::Passing;

use crate::check::{Verdict, verify};
use crate::control::Ask;
use crate::feed::{Feed, Lines};
use crate::member::{Member, Unmet};
use crate::plan::{Plan, random};
use crate::table::{Row, Table};
use crate::view::{Board, View};
use crate::{Profile, Show, Vote};

/// The pair, its clients, and what happened so far.
struct World {
    show: Show,
    plan: Plan,
    board: Arc<Board>,
    nodes: [Member; 2],
    arbiter: Option<Member>,
    feed: Feed,
    began: Instant,
    table: Table,
}

/// Tells the audience a line. One that left does not end the show: what it wrote is cleared up.
macro_rules! tell {
    ($($words:tt)*) => {{ let _ = writeln!(io::stdout(), $($words)*); }};
}

/// Tells the audience the beginning of a line.
macro_rules! tell_part {
    ($($words:tt)*) => {{ let _ = write!(io::stdout(), $($words)*); }};
}

/// Between two orders of the same.
const AGAIN: Duration = Duration::from_millis(20);
/// The names of the nodes, by their place.
const NAMES: [&str; 2] = ["A", "B"];

/// Runs the whole demonstration and prints what came of it.
///
/// # Errors
/// When something could not be done, or the pair did not do what it should; where its files are.
pub(crate) fn run(show: &Show) -> Result<ExitCode, Box<dyn Error>> {
    // Before anything is written: a wrong name leaves nothing behind.
    let lines = Lines::read(show.file.as_deref())?;
    let folder = std::env::temp_dir().join(format!("mirror-{:016x}", random()));
    std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    tell!("everything is written below {}", folder.display());
    match play(show, lines, &folder) {
        Ok(verdict) if verdict.is_good() => {
            // Acknowledged lines set aside are somebody's work: they stay where we said they are.
            if !show.keep && verdict.aside == 0 {
                std::fs::remove_dir_all(&folder)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Ok(_) => Ok(ExitCode::FAILURE),
        Err(error) => Err(format!("{error}\nsee the logs in {}", folder.display()).into()),
    }
}

fn play(show: &Show, lines: Lines, folder: &std::path::Path) -> Result<Verdict, Box<dyn Error>> {
    let mut world = World::start(show, lines, folder)?;
    let told = world.tell();
    tell!("\n{}", world.table);
    told?;
    let verdict = world.finish()?;
    print_verdict(&verdict);
    Ok(verdict)
}

impl World {
    fn start(show: &Show, lines: Lines, folder: &std::path::Path) -> Result<Self, Box<dyn Error>> {
        let plan = Plan::new(show, folder.to_owned())?;
        let board = Arc::new(Board::default());
        let mut arbiter = plan.arbiter.map(|address| {
            let words = ["__arbiter", "--listen", &address.to_string(), "--folder"];
            let mut arguments: Vec<String> = words.map(String::from).into();
            arguments.push(folder.join("arbiter").display().to_string());
            arguments.extend(["--key-file".into(), folder.join("key").display().to_string()]);
            Member::new("arbiter", None, arguments, folder, &board)
        });
        let mut nodes = [0, 1].map(|at| {
            let config = plan.configs[at].display().to_string();
            let words = ["__node", "--config", &config, "--vip", &plan.vip.to_string()];
            let mut arguments: Vec<String> = words.map(String::from).into();
            if show.vote == Vote::None {
                arguments.push("--share-vip".into());
            }
            Member::new(["node a", "node b"][at], Some(at), arguments, folder, &board)
        });
        if let Some(arbiter) = &mut arbiter {
            arbiter.start()?;
        }
        for node in &mut nodes {
            node.start()?;
        }
        let witness = if arbiter.is_some() { " and an arbiter" } else { ", no witness" };
        tell!("two nodes{witness}, {} timings, the ledger at {}", show.profile, plan.vip);
        tell!("{} clients write {} lines, over and over", show.clients, lines.len());
        wait(&board, limit(show.profile), "A to be PRIM and B to be SECOND", |views| {
            views[0].is("PRIM") && views[1].is("SECOND")
        })?;
        let feed = Feed::start(plan.vip, show.clients, lines);
        let (show, table) = (show.clone(), Table::default());
        Ok(Self { show, plan, board, nodes, arbiter, feed, began: Instant::now(), table })
    }

    /// All events, in order.
    fn tell(&mut self) -> Result<(), Box<dyn Error>> {
        self.event("the pair is whole", |_| Ok(()), |views| whole(views, 0))?;
        self.fault("primary A killed (SIGKILL)", |world| world.kill(0), |views| alone(views, 1))?;
        self.event(
            "A restarted and reintegrated",
            |world| world.revive(0),
            |views| whole(views, 1),
        )?;
        self.event("swapped back", |world| world.swap(1), |views| whole(views, 0))?;
        match self.show.vote {
            Vote::Arbiter => {
                self.cut_with_arbiter()?;
                self.lose_arbiter()?;
            }
            Vote::None => self.cut_without_witness()?,
        }
        self.stale_first()
    }

    fn cut_with_arbiter(&mut self) -> Result<(), Box<dyn Error>> {
        let cut = |world: &mut Self| {
            world.plan.between(Passing::NOTHING);
            Ok(())
        };
        let stops = self.board.now()[0].stops;
        self.fault("link A-B cut, both reach the arbiter", cut, |views| alone(views, 0))?;
        let heal = |world: &mut Self| {
            world.plan.between(Passing::ALL);
            Ok(())
        };
        self.event("link A-B healed", heal, |views| whole(views, 0))?;
        if self.board.now()[0].stops != stops {
            return Err("A stopped serving although it reached the arbiter".into());
        }
        let cut_off = |world: &mut Self| {
            world.plan.between(Passing::NOTHING);
            world.plan.witness(0, Passing::NOTHING);
            Ok(())
        };
        self.fault("A cut off from B and the arbiter", cut_off, |views| {
            alone(views, 1) && !views[0].serves()
        })?;
        let heal = |world: &mut Self| {
            world.plan.between(Passing::ALL);
            world.plan.witness(0, Passing::ALL);
            Ok(())
        };
        self.event("A's links healed", heal, |views| whole(views, 1))?;
        self.event("swapped back", |world| world.swap(1), |views| whole(views, 0))
    }

    fn lose_arbiter(&mut self) -> Result<(), Box<dyn Error>> {
        self.fault(
            "arbiter killed",
            |world| Ok(world.arbiter().kill()?),
            |views| whole(views, 0) && views.iter().all(|view| !view.witness),
        )?;
        self.event(
            "arbiter restarted",
            |world| Ok(world.arbiter().start()?),
            |views| whole(views, 0) && views.iter().all(|view| view.witness),
        )
    }

    fn cut_without_witness(&mut self) -> Result<(), Box<dyn Error>> {
        let cut = |world: &mut Self| {
            world.plan.between(Passing::NOTHING);
            Ok(())
        };
        self.fault("link A-B cut: two primaries", cut, |views| alone(views, 0) && alone(views, 1))?;
        let some = |_: &mut Self| {
            std::thread::sleep(Duration::from_secs(1));
            Ok(())
        };
        self.event("both write alone", some, |views| alone(views, 0) && alone(views, 1))?;
        let heal = |world: &mut Self| {
            world.plan.between(Passing::ALL);
            Ok(())
        };
        self.event("link healed: A goes on, B follows", heal, |views| whole(views, 0))
    }

    /// A node with old data must not serve although nobody else does.
    fn stale_first(&mut self) -> Result<(), Box<dyn Error>> {
        self.fault("secondary B killed", |world| world.kill(1), |views| alone(views, 0))?;
        let some = |_: &mut Self| {
            std::thread::sleep(Duration::from_secs(1));
            Ok(())
        };
        self.event("A writes alone", some, |views| alone(views, 0))?;
        let stale = |world: &mut Self| {
            world.kill(0)?;
            world.revive(1)?;
            let served =
                world.board.wait(patience(world.show.profile), |views| views[1].serves(), |_| {});
            match served {
                None => Ok(()),
                Some(_) => Err("B has old data, and served them".into()),
            }
        };
        self.event_without_service("A killed; B, with old data, started", stale)?;
        self.event("A started, B follows", |world| world.revive(0), |views| whole(views, 0))
    }

    /// An event that takes something away, from a pair that is whole at that time with A as its
    /// primary: on a busy machine B may have been late since, and out for a moment, and alone it
    /// could rightly not go on.
    fn fault(
        &mut self,
        what: &str,
        act: impl FnOnce(&mut Self) -> Result<(), Box<dyn Error>>,
        until: impl Fn(&[View; 2]) -> bool,
    ) -> Result<(), Box<dyn Error>> {
        wait(&self.board, limit(self.show.profile), "A and B to be whole again", |views| {
            whole(views, 0)
        })?;
        // What a client waited for so far is no matter of the fault.
        self.table.waited(self.feed.worst());
        self.event(what, act, until)
    }

    /// Does something, waits until the pair is as it should be and all clients go on, and notes
    /// what they saw.
    fn event(
        &mut self,
        what: &str,
        act: impl FnOnce(&mut Self) -> Result<(), Box<dyn Error>>,
        until: impl Fn(&[View; 2]) -> bool,
    ) -> Result<(), Box<dyn Error>> {
        tell_part!("{what} … ");
        let _ = io::stdout().flush();
        let (started, lines) = (Instant::now(), self.feed.lines());
        // What was copied before is no progress of this.
        for node in [0, 1] {
            self.board.change(node, |view| view.progress = None);
        }
        act(self)?;
        let limit = limit(self.show.profile);
        let views = wait(&self.board, limit, what, until)?;
        let settled = started.elapsed();
        self.feed.all_go_on(limit)?;
        let worst = self.feed.worst();
        self.note(what, &views, (started, settled), lines, Some(worst));
        Ok(())
    }

    /// Does something during which nobody is served: what the clients see of it comes to its end in
    /// the next event.
    fn event_without_service(
        &mut self,
        what: &str,
        act: impl FnOnce(&mut Self) -> Result<(), Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        tell_part!("{what} … ");
        let _ = io::stdout().flush();
        let (started, lines) = (Instant::now(), self.feed.lines());
        act(self)?;
        let settled = started.elapsed();
        let views = self.board.now();
        self.note(what, &views, (started, settled), lines, None);
        Ok(())
    }

    fn note(
        &mut self,
        what: &str,
        views: &[View; 2],
        (started, settled): (Instant, Duration),
        lines_before: u64,
        worst: Option<Duration>,
    ) {
        let role = |view: &View| if view.up { view.role.clone() } else { "down".into() };
        let roles = views.each_ref().map(role);
        tell!("A {}, B {}, after {:.2} s", roles[0], roles[1], settled.as_secs_f64());
        self.table.0.push(Row {
            at: started.duration_since(self.began),
            what: what.into(),
            settled,
            worst,
            lines: self.feed.lines() - lines_before,
            roles,
        });
    }

    fn kill(&mut self, node: usize) -> Result<(), Box<dyn Error>> {
        Ok(self.nodes[node].kill()?)
    }

    fn revive(&mut self, node: usize) -> Result<(), Box<dyn Error>> {
        Ok(self.nodes[node].start()?)
    }

    /// Orders the swap, again and again until the pair is as it should be: after a fault it may be
    /// refused for a while, and the node may give it up when another one comes between.
    fn swap(&mut self, from: usize) -> Result<(), Box<dyn Error>> {
        let end = Instant::now() + limit(self.show.profile);
        let mut accepted = false;
        loop {
            // What a client waited for so far is no matter of the swap.
            self.table.waited(self.feed.worst());
            let why = match self.nodes[from].ask(&Ask::Swap) {
                Ok(()) => {
                    accepted = true;
                    let swapped = |views: &[View; 2]| whole(views, 1 - from);
                    if self.board.wait(patience(self.show.profile), swapped, |_| {}).is_some() {
                        return Ok(());
                    }
                    "it was accepted, and given up".into()
                }
                Err(Unmet::NotYet(why)) => why,
                // By now the other node is the primary, if not yet all that it will be.
                Err(Unmet::Failed(why)) if accepted => why,
                Err(Unmet::Failed(why)) => return Err(format!("no swap: {why}").into()),
            };
            if whole(&self.board.now(), 1 - from) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("no swap: {why}").into());
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn arbiter(&mut self) -> &mut Member {
        self.arbiter.as_mut().expect("this part is told with an arbiter only")
    }

    /// Stops the clients and compares the copies with what was acknowledged.
    fn finish(mut self) -> Result<Verdict, Box<dyn Error>> {
        let fed = self.feed.stop()?;
        let dumps = NAMES.map(|name| self.plan.folder.join(format!("copy-{name}")));
        let dump = |node: &mut Member, path: &PathBuf| node.ask(&Ask::Dump(path.clone()));
        // The secondary applies what the primary tells it: soon, not at once.
        let end = Instant::now() + limit(self.show.profile);
        loop {
            for (node, path) in self.nodes.iter_mut().zip(&dumps) {
                dump(node, path)?;
            }
            let lens = [std::fs::metadata(&dumps[0])?.len(), std::fs::metadata(&dumps[1])?.len()];
            if lens[0] == lens[1] || Instant::now() > end {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let folders = ["node-a", "node-b"].map(|name| self.plan.folder.join(name));
        Ok(verify(&fed, &dumps, &folders, self.show.vote == Vote::None)?)
    }
}

fn print_verdict(verdict: &Verdict) {
    tell!("lines acknowledged  {:>8}", verdict.acknowledged);
    tell!("lines kept          {:>8}", verdict.kept);
    tell!("lines set aside     {:>8}", verdict.aside);
    if verdict.aside > 0 {
        for place in &verdict.places {
            tell!("                    in {}", place.display());
        }
    }
    tell!("lines lost          {:>8}", verdict.lost());
    tell!("applied twice       {:>8}", verdict.twice);
    tell!("copies              {:>8}", if verdict.equal { "equal" } else { "DIFFER" });
}

/// Whether that node is the primary of a whole pair.
fn whole(views: &[View; 2], primary: usize) -> bool {
    views[primary].is("PRIM") && views[1 - primary].is("SECOND")
}

/// Whether that node serves without the other.
fn alone(views: &[View; 2], node: usize) -> bool {
    views[node].is("ALONE")
}

/// How long anything may take: several times what the contract promises.
fn limit(profile: Profile) -> Duration {
    match profile {
        Profile::Fast => Duration::from_secs(15),
        Profile::Lan => Duration::from_secs(30),
        Profile::Wan => Duration::from_mins(2),
    }
}

/// Longer than a takeover would take.
fn patience(profile: Profile) -> Duration {
    match profile {
        Profile::Fast => Duration::from_secs(1),
        Profile::Lan => Duration::from_secs(5),
        Profile::Wan => Duration::from_secs(20),
    }
}

/// Waits, with a bar while a node catches up; what was seen then.
fn wait(
    board: &Board,
    limit: Duration,
    what: &str,
    until: impl Fn(&[View; 2]) -> bool,
) -> Result<[View; 2], Box<dyn Error>> {
    let mut shown = false;
    let seen = board.wait(limit, until, |views| {
        let progress = views.iter().find_map(|view| view.progress);
        if let (Some((done, goal)), true) = (progress, io::stdout().is_terminal()) {
            again(what, &bar(done, goal));
            shown = true;
        }
    });
    if shown {
        again(what, "");
    }
    if let Some(views) = seen {
        return Ok(views);
    }
    let [a, b] = board.now().map(|view| describe(&view));
    Err(format!("waited {limit:?} for: {what}; A is {a}, B is {b}").into())
}

/// Writes the line of an event anew.
fn again(what: &str, rest: &str) {
    tell_part!("\r\x1b[2K{what} … {rest}");
    // Only for the eye.
    let _ = io::stdout().flush();
}

/// How far a copy is, short enough for a line of eighty columns.
fn bar(done: u64, goal: u64) -> String {
    const WIDTH: usize = 16;
    let full = usize::try_from(done.min(goal) * WIDTH as u64 / goal.max(1)).unwrap_or(0);
    let empty = WIDTH.saturating_sub(full);
    format!("[{}{}] {done}/{goal}", "#".repeat(full), ".".repeat(empty))
}

fn describe(view: &View) -> String {
    match (view.up, view.ready) {
        (false, _) => "down".into(),
        (true, true) => format!("{}, ready", view.role),
        (true, false) => format!("{}, not ready", view.role),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_and_never_flows_over() {
        assert_eq!(bar(0, 0), "[................] 0/0");
        assert_eq!(bar(1, 3), "[#####...........] 1/3");
        assert_eq!(bar(9, 3), "[################] 9/3");
    }
}
