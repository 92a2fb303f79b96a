//! The server on loopback, with clients that mean no good.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// Says yes to one module, and counts how often its metrics are made.
#[derive(Debug, Default)]
struct Node {
    made: AtomicU32,
    hangs: bool,
}

impl Source for Node {
    fn ready(&self, module: &str) -> Option<bool> {
        match module {
            "shop" => Some(true),
            "spare" => Some(false),
            _ => None,
        }
    }

    async fn metrics(&self) -> Option<String> {
        if self.hangs {
            core::future::pending::<()>().await;
        }
        Some(std::format!("made {}\n", self.made.fetch_add(1, Ordering::Relaxed) + 1))
    }
}

/// Far more than anything takes here that is expected to come.
const SOON: Duration = Duration::from_secs(20);

fn serve(node: Node, bounds: Bounds) -> Server {
    Server::bounded(([127, 0, 0, 1], 0).into(), Arc::new(node), bounds).unwrap()
}

fn server() -> Server {
    serve(Node::default(), Bounds::default())
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// All that comes until the server closes, in the bytes' meaning for a test.
fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        Ok(_) => text,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => text,
        Err(error) => panic!("it is neither answered nor closed: {error}"),
    }
}

fn say(server: &Server, request: &str) -> String {
    let mut stream = connect(server);
    stream.write_all(request.as_bytes()).unwrap();
    rest(stream)
}

/// The status and the body of an answer.
fn ask(server: &Server, method: &str, path: &str) -> (u16, String) {
    let answer = say(server, &std::format!("{method} {path} HTTP/1.1\r\nHost: node\r\n\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.into())
}

#[test]
fn a_load_balancer_learns_where_clients_go() {
    let server = server();
    let ok = (200, "OK".into());
    let not = (404, "NOT FOUND".into());
    assert_eq!(ask(&server, "GET", "/ready?module=shop"), ok);
    assert_eq!(ask(&server, "GET", "/var/modules/shop/ready.txt"), ok);
    for elsewhere in ["spare", "nobody", ""] {
        assert_eq!(ask(&server, "GET", &std::format!("/ready?module={elsewhere}")), not);
        assert_eq!(ask(&server, "GET", &std::format!("/var/modules/{elsewhere}/ready.txt")), not);
    }
    assert_eq!(ask(&server, "GET", "/ready"), not);
    assert_eq!(ask(&server, "GET", "/var/modules/../shop/ready.txt"), not);
    // As haproxy asks by default.
    let old = say(&server, "GET /ready?module=shop HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n") && old.ends_with("\r\n\r\nOK"), "{old}");
}

#[test]
fn only_what_reads_is_allowed() {
    let server = server();
    assert_eq!(ask(&server, "HEAD", "/ready?module=shop"), (200, String::new()));
    let refused = say(&server, "POST /metrics HTTP/1.1\r\nHost: n\r\nContent-Length: 2\r\n\r\nhi");
    assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
    assert!(refused.contains("\r\nallow: GET, HEAD\r\n"), "{refused}");
    assert!(say(&server, "no request\r\n\r\n").starts_with("HTTP/1.1 400 "));
}

#[test]
fn metrics_are_made_once_for_all_who_ask_in_a_second() {
    let server = server();
    let clock = crate::driver::Clock::start();
    let made = [(); 8].map(|()| ask(&server, "GET", "/metrics"));
    let asked = clock.now().saturating_since(ha_proto::Instant::ZERO);
    let first = (200, "made 1\n".into());
    assert_eq!(made[0], first);
    // Eight requests take a few milliseconds, unless the machine sleeps in between.
    assert!(made.iter().all(|page| *page == first) || asked >= Duration::from_secs(1), "{made:?}");
    let page = say(&server, "GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n");
    assert!(page.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
}

#[test]
fn a_node_that_hangs_costs_its_metrics_and_not_its_health() {
    let bounds = Bounds { page: Duration::from_millis(20), ..Bounds::default() };
    let server = serve(Node { hangs: true, ..Node::default() }, bounds);
    assert_eq!(ask(&server, "GET", "/metrics"), (503, "THE NODE DOES NOT ANSWER".into()));
    assert_eq!(ask(&server, "GET", "/ready?module=shop").0, 200);
}

#[test]
fn silent_clients_keep_nobody_out() {
    let bounds = Bounds { connections: 4, connection: SOON * 10, ..Bounds::default() };
    let server = serve(Node::default(), bounds);
    let silent: Vec<_> = (0..5).map(|_| connect(&server)).collect();
    let mut half = connect(&server);
    half.write_all(b"GET /metr").unwrap();
    assert_eq!(ask(&server, "GET", "/ready?module=shop").0, 200);
    // The oldest ones had to go; the newest one may go on.
    let mut silent = silent.into_iter();
    assert_eq!(rest(silent.next().unwrap()), "");
    assert_eq!(rest(silent.next().unwrap()), "");
    half.write_all(b"ics HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    assert!(rest(half).ends_with("made 1\n"));
}

#[test]
fn a_slow_client_is_cut() {
    let bounds = Bounds { connection: Duration::from_millis(50), ..Bounds::default() };
    let server = serve(Node::default(), bounds);
    let mut slow = connect(&server);
    slow.write_all(b"GET /ready").unwrap();
    assert_eq!(rest(slow), "");
}

#[test]
fn a_request_has_a_bound() {
    let server = server();
    let header = std::format!("X: {}\r\n", "x".repeat(REQUEST_MAX));
    let mut stream = connect(&server);
    // The server may close before it has read everything.
    let _ = stream.write_all(std::format!("GET /metrics HTTP/1.1\r\n{header}\r\n").as_bytes());
    let answer = rest(stream);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[test]
fn whoever_has_sent_everything_is_answered_too() {
    let server = server();
    let mut stream = connect(&server);
    stream.write_all(b"GET /ready?module=shop HTTP/1.0\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(rest(stream).ends_with("OK"));
}

#[test]
fn an_end_cuts_who_is_there_and_frees_the_port() {
    let server = server();
    let (address, silent) = (server.address(), connect(&server));
    assert_eq!(ask(&server, "GET", "/metrics").0, 200);
    drop(server);
    assert_eq!(rest(silent), "");
    drop(Server::start(address, Arc::new(Node::default())).unwrap());
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = server();
    let error = Server::start(taken.address(), Arc::new(Node::default())).unwrap_err();
    let says = std::format!("http.listen: cannot use {}: Address already in use", taken.address());
    assert!(error.to_string().starts_with(&says), "{error}");
}
