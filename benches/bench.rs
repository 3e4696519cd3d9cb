//! What `benches/run` needs: logs to read, and each step of the walk by itself.
//!
//! ```text
//! bench packets MEGABYTES          a log in which every line is a packet line
//! bench mixed MEGABYTES            one in which every tenth is
//! bench flood LINES first|all      a source of its own for each line, and an honest knocker every 100,000 lines
//! bench burst FILE LINES           appends packet lines of now, as fast as it can, an honest knocker among each 10,000
//! bench step NAME LINES            one step of the walk, so many times (`bench steps` names them)
//! ```
//!
//! Logs go to standard output and are the same in every run.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program of its own, at the edge"
)]

#[expect(dead_code, reason = "it answers no order")]
#[path = "../src/engine/chained_test.rs"]
mod chained;
#[path = "bench/generate.rs"]
mod generate;
#[path = "bench/steps.rs"]
mod steps;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: see the head of benches/bench.rs");
            ExitCode::from(2)
        }
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> io::Result<bool> {
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let number = |text: &str| text.parse::<u64>().map_err(io::Error::other);
    match args {
        ["packets", size] => generate::packets(&mut out, number(size)? * 1_000_000)?,
        ["mixed", size] => generate::mixed(&mut out, number(size)? * 1_000_000)?,
        ["flood", lines, "first"] => generate::flood(&mut out, number(lines)?, &[7000])?,
        ["flood", lines, "all"] => generate::flood(&mut out, number(lines)?, &generate::DOOR)?,
        ["burst", file, lines] => generate::burst(file.as_ref(), number(lines)?)?,
        ["steps"] => {
            for name in steps::NAMES {
                println!("{name}");
            }
        }
        ["step", name, lines] => return steps::run(name, number(lines)?),
        _ => return Ok(false),
    }
    out.flush()?;
    Ok(true)
}
