//! A child process that does not outlive its owner.
//!
//! In: a child. Out: how it ended. The owner does not wait long. A child that hangs in the kernel, on a disk or a
//! network that does not answer, survives even SIGKILL; a thread waits for it.
#![expect(
    clippy::disallowed_methods,
    reason = "one that cannot be ended is left to a thread"
)]

use std::process::{Child, ExitStatus};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How long a killed one may take to be gone; mostly it is so at once.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// How often to look where the kernel gives no pidfd (before Linux 5.3, or out of descriptors).
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The child; `None` once it has been left to a thread.
#[derive(Debug)]
pub struct Owned(Option<Child>);

impl Owned {
    /// Takes `child`, which ends when this is dropped.
    pub fn new(child: Child) -> Self {
        Self(Some(child))
    }

    /// Waits `moment` for its end, then kills it. Returns how it ended.
    pub fn end(&mut self, moment: Duration) -> Option<ExitStatus> {
        if let Some(status) = self.ended_within(moment) {
            return Some(status);
        }
        // It may have ended just now.
        let _ = self.0.as_mut()?.kill();
        let status = self.ended_within(LAST_MOMENT);
        if status.is_none() {
            self.leave();
        }
        status
    }

    /// Returns the child, which may now outlive us; `None` if a thread waits for it.
    pub fn release(mut self) -> Option<Child> {
        self.0.take()
    }

    fn ended_within(&mut self, span: Duration) -> Option<ExitStatus> {
        let child = self.0.as_mut()?;
        let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty());
        let mut left = span;
        if let Ok(ended) = &pidfd {
            let mut ended = [PollFd::new(ended, PollFlags::IN)];
            let span = Timespec::try_from(span).ok();
            // Met or not, it is looked at once. A signal to us is not its end.
            let _ = retry_on_intr(|| poll(&mut ended, span.as_ref()));
            left = Duration::ZERO;
        }
        loop {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(status);
            }
            if left.is_zero() {
                return None;
            }
            thread::sleep(LOOK_AGAIN);
            left = left.saturating_sub(LOOK_AGAIN);
        }
    }

    /// Only a thread still waits for it.
    fn leave(&mut self) {
        let child = self.0.take();
        // Without a thread it stays a zombie until we end.
        let _ = thread::Builder::new()
            .name("reaper".to_owned())
            .spawn(move || child.map(|mut child| child.wait()));
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

#[cfg(test)]
#[path = "child_test.rs"]
mod tests;
