//! Single networks: on which of them a member is heard, and hears this node.
//!
//! Views are made without it: any network suffices to be linked. It is for operators, who mend one
//! before the last one fails.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::BufMut;
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{Boot, Instant, LinkId, NodeId, NodeSet};

use crate::farm::{Config, Identity, Timing};

/// All networks to all members: as much memory from the start as ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Links {
    /// D: who is silent for so long on a network is not heard there.
    timeout: Duration,
    /// What a member that dies is given, so that its links are not told one by one: one of its last
    /// two beats may have been lost on one of them.
    grace: Duration,
    peers: BTreeMap<NodeId, Peer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Peer {
    /// Since when it is heard, on whatever network, without a silence.
    heard: Option<Instant>,
    rows: Vec<Row>,
}

/// One network to one member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    /// The newest number that came on it, and of which boot.
    newest: Option<(Boot, u64)>,
    /// When that was.
    heard: Option<Instant>,
    /// When one came that says that its sender hears this node on it.
    mutual: Option<Instant>,
    /// Whether it works, and since when; `None` as long as that was not judged.
    works: Option<(bool, Instant)>,
}

/// One network to one member, as an operator is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkView {
    /// Whether the member is heard on it, and hears this node. One to a member that is heard is up
    /// until it is judged, two beats after D at the latest.
    pub up: bool,
    /// Since when that is so; `None` as long as the member was never heard on it, or was not judged.
    pub since: Option<Instant>,
}

/// A beat of a member that is believed, as far as networks are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) from: NodeId,
    pub(super) link: LinkId,
    pub(super) boot: Boot,
    pub(super) number: u64,
    /// Its sender says that it hears this node on this network.
    pub(super) mutual: bool,
}

impl Links {
    pub(super) fn new(identity: &Identity, timing: &Timing) -> Self {
        let rows = alloc::vec![Row::default(); usize::from(identity.links)];
        let others = identity.members.without(identity.me);
        let peers = others.iter().map(|node| (node, Peer { heard: None, rows: rows.clone() }));
        let (timeout, grace) = (timing.timeout(), timing.timeout() + timing.interval * 2);
        Self { timeout, grace, peers: peers.collect() }
    }

    /// Takes notice of a beat. Each counts once on each network.
    pub(super) fn hear(&mut self, now: Instant, it: Arrival) {
        let peer = self.peers.get_mut(&it.from);
        let Some(row) = peer.and_then(|peer| peer.rows.get_mut(usize::from(it.link.0))) else {
            return;
        };
        if row.newest.is_some_and(|(boot, number)| boot == it.boot && number >= it.number) {
            return;
        }
        row.newest = Some((it.boot, it.number));
        row.heard = Some(now);
        if it.mutual {
            row.mutual = Some(now);
        }
    }

