//! `/dev/kmsg`: the kernel's own log, from now on.
//!
//! In: records `priority,sequence,µs,flags[,more];text`, one a read. Out: those of facility 0 as lines
//! of that form, and how many were lost. The kernel forces another facility on what users write
//! there, so facility 0 is its signature; escapes such as `\x0a` stay as they are, so a record is a
//! line. The surprise: a reader that is too slow is told so by EPIPE and put at the oldest record
//! that is left; the sequence number of that one says how many are gone.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::Duration;

use memchr::memchr;
use rustix::fs::{Mode, OFlags, SeekFrom, seek};
use rustix::io::{Errno, read};

use super::assembler::Yield;
use super::outbox::Outbox;
use super::stop::{Stop, Woken};
use super::{Closed, Handle, Health, Refusal, Report};
use crate::engine::line::KmsgHead;
use crate::engine::reason::Reason;

const DEVICE: &str = "/dev/kmsg";
/// The kernel's largest record, header and all, is 8 KiB; a smaller buffer would refuse it.
const RECORD: usize = 16 << 10;
/// Records read before the sink and the request to stop are looked at again.
const AT_ONCE: usize = 1000;
/// How long a device that fails is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// The open device: nothing that its reader needs a right for is left to be done.
#[derive(Debug)]
pub struct Kmsg(OwnedFd);

/// Opens the kernel's log, to be followed from now on.
pub fn open() -> Result<Kmsg, Refusal> {
    let device = device(Path::new(DEVICE)).map_err(|errno| match errno {
        Errno::PERM | Errno::ACCESS => Refusal::KmsgDenied,
        Errno::NOENT | Errno::NODEV | Errno::NXIO => Refusal::KmsgMissing,
        other => Refusal::Unreadable(other),
    })?;
    Ok(Kmsg(device))
}

