//! Freezes and then kills the processes of one module when its daemon does not say in time that
//! they may run on (R5): it is there when the daemon was killed, or stopped, or is being replaced.
//! Started by the daemon.

use std::process::ExitCode;

use ha_core::linux::guardian::Post;

fn main() -> ExitCode {
    let done = Post::from_args(std::env::args().skip(1))
        .and_then(|post| post.keep().map_err(|error| error.to_string()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("ha-guardian: {why}");
            ExitCode::FAILURE
        }
    }
}
