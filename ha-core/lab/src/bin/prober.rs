//! `ha-lab-prober ADDRESS:PORT MICROSECONDS`: asks the echo service again and again and prints what
//! it hears, as `ha_lab::Line` says, until its standard input ends.

#![forbid(unsafe_code)]
// It keeps a pace and measures real time.
#![allow(clippy::disallowed_methods)]

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ha_lab::datagram::{ANSWER_MAX, Reply, Request};
use ha_lab::{Answer, Line, now};
use ha_proto::Instant;

fn main() -> ExitCode {
    match probe() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ha-lab-prober: {error}");
            ExitCode::FAILURE
        }
    }
}

fn probe() -> Result<(), Box<dyn Error>> {
    let (target, every) = arguments()?;
    let socket = connect(target)?;
    let (began, run) = (now(), u64::from(process::id()));
    let heard = socket.try_clone()?;
    // Not joined: it waits for an answer, and ends with the process.
    thread::spawn(move || listen(&heard, run, began, every));
    let over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&over);
    thread::spawn(move || {
        // That it ends is all that matters.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        told.store(true, Ordering::Relaxed);
    });
    let (asked, late) = ask(&socket, run, began, every, &over);
    // Nothing is printed after the last line: the listener cannot have the lock any more.
    let mut out = io::stdout().lock();
    writeln!(out, "{}", Line::End { asked, began, ended: now(), late })?;
    out.flush()?;
    process::exit(0);
}

fn arguments() -> Result<(SocketAddr, Duration), Box<dyn Error>> {
    let usage = "usage: ha-lab-prober ADDRESS:PORT MICROSECONDS";
    let words: Vec<String> = env::args().skip(1).collect();
    let [target, every] = &words[..] else { return Err(usage.into()) };
    let every = Duration::from_micros(every.parse()?);
    if every < PACE_MIN {
        return Err(format!("more often than each {PACE_MIN:?}: {usage}").into());
    }
    Ok((target.parse()?, every))
}

/// Faster is a load test: the prober would measure itself.
const PACE_MIN: Duration = Duration::from_micros(100);

fn connect(target: SocketAddr) -> io::Result<UdpSocket> {
    let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(target)?;
    Ok(socket)
}

/// Sends the requests, each at its own time whatever became of those before. Returns how many, and
/// by how much one was late at worst.
fn ask(
    socket: &UdpSocket,
    run: u64,
    began: Instant,
    every: Duration,
    over: &AtomicBool,
) -> (u64, Duration) {
    let (mut number, mut late) = (0, Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        let due = due(began, every, number);
        thread::sleep(due.saturating_since(now()));
        late = late.max(now().saturating_since(due));
        // A request that cannot be sent has no answer, like any other that is lost.
        let _ = socket.send(&Request { run, number }.encode());
        number += 1;
    }
    (number, late)
}

/// When a request is sent, which its number tells: nothing needs to be remembered.
fn due(began: Instant, every: Duration, number: u64) -> Instant {
    let nanos = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
    began + Duration::from_nanos(nanos.saturating_mul(number))
}

fn listen(socket: &UdpSocket, run: u64, began: Instant, every: Duration) {
    let mut bytes = [0; ANSWER_MAX + 1];
    loop {
        // Errors are of requests that nobody heard (ECONNREFUSED), and no answers.
        let Ok(len) = socket.recv(&mut bytes) else { continue };
        let heard = now();
        let Ok(Reply { request, name }) = Reply::decode(&bytes[..len]) else { continue };
        if request.run != run {
            continue;
        }
        let (number, sent) = (request.number, due(began, every, request.number));
        let answer = Answer { number, sent, heard, by: name.into() };
        // Nobody reads any more: the test is over, and this process too at once.
        let _ = writeln!(io::stdout(), "{}", Line::Answer(answer));
    }
}
