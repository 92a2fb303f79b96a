//! Whom to tell, as it is written and checked.

use core::fmt;
use core::time::Duration;
use std::io;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::string::String;

use rustix::fs::{Access, access};
use thiserror::Error;

use crate::event::Level;
use crate::raw::Span;

/// Whom to tell of events, as an administrator writes it: `exec` or `url`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct RawNotify {
    /// A program that is run for each event: its whole path. It gets the daemon's user and rights.
    pub exec: Option<String>,
    /// Where each event is posted: `http://HOST[:PORT]/PATH`. For anything else, such as
    /// encryption or a mail, name a program.
    pub url: Option<String>,
    /// Events of this level and above: `info`, `warn` (default) or `error`.
    pub level: Option<Level>,
    /// How long one event may take to be told, `"100ms"` to `"5m"`; default 10 s. Looking up the
    /// name of a host takes what the system's resolver takes.
    pub timeout: Option<Span>,
}

/// Whom to tell of events, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookConfig {
    pub(super) target: Target,
    pub(super) level: Level,
    pub(super) timeout: Duration,
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Exec(PathBuf),
    Post(Url),
}

/// Where to post, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// The host, and the port where it is written: as the header `Host` has it.
    pub(super) authority: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
}

/// What is wrong with a configuration of this kind: the field, and what would be right.
#[derive(Debug, Error)]
pub enum HookError {
    /// Nobody is named.
    #[error("notify names nobody: set notify.exec or notify.url, or leave [notify] out")]
    Nobody,
    /// Both are named.
    #[error("notify.exec and notify.url are both set: leave one of them out")]
    Both,
    /// No whole path.
    #[error("notify.exec is {0:?}: write the whole path of a program")]
    Path(PathBuf),
    /// There is no such program.
    #[error("notify.exec = {path:?} cannot be run: {why}")]
    Program {
        /// As configured.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// No address of this kind.
    #[error(
        "notify.url is {0:?}: write http://HOST[:PORT]/PATH, or name a program in notify.exec that \
         does more than that"
    )]
    Url(String),
    /// A level at which everything would be told.
    #[error("notify.level is debug: it goes from info to error")]
    Level,
    /// Out of range.
    #[error("notify.timeout is {0:?}: it must be 100 ms to 5 minutes")]
    Timeout(Duration),
    /// The system refuses.
    #[error("the system gives no thread for notify: {0}")]
    Thread(io::Error),
}

impl TryFrom<RawNotify> for HookConfig {
    type Error = HookError;

    fn try_from(raw: RawNotify) -> Result<Self, HookError> {
        let target = match (raw.exec, raw.url) {
            (None, None) => return Err(HookError::Nobody),
            (Some(_), Some(_)) => return Err(HookError::Both),
            (Some(program), None) if program.starts_with('/') => Target::Exec(program.into()),
            (Some(program), None) => return Err(HookError::Path(program.into())),
            (None, Some(url)) => Target::Post(Url::parse(&url).ok_or(HookError::Url(url))?),
        };
        let level = raw.level.unwrap_or(Level::Warn);
        if level == Level::Debug {
            return Err(HookError::Level);
        }
        let timeout = raw.timeout.map_or(TIMEOUT, |span| span.0);
        if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
            return Err(HookError::Timeout(timeout));
        }
        Ok(Self { target, level, timeout })
    }
}

impl HookConfig {
    /// Whether the program is there and may be run.
    ///
    /// # Errors
    /// [`HookError::Program`].
    pub fn check(&self) -> Result<(), HookError> {
        let Target::Exec(path) = &self.target else { return Ok(()) };
        let refused = |why| Err(HookError::Program { path: path.clone(), why });
        if !Path::new(path).is_file() {
            refused("there is no such file")
        } else if access(path, Access::EXEC_OK).is_err() {
            refused("it is not executable: chmod +x it")
        } else {
            Ok(())
        }
    }
}

