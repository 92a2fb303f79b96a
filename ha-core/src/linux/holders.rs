//! Who has virtual addresses already: asked on the wire, once, by who owns none.

use core::convert::Infallible;
use core::future::poll_fn;
use core::net::IpAddr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::BTreeSet;
use std::io;
use std::prelude::rust_2024::*;

use ha_vip::{Mac, arp_probe, claim, neighbor_question};
use nix::ifaddrs::getifaddrs;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::VipsConfig;
use super::frames::Frames;
use super::link::Link;
use super::netlink::Netlink;

/// A host that answers for a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The address.
    pub address: IpAddr,
    /// Of the host's card.
    pub mac: Mac,
}

/// Which other hosts have addresses of these sets, by their answers to a question that changes no
/// cache; waits for them as long as `patience`, on the caller's thread. Interfaces that are not
/// there, down or not of Ethernet have no such hosts.
///
/// # Errors
/// The process lacks `CAP_NET_RAW`, or the system refuses something else.
pub fn holders(sets: &[&VipsConfig], patience: Duration) -> io::Result<BTreeSet<Holder>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let sets = sets.iter().map(|set| Card::open(set)).collect::<io::Result<Vec<_>>>()?;
        let cards: Vec<Card> = sets.into_iter().flatten().collect();
        let mut found = question(&cards, patience).await?;
        let own = own_cards()?;
        found.retain(|holder| !own.contains(&holder.mac));
        Ok(found)
    })
}

/// Who answers all of these, as long as `patience`: it is never known whether there is one more.
async fn question(cards: &[impl Ask], patience: Duration) -> io::Result<BTreeSet<Holder>> {
    let mut found = BTreeSet::new();
    for _ in 0..QUESTIONS {
        cards.iter().try_for_each(Ask::ask)?;
        let heard = poll_fn(|cx| listen(cards, cx, &mut found));
        let Err(_over) = timeout(patience / QUESTIONS, heard).await;
    }
    Ok(found)
}

/// One may be lost.
const QUESTIONS: u32 = 2;

/// Where hosts are asked, and heard.
trait Ask {
    fn ask(&self) -> io::Result<()>;

    /// Takes what has come, and has the task woken when more does.
    fn hear(&self, cx: &mut Context<'_>, found: &mut BTreeSet<Holder>);
}

/// An interface that addresses of one set would be on.
struct Card {
    mac: Mac,
    addresses: Vec<IpAddr>,
    frames: Frames,
}

impl Card {
    /// Those of a set. Needs the runtime's context.
    fn open(set: &VipsConfig) -> io::Result<Vec<Self>> {
        let mut netlink = Netlink::open(None)?;
        let names: BTreeSet<&str> = set.addresses.iter().map(|it| &*it.interface).collect();
        let mut cards = Vec::new();
        for name in names {
            let link = Link::find(&mut netlink, name)?.filter(|link| link.up);
            let Some((index, mac)) = link.and_then(|it| Some((it.index, it.mac?))) else {
                continue;
            };
            let on = set.addresses.iter().filter(|it| it.interface == name);
            let addresses: Vec<IpAddr> = on.map(|it| it.address).collect();
            let frames = Frames::open(index, &addresses)?;
            cards.push(Self { mac, addresses, frames });
        }
        Ok(cards)
    }
}

impl Ask for Card {
    fn ask(&self) -> io::Result<()> {
        self.addresses.iter().try_for_each(|ip| {
            self.frames.send(&match *ip {
                IpAddr::V4(ip) => arp_probe(ip, self.mac),
                IpAddr::V6(ip) => neighbor_question(ip, self.mac),
            })
        })
    }

    fn hear(&self, cx: &mut Context<'_>, found: &mut BTreeSet<Holder>) {
        let mut bytes = [0; Frames::BYTES_MAX];
        while let Poll::Ready(Ok(len)) = self.frames.poll_receive(cx, &mut bytes) {
            let claimed = claim(&bytes[..len]).filter(|it| self.addresses.contains(&it.ip));
            found.extend(claimed.map(|it| Holder { address: it.ip, mac: it.mac }));
        }
    }
}

/// Never ready: whoever waits for more gives up.
fn listen(
    cards: &[impl Ask],
    cx: &mut Context<'_>,
    found: &mut BTreeSet<Holder>,
) -> Poll<Infallible> {
    for card in cards {
        card.hear(cx, found);
    }
    Poll::Pending
}

/// A machine with two cards on one network answers itself.
fn own_cards() -> io::Result<BTreeSet<Mac>> {
    let links = getifaddrs()?.filter_map(|one| one.address?.as_link_addr()?.addr());
    Ok(links.map(Mac).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    use core::cell::Cell;
    use core::net::Ipv4Addr;
    use tokio::time::Instant;

    /// A host that takes its time to answer, and hears no question before its `hears`th.
    struct Slow {
        hears: u32,
        questions: Cell<u32>,
        heard: Cell<Option<Instant>>,
    }

    impl Ask for Slow {
        fn ask(&self) -> io::Result<()> {
            self.questions.set(self.questions.get() + 1);
            if self.questions.get() == self.hears {
                self.heard.set(Some(Instant::now()));
            }
            Ok(())
        }

        fn hear(&self, _: &mut Context<'_>, found: &mut BTreeSet<Holder>) {
            let answered = self.heard.get().is_some_and(|at| at.elapsed() >= TIME);
            found.extend(answered.then_some(HOLDER));
        }
    }

    const HOLDER: Holder = Holder { address: IpAddr::V4(Ipv4Addr::LOCALHOST), mac: Mac([2; 6]) };

    /// Far more than goes by where nobody waits.
    const TIME: Duration = Duration::from_millis(50);

    #[test]
    fn answers_to_each_question_are_waited_for() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        for hears in 1..=QUESTIONS {
            let slow = [Slow { hears, questions: Cell::new(0), heard: Cell::new(None) }];
            let found = runtime.block_on(question(&slow, TIME * QUESTIONS * 2)).unwrap();
            assert_eq!(found, [HOLDER].into(), "question {hears}");
            assert_eq!(slow[0].questions.get(), QUESTIONS);
        }
    }
}
