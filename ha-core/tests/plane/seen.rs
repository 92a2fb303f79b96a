//! Who answered what, as a client's captured frames tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use ha_lab::Host;

use crate::rig::Farm;

/// What came from the VIPs.
pub(crate) struct Seen {
    /// By client's port and what was answered: from which hosts.
    answers: BTreeMap<String, BTreeSet<usize>>,
    /// Likewise the numbers that servers began with.
    began: BTreeMap<String, BTreeSet<String>>,
    /// Answers to echo requests and datagrams, each of which is one packet.
    singles: BTreeMap<String, usize>,
}

impl Seen {
    /// Of lines of tcpdump's.
    pub(crate) fn of(lines: &[String], farm: &Farm) -> Self {
        // Who has no interface just now answers nothing.
        let mac = |host: &Host| host.mac(&farm.network).map_or("-".into(), |mac| mac.to_string());
        let macs: Vec<String> = farm.hosts.iter().map(mac).collect();
        let vips = farm.vips.map(|vip| vip.to_string());
        let (answers, began, singles) = Default::default();
        let mut seen = Self { answers, began, singles };
        for line in lines {
            let words: Vec<&str> =
                line.split_whitespace().map(|it| it.trim_end_matches([',', ':'])).collect();
            let after = |word: &str, from: usize| {
                let at = words.iter().skip(from).position(|it| *it == word)?;
                words.get(from + at + 1).map(|it| (*it).to_owned())
            };
            let Some(host) = macs.iter().position(|mac| *mac == words[0]) else { continue };
            // The second arrow is between addresses.
            let Some(arrow) = words.iter().skip(3).position(|it| *it == ">").map(|at| at + 3)
            else {
                continue;
            };
            let (from, to) = (words[arrow - 1], words[arrow + 1]);
            if !vips.iter().any(|vip| from == vip || from.starts_with(&format!("{vip}."))) {
                continue;
            }
            if let Some(flags) = after("Flags", arrow) {
                if flags.contains('R') {
                    // It says that there is no connection; whoever owns the bucket may.
                    continue;
                }
                seen.answers.entry(format!("{from} {to}")).or_default().insert(host);
                if flags == "[S.]"
                    && let (Some(number), Some(ack)) = (after("seq", arrow), after("ack", arrow))
                {
                    seen.began.entry(format!("{to} {ack}")).or_default().insert(number);
                }
            } else if line.contains("echo reply") {
                let which = format!("{from} {to} {:?}", (after("id", arrow), after("seq", arrow)));
                *seen.singles.entry(which).or_default() += 1;
            } else if line.contains("UDP") {
                *seen.singles.entry(format!("{from} {to} UDP")).or_default() += 1;
            }
        }
        seen
    }

    /// How many connections.
    pub(crate) fn began(&self) -> usize {
        self.began.len()
    }

    /// How many answers that are one packet.
    pub(crate) fn singles(&self) -> usize {
        self.singles.values().sum()
    }
}

/// What was answered by more than one server, or more than once where one packet is the answer.
pub(crate) fn twice(seen: &Seen) -> Vec<String> {
    let by_many = seen.answers.iter().filter(|(_, by)| by.len() > 1);
    let by_many = by_many.map(|(flow, by)| format!("{flow}: by {by:?}"));
    let begun = seen.began.iter().filter(|(_, numbers)| numbers.len() > 1);
    let begun = begun.map(|(flow, numbers)| format!("{flow}: begun with {numbers:?}"));
    let again = seen.singles.iter().filter(|(_, count)| **count > 1);
    let again = again.map(|(flow, count)| format!("{flow}: {count} times"));
    by_many.chain(begun).chain(again).collect()
}

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
