//! Clients of an address that goes hear of it: their connections are reset before it is off, since
//! from then on the kernel says nothing in its name. They only listen here, so that nobody else has
//! a reason to answer.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use ha_lab::within;

use crate::SOON;
use crate::rig::{CALM, Connection, PORT, Rig, kept};

/// Both ways of reaching the members: who gets a frame is another one in each.
const MODES: [&str; 2] = ["invisible", "directed"];

/// How many of them were reset, while one after the other is waited for; after a silent one no more.
fn reset(connections: &mut [Connection]) -> usize {
    let mut silent = false;
    let mut is_reset = |it: &mut Connection| {
        let heard = if silent { Ok(0) } else { it.stream.read(&mut [0]) };
        let reset = heard.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
        silent |= !reset;
        reset
    };
    connections.iter_mut().filter_map(|it| is_reset(it).then_some(())).count()
}

#[test]
fn a_member_that_leaves_resets_its_connections_before_its_addresses_go() {
    for mode in MODES {
        let shared = format!("{CALM}mode = \"{mode}\"\n");
        let Some(rig) = Rig::whole("farm_cut_end", 2, &shared, "") else { return };
        let (mut its, mut others): (Vec<_>, Vec<_>) =
            rig.connect(40).into_iter().partition(|it| it.by == 1);
        assert!(!its.is_empty(), "it has connections");
        rig.daemon(1).terminate().unwrap();
        let status = rig.daemon(1).wait(SOON).unwrap().expect("it ends");
        assert!(status.success() && !rig.hosts[1].holds(rig.vip()).unwrap());
        let told = reset(&mut its);
        assert_eq!(told, its.len(), "{mode}: {}", rig.daemon(1).output());
        assert_eq!(kept(&mut others), others.len(), "{mode}: nobody else is told so");
    }
}

#[test]
fn a_service_that_goes_resets_its_connections_before_its_address_goes() {
    for mode in MODES {
        let shared = format!("{CALM}mode = \"{mode}\"\n");
        let Some(mut rig) = Rig::new("farm_cut_vip", 2) else { return };
        let vip: IpAddr = rig.network.v4(101).into();
        let more = format!("\n[[service]]\nname = \"more\"\nvip = \"{vip}\"\nport = {PORT}\n");
        rig.configure(&shared, &more);
        rig.start_all();
        let (mut gone, mut stay) = (rig.connect_to(vip, 40), rig.connect(40));
        rig.configure(&shared, "");
        (0..2).for_each(|node| drop(rig.done(node, &["reload"])));
        assert_eq!(reset(&mut gone), gone.len(), "{mode}: {}", rig.daemon(0).output());
        let off = || rig.hosts.iter().all(|host| !host.holds(vip).unwrap());
        assert!(within(SOON, off), "{mode}: the address is off then");
        assert_eq!(kept(&mut stay), stay.len(), "{mode}: {}", rig.daemon(0).output());
        // It may come again.
        rig.configure(&shared, &more);
        (0..2).for_each(|node| drop(rig.done(node, &["reload"])));
        assert!(within(SOON, || rig.hosts.iter().all(|host| host.holds(vip).unwrap())));
        assert_eq!(rig.connect_to(vip, 10).len(), 10);
        assert_eq!(kept(&mut stay), stay.len(), "{mode}: {}", rig.daemon(0).output());
    }
}

/// Whether a client that comes back after each reset was told of the end of every connection that a
/// member had. A handshake whose last segment meets the next filter ends unheard, and the client takes
/// for a connection what no kernel has: so it says something each time.
fn is_told(rig: &Rig, vip: IpAddr, mut stream: TcpStream) -> bool {
    let to = SocketAddr::new(vip, PORT);
    let mut cut = is_cut(&mut stream);
    while cut {
        // Who is not accepted knows that.
        let again = rig.client.inside(|| TcpStream::connect_timeout(&to, AGAIN)).unwrap();
        let Ok(accepted) = again else { return true };
        stream = accepted;
        stream.set_read_timeout(Some(SOON)).unwrap();
        // The reset may be there first.
        cut = stream.write_all(&[0]).is_err() || is_cut(&mut stream);
    }
    is_unheard(rig, &stream)
}

/// Whether it ends by a reset, whatever is said on it before.
fn is_cut(stream: &mut TcpStream) -> bool {
    loop {
        match stream.read(&mut [0]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

/// Whether nobody has ever said that what the client said had come, as its kernel has it (proc(5)).
fn is_unheard(rig: &Rig, stream: &TcpStream) -> bool {
    let port = format!(":{:04X}", stream.local_addr().unwrap().port());
    let sockets = || fs::read_to_string("/proc/thread-self/net/tcp");
    let sockets = rig.client.inside(sockets).unwrap().unwrap();
    let rows = sockets.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let mut own = rows.filter(|row| row.get(1).is_some_and(|local| local.ends_with(&port)));
    // What waits to be acknowledged, in front of what waits to be read.
    own.any(|row| !row[4].starts_with("00000000:"))
}

#[test]
fn clients_that_come_back_at_once_are_told_too() {
    for mode in MODES {
        let shared = format!("{CALM}mode = \"{mode}\"\n");
        let Some(mut rig) = Rig::new("farm_cut_again", 2) else { return };
        let vip: IpAddr = rig.network.v4(101).into();
        let more = format!("\n[[service]]\nname = \"more\"\nvip = \"{vip}\"\nport = {PORT}\n");
        rig.configure(&shared, &more);
        rig.start_all();
        let (gone, mut stay) = (rig.connect_to(vip, 40), rig.connect(40));
        rig.configure(&shared, "");
        let (rig, all) = (&rig, gone.len());
        let told = thread::scope(|scope| {
            let client = |it: Connection| scope.spawn(move || is_told(rig, vip, it.stream));
            let clients: Vec<_> = gone.into_iter().map(client).collect();
            (0..2).for_each(|node| drop(rig.done(node, &["reload"])));
            clients.into_iter().filter_map(|it| it.join().unwrap().then_some(())).count()
        });
        let said = rig.daemon(0).output();
        assert_eq!(told, all, "{mode}: some wait for nobody: {said}");
        let off = || rig.hosts.iter().all(|host| !host.holds(vip).unwrap());
        assert!(within(SOON, off), "{mode}: the address is off then");
        assert_eq!(kept(&mut stay), stay.len(), "{mode}: {said}");
        // What the filter was closed to meanwhile is nothing to it any more.
        assert!(within(SOON, || rig.ha(0, &["restart-daemon"]).code == 0), "{mode}: {said}");
    }
}

/// A connection is there at once or not at all.
const AGAIN: Duration = Duration::from_millis(500);
