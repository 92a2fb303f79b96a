//! The ledger's server and client over TCP, with a log that commits at once.
#![allow(clippy::unwrap_used)] // a test fails by panicking
#![allow(clippy::disallowed_types)] // it waits in real time for real sockets

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ha_node::ledger::{
    Application, Client, ClientError, ClientId, LineIndex, Load, Patience, Proposer, Refusal,
    Refused, RequestNumber, Server, ServerError,
};
use ha_proto::Seq;

const LONG: Duration = Duration::from_mins(1);

/// A log of one copy, in memory: what it takes is committed.
#[derive(Clone)]
struct Memory {
    application: Application,
    records: Arc<Mutex<Vec<Bytes>>>,
    refusal: Option<Refused>,
}

impl Proposer for Memory {
    fn propose(&mut self, records: &mut VecDeque<Bytes>) -> Result<(), Refused> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        let mut log = self.records.lock().unwrap();
        let first = log.len();
        log.extend(records.drain(..));
        self.application.apply(numbered(&log[first..], first));
        Ok(())
    }
}

fn numbered(records: &[Bytes], first: usize) -> Vec<(Seq, Bytes)> {
    let seqs = (first as u64 + 1..).map(Seq);
    seqs.zip(records.iter().cloned()).collect()
}

fn start(refusal: Option<Refused>) -> (Server, Memory) {
    let server = Server::start().unwrap();
    let (application, records) = (server.application(), Arc::default());
    let memory = Memory { application, records, refusal };
    memory.application.connect(memory.clone());
    (server, memory)
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind((ha_lab::own_loopback(), 0)).unwrap().local_addr().unwrap()
}

fn client(address: SocketAddr, id: u64) -> Client {
    Client::new(address, ClientId(id), Patience { give_up: LONG, ..Patience::default() })
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn lines_are_acknowledged_in_order_and_read_back() {
    let (server, _) = start(None);
    let address = free_address();
    wait(server.application().take_address(address, false, LONG)).unwrap();
    wait(server.application().serve(Seq::ZERO)).unwrap();
    let mut client = client(address, 1);
    for at in 0..3 {
        let receipt = client.append(format!("line {at}").as_bytes()).unwrap();
        assert_eq!((receipt.number, receipt.index), (RequestNumber(at + 1), LineIndex(at)));
    }
    assert_eq!(client.read(LineIndex(1)).unwrap().as_deref(), Some(&b"line 1"[..]));
    assert_eq!(client.read(LineIndex(3)).unwrap(), None);
}

#[test]
fn a_client_finds_the_ledger_that_takes_the_address_over() {
    let (old, memory) = start(None);
    let address = free_address();
    wait(old.application().take_address(address, false, LONG)).unwrap();
    wait(old.application().serve(Seq::ZERO)).unwrap();
    let mut client = client(address, 1);
    client.append(b"before").unwrap();

    let (new, copy) = start(None);
    copy.records.lock().unwrap().clone_from(&memory.records.lock().unwrap());
    let taken = wait(new.application().take_address(address, false, LONG));
    assert!(matches!(taken, Err(ServerError::Listen { .. })), "two owners of one address");
    std::thread::scope(|scope| {
        let after = scope.spawn(|| client.append(b"after").unwrap());
        drop(old);
        wait(new.application().take_address(address, false, LONG)).unwrap();
        wait(new.application().serve(Seq(1))).unwrap();
        // What was acknowledged before is applied only now; nothing is answered earlier.
        new.application().apply(numbered(&copy.records.lock().unwrap()[..1], 0));
        let receipt = after.join().unwrap();
        assert_eq!((receipt.number, receipt.index), (RequestNumber(2), LineIndex(1)));
    });
}

#[test]
fn a_ledger_that_ceased_answers_nothing_until_it_serves_again() {
    let (server, _) = start(None);
    let address = free_address();
    wait(server.application().take_address(address, false, LONG)).unwrap();
    wait(server.application().cease()).unwrap();
    let patience = Patience {
        answer: Duration::from_millis(50),
        give_up: Duration::from_millis(100),
        ..Patience::default()
    };
    let mut client = Client::new(address, ClientId(1), patience);
    assert!(matches!(client.append(b"x"), Err(ClientError::GaveUp { .. })));
    wait(server.application().serve(Seq::ZERO)).unwrap();
    assert_eq!(client.append(b"y").unwrap().number, RequestNumber(2));
}

#[test]
fn an_address_that_is_not_kept_is_lost() {
    let (server, _) = start(None);
    let address = free_address();
    wait(server.application().take_address(address, false, Duration::from_millis(20))).unwrap();
    let (other, _) = start(None);
    let started = Instant::now();
    while wait(other.application().take_address(address, false, LONG)).is_err() {
        assert!(started.elapsed() < LONG, "the address outlived its lifetime");
    }
}

#[test]
fn a_shared_address_has_two_owners() {
    let servers = [start(None), start(None)];
    let address = free_address();
    for (server, _) in &servers {
        wait(server.application().take_address(address, true, LONG)).unwrap();
    }
}

#[test]
fn a_full_log_is_told_to_the_client() {
    let (server, _) = start(Some(Refused::NoSpace));
    let address = free_address();
    wait(server.application().take_address(address, false, LONG)).unwrap();
    wait(server.application().serve(Seq::ZERO)).unwrap();
    let refused = client(address, 1).append(b"x");
    assert!(matches!(refused, Err(ClientError::Refused(Refusal::NoSpace))));
}

#[test]
fn many_clients_at_once_lose_nothing_and_both_dumps_are_equal() {
    let (server, memory) = start(None);
    let address = free_address();
    wait(server.application().take_address(address, false, LONG)).unwrap();
    wait(server.application().serve(Seq::ZERO)).unwrap();
    let duration = Duration::from_millis(200);
    let load = Load { clients: 64, line: 340, duration, first: ClientId(1) };
    let report = load.run(address).unwrap();
    // Requests that were in flight at the end may still come in: the dump says how many did.
    let (last, dump) = dump(&server.application());
    let log = memory.records.lock().unwrap()[..last].to_vec();
    assert!((1..=last).contains(&report.latencies.len()), "more acknowledged than applied");

    let (copy, _) = start(None);
    copy.application().apply(numbered(&log, 0));
    assert!(self::dump(&copy.application()) == (last, dump), "equal records, different states");
}

fn dump(application: &Application) -> (usize, Vec<u8>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let Seq(last) = wait(application.dump(file.path().to_owned())).unwrap();
    (usize::try_from(last).unwrap(), std::fs::read(file.path()).unwrap())
}
