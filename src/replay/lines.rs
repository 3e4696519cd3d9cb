//! A finished log → its lines.
//!
//! In: anything that can be read, in big pieces. Out: each line without its newline, with its number;
//! the last one also when it has no newline, as a finished file may end so (a followed one may not).
//! A line over the limit is never held: it is skipped to its newline and given as too long.

use std::io::{self, Read};

use memchr::memchr;

/// The longest line that is read, in bytes: eight times what the kernel prints.
pub const MAX_LINE: usize = 8 * 1024;
/// How much is read at a time.
const PIECE: usize = 1024 * 1024;

/// One line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Its bytes, without the newline.
    Whole(&'a [u8]),
    /// Longer than [`MAX_LINE`].
    TooLong,
}

/// The lines of a log.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// The part of the buffer that has not been given yet.
    start: usize,
    end: usize,
    number: u64,
    finished: bool,
}

impl<R: Read> Lines<R> {
    /// The lines of `input`.
    pub fn new(input: R) -> Self {
        Self {
            input,
            buffer: vec![0; PIECE],
            start: 0,
            end: 0,
            number: 0,
            finished: false,
        }
    }

    /// The number of the line given last, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next line; `None` after the last.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut too_long = false;
        loop {
            let rest = self.buffer.get(self.start..self.end).unwrap_or_default();
            if let Some(length) = memchr(b'\n', rest) {
                let line = self.start..self.start + length;
                self.start += length + 1;
                return Ok(self.line(line, too_long));
            }
            if self.finished {
                let line = self.start..self.end;
                self.start = self.end;
                return Ok(if line.is_empty() && !too_long {
                    None
                } else {
                    self.line(line, too_long)
                });
            }
            if rest.len() > MAX_LINE {
                too_long = true;
                self.start = self.end;
            }
            self.fill()?;
        }
    }

    fn line(&mut self, range: std::ops::Range<usize>, too_long: bool) -> Option<Line<'_>> {
        self.number += 1;
        let bytes = self.buffer.get(range)?;
        Some(if too_long || bytes.len() > MAX_LINE {
            Line::TooLong
        } else {
            Line::Whole(bytes)
        })
    }

    /// Reads one more piece behind what is left.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        match self.input.read(room) {
            Ok(0) => self.finished = true,
            Ok(count) => self.end += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "lines_test.rs"]
mod tests;
