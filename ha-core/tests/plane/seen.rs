//! Who answered what, as a client's captured frames tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use ha_lab::{Capture, Host, within};

use crate::rig::{Farm, SOON};

/// What came from the VIPs.
#[derive(Default)]
pub(crate) struct Seen {
    /// By client's port and what was answered: from which hosts.
    answers: BTreeMap<String, BTreeSet<usize>>,
    /// Of each SYN: who answered it, and the number that a server began with, or a refusal.
    began: BTreeMap<String, BTreeSet<(usize, Option<u32>)>>,
    /// Answers to echo requests and datagrams, each of which is one packet.
    singles: BTreeMap<String, usize>,
    talks: BTreeMap<String, Talk>,
}

/// One connection, by client's and server's end.
#[derive(Default)]
struct Talk {
    /// What answers to the client's SYNs acknowledge.
    begun: BTreeSet<u32>,
    /// Where packets of the client end that say something, and how often each was sent.
    sent: BTreeMap<u32, usize>,
    /// By what a packet of the client acknowledges: where the last such one ends.
    last: BTreeMap<u32, Option<u32>>,
    /// What each host acknowledged.
    acknowledged: BTreeMap<usize, BTreeSet<u32>>,
    /// Who refused the packet that ends there.
    refused: Vec<(usize, u32)>,
}

/// A line of tcpdump's about TCP.
struct Segment<'a> {
    flags: &'a str,
    seq: Option<u32>,
    /// Behind the last byte; nothing if it says nothing.
    end: Option<u32>,
    ack: Option<u32>,
}

impl<'a> Segment<'a> {
    fn read(words: &[&'a str]) -> Option<Self> {
        let after = |word: &str| {
            let at = words.iter().position(|it| *it == word)?;
            words.get(at + 1).copied()
        };
        let flags = after("Flags")?;
        let mut numbers = after("seq").into_iter().flat_map(|it| it.split(':'));
        let mut next = || numbers.next().and_then(|it| it.parse::<u32>().ok());
        let (seq, data) = (next(), next());
        let end = match (flags.contains('F'), seq) {
            (true, Some(seq)) => Some(data.unwrap_or(seq).wrapping_add(1)),
            _ => data,
        };
        Some(Self { flags, seq, end, ack: after("ack").and_then(|it| it.parse().ok()) })
    }
}

impl Seen {
    /// Of lines of tcpdump's.
    pub(crate) fn of(lines: &[String], farm: &Farm) -> Self {
        // Who has no interface just now answers nothing.
        let mac = |host: &Host| host.mac(&farm.network).map_or("-".into(), |mac| mac.to_string());
        let macs: Vec<String> = farm.hosts.iter().map(mac).collect();
        Self::read(lines, &macs, &farm.vips)
    }

    fn read(lines: &[String], macs: &[String], vips: &[IpAddr]) -> Self {
        let is_vip = |end: &str| {
            let its = |vip: &String| end == vip || end.starts_with(&format!("{vip}."));
            vips.iter().map(ToString::to_string).any(|vip| its(&vip))
        };
        let mut seen = Self::default();
        for line in lines {
            let words: Vec<&str> =
                line.split_whitespace().map(|it| it.trim_end_matches([',', ':'])).collect();
            let host = macs.iter().position(|mac| *mac == words[0]);
            // The second arrow is between addresses.
            let Some(arrow) = words.iter().skip(3).position(|it| *it == ">").map(|at| at + 3)
            else {
                continue;
            };
            let (from, to) = (words[arrow - 1], words[arrow + 1]);
            let segment = Segment::read(&words[arrow..]);
            match (host, segment) {
                (None, Some(segment)) if is_vip(to) => {
                    seen.talks.entry(format!("{to} {from}")).or_default().asks(&segment);
                }
                (Some(host), Some(segment)) if is_vip(from) => {
                    seen.answers(host, from, to, &segment);
                }
                (Some(_), None) if is_vip(from) => seen.single(line, &words[arrow..], from, to),
                _ => {}
            }
        }
        seen
    }

    fn answers(&mut self, host: usize, from: &str, to: &str, segment: &Segment<'_>) {
        let flow = format!("{from} {to}");
        let talk = self.talks.entry(flow.clone()).or_default();
        let refuses = segment.flags.contains('R');
        let of_syn = segment.ack.filter(|ack| segment.flags == "[S.]" || talk.begun.contains(ack));
        if let Some(ack) = of_syn.filter(|_| refuses || segment.flags == "[S.]") {
            let number = segment.seq.filter(|_| !refuses);
            self.began.entry(format!("{to} {ack}")).or_default().insert((host, number));
        }
        if refuses {
            // It says that there is no connection, as whoever owns the bucket may: unless the
            // packet that it answers was another one's.
            talk.refuse(host, segment);
            return;
        }
        talk.acknowledged.entry(host).or_default().extend(segment.ack);
        self.answers.entry(flow).or_default().insert(host);
    }

