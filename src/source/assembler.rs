//! Bytes in pieces become whole lines.
//!
//! In: a file's bytes, cut anywhere. Out: runs of whole lines, each ended by its newline, borrowed from the piece if
//! they are unbroken in it; and a [`Reason`] for each line that was dropped. It never holds more than one line of
//! fair length ([`MAX_LINE`]) and never looks into a line. NULs at the start of a line are the hole that a truncation
//! leaves before the next write, and vanish; within a line they are bytes like others, so two halves around a hole
//! never join.

use memchr::memchr;

use crate::engine::reason::Reason;

/// The longest line that is handed over, without its newline.
pub const MAX_LINE: usize = 8192;

/// What came out of the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yield<'a> {
    /// Whole lines, each ended by `\n`.
    Lines {
        /// The lines.
        bytes: &'a [u8],
        /// How many they are.
        count: u64,
    },
    /// One line that is not handed over.
    Dropped(Reason),
}

/// Keeps the begun line between two pieces.
#[derive(Debug)]
pub struct Assembler {
    begun: Begun,
    lines: u64,
    longest: usize,
}

impl Default for Assembler {
    fn default() -> Self {
        Self::for_lines_up_to(MAX_LINE)
    }
}

/// The line that waits for its newline.
#[derive(Debug)]
enum Begun {
    /// These bytes of it; none is the start of a line.
    Kept(Vec<u8>),
    /// It is not wanted: everything up to its newline goes.
    Unwanted,
}

impl Default for Begun {
    fn default() -> Self {
        Self::Kept(Vec::new())
    }
}

impl Assembler {
    /// Drops lines of more than `longest` bytes, instead of [`MAX_LINE`].
    pub fn for_lines_up_to(longest: usize) -> Self {
        Self {
            begun: Begun::default(),
            lines: 0,
            longest,
        }
    }

    /// Begins within a line, the rest of which is of no interest and is not counted.
    pub fn within_a_line() -> Self {
        Self {
            begun: Begun::Unwanted,
            ..Self::default()
        }
    }

    /// How many bytes of a begun line wait for the rest of it, if that line is wanted.
    pub fn begun(&self) -> Option<usize> {
        match &self.begun {
            Begun::Kept(bytes) => Some(bytes.len()),
            Begun::Unwanted => None,
        }
    }

    /// How many whole lines have come out.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Takes the next bytes.
    pub fn push(&mut self, piece: &[u8], out: &mut impl FnMut(Yield<'_>)) {
        let mut rest = self.end_begun_line(piece, out);
        while !rest.is_empty() {
            let (run, count) = whole_lines(rest, self.longest);
            let (lines, other) = rest.split_at(run);
            self.hand_over(lines, count, out);
            let start = without_leading_nuls(other);
            rest = match memchr(b'\n', start) {
                Some(end) if end > self.longest => {
                    out(Yield::Dropped(Reason::TooLong));
                    start.get(end + 1..).unwrap_or_default()
                }
                Some(_) => start,
                None => {
                    self.keep(start, out);
                    return;
                }
            };
        }
    }

    /// Takes `length` NULs that were not read, because they are a hole in the file.
    pub fn push_hole(&mut self, length: u64, out: &mut impl FnMut(Yield<'_>)) {
        const NULS: [u8; MAX_LINE + 1] = [0; MAX_LINE + 1];
        let length = usize::try_from(length).ok();
        let nuls = length.and_then(|length| NULS.get(..length));
        self.push(nuls.unwrap_or(&NULS), out);
    }

    /// Gives up the begun line, whose newline will not come any more.
    pub fn discard(&mut self, out: &mut impl FnMut(Yield<'_>)) {
        if let Begun::Kept(bytes) = std::mem::take(&mut self.begun)
            && !bytes.is_empty()
        {
            out(Yield::Dropped(Reason::Partial));
        }
    }

    /// Completes the line that an earlier piece began; returns what comes after it.
    fn end_begun_line<'a>(&mut self, piece: &'a [u8], out: &mut impl FnMut(Yield<'_>)) -> &'a [u8] {
        if matches!(&self.begun, Begun::Kept(bytes) if bytes.is_empty()) {
            return piece;
        }
        let Some(end) = memchr(b'\n', piece) else {
            self.keep(piece, out);
            return &[];
        };
        let (tail, rest) = piece.split_at(end);
        self.keep(tail, out);
        if let Begun::Kept(mut line) = std::mem::take(&mut self.begun) {
            line.push(b'\n');
            self.hand_over(&line, 1, out);
        }
        rest.get(1..).unwrap_or_default()
    }

    /// Adds to the begun line, or gives it up where it becomes too long.
    fn keep(&mut self, bytes: &[u8], out: &mut impl FnMut(Yield<'_>)) {
        let Begun::Kept(kept) = &mut self.begun else {
            return;
        };
        if kept.len() + bytes.len() > self.longest {
            self.begun = Begun::Unwanted;
            out(Yield::Dropped(Reason::TooLong));
        } else {
            kept.extend_from_slice(bytes);
        }
    }

    fn hand_over(&mut self, bytes: &[u8], count: u64, out: &mut impl FnMut(Yield<'_>)) {
        if count > 0 {
            self.lines = self.lines.saturating_add(count);
            out(Yield::Lines { bytes, count });
        }
    }
}

/// The length and number of the lines at the start of `bytes` that are whole, of fair length, and
/// do not begin with a NUL.
fn whole_lines(bytes: &[u8], longest: usize) -> (usize, u64) {
    let (mut length, mut count) = (0, 0);
    for end in memchr::memchr_iter(b'\n', bytes) {
        if end - length > longest || bytes.get(length) == Some(&0) {
            break;
        }
        length = end + 1;
        count += 1;
    }
    (length, count)
}

fn without_leading_nuls(bytes: &[u8]) -> &[u8] {
    let nuls = bytes.iter().take_while(|&&byte| byte == 0).count();
    bytes.get(nuls..).unwrap_or_default()
}

#[cfg(test)]
#[path = "assembler_test.rs"]
mod tests;
