//! The lines between `ha` and a daemon.
//!
//! Each line is one JSON object. A client sends one request and reads answers until the last one of
//! that request; then the daemon closes. Every line has `"v": 1`; a daemon refuses another version
//! by name. Fields are added, never renamed; unknown ones are ignored.

use std::collections::BTreeMap;
use std::format;
use std::prelude::rust_2024::*;

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Order;
use crate::control::plan::Plan;
use crate::control::{
    Command, ConfigTexts, FarmStatus, FarmTable, FarmVerb, ModuleStatus, Refused,
};

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// Most bytes of a request.
pub const REQUEST_MAX: usize = 4 << 10;

/// A line with its version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line<T> {
    /// [`VERSION`].
    pub v: u32,
    /// The rest.
    #[serde(flatten)]
    pub what: T,
}

/// What is asked of a daemon. A module that is not named is each, or the only one where it must be
/// one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// How modules are doing; with `watch` again at each change, until the client goes.
    Status {
        /// Which.
        module: Option<String>,
        /// Go on.
        #[serde(default)]
        watch: bool,
    },
    /// A snapshot, the events from number `since` on, `ready`, and with `follow` what comes.
    Events {
        /// Whose.
        module: Option<String>,
        /// From which number on.
        #[serde(default)]
        since: u64,
        /// Go on.
        #[serde(default)]
        follow: bool,
    },
    /// Takeovers.
    History {
        /// Whose.
        module: Option<String>,
    },
    /// What an order would do.
    Plan {
        /// Of which.
        module: Option<String>,
        /// The order.
        #[serde(flatten)]
        verb: Verb,
    },
    /// To obey; the answer comes when the wanted state was observed.
    Order {
        /// Which module.
        module: Option<String>,
        /// The order.
        #[serde(flatten)]
        verb: Verb,
        /// Override the checks that say so.
        #[serde(default)]
        force: bool,
        /// How long to wait, in milliseconds.
        wait_ms: u64,
    },
    /// An order that was given before.
    Op {
        /// Its number.
        id: u64,
        /// How long to wait, in milliseconds.
        wait_ms: u64,
    },
    /// The tables of a farm.
    Table {
        /// Of which farm.
        module: Option<String>,
        /// Of which service; all if none is named.
        #[serde(default)]
        service: Option<String>,
    },
    /// What an order of a farm would do.
    FarmPlan {
        /// Of which.
        module: Option<String>,
        /// The order.
        #[serde(flatten)]
        verb: FarmVerb,
    },
    /// To obey; the answer comes when the wanted state was observed.
    FarmOrder {
        /// Which farm.
        module: Option<String>,
        /// The order.
        #[serde(flatten)]
        verb: FarmVerb,
        /// Although it is refused as unsafe.
        #[serde(default)]
        force: bool,
        /// How long to wait, in milliseconds.
        wait_ms: u64,
    },
    /// To read the configuration again.
    Reload,
    /// The configuration.
    Config,
}

/// An order, as a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Verb {
    /// Take part.
    Start,
    /// Stop serving and taking part.
    Stop,
    /// Stop and start the application where it runs.
    Restart,
    /// Stop the module, then start it.
    Stopstart,
    /// Hand over to the other node.
    Swap,
    /// Become primary where that is safe, or bootstrap.
    Prim,
    /// Start, and wait for the other node.
    Second,
    /// Serve although it may lose data.
    Primforce,
    /// Whether this node takes over by itself.
    Failover {
        /// It does.
        on: bool,
    },
    /// Whether checkers act.
    Checkers {
        /// They do.
        on: bool,
    },
    /// Maintenance.
    Maintenance {
        /// For how many milliseconds; none ends it.
        for_ms: Option<u64>,
    },
}

/// What a daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// How modules are doing.
    Status(Vec<ModuleStatus>),
    /// How farms are doing: what a daemon of farms answers in place of it.
    Farms(Vec<FarmStatus>),
    /// Tables of a farm.
    Tables(Vec<FarmTable>),
    /// An event.
    Event(EventLine),
    /// So many events before the next one are forgotten.
    Forgotten(u64),
    /// All that was is told; the number of the next event.
    Ready(u64),
    /// Takeovers, by module.
    History(BTreeMap<String, Vec<PastLine>>),
    /// What an order would do.
    Plan(Plan),
    /// An order is accepted; its number.
    Accepted(u64),
    /// What became of an order.
    Op(OpLine),
    /// A line for people.
    Said(String),
    /// What `ha doctor` found.
    Found(Finding),
    /// The configuration.
    Config(ConfigTexts),
    /// Nothing was done, and why.
    Refused(Refused),
}

/// A part of a machine's set-up, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `ok`, `bad`, `weak` where it could be better, or `skipped`.
    pub level: String,
    /// One line.
    pub what: String,
    /// What mends it.
    pub mend: Option<String>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    /// Its number; they order events.
    pub seq: u64,
    /// Whose.
    pub module: String,
    /// The epoch that was saved then.
    pub epoch: String,
    /// The wall's time, as decoration.
    pub at: String,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// Which kind.
    pub event: String,
    /// One line for people.
    pub text: String,
}

