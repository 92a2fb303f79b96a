//! What a daemon tells systemd: that it is ready, how it is doing, and that it is alive
//! (`sd_notify(3)`, `Type=notify`).
//!
//! ```no_run
//! use ha_core::driver::Handle;
//! use ha_core::systemd::Notifier;
//!
//! # async fn run(module: Handle) -> std::io::Result<()> {
//! let systemd = Notifier::from_env()?;
//! systemd.ready("2 modules");
//! // Alive is whoever answers from the node's own loop.
//! systemd.keep_alive(async || module.counters().await.is_some()).await;
//! systemd.stopping("the driver has ended");
//! # Ok(())
//! # }
//! ```

use core::future::pending;
use core::time::Duration;
use std::env;
use std::format;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::prelude::rust_2024::*;
use std::string::String;

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

/// Speaks to systemd, or to nobody where it did not start this process.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    ///
    /// The variables stay where they are: what this process starts must not have them.
    ///
    /// # Errors
    /// The variables are set and cannot be used.
    pub fn from_env() -> io::Result<Self> {
        let text = |name: &str| env::var(name).ok();
        let watchdog = watchdog(text("WATCHDOG_USEC"), text("WATCHDOG_PID"), std::process::id())?;
        match env::var_os("NOTIFY_SOCKET") {
            Some(address) => Self::new(address.as_bytes(), watchdog),
            None => Ok(Self { socket: None, watchdog: None }),
        }
    }

    /// Speaks to the socket at `address`: a path, or `@` and a name in the abstract namespace; to
    /// be told within each `watchdog` that this process is alive.
    ///
    /// # Errors
    /// Nobody listens there, or it is no such address.
    pub fn new(address: &[u8], watchdog: Option<Duration>) -> io::Result<Self> {
        let named = |error: io::Error| {
            let address = String::from_utf8_lossy(address);
            io::Error::new(error.kind(), format!("NOTIFY_SOCKET = {address}: {error}"))
        };
        let to = match address {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(address)),
            _ => Err(io::Error::new(ErrorKind::InvalidInput, "neither a path nor an @name")),
        };
        let socket = UnixDatagram::unbound()?;
        // A full queue is waited for, as `READY=1` must not be lost, but never for ever.
        socket.set_write_timeout(Some(PATIENCE))?;
        to.and_then(|to| socket.connect_addr(&to)).map_err(named)?;
        Ok(Self { socket: Some(socket), watchdog })
    }

    /// It does what it is for; `status` is what `systemctl status` shows. Also the end of a reload.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// How it is doing, in a line.
    pub fn status(&self, status: &str) {
        self.tell(&format!("STATUS={}", line(status)));
    }

    /// It reads its configuration anew; [`ready`](Self::ready) must follow. With
    /// `Type=notify-reload`, systemd compares the time with that of its signal.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It begins to end.
    pub fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={}", line(status)));
    }

    /// Says that this process is alive, twice in each watchdog time, each time after `alive` has
    /// proved it; returns when that is false for good, and never where nobody watches.
    ///
    /// `alive` asks whatever must not hang, and answers when that has answered: while there is no
    /// answer nothing is said, and in the end systemd kills this process and starts it anew. Needs
    /// a runtime of `tokio`; a timer that merely runs proves nothing but itself.
    pub async fn keep_alive(&self, mut alive: impl AsyncFnMut() -> bool) {
        let (Some(_), Some(watchdog)) = (&self.socket, self.watchdog) else {
            return pending().await;
        };
        while alive().await {
            self.tell("WATCHDOG=1");
            tokio::time::sleep(watchdog / 2).await;
        }
    }

    fn tell(&self, words: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(words.as_bytes())
        {
            warn!(%error, words, "systemd could not be told");
        }
    }
}

