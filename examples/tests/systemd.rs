//! The units that administrators install, as systemd itself judges them.
#![allow(clippy::unwrap_used, reason = "a test says what failed by where it stopped")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Copies of the units with programs that exist.
struct Units(tempfile::TempDir);

impl Units {
    /// `None`, said once, where nobody can judge them.
    fn new() -> Option<Self> {
        if Command::new("systemd-analyze").arg("--version").output().is_err() {
            ha_lab::skip("systemd-analyze");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let programs = format!("{}/", folder.path().display());
        for (unit, program) in
            [("ha-node", "mirror-node"), ("ha-farm", "farm-node"), ("ha-witness", "witness-node")]
        {
            let name = format!("{unit}.service");
            let text = fs::read_to_string(source(&name)).unwrap();
            let named = format!("ExecStart=/usr/lib/ha-node/{program} ");
            assert_eq!(text.matches(&named).count(), 1, "{name} starts {program}");
            let text = text.replace("/usr/lib/ha-node/", &programs);
            fs::write(folder.path().join(name), text).unwrap();
            let built = match program {
                "mirror-node" => env!("CARGO_BIN_EXE_mirror-node"),
                "farm-node" => env!("CARGO_BIN_EXE_farm-node"),
                _ => env!("CARGO_BIN_EXE_witness-node"),
            };
            std::os::unix::fs::symlink(built, folder.path().join(program)).unwrap();
        }
        Some(Self(folder))
    }

    /// Puts one more file beside the unit of the node.
    fn add(&self, name: &str) {
        let folder = self.0.path().join("ha-node.service.d");
        fs::create_dir_all(&folder).unwrap();
        fs::copy(source(name), folder.join(name)).unwrap();
    }

    fn path(&self, unit: &str) -> PathBuf {
        self.0.path().join(unit)
    }

    /// What systemd has to say against a unit: nothing, when it is well.
    fn verify(&self, unit: &str) -> String {
        let output = analyze(&["verify", "--man=no"], &self.path(unit));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() || !said.is_empty(), "a reason");
        said
    }

    /// How exposed it is, 0 to 10, and the whole report.
    fn exposure(&self, unit: &str) -> (f64, String) {
        let options = ["security", "--offline=true", "--no-pager"];
        let output = analyze(&options, &self.path(unit));
        let report = String::from_utf8(output.stdout).unwrap();
        let (_, level) = report.split_once("Overall exposure level for ").unwrap();
        let number = level.split_once(": ").unwrap().1.split(' ').next().unwrap();
        (number.parse().unwrap(), report)
    }
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

fn analyze(options: &[&str], unit: &Path) -> Output {
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(options).arg(unit).env("LC_ALL", "C.UTF-8").env("SYSTEMD_COLORS", "0");
    analyze.output().unwrap()
}

/// What nobody should be exposed beyond.
const EXPOSURE_MAX: f64 = 3.0;

#[test]
fn systemd_has_nothing_against_the_units() {
    let Some(units) = Units::new() else { return };
    assert_eq!(units.verify("ha-witness.service"), "");
    assert_eq!(units.verify("ha-node.service"), "");
    assert_eq!(units.verify("ha-farm.service"), "");
    units.add("ha-node-unit.conf");
    assert_eq!(units.verify("ha-node.service"), "");
    units.add("ha-node-root.conf");
    assert_eq!(units.verify("ha-node.service"), "");
    // It would have said so.
    let path = units.path("ha-witness.service");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("NoNewPrivileges", "NoOldPrivileges")).unwrap();
    assert!(units.verify("ha-witness.service").contains("NoOldPrivileges"));
}

#[test]
fn the_units_expose_no_more_than_they_need() {
    let Some(units) = Units::new() else { return };
    for (unit, addition) in [
        ("ha-witness.service", None),
        ("ha-farm.service", None),
        ("ha-node.service", None),
        ("ha-node.service", Some("ha-node-unit.conf")),
    ] {
        if let Some(addition) = addition {
            units.add(addition);
        }
        let (exposure, report) = units.exposure(unit);
        println!("{unit} {}: {exposure}", addition.unwrap_or_default());
        assert!(exposure <= EXPOSURE_MAX, "{report}");
    }
}

#[test]
fn scripts_of_root_have_what_root_has() {
    let Some(units) = Units::new() else { return };
    units.add("ha-node-root.conf");
    let (exposure, report) = units.exposure("ha-node.service");
    println!("ha-node.service ha-node-root.conf: {exposure}");
    // An addition that is not read as meant would leave them without.
    let lacks = |what: &str| !report.lines().any(|line| line.contains(what) && line.contains('✗'));
    for what in ["CapabilityBoundingSet=~CAP_SYS_ADMIN", "SystemCallFilter=~@mount", "NoNewPriv"] {
        assert!(!lacks(what), "{what} is still taken away:\n{report}");
    }
    assert!(lacks("CapabilityBoundingSet=~CAP_SYS_MODULE"), "{report}");
}

/// `RestartPreventExitStatus=78`: what no restart mends is not tried each second for ever.
#[test]
fn a_wrong_configuration_ends_a_program_as_its_unit_expects() {
    let folder = tempfile::tempdir().unwrap();
    let keyless = folder.path().join("witness.toml");
    let text =
        format!("listen = \"127.0.0.1:0\"\nfolder = {:?}\nkey_file = \"/no\"\n", folder.path());
    fs::write(&keyless, text).unwrap();
    let none = folder.path().join("none.toml");
    for (unit, program, file) in [
        ("ha-node", env!("CARGO_BIN_EXE_mirror-node"), &none),
        ("ha-farm", env!("CARGO_BIN_EXE_farm-node"), &none),
        ("ha-witness", env!("CARGO_BIN_EXE_witness-node"), &none),
        ("ha-witness", env!("CARGO_BIN_EXE_witness-node"), &keyless),
    ] {
        let unit = fs::read_to_string(source(&format!("{unit}.service"))).unwrap();
        assert!(unit.contains("\nRestartPreventExitStatus=78\n"), "{unit}");
        let ended = Command::new(program).arg("--config").arg(file).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(78), "{said}");
    }
}
