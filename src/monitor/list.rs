//! A file of one-time sequences: marks the used sequence, as knockd does.
//!
//! In: a line's number and what it must still say. Out: `#` as the first byte of that line, of every unused line
//! before it and of every line like it, on the disk. The file stays the same file: processes that have it open see
//! the marks, and no right to the directory is needed. The line that is used is marked last and nothing opens before
//! all is on the disk, so a crash in between only loses lines.

#![expect(
    clippy::disallowed_types,
    reason = "the file in which used one-time sequences are marked"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::NotStarted;

/// More than this of a list is not read.
const MAX_LIST: u64 = 4 * 1024 * 1024;

const MARK: u8 = b'#';

/// Marks line `number` (from 1) of the list at `path`, which must be `text`.
pub(super) fn mark(path: &Path, number: u32, text: &str) -> Result<(), NotStarted> {
    mark_in(path, number, text.as_bytes()).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => NotStarted::NotListed,
        _ => NotStarted::NotMarked(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error())),
    })
}

fn mark_in(path: &Path, number: u32, text: &[u8]) -> io::Result<()> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    // Another one of us must not use the same line at the same time; no caller waits for it.
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    let bytes = read(&file)?;
    for place in places(&bytes, number, text).ok_or(io::ErrorKind::InvalidData)? {
        file.write_all_at(&[MARK], place)?;
    }
    file.sync_data()
}

fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    file.take(MAX_LIST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The offsets that are to be marked, that of the line itself last; `None` when it does not exist.
fn places(list: &[u8], number: u32, text: &[u8]) -> Option<Vec<u64>> {
    let (mut places, mut place, mut own) = (Vec::new(), 0, None);
    for (line, count) in list.split_inclusive(|&byte| byte == b'\n').zip(1..) {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        let unused = !matches!(content.trim_ascii_start().first(), None | Some(&MARK));
        if count == number {
            own = (content == text && unused).then_some(place);
        } else if unused && (count < number || content == text) {
            places.push(place);
        }
        place += line.len() as u64;
    }
    places.push(own?);
    Some(places)
}

#[cfg(test)]
#[path = "list_test.rs"]
mod tests;
