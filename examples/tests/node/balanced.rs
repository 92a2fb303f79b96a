//! FIELD.md, row 14, and DOMAIN.md, section 4: two subnets that share no switch, so no address that
//! could move, and no frame to all that anybody would hear; a load balancer asks each node whether it
//! serves, and a program is told who does.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use ha_lab::datagram::{ANSWER_MAX, Reply, Request};
use ha_lab::{Bridge, Host, Lab, Node, PairFile, within};

use crate::SOON;
use crate::rig::{MODULE, PORT, PROMPT, mute, serve, told};

/// Where the balancer listens.
const FRONT: u16 = 80;

#[test]
fn field_14_without_a_common_network_traffic_follows_the_health_url() {
    if !ha_lab::installed_or_skip(&["haproxy"]) {
        return;
    }
    let Some(mut lab) = Lab::root_or_skip("field_14") else { return };
    let (left, right) = (lab.bridge().unwrap(), lab.bridge().unwrap());
    let (a, b) = (lab.host("a", &[&left]).unwrap(), lab.host("b", &[&right]).unwrap());
    let balancer = lab.router("lb", &[&left, &right]).unwrap();
    let client = lab.host("client", &[&left]).unwrap();
    a.route_via(&balancer, &left).unwrap();
    b.route_via(&balancer, &right).unwrap();
    know(&[&a, &client, &balancer], &left);
    know(&[&b, &balancer], &right);
    let said_to_all = [(&a, &left), (&b, &right)].map(|(host, network)| {
        mute(host);
        let to_all = format!("ether src {} and ether[0] & 1 = 1", host.mac(network).unwrap());
        host.capture(network, &to_all).unwrap()
    });
    let own = [SocketAddr::from((a.v4(&left), PORT)), (b.v4(&right), PORT).into()];
    let program = Path::new(env!("CARGO_BIN_EXE_mirror-node"));
    let nodes = [&a, &b].map(|host| Node::new(&lab, host, program).unwrap());
    let pair = PairFile { hosts: [&a, &b], networks: &[&left], lab: &lab };
    for (node, target) in nodes.iter().zip(own) {
        serve(node, MODULE, &[target]);
        let first = node.host().name() == "a";
        let scripts = node.scripts(MODULE).display().to_string();
        let tell = "echo \"$HA_EVENT $HA_MODULE $HA_EPOCH\" >> told";
        let tell = node.script(MODULE, "tell", tell).unwrap().join("tell");
        // Where health is asked for when nobody says so.
        let shared = format!(
            "vote = \"none\"\n{PROMPT}[http]\n[notify]\nexec = \"{}\"\nlevel = \"info\"\n",
            tell.display()
        );
        let module = format!(
            "[[module]]\nname = \"{MODULE}\"\nid = 0\nbootstrap = {first}\nscripts = \"{scripts}\"\n"
        );
        let text = pair.text(node, &shared, &module).unwrap();
        // The second node is in the other network.
        let text = text.replace(&format!("\"{}:", b.v4(&left)), &format!("\"{}:", b.v4(&right)));
        node.configure(&text).unwrap();
    }
    let mut daemons = nodes.each_ref().map(|node| Some(node.start().unwrap()));
    let file = lab.folder().join("haproxy.cfg");
    fs::write(&file, haproxy(own)).unwrap();
    told(balancer.command("haproxy").args(["-c", "-f"]).arg(&file));
    let _haproxy = balancer.spawn("haproxy", |it| it.args(["-db", "-f"]).arg(&file)).unwrap();
    let front = SocketAddr::from((balancer.v4(&left), FRONT));
    until_served_by(&client, front, "a");
    let first = until_told(&nodes[0]);
    let pages = [format!("/ready?module={MODULE}"), format!("/var/modules/{MODULE}/ready.txt")];
    for page in &pages {
        assert_eq!(health(&client, own[0], page), "200 OK", "of PRIM");
        assert_eq!(health(&balancer, own[1], page), "404 NOT FOUND", "of SECOND");
    }
    assert_eq!(health(&client, own[0], "/ready?module=none-such"), "404 NOT FOUND");
    daemons[0].take().unwrap().kill().unwrap();
    until_served_by(&client, front, "b");
    let second = until_told(&nodes[1]);
    assert!(first < second, "whoever moves traffic by it knows the newer one: {first}, {second}");
    assert_eq!(health(&balancer, own[1], &pages[1]), "200 OK", "of ALONE");
    // And back, when that one is told to end.
    daemons[0] = Some(nodes[0].start().unwrap());
    let ready = || {
        let mut ha = Command::new(env!("CARGO_BIN_EXE_ha"));
        ha.arg("--socket").arg(nodes[0].folder().join("run/control.sock")).arg("role");
        ha.output().unwrap().stdout == b"SECOND ready\n"
    };
    assert!(within(SOON, ready), "{}", daemons[0].as_ref().unwrap().output());
    assert_eq!(
        served_by(&client, front).as_deref(),
        Some("b"),
        "who comes back takes nothing back"
    );
    daemons[1].take().unwrap().terminate().unwrap();
    until_served_by(&client, front, "a");
    assert!(until_told(&nodes[0]) > second);
    for capture in said_to_all {
        let frames = capture.all().unwrap();
        assert!(frames.is_empty(), "a node speaks to all: {frames:#?}");
    }
}

