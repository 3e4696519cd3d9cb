//! What is written beside the commands: the event log and the metrics file.
//!
//! In: events and metrics as text. Out: lines appended to the one file, the other replaced by a
//! rename. A thread of its own writes: a disk that is full or hangs holds up nobody, what it does not
//! take is dropped and counted, and each trouble is said once. What any stranger can cause (stages and
//! resets) is written so often a minute and no more, or a flood of first knocks would fill the disk.
#![expect(clippy::disallowed_types, reason = "the files that [daemon] names")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use super::{knockd_log, report};
use crate::engine::event::EventKind;
use crate::engine::time::Time;

/// Orders that wait for the disk.
const ROOM: usize = 4096;
/// Between two writings of the metrics.
const EVERY: Duration = Duration::from_secs(15);
/// Stages and resets in the event log in this time …
const MINUTE: Duration = Duration::from_secs(60);
/// … at most.
const MOST: u64 = 1000;
/// How long the end waits for the disk.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Every event is appended here.
    pub event_log: Option<PathBuf>,
    /// They are appended here in knockd's words.
    pub knockd_log: Option<PathBuf>,
    /// The counters are put here.
    pub metrics: Option<PathBuf>,
}

enum Order {
    Event(String),
    Knockd(String),
    Metrics(String),
    Reopen,
}

/// Writes, on a thread of its own.
#[derive(Debug)]
pub(super) struct Records {
    orders: SyncSender<Order>,
    ended: Receiver<()>,
    has_log: bool,
    has_knockd_log: bool,
    /// When the metrics are due; never without a file for them.
    due: Option<Time>,
    flood: Flood,
    knockd_flood: Flood,
    /// Events that found no room.
    dropped: u64,
}

impl Records {
    /// Starts writing to `files`; `None` when there is nothing to write to.
    pub(super) fn start(files: Files, now: Time) -> io::Result<Option<Self>> {
        let (has_log, has_metrics) = (files.event_log.is_some(), files.metrics.is_some());
        let has_knockd_log = files.knockd_log.is_some();
        if !has_log && !has_metrics && !has_knockd_log {
            return Ok(None);
        }
        let (orders, to_do) = sync_channel(ROOM);
        let (end, ended) = sync_channel(0);
        thread::Builder::new()
            .name("records".to_owned())
            .spawn(move || {
                let writer = Writer {
                    log: files.event_log.map(EventLog::open),
                    knockd_log: files.knockd_log.map(EventLog::open),
                    metrics: files.metrics,
                    failed: false,
                };
                writer.run(&to_do);
                drop(end);
            })?;
        Ok(Some(Self {
            orders,
            ended,
            has_log,
            has_knockd_log,
            due: has_metrics.then_some(now),
            flood: Flood::new(now),
            knockd_flood: Flood::new(now),
            dropped: 0,
        }))
    }

    /// Appends an event; `line` is its JSON.
    pub(super) fn event(
        &mut self,
        kind: EventKind,
        now: Time,
        line: impl FnOnce() -> Option<String>,
    ) {
        if !self.has_log || (is_cheap(kind) && !self.flood.admits(now)) {
            return;
        }
        let Some(line) = line() else {
            return;
        };
        self.order(Order::Event(line));
    }

    /// Appends to the log in knockd's words what it would say of an event; `time` is from the Unix
    /// epoch.
    pub(super) fn knockd(
        &mut self,
        kind: EventKind,
        now: Time,
        time: Time,
        lines: impl FnOnce() -> Vec<String>,
    ) {
        if self.has_knockd_log && (!is_cheap(kind) || self.knockd_flood.admits(now)) {
            for line in lines() {
                self.knockd_line(&line, time);
            }
        }
    }

    /// Appends one line to it.
    pub(super) fn knockd_line(&mut self, line: &str, time: Time) {
        if self.has_knockd_log {
            self.order(Order::Knockd(knockd_log::stamped(line, time)));
        }
    }

