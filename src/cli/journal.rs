//! Standard error where the journal reads it: a line may begin with its priority (`sd-daemon(3)`).

use std::io::{self, Write};

use rustix::fs::fstat;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// What errors begin with.
const ERROR: &str = "<3>";

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
        io::stderr().write_all(&line)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
