//! The bytes of a log file → its text, unpacked if it is a gzip or zstd archive.
//!
//! In: the bytes of a file or a pipe. Out: the text, as it is unpacked; nothing is held. The first bytes say which
//! format it is; the name does not matter. Archives that were put one behind the other, as `cat` does, are one text.
//! A truncated or damaged archive is an error at that point, never a shorter log.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// How much of an archive is read at a time.
const PIECE: usize = 128 * 1024;

/// What is behind `raw`, unpacked.
pub(super) fn unpack(mut raw: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::new();
    raw.by_ref().take(4).read_to_end(&mut head)?;
    let kind = Kind::of(&head);
    let whole = Cursor::new(head).chain(raw);
    let archive = Source {
        input: BufReader::with_capacity(PIECE, whole),
        has_ended: false,
    };
    Ok(match kind {
        Kind::Text => {
            let (head, raw) = archive.input.into_inner().into_inner();
            Box::new(head.chain(raw))
        }
        Kind::Gzip => Box::new(Unpacked(MultiGzDecoder::new(archive))),
        Kind::Zstd => Box::new(Unpacked(Zstd::new(archive))),
        Kind::Foreign(name, tool) => {
            let what = format!(
                "is packed by {name}, which is not unpacked here; try '{tool} FILE | logknock … -'"
            );
            return Err(io::Error::other(what));
        }
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Gzip,
    Zstd,
    /// Its name, and what writes it unpacked to standard output.
    Foreign(&'static str, &'static str),
}

impl Kind {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', ..] => Self::Foreign("xz", "xzcat"),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Foreign("bzip2", "bzcat"),
            _ => Self::Text,
        }
    }
}

/// A packed log; remembers whether its end was seen.
struct Source<R> {
    input: BufReader<R>,
    has_ended: bool,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(room)?;
        self.has_ended |= count == 0 && !room.is_empty();
        Ok(count)
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let rest = self.input.fill_buf()?;
        self.has_ended |= rest.is_empty();
        Ok(rest)
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
    }
}

impl<R: Read> Source<R> {
    /// What `error` says of the archive.
    fn wrong(&self, error: &dyn std::fmt::Display) -> io::Error {
        if self.has_ended {
            let cut = "the archive is cut short: its end is missing";
            return io::Error::new(io::ErrorKind::UnexpectedEof, cut);
        }
        let damaged = format!("the archive is damaged: {error}");
        io::Error::new(io::ErrorKind::InvalidData, damaged)
    }
}

/// What unpacks a [`Source`], whose errors are of the archive.
struct Unpacked<D>(D);

trait Unpacker: Read {
    type Raw: Read;

    fn source(&self) -> &Source<Self::Raw>;
}

impl<R: Read> Unpacker for MultiGzDecoder<Source<R>> {
    type Raw = R;

    fn source(&self) -> &Source<R> {
        self.get_ref()
    }
}

impl<R: Read> Unpacker for Zstd<R> {
    type Raw = R;

    fn source(&self) -> &Source<R> {
        &self.source
    }
}

/// The frames of a zstd archive (RFC 8878), one behind the other.
struct Zstd<R> {
    source: Source<R>,
    frame: FrameDecoder,
    /// Bytes unpacked of the frame; `None` before the first frame and between two.
    length: Option<u64>,
}

impl<R: Read> Zstd<R> {
    fn new(source: Source<R>) -> Self {
        let (frame, length) = (FrameDecoder::new(), None);
        Self {
            source,
            frame,
            length,
        }
    }

    /// Begins the next frame; `false` at the end of the archive.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.frame.reset(&mut self.source) {
                Ok(()) => {
                    self.length = Some(0);
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let mut skipped = self.source.by_ref().take(length.into());
                    if io::copy(&mut skipped, &mut io::sink())? < length.into() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }

    /// Checks a finished frame of `length` bytes by what it says of itself, which may be nothing.
    fn check(&self, length: u64) -> io::Result<()> {
        let sum = self.frame.get_checksum_from_data();
        let right_sum = sum.is_none() || sum == self.frame.get_calculated_checksum();
        if right_sum && [0, length].contains(&self.frame.content_size()) {
            return Ok(());
        }
        Err(io::Error::other("its checksum is another"))
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(length) = self.length else {
                if self.begin()? {
                    continue;
                }
                return Ok(0);
            };
            let count = self.frame.read(room)?;
            if count > 0 || room.is_empty() {
                self.length = Some(length + count as u64);
                return Ok(count);
            }
            if self.frame.is_finished() {
                self.check(length)?;
                self.length = None;
            } else {
                let some = BlockDecodingStrategy::UptoBlocks(1);
                let decoded = self.frame.decode_blocks(&mut self.source, some);
                decoded.map_err(io::Error::other)?;
            }
        }
    }
}

impl<D: Unpacker> Read for Unpacked<D> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.read(room).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => self.0.source().wrong(&error),
        })
    }
}

#[cfg(test)]
#[path = "archive_test.rs"]
mod tests;
