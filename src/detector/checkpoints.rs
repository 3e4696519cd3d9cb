//! How far each file is read, kept over a restart in two files that the monitor has opened: this process
//! may open none.
//!
//! In: what the sources say they have read, once all of it has been decided. Out: at the next start, the position
//! from which they continue. It is written by a thread of its own, at most once a second and at the end, so a full or
//! hanging disk delays nothing; nothing is synced, because a checkpoint is worth nothing after the reboot that could
//! lose it. The two files are written in turn, so that a process which is killed while it writes leaves the other one
//! whole; the one with the higher number counts.
#![expect(
    clippy::disallowed_types,
    reason = "files in the state directory, which the monitor has opened"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::disk_thread::DiskThread;
use super::report::{self, Unusable};
use crate::engine::time::Time;
use crate::source::Read;
use crate::source::checkpoint::Checkpoint;

const VERSION: u32 = 2;
/// More than this of a file is not read.
const MAX_SIZE: u64 = 1 << 20;
/// More files than this are not kept: a directory may get new ones every day.
const MAX_FILES: usize = 1000;
/// Between two writings.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// By the file's path.
pub(super) type Positions = BTreeMap<PathBuf, Checkpoint>;

/// As they are written.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    /// Counted up from one writing to the next.
    number: u64,
    boot: String,
    files: Positions,
}

/// The checkpoints of all files, on their way to a [`Keeper`].
pub(super) struct Checkpoints {
    boot: Box<str>,
    number: u64,
    files: Positions,
    due: Option<Time>,
    last: Option<Time>,
    /// Takes a record without waiting; false when it has no room now.
    put: Box<dyn FnMut(Vec<u8>) -> bool + Send>,
    disk: Option<DiskThread<Vec<u8>>>,
}

impl Checkpoints {
    /// Kept by `keeper`, for the boot with the number `boot`.
    pub(super) fn kept(keeper: Keeper, boot: Box<str>) -> io::Result<Self> {
        let number = keeper.number;
        let disk = DiskThread::start("checkpoints", 1, |records| keeper.write(records))?;
        let mut checkpoints = Self::new(boot, disk.sink());
        checkpoints.number = number;
        checkpoints.disk = Some(disk);
        Ok(checkpoints)
    }

    /// None yet; `put` gets them.
    pub(super) fn new(boot: Box<str>, put: impl FnMut(Vec<u8>) -> bool + Send + 'static) -> Self {
        Self {
            boot,
            number: 0,
            files: Positions::new(),
            due: None,
            last: None,
            put: Box::new(put),
            disk: None,
        }
    }

    /// A file was read so far, and all of that has been decided.
    pub(super) fn note(&mut self, read: Read, now: Time) {
        // A path that JSON cannot hold is followed from its end after a restart.
        if read.path.to_str().is_some() {
            if self.files.len() >= MAX_FILES && !self.files.contains_key(&read.path) {
                self.files.pop_first();
            }
            self.files.insert(read.path, read.checkpoint);
            self.due = self.due.or(Some(
                self.last.map_or(now, |last| last.after(WRITE_INTERVAL)),
            ));
        }
    }

    /// When they are to be written.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.due
    }

    /// Writes them if it is time to.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        if self.due.is_some_and(|due| now >= due) {
            self.last = Some(now);
            self.due = (!self.write()).then_some(now.after(WRITE_INTERVAL));
        }
    }

    /// Writes them now, and waits for the disk, but not for ever.
    pub(super) fn stop(mut self) {
        if self.due.is_some() {
            self.write();
        }
        drop(self.put);
        if let Some(disk) = self.disk {
            disk.stop();
        }
    }

    fn write(&mut self) -> bool {
        self.number += 1;
        let written = Written {
            version: VERSION,
            number: self.number,
            boot: self.boot.to_string(),
            files: self.files.clone(),
        };
        let record = serde_json::to_vec(&written);
        record.is_ok_and(|mut record| {
            record.push(b'\n');
            (self.put)(record)
        })
    }
}

/// The files' end.
pub(super) struct Keeper {
    files: [File; 2],
    /// The highest number in them.
    number: u64,
}

impl Keeper {
    /// Keeps them in these files.
    pub(super) fn new(files: [OwnedFd; 2]) -> Self {
        let files = files.map(File::from);
        Self { files, number: 0 }
    }

    /// What is there for the boot with the number `boot`.
    pub(super) fn read(&mut self, boot: &str) -> Result<Positions, Unusable> {
        let written = self.files.each_mut().map(read);
        let is_missing =
            |written: &Result<Written, Unusable>| matches!(written, Err(Unusable::Missing));
        if written.iter().all(is_missing) {
            return Err(Unusable::Missing);
        }
        let whole = written.into_iter().flatten();
        let latest = whole.max_by_key(|written| written.number);
        let latest = latest.ok_or(Unusable::Damaged)?;
        self.number = latest.number;
        if latest.boot == boot {
            Ok(latest.files)
        } else {
            Err(Unusable::Rebooted)
        }
    }

    /// Writes what it is given.
    fn write(self, records: Receiver<Vec<u8>>) {
        // Odd numbers are in the one, even ones in the other: the latest is not overwritten.
        let mut turn = usize::from(!self.number.is_multiple_of(2));
        let mut has_failed = false;
        for record in records {
            let file = self.files.get(turn);
            let written = file.map_or(Ok(()), |file| file.write_all_at(&record, 0));
            if let (Err(error), false) = (&written, has_failed) {
                report::checkpoints_not_written(error);
            }
            has_failed = written.is_err();
            turn = 1 - turn;
        }
    }
}

/// What a file says up to its first newline: behind that is what is left of a longer one.
fn read(file: &mut File) -> Result<Written, Unusable> {
    let mut record = Vec::new();
    let end = file.take(MAX_SIZE).read_to_end(&mut record);
    end.map_err(|_| Unusable::Damaged)?;
    if record.is_empty() {
        return Err(Unusable::Missing);
    }
    let line = record.split_inclusive(|&byte| byte == b'\n').next();
    let line = line.and_then(|line| line.strip_suffix(b"\n"));
    let written = line.and_then(|line| serde_json::from_slice(line).ok());
    let written: Written = written.ok_or(Unusable::Damaged)?;
    if written.version == VERSION {
        Ok(written)
    } else {
        Err(Unusable::Damaged)
    }
}

#[cfg(test)]
#[path = "checkpoints_test.rs"]
mod tests;
