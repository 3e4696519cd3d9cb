//! A finished log → its lines.
//!
//! In: anything that can be read. Out: each line without its newline; the last one also when
//! it has no newline, as a finished file may end so (a followed one may not). They are cut out of
//! blocks, so a line over the limit is never held: it is given as too long.

use std::io::{self, Read};

use memchr::memchr;

use super::blocks::{Block, Blocks, MAX_LINE, PIECE};

/// One line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Its bytes, without the newline.
    Whole(&'a [u8]),
    /// Longer than is read.
    TooLong,
}

/// The lines of a log.
pub struct Lines {
    blocks: Blocks,
    block: Block,
    /// How much of the block has been given.
    given: usize,
}

impl Lines {
    /// The lines of `input`.
    pub fn new(input: Box<dyn Read + Send>) -> Self {
        Self {
            blocks: Blocks::new(input, PIECE),
            block: Block::default(),
            given: 0,
        }
    }

    /// The next line; `None` after the last.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        if self.given == self.block.bytes().len() {
            self.given = 0;
            if !self.blocks.fill(&mut self.block)? {
                return Ok(None);
            }
        }
        let is_too_long = std::mem::take(&mut self.block.begins_too_long);
        let rest = self.block.bytes().get(self.given..).unwrap_or_default();
        let newline = memchr(b'\n', rest);
        let line = rest
            .get(..newline.unwrap_or(rest.len()))
            .unwrap_or_default();
        self.given += newline.map_or(rest.len(), |newline| newline + 1);
        Ok(Some(if is_too_long || line.len() > MAX_LINE {
            Line::TooLong
        } else {
            Line::Whole(line)
        }))
    }
}

#[cfg(test)]
#[path = "lines_test.rs"]
mod tests;
