//! One key of an etcd, read and written through its JSON gateway (`/v3/kv/range`, `/v3/kv/txn`).

mod outbound;

use core::time::Duration;
use std::format;
use std::net::IpAddr;
use std::prelude::rust_2024::*;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ha_proto::codec::DecodeError;
use ha_proto::{ClusterId, Incarnation, Instant, ModuleId};
use ha_quorum::Entry;
use ha_quorum::clerk::Stored;
use serde_json::{Value, json};
use thiserror::Error;
use tracing::{debug, error, info, warn};
use ureq::unversioned::resolver::DefaultResolver;

use self::outbound::Outbound;
use super::Clock;
use crate::raw::{Endpoint, Etcd};

/// A connection to each member that answers, and whose turn it is.
///
/// Reads are linearizable, which is the gateway's default: a member that fell behind asks the
/// leader first. Writes are transactions that compare both the key's revision and its value. What
/// etcd compacts are old revisions, which nobody asks for here.
pub(super) struct Gateway {
    agent: ureq::Agent,
    clock: Clock,
    endpoints: Vec<Endpoint>,
    /// The member that answered last, or the one after the last that did not.
    at: usize,
    key: String,
    pair: (ClusterId, ModuleId),
    /// How long a member has to take the connection, and to answer: a third of R, so that a second
    /// one is asked within R.
    patience: Duration,
    /// What went wrong, as it was told last; `None` while nothing does.
    told: Option<String>,
}

/// What came of a transaction, or of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing was written; this is there.
    Holds(Option<Stored>),
    /// It is written, at this revision.
    Written(u64),
}

/// Why nobody knows what came of it.
#[derive(Debug, Error)]
enum GatewayError {
    /// No member took it, or none answered in time.
    #[error("no endpoint answers: {0}")]
    Silent(Box<ureq::Error>),
    /// A member answered that it cannot.
    #[error("etcd refuses: {0}")]
    Refused(String),
    /// A member's answer is none of etcd's.
    #[error("what answers is no etcd: {0} is missing")]
    Strange(&'static str),
    /// Something else is under the key.
    #[error(
        "the key {key} holds something else than this pair's register ({why}): choose another \
         etcd_prefix, or delete the key"
    )]
    Unreadable {
        /// Which.
        key: String,
        /// What is wrong with it.
        why: DecodeError,
    },
}

