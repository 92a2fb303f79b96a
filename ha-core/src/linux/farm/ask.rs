//! Asks the other members what they can do, before this one is made.

use core::future::poll_fn;
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::prelude::rust_2024::*;

use ha_proto::wire::Keys;
use ha_proto::{Boot, LinkId, Machine, NodeId, Outbox};
use tracing::debug;

use super::{Link, StartError, open, ports, thread_failed};
use crate::driver::{Alarm, Clock, Port, Secrets, random};
use crate::farm::Identity;
use crate::farm::survey::{Choice, Input, Output, Survey, Told, Word};
use crate::raw::Key;

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asker<'a> {
    /// Who is who.
    pub identity: &'a Identity,
    /// The cluster's key.
    pub key: &'a Key,
    /// The networks, as the member will have them.
    pub links: &'a [Link],
    /// What this machine can do.
    pub told: Told,
    /// How often it asks, above zero: i.
    pub interval: Duration,
    /// How long it waits for those that say nothing: D at least, or a member that runs may not be
    /// heard.
    pub patience: Duration,
}

/// Asks, and chooses. Needs a runtime with I/O; the links are closed again when it returns, or is
/// given up.
///
/// # Errors
/// [`StartError`]: a link, the key or the system.
pub async fn ask(asker: Asker<'_>) -> Result<Choice, StartError> {
    let Asker { identity, key, links, told, interval, patience } = asker;
    let sockets = open(identity, links)?;
    let keys = Secrets::load(key)?.datagrams;
    let boot = Boot(random().map_err(thread_failed)?);
    let clock = Clock::of_the_machine();
    let mut inquiry = Inquiry {
        identity,
        keys,
        clock,
        alarm: Alarm::new(clock).map_err(thread_failed)?,
        ports: ports(sockets).map_err(thread_failed)?,
        peers: links.iter().map(|link| &link.peers).collect(),
        survey: Survey::new(identity, boot, told, interval, patience, clock.now()),
        choice: None,
    };
    poll_fn(|cx| inquiry.poll(cx)).await.map_err(thread_failed)
}

/// A survey under way.
struct Inquiry<'a> {
    identity: &'a Identity,
    keys: Keys,
    clock: Clock,
    alarm: Alarm,
    /// By link.
    ports: Vec<Port>,
    peers: Vec<&'a BTreeMap<NodeId, SocketAddr>>,
    survey: Survey,
    choice: Option<Choice>,
}

impl Inquiry<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Choice>> {
        loop {
            let more = self.receive(cx);
            if self.survey.deadline().is_some_and(|due| due.at <= self.clock.now()) {
                self.tell(Input::Tick);
            }
            if let Some(choice) = self.choice.take() {
                return Poll::Ready(Ok(choice));
            }
            if more {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let due = self.survey.deadline().expect("it waits for its end at least");
            self.alarm.arm(due.at)?;
            if self.alarm.poll(cx)?.is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let (mut words, mut more) = (Vec::new(), false);
        for port in &self.ports {
            more |= port.receive(cx, |bytes, _from| {
                match Word::open(bytes, self.identity, &self.keys) {
                    Ok((from, word)) => words.push(Input::Word { from, word }),
                    // A beat of who runs, as a rule. Whatever is wrong the member will say.
                    Err(reject) => debug!(%reject, "a datagram that the survey does not read"),
                }
            });
        }
        for word in words {
            self.tell(word);
        }
        more
    }

    fn tell(&mut self, input: Input) {
        let mut out = Outbox::new(Survey::OUTPUTS_MAX);
        self.survey.handle(self.clock.now(), input, &mut out);
        while let Some(output) = out.pop() {
            match output {
                Output::Say { to, word } => self.say(to, &word),
                Output::Chosen(choice) => self.choice = Some(choice),
            }
        }
    }

    fn say(&self, to: NodeId, word: &Word) {
        let datagram = word.seal(self.identity, &self.keys);
        for (link, (port, peers)) in (0..).map(LinkId).zip(self.ports.iter().zip(&self.peers)) {
            if !port.send(&datagram, peers[&to]) {
                debug!(link = link.0, %to, "a datagram is lost here");
            }
        }
    }
}
