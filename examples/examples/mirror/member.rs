//! One process of the pair: started, asked, killed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use thiserror::Error;

use crate::control::{Ask, Say};
use crate::view::{Board, View};

/// A process that can be killed and started again. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Member {
    name: &'static str,
    /// Its place on the board; none for the arbiter.
    node: Option<usize>,
    arguments: Vec<String>,
    log: PathBuf,
    board: Arc<Board>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    answers: Receiver<Result<(), Unmet>>,
}

/// Why a process did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Unmet {
    /// It cannot yet.
    #[error("{0}")]
    NotYet(String),
    /// It cannot, or is gone.
    #[error("{0}")]
    Failed(String),
}

/// The longest that a process takes to answer a question.
const ANSWER: Duration = Duration::from_secs(30);

impl Member {
    /// A process that does not run yet; what it logs goes to a file in `folder`.
    pub(crate) fn new(
        name: &'static str,
        node: Option<usize>,
        arguments: Vec<String>,
        folder: &Path,
        board: &Arc<Board>,
    ) -> Self {
        let log = folder.join(format!("{}.log", name.replace(' ', "-")));
        Self { name, node, arguments, log, board: Arc::clone(board), running: None }
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the system does not start it.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let says = BufReader::new(child.stdout.take().expect("it was asked for"));
        let (sender, answers) = channel();
        let (node, board) = (self.node, Arc::clone(&self.board));
        if let Some(node) = node {
            board.change(node, |view| view.up = true);
        }
        thread::spawn(move || listen(says, node, &board, &sender));
        self.running = Some(Running { child, answers });
        Ok(())
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// When it does not run, or the system refuses.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        let mut running = self.running.take().ok_or(io::ErrorKind::NotConnected)?;
        running.child.kill()?;
        running.child.wait()?;
        // Its listening thread has heard all that it said once this channel is closed.
        while running.answers.recv_timeout(ANSWER).is_ok() {}
        self.forget();
        Ok(())
    }

    /// Asks it something and waits for the answer.
    ///
    /// # Errors
    /// Its own words, or that it is gone.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Result<(), Unmet> {
        let gone = || {
            let (name, log) = (self.name, self.log.display());
            Unmet::Failed(format!("{name} is gone; its last words are in {log}"))
        };
        let running = self.running.as_mut().ok_or_else(gone)?;
        let stdin = running.child.stdin.as_mut().expect("it was asked for");
        writeln!(stdin, "{ask}").and_then(|()| stdin.flush()).map_err(|_| gone())?;
        match running.answers.recv_timeout(ANSWER) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                Err(Unmet::Failed(format!("{} does not answer", self.name)))
            }
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }

    fn forget(&self) {
        if let Some(node) = self.node {
            self.board.change(node, |view| *view = View::default());
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.running.is_some() {
            // It ends with this process anyway.
            let _ = self.kill();
        }
    }
}

/// Hears what a process says until it ends.
fn listen(
    says: impl BufRead,
    node: Option<usize>,
    board: &Board,
    answers: &Sender<Result<(), Unmet>>,
) {
    for line in says.lines().map_while(Result::ok) {
        let say = match line.parse() {
            Ok(say) => say,
            Err(unknown) => Say::Failed(format!("{unknown}")),
        };
        let answer = match say {
            Say::Done => Ok(()),
            Say::Failed(why) => Err(Unmet::Failed(why)),
            Say::NotYet(why) => Err(Unmet::NotYet(why)),
            Say::Role { .. } | Say::Progress { .. } | Say::Stopped => {
                if let Some(node) = node {
                    board.change(node, |view| note(view, say));
                }
                continue;
            }
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
    if let Some(node) = node {
        board.change(node, |view| view.up = false);
    }
}

fn note(view: &mut View, say: Say) {
    match say {
        Say::Role { role, ready, witness } => {
            (view.role, view.ready, view.witness) = (role, ready, witness);
        }
        Say::Progress { done, goal } => view.progress = Some((done, goal)),
        Say::Stopped => view.stops += 1,
        Say::Done | Say::Failed(_) | Say::NotYet(_) => {}
    }
}
