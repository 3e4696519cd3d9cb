//! The `logknock` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    logknock::cli::run()
}
