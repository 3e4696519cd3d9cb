//! The config's files on disk: the only place that reads them.
//!
//! In: the path of the config. Out: the texts of it and of its drop-ins, in order, and the bytes of the files that it
//! names. A file that users other than root and ours can write is an error. A file that everybody can read is a
//! warning.
#![expect(
    clippy::disallowed_types,
    reason = "the configuration is read from files here and nowhere else"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind as IoKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::rights::{self, Role, Trusted};

use super::document::{MAX_BYTES, Text};
use super::report::{ErrorKind, Finding, Report, Where, error, warning};

const READABLE_BY_EVERYBODY: u32 = 0o004;
/// What to do without a config.
const WRITE: &str = "'logknock init' writes one; 'logknock demo' needs none";

/// The files of a config, as far as they could be read.
pub(super) struct Files {
    pub(super) texts: Vec<Text>,
    /// Whether these are all; if not, it has been reported why.
    pub(super) complete: bool,
}

/// Reads the config at `path` and its drop-ins.
pub(super) fn read(path: &Path, report: &Report) -> Files {
    let mut files = Files {
        texts: Vec::new(),
        complete: true,
    };
    files.add(path, report);
    if !files.complete || files.texts.first().is_some_and(Text::is_knockds) {
        return files;
    }
    let drop_ins = path.with_file_name("conf.d");
    match names_in(&drop_ins) {
        Ok(paths) => {
            distrust(&drop_ins, Role::Directory, report);
            for path in paths {
                files.add(&path, report);
            }
        }
        Err(why) if why.kind() == IoKind::NotFound => {}
        Err(why) => {
            files.complete = false;
            report.add(unreadable(&drop_ins, &why));
        }
    }
    files
}

impl Files {
    fn add(&mut self, path: &Path, report: &Report) {
        match read_file(path, report) {
            Ok(bytes) => self.texts.push(Text::new(&name(path), &bytes)),
            Err(found) => {
                self.complete = false;
                // Drop-ins were listed, so a missing file is the one that --config names.
                report.add(if path.exists() {
                    found
                } else {
                    found.fix(WRITE)
                });
            }
        }
    }
}

fn read_file(path: &Path, report: &Report) -> Result<Vec<u8>, Finding> {
    let refuse = |why: io::Error| unreadable(path, &why);
    let file = open(path).map_err(refuse)?;
    let metadata = file.metadata().map_err(refuse)?;
    if !metadata.is_file() {
        return Err(error(path, "not a regular file"));
    }
    let is_distrusted = distrust(path, Role::File, report);
    if !is_distrusted && metadata.mode() & READABLE_BY_EVERYBODY != 0 {
        let message = "can be read by everybody, and it holds secrets";
        let fix = format!("chmod 0600 {}", rights::quoted(path));
        report.add(warning(path, message).fix(fix));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, so that the parser sees that the file is too large.
    let limit = u64::try_from(MAX_BYTES + 1).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes).map_err(refuse)?;
    Ok(bytes)
}

fn unreadable(path: &Path, why: &io::Error) -> Finding {
    match why.kind() {
        IoKind::NotFound => error(path, "there is no such file").kind(ErrorKind::Missing),
        IoKind::PermissionDenied => {
            error(path, format!("cannot be read: {why}")).kind(ErrorKind::Permission)
        }
        _ => error(path, format!("cannot be read: {why}")),
    }
}

/// The bytes of a file that the config names at `at`: part of it, and held to the same rights.
pub(super) fn read_named(path: &Path, at: impl Into<Where>, report: &Report) -> Option<Vec<u8>> {
    if report.is_handed_over {
        let named = report.named.borrow();
        let found = named.iter().find(|(other, _)| *other == name(path));
        return found.map(|(_, bytes)| bytes.clone());
    }
    match read_file(path, report) {
        Ok(bytes) if bytes.len() > MAX_BYTES => {
            report.add(error(path, format!("larger than {} KiB", MAX_BYTES / 1024)));
            None
        }
        Ok(bytes) => {
            report.named.borrow_mut().push((name(path), bytes.clone()));
            Some(bytes)
        }
        Err(found) => {
            report.add(error(at, "the file that is named here cannot be used"));
            report.add(found);
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

/// The `*.toml` in `directory`, hidden ones excepted, in the order of their names.
fn names_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in directory.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if !name.starts_with(b".") && path.extension().is_some_and(|end| end == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reports that others could change what `path` leads to, if they could.
fn distrust(path: &Path, role: Role, report: &Report) -> bool {
    let flaws = rights::flaws(path, role, &Trusted::ours());
    for flaw in &flaws {
        let found = error(flaw.path(), flaw.to_string()).kind(ErrorKind::Permission);
        report.add(found.fix(flaw.fix()));
    }
    !flaws.is_empty()
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
#[path = "files_test.rs"]
mod tests;