/// How long systemd may take to read: a machine that boots is busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// One line, so that a text cannot say something else.
fn line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// The watchdog's time, if it is this process that is watched.
fn watchdog(
    micros: Option<String>,
    watched: Option<String>,
    me: u32,
) -> io::Result<Option<Duration>> {
    let Some(micros) = micros else { return Ok(None) };
    if watched.is_some_and(|pid| pid.parse() != Ok(me)) {
        return Ok(None);
    }
    let time = micros.parse().ok().filter(|&micros| micros > 0).map(Duration::from_micros);
    let wrong = || {
        let text = format!("WATCHDOG_USEC = {micros}: it is a number of microseconds above 0");
        io::Error::new(ErrorKind::InvalidInput, text)
    };
    time.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Far more than anything takes here that is expected to come.
    const SOON: Duration = Duration::from_secs(20);

    /// systemd's end of the socket.
    struct Manager(UnixDatagram);

    impl Manager {
        fn at(address: &SocketAddr) -> Self {
            let socket = UnixDatagram::bind_addr(address).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            Self(socket)
        }

        fn heard(&self) -> String {
            let mut bytes = [0; 4096];
            let len = self.0.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..len].into()).unwrap()
        }
    }

    fn folder() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify").to_str().unwrap().into();
        (folder, path)
    }

    #[test]
    fn systemd_hears_each_word_by_path_or_name() {
        let (_folder, path) = folder();
        let name = format!("ha-notify-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        let rows = [
            (Manager::at(&SocketAddr::from_pathname(&path).unwrap()), path),
            (Manager::at(&abstract_address), format!("@{name}")),
        ];
        for (manager, address) in rows {
            let systemd = Notifier::new(address.as_bytes(), None).unwrap();
            systemd.ready("PRIM\nMAINPID=1");
            assert_eq!(manager.heard(), "READY=1\nSTATUS=PRIM MAINPID=1");
            systemd.status("ALONE");
            assert_eq!(manager.heard(), "STATUS=ALONE");
            systemd.stopping("handing over");
            assert_eq!(manager.heard(), "STOPPING=1\nSTATUS=handing over");
        }
    }

    #[test]
    fn a_reload_names_its_time() {
        let (_folder, path) = folder();
        let manager = Manager::at(&SocketAddr::from_pathname(&path).unwrap());
        let micros = || {
            Notifier::new(path.as_bytes(), None).unwrap().reloading();
            let words = manager.heard();
            words.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse::<u64>().unwrap()
        };
        let first = micros();
        let now = clock_gettime(ClockId::Monotonic);
        let now = u64::try_from(now.tv_sec).unwrap() * 1_000_000 + 1_000_000;
        assert!(first <= now && now - first < 60_000_000, "{first} is not near {now}");
        assert!(micros() >= first);
    }

    #[test]
    fn a_node_that_does_not_answer_is_not_said_to_be_alive() {
        let (_folder, path) = folder();
        let manager = Manager::at(&SocketAddr::from_pathname(&path).unwrap());
        let systemd = Notifier::new(path.as_bytes(), Some(Duration::from_millis(20))).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let asked = Arc::new(AtomicU32::new(0));
        runtime.block_on(async {
            // Answers twice, and then hangs.
            let count = Arc::clone(&asked);
            let alive = async || match count.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => true,
                _ => pending().await,
            };
            let watched =
                tokio::time::timeout(Duration::from_millis(300), systemd.keep_alive(alive));
            assert!(watched.await.is_err(), "it waits for the answer");
        });
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        assert_eq!([manager.heard(), manager.heard()], ["WATCHDOG=1", "WATCHDOG=1"]);
        manager.0.set_nonblocking(true).unwrap();
        assert_eq!(manager.0.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        runtime.block_on(systemd.keep_alive(async || false));
    }

    #[test]
    fn what_the_environment_says_is_for_one_process() {
        let text = |text: &str| Some(String::from(text));
        let half_minute = Some(Duration::from_secs(30));
        assert_eq!(watchdog(text("30000000"), None, 7).unwrap(), half_minute);
        assert_eq!(watchdog(text("30000000"), text("7"), 7).unwrap(), half_minute);
        assert_eq!(watchdog(text("30000000"), text("8"), 7).unwrap(), None);
        assert_eq!(watchdog(None, text("7"), 7).unwrap(), None);
        for wrong in ["0", "soon", "-1"] {
            let error = watchdog(text(wrong), None, 7).unwrap_err().to_string();
            assert!(error.starts_with(&format!("WATCHDOG_USEC = {wrong}: ")), "{error}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_named() {
        for (address, why) in [("/no/such", "No such file"), ("vsock:2", "neither a path nor")] {
            let error = Notifier::new(address.as_bytes(), None).unwrap_err().to_string();
            let says = format!("NOTIFY_SOCKET = {address}: {why}");
            assert!(error.starts_with(&says), "{error}");
        }
    }

    #[test]
    fn nobody_is_told_where_nobody_listens() {
        let nobody = Notifier { socket: None, watchdog: None };
        nobody.ready("quiet");
        nobody.stopping("quiet");
    }
}
