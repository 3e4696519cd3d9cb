//! A finished log → blocks of whole lines.
//!
//! In: anything that can be read, in big pieces. Out: blocks that are cut behind a newline; only the last
//! one may end without, as a finished file may (a followed one may not). What is read comes at once, so
//! that a pipe that brings little is not waited for. A line over the limit is never held: of it the
//! next block has the end, and says so.

use std::io::{self, Read};

use memchr::memrchr;

use super::lines::MAX_LINE;

/// How much is read at a time: some are under way at once, and each with its findings fits into a core's cache.
pub(super) const PIECE: usize = 256 * 1024;

/// Whole lines.
#[derive(Debug, Default)]
pub(super) struct Block {
    room: Vec<u8>,
    end: usize,
    /// Its first line is the end of one that is too long.
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
    /// … or of one that is longer, and has been dropped.
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
mod tests {
    use super::*;

    /// Gives its bytes at most `1` at a time.
    struct Drip(Vec<u8>, usize);

    impl Read for Drip {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(room.len());
            room[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    fn blocks(text: &[u8], step: usize, piece: usize) -> Vec<(bool, Vec<u8>)> {
        let mut blocks = Blocks::new(Box::new(Drip(text.to_vec(), step)), piece);
        let (mut all, mut block) = (Vec::new(), Block::default());
        while blocks.fill(&mut block).unwrap() {
            all.push((block.begins_too_long, block.bytes().to_vec()));
        }
        assert!(!blocks.fill(&mut block).unwrap());
        all
    }

    #[test]
    fn only_the_last_block_ends_without_a_newline() {
        let text = b"one\n\ntwo\r\nend";
        for (step, piece) in [(1, 1), (2, 9), (100, 3), (100, 100)] {
            let blocks = blocks(text, step, piece);
            let (last, others) = blocks.split_last().unwrap();
            assert!(others.iter().all(|(_, bytes)| bytes.ends_with(b"\n")));
            assert!(last.1.ends_with(b"end"));
            let all: Vec<_> = blocks.iter().flat_map(|(_, bytes)| bytes).collect();
            assert_eq!(all, text.iter().collect::<Vec<_>>(), "{step} {piece}");
        }
        assert!(blocks(b"", 1, 1).is_empty());
    }

    #[test]
    fn of_a_line_that_is_too_long_only_the_end_is_kept() {
        for length in [MAX_LINE + 1, 3 * MAX_LINE] {
            let text = [b"a\n", &vec![b'x'; length][..], b"\nnext\n"].concat();
            for piece in [1, 1000, MAX_LINE, 2 * MAX_LINE] {
                let blocks = blocks(&text, usize::MAX, piece);
                assert!(
                    blocks
                        .iter()
                        .all(|(_, block)| block.len() <= piece + MAX_LINE)
                );
                assert!(blocks.last().unwrap().1.ends_with(b"next\n"));
            }
            let cut = blocks(&text[..length + 2], usize::MAX, 1000);
            assert!(cut.last().unwrap().0, "what is left of it ends it");
        }
    }
}
