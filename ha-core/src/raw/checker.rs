//! A checker, as it is written.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use thiserror::Error;

use super::Span;
use super::target::{PingFrom, PingTargetError, is_interface};
use crate::checker::{
    Action, CHECKERS_MAX, CheckerConfig, Custom, Kind, ModuleState, Pace, Process, When,
};

/// One checker of a module, as an administrator writes it. Both nodes have the same checkers in the
/// same order: the peer is told of each by its place.
///
/// Addresses are numbers: a name would have to be looked up, and what looks it up be checked too.
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use ha_core::checker::{Action, CheckerConfig};
/// use ha_core::raw::{RawChecker, checkers};
///
/// #[derive(serde::Deserialize)]
/// struct Module {
///     checker: Vec<RawChecker>,
/// }
///
/// let module: Module = toml::from_str(
///     r#"
///     [[checker]]
///     name = "web"
///     kind = "http"
///     address = "127.0.0.1:80"
///     path = "/health"
///     action = "restart"
///
///     [[checker]]
///     name = "uplink"
///     kind = "intf"
///     interface = "eth0"
///     action = "wait"
///     "#,
/// )?;
/// let checkers: Vec<CheckerConfig> = checkers(module.checker)?;
/// assert_eq!(checkers[1].action, Action::Wait);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct RawChecker {
    /// Its name: 1 to 32 small letters, digits, `-` and `_`, unique in the module.
    pub name: String,
    /// What is looked at: `tcp`, `ping`, `http`, `intf`, `ip`, `process`, `custom`, `module`.
    pub kind: RawKind,
    /// What follows when it is down: `none`, `wait`, `restart`, `swap`, `stopstart`, `stop`; see
    /// [`Action`].
    pub action: Action,
    /// From one look to the next; default 1 s. See [`Pace`] for this and the next ones.
    #[cfg_attr(feature = "serde", serde(default))]
    pub interval: Option<Span>,
    /// How long a look may take; default 1 s.
    #[cfg_attr(feature = "serde", serde(default))]
    pub timeout: Option<Span>,
    /// How many looks in a row must pass; default 2.
    #[cfg_attr(feature = "serde", serde(default))]
    pub rise: Option<u8>,
    /// How many looks in a row must fail; default 3.
    #[cfg_attr(feature = "serde", serde(default))]
    pub fall: Option<u8>,
    /// How long they may fail after the application was started; default 30 s, for `ip` none.
    #[cfg_attr(feature = "serde", serde(default))]
    pub grace: Option<Span>,
    /// `serving` (default of `tcp`, `http`, `ip`, `process` and `custom`) while the application
    /// serves here, or `always` (default of `ping`, `intf` and `module`).
    #[cfg_attr(feature = "serde", serde(default))]
    pub when: Option<When>,
    /// Of `tcp`, `http` and `custom`: an address with its port. Of `ping` and `ip`: one without.
    #[cfg_attr(feature = "serde", serde(default))]
    pub address: Option<String>,
    /// Of `ping`: an interface, or an address of this node, to ask from; default what the routes
    /// say.
    #[cfg_attr(feature = "serde", serde(default))]
    pub from: Option<String>,
    /// Of `http`: what is asked for; default `/`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub path: Option<String>,
    /// Of `http`: the host that is named in the request; default the address.
    #[cfg_attr(feature = "serde", serde(default))]
    pub host: Option<String>,
    /// Of `http`: the status that is right; default any of 200 to 299.
    #[cfg_attr(feature = "serde", serde(default))]
    pub status: Option<u16>,
    /// Of `http`: a text that the answer's body must have in it; default any body.
    #[cfg_attr(feature = "serde", serde(default))]
    pub body: Option<String>,
    /// Of `intf` and `ip`: the interface.
    #[cfg_attr(feature = "serde", serde(default))]
    pub interface: Option<String>,
    /// Of `process`: the file name of its program. One of this, `cmdline` and `pid_file`; with none
    /// of them, whatever the module's scripts started.
    #[cfg_attr(feature = "serde", serde(default))]
    pub process: Option<String>,
    /// Of `process`: a text in its command line.
    #[cfg_attr(feature = "serde", serde(default))]
    pub cmdline: Option<String>,
    /// Of `process`: the file with its number.
    #[cfg_attr(feature = "serde", serde(default))]
    pub pid_file: Option<String>,
    /// Of `custom`: an executable, by its whole path, and its arguments. It passes when it ends
    /// with 0, and is killed with all its children when it takes too long. Called in the folder of
    /// the module's scripts, with `HA_MODULE`, `HA_NODE` and `HA_CHECKER`; what it prints is in the
    /// module's log. One of this and `expect`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub command: Option<Vec<String>>,
    /// Of `custom`: what is sent to `address`; default nothing.
    #[cfg_attr(feature = "serde", serde(default))]
    pub send: Option<String>,
    /// Of `custom`: a text that must come from `address`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub expect: Option<String>,
    /// Of `module`: the name of another module of this process.
    #[cfg_attr(feature = "serde", serde(default))]
    pub module: Option<String>,
    /// Of `module`: `ready` (default) in whichever role, or `serving` here.
    #[cfg_attr(feature = "serde", serde(default))]
    pub state: Option<ModuleState>,
}

