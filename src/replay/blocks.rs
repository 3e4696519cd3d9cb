//! A finished log → blocks of whole lines.
//!
//! In: anything that can be read, in big pieces. Out: blocks that are cut behind a newline; only the last one may end
//! without, as a finished file may (a followed one may not). What is read comes at once, so that a pipe that brings
//! little is not waited for. A line over the limit is never held: the next block has its end, and reports it.

use std::io::{self, Read};

use memchr::memrchr;

/// The longest line that is read, in bytes: eight times what the kernel prints.
pub(super) const MAX_LINE: usize = 8 * 1024;

/// How much is read at a time: some are under way at once, and each with its findings fits into a core's cache.
pub(super) const PIECE: usize = 256 * 1024;

/// Whole lines.
#[derive(Debug, Default)]
pub(super) struct Block {
    room: Vec<u8>,
    end: usize,
    /// Its first line is the end of a line that is too long.
    pub(super) begins_too_long: bool,
}

impl Block {
    /// The lines with their newlines.
    pub(super) fn bytes(&self) -> &[u8] {
        self.room.get(..self.end).unwrap_or_default()
    }
}

/// The blocks of a log.
pub(super) struct Blocks {
    input: Box<dyn Read + Send>,
    piece: usize,
    /// The begin of a line whose end was not in the last block; at most [`MAX_LINE`] bytes …
    rest: Vec<u8>,
    /// … or of a longer line that has been dropped.
    too_long: bool,
    finished: bool,
}

impl Blocks {
    /// The blocks of `input`, which is read `piece` bytes at a time.
    pub(super) fn new(input: Box<dyn Read + Send>, piece: usize) -> Self {
        Self {
            input,
            piece,
            rest: Vec::new(),
            too_long: false,
            finished: false,
        }
    }

    /// Fills `block` with the next lines; `false` after the last.
    pub(super) fn fill(&mut self, block: &mut Block) -> io::Result<bool> {
        let Block { room, end, .. } = block;
        room.resize(self.piece + MAX_LINE, 0);
        *end = self.rest.len();
        if let Some(start) = room.get_mut(..*end) {
            start.copy_from_slice(&self.rest);
        }
        self.rest.clear();
        while !self.finished {
            let free = room.get_mut(*end..*end + self.piece).unwrap_or_default();
            let count = match self.input.read(free) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.finished = count == 0;
            let read = free.get(..count).unwrap_or_default();
            if let Some(newline) = memrchr(b'\n', read) {
                self.rest
                    .extend_from_slice(read.get(newline + 1..).unwrap_or_default());
                *end += newline + 1;
                block.begins_too_long = std::mem::take(&mut self.too_long);
                if self.rest.len() > MAX_LINE {
                    self.rest.clear();
                    self.too_long = true;
                }
                return Ok(true);
            }
            *end += count;
            if self.too_long || *end > MAX_LINE {
                self.too_long = true;
                *end = 0;
            }
        }
        block.begins_too_long = std::mem::take(&mut self.too_long);
        Ok(*end > 0 || block.begins_too_long)
    }
}

#[cfg(test)]
#[path = "blocks_test.rs"]
mod tests;
