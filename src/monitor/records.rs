//! The files that the daemon writes: records that the detector writes, and the metrics.
//!
//! In: paths from the configuration. Out: open files for the detector, which may open none itself; metrics, which
//! replace the old ones atomically. Each trouble is reported once until it is over.
#![expect(clippy::disallowed_types, reason = "the files that [daemon] names")]

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::control::is_ours;
use super::report;
use crate::privsep::Record;

/// The files in the state directory for how far logs are read.
const CHECKPOINTS: [&str; 2] = ["followed.0", "followed.1"];
/// Where syslog(3) sends to.
const SYSLOG: &str = "/dev/log";

/// The paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Every event is appended here.
    pub event_log: Option<PathBuf>,
    /// They are appended here in knockd's words.
    pub knockd_log: Option<PathBuf>,
    /// They are sent to syslog(3) in knockd's words.
    pub knockd_syslog: bool,
    /// How far files are read is kept in this directory.
    pub state_dir: Option<PathBuf>,
    /// The counters are put here.
    pub metrics: Option<PathBuf>,
}

impl Files {
    /// The files for the detector, reopened: what a name means may have changed.
    pub fn open(&self) -> impl Iterator<Item = (Record, io::Result<OwnedFd>)> {
        let appended =
            |(record, path): (Record, Option<&PathBuf>)| Some((record, append_to(path?)));
        let files = [
            (Record::EventLog, self.event_log.as_ref()),
            (Record::KnockdLog, self.knockd_log.as_ref()),
        ];
        let syslog = self.knockd_syslog.then(|| (Record::KnockdSyslog, syslog()));
        files.into_iter().filter_map(appended).chain(syslog)
    }

    /// The files for how far logs are read: none, or two.
    pub(super) fn checkpoints(&self) -> Vec<(Record, Option<OwnedFd>)> {
        let opened = self.state_dir.iter().flat_map(|dir| {
            CHECKPOINTS.map(|name| {
                let path = dir.join(name);
                let file = open_checkpoint(&path);
                file.inspect_err(|error| report::not_written(&path, error))
            })
        });
        let opened: Result<Vec<_>, _> = opened.collect();
        let files = opened.unwrap_or_default().into_iter();
        files.map(|file| (Record::Checkpoint, Some(file))).collect()
    }

    /// The same; a file that could not be opened is reported.
    pub(super) fn opened(&self) -> Vec<(Record, Option<OwnedFd>)> {
        let opened = self.open().map(|(record, file)| {
            let file = file.inspect_err(|error| report::not_written(self.path(record), error));
            (record, file.ok())
        });
        opened.collect()
    }

    fn path(&self, record: Record) -> &Path {
        let path = match record {
            Record::EventLog => self.event_log.as_deref(),
            Record::KnockdLog => self.knockd_log.as_deref(),
            Record::KnockdSyslog | Record::Checkpoint => None,
        };
        path.unwrap_or(Path::new(SYSLOG))
    }
}

/// A socket to the syslog daemon, as syslog(3) has one. It never waits.
fn syslog() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(SYSLOG)?)?;
    Ok(socket)
}

fn open_checkpoint(path: &Path) -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let options = options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    Ok(options.mode(0o600).open(path)?.into())
}

/// Opens without waiting for a reader, should it be a FIFO: nothing closes meanwhile. Who writes there may wait.
fn append_to(path: &Path) -> io::Result<OwnedFd> {
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let directory = path.parent().and_then(|parent| parent.metadata().ok());
    // A link that others could have put there leads wherever they want root to write.
    flags.set(OFlags::NOFOLLOW, !directory.is_some_and(|it| is_ours(&it)));
    let mut options = OpenOptions::new();
    let options = options.append(true).create(true).mode(0o600);
    let file = options
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    fcntl_setfl(&file, OFlags::APPEND)?;
    Ok(file.into())
}

/// Puts `text` in the place of the file at `path` at once: a reader sees the old or the new one.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // What was left here may be a link to somewhere else.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&temporary)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
#[path = "records_test.rs"]
mod tests;
