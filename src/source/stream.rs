//! One open log file, read through its descriptor.
//!
//! In: the descriptor. Out: its lines, from a position on. It knows how far it has read and which
//! bytes stood just before: the marker. Each read begins with the marker's bytes, so one call finds
//! what is new *and* that the file was truncated, even if it has grown beyond the position since.
//! The marker holds more than one log line, because the ends of two SYN lines are alike. It never
//! looks at a path: see [`tail`](super::tail).
#![expect(clippy::disallowed_types, reason = "the followed file is read here")]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::assembler::{Assembler, Yield};
use super::checkpoint::{Checkpoint, FileId};

/// How many bytes before the position are compared at each read.
const MARKER: usize = 512;
/// How many bytes one stream may read before others have their turn, and its name is looked at again.
const TURN: usize = 128 << 10;
/// The most that is read of lines that were written meanwhile: the newest. What is fresh among it is behind it,
/// unless a log grows by megabytes a second.
const MOST_MISSED: u64 = 256 << 20;

/// What a read goes into; one for all streams of a source.
pub(super) struct Buffer(Box<[u8]>);

impl Buffer {
    pub(super) fn new() -> Self {
        Self(vec![0; MARKER + (64 << 10)].into())
    }
}

/// Whether a poll has read everything there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[must_use]
pub enum Pace {
    /// Yes.
    CaughtUp,
    /// No: poll again at once.
    More,
}

/// Where in a newly opened file to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// At its first byte.
    Start,
    /// At the first line that begins at this position or after it.
    At(u64),
}

/// The number of an I/O error; each one met here has one.
pub(super) fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// An open log file and how far it is read.
pub(super) struct Stream {
    file: File,
    id: FileId,
    position: u64,
    marker: Vec<u8>,
    lines: Assembler,
    active: Duration,
    /// The last read failed.
    is_failing: bool,
}

impl Stream {
    /// Takes over `file`, to be read from `begin` on.
    pub(super) fn new(file: File, id: FileId, begin: Begin, now: Duration) -> io::Result<Self> {
        let mut stream = Self {
            file,
            id,
            position: 0,
            marker: Vec::new(),
            lines: Assembler::default(),
            active: now,
            is_failing: false,
        };
        if let Begin::At(position) = begin {
            stream.skip_to(position)?;
        }
        Ok(stream)
    }

    /// Goes back to where an earlier process was, if this file of `size` bytes is still the same; whether it is.
    pub(super) fn resume(&mut self, checkpoint: &Checkpoint, size: u64) -> io::Result<bool> {
        let (start, known) = checkpoint.proof();
        if !checkpoint.is_of(self.id) || checkpoint.offset() > size || known > MARKER {
            return Ok(false);
        }
        let mut before = vec![0; known];
        let read = read_known(&self.file, &mut before, start)?;
        if !checkpoint.is_proven_by(read) {
            return Ok(false);
        }
        let next = checkpoint.next_line().unwrap_or(checkpoint.offset());
        self.lines = Assembler::default();
        self.skip_to(next.max(size.saturating_sub(MOST_MISSED)))?;
        if checkpoint.next_line() == Some(self.position) {
            // A line begins here, even where the byte before it is not a newline but a hole's NUL.
            self.lines = Assembler::default();
        }
        Ok(true)
    }

