//! The metrics of real nodes, over HTTP.
#![cfg(feature = "http")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ha_core::driver::Handle;
use ha_core::http::{Server, Source};
use ha_core::metrics::{Sample, render};
use ha_core::verdict::{Facts, HostFacts, Names, judge};
use ha_core::{Order, Status};
use ha_proto::{Role, Seq};

use crate::rig::{Pair, block_on, ready, whole};

/// One module, called `shop`.
struct Node(Handle);

impl Source for Node {
    fn ready(&self, module: &str) -> Option<bool> {
        let status = self.0.status().now();
        (module == "shop").then(|| status.is_some_and(|status| status.takes_clients()))
    }

    async fn metrics(&self) -> Option<String> {
        let (view, counters) = (self.0.view().await?, self.0.counters().await?);
        let (host, names) = (HostFacts::default(), Names::default());
        let verdict = judge(&Facts { view: &view, host: &host, names: &names });
        let sample = Sample {
            module: "shop".into(),
            view,
            counters,
            host,
            names,
            verdict,
            unprotected: Duration::ZERO,
            vips: None,
            scripts: Vec::new(),
        };
        let mut page = String::new();
        render("test", &[sample], &mut page);
        Some(page)
    }
}

fn serve(handle: &Handle) -> Server {
    Server::start("127.0.0.1:0".parse().unwrap(), Node(handle.clone())).unwrap()
}

fn get(server: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A page of now: a server's next one may be a second old.
fn page_now(handle: &Handle) -> String {
    get(serve(handle).address(), "/metrics")
}

fn is_ready(server: &Server) -> bool {
    let answer = get(server.address(), "/ready?module=shop");
    assert!(answer.ends_with("\r\n\r\nOK") || answer.ends_with("\r\n\r\nNOT FOUND"), "{answer}");
    answer.starts_with("HTTP/1.1 200 ")
}

/// The number in a line that begins so.
fn metric(page: &str, line: &str) -> f64 {
    let found = page.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {line} in {page}")).parse().unwrap()
}

#[test]
fn what_a_write_takes_and_what_the_other_copy_lacks_are_told() {
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (first, second) = (pair.start(0), pair.start(1));
        whole(&first, &second).await;
        for record in [b"one", b"two", b"six"] {
            let seq = first.propose(record).await;
            first.until("acknowledged", |status| status.committed >= seq).await;
        }
        let pages = [&first, &second].map(|node| page_now(&node.handle));
        let count = "ha_replication_ack_seconds_count{module=\"shop\"}";
        let sum = "ha_replication_ack_seconds_sum{module=\"shop\"}";
        let lacks = "ha_replication_out_of_sync_bytes{module=\"shop\"}";
        assert!((metric(&pages[0], count) - 3.0).abs() < 0.1, "{}", pages[0]);
        assert!(metric(&pages[0], sum) > 0.0, "{}", pages[0]);
        assert!(metric(&pages[1], count).abs() < 0.1, "nobody wrote there: {}", pages[1]);
        for page in &pages {
            assert!(metric(page, lacks).abs() < 0.1, "{page}");
        }
        second.running.shutdown();
        first.until("alone", ready(Role::Alone)).await;
        let records = 40;
        for _ in 0..records {
            first.propose(&vec![7; 100_000]).await;
        }
        first.until("acknowledged alone", |status| status.committed == Seq(3 + records)).await;
        let page = page_now(&first.handle);
        assert!((metric(&page, count) - 43.0).abs() < 0.1, "{page}");
        assert!(!page.contains(lacks), "what a node that is away has is not known: {page}");
        let _second = pair.start(1);
        let caught_up = |status: &Status| {
            let peer = status.peer;
            // A record is 56 bytes longer than what is in it.
            let long = peer.lag.min(records) * 100_056;
            assert!(peer.lacks.is_none_or(|lacks| lacks == long), "{peer:?}");
            peer.lacks == Some(0)
        };
        first.until("caught up", caught_up).await;
        first.until("primary", ready(Role::Prim)).await;
        let page = page_now(&first.handle);
        assert!(metric(&page, lacks).abs() < 0.1, "{page}");
    });
}

#[test]
fn health_and_metrics_follow_a_swap_and_a_loss() {
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (first, second) = (pair.start(0), pair.start(1));
        whole(&first, &second).await;
        let servers = [serve(&first.handle), serve(&second.handle)];
        assert_eq!([&servers[0], &servers[1]].map(is_ready), [true, false]);
        first.insist(Order::Swap, &second, ready(Role::Prim)).await;
        first.until("secondary", ready(Role::Second)).await;
        assert_eq!([&servers[0], &servers[1]].map(is_ready), [false, true]);
        let page = get(servers[1].address(), "/metrics");
        assert!(
            (metric(&page, "ha_module_state{module=\"shop\",state=\"PRIM\"}") - 1.0).abs() < 0.1
        );
        let handover = "ha_module_takeovers_total{module=\"shop\",cause=\"handed_over\"}";
        assert!((metric(&page, handover) - 1.0).abs() < 0.1, "{page}");
        assert!(metric(&page, "ha_heartbeat_received_total{module=\"shop\"}") > 1.0);
        second.running.shutdown();
        first.until("alone", ready(Role::Alone)).await;
        assert!(is_ready(&servers[0]));
        let page = get(servers[0].address(), "/metrics");
        let lost = "ha_module_takeovers_total{module=\"shop\",cause=\"peer_lost\"}";
        assert!((metric(&page, lost) - 1.0).abs() < 0.1, "{page}");
        let decide = "ha_module_takeover_duration_seconds{module=\"shop\",phase=\"decide\"}";
        // The lease of the lost node had to end first.
        assert!(metric(&page, decide) > 0.0 && metric(&page, decide) < 30.0, "{page}");
        // A node that has ended is not ready, and cannot say more.
        assert!(!is_ready(&servers[1]));
        assert!(get(servers[1].address(), "/metrics").starts_with("HTTP/1.1 503 "));
    });
}