/// A takeover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastLine {
    /// The number of the event that ended it.
    pub seq: u64,
    /// The wall's time of its end, as decoration.
    pub at: String,
    /// The reign.
    pub epoch: String,
    /// Why: `peer_lost`, `handed_over`, `started` or `forced`.
    pub cause: String,
    /// From the loss of the peer until this node held.
    pub decide_ms: Option<u64>,
    /// From then until the application served.
    pub start_ms: u64,
    /// What may have been lost by it.
    pub at_risk: Option<String>,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpLine {
    /// Its number.
    pub id: u64,
    /// Of which module.
    pub module: String,
    /// What was ordered.
    #[serde(flatten)]
    pub verb: Verb,
    /// How far it is.
    pub outcome: Outcome,
    /// One line.
    pub text: String,
    /// How long it took, or takes so far.
    pub took_ms: u64,
}

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Under way.
    Running,
    /// The wanted state was observed.
    Done,
    /// It will not come to it.
    Failed,
}

impl Verb {
    /// The word of the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Stopstart => "stopstart",
            Self::Swap => "swap",
            Self::Prim => "prim",
            Self::Second => "second",
            Self::Primforce => "primforce",
            Self::Failover { .. } => "failover",
            Self::Checkers { .. } => "checkers",
            Self::Maintenance { .. } => "maintenance",
        }
    }

    /// What the daemon is told first.
    pub(crate) fn command(self) -> Command {
        match self {
            Self::Start => Command::Node(Order::Start),
            Self::Stop => Command::Node(Order::Stop),
            Self::Stopstart => Command::StopToStart,
            Self::Restart => Command::Node(Order::Restart),
            Self::Swap => Command::Node(Order::Swap),
            Self::Prim => Command::Node(Order::Prim),
            Self::Second => Command::Node(Order::Second),
            Self::Primforce => Command::Node(Order::PrimForce),
            Self::Failover { on } => Command::Node(Order::Failover(on)),
            Self::Checkers { on } => Command::Checkers(on),
            Self::Maintenance { for_ms } => Command::Maintenance(for_ms.map(Duration::from_millis)),
        }
    }
}

/// An answer as a line of JSON, without its end: what `--json` prints.
pub fn json(reply: &Reply) -> String {
    let line = Line { v: VERSION, what: reply };
    serde_json::to_string(&line).expect("keys are words, and values what JSON has")
}

/// A line as bytes, its end included.
pub(crate) fn line<T: Serialize>(what: T) -> Vec<u8> {
    let line = Line { v: VERSION, what };
    let mut bytes = serde_json::to_vec(&line).expect("keys are words, and values what JSON has");
    bytes.push(b'\n');
    bytes
}

/// A request from a line.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn request(line: &[u8]) -> Result<Request, String> {
    #[derive(Deserialize)]
    struct Version {
        v: Option<u32>,
    }
    let version: Version =
        serde_json::from_slice(line).map_err(|_| String::from("not a request: one JSON object"))?;
    if version.v != Some(VERSION) {
        let theirs = version.v.map_or("none".into(), |v| format!("{v}"));
        return Err(format!(
            "this daemon speaks version {VERSION}, the client {theirs}: install the same release"
        ));
    }
    let line: Line<Request> =
        serde_json::from_slice(line).map_err(|error| format!("not a request: {error}"))?;
    Ok(line.what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(request: Request) -> String {
        String::from_utf8(line(request)).unwrap()
    }

    #[test]
    fn requests_are_what_a_script_could_write() {
        let order = Request::Order {
            module: Some("web".into()),
            verb: Verb::Failover { on: false },
            force: false,
            wait_ms: 5,
        };
        let text = r#"{"v":1,"ask":"order","module":"web","order":"failover","on":false,"force":false,"wait_ms":5}"#;
        assert_eq!(said(order.clone()), format!("{text}\n"));
        assert_eq!(request(text.as_bytes()), Ok(order));
        let short = br#"{"v":1,"ask":"status"}"#;
        assert_eq!(request(short), Ok(Request::Status { module: None, watch: false }));
        let swap = br#"{"v":1,"ask":"plan","order":"swap","later":true}"#;
        assert_eq!(request(swap), Ok(Request::Plan { module: None, verb: Verb::Swap }));
    }

    #[test]
    fn what_is_no_request_is_named() {
        let rows: [(&[u8], &str); 5] = [
            (b"GET / HTTP/1.1", "not a request: one JSON object"),
            (b"[]", "not a request"),
            (
                br#"{"ask":"status"}"#,
                "this daemon speaks version 1, the client none: install the same release",
            ),
            (
                br#"{"v":2,"ask":"x"}"#,
                "this daemon speaks version 1, the client 2: install the same release",
            ),
            (br#"{"v":1,"ask":"explode"}"#, "not a request: unknown variant `explode`"),
        ];
        for (bytes, text) in rows {
            let error = request(bytes).unwrap_err();
            assert!(error.starts_with(text), "{error}");
        }
    }

    #[test]
    fn answers_are_tagged_by_what_they_are() {
        let refused = Refused::new(crate::control::Exit::NoVote, "no");
        let bytes = line(Reply::Refused(refused.clone()));
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, "{\"v\":1,\"refused\":{\"exit\":\"no_vote\",\"text\":\"no\"}}\n");
        let back: Line<Reply> = serde_json::from_str(&text).unwrap();
        assert_eq!(back.what, Reply::Refused(refused));
    }
}
