//! Who else could write what we read, or put something in its place.
//!
//! In: a path. Out: its [`Flaw`]s. Looked at are the file, the directory it is in, and the same of
//! what a symlink leads to. A sticky directory is as good as one's own for a file that is there: others
//! can add to it and not replace. A group that has syslog in it alone may write (Ubuntu's `/var/log`).

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::machine::Machine;
use crate::source_spec::Pattern;

const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_READ: u32 = 0o004;
const OTHERS_ENTER: u32 = 0o001;
const STICKY: u32 = 0o1000;

/// Something others could use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It belongs to somebody unexpected.
    Owner { path: PathBuf, uid: u32 },
    /// Others can write it, or into it.
    Writable { path: PathBuf },
    /// A symlink that others could point elsewhere.
    Symlink { path: PathBuf },
    /// A file that is not there yet, where others could make it.
    Missing { path: PathBuf },
    /// Everybody can read it.
    Readable { path: PathBuf },
}

impl Flaw {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Owner { path, .. }
            | Self::Writable { path }
            | Self::Symlink { path }
            | Self::Missing { path }
            | Self::Readable { path } => path,
        }
    }

    pub(super) fn fix(&self) -> String {
        let path = self.path().display().to_string();
        let quoted = shlex::try_quote(&path).unwrap_or((&path).into());
        match self {
            Self::Owner { .. } => format!("chown root {quoted}"),
            Self::Writable { .. } => format!("chmod go-w {quoted}"),
            Self::Symlink { .. } => "name the file that it points to".to_owned(),
            Self::Missing { .. } => format!("make it: install -m 0640 /dev/null {quoted}"),
            Self::Readable { .. } => format!("chmod 0640 {quoted}"),
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner { uid, .. } => {
                return write!(f, "belongs to uid {uid}, who could open every door with it");
            }
            Self::Writable { .. } => {
                "can be written by others than its owner, who could open every door with it"
            }
            Self::Symlink { .. } => {
                "is a symlink in a directory that others can write: they could point it elsewhere"
            }
            Self::Missing { .. } => {
                "is not there yet, and others can write its directory: they could make it theirs"
            }
            Self::Readable { .. } => {
                "can be read by everybody, so the log prefix in it is no secret"
            }
        })
    }
}

/// The flaws of the log files that are there, and of their directory.
pub(super) fn of_logs(pattern: &Pattern, machine: &Machine) -> Vec<Flaw> {
    let directory = pattern.directory();
    let entries = directory.read_dir().into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    let mut logs: Vec<_> = names.filter(|name| pattern.means(name)).collect();
    logs.sort();
    let mut flaws: Vec<_> = of_directory(directory, machine).into_iter().collect();
    for flaw in logs
        .iter()
        .flat_map(|name| of_log(&directory.join(name), machine))
    {
        if !flaws.contains(&flaw) {
            flaws.push(flaw);
        }
    }
    flaws
}

/// The flaws of a log file, whether or not it is there yet.
pub(super) fn of_log(path: &Path, machine: &Machine) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut path = path.to_owned();
    let directory = Rights::of(parent(&path).metadata().ok());
    let is_shared = directory.is_some_and(|rights| rights.lets_others_write(machine));
    if path.is_symlink() {
        if is_shared {
            flaws.push(Flaw::Symlink { path: path.clone() });
        }
        flaws.extend(of_directory(parent(&path), machine));
        path = path.canonicalize().unwrap_or(path);
    }
    flaws.extend(of_directory(parent(&path), machine));
    flaws.dedup();
    match Rights::of(path.metadata().ok()) {
        Some(rights) => {
            flaws.extend(rights.flaws(&path, machine));
            if !is_within_reach(&path) {
                flaws.retain(|flaw| !matches!(flaw, Flaw::Readable { .. }));
            }
        }
        None if is_shared => flaws.push(Flaw::Missing { path }),
        None => {}
    }
    flaws
}

/// The flaws of the state directory, if it is there.
pub(super) fn of_state_dir(path: &Path, machine: &Machine) -> Vec<Flaw> {
    let only_us = Machine {
        log_owners: vec![0, machine.user],
        log_groups: Vec::new(),
        ..machine.clone()
    };
    let Some(rights) = Rights::of(path.metadata().ok()) else {
        return Vec::new();
    };
    let mut flaws = rights.flaws(path, &only_us);
    // It is listed by anybody and to no avail: its files are the owner's alone.
    flaws.retain(|flaw| !matches!(flaw, Flaw::Readable { .. }));
    flaws
}

fn of_directory(path: &Path, machine: &Machine) -> Option<Flaw> {
    let rights = Rights::of(path.metadata().ok())?;
    if rights.mode & STICKY != 0 && machine.log_owners.contains(&rights.owner) {
        return None;
    }
    let mut flaws = rights.flaws(path, machine).into_iter();
    flaws.find(|flaw| !matches!(flaw, Flaw::Readable { .. }))
}

/// Whether everybody may enter all the directories on the way to `path`.
fn is_within_reach(path: &Path) -> bool {
    let path = path.canonicalize().unwrap_or(path.to_owned());
    let mut directories = path.ancestors().skip(1);
    directories.all(|directory| {
        let rights = Rights::of(directory.metadata().ok());
        rights.is_none_or(|rights| rights.mode & OTHERS_ENTER != 0)
    })
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Owner, group and mode.
#[derive(Clone, Copy, Debug)]
struct Rights {
    owner: u32,
    group: u32,
    mode: u32,
}

impl Rights {
    fn of(metadata: Option<Metadata>) -> Option<Self> {
        metadata.map(|metadata| Self {
            owner: metadata.uid(),
            group: metadata.gid(),
            mode: metadata.mode(),
        })
    }

    fn lets_others_write(self, machine: &Machine) -> bool {
        let group_writes =
            self.mode & GROUP_WRITES != 0 && !machine.log_groups.contains(&self.group);
        group_writes || self.mode & OTHERS_WRITE != 0
    }

    fn flaws(self, path: &Path, machine: &Machine) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        let path = path.to_owned();
        if !machine.log_owners.contains(&self.owner) {
            let (path, uid) = (path.clone(), self.owner);
            flaws.push(Flaw::Owner { path, uid });
        }
        if self.lets_others_write(machine) {
            flaws.push(Flaw::Writable { path });
        } else if self.mode & OTHERS_READ != 0 {
            flaws.push(Flaw::Readable { path });
        }
        flaws
    }
}
