//! What happens, and what must be so after it.

use std::io;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Cli;
use crate::in_lab::InLab;
use crate::picture::{Picture, result, say};
use crate::stage::{SERVERS, Server, Stage, Tally};
use crate::user_space::UserSpace;

/// The server that is killed, and the one that is drained.
const KILLED: usize = 2;
const DRAINED: usize = 1;

/// Plays it. The exit code says whether all was as it must be.
///
/// # Errors
/// It could not be played to its end.
pub(crate) fn run(cli: &Cli) -> io::Result<ExitCode> {
    if cli.user_space {
        return play(cli, &mut UserSpace::start(cli.clients)?);
    }
    if !rustix::process::geteuid().is_root() {
        say("Not root: the same farm with the decision in user space, over loopback datagrams.");
        return play(cli, &mut UserSpace::start(cli.clients)?);
    }
    InLab::check().map_err(io::Error::other)?;
    play(cli, &mut InLab::start(cli.clients)?)
}

fn play(cli: &Cli, stage: &mut impl Stage) -> io::Result<ExitCode> {
    say(&format!("A farm of {SERVERS} servers, {}.", stage.what()));
    let mut show =
        Show { scene: Duration::from_secs(cli.scene), picture: Picture::new(), wrong: Vec::new() };
    show.play(stage)?;
    let tally = stage.end();
    result(tally, stage.closing());
    show.judge(tally);
    for wrong in &show.wrong {
        say(&format!("WRONG: {wrong}"));
    }
    Ok(if show.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Show {
    scene: Duration,
    picture: Picture,
    /// What is not as it must be.
    wrong: Vec<String>,
}

impl Show {
    fn play(&mut self, stage: &mut impl Stage) -> io::Result<()> {
        let all = [true; SERVERS];
        self.scene(stage, "three servers share the clients", all);
        stage.kill(KILLED);
        let mut left = all;
        left[KILLED] = false;
        self.scene(stage, "server2 is killed: the others take its clients", left);
        stage.start(KILLED)?;
        self.scene(stage, "server2 comes back, and gets its share of new clients", all);
        stage.drain(DRAINED, true);
        let mut left = all;
        left[DRAINED] = false;
        self.scene(stage, "server1 is drained: its connections go on, no new ones come", left);
        stage.drain(DRAINED, false);
        self.scene(stage, "server1 takes part again", all);
        Ok(())
    }

    /// A scene, in the end of which these servers share the buckets.
    fn scene(&mut self, stage: &mut impl Stage, title: &str, share: [bool; SERVERS]) {
        self.picture.scene(title);
        let began = Instant::now();
        let mut settled = None;
        loop {
            sleep(LOOK);
            let servers = stage.servers();
            if is_shared(&servers, share) {
                settled.get_or_insert_with(|| began.elapsed());
            }
            let end = began.elapsed() >= self.scene
                && (settled.is_some() || began.elapsed() >= self.scene + PATIENCE);
            self.picture.draw(&servers, stage.tally(), end);
            if end {
                break;
            }
        }
        match settled {
            Some(took) => say(&format!("  shared so after {} ms", took.as_millis())),
            None => self.wrong.push(format!("it did not come to this: {title}")),
        }
    }

    /// Only connections of the server that was killed may break.
    fn judge(&mut self, tally: Tally) {
        for at in 0..SERVERS {
            if tally.served[at] == 0 {
                self.wrong.push(format!("server{at} served nobody"));
            }
            if at != KILLED && tally.broken[at] > 0 {
                self.wrong.push(format!("connections of server{at} broke, and it was not killed"));
            }
        }
        if tally.unopened > 0 {
            self.wrong.push("clients were turned away".into());
        }
        if tally.twice > 0 {
            self.wrong.push("two servers took one connection".into());
        }
    }
}

/// Whether these servers have equal shares, and all of it.
fn is_shared(servers: &[Server; SERVERS], share: [bool; SERVERS]) -> bool {
    let sharing = share.iter().filter(|&&it| it).count();
    let all: usize = servers.iter().map(|server| server.buckets).sum();
    let fair = BUCKETS / sharing;
    let fits = |(server, &shares): (&Server, &bool)| {
        let right = if shares { fair..=fair + 1 } else { 0..=0 };
        right.contains(&server.buckets)
    };
    all == BUCKETS && servers.iter().zip(&share).all(fits)
}

const BUCKETS: usize = 4096;
/// Between two pictures.
const LOOK: Duration = Duration::from_millis(100);
/// A machine that is busy is slower.
const PATIENCE: Duration = Duration::from_secs(10);
