//! `ha-lab-echo --name NAME --bind ADDRESS:PORT…`: answers each request with the name of the host
//! that it runs on, over UDP and TCP.
//!
//! It binds to addresses that the host does not have yet (`IP_FREEBIND`), so that a virtual address
//! may come and go under it, and so that an answer comes from the address that was asked: bind to
//! the addresses themselves, since from `0.0.0.0` UDP answers with the host's first one. Prints
//! `ready` when it hears; ends when it is killed.

#![forbid(unsafe_code)]

use std::env;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ha_lab::datagram::{REQUEST_LEN, Reply, Request, is_name};
use socket2::{Domain, Protocol, Socket, Type};

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ha-lab-echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn Error>> {
    let (name, addresses) = arguments()?;
    let connections = Arc::new(AtomicUsize::new(0));
    let mut threads = Vec::new();
    for address in addresses {
        let told = |error| format!("{address}: {error}");
        let datagrams = bind(address, Type::DGRAM, Protocol::UDP).map_err(told)?;
        let streams = bind(address, Type::STREAM, Protocol::TCP).map_err(told)?;
        streams.listen(BACKLOG).map_err(told)?;
        let (mine, his) = (name.clone(), name.clone());
        let connections = Arc::clone(&connections);
        threads.push(thread::spawn(move || answer_datagrams(&datagrams.into(), &mine)));
        threads.push(thread::spawn(move || accept(&streams.into(), &his, &connections)));
    }
    println!("ready");
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")?;
    }
    Ok(())
}

/// Connections that wait to be accepted: more than a test opens at once.
const BACKLOG: i32 = 1024;

/// Connections at once, a thread each: what a test of many open connections needs, and a bound.
const CONNECTIONS_MAX: usize = 2048;

/// What a connection's thread needs is a request and an answer.
const STACK: usize = 64 << 10;

fn arguments() -> Result<(String, Vec<SocketAddr>), Box<dyn Error>> {
    let usage = "usage: ha-lab-echo --name NAME --bind ADDRESS:PORT...";
    let (mut name, mut addresses) = (None, Vec::new());
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(usage)?;
        match word.as_str() {
            "--name" if is_name(&value) => name = Some(value),
            "--bind" => addresses.push(value.parse()?),
            _ => return Err(usage.into()),
        }
    }
    if addresses.is_empty() {
        return Err(usage.into());
    }
    Ok((name.ok_or(usage)?, addresses))
}

fn bind(address: SocketAddr, kind: Type, protocol: Protocol) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_freebind_v6(true)?;
        socket.set_only_v6(true)?;
    }
    if kind == Type::STREAM {
        // A service that starts again does not wait for the old one's connections.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn answer_datagrams(socket: &UdpSocket, name: &str) {
    let mut bytes = [0; REQUEST_LEN + 1];
    loop {
        // Errors are of earlier answers, whose client is gone.
        let Ok((len, client)) = socket.recv_from(&mut bytes) else { continue };
        if let Ok(request) = Request::decode(&bytes[..len]) {
            let reply = Reply { request, name: name.to_owned() };
            // An answer may be lost on its way as well.
            let _ = socket.send_to(&reply.encode(), client);
        }
    }
}

fn accept(listener: &TcpListener, name: &str, connections: &Arc<AtomicUsize>) {
    loop {
        // Errors are of connections that were gone before they were accepted.
        let Ok((stream, _client)) = listener.accept() else { continue };
        if connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            connections.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (name, counted) = (name.to_owned(), Arc::clone(connections));
        let started = thread::Builder::new().stack_size(STACK).spawn(move || {
            answer_stream(stream, &name);
            counted.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Until the client closes, or the connection is reset.
fn answer_stream(mut stream: TcpStream, name: &str) {
    // An answer that waits for others to fill its segment would look like a slow network.
    let _ = stream.set_nodelay(true);
    let mut bytes = [0; REQUEST_LEN];
    while stream.read_exact(&mut bytes).is_ok() {
        let Ok(request) = Request::decode(&bytes) else { return };
        let reply = Reply { request, name: name.to_owned() };
        if stream.write_all(&reply.encode()).is_err() {
            return;
        }
    }
}
