//! A process that we have started for ourselves, and that does not outlive its owner.
//!
//! In: a child. Out: how it ended. Nobody waits long for that: one that even SIGKILL does not end, as it hangs in
//! the kernel on a disk or a network that does not answer, is left to a thread.
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
    /// `child`, from now on ended with this.
    pub fn new(child: Child) -> Self {
        Self(Some(child))
    }

    /// Lets it end by itself for `moment`, kills it then, and says how it ended.
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

    /// Nobody waits for it any more but a thread.
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
mod tests {
    #![expect(clippy::disallowed_types, reason = "a test starts children")]

    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    fn start(program: &str, argument: &str) -> Owned {
        Owned::new(Command::new(program).arg(argument).spawn().unwrap())
    }

    #[test]
    fn one_that_ends_by_itself_in_time_has_its_own_status_however_often_it_is_asked() {
        let mut child = Owned::new(Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap());
        for _ in 0..2 {
            let status = child.end(Duration::from_secs(20)).unwrap();
            assert_eq!(status.code(), Some(3));
        }
    }

    #[test]
    fn one_that_does_not_is_killed() {
        let status = start("sleep", "600").end(Duration::from_millis(1));
        assert_eq!(status.unwrap().signal(), Some(9));
    }

    #[test]
    fn one_that_is_dropped_is_gone() {
        let child = start("sleep", "600");
        let path = format!("/proc/{}", child.0.as_ref().unwrap().id());
        drop(child);
        assert!(!std::path::Path::new(&path).exists());
    }
}
