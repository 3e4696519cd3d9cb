//! `logknock-fleet`: carries open doors and used codes between this gateway's logknock and the others.
//!
//! It is the only program here with the network, runs as its own user, and can do nothing by itself: what it hears is
//! verified by logknock. `init` writes keys and configurations for a new fleet, `streams` makes the streams on the bus.

mod agent;
mod init;
#[cfg(test)]
mod manual_test;
mod streams;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

#[derive(Parser)]
#[command(
    version,
    about = "Connects this gateway's logknock to the other gateways of a fleet"
)]
struct Args {
    /// The socket of the daemon
    #[arg(long, value_name = "PATH", default_value = "/run/logknock/fleet.sock")]
    socket: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Write certificates, keys and configurations for a new fleet
    Init(init::Args),
    /// Make the streams on the server, or update them
    Streams(streams::Args),
    /// Print the completions of a shell
    Completions {
        /// The shell that is to complete
        shell: Shell,
    },
}

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.command {
        None => runtime(agent::run(&args.socket)),
        Some(Command::Init(args)) => init::run(&args),
        Some(Command::Streams(args)) => runtime(streams::run(&args)),
        Some(Command::Completions { shell }) => completions(shell),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say(&format!("logknock-fleet: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    let name = "logknock-fleet";
    clap_complete::generate(shell, &mut Args::command(), name, &mut script);
    Ok(io::stdout().write_all(&script)?)
}

fn runtime(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}

/// Writes it to standard error, as a rule the journal.
fn say(text: &str) {
    // The reader may be gone.
    let _ = writeln!(io::stderr(), "{text}");
}
