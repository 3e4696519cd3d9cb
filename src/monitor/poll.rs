//! The one place where the monitor waits: for a descriptor, or for a time on the boot clock.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::engine::time::Time;

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// A timer on the boot clock, which counts suspend: `poll` alone cannot wait for one.
pub(super) struct Poll {
    timer: OwnedFd,
    set: Option<Time>,
}

impl Poll {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self {
            timer: timerfd_create(TimerfdClockId::Boottime, flags)?,
            set: None,
        })
    }

    /// Waits until one of `descriptors` is ready for its events, or until `due`.
    pub(super) fn wait<'a>(
        &'a mut self,
        descriptors: impl Iterator<Item = (BorrowedFd<'a>, PollFlags)>,
        due: Option<Time>,
    ) -> io::Result<()> {
        self.set(due)?;
        let timer = (self.timer.as_fd(), PollFlags::IN);
        let mut watched: Vec<_> = std::iter::once(timer)
            .chain(descriptors)
            .map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags))
            .collect();
        match poll(&mut watched, None) {
            // A signal is read from its own descriptor.
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set(&mut self, due: Option<Time>) -> io::Result<()> {
        // A timer that has fired stays readable until it is set again; what is due now is set again too.
        if self.set == due && due.is_none() {
            return Ok(());
        }
        let never = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // Zero would turn the timer off.
        let at = due.map_or(never, |due| {
            let nanos = due.as_nanos().max(1);
            Timespec {
                tv_sec: nanos / SECOND,
                tv_nsec: nanos % SECOND,
            }
        });
        let time = Itimerspec {
            it_interval: never,
            it_value: at,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &time)?;
        self.set = due;
        Ok(())
    }
}
