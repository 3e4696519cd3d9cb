//! The thread that follows one log file.
//!
//! In: wake-ups from inotify (`watch`), and a tick when there are none. Out: what
//! [`tail`](super::tail) found, as [`Report`]s with numbered lines. It decides nothing about files.
//! A file that has been quiet for a day is looked at as soon as one that is busy: knocks are rare.
#![expect(
    clippy::disallowed_methods,
    reason = "the tick and the quiet time of renamed files are this thread's own"
)]

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::assembler::Yield;
pub use super::tail::Options;
use super::tail::{Pace, Tail};
use super::watch::Watch;
use super::{Batch, Closed, Handle, Health, Report};
use crate::engine::reason::Tally;

/// How often a renamed file is looked at: its events may be in a directory that is not watched.
const DRAIN_TICK: Duration = Duration::from_millis(100);
/// How many bytes of lines are enough to hand over.
const BATCH: usize = 64 << 10;

/// Follows the file at `path` in a thread of its own. An existing file is followed from its end on,
/// one that appears later from its first line. `sink` may wait, and ends the thread with [`Closed`].
pub fn spawn(
    source: u16,
    path: PathBuf,
    options: Options,
    sink: impl FnMut(Report) -> Result<(), Closed> + Send + 'static,
) -> io::Result<Handle> {
    let (wake, woken) = mpsc::sync_channel(1);
    let stop = Arc::new(AtomicBool::new(false));
    let follower = Follower {
        watch: Watch::new(path.clone(), wake.clone()),
        tail: Tail::new(path, options),
        outbox: Outbox::new(source, sink),
        woken,
        stop: Arc::clone(&stop),
    };
    let thread = thread::Builder::new()
        .name(format!("follow-{source}"))
        .spawn(move || follower.run())?;
    Ok(Handle::new(thread, move || {
        stop.store(true, Ordering::Release);
        // Full means that it is about to wake up anyway.
        let _ = wake.try_send(());
    }))
}

struct Follower<S> {
    watch: Watch,
    tail: Tail,
    outbox: Outbox<S>,
    woken: Receiver<()>,
    stop: Arc<AtomicBool>,
}

impl<S: FnMut(Report) -> Result<(), Closed>> Follower<S> {
    fn run(mut self) {
        let start = Instant::now();
        let mut arm_at = Duration::ZERO;
        while !self.stop.load(Ordering::Acquire) {
            let now = start.elapsed();
            if now >= arm_at {
                self.watch.arm();
                arm_at = now + self.watch.interval();
            }
            let outbox = &mut self.outbox;
            let pace = self.tail.poll(now, &mut |yielded| outbox.take(yielded));
            let health = self.health();
            if self.outbox.send_all(health) == Err(Closed) {
                return;
            }
            if pace == Pace::CaughtUp {
                self.wait(start.elapsed(), arm_at);
            }
        }
    }

    fn wait(&self, now: Duration, arm_at: Duration) {
        let tick = arm_at.saturating_sub(now);
        let timeout = if self.tail.is_draining(now) {
            tick.min(DRAIN_TICK)
        } else {
            tick
        };
        // Woken or not, the file is looked at; the other end is in this struct and cannot close.
        let _ = self.woken.recv_timeout(timeout);
    }

    fn health(&self) -> Health {
        let trouble = self.tail.trouble().or(self.watch.trouble());
        trouble.map_or(Health::Following, |trouble| {
            Health::Degraded(trouble.clone())
        })
    }
}

/// Turns what the tail yields into reports.
struct Outbox<S> {
    source: u16,
    sink: S,
    lines: Vec<u8>,
    first_line: u64,
    next_line: u64,
    rejected: Tally,
    health: Option<Health>,
    sent: Result<(), Closed>,
}

impl<S: FnMut(Report) -> Result<(), Closed>> Outbox<S> {
    fn new(source: u16, sink: S) -> Self {
        Self {
            source,
            sink,
            lines: Vec::new(),
            first_line: 1,
            next_line: 1,
            rejected: Tally::default(),
            health: None,
            sent: Ok(()),
        }
    }

    /// Collects; a batch's lines have consecutive numbers, so a dropped line ends it.
    fn take(&mut self, yielded: Yield<'_>) {
        match yielded {
            Yield::Lines { bytes, count } => {
                self.lines.extend_from_slice(bytes);
                self.next_line = self.next_line.saturating_add(count);
                if self.lines.len() >= BATCH {
                    self.send_lines();
                }
            }
            Yield::Dropped(reason) => {
                self.send_lines();
                self.rejected.add(reason);
                self.next_line = self.next_line.saturating_add(1);
                self.first_line = self.next_line;
            }
        }
    }

    fn send_lines(&mut self) {
        if !self.lines.is_empty() {
            let batch = Batch {
                source: self.source,
                bytes: std::mem::take(&mut self.lines),
                first_line: self.first_line,
            };
            self.send(Report::Lines(batch));
        }
        self.first_line = self.next_line;
    }

    /// Hands over everything collected, and the health if it is news.
    fn send_all(&mut self, health: Health) -> Result<(), Closed> {
        let source = self.source;
        self.send_lines();
        for (reason, count) in std::mem::take(&mut self.rejected).iter() {
            self.send(Report::Rejected {
                source,
                reason,
                count,
            });
        }
        if self.health.as_ref() != Some(&health) {
            self.health = Some(health.clone());
            self.send(Report::Health { source, health });
        }
        self.sent
    }

    fn send(&mut self, report: Report) {
        if self.sent.is_ok() {
            self.sent = (self.sink)(report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::reason::Reason;

    fn lines(bytes: &[u8]) -> Yield<'_> {
        let count = bytes.split_inclusive(|&byte| byte == b'\n').count() as u64;
        Yield::Lines { bytes, count }
    }

    #[test]
    fn a_dropped_line_has_a_number_and_ends_the_batch() {
        let mut sent = Vec::new();
        let mut outbox = Outbox::new(7, |report| {
            sent.push(report);
            Ok(())
        });
        outbox.take(lines(b"one\n"));
        outbox.take(lines(b"two\nthree\n"));
        outbox.take(Yield::Dropped(Reason::TooLong));
        outbox.take(Yield::Dropped(Reason::TooLong));
        outbox.take(lines(b"six\n"));
        outbox.send_all(Health::Following).unwrap();
        outbox.send_all(Health::Following).unwrap();
        let batch = |bytes: &[u8], first_line| {
            Report::Lines(Batch {
                source: 7,
                bytes: bytes.to_vec(),
                first_line,
            })
        };
        assert_eq!(
            sent,
            [
                batch(b"one\ntwo\nthree\n", 1),
                batch(b"six\n", 6),
                Report::Rejected {
                    source: 7,
                    reason: Reason::TooLong,
                    count: 2
                },
                Report::Health {
                    source: 7,
                    health: Health::Following
                },
            ]
        );
    }

    #[test]
    fn nothing_is_sent_after_the_sink_has_closed() {
        let mut calls = 0;
        let mut outbox = Outbox::new(0, |_| {
            calls += 1;
            Err(Closed)
        });
        outbox.take(lines(b"one\n"));
        assert_eq!(outbox.send_all(Health::Following), Err(Closed));
        assert_eq!(outbox.send_all(Health::Following), Err(Closed));
        assert_eq!(calls, 1);
    }
}
