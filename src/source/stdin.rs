//! Standard input: `-`.
//!
//! In: bytes, from a pipe, a FIFO or a file. Out: its whole lines, and that it has come to its end. A
//! last line without newline is dropped and counted: it may have been cut.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use rustix::io::{Errno, read};

use super::assembler::Assembler;
use super::outbox::Outbox;
use super::stop::{Stop, Woken};
use super::{Closed, Handle, Health, Refusal, Report};

const PIECE: usize = 64 << 10;

/// Reads standard input, which is `input` if somebody has handed it over, in a thread of its own, to
/// its end. `sink` may wait, and ends the thread with [`Closed`].
pub fn spawn(
    source: u16,
    input: Option<OwnedFd>,
    sink: impl FnMut(Report) -> Result<(), Closed> + Send + 'static,
) -> Result<Handle, Refusal> {
    Ok(match input {
        Some(input) => read_from(input, source, sink)?,
        None => read_from(io::stdin(), source, sink)?,
    })
}

fn read_from<F: AsFd + Send + 'static>(
    input: F,
    source: u16,
    sink: impl FnMut(Report) -> Result<(), Closed> + Send + 'static,
) -> io::Result<Handle> {
    let stop = Stop::new()?;
    let asked = stop.clone();
    let thread = thread::Builder::new()
        .name(format!("stdin-{source}"))
        .spawn(move || {
            // The sink has closed, or the request was made: nobody minds which.
            let _ = read_all(input.as_fd(), &asked, Outbox::new(source, sink));
        })?;
    Ok(Handle::new(thread, move || stop.ask()))
}

fn read_all<S: FnMut(Report) -> Result<(), Closed>>(
    input: BorrowedFd<'_>,
    stop: &Stop,
    mut outbox: Outbox<S>,
) -> Result<(), Closed> {
    let mut lines = Assembler::default();
    let mut piece = vec![0; PIECE];
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
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::engine::reason::Reason;

    #[test]
    fn whole_lines_come_at_once_and_a_half_one_at_the_end_is_dropped() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let (sender, reports) = channel();
        let sink = move |report| sender.send(report).map_err(|_| Closed);
        let handle = read_from(reader, 3, sink).unwrap();
        let next = || reports.recv().unwrap();
        assert!(matches!(
            next(),
            Report::Health {
                health: Health::Following,
                ..
            }
        ));
        rustix::io::write(&writer, b"one\ntwo\nhalf").unwrap();
        assert!(matches!(next(), Report::Lines(batch) if batch.bytes == b"one\ntwo\n"));
        drop(writer);
        let partial = next();
        assert!(
            matches!(
                partial,
                Report::Rejected {
                    reason: Reason::Partial,
                    count: 1,
                    ..
                }
            ),
            "{partial:?}"
        );
        assert_eq!(next(), Report::Ended { source: 3 });
        handle.stop();
    }

    #[test]
    fn a_stop_ends_the_wait_for_input() {
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let handle = read_from(reader, 0, |_| Ok(())).unwrap();
        handle.stop();
    }
}