/// [`Kind`] as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum RawKind {
    /// [`Kind::Tcp`].
    Tcp,
    /// [`Kind::Ping`].
    Ping,
    /// [`Kind::Http`].
    Http,
    /// [`Kind::Intf`].
    Intf,
    /// [`Kind::Ip`].
    Ip,
    /// [`Kind::Process`].
    Process,
    /// [`Kind::Custom`].
    Custom,
    /// [`Kind::Module`].
    Module,
}

/// What is wrong with a checker: the field, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckerError {
    /// More than there are bits for.
    #[error("{0} checkers: a module has at most {CHECKERS_MAX}")]
    TooMany(usize),
    /// A name that scripts and metrics could not use.
    #[error("checker {0:?}: a name has 1 to 32 small letters, digits, - and _")]
    Name(String),
    /// Two of one name.
    #[error("checker {0:?} is there twice: each needs a name of its own")]
    Twice(String),
    /// A field is needed.
    #[error("checker {checker:?}: kind = \"{kind}\" needs {field}")]
    Missing {
        /// Which.
        checker: String,
        /// Of this kind.
        kind: &'static str,
        /// What is needed, and what it looks like.
        field: &'static str,
    },
    /// A field says nothing.
    #[error("checker {checker:?}: {field} is none of kind = \"{kind}\"{}: leave it out", .beside)]
    Unused {
        /// Which.
        checker: String,
        /// Of this kind.
        kind: &'static str,
        /// What is too much.
        field: &'static str,
        /// Beside what; empty if it never belongs there.
        beside: &'static str,
    },
    /// A value does not work.
    #[error("checker {checker:?}: {field} is {value}: {right}")]
    Value {
        /// Which.
        checker: String,
        /// Which field.
        field: &'static str,
        /// As written.
        value: String,
        /// What would be right.
        right: &'static str,
    },
    /// It would wait for ever.
    #[error(
        "checker {0:?}: action = \"wait\" needs when = \"always\": where nothing serves, nobody \
         would see it come back"
    )]
    NeverBack(String),
    /// It cannot be asked from there.
    #[error("checker {checker:?}: from: {why}")]
    From {
        /// Which.
        checker: String,
        /// Why not.
        why: PingTargetError,
    },
}

/// The checkers of one module, checked. Which other modules and interfaces there are is seen when
/// they are started.
///
/// # Errors
/// The first field that cannot work.
pub fn checkers(raw: Vec<RawChecker>) -> Result<Vec<CheckerConfig>, CheckerError> {
    if raw.len() > CHECKERS_MAX {
        return Err(CheckerError::TooMany(raw.len()));
    }
    let mut checked: Vec<CheckerConfig> = Vec::new();
    for checker in raw {
        if checked.iter().any(|other| other.name == checker.name) {
            return Err(CheckerError::Twice(checker.name));
        }
        checked.push(checker.check()?);
    }
    Ok(checked)
}

