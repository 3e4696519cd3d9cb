//! A file that holds a secret of its owner.
//!
//! In: a path. Out: its text, if only its owner could have read or written it. Rights are those of the open file, not
//! of whatever the name points to a moment later.
#![expect(
    clippy::disallowed_types,
    reason = "the client's own file is opened here"
)]

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use thiserror::Error;

use crate::config::one_time;
use crate::engine::totp::Secret;

/// Largest file, in bytes.
const MAX_BYTES: u64 = 256 * 1024;

const FOR_OTHERS: u32 = 0o077;

/// Why a file is not read.
#[derive(Debug, Error)]
pub enum PrivateFileError {
    /// It cannot be.
    #[error(transparent)]
    Unreadable(io::Error),
    /// A directory, a device, …
    #[error("not a file")]
    NotAFile,
    /// Neither root's nor this user's.
    #[error("belongs to user {0}, who may read and change it")]
    Owner(u32),
    /// Others may read or write it.
    #[error("others may read or write it (mode {0:03o}); chmod 600")]
    ForOthers(u32),
    /// More than anybody needs.
    #[error("larger than {} KiB", MAX_BYTES / 1024)]
    TooLarge,
    /// No text.
    #[error("not UTF-8")]
    NotUtf8,
    /// A secret, but not in base32.
    #[error("the secret is not base32")]
    NotBase32,
}

/// Reads the secret of a `totp` door, which stands there in base32.
pub fn read_secret(path: &Path) -> Result<Secret, PrivateFileError> {
    one_time::secret(&read(path)?).ok_or(PrivateFileError::NotBase32)
}

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
