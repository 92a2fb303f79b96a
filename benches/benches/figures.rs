//! The large figures, each beside what bounds it, as a table.
//!
//! `cargo bench -p ha-benches --bench figures -- ledger` runs one part: `commits`, `latency`,
//! `replication`, `ledger` or `histories`. What is ours and what it stands beside are measured in
//! turns, and the median of each is shown: a disk that is slow for a while is slow for both.

// A bench is about real time.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use ha_benches::bare::Blocks;
use ha_benches::{Figure, Figures, Live, Pair, Privacy, Pump, bare, free_tcp};
use ha_core::Event;
use ha_node::ledger::{ClientId, LedgerHost, Load, MemoryLog, Server};
use ha_proto::Seq;
use ha_quorum::Vote;
use ha_sim::history;
use ha_sim::options::Options;
use tempfile::TempDir;

/// Bytes of a record, as in etcd's own benchmark with its keys.
const RECORD: usize = 340;
/// Bytes of a large record, as many in flight as half the window holds.
const LARGE: usize = 64 << 10;
const LARGE_IN_FLIGHT: usize = 64;
/// Bytes of each turn of the stream.
const STREAM: u64 = 1 << 30;
/// How long each turn goes on.
const TURN: Duration = Duration::from_secs(1);
/// How many turns each of the two gets.
const TURNS: usize = 3;
/// What etcd did on this class of machine, three members and puts of 340 bytes: a second, with so
/// many in flight. Quoted, not measured in the same run.
const ETCD: [(u16, f64); 3] = [(1, 989.0), (16, 4_203.0), (256, 9_511.0)];
/// What the simulator is to reach on one core.
const HISTORIES: f64 = 100.0;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds options of its own.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wants = |part| wanted.is_empty() || wanted.iter().any(|word| word == part);
    let mut figures = Figures::default();
    if wants("commits") {
        commits(&mut figures)?;
    }
    if wants("latency") {
        latency(&mut figures)?;
    }
    if wants("replication") {
        replication(&mut figures)?;
    }
    if wants("ledger") {
        ledger(&mut figures)?;
    }
    if wants("histories") {
        histories(&mut figures);
    }
    println!("\n{figures}");
    Ok(())
}

/// Measures both in turns; the median of each.
fn in_turns(
    mut ours: impl FnMut() -> Result<f64, Box<dyn Error>>,
    mut limit: impl FnMut() -> Result<f64, Box<dyn Error>>,
) -> Result<(f64, f64), Box<dyn Error>> {
    let (mut all_ours, mut all_limits) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        all_ours.push(ours()?);
        all_limits.push(limit()?);
    }
    Ok((median(all_ours), median(all_limits)))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A folder on the disk that holds what is built: never in memory.
fn folder() -> Result<TempDir, Box<dyn Error>> {
    Ok(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?)
}

fn add(figures: &mut Figures, figure: Figure) {
    eprintln!("{figure}");
    figures.0.push(figure);
}

/// A pair whose two applications are one pump: only the primary's is counted.
fn pair(folder: &Path, privacy: Privacy) -> Result<(Live, Pump), Box<dyn Error>> {
    let (pump, other) = (Pump::default(), Pump::default());
    let live = Live::start(folder, privacy, [pump.clone(), other])?;
    Ok((live, pump))
}

fn commits(figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    for in_flight in [1, 16, 256] {
        let folder = folder()?;
        let (live, pump) = pair(folder.path(), Privacy::Encrypted)?;
        for (blocks, beside) in [
            (Blocks::Reserved, "one local log, as many together"),
            (Blocks::Written, "the same over blocks written before"),
        ] {
            let (ours, limit) = in_turns(
                || Ok(pump.run(live.primary(), in_flight as u64, RECORD, TURN).rate),
                || Ok(bare::local_commits(folder.path(), blocks, (in_flight, RECORD), TURN)?),
            )?;
            let what = format!("commits on both nodes, {in_flight} in flight");
            add(figures, Figure { what, ours, limit, beside, unit: "records/s" });
        }
    }
    Ok(())
}

fn latency(figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    let folder = folder()?;
    let (live, pump) = pair(folder.path(), Privacy::Encrypted)?;
    let (ours, limit) = in_turns(
        || Ok(micros(pump.run(live.primary(), 1, RECORD, TURN).latency)),
        || Ok(micros(bare::mirrored_commit(folder.path(), RECORD, 1_000)?)),
    )?;
    let what = "time of one commit, median".into();
    let beside = "max(local fdatasync, round trip + remote fdatasync)";
    add(figures, Figure { what, ours, limit, beside, unit: "us" });
    Ok(())
}

