//! Where this host's own connections begin from while it holds virtual addresses, as their other
//! ends see it.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use ha_core::linux::{VipSource, VipsConfig};
use ha_lab::{Host, within};

use crate::vips_rig::{LONG, Net, Rig, SOON};

/// A network, and servers on the client's host: one in the network itself, one behind it.
struct Far {
    net: Net,
    servers: Vec<TcpListener>,
}

impl Far {
    fn new(test: &str) -> Option<Self> {
        let net = Net::new(test)?;
        let client = &net.client;
        Net::ip(client, "address add 198.51.100.1/32 dev lo");
        Net::ip(client, "address add 2001:db8:1::1/128 dev lo nodad");
        net.a.route_via(client, &net.network).unwrap();
        let near = [IpAddr::from(client.v4(&net.network)), client.v6(&net.network).into()];
        let far = ["198.51.100.1", "2001:db8:1::1"].map(|ip| ip.parse().unwrap());
        let listen = |ip| client.inside(|| TcpListener::bind((ip, 7000)).unwrap()).unwrap();
        let servers = near.into_iter().chain(far).map(listen).collect();
        Some(Self { net, servers })
    }

    fn config(&self, source: VipSource) -> VipsConfig {
        let mut config = self.net.config();
        config.addresses.iter_mut().for_each(|vip| {
            vip.source = source;
            vip.prefix = if vip.address.is_ipv4() { 32 } else { 128 };
        });
        config
    }

    /// Whether each server sees these addresses as the source of a connection.
    #[track_caller]
    fn begin_from(&self, sources: [IpAddr; 2]) {
        for server in &self.servers {
            let to = server.local_addr().unwrap();
            assert_eq!(self.seen(server), sources[usize::from(to.is_ipv6())], "to {to}");
        }
    }

    fn seen(&self, server: &TcpListener) -> IpAddr {
        let to: SocketAddr = server.local_addr().unwrap();
        let _client = self.net.a.inside(|| TcpStream::connect_timeout(&to, SOON)).unwrap().unwrap();
        server.accept().unwrap().1.ip()
    }

    fn own(&self) -> [IpAddr; 2] {
        let (host, network) = (&self.net.a, &self.net.network);
        [host.v4(network).into(), host.v6(network).into()]
    }

    /// All routes, but for the times that some still have.
    fn routes(&self) -> String {
        ["-4", "-6"].map(|family| Net::ip(&self.net.a, &format!("{family} route show"))).concat()
    }

    fn ours(&self) -> Vec<String> {
        let routes = self.routes();
        routes.lines().filter(|line| line.contains(MARK)).map(str::to_owned).collect()
    }
}

/// How `ip` shows what is marked as ours.
const MARK: &str = "proto 104";

/// Two halves of the network of the link and of the default, of both families.
const ALL: usize = 8;

#[test]
fn an_alias_is_no_source_of_the_hosts_own_connections() {
    let Some(far) = Far::new("alias") else { return };
    let rig = Rig::start(&far.net.a, far.config(VipSource::Alias)).unwrap();
    far.begin_from(far.own());
    let before = far.routes();
    rig.take(1, LONG);
    assert!(far.net.holds(&far.net.a, true));
    far.begin_from(far.own());
    assert!(far.ours().is_empty());
    // Nor after the host's own were set once more, as by a network manager.
    for ip in far.own() {
        far.net.a.remove_address(ip, &far.net.network).unwrap();
        let prefix = if ip.is_ipv4() { "24" } else { "64 nodad" };
        Net::ip(&far.net.a, &format!("address add {ip}/{prefix} dev eth0"));
    }
    far.net.a.route_via(&far.net.client, &far.net.network).unwrap();
    far.begin_from(far.own());
    rig.release();
    assert_eq!(far.routes().lines().count(), before.lines().count());
}

#[test]
fn a_preferred_address_is_the_source_while_it_is_held() {
    let Some(far) = Far::new("preferred") else { return };
    let rig = Rig::start(&far.net.a, far.config(VipSource::Preferred)).unwrap();
    let before = far.routes();
    for counter in 1..3 {
        far.begin_from(far.own());
        rig.take(counter, LONG);
        far.begin_from(far.net.addresses());
        assert_eq!(far.ours().len(), ALL, "{}", far.routes());
        rig.release();
        far.begin_from(far.own());
        assert_eq!(far.routes(), before, "nothing of ours, and all of others'");
    }
    // One whose lifetime ends; nothing is begun from it, since it may be gone before that is answered.
    rig.take(3, Duration::from_secs(1));
    assert!(within(SOON, || far.net.holds(&far.net.a, false) && far.ours().is_empty()));
    far.begin_from(far.own());
    rig.take(4, LONG);
    drop(rig);
    assert_eq!(far.routes(), before, "an end leaves nothing behind");
}

#[test]
fn a_killed_daemon_leaves_no_source_behind() {
    let Some(far) = Far::new("killed_source") else { return };
    // The kernel forgets ended routes of IPv6 twice a minute; they lead nobody anywhere.
    far.net.a.sysctl("net.ipv6.route.gc_interval", "1").unwrap();
    let before = far.routes();
    // Long enough for a loaded machine to extend it in time.
    let lifetime = Duration::from_secs(3);
    let daemon = far.net.daemon_with(&far.net.a, lifetime, VipSource::Preferred);
    // Routes are kept beyond the first lifetime, as addresses are.
    assert!(!within(lifetime * 2, || far.ours().len() != ALL), "{}", far.routes());
    far.begin_from(far.net.addresses());
    daemon.kill().unwrap();
    assert!(within(SOON, || far.net.holds(&far.net.a, false)));
    far.begin_from(far.own());
    assert!(within(SOON, || far.ours().is_empty()), "{}", far.routes());
    assert!(within(SOON, || far.routes() == before), "{}", far.routes());
}

