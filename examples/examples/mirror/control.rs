//! What the parent and a process of the pair say to each other: lines over pipes.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::str::FromStr;

/// What the parent asks; each is answered once, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Hand the service over to the other node.
    Swap,
    /// Write the ledger's state to a file.
    Dump(PathBuf),
}

/// What a process says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    /// The last question is answered.
    Done,
    /// It could not be done, and why.
    Failed(String),
    /// It cannot be done yet, and why: ask again.
    NotYet(String),
    /// The node's role, whether it is ready, and whether the witness answers it.
    Role {
        /// In the field's words.
        role: String,
        /// Whether all that the role asks for is done.
        ready: bool,
        /// Whether the witness answers.
        witness: bool,
    },
    /// Catching up.
    Progress {
        /// Records that it has.
        done: u64,
        /// Records that it needs.
        goal: u64,
    },
    /// It does not serve any more.
    Stopped,
}

/// A line that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unknown(String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not understood: {}", self.0)
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swap => f.write_str("swap"),
            Self::Dump(path) => write!(f, "dump {}", path.display()),
        }
    }
}

impl FromStr for Ask {
    type Err = Unknown;

    fn from_str(line: &str) -> Result<Self, Unknown> {
        match line.split_once(' ') {
            None if line == "swap" => Ok(Self::Swap),
            Some(("dump", path)) => Ok(Self::Dump(path.into())),
            None | Some(_) => Err(Unknown(line.into())),
        }
    }
}

impl fmt::Display for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Failed(why) => write!(f, "failed {why}"),
            Self::NotYet(why) => write!(f, "not-yet {why}"),
            Self::Role { role, ready, witness } => write!(f, "role {role} {ready} {witness}"),
            Self::Progress { done, goal } => write!(f, "progress {done} {goal}"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl FromStr for Say {
    type Err = Unknown;

    fn from_str(line: &str) -> Result<Self, Unknown> {
        let unknown = || Unknown(line.into());
        match line {
            "done" => return Ok(Self::Done),
            "stopped" => return Ok(Self::Stopped),
            _ => {}
        }
        let (kind, rest) = line.split_once(' ').ok_or_else(unknown)?;
        let words: Vec<&str> = rest.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().map_err(|_| unknown());
        let truth = |word: &str| word.parse::<bool>().map_err(|_| unknown());
        match (kind, words.as_slice()) {
            ("failed", _) => Ok(Self::Failed(rest.into())),
            ("not-yet", _) => Ok(Self::NotYet(rest.into())),
            ("role", [role, ready, witness]) => Ok(Self::Role {
                role: (*role).into(),
                ready: truth(ready)?,
                witness: truth(witness)?,
            }),
            ("progress", [done, goal]) => {
                Ok(Self::Progress { done: number(done)?, goal: number(goal)? })
            }
            _ => Err(unknown()),
        }
    }
}

/// Says something to the parent.
///
/// # Errors
/// When the parent is gone.
pub(crate) fn say(what: &Say) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{what}")?;
    out.flush()
}

/// The parent's next question; `None` when the parent is gone.
pub(crate) fn next_ask() -> Option<Result<Ask, Unknown>> {
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.trim_end().parse()),
    }
}

/// Ends this process when the parent ends, however that ends.
///
/// # Errors
/// When the system refuses.
pub(crate) fn die_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_and_said_comes_back_from_its_line() {
        for ask in [Ask::Swap, Ask::Dump("/tmp/a file".into())] {
            assert_eq!(ask.to_string().parse(), Ok(ask));
        }
        let says = [
            Say::Done,
            Say::Failed("for two reasons".into()),
            Say::NotYet("soon, perhaps".into()),
            Say::Role { role: "PRIM".into(), ready: true, witness: false },
            Say::Progress { done: 3, goal: 14 },
            Say::Stopped,
        ];
        for say in says {
            assert_eq!(say.to_string().parse(), Ok(say));
        }
    }

    #[test]
    fn a_line_that_is_none_of_ours_is_refused() {
        for line in ["", "dance", "role PRIM", "role PRIM yes no", "progress 1", "progress 1 x"] {
            assert_eq!(line.parse::<Say>(), Err(Unknown(line.into())));
            assert_eq!(line.parse::<Ask>(), Err(Unknown(line.into())));
        }
    }
}
