//! Wake-ups when something happens in the directories of a file source.
//!
//! In: inotify's events, through `notify`. Out: at most one waiting wake-up, whatever happened. The woken thread
//! looks for itself, so a lost event or an overflow of the queue is a wake-up like any other. Also out: the files
//! that got the followed name, opened at that moment ([`Pending`]). The source may be waiting in a full sink, and a
//! file that is rotated away meanwhile can no longer be found by name. The directories are watched, never the file: a
//! watch on a file stays with it when it is renamed. A directory that is removed takes its watch along without an
//! event, hence [`arm`](Watch::arm) at every tick; it holds the directory open, so that a new one cannot have its
//! inode number.
#![expect(
    clippy::disallowed_types,
    reason = "the watched directories and the new files are held open here"
)]

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{CreateKind, ModifyKind, RenameMode};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::checkpoint::FileId;
use super::tail::open_regular;
use super::{POLL, Trouble};

/// How often everything is looked at where inotify works.
const TICK: Duration = Duration::from_secs(1);

/// How many new files are held open until they are read.
const MAX_PENDING: usize = 8;

/// File systems that another host, or a process behind them, may write without an inotify event.
const REMOTE: [(u32, &str); 10] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x517b, "SMB"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x786f_4256, "a VirtualBox shared folder"),
];

/// The watched directories of one followed file.
pub(super) struct Watch {
    path: PathBuf,
    wake: SyncSender<()>,
    pending: Pending,
    watcher: Option<RecommendedWatcher>,
    armed: Vec<Directory>,
    trouble: Option<Trouble>,
}

/// A directory, held open.
struct Directory {
    path: PathBuf,
    id: FileId,
    pin: File,
}

impl Watch {
    /// Will send to `wake` for the file at `path`, once armed.
    pub(super) fn new(path: PathBuf, wake: SyncSender<()>) -> Self {
        Self {
            pending: Pending::new(path.clone()),
            path,
            wake,
            watcher: None,
            armed: Vec::new(),
            trouble: None,
        }
    }

    /// The files that have got the name meanwhile.
    pub(super) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Why the file is polled, if it is.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// How often to look even if nothing wakes.
    pub(super) fn interval(&self) -> Duration {
        match self.trouble {
            None | Some(Trouble::MountPoint) => TICK,
            Some(_) => POLL,
        }
    }

    /// Watches the directories that the path leads through now, and no others. A missing file is the file's trouble,
    /// not the watch's.
    pub(super) fn arm(&mut self) {
        let target = fs::canonicalize(&self.path).ok();
        let paths = [Some(self.path.as_path()), target.as_deref()];
        let names = paths.iter().flatten().filter_map(|path| path.file_name());
        self.pending.set_names(names.map(Into::into).collect());
        let wanted = directories(&paths);
        let remote = wanted.iter().find_map(|directory| remote(&directory.pin));
        let watching = self.watcher().and_then(|()| self.watch(wanted));
        let remote = remote.map(Trouble::Remote);
        let mounted = || is_mount_point(&self.path).then_some(Trouble::MountPoint);
        self.trouble = watching.err().or(remote).or_else(mounted);
    }

    /// Makes the watcher, unless it is there.
    fn watcher(&mut self) -> Result<(), Trouble> {
        if self.watcher.is_none() {
            let (wake, pending) = (self.wake.clone(), self.pending.clone());
            let handler = move |event: notify::Result<Event>| {
                if let Ok(event) = &event {
                    pending.see(event);
                }
                if is_change(&event) {
                    // Full means that a wake-up waits already.
                    let _ = wake.try_send(());
                }
            };
            self.watcher = Some(notify::recommended_watcher(handler).map_err(|e| refused(&e))?);
        }
        Ok(())
    }

    fn watch(&mut self, wanted: Vec<Directory>) -> Result<(), Trouble> {
        let Some(watcher) = &mut self.watcher else {
            return Ok(());
        };
        self.armed.retain(|old| {
            let stays = wanted
                .iter()
                .any(|new| new.id == old.id && new.path == old.path);
            if !stays {
                // It may be gone together with its directory.
                let _ = watcher.unwatch(&old.path);
            }
            stays
        });
        for directory in wanted {
            if !self.armed.iter().any(|armed| armed.id == directory.id) {
                match watcher.watch(&directory.path, RecursiveMode::NonRecursive) {
                    Ok(()) => self.armed.push(directory),
                    // Removed since it was opened: for the next tick.
                    Err(error) if matches!(error.kind, ErrorKind::PathNotFound) => {}
                    Err(error) => return Err(refused(&error)),
                }
            }
        }
        Ok(())
    }
}

