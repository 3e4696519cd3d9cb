//! The config's files on disk: the only place that reads them.
//!
//! In: the path of the config. Out: its text and those of `conf.d/*.toml` beside it, in the order of
//! their names; a knockd.conf has none. Whoever can write one of them can open every door, so a file or directory that
//! others than root and this user could change is reported as an error. Rights are those of the open
//! file, not of whatever the name points to a moment later. It knows nothing of TOML.

#![expect(
    clippy::disallowed_types,
    reason = "the config is read here and nowhere else"
)]

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::problem::Problem;
use super::report::{Report, Span};
use super::text::{MAX_BYTES, Text};

/// Mode bits.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const READABLE_BY_EVERYBODY: u32 = 0o004;
const STICKY: u32 = 0o1000;

/// The files of a config, as far as they could be read.
pub(super) struct Files {
    pub(super) texts: Vec<Text>,
    /// Whether these are all; if not, it has been reported why.
    pub(super) complete: bool,
}

/// Reads the config at `path` and its drop-ins.
pub(super) fn read(path: &Path, report: &mut Report) -> Files {
    let mut files = Files {
        texts: Vec::new(),
        complete: true,
    };
    files.add(path, report);
    if !files.complete {
        return files;
    }
    for directory in directories_of(path) {
        check(&directory, Role::Parent, report);
    }
    if files.texts.first().is_some_and(Text::is_knockds) {
        return files;
    }
    let drop_ins = directory_of(path).join("conf.d");
    match names_in(&drop_ins) {
        Ok(paths) => {
            check(&drop_ins, Role::DropIns, report);
            for path in paths {
                files.add(&path, report);
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            files.complete = false;
            report.add_file(&name(&drop_ins), Problem::Unreadable(error));
        }
    }
    files
}

impl Files {
    fn add(&mut self, path: &Path, report: &mut Report) {
        match read_file(path, report) {
            Ok(text) => self.texts.push(text),
            Err(problem) => {
                self.complete = false;
                report.add_file(&name(path), problem);
            }
        }
    }
}

fn read_file(path: &Path, report: &mut Report) -> Result<Text, Problem> {
    let problem = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => Problem::Missing,
        _ => Problem::Unreadable(error),
    };
    let file = open(path).map_err(problem)?;
    let metadata = file.metadata().map_err(problem)?;
    if !metadata.is_file() {
        return Err(Problem::NotAFile);
    }
    for problem in distrust(&Rights::of(&metadata), Role::File, &name(path)) {
        report.add_file(&name(path), problem);
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, so that the parser sees that it is too much.
    let limit = u64::try_from(MAX_BYTES + 1).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes).map_err(problem)?;
    Ok(Text::new(&name(path), &bytes))
}

/// The bytes of a file that the config names at `at`: part of it, and held to the same rights.
pub(super) fn read_named(path: &Path, at: Span, report: &mut Report) -> Option<Vec<u8>> {
    if report.is_handed_over {
        let mut named = report.named.iter();
        let found = named.find(|(other, _)| *other == name(path));
        return found.map(|(_, bytes)| bytes.clone());
    }
    let bytes = read_from_disk(path, at, report)?;
    report.named.push((name(path), bytes.clone()));
    Some(bytes)
}

fn read_from_disk(path: &Path, at: Span, report: &mut Report) -> Option<Vec<u8>> {
    match read_file(path, report) {
        Ok(text) if text.content.len() > MAX_BYTES => {
            report.add_file(&name(path), Problem::TooLarge);
            None
        }
        Ok(text) => Some(text.content.into_bytes()),
        Err(problem) => {
            report.add(at, Problem::Named);
            report.add_file(&name(path), problem);
            None
        }
    }
}

/// Opens without waiting for a writer, should it be a FIFO.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// The directory that holds `path` and, if that is a symlink, the one that holds its target.
fn directories_of(path: &Path) -> Vec<PathBuf> {
    let mut directories = vec![directory_of(path)];
    if path.is_symlink()
        && let Ok(target) = path.canonicalize()
    {
        directories.push(directory_of(&target));
    }
    directories
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The `*.toml` in `directory`, hidden ones excepted, in the order of their names.
fn names_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in directory.read_dir()? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden
            && path
                .extension()
                .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn check(directory: &Path, role: Role, report: &mut Report) {
    match directory.metadata() {
        Ok(metadata) => {
            for problem in distrust(&Rights::of(&metadata), role, &name(directory)) {
                report.add_file(&name(directory), problem);
            }
        }
        Err(error) => report.add_file(&name(directory), Problem::Unreadable(error)),
    }
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

/// What a file or directory is to the config.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Holds a part of it.
    File,
    /// Holds the file: who writes there can put another in its place, unless it is sticky.
    Parent,
    /// Holds whatever is put there.
    DropIns,
}

/// Who may change something.
struct Rights {
    owner: u32,
    mode: u32,
    /// The user that we run as.
    user: u32,
}

impl Rights {
    fn of(metadata: &Metadata) -> Self {
        Self {
            owner: metadata.uid(),
            mode: metadata.mode(),
            user: rustix::process::geteuid().as_raw(),
        }
    }
}

/// Why something with these rights is not to be trusted.
fn distrust(rights: &Rights, role: Role, path: &str) -> Vec<Problem> {
    let path = path.to_owned();
    let mut problems = Vec::new();
    if ![0, rights.user].contains(&rights.owner) {
        let (uid, path) = (rights.owner, path.clone());
        problems.push(Problem::Owner { uid, path });
    }
    let is_guarded = role == Role::Parent && rights.mode & STICKY != 0;
    if rights.mode & WRITABLE_BY_OTHERS != 0 && !is_guarded {
        problems.push(Problem::WritableByOthers { path });
    } else if role == Role::File && rights.mode & READABLE_BY_EVERYBODY != 0 {
        problems.push(Problem::ReadableByOthers { path });
    }
    problems
}

#[cfg(test)]
#[path = "files_test.rs"]
mod tests;
