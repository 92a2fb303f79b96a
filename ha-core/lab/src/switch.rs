//! The namespace of the switches, and the hand on its table.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::cut::{self, Cut};
use crate::namespace::Namespace;
use crate::tool;

/// Where all switches of a lab are, and what they do not let through now.
#[derive(Debug)]
pub(crate) struct Switch {
    namespace: Namespace,
    cuts: Vec<Cut>,
    /// An `nft` that waits for its commands: a cut costs what the kernel takes for it, and not the
    /// start of a program.
    armed: Child,
}

impl Switch {
    pub(crate) fn make(namespace: Namespace) -> io::Result<Self> {
        namespace.make()?;
        // The ports themselves stay silent: no router solicitations among the test's frames.
        namespace.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
        let mut nft = namespace.command(Path::new("nft"));
        tool::run(nft.args(["-f", "-"]), &cut::table())?;
        let armed = arm(&namespace)?;
        Ok(Self { namespace, cuts: Vec::new(), armed })
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// Makes these the cuts, all at once. When it returns it is done.
    pub(crate) fn set(&mut self, cuts: Vec<Cut>) -> io::Result<()> {
        let commands = cut::change(&self.cuts, &cuts);
        if !commands.is_empty() {
            self.command(&commands)?;
        }
        self.cuts = cuts;
        Ok(())
    }

    fn command(&mut self, commands: &str) -> io::Result<()> {
        let mut stdin = self.armed.stdin.take().expect("it is taken once, and then armed anew");
        let written = stdin.write_all(commands.as_bytes());
        drop(stdin);
        let status = self.armed.wait()?;
        self.armed = arm(&self.namespace)?;
        written?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("nft: {status}, see above, for:\n{commands}")))
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // Its namespace is removed with the lab; here only its parent forgets it.
        let _ = self.armed.kill();
        let _ = self.armed.wait();
    }
}

fn arm(namespace: &Namespace) -> io::Result<Child> {
    let mut command = namespace.first_command(Path::new("nft"));
    command.args(["-f", "-"]).stdin(Stdio::piped()).spawn()
}
