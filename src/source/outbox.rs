//! What a source yields becomes reports.
//!
//! In: lines, dropped lines and gaps as a source meets them. Out: [`Report`]s for its sink: lines in
//! batches with consecutive numbers, health when it changes. Nothing is sent any more once the sink
//! has closed.

use super::assembler::Yield;
use super::{Batch, Closed, Health, Read, Report};
use crate::engine::reason::Tally;

/// How many bytes of lines are enough to hand over.
const BATCH: usize = 64 << 10;

/// Turns what a source yields into reports.
pub(super) struct Outbox<S> {
    source: u16,
    sink: S,
    lines: Vec<u8>,
    first_line: u64,
    next_line: u64,
    late: bool,
    read: Option<Read>,
    rejected: Tally,
    health: Option<Health>,
    sent: Result<(), Closed>,
}

impl<S: FnMut(Report) -> Result<(), Closed>> Outbox<S> {
    /// For the source with this number.
    pub(super) fn new(source: u16, sink: S) -> Self {
        Self {
            source,
            sink,
            lines: Vec::new(),
            first_line: 1,
            next_line: 1,
            late: false,
            read: None,
            rejected: Tally::default(),
            health: None,
            sent: Ok(()),
        }
    }

    /// Says whether the lines that follow may have been written long before.
    pub(super) fn set_late(&mut self, late: bool) {
        if self.late != late {
            self.send_lines(None);
        }
        self.late = late;
    }

    /// Says how far a file is read with what has been collected. It goes with the last lines, so that
    /// whoever takes them knows both or neither.
    pub(super) fn read(&mut self, read: Read) {
        self.read = Some(read);
    }

    /// Collects; a batch's lines have consecutive numbers, so a dropped line ends it.
    pub(super) fn take(&mut self, yielded: Yield<'_>) {
        match yielded {
            Yield::Lines { bytes, count } => {
                self.lines.extend_from_slice(bytes);
                self.next_line = self.next_line.saturating_add(count);
                if self.lines.len() >= BATCH {
                    self.send_lines(None);
                }
            }
            Yield::Dropped(reason) => {
                self.send_lines(None);
                self.rejected.add(reason);
                self.next_line = self.next_line.saturating_add(1);
                self.first_line = self.next_line;
            }
        }
    }

    /// Tells that lines are missing here; `count` of them, if that is known.
    pub(super) fn lose(&mut self, count: Option<u64>) {
        self.send_lines(None);
        let source = self.source;
        self.send(Report::Lost { source, count });
    }

    /// Tells that the kernel has told of less than happened, so often.
    pub(super) fn overflowed(&mut self, times: u64) {
        if times > 0 {
            let source = self.source;
            self.send(Report::Overflowed { source, times });
        }
    }

    /// Tells that nothing more comes.
    pub(super) fn end(&mut self) {
        let source = self.source;
        self.send(Report::Ended { source });
    }

    fn send_lines(&mut self, read: Option<Read>) {
        if !self.lines.is_empty() {
            let batch = Batch {
                source: self.source,
                bytes: std::mem::take(&mut self.lines),
                first_line: self.first_line,
                late: self.late,
                read,
            };
            self.send(Report::Lines(batch));
        } else if let Some(read) = read {
            let source = self.source;
            self.send(Report::Read { source, read });
        }
        self.first_line = self.next_line;
    }

    /// Hands over everything collected.
    pub(super) fn flush(&mut self) -> Result<(), Closed> {
        let source = self.source;
        let read = self.read.take();
        self.send_lines(read);
        for (reason, count) in std::mem::take(&mut self.rejected).iter() {
            self.send(Report::Rejected {
                source,
                reason,
                count,
            });
        }
        self.sent
    }

    /// Hands over everything collected, and the health if it is news.
    pub(super) fn send_all(&mut self, health: Health) -> Result<(), Closed> {
        let source = self.source;
        self.flush()?;
        if self.health.as_ref() != Some(&health) {
            self.health = Some(health.clone());
            self.send(Report::Health { source, health });
        }
        self.sent
    }

    /// Hands over a report behind everything that was handed over before.
    pub(super) fn send(&mut self, report: Report) {
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
                late: false,
                read: None,
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
    fn a_gap_stands_between_the_lines_before_and_behind_it() {
        let mut sent = Vec::new();
        let mut outbox = Outbox::new(7, |report| {
            sent.push(report);
            Ok(())
        });
        outbox.take(lines(b"one\n"));
        outbox.lose(Some(3));
        outbox.take(lines(b"two\n"));
        outbox.send_all(Health::Following).unwrap();
        let kinds: Vec<_> = sent.iter().map(std::mem::discriminant).collect();
        assert_eq!(kinds.len(), 4);
        assert_eq!(
            sent.get(1),
            Some(&Report::Lost {
                source: 7,
                count: Some(3)
            })
        );
        assert_eq!(kinds[0], kinds[2]);
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
