//! How far each file is read, kept over a restart: `checkpoints.json` in a directory of its own, the only
//! one of the state directory that whoever reads logs may write to.
//!
//! In: what the sources say they have read, once all of it has been decided. Out: at the next start, what
//! they go on from. It is written by a thread of its own, at most once a second and at the end, so a
//! disk that is full or hangs holds up nobody; nothing is synced, because a checkpoint is worth nothing
//! after the reboot that could lose it. [`Keeper`] is the end with the disk, [`Checkpoints`] the other:
//! the first has a thread of its own.
#![expect(
    clippy::disallowed_types,
    reason = "a file in the state directory, which is ours"
)]

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::report::{self, Unusable};
use crate::engine::time::Time;
use crate::source::Read;
use crate::source::checkpoint::Checkpoint;

const NAME: &str = "checkpoints.json";
const FRESH: &str = "checkpoints.json.new";
const VERSION: u32 = 1;
/// More than this of the file is not read.
const MAX_SIZE: u64 = 1 << 20;
/// More files than this are not kept: a directory may get new ones every day.
const MOST: usize = 1000;
/// Between two writings.
const EVERY: Duration = Duration::from_secs(1);
/// How long the end waits for the disk.
const PATIENCE: Duration = Duration::from_secs(1);

/// By the file's path.
pub(super) type Files = BTreeMap<PathBuf, Checkpoint>;

/// As they are written.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    boot: String,
    files: Files,
}

/// What a written record says to the boot with the number `boot`.
fn read(record: &[u8], boot: &str) -> Result<Files, Unusable> {
    let written: Written = serde_json::from_slice(record).map_err(|_| Unusable::Damaged)?;
    match written {
        Written { version, .. } if version != VERSION => Err(Unusable::Damaged),
        Written { boot: of, .. } if of != boot => Err(Unusable::Rebooted),
        Written { files, .. } => Ok(files),
    }
}

/// The checkpoints of all files, on their way to a [`Keeper`].
pub(super) struct Checkpoints {
    boot: Box<str>,
    files: Files,
    due: Option<Time>,
    last: Option<Time>,
    /// Takes a record without waiting; false when it has no room now.
    put: Box<dyn FnMut(Vec<u8>) -> bool + Send>,
    keeping: Option<Keeping>,
}

impl Checkpoints {
    /// Kept by `keeper`, for the boot with the number `boot`.
    pub(super) fn kept(keeper: Keeper, boot: Box<str>) -> io::Result<Self> {
        let keeping = keeper.start()?;
        let mut checkpoints = Self::new(boot, keeping.sink());
        checkpoints.keeping = Some(keeping);
        Ok(checkpoints)
    }

    /// None yet; `put` gets them.
    pub(super) fn new(boot: Box<str>, put: impl FnMut(Vec<u8>) -> bool + Send + 'static) -> Self {
        Self {
            boot,
            files: Files::new(),
            due: None,
            last: None,
            put: Box::new(put),
            keeping: None,
        }
    }

    /// A file was read so far, and all of that has been decided.
    pub(super) fn note(&mut self, read: Read, now: Time) {
        // A path that JSON cannot hold is followed from its end after a restart.
        if read.path.to_str().is_some() {
            if self.files.len() >= MOST && !self.files.contains_key(&read.path) {
                self.files.pop_first();
            }
            self.files.insert(read.path, read.checkpoint);
            self.due = self
                .due
                .or(Some(self.last.map_or(now, |last| last.after(EVERY))));
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
            self.due = (!self.write()).then_some(now.after(EVERY));
        }
    }

    /// Writes them now, and waits for the disk, but not for ever.
    pub(super) fn stop(mut self) {
        if self.due.is_some() {
            self.write();
        }
        drop(self.put);
        if let Some(keeping) = self.keeping {
            keeping.stop();
        }
    }

    fn write(&mut self) -> bool {
        let written = Written {
            version: VERSION,
            boot: self.boot.to_string(),
            files: self.files.clone(),
        };
        serde_json::to_vec(&written).is_ok_and(|record| (self.put)(record))
    }
}

/// The directory's end.
pub(super) struct Keeper {
    dir: OwnedFd,
}

impl Keeper {
    /// Keeps them in the directory at `dir`, which is made if the one that it is in exists.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self::new(rustix::fs::open(dir, flags, Mode::empty())?))
    }

    /// Keeps them in this directory.
    pub(super) fn new(dir: OwnedFd) -> Self {
        Self { dir }
    }

    /// What is there for the boot with the number `boot`.
    pub(super) fn read(&self, boot: &str) -> Result<Files, Unusable> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(&self.dir, NAME, flags, Mode::empty());
        let file = File::from(opened.map_err(|error| match error {
            Errno::NOENT => Unusable::Missing,
            _ => Unusable::Damaged,
        })?);
        let mut record = Vec::new();
        let end = file.take(MAX_SIZE).read_to_end(&mut record);
        end.map_err(|_| Unusable::Damaged)?;
        read(&record, boot)
    }

    /// Starts writing what it is given.
    pub(super) fn start(self) -> io::Result<Keeping> {
        let (records, to_write) = sync_channel::<Vec<u8>>(1);
        let (end, ended) = sync_channel(0);
        thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || {
                let mut has_failed = false;
                for record in to_write {
                    let written = self.replace(&record);
                    if let (Err(error), false) = (&written, has_failed) {
                        report::not_written(Path::new(NAME), error);
                    }
                    has_failed = written.is_err();
                }
                drop(end);
            })?;
        Ok(Keeping { records, ended })
    }

    /// Puts `record` in the place of the last one at once.
    fn replace(&self, record: &[u8]) -> io::Result<()> {
        let dir = self.dir.as_fd();
        match unlinkat(dir, FRESH, AtFlags::empty()) {
            Err(error) if error != Errno::NOENT => return Err(error.into()),
            _ => {}
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(dir, FRESH, flags, Mode::RUSR | Mode::WUSR)?;
        File::from(file).write_all(record)?;
        Ok(renameat(dir, FRESH, dir, NAME)?)
    }
}

/// A keeper at work.
pub(super) struct Keeping {
    records: SyncSender<Vec<u8>>,
    ended: Receiver<()>,
}

impl Keeping {
    /// Where records go to; one that does not fit is refused.
    pub(super) fn sink(&self) -> impl FnMut(Vec<u8>) -> bool + Send + 'static {
        let records = self.records.clone();
        move |record| records.try_send(record).is_ok()
    }

    /// Waits for the disk, but not for ever. The sink must be gone.
    pub(super) fn stop(self) {
        drop(self.records);
        if self.ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            report::records_stuck();
        }
    }
}

#[cfg(test)]
#[path = "checkpoints_test.rs"]
mod tests;
