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
mod tests {
    use super::*;

    /// Gives its bytes `step` at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(room.len());
            room[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn lines(text: &[u8], step: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::new(Drip(text, step));
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            all.push(match line {
                Line::Whole(bytes) => Some(bytes.to_vec()),
                Line::TooLong => None,
            });
        }
        assert_eq!(lines.number(), all.len() as u64);
        all
    }

    #[test]
    fn lines_do_not_depend_on_how_they_come() {
        for step in [1, 2, 3, 100] {
            assert_eq!(
                lines(b"one\n\ntwo\r\nend", step),
                [&b"one"[..], b"", b"two\r", b"end"].map(|l| Some(l.to_vec()))
            );
            assert!(lines(b"", step).is_empty());
            assert_eq!(lines(b"\n", step), [Some(Vec::new())]);
        }
    }

    #[test]
    fn a_long_line_is_skipped_and_the_next_one_is_whole() {
        for length in [MAX_LINE + 1, PIECE, 3 * PIECE] {
            let text = [vec![b'x'; length], b"\nnext\n".to_vec()].concat();
            assert_eq!(lines(&text, usize::MAX), [None, Some(b"next".to_vec())]);
            assert_eq!(lines(&text[..length], usize::MAX), [None]);
        }
        assert_eq!(
            lines(&vec![b'x'; MAX_LINE], usize::MAX),
            [Some(vec![b'x'; MAX_LINE])]
        );
    }
}
