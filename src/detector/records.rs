//! The records of the daemon: the event log, and the log in knockd's words.
//!
//! In: events as text; files that the monitor has opened, as this process may open none. Out: lines appended to them.
//! A thread of its own writes: a full or hanging disk delays nothing. What it does not take is dropped and counted,
//! and each trouble is reported once. Events that any stranger can cause (stages and resets) are limited in a minute;
//! otherwise a flood of first knocks would fill the disk.
#![expect(
    clippy::disallowed_types,
    reason = "the files that the monitor has opened"
)]

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::disk_thread::DiskThread;
use super::{DetectorLoop, knockd_log, report};
use crate::clock;
use crate::engine::event::EventKind;
use crate::engine::time::Time;
use crate::privsep::{Link, Record, ToMonitor};

/// Orders that wait for the disk.
const ROOM: usize = 4096;
/// Stages and resets in the event log in this time …
const MINUTE: Duration = Duration::from_secs(60);
/// … at most.
const MAX_CHEAP: u64 = 1000;
/// Lines that wait for a syslog daemon; the oldest goes first.
const MAX_UNSENT: usize = 256;
/// Between two tries to connect to it.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);

enum Order {
    /// A line for a record.
    Line(Record, String),
    /// The file of a record, which replaces any other.
    File(Record, File),
}

/// Writes, on a thread of its own.
pub(super) struct Records {
    disk: DiskThread<Order>,
    /// Those that there are.
    kept: Vec<Record>,
    flood: Flood,
    knockd_flood: Flood,
    /// Events that found no room.
    dropped: u64,
}

impl DetectorLoop {
    /// Takes the file of a record, which replaces any other: its name may mean another one now.
    pub(super) fn record(&mut self, record: Record, file: Option<OwnedFd>) {
        if let Some(records) = &mut self.records {
            records.take(record, file);
        } else {
            let started = Records::start(vec![(record, file)], Some(&self.link));
            self.records = started.ok().flatten();
        }
    }
}

impl Records {
    /// Starts writing to `files`; `None` when there is nothing to write to.
    pub(super) fn start(
        files: Vec<(Record, Option<OwnedFd>)>,
        monitor: Option<&Link>,
    ) -> io::Result<Option<Self>> {
        if files.is_empty() {
            return Ok(None);
        }
        let now = Time::default();
        let writer = Writer::new(monitor);
        let mut records = Self {
            disk: DiskThread::start("records", ROOM, |orders| writer.run(orders))?,
            kept: Vec::new(),
            flood: Flood::new(now),
            knockd_flood: Flood::new(now),
            dropped: 0,
        };
        for (record, file) in files {
            records.take(record, file);
        }
        Ok(Some(records))
    }

    fn take(&mut self, record: Record, file: Option<OwnedFd>) {
        if !self.keeps(record) {
            self.kept.push(record);
        }
        if let Some(file) = file {
            self.order(Order::File(record, file.into()));
        }
    }

    fn keeps(&self, record: Record) -> bool {
        self.kept.contains(&record)
    }

    /// Appends an event; `line` is its JSON.
    pub(super) fn event(
        &mut self,
        kind: EventKind,
        now: Time,
        line: impl FnOnce() -> Option<String>,
    ) {
        if !self.keeps(Record::EventLog) || (kind.is_cheap() && !self.flood.admits(now)) {
            return;
        }
        let Some(line) = line() else {
            return;
        };
        self.order(Order::Line(Record::EventLog, line));
    }

    /// Says in knockd's words what it would say of an event; `time` is from the Unix epoch.
    pub(super) fn knockd(
        &mut self,
        kind: EventKind,
        now: Time,
        time: Time,
        lines: impl FnOnce() -> Vec<String>,
    ) {
        let keeps = self.keeps(Record::KnockdLog) || self.keeps(Record::KnockdSyslog);
        if keeps && (!kind.is_cheap() || self.knockd_flood.admits(now)) {
            for line in lines() {
                self.knockd_line(&line, time);
            }
        }
    }

