//! The logs that a command line names.
#![expect(clippy::disallowed_types, reason = "the files that the user named")]

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::UNIX_EPOCH;

use indicatif::ProgressBar;

use super::archive;
use super::exit::{Code, Failure};
use crate::clock;
use crate::engine::time::Time;

/// A log's content, unpacked, and when it was last written to, from the Unix epoch. `-` is standard
/// input, which is being written now.
pub(super) fn open(path: &Path) -> Result<(Box<dyn Read + Send>, Time), Failure> {
    open_seen(path, &ProgressBar::hidden())
}

/// The same; `bar` sees what is read of the file, before it is unpacked.
pub(super) fn open_seen(
    path: &Path,
    bar: &ProgressBar,
) -> Result<(Box<dyn Read + Send>, Time), Failure> {
    let (raw, written): (Box<dyn Read + Send>, _) = if path == Path::new("-") {
        (Box::new(bar.wrap_read(io::stdin())), clock::wall_now())
    } else {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.modified()?, file)));
        let (written, file) = opened.map_err(|error| unreadable(path, &error))?;
        let written = written.duration_since(UNIX_EPOCH).unwrap_or_default();
        let written = Time::default().after(written);
        (Box::new(bar.wrap_read(file)), written)
    };
    let content = archive::unpack(raw).map_err(|error| unreadable(path, &error))?;
    Ok((content, written))
}

/// A log that cannot be opened or read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(Code::Unavailable, format!("{path}: there is no such file"))
        }
        io::ErrorKind::PermissionDenied => Failure::new(
            Code::Permission,
            format!("{path}: permission denied; try as root, or as a member of its group"),
        ),
        _ => Failure::new(Code::Unavailable, format!("{path}: {error}")),
    }
}
