//! One path, followed through everything that log rotation does to it.
//!
//! In: the path and, at each [`poll`](Tail::poll), the time. Out: every whole line once, and the trouble that keeps
//! it from more. The open descriptor is the truth; the path only tells that there is a *next* file. A file that lost
//! its name is read together with its successor, because its writer continues there until it learns of the rotation.
//! An open descriptor also keeps the file's inode number from being given to another file, so the number proves what
//! it could not otherwise. It has no thread, and no clock but for the age of a file, and works for a bounded time at
//! each call.
#![expect(clippy::disallowed_types, reason = "the followed file is opened here")]

use std::collections::BTreeMap;
use std::fs::{File, FileType, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::assembler::Yield;
use super::checkpoint::{Checkpoint, FileId};
pub use super::stream::Pace;
use super::stream::{self, Begin, Buffer, Stream};
use super::{FileKind, Trouble};
use crate::clock;
use crate::engine::time::Time;

/// How many renamed or deleted files are read on at the same time; the oldest goes first.
const MAX_RETIRED: usize = 8;
/// How often a file whose descriptor fails is opened again.
const REOPEN_WAIT: Duration = Duration::from_secs(1);
/// What a file held that is older than this when it gets the name may have been written long before. Otherwise a user
/// who renames an old log to the name would have it read as new.
const YOUNG: Duration = Duration::from_secs(30);

/// How to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a renamed or deleted file must be quiet before it is let go. It is never let go
    /// before a line has arrived in its successor.
    pub rotate_wait: Duration,
    /// How far files were read by an earlier process, and that a later one may want to know: `None`
    /// where neither matters.
    pub checkpoints: Option<BTreeMap<PathBuf, Checkpoint>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rotate_wait: Duration::from_secs(5),
            checkpoints: None,
        }
    }
}

/// A followed path.
pub struct Tail {
    path: PathBuf,
    options: Options,
    buffer: Buffer,
    /// The file that has the path's name.
    current: Option<Stream>,
    /// Those that had it, oldest first.
    retired: Vec<Stream>,
    /// The file found by the first look, and its size then: what it held is not read, but for what a
    /// checkpoint says was not read before.
    origin: Origin,
    checkpoint: Option<Checkpoint>,
    /// Whether the next bytes may have been written long before they are read.
    is_late: bool,
    is_unproven: bool,
    has_lost: bool,
    trouble: Option<Trouble>,
    reopen_at: Duration,
}

/// What the first look found.
enum Origin {
    /// There was no look yet.
    Unknown,
    /// This file with this size; it could not be opened yet.
    Found(FileId, u64),
    /// Nothing that still matters: whatever appears is new.
    Settled,
}

impl Tail {
    /// Prepares to follow `path`; the first poll is the first look at it.
    pub fn new(path: PathBuf, options: Options) -> Self {
        let known = options.checkpoints.as_ref();
        let checkpoint = known.and_then(|known| known.get(&path)).copied();
        Self {
            checkpoint,
            is_late: checkpoint.is_some(),
            is_unproven: false,
            has_lost: false,
            path,
            options,
            buffer: Buffer::new(),
            current: None,
            retired: Vec::new(),
            origin: Origin::Unknown,
            trouble: None,
            reopen_at: Duration::ZERO,
        }
    }

