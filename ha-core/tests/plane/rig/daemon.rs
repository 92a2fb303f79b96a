//! One daemon: this very program, run again.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ha_core::farm::{Baton, Config, Event, Identity, Isolated, Order, Policy, Timing};
use ha_core::ha_farm::{Buckets, HashOn, Mac, Mode, Protocol, Rule, Uncovered};
use ha_core::linux::farm::{
    Front, Handle, Link, NoApplication, Running, Setup, THREAD, resume, start,
};
use ha_core::linux::plane::Plane;
use ha_core::linux::realtime;
use ha_core::proto::{ClusterId, ModuleId};
use ha_core::raw::Key;
use tracing_subscriber::filter::LevelFilter;

use super::{Case, IPID, NET, NET_BITS, PORT, SOON, STICKY, Shown, UDP, UDP_STICKY, node};

pub(crate) const BEATS: u16 = 7_777;

/// What a daemon is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) me: usize,
    /// Names its filter: one on this machine.
    pub(crate) module: String,
    pub(crate) mac: Mac,
    pub(crate) vips: [IpAddr; 2],
    pub(crate) case: Case,
    /// Another one is another farm's.
    pub(crate) cluster: u64,
    /// Of all members, by id.
    pub(crate) addresses: Vec<IpAddr>,
    /// From which the hash's key is made.
    pub(crate) seed: u8,
    /// The last port of the first service.
    pub(crate) last: u16,
    pub(crate) drain: Duration,
    pub(crate) isolated: Isolated,
    pub(crate) uncovered: Uncovered,
    pub(crate) warm_up: Duration,
    /// Between two beats.
    pub(crate) interval: Duration,
    /// It goes on with what another process left there.
    pub(crate) baton: Option<PathBuf>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            me: 0,
            module: String::new(),
            mac: Mac([0; 6]),
            vips: [[0; 4].into(), [0; 4].into()],
            case: Case::ALL[0],
            cluster: 0xfa,
            addresses: Vec::new(),
            seed: 7,
            last: PORT,
            // So that shares are even soon after members came.
            drain: Duration::from_millis(300),
            isolated: Isolated::All,
            uncovered: Uncovered::Deny,
            warm_up: Duration::ZERO,
            interval: Timing::default().interval,
            baton: None,
        }
    }
}

impl Spec {
    pub(super) fn write(&self, file: &Path) {
        let words = |addresses: &[IpAddr]| {
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let lines = [
            self.me.to_string(),
            self.module.clone(),
            self.mac.to_string(),
            words(&self.vips),
            self.case.place().to_string(),
            self.cluster.to_string(),
            words(&self.addresses),
            self.seed.to_string(),
            self.last.to_string(),
            self.drain.as_millis().to_string(),
            (self.isolated == Isolated::All).to_string(),
            (self.uncovered == Uncovered::Pass).to_string(),
            self.warm_up.as_millis().to_string(),
            self.interval.as_millis().to_string(),
            self.baton.as_ref().map_or(String::new(), |baton| baton.display().to_string()),
        ];
        fs::write(file, lines.join("\n")).unwrap();
    }

    fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap();
        let lines: Vec<&str> = text.split('\n').collect();
        let [me, module, mac, vips, case, cluster, addresses, rest @ ..] = &lines[..] else {
            panic!("{text:?}")
        };
        let [seed, last, drain, all, pass, warm_up, interval, baton] = rest else {
            panic!("{text:?}")
        };
        let words = |words: &str| -> Vec<IpAddr> {
            words.split(' ').map(|word| word.parse().unwrap()).collect()
        };
        let bytes: Vec<u8> =
            mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        Self {
            me: me.parse().unwrap(),
            module: (*module).to_owned(),
            mac: Mac(bytes.try_into().unwrap()),
            vips: words(vips).try_into().unwrap(),
            case: Case::ALL[case.parse::<usize>().unwrap()],
            cluster: cluster.parse().unwrap(),
            addresses: words(addresses),
            seed: seed.parse().unwrap(),
            last: last.parse().unwrap(),
            drain: Duration::from_millis(drain.parse().unwrap()),
            isolated: if *all == "true" { Isolated::All } else { Isolated::Nothing },
            uncovered: if *pass == "true" { Uncovered::Pass } else { Uncovered::Deny },
            warm_up: Duration::from_millis(warm_up.parse().unwrap()),
            interval: Duration::from_millis(interval.parse().unwrap()),
            baton: Some(baton).filter(|baton| !baton.is_empty()).map(PathBuf::from),
        }
    }

    fn rules(&self) -> Vec<Rule> {
        let rule = |vip, port, last, protocol, on| Rule { vip, ports: port..=last, protocol, on };
        let [v4, v6] = NET_BITS;
        let net = HashOn::Net { v4, v6 };
        let of = |vip| {
            [
                rule(vip, PORT, self.last, Protocol::Tcp, HashOn::AddrPort),
                rule(vip, STICKY, STICKY, Protocol::Tcp, HashOn::Addr),
                rule(vip, UDP, UDP, Protocol::Udp, HashOn::AddrPort),
                rule(vip, UDP_STICKY, UDP_STICKY, Protocol::Udp, HashOn::Addr),
                rule(vip, NET, NET, Protocol::Tcp, net),
                rule(vip, IPID, IPID, Protocol::Udp, HashOn::IpId),
            ]
        };
        self.vips.into_iter().flat_map(of).collect()
    }