impl Url {
    /// `None` for what is no plain HTTP, or would smuggle something into the request.
    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) || rest.contains(['@', '#']) {
            return None;
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = if path.starts_with('/') { path.into() } else { std::format!("/{path}") };
        let (host, port) = match authority.strip_prefix('[') {
            // A colon inside of brackets is the address's own.
            Some(address) => address.split_once(']')?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|&port| port > 0)?,
            None if port.is_empty() => 80,
            None => return None,
        };
        let (authority, host) = (String::from(authority), String::from(host));
        (!host.is_empty()).then_some(Self { authority, host, port, path })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exec(program) => write!(f, "{}", program.display()),
            Self::Post(Url { authority, path, .. }) => write!(f, "http://{authority}{path}"),
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(raw: RawNotify) -> Result<HookConfig, String> {
        HookConfig::try_from(raw).map_err(|error| std::format!("{error}"))
    }

    #[test]
    fn a_url_has_these_parts() {
        let rows = [
            ("http://alerts/", Some(("alerts", "alerts", 80, "/"))),
            ("http://alerts:8080/ha?to=me", Some(("alerts:8080", "alerts", 8080, "/ha?to=me"))),
            ("http://10.0.0.9", Some(("10.0.0.9", "10.0.0.9", 80, "/"))),
            ("http://[2001:db8::1]:81/x", Some(("[2001:db8::1]:81", "2001:db8::1", 81, "/x"))),
            ("http://h?q", Some(("h", "h", 80, "/?q"))),
            ("https://alerts/", None),
            ("http://", None),
            ("http://:80/", None),
            ("http://alerts:0/", None),
            ("http://alerts:x/", None),
            ("http://[::1]x/", None),
            ("http://me:secret@alerts/", None),
            ("http://alerts/ HTTP/1.1\r\nX: y", None),
        ];
        for (text, parts) in rows {
            let url = Url::parse(text);
            let seen = url.as_ref().map(|url| {
                (url.authority.as_str(), url.host.as_str(), url.port, url.path.as_str())
            });
            assert_eq!(seen, parts, "{text}");
        }
    }

    #[test]
    fn what_cannot_work_is_one_clear_line() {
        let exec = |program: &str| RawNotify { exec: Some(program.into()), ..RawNotify::default() };
        let url = |url: &str| RawNotify { url: Some(url.into()), ..RawNotify::default() };
        let timeout = Some("99ms".parse().unwrap());
        let rows = [
            (RawNotify::default(), "notify names nobody: set notify.exec or notify.url, or leave"),
            (RawNotify { url: url("x").url, ..exec("/x") }, "notify.exec and notify.url are both"),
            (exec("notify.sh"), "notify.exec is \"notify.sh\": write the whole path of a program"),
            (url("https://x/"), "notify.url is \"https://x/\": write http://HOST[:PORT]/PATH"),
            (RawNotify { timeout, ..url("http://x/") }, "notify.timeout is 99ms: it must be 100"),
            (
                RawNotify { level: Some(Level::Debug), ..url("http://x/") },
                "notify.level is debug: it goes from info to error",
            ),
        ];
        for (raw, says) in rows {
            let error = checked(raw).unwrap_err();
            assert!(error.starts_with(says), "{error}");
        }
    }

    #[test]
    fn a_program_that_cannot_be_run_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tell");
        let raw = RawNotify { exec: path.to_str().map(Into::into), ..RawNotify::default() };
        let config = checked(raw).unwrap();
        let says = |why: &str| std::format!("notify.exec = {path:?} cannot be run: {why}");
        assert_eq!(config.check().unwrap_err().to_string(), says("there is no such file"));
        std::fs::write(&path, "").unwrap();
        let error = config.check().unwrap_err().to_string();
        assert_eq!(error, says("it is not executable: chmod +x it"));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn it_is_read_from_text() {
        let read = |text| toml::from_str::<RawNotify>(text);
        let raw = read("exec = '/bin/true'\nlevel = 'error'\ntimeout = '2s'").unwrap();
        let config = checked(raw).unwrap();
        assert_eq!((config.level, config.timeout), (Level::Error, Duration::from_secs(2)));
        assert_eq!(checked(read("url = 'http://a/'").unwrap()).unwrap().level, Level::Warn);
        let error = read("level = 'loud'").unwrap_err().to_string();
        assert!(error.contains("expected one of") && error.contains("`error`"), "{error}");
        assert!(read("exce = '/x'").unwrap_err().to_string().contains("unknown field `exce`"));
    }
}
