//! Where lines come from, and what every source hands over.
//!
//! In: what a sink needs to be called with. Out: [`Report`]s, in the order in which they happened: whole lines,
//! counts of incomplete lines, and changes of health. A source knows nothing of packets or knocks and never blocks on
//! anything but its input and its sink. It waits in a full sink rather than drop a line, so the receiving end is
//! dropped before a source is stopped.

pub mod assembler;
pub mod checkpoint;
mod datagram;
pub mod file;
pub mod journal;
pub mod kmsg;
pub mod nflog;
mod outbox;
pub mod stdin;
mod stream;
pub mod tail;
mod thread;
mod trouble;
pub mod udp;
pub mod unix;
mod watch;

use std::path::PathBuf;

use self::checkpoint::Checkpoint;
pub use self::thread::Handle;
use self::trouble::POLL;
pub use self::trouble::{FileKind, Health, Refusal, RefusalKind, Trouble};
pub use self::watch::is_mount_point;
use crate::engine::packet::OwnedPacket;
use crate::engine::reason::Reason;
use crate::engine::time::Time;

/// Many whole lines of one source at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The lines, each ended by `\n`.
    pub bytes: Vec<u8>,
    /// The number of the first one, counted from 1 since the start; dropped lines count.
    pub first_line: u64,
    /// Whether they may have been written long before, while no process read.
    pub late: bool,
    /// What has been read with the last of them.
    pub read: Option<Read>,
}

/// A packet that the kernel has handed over itself, and not as a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedPacket {
    /// When it was received, on the boot clock.
    pub at: Time,
    /// As a LOG line would have it.
    pub packet: OwnedPacket,
}

/// How far a file is read: everything before has been handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The file.
    pub path: PathBuf,
    /// How far.
    pub checkpoint: Checkpoint,
}

/// A report of a source. The sink knows which source it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Lines arrived.
    Lines(Batch),
    /// Packets arrived.
    Packets {
        /// The packets, in the order in which they were logged.
        packets: Vec<LoggedPacket>,
        /// The number of the first one, counted from 1 since the start; dropped packets count.
        first: u64,
    },
    /// Something was not a whole line.
    Rejected {
        /// What it was instead.
        reason: Reason,
        /// How many of them.
        count: u64,
    },
    /// Lines were lost before they could be read; so many, if that is known.
    Lost(Option<u64>),
    /// A file is read further, though no line has come of it.
    Read(Read),
    /// This file differs from the one that an earlier process read, so it is followed from its end.
    Unproven(PathBuf),
    /// The kernel had more to tell of directories than room for it, so often. Everything was checked again.
    Overflowed(u64),
    /// The source has come to its end, and nothing more comes from it.
    Ended,
    /// The source's health is now this; reported at the start and at each change.
    Health(Health),
}

/// There is no receiver any more: the source ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// A receiver of reports. It may wait; with [`Closed`] it ends the source.
pub trait Sink: FnMut(Report) -> Result<(), Closed> + Send + 'static {}

impl<T: FnMut(Report) -> Result<(), Closed> + Send + 'static> Sink for T {}
