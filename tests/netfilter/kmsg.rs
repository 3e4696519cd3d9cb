//! `/dev/kmsg`: what the kernel itself printed, the reference for every other source.
//!
//! Out: records of facility 0 that begin with a prefix. Reading here takes nothing from other
//! readers. A reader that falls behind the ring is told so and goes on; it counts that.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// A reader of the kernel's log.
#[derive(Debug)]
pub(crate) struct Kmsg {
    device: File,
    overruns: u32,
}

impl Kmsg {
    /// Reads from now on.
    pub(crate) fn from_now() -> Self {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a small flag");
        let mut device = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open("/dev/kmsg")
            .expect("/dev/kmsg opens for root");
        device.seek(SeekFrom::End(0)).expect("/dev/kmsg seeks");
        Self {
            device,
            overruns: 0,
        }
    }

    /// The kernel's messages since the last call that begin with `prefix`.
    pub(crate) fn lines(&mut self, prefix: &str) -> Vec<String> {
        let stamped = self.stamped(prefix).into_iter();
        stamped.map(|(_, line)| line).collect()
    }

    /// The same, each with the kernel's time of it.
    pub(crate) fn stamped(&mut self, prefix: &str) -> Vec<(Duration, String)> {
        let mut lines = Vec::new();
        let mut record = [0; 8192];
        loop {
            match self.device.read(&mut record) {
                Ok(0) => return lines,
                Ok(length) => {
                    let record = String::from_utf8_lossy(&record[..length]);
                    lines.extend(kernel_message(&record, prefix));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return lines,
                Err(error) if error.raw_os_error() == Some(Errno::PIPE.raw_os_error()) => {
                    self.overruns += 1;
                }
                Err(error) => panic!("/dev/kmsg: {error}"),
            }
        }
    }

    /// How often the ring had overtaken this reader.
    pub(crate) fn overruns(&self) -> u32 {
        self.overruns
    }
}

/// The message of a record `priority,sequence,µs,flags;message\n…`, if the kernel wrote it.
fn kernel_message(record: &str, prefix: &str) -> Option<(Duration, String)> {
    let (head, rest) = record.split_once(';')?;
    let mut head = head.split(',');
    let priority: u32 = head.next()?.parse().ok()?;
    let time = Duration::from_micros(head.nth(1)?.parse().ok()?);
    let message = rest.lines().next()?;
    (priority >> 3 == 0 && message.starts_with(prefix)).then(|| (time, message.to_owned()))
}