    /// Hands over lines that were written since the last poll, file by file, each in its order. `now` counts from any
    /// fixed point.
    pub fn poll(&mut self, now: Duration, out: &mut impl FnMut(Yield<'_>)) -> Pace {
        let was_late = self.is_late;
        self.look(now, out);
        if self.is_late && !was_late {
            return Pace::More; // the caller is to know before it gets them
        }
        let mut pace = self.read_retired(now, out);
        if pace == Pace::CaughtUp {
            pace = self.read_current(now, out);
        }
        self.let_go(now, out);
        if pace == Pace::CaughtUp && matches!(self.origin, Origin::Settled) {
            self.is_late = false;
        }
        pace
    }

    /// Follows a file that had the name since the last look, and may have lost it again.
    pub fn succeed(&mut self, file: File, now: Duration, out: &mut impl FnMut(Yield<'_>)) {
        let Ok(found) = file.metadata() else {
            return;
        };
        let id = FileId::of(&found);
        let mut known = self.retired.iter().chain(&self.current).map(Stream::id);
        if known.any(|known| known == id) {
            return;
        }
        self.retire(now, out);
        self.origin = Origin::Settled;
        self.is_late |= is_old(&found);
        self.current = Stream::new(file, id, Begin::Start, now).ok();
    }

    /// Takes whatever file is there for a new one, to be read from its first line.
    pub(super) fn take_as_new(&mut self) {
        self.origin = Origin::Settled;
        (self.checkpoint, self.is_late) = (None, false);
    }

    /// Continues with a file that had another name.
    pub(super) fn take_over(&mut self, renamed: Stream) {
        self.take_as_new();
        self.current = Some(renamed);
    }

    /// Lets go of a file that has another name now.
    pub(super) fn give_up(&mut self, id: FileId) -> Option<Stream> {
        let at = self.retired.iter().position(|old| old.id() == id)?;
        Some(self.retired.remove(at))
    }

    /// Whether the file with this number has the name.
    pub(super) fn is_at(&self, id: FileId) -> bool {
        self.current.as_ref().map(Stream::id) == Some(id)
    }

    /// Whether nothing has the name, and what had it has been quiet for `span`.
    pub(super) fn is_gone(&self, now: Duration, span: Duration) -> bool {
        self.current.is_none()
            && matches!(self.origin, Origin::Settled)
            && matches!(self.trouble, None | Some(Trouble::Missing))
            && self.retired.iter().all(|old| old.is_quiet(now, span))
    }

    /// Whether one more file can be followed without letting go of another; the next look may find one too.
    pub fn has_room(&self) -> bool {
        self.retired.len() + 1 < MAX_RETIRED
    }

    /// Whether lines were lost because they are out of reach now; reported once.
    pub fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.has_lost)
    }

    /// Whether the next poll may read lines that were written long before.
    pub fn is_late(&self) -> bool {
        self.is_late
    }

    /// Whether a checkpoint was found not to be of this file, so that it was followed from its end; reported once.
    pub fn take_unproven(&mut self) -> bool {
        std::mem::take(&mut self.is_unproven)
    }

