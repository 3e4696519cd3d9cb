//! `logknock convert`: a knockd.conf as TOML, with warnings about lines that knockd misreads.

use std::io::{Read, Write};
use std::path::PathBuf;

use super::exit::{Failure, tell};
use super::input;
use super::settings::Global;
use crate::config;

/// Longest file that is read: one byte more than a configuration may have.
const MOST: u64 = config::MAX_BYTES as u64 + 1;

/// Arguments of `convert`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The knockd.conf; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs `convert`. It is printed on stdout completely or not at all.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let (content, _) = input::open(&args.file)?;
    let mut text = Vec::new();
    let read = content.take(MOST).read_to_end(&mut text);
    read.map_err(|error| input::unreadable(&args.file, &error))?;
    let name = args.file.display().to_string();
    let prefix = global.given_prefix()?;
    let (toml, warnings) = config::convert(&name, &text, prefix.as_ref())?;
    for warning in warnings {
        tell(&warning.styled());
    }
    let mut out = anstream::stdout();
    out.write_all(toml.as_bytes())?;
    out.flush()?;
    Ok(())
}
