//! What a request is answered.

use core::time::Duration;
use std::borrow::Cow;
use std::prelude::rust_2024::*;
use std::string::String;

use ha_proto::Instant;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use tokio::sync::Mutex;

use super::Source;
use crate::driver::Clock;

/// A source and its last metrics.
#[derive(Debug)]
pub(super) struct Site<S> {
    source: S,
    clock: Clock,
    patience: Duration,
    /// Held while they are made: whoever asks meanwhile gets the same.
    page: Mutex<Option<Page>>,
}

/// Metrics as they were then; none when the node did not say.
#[derive(Debug)]
struct Page {
    made: Instant,
    text: Option<String>,
}

impl<S: Source> Site<S> {
    /// Metrics may take `patience`.
    pub(super) fn new(source: S, patience: Duration) -> Self {
        Self { source, clock: Clock::start(), patience, page: Mutex::new(None) }
    }

    /// The answer to one request.
    pub(super) async fn answer(&self, method: &Method, uri: &Uri) -> Response<String> {
        if method != Method::GET && method != Method::HEAD {
            let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "METHOD NOT ALLOWED");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match Asked::of(uri) {
            Asked::Ready(module) => match self.source.ready(&module) {
                Some(true) => plain(StatusCode::OK, "OK"),
                Some(false) | None => plain(StatusCode::NOT_FOUND, "NOT FOUND"),
            },
            Asked::Metrics => match self.metrics().await {
                Some(text) => say(StatusCode::OK, METRICS, text),
                None => plain(StatusCode::SERVICE_UNAVAILABLE, "THE NODE DOES NOT ANSWER"),
            },
            Asked::Nothing => plain(StatusCode::NOT_FOUND, "NOT FOUND"),
        }
    }

    /// The metrics, a second old at most.
    async fn metrics(&self) -> Option<String> {
        let mut page = self.page.lock().await;
        if let Some(Page { made, text }) = &*page
            && self.clock.now() < *made + FRESH
        {
            return text.clone();
        }
        let text = tokio::time::timeout(self.patience, self.source.metrics()).await;
        let text = text.ok().flatten();
        *page = Some(Page { made: self.clock.now(), text: text.clone() });
        text
    }
}

/// How long metrics are told again rather than made anew: scrapers ask every ten seconds or so.
const FRESH: Duration = Duration::from_secs(1);

/// The content type of Prometheus's text format, version 0.0.4.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
enum Asked<'a> {
    /// Whether clients of this module may come.
    Ready(Cow<'a, str>),
    Metrics,
    /// Nothing that is here.
    Nothing,
}

impl<'a> Asked<'a> {
    fn of(uri: &'a Uri) -> Self {
        let path = uri.path();
        let module = match path {
            "/metrics" => return Self::Metrics,
            "/ready" => uri
                .query()
                .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("module="))),
            _ => {
                path.strip_prefix("/var/modules/").and_then(|rest| rest.strip_suffix("/ready.txt"))
            }
        };
        let name = module.and_then(|name| percent_decode_str(name).decode_utf8().ok());
        name.map_or(Self::Nothing, Self::Ready)
    }
}

fn plain(status: StatusCode, text: &str) -> Response<String> {
    say(status, "text/plain; charset=utf-8", text.into())
}

fn say(status: StatusCode, kind: &'static str, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // A cache between would send clients to a node that was ready.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_by_path_or_query() {
        let rows = [
            ("/ready?module=shop", Asked::Ready("shop".into())),
            ("/ready?probe=1&module=shop&more", Asked::Ready("shop".into())),
            ("/ready?module=caf%C3%A9", Asked::Ready("café".into())),
            ("/ready?module=", Asked::Ready("".into())),
            ("/var/modules/shop/ready.txt", Asked::Ready("shop".into())),
            ("/var/modules/my%20shop/ready.txt", Asked::Ready("my shop".into())),
            ("/metrics", Asked::Metrics),
            ("/metrics?name=x", Asked::Metrics),
            ("/ready", Asked::Nothing),
            ("/ready?module=%FF", Asked::Nothing),
            ("/ready?modules=shop", Asked::Nothing),
            ("/var/modules/shop", Asked::Nothing),
            ("/", Asked::Nothing),
        ];
        for (text, asked) in rows {
            assert_eq!(Asked::of(&text.parse().unwrap()), asked, "{text}");
        }
    }
}
