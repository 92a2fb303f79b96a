//! Somebody else's hands: what was set is taken away while a farm runs.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process;

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType};
use ha_core::linux::plane::bpf::{Bpf, Settings};
use ha_core::linux::plane::{Plane, PlaneError, Sure};
use ha_lab::{Host, Lab, installed_or_skip, within};

use crate::rig::{CONNECTIONS, Case, Farm, Kind, SOON, shares};
use crate::seen::check_once;

#[test]
fn a_filter_that_is_taken_away_by_hand_is_put_back() {
    if !installed_or_skip(&["bpftool"]) {
        return;
    }
    for case in Case::ALL.into_iter().filter(|case| case.plane == Kind::Bpf) {
        let Some(mut farm) = Farm::start("taken_away", case) else { return };
        farm.boot_all();
        let pins = pins(&farm.specs[1].module);
        let detach = || {
            let link = pins.join("tc-eth0");
            let mut bpftool = farm.hosts[1].command("bpftool");
            bpftool.args(["link", "detach", "pinned"]).arg(link);
            assert!(bpftool.status().unwrap().success());
        };
        let unpin = || fs::remove_dir_all(pins.parent().unwrap()).unwrap();
        for (take_away, times) in [(&detach as &dyn Fn(), 1), (&unpin, 2)] {
            take_away();
            let said = || farm.members[1].as_ref().unwrap().output();
            let told = || said().matches("it is put back").count() == times;
            assert!(within(SOON, told), "{case:?}: {}", farm.said());
            assert!(filters(&farm.hosts[1]), "{case:?}: {}", farm.said());
            served_once(&farm, &[0, 1, 2]);
        }
    }
}

/// Whoever goes on with a filter that decides by nothing takes every packet.
#[test]
fn a_filter_whose_tables_are_gone_is_not_gone_on_with() {
    let case = Case::ALL[0];
    assert_eq!(case.plane, Kind::Bpf);
    let Some(mut farm) = Farm::start("tables_gone", case) else { return };
    farm.boot_all();
    fs::remove_dir_all(pins(&farm.specs[1].module).parent().unwrap()).unwrap();
    let said = |farm: &Farm| farm.members[1].as_ref().unwrap().output();
    assert!(within(SOON, || said(&farm).contains("it is put back")), "{}", farm.said());
    farm.replace(1);
    assert!(said(&farm).contains("the filter that was handed over is gone"), "{}", farm.said());
    farm.settle(&[0, 1, 2]);
    served_once(&farm, &[0, 1, 2]);
}

/// As when a driver is loaded anew: another number, and nothing of what was set.
#[test]
fn an_interface_that_is_made_anew_is_filtered_and_answers() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("made_anew", case) else { return };
        farm.boot_all();
        // Those who announce, and who does not.
        for id in [0, 2] {
            let host = farm.hosts[id].clone();
            let cable = farm.network.cut_cable(&host).unwrap();
            let others: Vec<usize> = (0..3).filter(|other| *other != id).collect();
            farm.settle(&others);
            let on = |vip: &IpAddr| host.holds(*vip).unwrap();
            let off = within(SOON, || !farm.vips.iter().any(on));
            assert!(off, "{case:?}: its kernel answers without a filter: {}", farm.said());
            served_once(&farm, &others);
            farm.network.lay_cable(&host, cable).unwrap();
            farm.settle(&[0, 1, 2]);
            assert!(farm.vips.iter().all(on), "{case:?}: {}", farm.said());
            farm.client.forget_neighbours().unwrap();
            served_once(&farm, &[0, 1, 2]);
        }
    }
}

#[test]
fn an_address_that_is_taken_off_by_hand_is_set_again() {
    let case = Case::ALL[0];
    let Some(mut farm) = Farm::start("taken_off", case) else { return };
    farm.boot_all();
    for vip in farm.vips {
        let mut ip = farm.hosts[1].command("ip");
        let prefix = if vip.is_ipv4() { 32 } else { 128 };
        ip.args(["address", "delete", &format!("{vip}/{prefix}"), "dev", "lo"]);
        assert!(ip.status().unwrap().success());
        let again = within(SOON, || farm.hosts[1].holds(vip).unwrap());
        assert!(again, "{vip}: {}", farm.said());
    }
    served_once(&farm, &[0, 1, 2]);
}