/// Follows the kernel's log in a thread of its own. `sink` may wait, and ends the thread with
/// [`Closed`].
pub fn spawn(
    source: u16,
    Kmsg(device): Kmsg,
    sink: impl FnMut(Report) -> Result<(), Closed> + Send + 'static,
) -> Result<Handle, Refusal> {
    let stop = Stop::new()?;
    let follower = Follower {
        device,
        ring: Ring::new(source, sink),
        stop: stop.clone(),
    };
    let thread = thread::Builder::new()
        .name(format!("kmsg-{source}"))
        .spawn(move || follower.run())?;
    Ok(Handle::new(thread, move || stop.ask()))
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
        for _ in 0..AT_ONCE {
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

struct Follower<S> {
    device: OwnedFd,
    ring: Ring<S>,
    stop: Stop,
}

impl<S: FnMut(Report) -> Result<(), Closed>> Follower<S> {
    fn run(mut self) {
        let mut record = [0; RECORD];
        loop {
            let health = match self.drain(&mut record) {
                Ok(()) => Health::Following,
                Err(errno) => Health::Degraded(errno.into()),
            };
            if self.ring.outbox.send_all(health.clone()) == Err(Closed) {
                return;
            }
            let woken = match health {
                Health::Following => self.stop.wait(Some(self.device.as_fd()), None),
                Health::Degraded(_) => self.stop.wait(None, Some(PAUSE)),
            };
            if woken == Woken::Stop {
                return;
            }
        }
    }

    /// Reads what there is, up to a fair amount.
    fn drain(&mut self, buffer: &mut [u8]) -> Result<(), Errno> {
        for _ in 0..AT_ONCE {
            match read(&self.device, &mut *buffer) {
                Ok(length) => self.ring.take(buffer.get(..length).unwrap_or_default()),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::PIPE) => self.ring.overrun(),
                // Larger than the buffer: the kernel has gone on to the next one.
                Err(Errno::INVAL) => self.ring.outbox.take(Yield::Dropped(Reason::TooLong)),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// What has been read of the ring.
struct Ring<S> {
    outbox: Outbox<S>,
    /// The number of the record that comes next, once one has come.
    next: Option<u64>,
}

impl<S: FnMut(Report) -> Result<(), Closed>> Ring<S> {
    fn new(source: u16, sink: S) -> Self {
        Self {
            outbox: Outbox::new(source, sink),
            next: None,
        }
    }

    /// The ring has overtaken us. How far, the next record's number tells; unless it is the first.
    fn overrun(&mut self) {
        if self.next.is_none() {
            self.outbox.lose(None);
        }
    }

    /// Takes one record; what follows its first line are key-value pairs about it.
    fn take(&mut self, record: &[u8]) {
        let end = memchr(b'\n', record).map_or(record.len(), |end| end + 1);
        let line = record.get(..end).unwrap_or_default();
        let Some(head) = KmsgHead::of(line).filter(|_| line.ends_with(b"\n")) else {
            self.outbox.take(Yield::Dropped(Reason::Grammar));
            return;
        };
        let lost = self.next.map_or(0, |next| head.seq.saturating_sub(next));
        if lost > 0 {
            self.outbox.lose(Some(lost));
        }
        self.next = Some(head.seq.saturating_add(1));
        self.outbox.take(match head.facility {
            0 => Yield::Lines {
                bytes: line,
                count: 1,
            },
            _ => Yield::Dropped(Reason::Facility),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is reported of `records`, in short; `None` is an overrun.
    fn told(records: &[Option<&str>]) -> Vec<String> {
        let mut told = Vec::new();
        let mut ring = Ring::new(3, |report| {
            told.push(match report {
                Report::Lines(batch) => String::from_utf8(batch.bytes).unwrap(),
                Report::Rejected { reason, count, .. } => format!("{} {count}", reason.as_str()),
                Report::Lost { count, .. } => format!("lost {count:?}"),
                Report::Health { .. }
                | Report::Ended { .. }
                | Report::Read { .. }
                | Report::Overflowed { .. }
                | Report::Unproven { .. } => return Ok(()),
            });
            Ok(())
        });
        for record in records {
            match record {
                Some(record) => ring.take(record.as_bytes()),
                None => ring.overrun(),
            }
        }
        ring.outbox.send_all(Health::Following).unwrap();
        told
    }

    #[test]
    fn a_record_is_handed_over_without_the_pairs_that_follow_it() {
        let record =
            "4,7,5000001,-,caller=T17,more=1;lk: IN=eth0\\x0a OUT= \n SUBSYSTEM=net\n DEVICE=n1\n";
        assert_eq!(
            told(&[Some(record)]),
            ["4,7,5000001,-,caller=T17,more=1;lk: IN=eth0\\x0a OUT= \n"]
        );
    }

    #[test]
    fn what_users_wrote_is_counted_and_not_handed_over() {
        let records = [
            "12,7,1,-;lk: IN=eth0\n",
            "30,8,1,-;kernel[0]: lk: IN=eth0\n",
            "4,9,1,-;x\n",
        ];
        assert_eq!(told(&records.map(Some)), ["4,9,1,-;x\n", "facility 2"]);
    }

    #[test]
    fn the_numbers_of_the_records_tell_how_many_were_lost() {
        assert_eq!(
            told(&[
                Some("4,7,1,-;a\n"),
                Some("12,8,1,-;b\n"),
                None,
                Some("4,12,1,c;d\n"),
                Some("4,13,1,+;e\n"),
            ]),
            [
                "4,7,1,-;a\n",
                "lost Some(3)",
                "4,12,1,c;d\n4,13,1,+;e\n",
                "facility 1"
            ]
        );
    }

    #[test]
    fn an_overrun_before_the_first_record_lost_an_unknown_number() {
        assert_eq!(
            told(&[None, Some("4,12,1,-;a\n")]),
            ["lost None", "4,12,1,-;a\n"]
        );
    }

    #[test]
    fn what_is_no_record_is_no_line() {
        for broken in [
            "",
            "\n",
            "lk: IN=eth0 OUT= \n",
            "4,7,1,-;cut",
            "4,7,-;x\n",
            "-4,7,1,-;x\n",
        ] {
            assert_eq!(told(&[Some(broken)]), ["grammar 1"], "{broken:?}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_or_not_ours_is_told_apart() {
        assert_eq!(device(Path::new("/nonexistent")).err(), Some(Errno::NOENT));
    }
}
