//! What `nft` lists of the rules it loads again, as `/etc/nftables.conf` is made of a listing.

use std::io::Write;
use std::process::{Output, Stdio};
use std::time::Duration;

use ha_core::driver::Clock;
use ha_core::ha_farm::Mode;
use ha_core::proto::Prng;
use ha_lab::Host;

use crate::nft::{Rig, filter, small};

/// Of each mode some, with all that rules can say.
const FILTERS: usize = 12;

#[test]
fn what_nft_lists_of_the_rules_it_loads_again() {
    let Some(mut rig) = Rig::start("listed_and_loaded") else { return };
    let mut prng = Prng::new(9);
    let small = [Mode::Invisible, Mode::Directed].map(|mode| small(mode, 40));
    let some = (0..FILTERS).map(|_| filter(&mut prng));
    for filter in small.into_iter().chain(some) {
        rig.install(&filter);
        let until = Clock::of_the_machine().now() + Duration::from_mins(9);
        rig.plane.lease(until).unwrap();
        let listed = list(&rig.host);
        // As the file of a listing begins: what is there is not to be there twice.
        let file = format!("flush ruleset\n{listed}");
        let checked = nft(&rig.host, &["-c", "-f", "-"], &file);
        assert!(checked.status.success(), "{}\n{listed}", text(&checked.stderr));
        let loaded = nft(&rig.host, &["-f", "-"], &file);
        assert!(loaded.status.success(), "{}\n{listed}", text(&loaded.stderr));
        assert_eq!(timeless(&list(&rig.host)), timeless(&listed));
        // In mode directed `nft` leaves out of a listing that a frame that is handed on may be
        // tagged: what it loads drops those.
        if filter.setup().mode == Mode::Invisible {
            assert!(rig.decides_by(&filter, true), "{listed}");
        }
    }
}

fn list(host: &Host) -> String {
    let listed = nft(host, &["list", "ruleset"], "");
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    text(&listed.stdout)
}

fn nft(host: &Host, arguments: &[&str], input: &str) -> Output {
    let mut command = host.command("nft");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writes = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writes.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Without what goes by with the time: how long the lease still is.
fn timeless(listed: &str) -> Vec<&str> {
    listed.lines().map(|line| line.split(" expires ").next().unwrap_or(line)).collect()
}
