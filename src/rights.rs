//! Which other users could change what a path leads to.
//!
//! In: a path, and whom what stands on the way may belong to. Out: its [`Flaw`]s. Looked at are the file, every
//! directory from `/` to it, and every symlink on the way. A sticky directory protects an existing file like a
//! private one: other users can add files and cannot replace them.
#![expect(
    clippy::disallowed_methods,
    reason = "the kernel tells in a file which users a namespace has"
)]

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_READ: u32 = 0o004;
const OTHERS_ENTER: u32 = 0o001;
const STICKY: u32 = 0o1000;

/// Most symlinks on the way to a file (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// The users that files may belong to, and the groups that may write them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// Users.
    pub owners: Vec<u32>,
    /// Groups.
    pub groups: Vec<u32>,
}

impl Trusted {
    /// Root and the user that we run as; no group.
    pub fn ours() -> Self {
        Self {
            owners: vec![0, rustix::process::geteuid().as_raw()],
            groups: Vec::new(),
        }
    }
}

/// What is checked of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What is there.
    File,
    /// Whatever is put into it: it being sticky is not enough.
    Directory,
}

/// A flaw that other users could exploit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Flaw {
    /// It belongs to somebody unexpected.
    #[error("belongs to uid {uid}, who could use it to open every door")]
    Owner {
        /// What.
        path: PathBuf,
        /// To whom.
        uid: u32,
    },
    /// Others can write it, or into it.
    #[error("is writable by other users, who could use it to open every door")]
    Writable(PathBuf),
    /// A symlink that others could point elsewhere.
    #[error("is a symlink in a directory that others can write: they could point it elsewhere")]
    Symlink(PathBuf),
    /// A file that does not exist yet, in a directory where others could create it.
    #[error("does not exist yet, and others can write its directory and could create it first")]
    Missing(PathBuf),
}

impl Flaw {
    /// What it is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Owner { path, .. }
            | Self::Writable(path)
            | Self::Symlink(path)
            | Self::Missing(path) => path,
        }
    }

    /// What to do.
    pub fn fix(&self) -> String {
        let quoted = quoted(self.path());
        match self {
            Self::Owner { .. } => format!("chown root {quoted}"),
            Self::Writable(_) => format!("chmod go-w {quoted}"),
            Self::Symlink(_) => "name the file that it points to".to_owned(),
            Self::Missing(_) => format!("create it: install -m 0640 /dev/null {quoted}"),
        }
    }
}

/// What is wrong on the way to `path`, and with it.
pub fn flaws(path: &Path, role: Role, trusted: &Trusted) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut add = |flaw: Flaw| {
        if !flaws.contains(&flaw) {
            flaws.push(flaw);
        }
    };
    let entries = entries(path);
    let last = entries.len();
    for (entry, number) in entries.into_iter().zip(1..) {
        let parent = entry.parent().and_then(|parent| parent.metadata().ok());
        let is_shared = parent.is_some_and(|parent| is_written_by_others(&parent, trusted));
        match entry.symlink_metadata() {
            Err(_) if is_shared => add(Flaw::Missing(entry)),
            Err(_) => {}
            Ok(found) if found.is_symlink() => {
                if is_shared {
                    add(Flaw::Symlink(entry));
                }
            }
            Ok(found) => {
                let is_whole = role == Role::File || number != last;
                let is_sticky = is_whole && found.is_dir() && found.mode() & STICKY != 0;
                let is_above = number != last && outer_root() == Some(found.uid());
                if !is_above && !trusted.owners.contains(&found.uid()) {
                    let (path, uid) = (entry.clone(), found.uid());
                    add(Flaw::Owner { path, uid });
                }
                if !is_sticky && is_written_by_others(&found, trusted) {
                    add(Flaw::Writable(entry));
                }
            }
        }
    }
    flaws
}

/// In a user namespace, the number that the machine's own root has there: the number of every user outside the
/// namespace, so it is accepted only for directories on the way.
fn outer_root() -> Option<u32> {
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    let whole_machine = ["0", "0", "4294967295"];
    let is_namespace = map.split_whitespace().ne(whole_machine);
    let root = Path::new("/").metadata().ok()?;
    is_namespace.then(|| root.uid())
}

/// Whether everybody can read the file at `path`, and enter all the directories on the way to it.
pub fn is_read_by_everybody(path: &Path) -> bool {
    let path = path.canonicalize().unwrap_or(path.to_owned());
    let has = |path: &Path, bit: u32| path.metadata().is_ok_and(|found| found.mode() & bit != 0);
    let mut directories = path.ancestors().skip(1);
    has(&path, OTHERS_READ) && directories.all(|directory| has(directory, OTHERS_ENTER))
}

/// `path` as one word of a shell's command line.
pub fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let quoted = shlex::try_quote(&path).map(std::borrow::Cow::into_owned);
    quoted.unwrap_or(path)
}

fn is_written_by_others(found: &Metadata, trusted: &Trusted) -> bool {
    let group = found.mode() & GROUP_WRITES != 0 && !trusted.groups.contains(&found.gid());
    group || found.mode() & OTHERS_WRITE != 0
}

/// Everything from `/` to what `path` leads to: directories, symlinks, and what is at the end.
fn entries(path: &Path) -> Vec<PathBuf> {
    let path = std::path::absolute(path).unwrap_or(path.to_owned());
    let mut ahead = names(&path);
    let mut at = PathBuf::from("/");
    let mut entries = vec![at.clone()];
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        let entry = at.join(name);
        entries.push(entry.clone());
        match entry.read_link() {
            Ok(target) if links < MAX_LINKS => {
                links += 1;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                ahead.extend(names(&target));
            }
            _ => at = entry,
        }
    }
    entries
}

/// The names in `path`, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    let mut names: Vec<_> = names.collect();
    names.reverse();
    names
}

#[cfg(test)]
#[path = "rights_test.rs"]
mod tests;