/// The stream by itself beside a bare copy over TCP; and with both copies on one disk beside it.
fn replication(figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    for (privacy, key, name) in
        [(Privacy::Encrypted, Some([7; 32]), "encrypted"), (Privacy::Insecure, None, "insecure")]
    {
        let (ours, limit) = in_turns(
            || Ok(Pair::new().stream(STREAM, LARGE, key)? / 1e6),
            || Ok(bare::tcp_copy(STREAM)? / 1e6),
        )?;
        let what = format!("replication stream, {name}");
        add(figures, Figure { what, ours, limit, beside: "bare TCP copy", unit: "MB/s" });
        let disk = folder()?;
        let (ours, limit) = stream(disk.path(), privacy, || {
            let together = (LARGE_IN_FLIGHT, LARGE);
            let records = bare::local_commits(disk.path(), Blocks::Reserved, together, TURN)?;
            Ok(records * megabytes(LARGE))
        })?;
        let what = format!("replication to both disks, {name}");
        let beside = "local write + fdatasync of one copy";
        add(figures, Figure { what, ours, limit, beside, unit: "MB/s" });
    }
    Ok(())
}

fn stream(
    folder: &Path,
    privacy: Privacy,
    limit: impl FnMut() -> Result<f64, Box<dyn Error>>,
) -> Result<(f64, f64), Box<dyn Error>> {
    let (live, pump) = pair(folder, privacy)?;
    let run = || {
        let pumped = pump.run(live.primary(), LARGE_IN_FLIGHT as u64, LARGE, TURN);
        Ok(pumped.rate * megabytes(LARGE))
    };
    in_turns(run, limit)
}

fn megabytes(bytes: usize) -> f64 {
    // Exact up to 2^53 bytes.
    #[allow(clippy::cast_precision_loss)]
    let bytes = bytes as f64;
    bytes / 1e6
}

/// Both nodes, the arbiter and all clients on this machine's cores.
fn ledger(figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    for (clients, etcd) in ETCD {
        let folder = folder()?;
        let servers = [Server::start()?, Server::start()?];
        let vip = free_tcp()?;
        let hosts = servers.each_ref().map(|server| LedgerHost {
            application: server.application(),
            vip,
            share_vip: false,
            observer: |_: &Event| {},
        });
        let live = Live::start(folder.path(), Privacy::Encrypted, hosts)?;
        // Records come only once clients do: below.
        servers[0].application().connect(live.primary().clone());
        let mut first = ClientId(1);
        let (ours, bare) = in_turns(
            || {
                first.0 += u64::from(clients);
                Ok(Load { clients, line: RECORD, duration: TURN, first }.run(vip)?.rate())
            },
            || in_memory(&Load { clients, line: RECORD, duration: TURN, first: ClientId(1) }),
        )?;
        for (limit, beside) in [
            (etcd, "etcd, as many in flight (quoted, not measured here)"),
            (bare, "the same server without a log"),
        ] {
            let what = format!("ledger over TCP, {clients} clients");
            add(figures, Figure { what, ours, limit, beside, unit: "lines/s" });
        }
    }
    Ok(())
}

/// The same load against one ledger that keeps nothing: what TCP and clients cost.
fn in_memory(load: &Load) -> Result<f64, Box<dyn Error>> {
    let server = Server::start()?;
    let application = server.application();
    application.connect(MemoryLog::new(application.clone(), Seq::ZERO));
    let address = free_tcp()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        application.take_address(address, false, Duration::from_hours(1)).await?;
        application.serve(Seq::ZERO).await
    })?;
    Ok(load.run(address)?.rate())
}

fn histories(figures: &mut Figures) {
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < TURN * 3 {
        count += 1;
        let mut world = history::draw(Options::new(count, Vote::Arbiter));
        let verdict = history::run(&mut world);
        assert!(verdict == history::Verdict::Good, "seed {count}: {verdict:?}");
    }
    // Exact up to 2^53 histories.
    #[allow(clippy::cast_precision_loss)]
    let rate = count as f64 / started.elapsed().as_secs_f64();
    add(
        figures,
        Figure {
            what: "simulated histories, one core".into(),
            ours: rate,
            limit: HISTORIES,
            beside: "the target",
            unit: "histories/s",
        },
    );
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
