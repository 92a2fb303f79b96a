//! Running the tools of the system.

use std::io::{self, Write};
use std::process::{Command, Stdio};

/// Runs a tool to its end and returns what it printed.
///
/// # Errors
/// It cannot be started (then the message names the package to install), or it failed (then the
/// message has what it was called with and what it complained about).
pub(crate) fn run(command: &mut Command, input: &str) -> io::Result<String> {
    let called = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| missing(&called, &error))?;
    let mut stdin = child.stdin.take().expect("the standard input was asked to be a pipe");
    // A tool that fails before it read everything says why itself.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let reason = format!("{called}: {}: {}", output.status, complaint.trim());
    Err(io::Error::other(reason))
}

/// Several `ip` commands in one process; stops at the first that fails.
pub(crate) fn ip(namespace: &str, commands: &str) -> io::Result<String> {
    run(Command::new("ip").args(["-n", namespace, "-batch", "-"]), commands)
}

/// One `ip` command whose answer is wanted.
pub(crate) fn ip_show(namespace: &str, arguments: &[&str]) -> io::Result<String> {
    run(Command::new("ip").args(["-n", namespace]).args(arguments), "")
}

fn missing(called: &str, error: &io::Error) -> io::Error {
    let hint = "apt-get install iproute2 nftables iputils-ping tcpdump stress-ng util-linux";
    io::Error::new(error.kind(), format!("{called}: {error} ({hint})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_reads_and_prints() {
        assert_eq!(run(&mut Command::new("cat"), "all of it").unwrap(), "all of it");
    }

    #[test]
    fn a_failure_says_what_was_called_and_why() {
        let error = run(Command::new("ls").arg("/no/such/folder"), "").unwrap_err().to_string();
        assert!(error.contains("/no/such/folder\": exit status: 2: ls: "), "{error}");
    }

    #[test]
    fn a_missing_tool_says_what_to_install() {
        let error = run(&mut Command::new("no-such-tool"), "").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("apt-get install"), "{error}");
    }
}
