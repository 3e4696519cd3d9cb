//! What a source yields becomes reports.
//!
//! In: lines, dropped lines and gaps as a source meets them. Out: [`Report`]s for its sink: lines in
//! batches with consecutive numbers, health when it changes. Nothing is sent any more once the sink
//! has closed.

use super::assembler::Yield;
use super::{Batch, Closed, Health, LoggedPacket, Read, Report, Sink};
use crate::engine::reason::{Reason, Tally};

/// How many bytes of lines are enough to hand over.
const BATCH: usize = 64 << 10;
/// How many packets are enough.
const BATCH_PACKETS: usize = 256;

/// Turns what a source yields into reports.
pub(super) struct Outbox {
    sink: Box<dyn Sink>,
    lines: Vec<u8>,
    packets: Vec<LoggedPacket>,
    first_line: u64,
    next_line: u64,
    late: bool,
    read: Option<Read>,
    rejected: Tally,
    health: Option<Health>,
    sent: Result<(), Closed>,
}

impl Outbox {
    /// For a source with this sink.
    pub(super) fn new(sink: impl Sink) -> Self {
        Self {
            sink: Box::new(sink),
            lines: Vec::new(),
            packets: Vec::new(),
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
    /// their reader knows both or neither.
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

    /// Collects one line, ended by its newline, or what it is instead.
    pub(super) fn take_line(&mut self, line: Result<&[u8], Reason>) {
        self.take(match line {
            Ok(bytes) => Yield::Lines { bytes, count: 1 },
            Err(reason) => Yield::Dropped(reason),
        });
    }

    /// Collects a packet, numbered as a line is.
    pub(super) fn take_packet(&mut self, packet: Result<LoggedPacket, Reason>) {
        match packet {
            Ok(packet) => self.packets.push(packet),
            Err(reason) => return self.take(Yield::Dropped(reason)),
        }
        self.next_line = self.next_line.saturating_add(1);
        if self.packets.len() >= BATCH_PACKETS {
            self.send_lines(None);
        }
    }

    /// Tells that lines are missing here; `count` of them, if that is known.
    pub(super) fn lose(&mut self, count: Option<u64>) {
        self.send_lines(None);
        self.send(Report::Lost(count));
    }

    /// Reports that the kernel has reported fewer events than happened, and how often.
    pub(super) fn overflowed(&mut self, times: u64) {
        if times > 0 {
            self.send(Report::Overflowed(times));
        }
    }

    /// Tells that nothing more comes.
    pub(super) fn end(&mut self) {
        self.send(Report::Ended);
    }

    fn send_lines(&mut self, read: Option<Read>) {
        if !self.packets.is_empty() {
            let packets = Report::Packets {
                packets: std::mem::take(&mut self.packets),
                first: self.first_line,
            };
            self.send(packets);
        }
        if !self.lines.is_empty() {
            let batch = Batch {
                bytes: std::mem::take(&mut self.lines),
                first_line: self.first_line,
                late: self.late,
                read,
            };
            self.send(Report::Lines(batch));
        } else if let Some(read) = read {
            self.send(Report::Read(read));
        }
        self.first_line = self.next_line;
    }

    /// Hands over everything collected.
    pub(super) fn flush(&mut self) -> Result<(), Closed> {
        let read = self.read.take();
        self.send_lines(read);
        for (reason, count) in std::mem::take(&mut self.rejected).iter() {
            self.send(Report::Rejected { reason, count });
        }
        self.sent
    }

    /// Hands over everything collected, and the health if it is news.
    pub(super) fn send_all(&mut self, health: Health) -> Result<(), Closed> {
        self.flush()?;
        if self.health.as_ref() != Some(&health) {
            self.health = Some(health.clone());
            self.send(Report::Health(health));
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
#[path = "outbox_test.rs"]
mod tests;