    /// Judges all networks to a member, which is heard on one of them or is not, and tells each that
    /// works no more, or again. To be asked at each beat of this node's, and only then: so nothing
    /// is due for the sake of links alone.
    ///
    /// Of a member that is silent altogether no link is told, nor what one is found to be first.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        node: NodeId,
        is_heard: bool,
        mut tell: impl FnMut(LinkId, bool),
    ) {
        let (timeout, grace) = (self.timeout, self.grace);
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if !is_heard {
            peer.heard = None;
            return;
        }
        if peer.heard.is_none() {
            // How long it worked before the silence is nothing to it now.
            for row in &mut peer.rows {
                row.works = row.works.map(|(works, _)| (works, now));
            }
        }
        let since = *peer.heard.get_or_insert(now);
        for (link, row) in (0..).map(LinkId).zip(&mut peer.rows) {
            let Some(works) = row.judge(now, since, timeout, grace) else { continue };
            let before = row.works.map(|(works, _)| works);
            if before != Some(works) {
                row.works = Some((works, now));
                if before.is_some() {
                    tell(link, works);
                }
            }
        }
    }

    /// Whom this node hears on each network, behind a beat's body; as many of them as are told.
    pub(super) fn encode(&self, now: Instant, count: u8, out: &mut impl BufMut) {
        for at in 0..usize::from(count) {
            let on = |peer: &Peer| peer.rows[at].is_heard(now, self.timeout);
            let heard = self.peers.iter().filter(|(_, peer)| on(peer));
            let bits = heard.map(|(&node, _)| node).collect::<NodeSet>().bits();
            out.put_u64(u64::try_from(bits).expect("the members of a farm have ids below 64"));
        }
    }

    /// What is known of the networks to a member that is heard, or is not.
    pub(super) fn of(&self, node: NodeId, is_heard: bool) -> Vec<LinkView> {
        let rows = self.peers.get(&node).map_or(&[][..], |peer| &peer.rows);
        let view = |row: &Row| match row.works {
            Some((up, since)) if is_heard => LinkView { up, since: Some(since) },
            // As after a hand-over: nobody found that it does not work.
            None if is_heard => LinkView { up: true, since: None },
            Some(_) | None => LinkView { up: false, since: row.heard },
        };
        rows.iter().map(view).collect()
    }
}

impl Row {
    fn is_heard(&self, now: Instant, timeout: Duration) -> bool {
        self.heard.is_some_and(|at| now < at + timeout)
    }

    /// Whether it works to a member that is heard since then; `None`: as before.
    fn judge(
        &self,
        now: Instant,
        since: Instant,
        timeout: Duration,
        grace: Duration,
    ) -> Option<bool> {
        let hears = self.mutual.is_some_and(|at| now < at + timeout);
        if self.is_heard(now, timeout) && hears {
            return Some(true);
        }
        let last = self.heard.min(self.mutual).map_or(since, |last| last.max(since));
        (now >= last + grace).then_some(false)
    }
}

/// Splits what members say of networks from a beat's body, and whether the sender hears `me` on
/// this one; `flags` are the header's, and say of how many it tells.
pub(super) fn split(
    flags: u8,
    body: &[u8],
    link: LinkId,
    me: NodeId,
) -> Result<(&[u8], bool), DecodeError> {
    let told = usize::from(flags & COUNT);
    let len = (told <= usize::from(Config::LINKS_MAX)).then_some(told * SET_LEN);
    let at = len.and_then(|len| body.len().checked_sub(len));
    let at = at.ok_or(DecodeError::Invalid("whom it hears on each network"))?;
    let (beat, sets) = body.split_at(at);
    let mut from = Reader::new(sets);
    let mut mutual = false;
    for on in (0..).map(LinkId).take(told) {
        let heard = NodeSet::from_bits(from.u64("whom it hears on a network")?.into());
        mutual |= on == link && heard.contains(me);
    }
    Ok((beat, mutual))
}

/// The flags of a beat that tells of so many networks.
pub(super) fn flags(links: u8) -> u8 {
    assert!(links <= Config::LINKS_MAX, "a reader would refuse so many networks");
    links
}

