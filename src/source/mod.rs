//! Where lines come from, and what every source hands over.
//!
//! In: what a sink needs to be called with. Out: [`Report`]s, in the order in which they happened:
//! whole lines, counts of what was no whole line, and changes of health. A source knows nothing of
//! packets or knocks and never blocks on anything but its input and its sink. It waits in a full
//! sink rather than drop a line, so whoever stops a source first lets go of the receiving end.

pub mod assembler;
pub mod checkpoint;
mod datagram;
pub mod file;
mod file_id;
pub mod files;
pub mod journal;
pub mod kmsg;
mod lookout;
mod outbox;
mod refusal;
pub mod stdin;
mod stop;
mod stream;
pub mod tail;
pub mod udp;
pub mod unix;
mod watch;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::thread::JoinHandle;

use rustix::io::Errno;

pub use refusal::{Kind as RefusalKind, Refusal};

use self::checkpoint::Checkpoint;
use crate::engine::reason::Reason;

/// Many whole lines of one source at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Which source, as it was numbered when it was spawned.
    pub source: u16,
    /// The lines, each ended by `\n`.
    pub bytes: Vec<u8>,
    /// The number of the first one, counted from 1 since the start; dropped lines count.
    pub first_line: u64,
    /// Whether they may have been written long before, while nobody read.
    pub late: bool,
    /// What has been read with the last of them.
    pub read: Option<Read>,
}

/// How far a file is read: everything before has been handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The file.
    pub path: PathBuf,
    /// How far.
    pub checkpoint: Checkpoint,
}

/// What a source has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Lines arrived.
    Lines(Batch),
    /// Something was not a whole line.
    Rejected {
        /// Which source.
        source: u16,
        /// What it was instead.
        reason: Reason,
        /// How many of them.
        count: u64,
    },
    /// Lines were lost before they could be read.
    Lost {
        /// Which source.
        source: u16,
        /// How many, if that is known.
        count: Option<u64>,
    },
    /// A file is read further, though no line has come of it.
    Read {
        /// Which source.
        source: u16,
        /// How far.
        read: Read,
    },
    /// A file is not the one that an earlier process read, so it is followed from its end.
    Unproven {
        /// Which source.
        source: u16,
        /// The file.
        path: PathBuf,
    },
    /// The kernel had more to tell of directories than room for it. Everything was looked at anew.
    Overflowed {
        /// Which source.
        source: u16,
        /// How often.
        times: u64,
    },
    /// The source has come to its end, and nothing more comes from it.
    Ended {
        /// Which source.
        source: u16,
    },
    /// The source's health is now this; said once at the start and at each change.
    Health {
        /// Which source.
        source: u16,
        /// How it is.
        health: Health,
    },
}

/// Whether a source does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It hands over lines as they are written.
    Following,
    /// It does not, or later than it should; it goes on trying.
    Degraded(Trouble),
}

/// What keeps a source from its work. `Display` is the sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing has the file's name.
    Missing,
    /// Something else has the file's name.
    NotRegular(FileKind),
    /// The file or a directory on the way may not be read.
    Denied,
    /// Opening or reading fails.
    Unreadable(Errno),
    /// No further inotify instance may be made, so the file is polled.
    Instances,
    /// No further inotify watch may be made, so the file is polled.
    Watches,
    /// inotify does not work here, so the file is polled.
    Unwatchable,
    /// `journalctl` ended by itself, like this where that is known.
    Ended(Option<ExitStatus>),
    /// The journal has no message of the kernel of this boot.
    NoKernelMessages,
    /// The kernel has logged something that the journal does not show.
    Stuck,
    /// No file matches the pattern.
    NoMatch,
    /// More files match the pattern than the so many that are followed.
    TooMany(usize),
    /// One of several files has this trouble.
    Of(PathBuf, Box<Self>),
    /// Another host may write the file without this kernel noticing, so it is polled.
    Remote(&'static str),
}

/// What a path leads to when it is not a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A UNIX socket.
    Socket,
    /// A character or block device.
    Device,
}

/// How often a file is looked at when the kernel does not tell of changes.
pub(crate) const POLL: std::time::Duration = std::time::Duration::from_millis(250);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let poll = POLL.as_millis();
        match self {
            Self::Missing => {
                f.write_str("no such file; it is read from its first line when it appears")
            }
            Self::NotRegular(kind @ FileKind::Fifo) => write!(
                f,
                "{kind} is there instead of a regular file; read it as standard input: --follow - <PATH"
            ),
            Self::NotRegular(kind) => write!(f, "{kind} is there instead of a regular file"),
            Self::Denied => f.write_str(
                "permission denied; the daemon must be able to read the file and search its directories",
            ),
            Self::Unreadable(errno) => write!(f, "cannot be read: {errno}"),
            Self::Instances => write!(
                f,
                "polled every {poll} ms: no inotify instance is left; raise the sysctl fs.inotify.max_user_instances"
            ),
            Self::Watches => write!(
                f,
                "polled every {poll} ms: no inotify watch is left; raise the sysctl fs.inotify.max_user_watches"
            ),
            Self::Unwatchable => write!(f, "polled every {poll} ms: inotify does not work here"),
            Self::Ended(Some(status)) => {
                write!(f, "journalctl ended ({status}) and is started again")
            }
            Self::Ended(None) => f.write_str("journalctl does not start; it is tried again"),
            Self::NoKernelMessages => f.write_str(
                "the journal has no kernel message of this boot yet; does journald read them here?",
            ),
            Self::Stuck => f.write_str(
                "the kernel logs and the journal does not show it; is journald running, or a file of it corrupt? ('journalctl --verify')",
            ),
            Self::NoMatch => f.write_str(
                "no file matches; each is read from its first line when it appears",
            ),
            Self::TooMany(most) => {
                write!(f, "more than {most} files match: the others are not followed")
            }
            Self::Of(path, trouble) => write!(f, "{}: {trouble}", path.display()),
            Self::Remote(kind) => write!(
                f,
                "polled every {poll} ms: it is on {kind}, where another host may write it"
            ),
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "a directory",
            Self::Fifo => "a FIFO",
            Self::Socket => "a socket",
            Self::Device => "a device",
        })
    }
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Missing,
            Errno::ACCESS | Errno::PERM => Self::Denied,
            other => Self::Unreadable(other),
        }
    }
}

/// Nobody listens any more: the source ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// A running source. Dropping it asks the thread to end; [`stop`](Self::stop) also waits for it.
pub struct Handle {
    ask: Box<dyn Fn() + Send + Sync>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Takes charge of `thread`, which ends soon after `ask` was called.
    pub fn new(thread: JoinHandle<()>, ask: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            ask: Box::new(ask),
            thread: Some(thread),
        }
    }

    /// Ends the source and waits until it has ended. Let go of the receiving end first: a source
    /// that waits in its sink ends when the sink does.
    pub fn stop(mut self) {
        (self.ask)();
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been reported by its own hook; there is nothing to add.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        (self.ask)();
    }
}