/// On kernels before 6.6, and what a look costs.
#[test]
fn a_guard_sees_what_is_at_an_interface() {
    let Some(mut lab) = Lab::root_or_skip("a_guard") else { return };
    let bridge = lab.bridge().unwrap();
    let host = lab.host("a", &[&bridge]).unwrap();
    for tcx in [true, false] {
        let module = format!("guard-{}", process::id());
        let settings = Settings { tcx, ..Settings::new(module, vec!["eth0".into()]) };
        let opened = host.inside(|| Bpf::open(settings.clone()));
        let mut bpf = opened.unwrap().unwrap();
        let mut guard = bpf.guard().unwrap();
        let mut look = || host.inside(|| guard.look()).unwrap();
        look().unwrap();
        let began = ha_lab::now();
        (0..LOOKS).for_each(|_| assert_eq!(look().unwrap(), Sure::Yes));
        println!("a look, with tcx {tcx}: {:?}", ha_lab::now().saturating_since(began) / LOOKS);
        if tcx {
            fs::remove_file(pins(&settings.module).join("tc-eth0")).unwrap();
        } else {
            let mut tc = host.command("tc");
            tc.args(["qdisc", "delete", "dev", "eth0", "clsact"]);
            assert!(tc.status().unwrap().success());
        }
        // The kernel frees a link a moment after its pin is gone.
        assert!(within(SOON, || !filters(&host)), "tcx {tcx}: it is gone");
        look().unwrap();
        assert!(filters(&host), "tcx {tcx}: it is back");
        let cable = bridge.cut_cable(&host).unwrap();
        assert!(matches!(look(), Err(PlaneError::NoInterface(_))));
        bridge.lay_cable(&host, cable).unwrap();
        look().unwrap();
        assert!(filters(&host), "tcx {tcx}: it is at the new one");
        drop(guard);
        host.inside(|| Box::new(bpf).remove()).unwrap().unwrap();
        assert!(within(SOON, || !filters(&host)), "tcx {tcx}: nothing is left");
    }
}

const LOOKS: u32 = 200;

fn pins(module: &str) -> PathBuf {
    let folder = PathBuf::from("/sys/fs/bpf/ha-node").join(module);
    let version = fs::read_dir(folder).unwrap().next().unwrap();
    version.unwrap().path()
}

/// Whether the program that decides is at the interface.
fn filters(host: &Host) -> bool {
    let mut tc = host.command("tc");
    let shown = tc.args(["filter", "show", "dev", "eth0", "ingress"]).output().unwrap();
    let by_clsact = String::from_utf8(shown.stdout).unwrap().contains("ha_farm_tc");
    let by_tcx = host.inside(|| SchedClassifier::query_tcx("eth0", TcAttachType::Ingress));
    let is_ours = |program: &ProgramInfo| program.name_as_str() == Some("ha_farm_tc");
    by_clsact || by_tcx.unwrap().is_ok_and(|(_, programs)| programs.iter().any(is_ours))
}

/// Clients find these and nobody else, and each is answered by one.
fn served_once(farm: &Farm, by: &[usize]) {
    // The first segments and refusals alone: of a burst on loaded cores a capture loses some.
    let begin = "(ip and tcp[13] & 6 != 0) or (ip6 and ip6[53] & 6 != 0)";
    let capture = farm.client.capture(&farm.network, begin).unwrap();
    for vip in farm.vips {
        let served = farm.connect(vip, CONNECTIONS / 2);
        let servers: Vec<usize> =
            shares(served.iter().map(|(_, by)| by)).into_keys().map(usize::from).collect();
        assert_eq!(servers, by, "{:?} {vip}: {}", farm.case, farm.said());
        farm.check_ping(vip);
    }
    check_once(&capture, farm, CONNECTIONS, 0);
}
