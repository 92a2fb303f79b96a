//! How the programs tell what happens.

use tracing_subscriber::EnvFilter;

/// Writes the log to the standard error stream, which is the journal's under systemd; `RUST_LOG`
/// says how much of it (`info` unless set).
pub fn to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
}
