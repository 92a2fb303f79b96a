//! Where output goes: to a terminal of some width, in colour or not, or into a pipe.

use std::io::{self, IsTerminal, Write};

use ha_core::control::Exit;
use ha_core::control::protocol::{Reply, json};

use super::show::Style;

/// What is printed, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// JSON instead of text.
    pub(super) json: bool,
    /// How text looks.
    pub(super) style: Style,
}

impl Output {
    /// As the environment says: colour on a terminal unless `NO_COLOR` is set, its width, 80 else.
    pub(super) fn new(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|_| terminal);
        let columns = size.map_or(80, |size| usize::from(size.ws_col));
        Self { json, style: Style { colour, columns: columns.clamp(40, 200) } }
    }

    /// One line of JSON.
    pub(super) fn json(reply: &Reply) {
        Self::line(&json(reply));
    }

    /// A line for people, in JSON where that is wanted.
    pub(super) fn say(self, text: String) {
        if self.json { Self::json(&Reply::Said(text)) } else { Self::line(&text) }
    }

    /// One line of text. A pipe that is closed ends the program quietly, as others do.
    pub(super) fn line(text: &str) {
        let mut out = io::stdout().lock();
        if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
            std::process::exit(i32::from(Exit::Failed.code()));
        }
    }

    /// One line for people who watch, beside the output.
    pub(super) fn note(text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
    }
}