/// As in a cloud: each knows by itself where the others of a network are, and hears nothing that is
/// said to more than one.
fn know(hosts: &[&Host], network: &Bridge) {
    for host in hosts {
        for other in hosts.iter().filter(|other| other.name() != host.name()) {
            let mac = other.mac(network).unwrap();
            host.pin_neighbour(other.v4(network).into(), mac, network).unwrap();
        }
        let interface = host.interface(network);
        let deaf = format!(
            "table netdev deaf_{interface} {{ chain ingress {{ type filter hook ingress device \
             \"{interface}\" priority 0; \
             ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 drop; }}; }}"
        );
        told(host.command("nft").arg(deaf));
    }
}

/// Waits until a node's hook was told of the reign for which its service was started last, and
/// returns that reign's epoch.
fn until_told(node: &Node) -> u64 {
    let calls = node.wrote(MODULE, "calls");
    let mut starts = calls.lines().filter_map(|line| line.strip_prefix("start "));
    let epoch = starts.next_back().expect("its service was started");
    let line = format!("serving {MODULE} {epoch}");
    let told = || node.wrote(MODULE, "told").lines().any(|it| it == line);
    assert!(within(SOON, told), "{line}: {}", node.wrote(MODULE, "told"));
    epoch.parse().unwrap()
}

fn haproxy(own: [SocketAddr; 2]) -> String {
    let [a, b] = own;
    format!(
        "global\n    maxconn 100\n\
         defaults\n    mode tcp\n    timeout connect 1s\n    timeout client 5s\n    timeout server 5s\n\
         frontend in\n    bind :{FRONT}\n    default_backend nodes\n\
         backend nodes\n    option httpchk GET /ready?module={MODULE}\n\
         \x20   http-check expect status 200\n\
         \x20   default-server check port 9010 inter 100ms rise 1 fall 2 on-marked-down \
         shutdown-sessions\n\
         \x20   server a {a}\n    server b {b}\n"
    )
}

/// Who answers behind the balancer; `None` when nobody does.
fn served_by(client: &Host, front: SocketAddr) -> Option<String> {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&front, SOON)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(&Request { run: 1, number: 1 }.encode())?;
        let mut bytes = [0; ANSWER_MAX];
        let count = stream.read(&mut bytes)?;
        Ok(bytes[..count].to_vec())
    };
    let bytes = client.inside(ask).unwrap().ok()?;
    Reply::decode(&bytes).ok().map(|reply| reply.name)
}

fn until_served_by(client: &Host, front: SocketAddr, name: &str) {
    let served = || served_by(client, front).as_deref() == Some(name);
    assert!(within(SOON, served), "not {name}: {:?}", served_by(client, front));
}

/// The status line of one of a node's health pages, without the version.
fn health(from: &Host, own: SocketAddr, page: &str) -> String {
    let at = SocketAddr::new(own.ip(), 9010);
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&at, SOON)?;
        let request = format!("GET {page} HTTP/1.1\r\nHost: ha\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        stream.set_read_timeout(Some(SOON))?;
        let mut bytes = [0; 512];
        let count = stream.read(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
    };
    let said = from.inside(ask).unwrap().unwrap();
    let line = said.lines().next().unwrap_or_default();
    line.split_once(' ').map_or(line, |(_, status)| status).to_ascii_uppercase()
}