    /// A member that filters there, and beats from that port to that port.
    pub(crate) fn setup(&self, plane: Box<dyn Plane + Send>, beats: u16) -> Setup {
        let me = node(self.me);
        let identity = Identity {
            cluster: ClusterId(self.cluster),
            module: ModuleId(1),
            me,
            members: (0..self.addresses.len()).map(node).collect(),
            links: 1,
        };
        let rules = self.rules();
        let policy = Policy {
            weights: vec![4; rules.len()],
            rules,
            buckets: Buckets::Few,
            hash: self.case.hash(self.seed),
            mode: self.case.mode,
            uncovered: self.uncovered,
            mac: Some(self.mac).filter(|_| self.case.mode == Mode::Directed),
            isolated: self.isolated,
            drain: self.drain,
            warm_up: self.warm_up,
        };
        let usual = Timing::default();
        let scaled = |time: Duration| {
            time.mul_f64(self.interval.as_secs_f64() / usual.interval.as_secs_f64())
        };
        let timing = Timing {
            interval: self.interval,
            lease: scaled(usual.lease),
            slack: scaled(usual.slack),
            tick: self.case.tick(),
            ..usual
        };
        let all = self.addresses.iter().map(|address| SocketAddr::new(*address, beats));
        let all: Vec<SocketAddr> = all.collect();
        let others = all.iter().enumerate().filter(|(id, _)| *id != self.me);
        Setup {
            config: Config::new(identity, timing, policy).unwrap(),
            key: Key::Insecure,
            links: vec![Link {
                local: all[self.me],
                peers: others.map(|(id, address)| (node(id), *address)).collect(),
            }],
            plane,
            front: Some(Front { interface: "eth0".into() }),
            application: Box::new(NoApplication),
            observer: Box::new(|event| match event {
                Event::Takes(_) => println!("takes all at {}", ha_lab::now().as_nanos()),
                event => println!("{event:?}"),
            }),
        }
    }
}

/// Not a test: one daemon, until it is killed.
#[test]
fn daemon() {
    let Some(spec) = env::var_os("HA_TEST_MEMBER") else { return };
    let spec = Spec::read(spec.as_ref());
    tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_ansi(false).init();
    let control = UnixListener::bind(env::var("HA_TEST_CONTROL").unwrap()).unwrap();
    let plane = spec.case.plane(&spec.module, spec.baton.is_some());
    let setup = spec.setup(plane, BEATS);
    let mut running = match &spec.baton {
        Some(file) => {
            println!("loaded");
            assert!(ha_lab::within(SOON, || file.exists()), "nobody hands over");
            let baton = Baton::decode(&fs::read(file).unwrap()).unwrap();
            fs::remove_file(file).unwrap();
            resume(setup, &baton).unwrap()
        }
        None => start(setup).unwrap(),
    };
    // As its program does; the thread gives itself its name, by which it is found.
    ha_lab::within(SOON, || realtime::raise(THREAD).is_ok());
    if let Err(refused) = realtime::lock_memory() {
        println!("{refused}");
    }
    println!("started");
    while let Ok((mut stream, _)) = control.accept() {
        let mut order = String::new();
        BufReader::new(&stream).read_line(&mut order).unwrap();
        let (word, rest) = order.trim().split_once(' ').unwrap_or((order.trim(), ""));
        match word {
            "hand-over" => match hand_over(running, Path::new(rest)) {
                Ok(()) => return say(&mut stream, "handed over"),
                Err(refused) => {
                    running = refused;
                    say(&mut stream, "refused");
                }
            },
            "stop" => {
                running.stop().unwrap();
                return say(&mut stream, "stopped");
            }
            _ => say(&mut stream, &answer(&running.handle(), word, rest)),
        }
    }
}

fn say(stream: &mut UnixStream, what: &str) {
    // A test that has failed hears nothing.
    let _ = stream.write_all(what.as_bytes());
}

fn hand_over(running: Running, file: &Path) -> Result<(), Running> {
    let baton = running.hand_over(Duration::from_secs(2))?;
    let mut bytes = Vec::new();
    baton.encode(&mut bytes);
    // It is there whole or not at all.
    let beside = file.with_extension("new");
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, file).unwrap();
    Ok(())
}

fn answer(handle: &Handle, word: &str, rest: &str) -> String {
    let order = match word {
        "view" => return Shown::from(&wait(handle.view()).unwrap()).to_string(),
        "counters" => {
            let counted = wait(handle.counters()).unwrap().unwrap();
            let pair =
                |of: &ha_core::linux::plane::Service| format!("{},{} ", of.accepted, of.forwarded);
            return counted.services.iter().map(pair).collect();
        }
        "strangers" => {
            let strangers = wait(handle.strangers()).unwrap();
            let lines = strangers.iter().map(|it| format!("{} {}", it.ip, it.card));
            return lines.collect::<Vec<_>>().join("\n");
        }
        "drain" => Order::Drain(rest == "on"),
        "gate" => Order::Gate(rest == "open"),
        "weight" => Order::Weight { service: None, weight: rest.parse().unwrap() },
        "checker" => Order::Checker { ok: rest == "ok", cut: rest == "cut" },
        _ => panic!("{word:?} is no order"),
    };
    format!("{:?}", wait(handle.order(order)))
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