impl RawKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Ping => "ping",
            Self::Http => "http",
            Self::Intf => "intf",
            Self::Ip => "ip",
            Self::Process => "process",
            Self::Custom => "custom",
            Self::Module => "module",
        }
    }

    /// The fields that belong to it.
    const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Tcp => &["address"],
            Self::Ping => &["address", "from"],
            Self::Http => &["address", "path", "host", "status", "body"],
            Self::Intf => &["interface"],
            Self::Ip => &["address", "interface"],
            Self::Process => &["process", "cmdline", "pid_file"],
            Self::Custom => &["address", "command", "send", "expect"],
            Self::Module => &["module", "state"],
        }
    }

    const fn pace(self) -> Pace {
        match self {
            Self::Tcp | Self::Http | Self::Process | Self::Custom => Pace::new(When::Serving),
            // The addresses are there before the application.
            Self::Ip => Pace { grace: Duration::ZERO, ..Pace::new(When::Serving) },
            Self::Ping | Self::Intf | Self::Module => Pace::new(When::Always),
        }
    }
}

impl RawChecker {
    /// What cannot be left out, with every other field left out, for programs that configure
    /// themselves.
    pub fn new(name: impl Into<String>, kind: RawKind, action: Action) -> Self {
        Self {
            name: name.into(),
            kind,
            action,
            interval: None,
            timeout: None,
            rise: None,
            fall: None,
            grace: None,
            when: None,
            address: None,
            from: None,
            path: None,
            host: None,
            status: None,
            body: None,
            interface: None,
            process: None,
            cmdline: None,
            pid_file: None,
            command: None,
            send: None,
            expect: None,
            module: None,
            state: None,
        }
    }

