//! A config file before anybody has understood it.

use super::knockd;

/// Longest config file, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// A file's name and text, as read.
pub(super) struct Text {
    /// As it is named in diagnostics.
    pub(super) name: String,
    /// Its text; what is not UTF-8 is replaced.
    pub(super) content: String,
    /// The first byte that was not UTF-8.
    pub(super) not_utf8: Option<usize>,
}

impl Text {
    /// The file called `name` that holds `bytes`.
    pub(super) fn new(name: &str, bytes: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            not_utf8: str::from_utf8(bytes).err().map(|error| error.valid_up_to()),
            content: String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    /// Whether it is to be read as knockd reads it.
    pub(super) fn is_knockds(&self) -> bool {
        knockd::is_knockd(&self.name, &self.content)
    }
}