/// The bits of a beat's flags that count networks; the others mean nothing yet.
const COUNT: u8 = 0x0f;
pub(super) const SET_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const ME: u8 = 0;
    const OTHER: u8 = 5;

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    /// Two networks to one member, beats each 100 ms: D is 300 ms.
    fn links() -> Links {
        let (cluster, module) = (ha_proto::ClusterId(1), ha_proto::ModuleId(1));
        let members = [node(ME), node(OTHER)].into_iter().collect();
        let identity = Identity { cluster, module, me: node(ME), members, links: 2 };
        Links::new(&identity, &Timing::default())
    }

    /// A member that beats each 100 ms, and what is told of it.
    struct Beating {
        links: Links,
        number: u64,
        told: Vec<(u64, u8, bool)>,
    }

    impl Beating {
        fn new() -> Self {
            Self { links: links(), number: 0, told: Vec::new() }
        }

        /// From `from` to `to`, in milliseconds, beats come as `on` says of each network: whether
        /// they come, and whether they say that this node is heard.
        fn run(&mut self, from: u64, to: u64, on: [Option<bool>; 2]) {
            for millis in (from..to).step_by(100) {
                self.number += 1;
                for (link, mutual) in (0..).map(LinkId).zip(on) {
                    let Some(mutual) = mutual else { continue };
                    let (from, boot, number) = (node(OTHER), Boot(7), self.number);
                    self.links.hear(at(millis), Arrival { from, link, boot, number, mutual });
                }
                self.judge(millis + 50, on.iter().any(Option::is_some));
            }
        }

        fn judge(&mut self, millis: u64, heard: bool) {
            let told = &mut self.told;
            let tell = |link: LinkId, up| told.push((millis, link.0, up));
            self.links.judge(at(millis), node(OTHER), heard, tell);
        }

        fn up(&self, heard: bool) -> [bool; 2] {
            let links = self.links.of(node(OTHER), heard);
            [links[0].up, links[1].up]
        }
    }

    const BOTH: [Option<bool>; 2] = [Some(true), Some(true)];

    #[test]
    fn a_network_that_is_cut_is_told_once_and_its_return_as_well() {
        let mut it = Beating::new();
        it.run(0, 1_000, BOTH);
        assert_eq!((it.up(true), it.told.len()), ([true, true], 0), "what works is no news");
        it.run(1_000, 3_000, [Some(true), None]);
        // Last heard at 900, and 2 i behind D.
        assert_eq!(it.told, [(1_450, 1, false)]);
        assert_eq!(it.up(true), [true, false]);
        let since = it.links.of(node(OTHER), true)[1].since;
        assert_eq!(since, Some(at(1_450)));
        it.run(3_000, 4_000, BOTH);
        assert_eq!(it.told, [(1_450, 1, false), (3_050, 1, true)]);
        assert_eq!(it.up(true), [true, true]);
    }

    #[test]
    fn a_network_is_down_for_both_where_one_does_not_hear_the_other() {
        let mut it = Beating::new();
        it.run(0, 1_000, BOTH);
        it.run(1_000, 2_000, [Some(true), Some(false)]);
        assert_eq!(it.told, [(1_450, 1, false)]);
        it.run(2_000, 2_100, BOTH);
        assert_eq!(it.told.last(), Some(&(2_050, 1, true)));
    }

    #[test]
    fn a_member_that_dies_is_not_told_link_by_link() {
        let mut it = Beating::new();
        it.run(0, 1_000, BOTH);
        // The last two beats came on one of the networks only.
        it.run(1_000, 1_200, [Some(true), None]);
        for millis in (1_250..1_400).step_by(50) {
            it.judge(millis, true);
        }
        it.judge(1_401, false);
        assert_eq!((it.told.len(), it.up(false)), (0, [false, false]));
        assert_eq!(it.links.of(node(OTHER), false)[1].since, Some(at(900)));
        // It comes back, and one of its networks does not.
        it.run(9_000, 9_500, [Some(true), None]);
        assert_eq!(it.told, [], "it has just come");
        it.run(9_500, 10_000, [Some(true), None]);
        assert_eq!(it.told, [(9_550, 1, false)]);
    }

    #[test]
    fn what_a_network_is_found_to_be_first_is_shown_and_not_told() {
        let mut it = Beating::new();
        it.run(0, 1_000, [None, Some(true)]);
        assert_eq!((it.told.len(), it.up(true)), (0, [false, true]));
        it.run(1_000, 1_100, BOTH);
        assert_eq!(it.told, [(1_050, 0, true)]);
    }

    #[test]
    fn a_beat_counts_once_on_each_network() {
        let mut it = links();
        let beat = |link, boot, number| Arrival {
            from: node(OTHER),
            link: LinkId(link),
            boot: Boot(boot),
            number,
            mutual: true,
        };
        let heard = |it: &Links, millis| {
            let mut out = Vec::new();
            it.encode(at(millis), 2, &mut out);
            [out[7] != 0 || out[..7] != [0; 7], out[15] != 0 || out[8..15] != [0; 7]]
        };
        it.hear(at(0), beat(0, 7, 3));
        it.hear(at(0), beat(1, 7, 3));
        it.hear(at(200), beat(1, 7, 3));
        it.hear(at(200), beat(1, 7, 2));
        assert_eq!(heard(&it, 299), [true, true]);
        assert_eq!(heard(&it, 300), [false, false], "a recording keeps no network alive");
        it.hear(at(300), beat(1, 8, 1));
        assert_eq!(heard(&it, 301), [false, true], "another process counts anew");
        // Neither a network nor a member that is not configured has a place.
        it.hear(at(300), beat(2, 8, 2));
        it.hear(at(300), Arrival { from: node(9), ..beat(0, 8, 2) });
        assert_eq!(heard(&it, 301), [false, true]);
    }

    #[test]
    fn the_largest_farm_has_a_row_for_each() {
        let (cluster, module) = (ha_proto::ClusterId(1), ha_proto::ModuleId(1));
        let members = (0..64).map(node).collect();
        let identity = Identity { cluster, module, me: node(63), members, links: 8 };
        let mut it = Links::new(&identity, &Timing::default());
        let all = |it: &mut Links, millis, number| {
            for (from, link) in (0..64).flat_map(|from| (0..8).map(move |link| (from, link))) {
                let mutual = link != from % 8;
                let (from, link, boot) = (node(from), LinkId(link), Boot(7));
                it.hear(at(millis), Arrival { from, link, boot, number, mutual });
            }
        };
        all(&mut it, 0, 1);
        let mut out = Vec::new();
        it.encode(at(1), 8, &mut out);
        assert_eq!(out, [&[0x7f][..], &[0xff; 7]].concat().repeat(8), "all but this one");
        for millis in [1, 299] {
            it.judge(at(millis), node(5), true, |_, _| panic!("nothing changes"));
        }
        let up = |it: &Links| it.of(node(5), true).iter().map(|it| it.up).collect::<Vec<_>>();
        assert_eq!(up(&it), [true; 8], "it was not judged");
        all(&mut it, 400, 2);
        it.judge(at(501), node(5), true, |_, _| panic!("it was never up"));
        assert_eq!(up(&it), [true, true, true, true, true, false, true, true]);
        assert_eq!(it.of(node(63), true), [], "there is no network to itself");
    }

    #[test]
    fn what_is_said_of_networks_stands_behind_the_beat() {
        let mut it = links();
        let (from, boot, number, mutual) = (node(OTHER), Boot(7), 1, true);
        it.hear(at(0), Arrival { from, link: LinkId(1), boot, number, mutual });
        let mut body = b"beat".to_vec();
        it.encode(at(1), 2, &mut body);
        assert_eq!(body, b"beat\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x20");
        let read = |flags, link, me| split(flags, &body, LinkId(link), node(me));
        assert_eq!(read(flags(2), 1, OTHER), Ok((&b"beat"[..], true)));
        assert_eq!(read(flags(2), 0, OTHER), Ok((&b"beat"[..], false)));
        assert_eq!(read(flags(2), 1, ME), Ok((&b"beat"[..], false)));
        assert_eq!(read(flags(2), 7, OTHER), Ok((&b"beat"[..], false)));
        assert_eq!(read(0xf2, 1, OTHER), Ok((&b"beat"[..], true)), "unknown flags are ignored");
        assert_eq!(read(0, 1, OTHER), Ok((&body[..], false)), "it tells of none");
        let refused = Err(DecodeError::Invalid("whom it hears on each network"));
        assert_eq!(read(3, 1, OTHER), refused);
        assert_eq!(read(9, 1, OTHER), refused);
    }
}
