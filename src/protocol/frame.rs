//! One message on the control socket, and how long it may take.
//!
//! In and out: anything that serde knows, as a length (four bytes, the highest first) and that many bytes of
//! JSON with the version of this protocol. The length is looked at before anything is read.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::VERSION;
use crate::clock;
use crate::engine::time::Time;

/// What is on the wire.
#[derive(Serialize, Deserialize)]
struct Frame<T> {
    version: u32,
    body: T,
}

/// What every version has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Why a frame was not understood.
#[derive(Debug, Error)]
pub enum FrameError {
    /// It did not come, or not in time.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is longer than it may be.
    #[error("the message is too long")]
    TooLong,
    /// The other side speaks another version.
    #[error("the other side speaks version {0} of the control protocol, this one {this}; \
             restart the daemon after an upgrade", this = VERSION)]
    Version(u32),
    /// It is not what this version says.
    #[error("the message is not understood")]
    Malformed,
}

/// `body` as one frame of at most `most` bytes of JSON.
pub fn encode_frame<T: Serialize>(body: &T, most: usize) -> Result<Vec<u8>, FrameError> {
    let version = VERSION;
    let json = serde_json::to_vec(&Frame { version, body }).map_err(|_| FrameError::Malformed)?;
    let length = u32::try_from(json.len()).map_err(|_| FrameError::TooLong)?;
    if json.len() > most {
        return Err(FrameError::TooLong);
    }
    Ok([&length.to_be_bytes(), json.as_slice()].concat())
}

/// The frame of at most `most` bytes that `bytes` begin with; `None` while it is not whole.
pub fn decode_frame<T: DeserializeOwned>(
    bytes: &[u8],
    most: usize,
) -> Result<Option<T>, FrameError> {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    let length = checked(*length, most)?;
    rest.get(..length).map(body).transpose()
}

/// Writes `body` as one frame of at most `most` bytes.
pub fn write_frame<T: Serialize>(
    to: &mut impl Write,
    body: &T,
    most: usize,
) -> Result<(), FrameError> {
    Ok(to.write_all(&encode_frame(body, most)?)?)
}

/// Reads one frame of at most `most` bytes.
pub fn read_frame<T: DeserializeOwned>(from: &mut impl Read, most: usize) -> Result<T, FrameError> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = checked(length, most)?;
    let mut json = Vec::new();
    from.take(length as u64).read_to_end(&mut json)?;
    if json.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    body(&json)
}

/// The length of a frame that may have at most `most` bytes.
fn checked(length: [u8; 4], most: usize) -> Result<usize, FrameError> {
    let length = usize::try_from(u32::from_be_bytes(length)).ok();
    let length = length.filter(|length| *length <= most);
    length.ok_or(FrameError::TooLong)
}

/// What a frame says. A message of another version need not be understood to be recognised.
fn body<T: DeserializeOwned>(json: &[u8]) -> Result<T, FrameError> {
    let malformed = |_| FrameError::Malformed;
    let Version { version } = serde_json::from_slice(json).map_err(malformed)?;
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let frame: Frame<T> = serde_json::from_slice(json).map_err(malformed)?;
    Ok(frame.body)
}

/// A stream on which everything together must be over at a time on the monotonic clock.
#[derive(Debug)]
pub struct Timed<'a> {
    stream: &'a UnixStream,
    until: Time,
}

impl<'a> Timed<'a> {
    /// `stream`, until this long from now.
    pub fn new(stream: &'a UnixStream, within: Duration) -> Self {
        let until = clock::monotonic_now().after(within);
        Self { stream, until }
    }

    /// What is left of the time.
    pub fn left(&self) -> Duration {
        self.until.since(clock::monotonic_now())
    }

    fn timeout(&self) -> io::Result<Option<Duration>> {
        match self.left() {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.timeout()?)?;
        self.stream.read(room)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.timeout()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
