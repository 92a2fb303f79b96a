//! The shares as bars, and the result as a table.

use std::io::{IsTerminal, Write, stdout};

use crate::stage::{SERVERS, Server, Tally};

/// Draws the farm again and again, over the last picture where there is a terminal.
#[derive(Debug)]
pub(crate) struct Picture {
    live: bool,
    drawn: bool,
    last: Tally,
}

impl Picture {
    pub(crate) fn new() -> Self {
        Self { live: stdout().is_terminal(), drawn: false, last: Tally::default() }
    }

    /// A scene begins.
    pub(crate) fn scene(&mut self, title: &str) {
        say(&format!("\n{title}"));
        self.drawn = false;
    }

    /// How it is now; without a terminal it is shown at the end of a scene only.
    pub(crate) fn draw(&mut self, servers: &[Server; SERVERS], tally: Tally, end: bool) {
        if !self.live && !end {
            return;
        }
        if self.live && std::mem::replace(&mut self.drawn, true) {
            // Over the picture before.
            say(&format!("\x1b[{}A", SERVERS + 1));
        }
        for (at, server) in servers.iter().enumerate() {
            let requests = tally.served[at] - self.last.served[at];
            say(&format!("{}{}", row(at, server, requests), self.clear()));
        }
        if end {
            self.last = tally;
        }
    }

    fn clear(&self) -> &'static str {
        if self.live { "\x1b[K" } else { "" }
    }
}

/// One server: its bar, its share, what it served in this scene, what it says.
fn row(at: usize, server: &Server, requests: u64) -> String {
    let share = server.buckets * WIDTH / BUCKETS;
    let bar: String = (0..WIDTH).map(|column| if column < share { '█' } else { '·' }).collect();
    let percent = (server.buckets * 100 + BUCKETS / 2) / BUCKETS;
    let says = &server.says;
    let row = format!(
        "  server{at}  {bar} {percent:>3} %  {:>4} buckets  {requests:>6} requests  {says}",
        server.buckets
    );
    row.trim_end().into()
}

/// What the clients saw in the end.
pub(crate) fn result(tally: Tally, closing: Vec<String>) {
    say("\nby          requests served   connections broken");
    for at in 0..SERVERS {
        say(&format!("server{at}     {:>15}   {:>18}", tally.served[at], tally.broken[at]));
    }
    let (served, broken): (u64, u64) = (tally.served.iter().sum(), tally.broken.iter().sum());
    say(&format!("all         {served:>15}   {broken:>18}"));
    say(&format!("clients that got no answer             {}", tally.unopened));
    for line in closing {
        say(&line);
    }
}

pub(crate) fn say(line: &str) {
    // An audience that went away is no reason to stop in the middle.
    let _ = writeln!(stdout(), "{line}");
}

/// Columns of a bar.
const WIDTH: usize = 24;
const BUCKETS: usize = 4096;