#[test]
fn a_start_sweeps_the_routes_of_a_killed_daemon_and_nothing_else() {
    let Some(far) = Far::new("swept_source") else { return };
    Net::ip(&far.net.a, "route add 203.0.113.0/24 via 10.77.1.3 proto 104");
    let before = far.routes();
    far.net.daemon_with(&far.net.a, LONG, VipSource::Preferred).kill().unwrap();
    assert_eq!(far.ours().len(), ALL + 2 + 1, "{}", far.routes());
    // One whose address somebody removed since.
    far.net.a.remove_address(far.net.addresses()[1], &far.net.network).unwrap();
    let rig = Rig::start(&far.net.a, far.config(VipSource::Alias)).unwrap();
    assert!(within(SOON, || far.routes() == before), "{}", far.routes());
    far.begin_from(far.own());
    drop(rig);
}

#[test]
fn an_administrators_commands_do_what_they_say_and_are_followed() {
    let Some(far) = Far::new("administrators_routes") else { return };
    let (a, [_, own_v6]) = (&far.net.a, far.own());
    let rig = Rig::start(a, far.config(VipSource::Preferred)).unwrap();
    rig.take(1, LONG);
    let all = far.ours();
    let ip = |arguments: &str| Net::ip(a, arguments);
    let put_back = |what: &str| {
        assert!(within(SOON, || far.ours().len() == ALL), "{what}: {}", far.routes());
        far.begin_from(far.net.addresses());
    };
    // What is removed is put back.
    ip(&format!("route del {}", all[0].split(" proto").next().unwrap()));
    put_back("a route of ours");
    for address in far.net.addresses() {
        a.remove_address(address, &far.net.network).unwrap();
        put_back("an address");
    }
    // Each of these finds the administrator's own route and no other.
    let gateway = far.net.client.v4(&far.net.network);
    ip("route del default");
    assert!(within(SOON, || far.ours().len() == ALL - 2), "{}", far.routes());
    assert!(!far.routes().contains("default via 10."), "{}", far.routes());
    ip(&format!("route add 0.0.0.0/1 via {gateway} src {}", a.v4(&far.net.network)));
    ip(&format!("route add default via {gateway} metric 50 mtu 1400"));
    assert!(within(SOON, || far.ours().len() == ALL + 2), "{}", far.routes());
    let far_v4 = ip("route get 198.51.100.1");
    assert!(far_v4.contains("10.77.1.100"), "{far_v4}");
    let taken_over = |line: &&String| line.starts_with("128.0.0.0/1") && line.contains("mtu 1400");
    assert!(far.ours().iter().any(|line| taken_over(&line)), "{}", far.routes());
    ip("route del 0.0.0.0/1");
    ip(&format!("route replace default via {gateway} metric 50"));
    put_back("a route that was replaced");
    // One that leads elsewhere, and is better.
    ip("-6 route add default dev lo metric 1");
    assert!(within(SOON, || far.ours().len() == ALL - 2), "{}", far.routes());
    ip("-6 route del default dev lo metric 1");
    put_back("a route that went elsewhere");
    // A source of an administrator's own stays the source of what is bound to it.
    let bound = ip(&format!("route get 2001:db8:1::1 from {own_v6}"));
    assert!(bound.contains("dev eth0"), "{bound}");
    rig.release();
    assert!(far.ours().is_empty());
    far.begin_from(far.own());
}

/// What a watch on the kernel sees of our routes while something is done.
fn changes(host: &Host, work: impl FnOnce()) -> String {
    let mut watch = host.command("ip");
    watch.args(["monitor", "route"]);
    let log = tempfile::NamedTempFile::new().unwrap();
    watch.stdout(log.reopen().unwrap());
    let mut watch = watch.spawn().unwrap();
    let seen = || std::fs::read_to_string(log.path()).unwrap();
    // It sees another route come and go; until then it does not watch yet.
    let watches = |to: &str| {
        within(SOON, || {
            Net::ip(host, &format!("route replace {to} dev lo"));
            Net::ip(host, &format!("route del {to} dev lo"));
            seen().lines().any(|line| line.contains("Deleted") && line.contains(to))
        })
    };
    assert!(watches("203.0.113.1"), "it watches");
    work();
    assert!(watches("203.0.113.2"), "all before this was seen");
    watch.kill().unwrap();
    watch.wait().unwrap();
    seen()
}

#[test]
fn the_source_stays_while_one_daemon_hands_over_to_the_next() {
    let Some(far) = Far::new("handed_source") else { return };
    let mut old = Rig::start(&far.net.a, far.config(VipSource::Preferred)).unwrap();
    old.take(1, LONG);
    let newer = std::cell::OnceCell::new();
    let seen = changes(&far.net.a, || {
        old.vips.leave();
        far.begin_from(far.net.addresses());
        let next = newer.get_or_init(|| Rig::resume(&far.net.a, far.config(VipSource::Preferred)));
        far.begin_from(far.net.addresses());
        next.take(1, LONG);
        far.begin_from(far.net.addresses());
        next.vips.keep(LONG).unwrap();
    });
    let mut deleted = seen.lines().filter(|line| line.contains("Deleted"));
    assert!(deleted.all(|line| !line.contains(MARK)), "{seen}");
    drop(old);
    let mut next = newer.into_inner().unwrap();
    next.vips.leave();
    drop(next);
    // And goes where the next one's file says so.
    let last = Rig::resume(&far.net.a, far.config(VipSource::Alias));
    last.take(1, LONG);
    assert!(far.ours().is_empty(), "{}", far.routes());
    far.begin_from(far.own());
}
