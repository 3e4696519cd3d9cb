//! The bytes of a log file → its text, unpacked if it is a gzip or zstd archive.
//!
//! In: the bytes of a file or a pipe. Out: the text, as it is unpacked; nothing is held. The first bytes say which
//! format it is; the name does not matter. Concatenated archives are one text. A truncated or damaged archive is an
//! error at that point, never a shorter log.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// A log as it stands there, behind its first bytes.
type Raw = Chain<Cursor<Vec<u8>>, Box<dyn Read + Send>>;

/// How much of an archive is read at a time.
const PIECE: usize = 128 * 1024;

/// What is behind `raw`, unpacked.
pub(super) fn unpack(mut raw: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::new();
    raw.by_ref().take(4).read_to_end(&mut head)?;
    let kind = Kind::of(&head);
    let whole = Cursor::new(head).chain(raw);
    let packed = |whole| BufReader::with_capacity(PIECE, whole);
    let unpacker: Box<dyn Read + Send> = match kind {
        Kind::Text => return Ok(Box::new(whole)),
        Kind::Gzip => Box::new(MultiGzDecoder::new(packed(whole))),
        Kind::Zstd => Box::new(Zstd {
            source: packed(whole),
            frame: FrameDecoder::new(),
            length: None,
        }),
        Kind::Foreign(name, tool) => {
            let what = format!(
                "is packed by {name}, which is not unpacked here; try '{tool} FILE | logknock … -'"
            );
            return Err(io::Error::other(what));
        }
    };
    Ok(Box::new(Unpacked(unpacker)))
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

/// An unpacker, with errors that are of the archive.
struct Unpacked(Box<dyn Read + Send>);

impl Read for Unpacked {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.read(room).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            io::ErrorKind::UnexpectedEof => {
                let cut = "the archive is cut short: its end is missing";
                io::Error::new(io::ErrorKind::UnexpectedEof, cut)
            }
            _ => {
                let damaged = format!("the archive is damaged: {error}");
                io::Error::new(io::ErrorKind::InvalidData, damaged)
            }
        })
    }
}

/// The frames of a zstd archive (RFC 8878), one behind the other.
struct Zstd {
    source: BufReader<Raw>,
    frame: FrameDecoder,
    /// Bytes unpacked of the frame; `None` before the first frame and between two.
    length: Option<u64>,
}

impl Zstd {
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
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(false)
    }

    /// A failure of the decoder, which does not say that it has come to the end of its source.
    fn failed(&mut self, error: FrameDecoderError) -> io::Error {
        match self.source.fill_buf() {
            Ok([]) => io::ErrorKind::UnexpectedEof.into(),
            _ => io::Error::other(error),
        }
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

impl Read for Zstd {
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
                decoded.map_err(|error| self.failed(error))?;
            }
        }
    }
}

#[cfg(test)]
#[path = "archive_test.rs"]
mod tests;
