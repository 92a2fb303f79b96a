//! Two farms of one machine whose files name one new address: one of them is told so in a line, and
//! goes on as it was, whichever services wait for other members meanwhile.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use ha_lab::{Process, within};
use serde_json::Value;

use crate::SOON;
use crate::rig::{CALM, PORT, Rig, Said};

/// A second farm on the first one's host `a`, alone there, with an address of its own.
struct Second<'a> {
    rig: &'a Rig,
    folder: PathBuf,
    file: PathBuf,
    daemon: Process,
}

impl<'a> Second<'a> {
    fn start(rig: &'a Rig) -> Self {
        let folder = rig.nodes[0].folder().join("second");
        let file = rig.lab.folder().join("second.toml");
        fs::create_dir(&folder).unwrap();
        fs::write(&file, Self::text(rig, &folder, "")).unwrap();
        let program = env!("CARGO_BIN_EXE_farm-node");
        let daemon = rig.hosts[0].spawn(program, |it| it.arg("--config").arg(&file)).unwrap();
        let it = Self { rig, folder, file, daemon };
        assert!(
            within(SOON, || it.ha(&["role"]).out.starts_with("UP")),
            "{:?}",
            it.ha(&["status"])
        );
        it
    }

    fn text(rig: &Rig, folder: &std::path::Path, more: &str) -> String {
        let text = rig.text(0, &format!("id = 7\nisolated = \"all\"\n{CALM}"), more);
        let (first, second) = (rig.nodes[0].folder().display(), folder.display());
        let text = text.replace(&format!("\"{first}/"), &format!("\"{second}/"));
        let text = text.replacen(&rig.vip().to_string(), "198.18.9.9", 1);
        text.replace(":7500", ":7600").replace(&rig.module(0), &format!("{}2", rig.module(0)))
    }

    fn configure(&self, more: &str) {
        fs::write(&self.file, Self::text(self.rig, &self.folder, more)).unwrap();
    }

    fn ha(&self, words: &[&str]) -> Said {
        let mut ha = Command::new(env!("CARGO_BIN_EXE_ha"));
        ha.arg("--socket").arg(self.folder.join("run/control.sock")).args(words);
        let output = ha.stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        Said { code, out: text(output.stdout), err: text(output.stderr) }
    }

    fn services(&self) -> usize {
        let said = self.ha(&["status", "--json"]);
        let line: Value = serde_json::from_str(&said.out).unwrap();
        line["farms"][0]["services"].as_array().unwrap().len()
    }
}

impl Drop for Second<'_> {
    /// After a panic too: pins outlive namespaces.
    fn drop(&mut self) {
        // One that has ended is no longer there.
        drop(self.daemon.kill());
        let pins = format!("/sys/fs/bpf/ha-node/{}2", self.rig.module(0));
        drop(fs::remove_dir_all(pins));
    }
}

fn more(vip: IpAddr) -> String {
    format!("\n[[service]]\nname = \"more\"\nvip = \"{vip}\"\nport = {PORT}\n")
}

/// The one line of who may not have it.
fn is_told(said: &Said, vip: IpAddr) -> bool {
    let line = format!("vip: {vip} is the virtual address of another farm on this machine");
    said.code == 78 && said.err.contains(&line) && said.err.lines().count() == 1
}

#[test]
fn an_address_whose_service_waits_for_others_is_no_other_farms() {
    let Some(rig) = Rig::whole("farm_race", 2, CALM, "") else { return };
    let second = Second::start(&rig);
    let vip: IpAddr = rig.network.v4(101).into();
    rig.configure(CALM, &more(vip));
    assert!(rig.done(0, &["reload"]).contains("once every member has them"));
    second.configure(&more(vip));
    let refused = second.ha(&["reload"]);
    assert!(is_told(&refused, vip), "{refused:?}");
    assert!(!rig.hosts[0].holds(vip).unwrap(), "it waits for the other member");
    // So does the process that goes on for it.
    assert!(
        within(SOON, || rig.ha(0, &["restart-daemon"]).code == 0),
        "{:?}",
        rig.daemon(0).output()
    );
    let refused = second.ha(&["reload"]);
    assert!(is_told(&refused, vip), "{refused:?}");
    // Once more: what it holds itself is no other farm's.
    rig.done(0, &["reload"]);
    rig.done(1, &["reload"]);
    assert!(within(SOON, || rig.hosts.iter().all(|host| host.holds(vip).unwrap())));
    assert_eq!(rig.connect_to(vip, 10).len(), 10);
    assert_eq!((second.services(), &*second.ha(&["role"]).out), (1, "UP ready\n"));
    // The first one has it no more, and the second one may.
    rig.configure(CALM, "");
    (0..2).for_each(|node| drop(rig.done(node, &["reload"])));
    let mut said = refused;
    let may = within(SOON, || {
        said = second.ha(&["reload"]);
        said.code == 0
    });
    assert!(may, "{said:?}");
    assert!(within(SOON, || second.services() == 2 && rig.hosts[0].holds(vip).unwrap()));
    // A file that does not name it any more gives up what only waited.
    let other: IpAddr = rig.network.v4(102).into();
    rig.configure(CALM, &more(other));
    rig.done(0, &["reload"]);
    rig.configure(CALM, "");
    rig.done(0, &["reload"]);
    second.configure(&more(other));
    let said = second.ha(&["reload"]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn of_two_farms_that_reload_at_once_one_has_the_address_and_the_other_goes_on_as_it_was() {
    let Some(rig) = Rig::whole("farm_race_both", 2, CALM, "") else { return };
    let second = Second::start(&rig);
    for round in 0..8 {
        let vip: IpAddr = rig.network.v4(110 + round).into();
        rig.configure(CALM, &more(vip));
        second.configure(&more(vip));
        let (one, other) = thread::scope(|scope| {
            let other = scope.spawn(|| second.ha(&["reload"]));
            (rig.ha(0, &["reload"]), other.join().unwrap())
        });
        let told = [is_told(&one, vip), is_told(&other, vip)];
        assert_eq!([one.code == 0, other.code == 0], told.map(|told| !told), "{one:?} {other:?}");
        assert_ne!(told[0], told[1], "{one:?} {other:?}");
        if one.code == 0 {
            rig.done(1, &["reload"]);
        }
        assert!(within(SOON, || rig.hosts[0].holds(vip).unwrap()), "{one:?} {other:?}");
        assert_eq!(second.services(), if other.code == 0 { 2 } else { 1 });
        // Neither has it in the next round.
        rig.configure(CALM, "");
        second.configure("");
        (0..2).for_each(|node| drop(rig.done(node, &["reload"])));
        assert_eq!(second.ha(&["reload"]).code, 0);
        assert!(within(SOON, || !rig.hosts[0].holds(vip).unwrap() && second.services() == 1));
    }
}
