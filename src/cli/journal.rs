//! Standard error where the journal reads it: a line may begin with its priority (`sd-daemon(3)`).
//!
//! A reader that has stopped to read must hold up no door: what it has no room for is dropped. The stream is not our
//! own, so it cannot be told not to wait.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::fstat;
use rustix::io::retry_on_intr;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// What errors begin with.
const ERROR: &str = "<3>";
/// How long the reader may take until it is taken to have stopped, in seconds.
const READER_TIMEOUT: i64 = 1;
/// A write of this size does not wait where there is any room at all (`PIPE_BUF`).
const PIECE_SIZE: usize = 4096;

/// Whether systemd reads our standard error: it names it by device and inode.
#[expect(
    clippy::disallowed_methods,
    reason = "systemd says it in the environment"
)]
fn reads_us() -> bool {
    let named = std::env::var_os("JOURNAL_STREAM");
    let named = named.and_then(|named| named.into_string().ok());
    let ours = fstat(io::stderr()).ok();
    let ours = ours.map(|ours| format!("{}:{}", ours.st_dev, ours.st_ino));
    ours.is_some() && ours == named
}

/// A message with the priority of an error on each line, where that is understood.
pub(super) fn error(message: &str) -> String {
    if !reads_us() {
        return message.to_owned();
    }
    let lines: Vec<_> = message
        .lines()
        .map(|line| format!("{ERROR}{line}"))
        .collect();
    lines.join("\n")
}

/// Standard error, with the priority of each line in front of it where the journal reads it.
pub(super) struct Stderr {
    is_journal: bool,
}

/// Standard error, for a line of this priority.
pub(super) struct Line(&'static str);

impl Stderr {
    pub(super) fn new() -> Self {
        Self {
            is_journal: reads_us(),
        }
    }
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line("")
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        Line(match *meta.level() {
            _ if !self.is_journal => "",
            Level::ERROR => ERROR,
            Level::WARN => "<4>",
            Level::INFO => "<6>",
            Level::DEBUG | Level::TRACE => "<7>",
        })
    }
}

impl Write for Line {
    /// At once: the other process writes to the same stream.
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let line = [self.0.as_bytes(), text].concat();
        for piece in line.chunks(PIECE_SIZE).take_while(|_| has_room()) {
            io::stderr().write_all(piece)?;
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Whether standard error takes a piece now. A reader that has stopped is not waited for again until it reads.
fn has_room() -> bool {
    static HAS_STOPPED: AtomicBool = AtomicBool::new(false);
    let waits = !HAS_STOPPED.load(Ordering::Relaxed);
    let within = Timespec {
        tv_sec: if waits { READER_TIMEOUT } else { 0 },
        tv_nsec: 0,
    };
    let stderr = io::stderr();
    let mut room = [PollFd::new(&stderr, PollFlags::OUT)];
    let has_room = retry_on_intr(|| poll(&mut room, Some(&within))) != Ok(0);
    HAS_STOPPED.store(!has_room, Ordering::Relaxed);
    has_room
}