    /// Says one line in knockd's words.
    pub(super) fn knockd_line(&mut self, line: &str, time: Time) {
        if self.keeps(Record::KnockdLog) {
            let line = knockd_log::stamped(line, time);
            self.order(Order::Line(Record::KnockdLog, line));
        }
        if self.keeps(Record::KnockdSyslog) {
            let line = knockd_log::for_syslog(line, time);
            self.order(Order::Line(Record::KnockdSyslog, line));
        }
    }

    fn order(&mut self, order: Order) {
        if !self.disk.put(order) {
            self.dropped += 1;
            if self.dropped == 1 {
                report::events_dropped();
            }
        }
    }

    /// Waits for the disk, but not for ever.
    pub(super) fn stop(self) {
        self.disk.stop();
    }
}

/// Lets this number through in a minute.
#[derive(Debug)]
struct Flood {
    begun: Time,
    count: u64,
}

impl Flood {
    fn new(now: Time) -> Self {
        Self {
            begun: now,
            count: 0,
        }
    }

    fn admits(&mut self, now: Time) -> bool {
        if now.since(self.begun) >= MINUTE {
            *self = Self::new(now);
        }
        self.count += 1;
        self.count <= MAX_CHEAP
    }
}

/// The files.
struct Writer {
    logs: HashMap<Record, Log>,
    /// Lines for a syslog daemon that has gone.
    unsent: VecDeque<String>,
    /// The means to connect to it again, and when it may be asked for that, on the monotonic clock.
    monitor: Option<Link>,
    ask_at: Time,
}

impl Writer {
    fn new(monitor: Option<&Link>) -> Self {
        Self {
            logs: HashMap::new(),
            unsent: VecDeque::new(),
            monitor: monitor.cloned(),
            ask_at: Time::default(),
        }
    }

    fn run(mut self, orders: Receiver<Order>) {
        for order in orders {
            match order {
                Order::Line(Record::KnockdSyslog, line) => {
                    self.unsent.push_back(line);
                    self.send();
                }
                Order::Line(record, line) => self.log(record).append(record, &line),
                Order::File(record, file) => {
                    self.log(record).file = Some(file);
                    self.send();
                }
            }
        }
    }

    /// Sends to the syslog daemon, one datagram a line. When that has gone, the lines wait for the next one.
    fn send(&mut self) {
        while let Some(line) = self.unsent.front() {
            let log = self.logs.get_mut(&Record::KnockdSyslog);
            let file = log.and_then(|log| log.file.as_mut());
            if file.is_none_or(|file| file.write(line.as_bytes()).is_err()) {
                break;
            }
            self.unsent.pop_front();
        }
        while self.unsent.len() > MAX_UNSENT {
            self.unsent.pop_front();
        }
        let now = clock::monotonic_now();
        if let Some(link) = self.monitor.as_ref().filter(|_| !self.unsent.is_empty())
            && now >= self.ask_at
        {
            self.ask_at = now.after(RECONNECT_INTERVAL);
            link.say(&ToMonitor::ReconnectSyslog);
        }
    }

    fn log(&mut self, record: Record) -> &mut Log {
        self.logs.entry(record).or_default()
    }
}

/// One of them.
#[derive(Default)]
struct Log {
    file: Option<File>,
    /// The last try failed, and that has been said.
    failed: bool,
    /// The last line may not have been written to its end.
    is_cut: bool,
}

impl Log {
    fn append(&mut self, record: Record, line: &str) {
        let Some(file) = &mut self.file else {
            return;
        };
        // A line that was cut by a full disk must not become one with the next.
        let start = if self.is_cut { "\n" } else { "" };
        let written = file.write_all(format!("{start}{line}\n").as_bytes());
        if let (Err(error), false) = (&written, self.failed) {
            report::not_written(record, error);
        }
        self.failed = written.is_err();
        self.is_cut = self.failed;
    }
}

#[cfg(test)]
#[path = "records_test.rs"]
mod tests;
