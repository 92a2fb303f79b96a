//! Clients that are not what they should be, and a second server.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use ha_core::control::protocol::{Reply, Request};
use ha_core::control::{Client, ClientError, EventLog, Server, ServerError};
use ha_core::driver::Clock;
use ha_proto::Instant;

use crate::desk::{PATIENCE, Station};
use crate::rig::Pair;

/// What comes until the other side closes.
fn answer(station: &Station, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(&station.socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may be refused before all of it is sent.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut said = Vec::new();
    // A reset while bytes wait unread here follows the answer.
    let _ = stream.read_to_end(&mut said);
    String::from_utf8(said).unwrap()
}

fn table(station: &Station) -> Arc<crate::desk::Table> {
    Arc::new(crate::desk::Table::of(station.handle.clone()))
}

#[test]
fn garbage_is_answered_in_one_line_and_nothing_ends() {
    let rig = Pair::new();
    let station = Station::start(&rig, 0);
    let refusal = |text: &str| {
        let text = text.replace('"', "\\\"");
        format!("{{\"v\":1,\"refused\":{{\"exit\":\"usage\",\"text\":\"{text}\"}}}}\n")
    };
    let no = refusal("not a request: one JSON object");
    assert_eq!(answer(&station, b"GET /metrics HTTP/1.1\r\n\r\n"), no);
    assert_eq!(answer(&station, &[0xff; 300]), no);
    assert_eq!(answer(&station, &vec![b'{'; 100_000]), refusal("a request has 4096 bytes at most"));
    let deep = [b"{\"v\":1,\"ask\":".as_slice(), &[b'['; 4_000], b"\n"].concat();
    assert!(answer(&station, &deep).contains("\"exit\":\"usage\""));
    assert_eq!(answer(&station, b""), "");
    assert_eq!(station.status().module, "web");
}

#[test]
fn clients_that_say_nothing_or_never_read_keep_nobody_out() {
    let rig = Pair::new();
    let station = Station::start(&rig, 0);
    let mut deaf = UnixStream::connect(&station.socket).unwrap();
    deaf.write_all(b"{\"v\":1,\"ask\":\"status\",\"watch\":true}\n").unwrap();
    let silent: Vec<_> = (0..40).map(|_| UnixStream::connect(&station.socket).unwrap()).collect();
    // There is no room for one more until the silent ones have had their time.
    let request = Request::Status { module: None, watch: false };
    let clock = Clock::start();
    let mut busy = 0;
    loop {
        let mut client = Client::ask(&station.socket, &request).unwrap();
        match client.next(Some(PATIENCE)) {
            Ok(Some(Reply::Status(_))) => break,
            Ok(Some(Reply::Refused(refused))) => {
                assert!(refused.text.contains("too many clients"), "{refused:?}");
                busy += 1;
            }
            // Turned away before its request was taken.
            Ok(None) | Err(ClientError::Io { .. }) => busy += 1,
            other => panic!("{other:?}"),
        }
        assert!(clock.now() < Instant::ZERO + PATIENCE, "nobody is let in any more");
        std::thread::yield_now();
    }
    assert!(busy > 0, "forty silent clients were let in");
    drop((silent, deaf));
}

/// Everybody of the machine may connect, and hold what an administrator needs.
#[test]
fn users_who_may_not_see_take_no_place() {
    if !ha_lab::root_or_skip() {
        return;
    }
    let rig = Pair::new();
    let station = Station::start(&rig, 0);
    let (folder, open) = (station.socket.parent().unwrap(), fs::Permissions::from_mode(0o755));
    fs::set_permissions(folder, open).unwrap();
    let path = station.socket.clone();
    // Of this thread alone.
    let strangers = std::thread::spawn(move || {
        let nobody = rustix::process::Uid::from_raw(65_534);
        rustix::thread::set_thread_uid(nobody).unwrap();
        let connect = |_| UnixStream::connect(&path).unwrap();
        (0..40).map(connect).collect::<Vec<_>>()
    });
    let mut strangers = strangers.join().unwrap();
    for _ in 0..10 {
        assert_eq!(station.status().module, "web");
    }
    let mut said = String::new();
    strangers[39].read_to_string(&mut said).unwrap();
    assert!(said.contains("not allowed: who may see is root or in the group ha"), "{said}");
}

#[test]
fn a_second_server_is_refused_and_a_dead_ones_socket_is_taken_over() {
    let rig = Pair::new();
    let station = Station::start(&rig, 0);
    let path = &station.socket;
    let second = Server::start(path, table(&station), Arc::new(EventLog::new()));
    let said = second.unwrap_err();
    assert!(matches!(said, ServerError::InUse { .. }));
    let text = format!(
        "control socket {} is in use: another daemon answers there: stop it, or name another \
         folder for this one",
        path.display()
    );
    assert_eq!(said.to_string(), text);
    assert_eq!(station.status().module, "web", "the first one still answers");

    let left = rig.folder.path().join("left.sock");
    drop(UnixListener::bind(&left).unwrap());
    let taken = Server::start(&left, table(&station), Arc::new(EventLog::new())).unwrap();
    let request = Request::Status { module: None, watch: false };
    let answer = Client::ask(&left, &request).unwrap().next(Some(PATIENCE)).unwrap();
    assert!(matches!(answer, Some(Reply::Status(_))));
    drop(taken);
    assert!(!left.exists(), "it leaves nothing");

    let file = rig.folder.path().join("file");
    std::fs::write(&file, "not a socket").unwrap();
    let refused = Server::start(&file, table(&station), Arc::new(EventLog::new()));
    assert!(matches!(refused, Err(ServerError::Socket { .. })));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a socket", "it is left alone");
}

#[test]
fn a_client_says_why_there_is_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.sock");
    let request = Request::Status { module: None, watch: false };
    let error = Client::ask(&path, &request).unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { .. }));
    assert!(error.to_string().ends_with("start it (systemctl start ha-node), or name its socket"));
    let listener = UnixListener::bind(&path).unwrap();
    let mut client = Client::ask(&path, &request).unwrap();
    let silent = client.next(Some(Duration::from_millis(20))).unwrap_err();
    assert!(matches!(silent, ClientError::Silent { .. }));
    let mut client = Client::ask(&path, &request).unwrap();
    let _first = listener.accept().unwrap();
    let (mut daemon, _) = listener.accept().unwrap();
    daemon.write_all(b"{\"v\":9,\"later\":[]}\n").unwrap();
    let strange = client.next(Some(PATIENCE)).unwrap_err();
    assert!(matches!(strange, ClientError::Strange { .. }));
}
