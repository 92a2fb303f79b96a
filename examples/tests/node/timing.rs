//! FIELD.md, row 15: timers that are not of whole seconds.

use std::process::Command;
use std::time::Duration;

use ha_lab::{Capture, now, within};

use crate::SOON;
use crate::rig::{MODULE, PROMPT, Rig, Vote, told, until_answers};

/// How long beats are watched at least: some hundreds.
const SPAN: Duration = Duration::from_secs(5);

/// So many beats follow each other with none that is late by an interval or more, which begins the
/// pace anew: half a second, which any machine has now and then.
const RUN: u32 = 40;

/// The extra beats that a change costs, and the first beat's own delay, are less than that. Half a
/// millisecond of each interval adds up to more than twice as much.
const SPARE: Duration = Duration::from_millis(50);

/// When the beats of one node came by, in seconds, by the kernel's own time-stamps.
struct Beats(Vec<f64>);

impl Beats {
    /// Those that are in a capture until now, from the node with this address.
    fn of(capture: &Capture, from: &str) -> Self {
        let text = told(Command::new("tcpdump").args(["-tt", "-nn", "-r"]).arg(capture.file()));
        // `1700000000.123456 IP 10.77.1.1.7400 > 10.77.1.2.7400: UDP, …`
        let from = format!(" IP {from}.");
        let lines = text.lines().filter(|line| line.contains(&from));
        Self(lines.filter_map(|line| line.split(' ').next()?.parse().ok()).collect())
    }

    /// By how much the least late beat of the second half is ahead of the least late one of the
    /// first, if `interval` lies between two. Beats that are late, however late, say nothing here.
    fn ahead(&self, interval: Duration) -> f64 {
        let due = (0..).map(|number| f64::from(number) * interval.as_secs_f64());
        let late: Vec<f64> = self.0.iter().zip(due).map(|(at, due)| at - due).collect();
        let (first, second) = late.split_at(late.len() / 2);
        let least = |half: &[f64]| half.iter().copied().fold(f64::INFINITY, f64::min);
        least(first) - least(second)
    }

    /// The mean of the quickest run of beats.
    fn quickest(&self) -> f64 {
        let ends = self.0.iter().zip(self.0.iter().skip(RUN as usize));
        let runs = ends.map(|(first, last)| (last - first) / f64::from(RUN));
        runs.fold(f64::INFINITY, f64::min)
    }
}

/// One node beats each 10 ms and the other each 10.5 ms, and neither sends a beat too many nor, as
/// long as the machine lets it, one too few: what is rounded to milliseconds would be seen.
#[test]
fn field_15_intervals_are_kept_to_the_microsecond() {
    let Some(mut rig) = Rig::new("field_15_beats", Vote::None, 1) else { return };
    rig.configure("", "");
    let intervals = [10_500, 10_000];
    for (node, micros) in intervals.into_iter().enumerate() {
        let interval = format!("heartbeat = \"{micros}us\"");
        rig.replace(node, &[("heartbeat = \"50ms\"", &interval)]);
        rig.start(node);
    }
    rig.until_whole(0);
    let network = rig.networks[0].clone();
    let capture = rig.hosts[1].capture(&network, "udp and port 7400").unwrap();
    within(SPAN, || false);
    for (node, micros) in intervals.into_iter().enumerate() {
        let (interval, own) = (Duration::from_micros(micros), rig.hosts[node].v4(&network));
        let beats = || Beats::of(&capture, &own.to_string());
        // One in fifty: a tenth of a millisecond either way is none of these intervals.
        let quick = interval.as_secs_f64() * 1.02;
        assert!(
            within(SOON, || beats().quickest() < quick),
            "{interval:?}: {}",
            beats().quickest()
        );
        let beats = beats();
        let (count, quickest, ahead) = (beats.0.len(), beats.quickest(), beats.ahead(interval));
        println!(
            "{interval:?}: {count} beats, at best each {quickest:.6} s, ahead by {ahead:.6} s"
        );
        assert!(count > RUN as usize * 4, "{count} beats in {SPAN:?} and more");
        assert!(ahead < SPARE.as_secs_f64(), "{interval:?}: {count} beats, ahead by {ahead} s");
    }
}

/// What timers of whole seconds cannot do: a peer is lost after three of them, the first of which may
/// pass in no time.
const WHOLE: Duration = Duration::from_secs(2);

/// The profile `fast` as it is documented: 10 ms beats, lost after 30 ms. Without a witness its lease
/// is how long addresses live unrenewed; a loaded machine may take longer to run a script.
#[test]
fn field_15_a_takeover_by_the_profile_of_ten_milliseconds_takes_no_seconds() {
    let Some(mut rig) = Rig::new("field_15_takeover", Vote::None, 1) else { return };
    rig.configure("profile = \"fast\"\nlease = \"3s\"\n", "");
    // The service runs on both all the time: only the addresses move.
    let _services = rig.hosts.each_ref().map(|host| host.serve(&rig.targets()).unwrap());
    for node in 0..2 {
        rig.replace(node, &[(PROMPT, "")]);
        for script in ["start_prim", "stop_prim"] {
            rig.nodes[node].script(MODULE, script, "true").unwrap();
        }
        rig.start(node);
    }
    rig.until_whole(0);
    let probers = rig.probers();
    until_answers(&probers, "a");
    let cut = rig.cables(0);
    let struck = now();
    rig.lab.cut(&cut).unwrap();
    until_answers(&probers, "b");
    for report in probers.map(|prober| prober.finish().unwrap()) {
        let mut answers = report.answers.iter();
        let first = answers.find(|it| it.sent >= struck && &*it.by == "b").unwrap();
        let took = first.heard.saturating_since(struck);
        // A prober goes before all other programs: when it was late the machine stood still.
        println!(
            "served by the other one after {took:?}; the prober was late by {:?}",
            report.late
        );
        assert!(took < WHOLE + report.late, "{took:?}, {:?}", report.late);
    }
}