impl Gateway {
    /// Asks from the address `from`, where there is one.
    pub(super) fn new(
        etcd: &Etcd,
        from: Option<IpAddr>,
        pair: (ClusterId, ModuleId),
        round_trip: Duration,
        clock: Clock,
    ) -> Self {
        let patience = round_trip / PHASES;
        let config = ureq::Agent::config_builder()
            // A witness is not reached through what the environment says about the web.
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(patience))
            .timeout_send_request(Some(patience))
            .timeout_send_body(Some(patience))
            .timeout_recv_response(Some(patience))
            .timeout_recv_body(Some(patience))
            .build();
        let agent = ureq::Agent::with_parts(config, Outbound(from), DefaultResolver::default());
        let (endpoints, key) = (etcd.endpoints.clone(), etcd.key.clone());
        Self { agent, clock, endpoints, at: 0, key, pair, patience, told: None }
    }

    /// What the key holds; `None` when that is not to be had. With the identity of the etcd.
    pub(super) fn read(&mut self) -> Option<(Incarnation, Outcome)> {
        let body = json!({ "key": STANDARD.encode(&self.key) });
        let answer = self.call("range", &body).and_then(|answer| self.held(&answer, &answer));
        self.tell(answer)
    }

    /// Writes `entry` where exactly `over` is; `None` when nobody knows whether it did.
    pub(super) fn write(
        &mut self,
        over: Option<Stored>,
        entry: &Entry,
    ) -> Option<(Incarnation, Outcome)> {
        let key = STANDARD.encode(&self.key);
        let body = json!({
            "compare": compare(&key, over),
            "success": [{ "request_put": { "key": key, "value": encode(entry) } }],
            "failure": [{ "request_range": { "key": key } }],
        });
        let answer = self.call("txn", &body).and_then(|answer| self.written(&answer));
        self.tell(answer)
    }

    fn written(&self, answer: &Value) -> Result<(Incarnation, Outcome), GatewayError> {
        // What is false is left out.
        if answer["succeeded"].as_bool() == Some(true) {
            let revision = number(&answer["header"]["revision"], "its revision")?;
            return Ok((identity(answer)?, Outcome::Written(revision)));
        }
        self.held(answer, &answer["responses"][0]["response_range"])
    }

    /// What a range found, in the answer that it came with.
    fn held(&self, answer: &Value, range: &Value) -> Result<(Incarnation, Outcome), GatewayError> {
        let identity = identity(answer)?;
        let Some(pair) = range["kvs"].get(0) else {
            // An empty list is left out, but never the header beside it.
            range.get("header").ok_or(GatewayError::Strange("the range"))?;
            return Ok((identity, Outcome::Holds(None)));
        };
        let revision = number(&pair["mod_revision"], "the key's revision")?;
        // An empty value is left out too.
        let value = pair["value"].as_str().unwrap_or_default();
        let value = STANDARD.decode(value).map_err(|_| GatewayError::Strange("the value"))?;
        let entry = Entry::decode(&value, self.pair.0, self.pair.1)
            .map_err(|why| GatewayError::Unreadable { key: self.key.clone(), why })?;
        Ok((identity, Outcome::Holds(Some(Stored { revision, entry }))))
    }

    /// Asks one member after the other until one answers, or too little of R is left.
    fn call(&mut self, method: &str, body: &Value) -> Result<Value, GatewayError> {
        let body = body.to_string();
        let began = self.clock.now();
        let mut asked = 0;
        loop {
            let endpoint = self.endpoints[self.at];
            let error = match self.post(&format!("{endpoint}/v3/kv/{method}"), &body) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            debug!(%endpoint, %error, "a member of etcd does not do it");
            self.at = (self.at + 1) % self.endpoints.len();
            asked += 1;
            if asked == self.endpoints.len() || !self.has_time(began) {
                return Err(error);
            }
        }
    }

    /// Whether one more member may connect and answer before R is over.
    fn has_time(&self, began: Instant) -> bool {
        self.clock.now() <= began + self.patience + self.patience / SLACK
    }

    fn post(&self, url: &str, body: &str) -> Result<Value, GatewayError> {
        let failed = |error| GatewayError::Silent(Box::new(error));
        let request = self.agent.post(url).content_type("application/json");
        let mut response = request.send(body).map_err(failed)?;
        let answer = response.body_mut().with_config().limit(ANSWER_MAX).read_to_vec();
        // What is no JSON lacks whatever is looked for in it.
        let answer: Value = serde_json::from_slice(&answer.map_err(failed)?).unwrap_or_default();
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(answer);
        }
        let said = answer["message"].as_str().or(answer["error"].as_str());
        let said = said.map_or_else(|| format!("HTTP status {status}"), Into::into);
        Err(GatewayError::Refused(said))
    }

    /// Each trouble is told once, and once that it is over.
    fn tell<T>(&mut self, answer: Result<T, GatewayError>) -> Option<T> {
        let trouble = match answer {
            Ok(answer) => {
                if self.told.take().is_some() {
                    info!(key = self.key, "etcd answers again");
                }
                return Some(answer);
            }
            Err(trouble) => trouble,
        };
        let text = match &trouble {
            // Which member failed in which way may change with each ask.
            GatewayError::Silent(_) => "silent".into(),
            GatewayError::Refused(_)
            | GatewayError::Strange(_)
            | GatewayError::Unreadable { .. } => trouble.to_string(),
        };
        if self.told.as_ref() != Some(&text) {
            match trouble {
                GatewayError::Silent(_) | GatewayError::Refused(_) => {
                    warn!(key = self.key, %trouble, "the register cannot be reached");
                }
                GatewayError::Strange(_) | GatewayError::Unreadable { .. } => {
                    error!(key = self.key, %trouble, "the register cannot be read");
                }
            }
            self.told = Some(text);
        }
        None
    }
}

