//! What the user of a unit may read. Who looks is root, and would see no difference.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Found;

/// Whom a unit runs its program as, and with which rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunsAs {
    user: String,
    /// Of its processes, beside those of its user.
    group: String,
    /// `CapabilityBoundingSet=`: root may read what is another user's only by one of these.
    capabilities: Vec<String>,
}

impl RunsAs {
    /// What systemd knows of the unit `name`; `None` where there is none, or no systemd.
    pub(super) fn of_unit(name: &str) -> Option<Self> {
        let fields = "--property=LoadState,User,Group,CapabilityBoundingSet";
        let mut asked = Command::new("systemctl");
        let asked = asked.args(["show", fields, &format!("{name}.service")]).stdin(Stdio::null());
        Self::parse(&String::from_utf8_lossy(&asked.output().ok()?.stdout))
    }

    /// Reads what `systemctl show` prints.
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
        };
        if field("LoadState") != "loaded" {
            return None;
        }
        let or = |value: &str, default: &str| {
            String::from(if value.is_empty() { default } else { value })
        };
        let user = or(field("User"), "root");
        // Debian gives each user a group of its name.
        let group = or(field("Group"), &user);
        let capabilities = field("CapabilityBoundingSet").split_whitespace();
        let capabilities = capabilities.map(|it| it.trim_start_matches("cap_").into()).collect();
        Some(Self { user, group, capabilities })
    }

    /// Whether it may read these files, as the kernel decides it; `Skipped` where nobody can try.
    pub(super) fn read<'a>(&self, files: impl IntoIterator<Item = &'a Path>) -> Found {
        let user = &self.user;
        if !self.may(&["true".as_ref()]) {
            if succeeds(Command::new("id").args(["-u", user])) {
                return Found::Skipped(format!("only root can try what {user} may read"));
            }
            let what = format!("the unit runs as {user}, and there is no such user");
            return Found::Bad(what, "the first lines of the unit say how it is made".into());
        }
        let mut files = files.into_iter();
        match files.find(|file| !self.may(&["test".as_ref(), "-r".as_ref(), file])) {
            Some(file) => {
                let file = file.display();
                Found::Bad(
                    format!("{user}, as the unit runs the daemon, may not read {file}"),
                    format!("chown {user} {file}; `namei -l {file}` shows what else is in the way"),
                )
            }
            None => Found::Fine(format!("{user}, as the unit runs the daemon, may read its files")),
        }
    }

    /// Whether a command succeeds with its user and rights.
    fn may(&self, words: &[&Path]) -> bool {
        let mut bounds = String::from("-all");
        for capability in &self.capabilities {
            bounds.push_str(",+");
            bounds.push_str(capability);
        }
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={}", self.user)).arg(format!("--regid={}", self.group));
        command.args(["--init-groups", "--inh-caps=-all"]);
        command.arg(format!("--bounding-set={bounds}")).args(words);
        succeeds(&mut command)
    }
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    fn runs_as(user: &str, capabilities: &[&str]) -> RunsAs {
        let capabilities = capabilities.iter().map(|it| (*it).into()).collect();
        let group = if user == "nobody" { "nogroup" } else { user };
        RunsAs { user: user.into(), group: group.into(), capabilities }
    }

    #[test]
    fn systemd_tells_whom_a_unit_runs_as() {
        let rows = [
            (
                "User=ha-node\nGroup=ha-node\nCapabilityBoundingSet=cap_net_admin cap_net_raw\nLoadState=loaded\n",
                Some(runs_as("ha-node", &["net_admin", "net_raw"])),
            ),
            ("User=\nCapabilityBoundingSet=cap_bpf\nLoadState=loaded\n", {
                Some(runs_as("root", &["bpf"]))
            }),
            ("User=\nCapabilityBoundingSet=\nLoadState=not-found\n", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(RunsAs::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn who_is_kept_out_is_told_and_how_to_let_it_in() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        fs::write(&key, "secret").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (nobody, root) = (runs_as("nobody", &["net_raw"]), runs_as("root", &["net_raw"]));
        let found = nobody.read([key.as_path()]);
        if matches!(found, Found::Skipped(_)) {
            return ha_lab::skip("root");
        }
        let (what, mend) = match found {
            Found::Bad(what, mend) => (what, mend),
            other => panic!("{other:?}"),
        };
        let at = key.display();
        assert_eq!(what, format!("nobody, as the unit runs the daemon, may not read {at}"));
        assert!(mend.starts_with(&format!("chown nobody {at}; ")), "{mend}");
        assert!(matches!(root.read([key.as_path()]), Found::Fine(_)));
        chown(&key, Some(65_534), None).unwrap();
        assert!(matches!(nobody.read([key.as_path()]), Found::Fine(_)));
        // What is another user's is not root's either without the right to overrule that.
        assert!(matches!(root.read([key.as_path()]), Found::Bad(..)));
        let all = runs_as("root", &["dac_override"]);
        assert!(matches!(all.read([key.as_path()]), Found::Fine(_)));
        // A folder may be in the way as well.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(matches!(nobody.read([key.as_path()]), Found::Bad(..)));
        let none = runs_as("no-such-user", &[]).read([key.as_path()]);
        assert!(matches!(none, Found::Bad(what, _) if what.contains("no such user")));
    }
}