    /// Where the reading stands.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        let begun = self.lines.begun().map(|begun| begun as u64);
        Checkpoint::new(self.id, self.position, &self.marker, begun)
    }

    pub(super) fn id(&self) -> FileId {
        self.id
    }

    /// Whether a whole line has come from it.
    pub(super) fn has_lines(&self) -> bool {
        self.lines.lines() > 0
    }

    /// Whether it holds something that was not read, or may: its reads fail.
    pub(super) fn has_unread(&self) -> bool {
        let size = self.file.metadata().map(|metadata| metadata.len());
        self.is_failing || !matches!(size, Ok(size) if size <= self.position)
    }

    /// Whether it has given nothing for as long as `span`.
    pub(super) fn is_quiet(&self, now: Duration, span: Duration) -> bool {
        now.saturating_sub(self.active) >= span
    }

    /// Counts its quiet time from `now` on.
    pub(super) fn touch(&mut self, now: Duration) {
        self.active = now;
    }

    /// Continues with another descriptor of the same file.
    pub(super) fn replace(&mut self, file: File) {
        self.file = file;
    }

    /// Gives up a begun line.
    pub(super) fn discard(&mut self, out: &mut impl FnMut(Yield<'_>)) {
        self.lines.discard(out);
    }

    /// Reads what is new, at most a turn's worth.
    pub(super) fn read(
        &mut self,
        now: Duration,
        buffer: &mut Buffer,
        out: &mut impl FnMut(Yield<'_>),
    ) -> io::Result<Pace> {
        let read = self.read_turn(now, buffer, out);
        self.is_failing = read.is_err();
        read
    }

    fn read_turn(
        &mut self,
        now: Duration,
        buffer: &mut Buffer,
        out: &mut impl FnMut(Yield<'_>),
    ) -> io::Result<Pace> {
        let mut left = TURN;
        while left > 0 {
            let known = self.marker.len();
            let start = self.position - known as u64;
            let read = fill(&mut buffer.0, known, |space, done| {
                self.file.read_at(space, start + done)
            })?;
            match read.split_at_checked(known) {
                Some((marker, [])) if marker == self.marker => return Ok(Pace::CaughtUp),
                Some((marker, new)) if marker == self.marker => {
                    left = left.saturating_sub(new.len());
                    self.active = now;
                    self.take(new, out)?;
                }
                _ => {
                    left = left.saturating_sub(MARKER);
                    self.start_over(out);
                }
            }
        }
        Ok(Pace::More)
    }

    fn take(&mut self, new: &[u8], out: &mut impl FnMut(Yield<'_>)) -> io::Result<()> {
        self.lines.push(new, out);
        self.remember(new);
        if new.iter().all(|&byte| byte == 0) {
            self.skip_hole(out)?;
        }
        Ok(())
    }

    /// Moves the position and the marker behind `bytes`.
    fn remember(&mut self, bytes: &[u8]) {
        let last = bytes
            .get(bytes.len().saturating_sub(MARKER)..)
            .unwrap_or_default();
        let excess = (self.marker.len() + last.len()).saturating_sub(MARKER);
        self.marker.drain(..excess);
        self.marker.extend_from_slice(last);
        self.position = self.position.saturating_add(bytes.len() as u64);
    }

    /// The file was truncated: what it holds now is new.
    fn start_over(&mut self, out: &mut impl FnMut(Yield<'_>)) {
        self.lines.discard(out);
        self.marker.clear();
        self.position = 0;
    }

    /// Skips a hole at the position. A writer that does not append leaves it after a truncation. A file system that
    /// cannot tell lets it be read as NULs.
    fn skip_hole(&mut self, out: &mut impl FnMut(Yield<'_>)) -> io::Result<()> {
        const NULS: [u8; MARKER] = [0; MARKER];
        // The size first: what is written after this look is found as data by the seek.
        let size = self.file.metadata()?.len();
        let data = match rustix::fs::seek(&self.file, SeekFrom::Data(self.position)) {
            Ok(data) => data,
            Err(Errno::NXIO) => size,
            Err(_) => return Ok(()),
        };
        let hole = data.saturating_sub(self.position);
        if hole > 0 {
            self.lines.push_hole(hole, out);
            let length = usize::try_from(hole).ok();
            let nuls = length.and_then(|length| NULS.get(..length));
            self.remember(nuls.unwrap_or(&NULS));
            self.position = data;
        }
        Ok(())
    }

    /// Begins at `position` instead of 0, or at the next line if one has begun there.
    fn skip_to(&mut self, position: u64) -> io::Result<()> {
        let known = MARKER.min(usize::try_from(position).unwrap_or(MARKER));
        let mut marker = vec![0; known];
        let read = read_known(&self.file, &mut marker, position - known as u64)?;
        // Shorter than a moment ago: truncated since, so everything in it is new.
        if read.len() < known {
            return Ok(());
        }
        if marker.last().is_some_and(|&byte| byte != b'\n') {
            self.lines = Assembler::within_a_line();
        }
        self.marker = marker;
        self.position = position;
        Ok(())
    }
}

/// Fills `space` from `start` on, as far as the file goes.
fn read_known<'a>(file: &File, space: &'a mut [u8], start: u64) -> io::Result<&'a [u8]> {
    let known = space.len();
    fill(space, known, |space, done| {
        file.read_at(space, start + done)
    })
}

/// Reads until more than `enough` bytes are there, the space is full or the file ends. Neither a
/// signal nor a short read looks like the end. `read` gets the space and how much was read before.
fn fill(
    space: &mut [u8],
    enough: usize,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<&[u8]> {
    let mut done = 0;
    while done <= enough
        && let Some(free) = space.get_mut(done..)
        && !free.is_empty()
    {
        match read(free, done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(space.get(..done).unwrap_or_default())
}

#[cfg(test)]
#[path = "stream_test.rs"]
mod tests;