    fn single(&mut self, line: &str, words: &[&str], from: &str, to: &str) {
        let after = |word: &str| {
            let at = words.iter().position(|it| *it == word)?;
            words.get(at + 1)
        };
        if line.contains("echo reply") {
            let which = format!("{from} {to} {:?}", (after("id"), after("seq")));
            *self.singles.entry(which).or_default() += 1;
        } else if line.contains("UDP") {
            *self.singles.entry(format!("{from} {to} UDP")).or_default() += 1;
        }
    }

    /// How many connections.
    pub(crate) fn began(&self) -> usize {
        let begun = |by: &&BTreeSet<(usize, Option<u32>)>| by.iter().any(|(_, it)| it.is_some());
        self.began.values().filter(begun).count()
    }

    /// How many answers that are one packet.
    pub(crate) fn singles(&self) -> usize {
        self.singles.values().sum()
    }
}

impl Talk {
    fn asks(&mut self, segment: &Segment<'_>) {
        if segment.flags == "[S]" {
            self.begun.extend(segment.seq.map(|seq| seq.wrapping_add(1)));
        }
        if segment.flags.contains('R') {
            return;
        }
        if let Some(end) = segment.end {
            *self.sent.entry(end).or_default() += 1;
        }
        if let Some(ack) = segment.ack {
            self.last.insert(ack, segment.end);
        }
    }

    /// A kernel refuses a packet of a connection that it has not by a RST that begins with what
    /// that acknowledges, and acknowledges nothing.
    fn refuse(&mut self, host: usize, segment: &Segment<'_>) {
        if segment.ack.is_none()
            && let Some(Some(end)) = segment.seq.and_then(|seq| self.last.get(&seq))
        {
            self.refused.push((host, *end));
        }
    }