    fn check(self) -> Result<CheckerConfig, CheckerError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if !(1..=NAME_MAX).contains(&self.name.len()) || !self.name.chars().all(plain) {
            return Err(CheckerError::Name(self.name));
        }
        self.check_unused()?;
        let pace = self.pace()?;
        if self.action == Action::Wait && pace.when == When::Serving {
            return Err(CheckerError::NeverBack(self.name));
        }
        let kind = self.kind()?;
        Ok(CheckerConfig { name: self.name, kind, action: self.action, pace })
    }

    fn check_unused(&self) -> Result<(), CheckerError> {
        let fields = [
            ("address", self.address.is_some()),
            ("from", self.from.is_some()),
            ("path", self.path.is_some()),
            ("host", self.host.is_some()),
            ("status", self.status.is_some()),
            ("body", self.body.is_some()),
            ("interface", self.interface.is_some()),
            ("process", self.process.is_some()),
            ("cmdline", self.cmdline.is_some()),
            ("pid_file", self.pid_file.is_some()),
            ("command", self.command.is_some()),
            ("send", self.send.is_some()),
            ("expect", self.expect.is_some()),
            ("module", self.module.is_some()),
            ("state", self.state.is_some()),
        ];
        let allowed = self.kind.fields();
        let unused = fields.into_iter().find(|(field, set)| *set && !allowed.contains(field));
        unused.map_or(Ok(()), |(field, _)| Err(self.unused(field, "")))
    }

    fn pace(&self) -> Result<Pace, CheckerError> {
        let mut default = self.kind.pace();
        if let Some(when) = self.when.filter(|&when| when != default.when) {
            default = Pace::new(when);
        }
        let or = |span: Option<Span>, default| span.map_or(default, |span| span.0);
        let pace = Pace {
            interval: or(self.interval, default.interval),
            timeout: or(self.timeout, default.timeout),
            rise: self.rise.unwrap_or(default.rise),
            fall: self.fall.unwrap_or(default.fall),
            grace: or(self.grace, default.grace),
            when: default.when,
        };
        let spans = [
            ("interval", pace.interval, 10, DAY, "10ms to 24h"),
            ("timeout", pace.timeout, 1, HOUR, "1ms to 1h"),
            ("grace", pace.grace, 0, DAY, "24h at most"),
        ];
        for (field, span, least, most, right) in spans {
            if span < Duration::from_millis(least) || span > most {
                return Err(self.value(field, &Span(span), right));
            }
        }
        for (field, count) in [("rise", pace.rise), ("fall", pace.fall)] {
            if count == 0 {
                return Err(self.value(field, &count, "at least one look must say so"));
            }
        }
        Ok(pace)
    }

    fn kind(&self) -> Result<Kind, CheckerError> {
        Ok(match self.kind {
            RawKind::Tcp => Kind::Tcp { address: self.socket()? },
            RawKind::Ping => self.ping()?,
            RawKind::Http => self.http()?,
            RawKind::Intf => Kind::Intf { interface: self.interface()? },
            RawKind::Ip => Kind::Ip { address: self.ip()?, interface: self.interface()? },
            RawKind::Process => Kind::Process(self.process()?),
            RawKind::Custom => Kind::Custom(self.custom()?),
            RawKind::Module => {
                let name = self.module.clone().filter(|name| !name.is_empty());
                let name = name.ok_or_else(|| self.missing("module, the name of another one"))?;
                Kind::Module { name, state: self.state.unwrap_or_default() }
            }
        })
    }

    fn ping(&self) -> Result<Kind, CheckerError> {
        let address = self.ip()?;
        let refused = |why| CheckerError::From { checker: self.name.clone(), why };
        let from = self.from.as_deref().map(str::parse::<PingFrom>).transpose();
        let from = from.and_then(|from| from.map(|from| from.check(address)).transpose());
        Ok(Kind::Ping { address, from: from.map_err(refused)? })
    }

    fn http(&self) -> Result<Kind, CheckerError> {
        let address = self.socket()?;
        let path = self.path.clone().unwrap_or_else(|| "/".to_string());
        let graphic = |text: &str| text.chars().all(|c| c.is_ascii_graphic());
        if !path.starts_with('/') || !graphic(&path) {
            let right = "it begins with / and has neither spaces nor letters beyond ASCII (%20)";
            return Err(self.value("path", &Quoted(&path), right));
        }
        if let Some(host) = self.host.as_deref().filter(|host| host.is_empty() || !graphic(host)) {
            return Err(self.value("host", &Quoted(host), "name a host, or leave it out"));
        }
        if let Some(status) = self.status.filter(|status| !(100..=599).contains(status)) {
            return Err(self.value("status", &status, "100 to 599"));
        }
        let (host, status, body) = (self.host.clone(), self.status, self.body.clone());
        Ok(Kind::Http { address, path, host, status, body })
    }

    fn process(&self) -> Result<Process, CheckerError> {
        let texts =
            [("process", &self.process), ("cmdline", &self.cmdline), ("pid_file", &self.pid_file)];
        let mut set = texts.into_iter().filter_map(|(field, text)| Some((field, text.as_ref()?)));
        let Some((field, text)) = set.next() else { return Ok(Process::Group) };
        if let Some((second, _)) = set.next() {
            return Err(self.unused(second, " beside another name of the process"));
        }
        if text.is_empty() {
            return Err(self.value(field, &Quoted(text), "it would fit any"));
        }
        match field {
            "process" if text.contains('/') => {
                Err(self.value(field, &Quoted(text), "only the name of the file, without its path"))
            }
            "process" => Ok(Process::Name(text.clone())),
            "cmdline" => Ok(Process::Cmdline(text.clone())),
            _ if !text.starts_with('/') => {
                Err(self.value(field, &Quoted(text), "write its whole path, from / on"))
            }
            _ => Ok(Process::PidFile(text.clone())),
        }
    }

    fn custom(&self) -> Result<Custom, CheckerError> {
        match (&self.command, &self.expect) {
            (Some(command), None) => {
                for (field, set) in
                    [("address", self.address.is_some()), ("send", self.send.is_some())]
                {
                    if set {
                        return Err(self.unused(field, " beside command"));
                    }
                }
                if command.first().is_none_or(|program| !program.starts_with('/')) {
                    let program = command.first().map_or("", String::as_str);
                    let right = "write the whole path of an executable, from / on";
                    return Err(self.value("command", &Quoted(program), right));
                }
                Ok(Custom::Run(command.clone()))
            }
            (None, Some(expect)) if expect.is_empty() => Err(self.value(
                "expect",
                &"\"\"",
                "kind = \"tcp\" expects nothing but a connection",
            )),
            (None, Some(expect)) => Ok(Custom::Talk {
                address: self.socket()?,
                send: self.send.clone().unwrap_or_default(),
                expect: expect.clone(),
            }),
            (None, None) => Err(self.missing("command, or address and expect")),
            (Some(_), Some(_)) => Err(self.unused("expect", " beside command")),
        }
    }

    fn socket(&self) -> Result<SocketAddr, CheckerError> {
        let missing = || self.missing("address, as in address = \"127.0.0.1:80\"");
        let text = self.address.as_ref().ok_or_else(missing)?;
        let right = "write a number and a port, as in \"127.0.0.1:80\" or \"[::1]:80\"";
        text.parse().map_err(|_| self.value("address", &Quoted(text), right))
    }

    fn ip(&self) -> Result<IpAddr, CheckerError> {
        let missing = || self.missing("address, as in address = \"192.0.2.1\"");
        let text = self.address.as_ref().ok_or_else(missing)?;
        let right = "write a number without a port, as in \"192.0.2.1\" or \"2001:db8::1\"";
        text.parse().map_err(|_| self.value("address", &Quoted(text), right))
    }

    fn interface(&self) -> Result<String, CheckerError> {
        let missing = || self.missing("interface, as in interface = \"eth0\"");
        let name = self.interface.clone().ok_or_else(missing)?;
        if is_interface(&name) {
            return Ok(name);
        }
        Err(self.value("interface", &Quoted(&name), "no interface can have this name (`ip link`)"))
    }

    fn missing(&self, field: &'static str) -> CheckerError {
        CheckerError::Missing { checker: self.name.clone(), kind: self.kind.name(), field }
    }

    fn unused(&self, field: &'static str, beside: &'static str) -> CheckerError {
        let (checker, kind) = (self.name.clone(), self.kind.name());
        CheckerError::Unused { checker, kind, field, beside }
    }

    fn value(
        &self,
        field: &'static str,
        value: &dyn ToString,
        right: &'static str,
    ) -> CheckerError {
        let (checker, value) = (self.name.clone(), value.to_string());
        CheckerError::Value { checker, field, value, right }
    }
}