/// The directories of a path and of the file it leads to, if it is a symbolic link.
fn directories(paths: &[Option<&Path>]) -> Vec<Directory> {
    let mut found: Vec<Directory> = Vec::with_capacity(2);
    for file in paths.iter().flatten() {
        if let Some(directory) = file.parent().and_then(hold)
            && !found.iter().any(|other| other.id == directory.id)
        {
            found.push(directory);
        }
    }
    found
}

fn hold(path: &Path) -> Option<Directory> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let pin = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    // Through the descriptor: the path may lead elsewhere by now.
    let id = FileId::of(&pin.metadata().ok()?);
    Some(Directory {
        path: path.to_path_buf(),
        id,
        pin,
    })
}

/// Whether the file at `path` is a mount of its own, as where one file is mounted into a container. Its name
/// always leads to it, whatever log rotation does outside: its successors are never seen.
pub fn is_mount_point(path: &Path) -> bool {
    let found = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::TYPE);
    found.is_ok_and(|found| {
        let is_file = FileType::from_raw_mode(found.stx_mode.into()) == FileType::RegularFile;
        is_file && found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
    })
}

/// The kind of file system behind an open directory, if its writers may be elsewhere.
fn remote(directory: &File) -> Option<&'static str> {
    let found = rustix::fs::fstatfs(directory).ok()?;
    remote_kind(i128::from(found.f_type))
}

/// The name of a file system whose writers may be elsewhere. The type of this number is signed on one machine and
/// unsigned on another; the magic number is its lower half.
fn remote_kind(word: i128) -> Option<&'static str> {
    let magic = word & 0xffff_ffff;
    REMOTE
        .into_iter()
        .find_map(|(known, name)| (i128::from(known) == magic).then_some(name))
}

/// Shared by the thread that gets the events and the thread that follows.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    path: PathBuf,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// What a file is called when it gets the name: as the path does, or the link's target.
    names: Vec<OsString>,
    ahead: VecDeque<File>,
    last: Option<FileId>,
    has_missed: bool,
    overflows: u64,
    has_changed: bool,
}

impl Pending {
    /// For the file at `path`.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            seen: Arc::default(),
        }
    }

    /// These are the names by which files come to the path now.
    pub(super) fn set_names(&self, names: Vec<OsString>) {
        self.seen().names = names;
    }

    /// The next file that had the name.
    pub(super) fn next(&self) -> Option<File> {
        self.seen().ahead.pop_front()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.seen().ahead.is_empty()
    }

    /// Whether a file has had the name that could not be opened in time; told once.
    pub(super) fn take_missed(&self) -> bool {
        std::mem::take(&mut self.seen().has_missed)
    }

    /// Whether a file has come, gone or been renamed in a watched directory; told once.
    pub(super) fn take_changed(&self) -> bool {
        std::mem::take(&mut self.seen().has_changed)
    }

    /// How often the kernel had more events than room for them, since the last call.
    pub(super) fn take_overflows(&self) -> u64 {
        std::mem::take(&mut self.seen().overflows)
    }

    /// Looks at an event.
    pub(super) fn see(&self, event: &Event) {
        let is_name = matches!(
            event.kind,
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
        );
        let is_overflow = event.need_rescan();
        if is_name || is_overflow {
            let mut seen = self.seen();
            seen.has_changed = true;
            seen.overflows += u64::from(is_overflow);
        }
        let is_new = match event.kind {
            EventKind::Create(CreateKind::File) => true,
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => false,
            _ => return,
        };
        let mut seen = self.seen();
        let mut names = event.paths.iter().filter_map(|path| path.file_name());
        if !names.any(|name| seen.names.iter().any(|known| known == name)) {
            return;
        }
        let Ok(file) = open_regular(&self.path) else {
            return;
        };
        let Ok(id) = file.metadata().map(|metadata| FileId::of(&metadata)) else {
            return;
        };
        // A file was made, and the name already leads to another one that was made after it.
        let is_skipped = is_new && seen.last == Some(id);
        let is_full = seen.ahead.len() == MAX_PENDING;
        seen.has_missed |= is_skipped || is_full;
        seen.last = Some(id);
        if !is_full && !is_skipped {
            seen.ahead.push_back(file);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there may be something to read. Opening and closing are no change, and some of it is
/// our own.
fn is_change(event: &notify::Result<Event>) -> bool {
    event.as_ref().map_or(true, |event| {
        event.need_rescan() || !matches!(event.kind, EventKind::Access(_))
    })
}

/// What it means that inotify refused.
fn refused(error: &notify::Error) -> Trouble {
    let errno = match &error.kind {
        ErrorKind::MaxFilesWatch => return Trouble::Watches,
        ErrorKind::Io(error) => Errno::from_io_error(error),
        _ => None,
    };
    match errno {
        Some(Errno::MFILE | Errno::NFILE) => Trouble::Instances,
        Some(Errno::NOSPC) => Trouble::Watches,
        _ => Trouble::Unwatchable,
    }
}

#[cfg(test)]
#[path = "watch_test.rs"]
mod tests;
