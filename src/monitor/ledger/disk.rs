//! The few things the ledger asks of a file system, and the real one.
//!
//! In: names of files in the state directory, bytes. Out: what the kernel answered. No decision is
//! taken here, so that a test can put a disk underneath that fails, tears and forgets.
#![expect(
    clippy::disallowed_types,
    reason = "the state directory's files are opened here"
)]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;

use super::OpenError;
use crate::clock;

/// How long the lock is waited for. When its holder is killed, a child of it that is still between fork
/// and exec has it a moment longer.
const LOCK_TIMEOUT: Duration = Duration::from_millis(250);

/// One directory.
pub(in crate::monitor) trait Disk: Send {
    /// What distinguishes it from every other one of the machine, if it is on a disk at all.
    fn mark(&self) -> Option<&str> {
        None
    }
    /// Appends at most `limit` bytes of a file; on an error, what could be read before it.
    fn read(&mut self, name: &str, limit: u64, into: &mut Vec<u8>) -> io::Result<()>;
    /// The names in the directory.
    fn names(&mut self) -> io::Result<Vec<String>>;
    /// A new, empty file, which replaces any of that name.
    fn create(&mut self, name: &str) -> io::Result<Box<dyn Journal>>;
    /// Another name for a file.
    fn link(&mut self, file: &str, name: &str) -> io::Result<()>;
    /// Renames it atomically, and replaces any file of that name.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Takes a name away.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Returns when the names are on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that only grows.
pub(in crate::monitor) trait Journal: Write + Send {
    /// Returns when everything written is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl Journal for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// The state directory, which is ours as long as this lives.
pub(super) struct StateDir {
    path: PathBuf,
    /// Device and inode: they stay the same by whatever path we are started.
    mark: String,
    /// None where the disk is read-only and has no file for it.
    lock: Option<File>,
}

impl StateDir {
    /// Makes the directory if need be, and takes its lock.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |error| OpenError::failed(path, error);
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if !path.is_dir() => return Err(failed(error)),
            _ => {}
        }
        let directory = fs::metadata(path).map_err(failed)?;
        let owners = [0, geteuid().as_raw()];
        if !directory.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        if directory.mode() & 0o022 != 0 || !owners.contains(&directory.uid()) {
            return Err(OpenError::Insecure(path.into()));
        }
        Ok(Self {
            lock: lock(path)?,
            path: path.to_owned(),
            mark: format!("{:x}:{:x}", directory.dev(), directory.ino()),
        })
    }
}

impl Drop for StateDir {
    /// Closing the file would do, but for a child between fork and exec, which still has it open.
    fn drop(&mut self) {
        if let Some(lock) = &self.lock {
            let _ = flock(lock, FlockOperation::Unlock);
        }
    }
}

/// A lock file in `dir` that names our process, for an instance that finds it locked. A disk that takes nothing is no
/// reason to leave doors open: there the file need not be written, nor be there.
fn lock(dir: &Path) -> Result<Option<File>, OpenError> {
    let failed = |error| OpenError::failed(dir, error);
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let opened = options.mode(0o600).open(&path).or_else(|error| {
        let takes_nothing = [
            io::ErrorKind::ReadOnlyFilesystem,
            io::ErrorKind::StorageFull,
            io::ErrorKind::QuotaExceeded,
        ];
        if takes_nothing.contains(&error.kind()) {
            File::open(&path)
        } else {
            Err(error)
        }
    });
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let until = clock::monotonic_now().after(LOCK_TIMEOUT);
    while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(failed(error.into()));
        }
        if clock::monotonic_now() < until {
            thread::park_timeout(LOCK_TIMEOUT / 50);
            continue;
        }
        let mut pid = String::new();
        let _ = (&mut file).take(16).read_to_string(&mut pid);
        return Err(OpenError::Locked(pid.trim().parse().ok()));
    }
    // It is for people; on a full disk it is missing.
    let _ = file.set_len(0);
    let _ = file
        .rewind()
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(Some(file))
}

impl Disk for StateDir {
    fn mark(&self) -> Option<&str> {
        Some(&self.mark)
    }

    fn read(&mut self, name: &str, limit: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let file = File::open(self.path.join(name))?;
        file.take(limit).read_to_end(into).map(drop)
    }

    fn names(&mut self) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
        Ok(fs::read_dir(&self.path)?.filter_map(name).collect())
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn Journal>> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let file = options.append(true).create_new(true).mode(0o600);
        Ok(Box::new(file.open(path)?))
    }

    fn link(&mut self, file: &str, name: &str) -> io::Result<()> {
        fs::hard_link(self.path.join(file), self.path.join(name))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}
