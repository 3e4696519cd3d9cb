//! How far a file is read, for a later process to go on there.
//!
//! In: where a reader stands. Out: a [`Checkpoint`], which proves whether a file is still the same. It holds no byte
//! of the file: a line holds the secret prefix. The digest is there against chance, not against an enemy; a
//! user who can write the log can do worse.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

/// Which file it is. Two looks that give the same are at the same file only while a descriptor of
/// it is open: a file system hands the number of a deleted file to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// Where the reading of one file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    device: u64,
    inode: u64,
    /// Everything before it was read.
    offset: u64,
    /// How many bytes before the offset the digest is of.
    known: usize,
    digest: u64,
    /// How many bytes before the offset a line begins that had no newline yet; `None` when that line
    /// was too long already.
    begun: Option<u64>,
}

impl Checkpoint {
    pub(super) fn new(id: FileId, offset: u64, before: &[u8], begun: Option<u64>) -> Self {
        Self {
            device: id.device,
            inode: id.inode,
            offset,
            known: before.len(),
            digest: digest(before),
            begun,
        }
    }

    /// Whether this file had the numbers that the checkpoint's had.
    pub(super) fn is_of(&self, id: FileId) -> bool {
        (self.device, self.inode) == (id.device, id.inode)
    }

    /// How far the file was read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the bytes begin that prove it, and how many they are; not more than were in the file.
    pub(super) fn proof(&self) -> (u64, usize) {
        let known = self
            .known
            .min(usize::try_from(self.offset).unwrap_or(usize::MAX));
        (self.offset - known as u64, known)
    }

    /// Whether these bytes are what stood there.
    pub(super) fn is_proven_by(&self, before: &[u8]) -> bool {
        before.len() == self.known && digest(before) == self.digest
    }

    /// Where the first line begins that was not handed over; `None` when that is within a line of which
    /// nothing is wanted.
    pub(super) fn next_line(&self) -> Option<u64> {
        self.begun.map(|begun| self.offset.saturating_sub(begun))
    }
}

/// FNV-1a, 64 bits: the same in every build, as a later one reads it.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |digest, &byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
#[path = "checkpoint_test.rs"]
mod tests;