/// By which a transaction knows that exactly this is there: the write that put it there, and its
/// bytes as well, in case the answer comes from another etcd than it was read from.
fn compare(key: &str, over: Option<Stored>) -> Value {
    match over {
        None => json!([
            { "key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0" },
        ]),
        Some(Stored { revision, entry }) => json!([
            { "key": key, "target": "MOD", "result": "EQUAL", "mod_revision": revision.to_string() },
            { "key": key, "target": "VALUE", "result": "EQUAL", "value": encode(&entry) },
        ]),
    }
}

fn encode(entry: &Entry) -> String {
    let mut bytes = Vec::with_capacity(Entry::LEN_MAX);
    entry.encode(&mut bytes);
    STANDARD.encode(bytes)
}

/// The cluster id, which every answer has.
fn identity(answer: &Value) -> Result<Incarnation, GatewayError> {
    let id = number(&answer["header"]["cluster_id"], "its cluster id")?;
    if id == 0 { Err(GatewayError::Strange("its cluster id")) } else { Ok(Incarnation(id)) }
}

/// Numbers of 64 bits are text in the gateway's JSON.
fn number(value: &Value, what: &'static str) -> Result<u64, GatewayError> {
    let number = value.as_str().and_then(|text| text.parse().ok());
    number.ok_or(GatewayError::Strange(what))
}