    /// What was refused by one and acknowledged by another one, although it was sent once.
    fn parted(&self) -> impl Iterator<Item = [usize; 2]> {
        self.refused.iter().filter_map(|(host, end)| {
            // Ports are used again, with numbers far from these.
            let covers = |ack: &u32| ack.wrapping_sub(*end) < NEAR;
            let took = |(other, acks): &(&usize, &BTreeSet<u32>)| {
                *other != host && acks.iter().any(covers)
            };
            let other = self.acknowledged.iter().find(took).filter(|_| self.sent[end] == 1)?;
            Some([*host, *other.0])
        })
    }
}

/// What was answered by more than one server, or more than once where one packet is the answer.
pub(crate) fn twice(seen: &Seen) -> Vec<String> {
    let by_many = seen.answers.iter().filter(|(_, by)| by.len() > 1);
    let by_many = by_many.map(|(flow, by)| format!("{flow}: by {by:?}"));
    let begun = seen.began.iter().filter(|(_, by)| {
        let hosts: BTreeSet<usize> = by.iter().map(|(host, _)| *host).collect();
        hosts.len() > 1 || by.iter().filter(|(_, number)| number.is_some()).count() > 1
    });
    let begun = begun.map(|(flow, by)| format!("{flow}: begun with {by:?}"));
    let parted = seen.talks.iter().flat_map(|(flow, talk)| {
        talk.parted().map(move |[no, yes]| format!("{flow}: refused by {no}, taken by {yes}"))
    });
    let again = seen.singles.iter().filter(|(_, count)| **count > 1);
    let again = again.map(|(flow, count)| format!("{flow}: {count} times"));
    by_many.chain(begun).chain(parted).chain(again).collect()
}

/// Waits until a capture has so many connections and answers that are one packet, or finding nobody
/// twice would say nothing; nobody was answered by two.
pub(crate) fn check_once(capture: &Capture, farm: &Farm, began: usize, singles: usize) -> Seen {
    let mut seen = Seen::default();
    // They come to the file a moment later, the last one in parts.
    let all = within(SOON, || {
        if let Ok(lines) = capture.lines() {
            seen = Seen::of(&lines, farm);
        }
        seen.began() >= began && seen.singles() >= singles
    });
    let case = farm.case;
    assert!(all, "{case:?}: {} and {} were captured", seen.began(), seen.singles());
    let twice = twice(&seen);
    assert!(twice.is_empty(), "{case:?}: {twice:?}");
    seen
}

/// More than a client sends in one connection.
const NEAR: u32 = 1 << 20;

/// The frames of a file of tcpdump's.
pub(crate) fn frames_of(file: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(file).unwrap();
    let mut rest = bytes.get(24..).unwrap_or(&[]);
    let mut frames = Vec::new();
    // Two words of time, and two lengths: what was kept, and what there was.
    while let Some((head, after)) = rest.split_first_chunk::<16>() {
        let len = u32::from_ne_bytes(*head[8..].first_chunk().unwrap()) as usize;
        let (frame, after) = after.split_at(len);
        frames.push(frame.to_vec());
        rest = after;
    }
    frames
}

/// The hardware address that a frame of ARP or neighbor discovery tells of the VIP: as its sender,
/// or as who is asked for.
pub(crate) fn claim(frame: &[u8], vip: IpAddr) -> Option<[u8; 6]> {
    let mac = |at: usize| frame.get(at..)?.first_chunk().copied();
    let kind = frame.get(12..14)?;
    match vip {
        IpAddr::V4(vip) if kind == [8, 6] && frame.get(28..32)? == vip.octets() => mac(22),
        IpAddr::V6(vip) if kind == [0x86, 0xdd] && frame.get(20) == Some(&58) => {
            let (sender, target) = (frame.get(22..38)?, frame.get(62..78)?);
            match frame.get(54)? {
                // A solicitation with an option, the sender's own hardware address.
                135 if sender == vip.octets() => mac(80),
                136 if target == vip.octets() => mac(80),
                _ => None,
            }
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// Lines of a client's at 192.0.2.9, and of servers 0 and 1.
fn judged(lines: &[(&str, &str)]) -> Vec<String> {
    let macs = ["02:00:00:00:00:00", "02:00:00:00:00:01"].map(str::to_owned);
    let line = |(from, what): &(&str, &str)| {
        let (mac, ends) = match *from {
            "client" => ("02:00:00:00:00:09", "192.0.2.9.4000 > 192.0.2.1.80"),
            "0" => (&*macs[0], "192.0.2.1.80 > 192.0.2.9.4000"),
            _ => (&*macs[1], "192.0.2.1.80 > 192.0.2.9.4000"),
        };
        format!("{mac} > 5a:fe:c0:00:02:01, ethertype IPv4 (0x0800), length 66: {ends}: {what}")
    };
    let lines: Vec<String> = lines.iter().map(line).collect();
    twice(&Seen::read(&lines, &macs, &["192.0.2.1".parse().unwrap()]))
}

#[test]
fn who_is_answered_by_two_is_seen() {
    let begin = [
        ("client", "Flags [S], seq 10, win 64240, length 0"),
        ("0", "Flags [S.], seq 50, ack 11, win 65160, length 0"),
        ("client", "Flags [.], ack 51, win 502, length 0"),
        ("client", "Flags [P.], seq 11:12, ack 51, win 502, length 1"),
    ];
    let taken = ("0", "Flags [P.], seq 51:52, ack 12, win 509, length 1");
    let refused = ("1", "Flags [R], seq 51, win 0, length 0");
    let with = |more: &[(&str, &str)]| judged(&[&begin[..], more].concat());
    assert_eq!(with(&[taken]), [] as [&str; 0]);
    for more in [[taken, refused], [refused, taken]] {
        assert_eq!(with(&more), ["192.0.2.1.80 192.0.2.9.4000: refused by 1, taken by 0"]);
    }
    let ended = [
        taken,
        ("client", "Flags [F.], seq 12, ack 52, win 502, length 0"),
        ("0", "Flags [F.], seq 52, ack 13, win 509, length 0"),
        ("1", "Flags [R], seq 52, win 0, length 0"),
    ];
    assert_eq!(with(&ended), ["192.0.2.1.80 192.0.2.9.4000: refused by 1, taken by 0"]);
    for second in [
        "Flags [S.], seq 70, ack 11, win 9, length 0",
        "Flags [R.], seq 0, ack 11, win 0, length 0",
    ] {
        assert!(!with(&[("1", second)]).is_empty(), "{second}");
    }
}

#[test]
fn who_owns_a_bucket_now_may_refuse_what_another_one_served() {
    let begin = [
        ("client", "Flags [S], seq 10, win 64240, length 0"),
        ("0", "Flags [S.], seq 50, ack 11, win 65160, length 0"),
        ("client", "Flags [.], ack 51, win 502, length 0"),
        ("client", "Flags [P.], seq 11:12, ack 51, win 502, length 1"),
        ("0", "Flags [.], ack 12, win 509, length 0"),
    ];
    let refused = ("1", "Flags [R], seq 51, win 0, length 0");
    let next = ("client", "Flags [P.], seq 12:13, ack 51, win 502, length 1");
    // What the first one was not asked, or was asked once more.
    for more in [&[next, refused][..], &[begin[3], refused]] {
        assert_eq!(judged(&[&begin[..], more].concat()), [] as [&str; 0]);
    }
    // Both ends of a connection that had its time to end.
    let swept = ("0", "Flags [R.], seq 51, ack 12, win 509, length 0");
    assert_eq!(judged(&[&begin[..], &[next, swept, refused]].concat()), [] as [&str; 0]);
}
