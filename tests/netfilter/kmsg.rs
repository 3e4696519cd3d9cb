//! `/dev/kmsg`: what the kernel itself printed, the reference for every other source.
//!
//! Out: records of facility 0 that begin with a prefix. Reading here takes nothing from other
//! readers. A reader that falls behind the ring is told so and goes on; it counts that.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

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
        let mut lines = Vec::new();
        let mut record = [0; 8192];
        loop {
            match self.device.read(&mut record) {
                Ok(0) => return lines,
                Ok(length) => {
                    let record = String::from_utf8_lossy(&record[..length]);
                    lines.extend(kernel_message(&record, prefix).map(str::to_owned));
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
fn kernel_message<'a>(record: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    let message = rest.lines().next()?;
    (priority >> 3 == 0 && message.starts_with(prefix)).then_some(message)
}