/// R in parts: a member that does not answer, then the connection to another, then its answer.
const PHASES: u32 = 3;
/// What a timer may be late, as a part of its time.
const SLACK: u32 = 10;
/// An answer has some 500 bytes; more than this is none.
const ANSWER_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use ha_proto::{DataId, Epoch, Membership, NodeId, NodeSet};
    use ha_quorum::Register;

    use super::*;

    const PAIR: (ClusterId, ModuleId) = (ClusterId(0xc1), ModuleId(2));
    const ROUND_TRIP: Duration = Duration::from_millis(300);
    /// For a machine with other work.
    const LATE: Duration = Duration::from_secs(2);

    fn gateway(endpoints: &[SocketAddr]) -> Gateway {
        let endpoints = endpoints.iter().copied().map(Endpoint).collect();
        let etcd = Etcd { endpoints, key: "/ha/shop/2".into() };
        Gateway::new(&etcd, None, PAIR, ROUND_TRIP, Clock::start())
    }

    fn register() -> Register {
        let holder = NodeId::new(1).unwrap();
        Register {
            cluster: PAIR.0,
            module: PAIR.1,
            membership: Membership {
                epoch: Epoch::new(12, holder),
                holder,
                set: NodeSet::from_bits(0b11),
                data: DataId(0xda7a),
            },
            lease: Duration::from_secs(3),
            incarnation: Incarnation(0x1dea),
            renewals: 5,
        }
    }

    /// As etcd 3.4 writes it.
    const HEADER: &str = r#""header":{"cluster_id":"7658","member_id":"9","revision":"8"}"#;

    fn answer(rest: &str) -> Value {
        serde_json::from_str(&format!("{{{HEADER}{rest}}}")).unwrap()
    }

    fn kvs(value: &str) -> String {
        let numbers = r#""create_revision":"2","mod_revision":"7","version":"3""#;
        format!(r#""kvs":[{{"key":"L2hh",{numbers},"value":"{value}"}}],"count":"1""#)
    }

    #[test]
    fn what_the_gateway_answers_is_read() {
        let gateway = gateway(&[]);
        let entry = Entry::Register(register());
        let life = Incarnation(7658);
        let held = Outcome::Holds(Some(Stored { revision: 7, entry }));

        let empty = answer("");
        assert_eq!(gateway.held(&empty, &empty).unwrap(), (life, Outcome::Holds(None)));
        let full = answer(&format!(",{}", kvs(&encode(&entry))));
        assert_eq!(gateway.held(&full, &full).unwrap(), (life, held));

        let done =
            r#","succeeded":true,"responses":[{"response_put":{"header":{"revision":"8"}}}]"#;
        assert_eq!(gateway.written(&answer(done)).unwrap(), (life, Outcome::Written(8)));
        let range = format!(r#"{{"header":{{"revision":"8"}},{}}}"#, kvs(&encode(&entry)));
        let other = format!(r#","responses":[{{"response_range":{range}}}]"#);
        assert_eq!(gateway.written(&answer(&other)).unwrap(), (life, held));
        let gone = r#","responses":[{"response_range":{"header":{"revision":"8"}}}]"#;
        assert_eq!(gateway.written(&answer(gone)).unwrap(), (life, Outcome::Holds(None)));
    }

    #[test]
    fn what_is_none_of_it_is_refused_in_words() {
        let gateway = gateway(&[]);
        let refused = |answer: &Value| gateway.written(answer).unwrap_err().to_string();
        assert_eq!(refused(&Value::Null), "what answers is no etcd: its cluster id is missing");
        assert_eq!(refused(&answer("")), "what answers is no etcd: the range is missing");
        let strange = answer(&format!(",{}", kvs("????")));
        let said = gateway.held(&strange, &strange).unwrap_err().to_string();
        assert_eq!(said, "what answers is no etcd: the value is missing");
        let foreign = Register { module: ModuleId(3), ..register() };
        let foreign = answer(&format!(",{}", kvs(&encode(&Entry::Register(foreign)))));
        let said = gateway.held(&foreign, &foreign).unwrap_err().to_string();
        assert!(said.contains("/ha/shop/2") && said.contains("etcd_prefix"), "{said}");
    }

    #[test]
    fn a_write_compares_revision_and_bytes() {
        let entry = Entry::Register(register());
        let compared = compare("a", Some(Stored { revision: 7, entry }));
        let value = encode(&entry);
        assert_eq!(
            compared,
            json!([
                { "key": "a", "target": "MOD", "result": "EQUAL", "mod_revision": "7" },
                { "key": "a", "target": "VALUE", "result": "EQUAL", "value": value },
            ])
        );
        let absent =
            json!([{ "key": "a", "target": "CREATE", "result": "EQUAL", "create_revision": "0" }]);
        assert_eq!(compare("a", None), absent);
    }

    #[test]
    fn a_member_is_asked_from_the_configured_address() {
        let member = TcpListener::bind("127.0.0.1:0").unwrap();
        let etcd = Etcd {
            endpoints: vec![Endpoint(member.local_addr().unwrap())],
            key: "/ha/shop/2".into(),
        };
        for from in ["127.0.0.7", "127.0.0.1"].map(|from| from.parse().unwrap()) {
            let mut gateway =
                Gateway::new(&etcd, Some(from), PAIR, Duration::from_mins(1), Clock::start());
            std::thread::scope(|threads| {
                threads.spawn(|| gateway.read());
                // Hanging up is an answer, too.
                assert_eq!(member.accept().unwrap().1.ip(), from);
            });
        }
    }

    #[test]
    fn an_address_that_is_not_here_is_named_by_its_field() {
        let member = Endpoint("127.0.0.1:2379".parse().unwrap());
        let etcd = Etcd { endpoints: vec![member], key: "/ha/shop/2".into() };
        // Of TEST-NET-1, which nobody has.
        let from = Some("192.0.2.7".parse().unwrap());
        let mut gateway = Gateway::new(&etcd, from, PAIR, ROUND_TRIP, Clock::start());
        let said = gateway.call("range", &Value::Null).unwrap_err().to_string();
        assert!(said.contains("witness_from 192.0.2.7: "), "{said}");
    }

    #[test]
    fn members_that_refuse_or_say_nothing_cost_no_more_than_the_round_trip() {
        let closed = TcpListener::bind((ha_lab::own_loopback(), 0)).unwrap().local_addr().unwrap();
        // The kernel takes the connections, and nobody ever answers.
        let silent = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let silent = silent.each_ref().map(|listener| listener.local_addr().unwrap());
        let mut gateway = gateway(&[closed, silent[0], silent[1], silent[2]]);
        let began = gateway.clock.now();
        assert_eq!(gateway.read(), None);
        let took = gateway.clock.now().saturating_since(began);
        assert!(took < ROUND_TRIP + LATE, "{took:?}");
        assert_ne!(gateway.at, 0, "the next question begins with another one");
        assert_eq!(gateway.told.as_deref(), Some("silent"));
    }
}
