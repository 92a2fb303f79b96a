//! One question of HTTP.

use core::net::SocketAddr;
use std::format;
use std::prelude::rust_2024::*;
use std::str;
use std::string::String;

use tokio::io::AsyncWriteExt;

use super::look::{ANSWER_MAX, connect, contains, read_until};
use super::told;

/// What is asked, and what is right. By HTTP/1.0 (RFC 1945) with the host named: the answer comes
/// in one piece, and ends with the connection.
pub(super) struct Request {
    pub(super) address: SocketAddr,
    pub(super) path: String,
    pub(super) host: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) body: Option<String>,
}

impl Request {
    pub(super) async fn ask(&self) -> Result<(), String> {
        let mut stream = connect(self.address).await?;
        let host = self.host.clone().unwrap_or_else(|| format!("{}", self.address));
        let path = &self.path;
        let text = format!(
            "GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: ha-node\r\nAccept: */*\r\n\r\n"
        );
        stream.write_all(text.as_bytes()).await.map_err(told("cannot send"))?;
        let enough = |heard: &[u8]| self.judge(heard, false).is_some();
        let heard = read_until(&mut stream, ANSWER_MAX, enough).await?;
        self.judge(&heard, true).unwrap_or_else(|| Err("no answer of HTTP".into()))
    }

    /// What follows from so much of the answer; `None` while more is needed.
    fn judge(&self, heard: &[u8], all: bool) -> Option<Result<(), String>> {
        let line_end = heard.windows(2).position(|pair| pair == b"\r\n")?;
        let Some(status) = status(&heard[..line_end]) else {
            return Some(Err("no answer of HTTP".into()));
        };
        let right = self.status.map_or((200..=299).contains(&status), |right| status == right);
        if !right {
            return Some(Err(format!("status {status}")));
        }
        let Some(text) = &self.body else { return Some(Ok(())) };
        let body = heard.windows(4).position(|four| four == b"\r\n\r\n").map(|at| &heard[at + 4..]);
        if body.is_some_and(|body| contains(body, text)) {
            return Some(Ok(()));
        }
        all.then(|| Err(format!("status {status}, and no {text:?} in the body")))
    }
}

/// The status of an answer, from its first line.
fn status(line: &[u8]) -> Option<u16> {
    let mut words = str::from_utf8(line).ok()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(status: Option<u16>, body: Option<&str>) -> Request {
        let (path, host, body) = ("/".into(), None, body.map(Into::into));
        Request { address: ([127, 0, 0, 1], 80).into(), path, host, status, body }
    }

    #[test]
    fn an_answer_is_judged_as_soon_as_enough_is_there() {
        let judge = |request: &Request, heard: &str, all| request.judge(heard.as_bytes(), all);
        let any = request(None, None);
        assert_eq!(judge(&any, "HTTP/1.1 20", false), None);
        assert_eq!(judge(&any, "HTTP/1.1 204 No Content\r\n", false), Some(Ok(())));
        assert_eq!(judge(&any, "HTTP/1.1 200\r\n", false), Some(Ok(())), "no reason is given");
        assert_eq!(judge(&any, "HTTP/1.0 503 Busy\r\n", false), Some(Err("status 503".into())));
        let none = Some(Err("no answer of HTTP".into()));
        assert_eq!(judge(&any, "SSH-2.0-x\r\n", false), none);
        assert_eq!(judge(&any, "HTTP/1.1 2x0 \r\n", false), none);
        let teapot = request(Some(418), Some("short"));
        assert_eq!(judge(&teapot, "HTTP/1.1 418 \r\nshort: x\r\n\r\nsho", false), None);
        assert_eq!(judge(&teapot, "HTTP/1.1 418 \r\nA: b\r\n\r\nI am short", false), Some(Ok(())));
        let lacks = Some(Err("status 418, and no \"short\" in the body".into()));
        assert_eq!(judge(&teapot, "HTTP/1.1 418 \r\nshort: x\r\n\r\nsho", true), lacks);
        assert_eq!(judge(&teapot, "HTTP/1.1 200 \r\n", false), Some(Err("status 200".into())));
    }
}