/// A text as it stands in the file.
struct Quoted<'a>(&'a str);

impl core::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Bytes of a name: it stands in every line of the log and the metrics.
const NAME_MAX: usize = 32;
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    use RawKind::{Custom, Http, Intf, Ip, Module, Ping, Process, Tcp};

    fn raw(kind: RawKind) -> RawChecker {
        let mut raw = RawChecker::new("it", kind, Action::None);
        match kind {
            RawKind::Tcp | RawKind::Http => raw.address = Some("127.0.0.1:80".into()),
            RawKind::Ping => raw.address = Some("192.0.2.1".into()),
            RawKind::Intf => raw.interface = Some("eth0".into()),
            RawKind::Ip => {
                raw.address = Some("192.0.2.10".into());
                raw.interface = Some("eth0".into());
            }
            RawKind::Process => {}
            RawKind::Custom => raw.command = Some(vec!["/bin/true".into()]),
            RawKind::Module => raw.module = Some("db".into()),
        }
        raw
    }

    fn refused(kind: RawKind, change: impl FnOnce(&mut RawChecker)) -> String {
        let mut raw = raw(kind);
        change(&mut raw);
        checkers(vec![raw]).expect_err("it cannot work").to_string()
    }

    const KINDS: [RawKind; 8] = [
        RawKind::Tcp,
        RawKind::Ping,
        RawKind::Http,
        RawKind::Intf,
        RawKind::Ip,
        RawKind::Process,
        RawKind::Custom,
        RawKind::Module,
    ];

    #[test]
    fn what_is_left_out_is_the_default_of_the_kind() {
        for kind in KINDS {
            let found = checkers(vec![raw(kind)]).unwrap();
            let serving = !matches!(kind, RawKind::Ping | RawKind::Intf | RawKind::Module);
            let when = if serving { When::Serving } else { When::Always };
            let grace = if serving && kind != RawKind::Ip { 30 } else { 0 };
            let second = Duration::from_secs(1);
            let grace = Duration::from_secs(grace);
            let pace = Pace { interval: second, timeout: second, rise: 2, fall: 3, grace, when };
            assert_eq!(found[0].pace, pace, "{kind:?}");
        }
        let http = checkers(vec![raw(RawKind::Http)]).unwrap().remove(0).kind;
        let address = "127.0.0.1:80".parse().unwrap();
        let (path, host, status, body) = ("/".into(), None, None, None);
        assert_eq!(http, Kind::Http { address, path, host, status, body });
        let mut always = raw(RawKind::Tcp);
        (always.when, always.action) = (Some(When::Always), Action::Wait);
        assert_eq!(checkers(vec![always]).unwrap()[0].pace.grace, Duration::ZERO);
    }

    #[test]
    fn every_refusal_names_the_checker_and_what_would_be_right() {
        let span = |millis| Some(Span(Duration::from_millis(millis)));
        let text = |text: &str| Some(text.to_string());
        let rows: [(String, &str); 25] = [
            (refused(Tcp, |raw| raw.name = "The one".into()), "\"The one\": a name has 1 to 32"),
            (refused(Tcp, |raw| raw.address = None), "kind = \"tcp\" needs address, as in"),
            (refused(Tcp, |raw| raw.address = text("db:1")), "\"db:1\": write a number and a port"),
            (refused(Tcp, |raw| raw.path = text("/")), "path is none of kind = \"tcp\": leave"),
            (refused(Tcp, |raw| raw.action = Action::Wait), "needs when = \"always\": where"),
            (refused(Tcp, |raw| raw.interval = span(9)), "interval is 9ms: 10ms to 24h"),
            (refused(Tcp, |raw| raw.timeout = span(0)), "timeout is 0us: 1ms to 1h"),
            (refused(Tcp, |raw| raw.grace = span(86_400_001)), "grace is 86400001ms: 24h at most"),
            (refused(Tcp, |raw| raw.fall = Some(0)), "fall is 0: at least one look"),
            (refused(Ping, |raw| raw.address = text("192.0.2.1:7")), "without a port"),
            (refused(Ping, |raw| raw.from = text("fd00::1")), "name an address of the same family"),
            (refused(Ping, |raw| raw.from = text("a b")), "from: \"a b\" is no place to ask from"),
            (refused(Http, |raw| raw.path = text("health")), "\"health\": it begins with /"),
            (refused(Http, |raw| raw.host = text("a\r\nb")), "name a host, or leave it out"),
            (refused(Http, |raw| raw.status = Some(99)), "status is 99: 100 to 599"),
            (refused(Intf, |raw| raw.interface = text("a/b")), "no interface can have this name"),
            (refused(Ip, |raw| raw.interface = None), "kind = \"ip\" needs interface"),
            (
                refused(Process, |raw| {
                    (raw.process, raw.pid_file) = (text("redis"), text("/run/pid"));
                }),
                "pid_file is none of kind = \"process\" beside another name of the process: leave",
            ),
            (refused(Process, |raw| raw.process = text("/bin/a")), "only the name of the file"),
            (refused(Process, |raw| raw.pid_file = text("pid")), "whole path, from / on"),
            (refused(Custom, |raw| raw.command = None), "needs command, or address and expect"),
            (refused(Custom, |raw| raw.command = Some(vec![])), "whole path of an executable"),
            (refused(Custom, |raw| raw.expect = text("PONG")), "expect is none of"),
            (refused(Custom, |raw| raw.send = text("PING")), "beside command: leave it out"),
            (refused(Module, |raw| raw.module = text("")), "the name of another one"),
        ];
        for (told, words) in rows {
            assert!(told.starts_with("checker \""), "{told}");
            assert!(told.contains(words), "{told:?} does not say {words:?}");
        }
        let twice = checkers(vec![raw(Tcp), raw(Ping)]).unwrap_err().to_string();
        assert_eq!(twice, "checker \"it\" is there twice: each needs a name of its own");
        let many = checkers(vec![raw(Tcp); 63]).unwrap_err().to_string();
        assert_eq!(many, "63 checkers: a module has at most 62");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn what_is_unknown_or_no_value_is_refused_by_name() {
        let read = |more: &str| {
            let text = alloc::format!("name = \"it\"\nkind = \"tcp\"\n{more}");
            toml::from_str::<RawChecker>(&text).map_err(|error| error.to_string())
        };
        assert!(read("action = \"stopstart\"\nwhen = \"always\"").is_ok());
        for (more, words) in [
            ("", "missing field `action`"),
            ("action = \"reboot\"", "stopstart"),
            ("action = \"none\"\nadress = \"127.0.0.1:80\"", "unknown field `adress`"),
            ("action = \"none\"\ninterval = \"often\"", "250ms"),
            ("action = \"none\"\nkind = 3", "duplicate key"),
        ] {
            let told = read(more).unwrap_err();
            assert!(told.contains(words), "{told:?} does not say {words:?}");
        }
    }
}
