//! Wake-ups when something happens in the directories of a followed file.
//!
//! In: inotify's events, through `notify`. Out: at most one waiting wake-up, whatever happened; who
//! is woken looks for itself, so a lost event or an overflow of the queue is a wake-up like any
//! other. The directories are watched, never the file: a watch on a file stays with it when it is
//! renamed. A directory that is removed takes its watch along without an event, hence
//! [`arm`](Watch::arm) at every tick; it holds the directory open, so that a new one cannot have
//! its inode number.
#![expect(
    clippy::disallowed_types,
    reason = "the watched directories are held open here"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::file_id::FileId;
use super::lookout::Lookout;
use super::{POLL, Trouble};

/// How often everything is looked at where inotify works.
const TICK: Duration = Duration::from_secs(1);

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
    lookout: Lookout,
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
            lookout: Lookout::new(path.clone()),
            path,
            wake,
            watcher: None,
            armed: Vec::new(),
            trouble: None,
        }
    }

    /// The files that have got the name meanwhile.
    pub(super) fn lookout(&self) -> &Lookout {
        &self.lookout
    }

    /// Why the file is polled, if it is.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// How often to look even if nothing wakes.
    pub(super) fn interval(&self) -> Duration {
        if self.trouble.is_some() { POLL } else { TICK }
    }

    /// Watches the directories that the path leads through now, and no others. One that is not
    /// there is the file's trouble, not the watch's.
    pub(super) fn arm(&mut self) {
        let target = fs::canonicalize(&self.path).ok();
        let paths = [Some(self.path.as_path()), target.as_deref()];
        let names = paths.iter().flatten().filter_map(|path| path.file_name());
        self.lookout.set_names(names.map(Into::into).collect());
        let wanted = directories(&paths);
        let remote = wanted.iter().find_map(|directory| remote(&directory.pin));
        let watching = self.watcher().and_then(|()| self.watch(wanted));
        self.trouble = watching.err().or(remote.map(Trouble::Remote));
    }

    /// Makes the watcher, unless it is there.
    fn watcher(&mut self) -> Result<(), Trouble> {
        if self.watcher.is_none() {
            let (wake, lookout) = (self.wake.clone(), self.lookout.clone());
            let handler = move |event: notify::Result<Event>| {
                if let Ok(event) = &event {
                    lookout.see(event);
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

/// The kind of file system behind an open directory, if its writers may be elsewhere.
fn remote(directory: &File) -> Option<&'static str> {
    let found = rustix::fs::fstatfs(directory).ok()?;
    remote_kind(i128::from(found.f_type))
}

/// The name of a file system whose writers may be elsewhere. The word it is told by is signed on
/// one machine and unsigned on another; the magic number is its lower half.
fn remote_kind(word: i128) -> Option<&'static str> {
    let magic = word & 0xffff_ffff;
    REMOTE
        .into_iter()
        .find_map(|(known, name)| (i128::from(known) == magic).then_some(name))
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
mod tests {
    use notify::event::{AccessKind, AccessMode, CreateKind, DataChange, Flag, ModifyKind};

    use super::*;

    #[test]
    fn opening_a_file_is_no_change_but_an_overflow_is() {
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        assert!(!is_change(&Ok(Event::new(opened))));
        assert!(is_change(&Ok(Event::new(written))));
        assert!(is_change(&Ok(Event::new(EventKind::Create(
            CreateKind::File
        )))));
        assert!(is_change(&Ok(
            Event::new(EventKind::Other).set_flag(Flag::Rescan)
        )));
        assert!(is_change(&Err(notify::Error::generic("lost"))));
    }

    #[test]
    fn used_up_instances_and_watches_are_told_apart() {
        let used_up = notify::Error::io(Errno::MFILE.into());
        assert_eq!(refused(&used_up), Trouble::Instances);
        let full = notify::Error::new(ErrorKind::MaxFilesWatch);
        assert_eq!(refused(&full), Trouble::Watches);
        let missing = notify::Error::io(Errno::NOSYS.into());
        assert_eq!(refused(&missing), Trouble::Unwatchable);
    }

    fn directories_of(path: &Path) -> usize {
        let target = fs::canonicalize(path).ok();
        directories(&[Some(path), target.as_deref()]).len()
    }

    #[test]
    fn the_directory_of_a_link_and_of_its_target_are_both_watched_once() {
        let dir = tempfile::tempdir().unwrap();
        let (near, far) = (dir.path().join("near"), dir.path().join("far"));
        fs::create_dir(&near).unwrap();
        fs::create_dir(&far).unwrap();
        let link = near.join("kern.log");
        std::os::unix::fs::symlink("../far/target", &link).unwrap();
        assert_eq!(directories_of(&link), 1, "the target is missing");
        std::os::unix::fs::symlink("far", far.join("target")).unwrap();
        std::os::unix::fs::symlink("target", near.join("plain")).unwrap();
        fs::create_dir(near.join("target")).unwrap();
        assert_eq!(
            directories_of(&near.join("plain")),
            1,
            "one directory for both"
        );
        fs::remove_file(far.join("target")).unwrap();
        fs::create_dir(far.join("target")).unwrap();
        assert_eq!(directories_of(&link), 2);
    }

    #[test]
    fn a_file_system_of_other_hosts_is_known_by_its_number_of_either_sign() {
        assert_eq!(remote_kind(0x6969), Some("NFS"));
        assert_eq!(remote_kind(0xff53_4d42), Some("CIFS"));
        assert_eq!(remote_kind(0xff53_4d42 - (1 << 32)), Some("CIFS"));
        assert_eq!(remote_kind(0xef53), None);
    }

    #[test]
    fn a_local_file_system_is_not_taken_for_a_remote_one() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(remote(&hold(dir.path()).unwrap().pin), None);
    }
}
