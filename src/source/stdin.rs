//! Standard input: `-`.
//!
//! In: bytes, from a pipe, a FIFO or a file. Out: its whole lines, and that it has come to its end. A
//! last line without newline is dropped and counted: it may have been cut.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, read};

use super::assembler::Assembler;
use super::outbox::Outbox;
use super::thread::{self, Stop, Woken};
use super::{Closed, Handle, Health, Refusal, Sink};

/// How many bytes are read at once.
const BLOCK_SIZE: usize = 64 << 10;

/// Reads standard input, or `input` if it was passed, in a thread of its own, to its end.
pub fn spawn(source: u16, input: Option<OwnedFd>, sink: impl Sink) -> Result<Handle, Refusal> {
    let input = match input {
        Some(input) => input,
        None => io::stdin().as_fd().try_clone_to_owned()?,
    };
    Ok(thread::start("stdin", source, move |asked| {
        // The sink has closed, or the request was made: it does not matter which.
        let _ = read_all(input.as_fd(), &asked, Outbox::new(sink));
    })?)
}

fn read_all(input: BorrowedFd<'_>, stop: &Stop, mut outbox: Outbox) -> Result<(), Closed> {
    let mut lines = Assembler::default();
    let mut piece = vec![0; BLOCK_SIZE];
    let mut health = Health::Following;
    outbox.send_all(health.clone())?;
    while stop.wait(Some(input), None) != Woken::Stop {
        match read(input, &mut *piece) {
            Ok(length @ 1..) => {
                let piece = piece.get(..length).unwrap_or_default();
                lines.push(piece, &mut |yielded| outbox.take(yielded));
                outbox.flush()?;
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            end => {
                if let Err(errno) = end {
                    health = Health::Degraded(errno.into());
                }
                lines.discard(&mut |yielded| outbox.take(yielded));
                outbox.send_all(health)?;
                outbox.end();
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "stdin_test.rs"]
mod tests;