    fn order(&mut self, order: Order) {
        if let Err(TrySendError::Full(_)) = self.orders.try_send(order) {
            self.dropped += 1;
            if self.dropped == 1 {
                report::events_dropped();
            }
        }
    }

    /// Opens the event log anew: its file has been renamed.
    pub(super) fn reopen(&self) {
        drop(self.orders.try_send(Order::Reopen));
    }

    /// When the metrics are to be written.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.due
    }

    /// Writes the metrics if it is time to.
    pub(super) fn handle_timeout(&mut self, now: Time, metrics: impl FnOnce() -> String) {
        if self.due.is_some_and(|due| now >= due) {
            self.due = Some(now.after(EVERY));
            drop(self.orders.try_send(Order::Metrics(metrics())));
        }
    }

    /// Writes the metrics once more and waits for the disk, but not for ever.
    pub(super) fn stop(self, metrics: impl FnOnce() -> String) {
        if self.due.is_some() {
            drop(self.orders.try_send(Order::Metrics(metrics())));
        }
        drop(self.orders);
        if self.ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            report::records_stuck();
        }
    }
}

/// Whether any stranger can cause it.
fn is_cheap(kind: EventKind) -> bool {
    matches!(kind, EventKind::Stage { .. } | EventKind::Reset { .. })
}

/// Lets so many through in a minute.
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
        self.count <= MOST
    }
}

struct Writer {
    log: Option<EventLog>,
    knockd_log: Option<EventLog>,
    metrics: Option<PathBuf>,
    /// The metrics could not be written the last time.
    failed: bool,
}

impl Writer {
    fn run(mut self, orders: &Receiver<Order>) {
        for order in orders {
            match (order, &mut self.log, &mut self.knockd_log, &self.metrics) {
                (Order::Event(line), Some(log), ..) | (Order::Knockd(line), _, Some(log), _) => {
                    log.append(&line);
                }
                (Order::Reopen, log, knockd_log, _) => {
                    log.iter_mut().chain(knockd_log).for_each(EventLog::reopen);
                }
                (Order::Metrics(text), .., Some(path)) => {
                    let failed = replace(path, &text);
                    if let (Err(error), false) = (&failed, self.failed) {
                        report::not_written(path, error);
                    }
                    self.failed = failed.is_err();
                }
                _ => {}
            }
        }
    }
}

/// Puts `text` in the place of the file at `path` at once: a reader sees the old or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // What was left here may be a link to somewhere else.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&temporary)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&temporary, path)
}

struct EventLog {
    path: PathBuf,
    file: Option<File>,
    /// The last try failed, and that has been said.
    failed: bool,
    /// The last line may not have been written to its end.
    is_cut: bool,
}

impl EventLog {
    fn open(path: PathBuf) -> Self {
        let mut log = Self {
            path,
            file: None,
            failed: false,
            is_cut: false,
        };
        log.reopen();
        log
    }

    fn reopen(&mut self) {
        let mut options = OpenOptions::new();
        let opened = options
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path);
        self.file = self.said(opened);
    }

    fn append(&mut self, line: &str) {
        if self.file.is_none() {
            self.reopen();
        }
        let Some(mut file) = self.file.as_ref() else {
            return;
        };
        // A line that was cut by a full disk must not become one with the next.
        let start = if self.is_cut { "\n" } else { "" };
        let written = file.write_all(format!("{start}{line}\n").as_bytes());
        self.is_cut = self.said(written).is_none();
    }

    /// Says an error once, until it is over.
    fn said<T>(&mut self, done: io::Result<T>) -> Option<T> {
        if let (Err(error), false) = (&done, self.failed) {
            report::not_written(&self.path, error);
        }
        self.failed = done.is_err();
        done.ok()
    }
}

#[cfg(test)]
#[path = "records_test.rs"]
mod tests;
