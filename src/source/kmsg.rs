//! `/dev/kmsg`: the kernel's own log, from now on.
//!
//! In: records `priority,sequence,µs,flags[,more];text`, one a read. Out: those of facility 0 as lines of that form,
//! and how many were lost. The kernel forces another facility on what users write there, so facility 0 is its
//! signature; escapes such as `\x0a` stay as they are, so a record is a line. A reader that is too slow gets EPIPE
//! and continues at the oldest record that is left; the sequence number of that record shows how many were lost.

use std::os::fd::OwnedFd;
use std::path::Path;

use memchr::memchr;
use rustix::fs::{Mode, OFlags, SeekFrom, seek};
use rustix::io::{Errno, read};

use super::outbox::Outbox;
use super::thread::{self, TURN};
use super::{Handle, Refusal, Sink};
use crate::engine::line::KmsgHead;
use crate::engine::reason::Reason;

const DEVICE: &str = "/dev/kmsg";
/// The kernel's largest record, header and all, is 8 KiB; a smaller buffer would refuse it.
const RECORD: usize = 16 << 10;

/// Opens the kernel's log, to be followed from now on. Nothing that its reader needs a right for is left to be done.
pub fn open() -> Result<OwnedFd, Refusal> {
    device(Path::new(DEVICE)).map_err(|errno| match errno {
        Errno::PERM | Errno::ACCESS => Refusal::KmsgDenied,
        Errno::NOENT | Errno::NODEV | Errno::NXIO => Refusal::KmsgMissing,
        other => Refusal::Unreadable(other),
    })
}

/// Follows the kernel's log in a thread of its own.
pub fn spawn(source: u16, device: OwnedFd, sink: impl Sink) -> Result<Handle, Refusal> {
    let mut buffer = vec![0; RECORD];
    let mut next = None;
    let follow = move |device: &OwnedFd, outbox: &mut Outbox| {
        let length = read(device, &mut *buffer);
        let record = length.map(|length| buffer.get(..length).unwrap_or_default());
        take(record, &mut next, outbox)
    };
    Ok(thread::spawn("kmsg", source, device, follow, sink)?)
}

/// The device, behind its last record.
fn device(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let device = rustix::fs::open(path, flags, Mode::empty())?;
    seek(&device, SeekFrom::End(0))?;
    Ok(device)
}

/// Knows whether the kernel has logged anything.
#[derive(Debug)]
pub struct Witness(OwnedFd);

impl Witness {
    /// From now on; `None` where the kernel's log may not be read.
    pub fn new() -> Option<Self> {
        device(Path::new(DEVICE)).ok().map(Self)
    }

    /// Whether the kernel itself has logged anything since the last look.
    pub(super) fn has_seen_something(&mut self) -> bool {
        let mut record = [0; RECORD];
        let mut seen = false;
        for _ in 0..TURN {
            match read(&self.0, &mut record) {
                Ok(length) => {
                    let record = record.get(..length).unwrap_or_default();
                    seen |= KmsgHead::of(record).is_some_and(|head| head.facility == 0);
                }
                Err(Errno::PIPE) => seen = true,
                Err(Errno::INTR | Errno::INVAL) => {}
                Err(_) => break,
            }
        }
        seen
    }
}

/// Takes what a read gave: one record, whose first line is followed by key-value pairs about it. `next` is
/// the number that it should have.
fn take(
    record: Result<&[u8], Errno>,
    next: &mut Option<u64>,
    outbox: &mut Outbox,
) -> Result<(), Errno> {
    let record = match record {
        Ok(record) => record,
        Err(Errno::PIPE) => {
            // The ring has overtaken us. How far, the next record's number tells, unless it is the first.
            if next.is_none() {
                outbox.lose(None);
            }
            return Ok(());
        }
        // Larger than the buffer: the kernel has gone on to the next one.
        Err(Errno::INVAL) => {
            outbox.take_line(Err(Reason::TooLong));
            return Ok(());
        }
        Err(errno) => return Err(errno),
    };
    let end = memchr(b'\n', record).map_or(record.len(), |end| end + 1);
    let line = record.get(..end).unwrap_or_default();
    let Some(head) = KmsgHead::of(line).filter(|_| line.ends_with(b"\n")) else {
        outbox.take_line(Err(Reason::Grammar));
        return Ok(());
    };
    let lost = next.map_or(0, |next| head.seq.saturating_sub(next));
    if lost > 0 {
        outbox.lose(Some(lost));
    }
    *next = Some(head.seq.saturating_add(1));
    outbox.take_line(match head.facility {
        0 => Ok(line),
        _ => Err(Reason::Facility),
    });
    Ok(())
}

#[cfg(test)]
#[path = "kmsg_test.rs"]
mod tests;
