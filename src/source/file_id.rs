//! Which file it is, whatever it is called.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

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
