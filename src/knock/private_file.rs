//! A file that holds a secret of its owner.
//!
//! In: a path. Out: its text, if nobody but its owner could have read or written it. Rights are
//! those of the open file, not of whatever the name points to a moment later.
#![expect(
    clippy::disallowed_types,
    reason = "the client's own file is opened here"
)]

use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Largest file, in bytes.
const MAX_BYTES: u64 = 256 * 1024;

const FOR_OTHERS: u32 = 0o077;

/// Why a file is not read.
#[derive(Debug)]
pub enum PrivateFileError {
    /// It cannot be.
    Unreadable(io::Error),
    /// A directory, a device, …
    NotAFile,
    /// Neither root's nor this user's.
    Owner(u32),
    /// Others may read or write it.
    ForOthers(u32),
    /// More than anybody needs.
    TooLarge,
    /// No text.
    NotUtf8,
}

impl fmt::Display for PrivateFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "{error}"),
            Self::NotAFile => f.write_str("not a file"),
            Self::Owner(uid) => write!(f, "belongs to user {uid}, who may read and change it"),
            Self::ForOthers(mode) => {
                write!(
                    f,
                    "others may read or write it (mode {mode:03o}); chmod 600"
                )
            }
            Self::TooLarge => write!(f, "larger than {} KiB", MAX_BYTES / 1024),
            Self::NotUtf8 => f.write_str("not UTF-8"),
        }
    }
}

impl std::error::Error for PrivateFileError {}

/// Reads it.
pub(super) fn read(path: &Path) -> Result<String, PrivateFileError> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(PrivateFileError::Unreadable)?;
    let metadata = file.metadata().map_err(PrivateFileError::Unreadable)?;
    require_private(&metadata)?;
    read_text(&file)
}

fn require_private(metadata: &Metadata) -> Result<(), PrivateFileError> {
    if !metadata.is_file() {
        return Err(PrivateFileError::NotAFile);
    }
    if ![0, rustix::process::geteuid().as_raw()].contains(&metadata.uid()) {
        return Err(PrivateFileError::Owner(metadata.uid()));
    }
    if metadata.mode() & FOR_OTHERS != 0 {
        return Err(PrivateFileError::ForOthers(metadata.mode() & 0o777));
    }
    Ok(())
}

fn read_text(file: &File) -> Result<String, PrivateFileError> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(PrivateFileError::Unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(PrivateFileError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| PrivateFileError::NotUtf8)
}