    /// How far the file that has the name is read, if a later process is to know.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.options.checkpoints.as_ref()?;
        self.current.as_ref().map(Stream::checkpoint)
    }

    /// What keeps the path from being followed.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Whether a file that lost its name may still get lines; its events may be in a directory that is not watched.
    pub fn is_draining(&self, now: Duration) -> bool {
        let wait = self.options.rotate_wait;
        self.retired.iter().any(|old| !old.is_quiet(now, wait))
    }

    /// How many descriptors are open.
    pub fn open_files(&self) -> usize {
        self.retired.len() + usize::from(self.current.is_some())
    }

    /// Finds out which file has the name now.
    fn look(&mut self, now: Duration, out: &mut impl FnMut(Yield<'_>)) {
        let found = match std::fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) => return self.look_failed(stream::errno(&error), now, out),
        };
        self.settle_origin(&found);
        if self.current.as_ref().map(Stream::id) == Some(FileId::of(&found)) {
            self.trouble = None;
            return;
        }
        self.retire(now, out);
        self.trouble = self.take_up(now).err();
    }

    fn look_failed(&mut self, errno: Errno, now: Duration, out: &mut impl FnMut(Yield<'_>)) {
        let trouble = Trouble::from(errno);
        if trouble == Trouble::Missing {
            self.origin = Origin::Settled;
            self.retire(now, out);
        }
        // Between the rename and the create of a rotation nothing is wrong.
        self.trouble = (trouble != Trouble::Missing || !self.is_draining(now)).then_some(trouble);
    }

    /// Notes what the first look found, and forgets it when something else is there.
    fn settle_origin(&mut self, found: &Metadata) {
        let (id, size) = (FileId::of(found), found.len());
        self.origin = match self.origin {
            Origin::Unknown if found.is_file() => Origin::Found(id, size),
            Origin::Found(first, begin) if first == id && begin <= size => return,
            _ => Origin::Settled,
        };
    }

    /// Follows the file that was found at the path.
    fn take_up(&mut self, now: Duration) -> Result<(), Trouble> {
        let file = open_regular(&self.path)?;
        let opened = file.metadata().map_err(|error| stream::errno(&error))?;
        let id = FileId::of(&opened);
        if let Some(known) = self.retired.iter().position(|old| old.id() == id) {
            // Renamed back: what was read of it is not new.
            self.current = Some(self.retired.remove(known));
            return Ok(());
        }
        let begin = match self.origin {
            Origin::Found(first, size) if first == id => Begin::At(size),
            _ => Begin::Start,
        };
        self.is_late |= begin == Begin::Start && is_old(&opened);
        let mut stream =
            Stream::new(file, id, begin, now).map_err(|error| stream::errno(&error))?;
        if let (Begin::At(size), Some(checkpoint)) = (begin, self.checkpoint.take()) {
            // What cannot be read to prove it is no proof.
            self.is_unproven = !stream.resume(&checkpoint, size).unwrap_or(false);
        }
        self.origin = Origin::Settled;
        self.current = Some(stream);
        Ok(())
    }

    /// The current file has lost its name; it is read on.
    fn retire(&mut self, now: Duration, out: &mut impl FnMut(Yield<'_>)) {
        let Some(mut old) = self.current.take() else {
            return;
        };
        old.touch(now);
        self.retired.push(old);
        if self.retired.len() > MAX_RETIRED {
            let oldest = self.retired.remove(0);
            self.close(oldest, out);
        }
    }

    fn close(&mut self, mut old: Stream, out: &mut impl FnMut(Yield<'_>)) {
        self.has_lost |= old.has_unread();
        old.discard(out);
    }

    /// Reads what is left in the older files, each to its end before anything in a newer one.
    fn read_retired(&mut self, now: Duration, out: &mut impl FnMut(Yield<'_>)) -> Pace {
        for stream in &mut self.retired {
            // A file that can no longer be read has no path by which to reopen it. It stays until it has been quiet
            // for long enough, like any other.
            if let Ok(Pace::More) = stream.read(now, &mut self.buffer, out) {
                return Pace::More;
            }
        }
        Pace::CaughtUp
    }

    fn read_current(&mut self, now: Duration, out: &mut impl FnMut(Yield<'_>)) -> Pace {
        let Some(current) = &mut self.current else {
            return Pace::CaughtUp;
        };
        match current.read(now, &mut self.buffer, out) {
            Ok(pace) => pace,
            Err(error) => {
                self.trouble = Some(stream::errno(&error).into());
                self.reopen(now)
            }
        }
    }

    /// Reopens the current file and continues where it was. Not more often than once a second: it may not help.
    fn reopen(&mut self, now: Duration) -> Pace {
        let Some(current) = &mut self.current else {
            return Pace::CaughtUp;
        };
        if now < self.reopen_at {
            return Pace::CaughtUp;
        }
        self.reopen_at = now.saturating_add(REOPEN_WAIT);
        // Another file is the next look's business.
        let same = |it: &Metadata| FileId::of(it) == current.id();
        let again = std::fs::metadata(&self.path).ok().filter(same);
        let again = again.and_then(|_| open_regular(&self.path).ok());
        match again.filter(|file| file.metadata().is_ok_and(|it| same(&it))) {
            Some(file) => {
                current.replace(file);
                Pace::More
            }
            None => Pace::CaughtUp,
        }
    }

    /// Closes those that have been quiet for long enough while a successor got a line.
    fn let_go(&mut self, now: Duration, out: &mut impl FnMut(Yield<'_>)) {
        let mut succeeded = self.current.as_ref().is_some_and(Stream::has_lines);
        for at in (0..self.retired.len()).rev() {
            let Some(old) = self.retired.get(at) else {
                continue;
            };
            let done = succeeded && old.is_quiet(now, self.options.rotate_wait);
            succeeded |= old.has_lines();
            if done {
                let old = self.retired.remove(at);
                self.close(old, out);
            }
        }
    }
}

/// Opens a regular file. Anything else is not even opened, for opening a device can do things; and
/// never waits, for the path may have become a FIFO since it was looked at.
pub(super) fn open_regular(path: &Path) -> Result<File, Trouble> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let found = std::fs::metadata(path).map_err(|error| stream::errno(&error))?;
    refuse(found.file_type())?;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let opened = file.metadata().map_err(|error| stream::errno(&error))?;
    refuse(opened.file_type())?;
    Ok(file)
}

/// Whether what a file holds may have been written long ago.
fn is_old(found: &Metadata) -> bool {
    let made = found.created().ok();
    let made = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    let made = made.and_then(|made| i64::try_from(made.as_secs()).ok());
    // What was unpacked just now has the time of its writing.
    let since = made.unwrap_or(i64::MAX).min(found.mtime());
    clock::wall_now().since(Time::from_secs(since)) > YOUNG
}

fn refuse(kind: FileType) -> Result<(), Trouble> {
    if kind.is_file() {
        return Ok(());
    }
    Err(Trouble::NotRegular(if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_fifo() {
        FileKind::Fifo
    } else if kind.is_socket() {
        FileKind::Socket
    } else {
        FileKind::Device
    }))
}

#[cfg(test)]
#[path = "tail_test.rs"]
mod tests;
