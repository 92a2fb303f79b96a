//! The program with which an administrator sees, orders and sets up; `ha help` says how.

use std::process::ExitCode;

fn main() -> ExitCode {
    ha_node::ha::run::main()
}
