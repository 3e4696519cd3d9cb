//! Waiting for input, and being asked to stop meanwhile.
//!
//! In: a descriptor to read from. Out: what ended the wait. The request is an eventfd that is never
//! read, so that whoever waits after it was made does not wait at all.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// A request to stop, made by one thread and seen by another.
#[derive(Clone, Debug)]
pub(super) struct Stop(Arc<OwnedFd>);

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// There may be something to read.
    Input,
    /// The source is to end.
    Stop,
    /// The time is over.
    Timeout,
}

impl Stop {
    /// A request that has not been made yet.
    pub(super) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(Arc::new(eventfd(0, flags)?)))
    }

    /// Makes it.
    pub(super) fn ask(&self) {
        // It fails only when it has been made more often than a u64 can count.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Waits until `input` can be read, or the request is made; for ever when no `timeout` is given.
    pub(super) fn wait(&self, input: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Woken {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let stop = PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN);
        // Where there is no input, the request itself stands in for it.
        let input = input.unwrap_or(self.0.as_fd());
        let mut both = [stop, PollFd::from_borrowed_fd(input, PollFlags::IN)];
        loop {
            match poll(&mut both, timeout.as_ref()) {
                Err(Errno::INTR) => {}
                Ok(0) => return Woken::Timeout,
                // Whatever else is wrong, reading the input will say so.
                Err(_) => return Woken::Input,
                Ok(_) => {
                    let asked = both.first().is_some_and(|stop| !stop.revents().is_empty());
                    return if asked { Woken::Stop } else { Woken::Input };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_input_or_time_or_the_request_which_is_for_ever() {
        let stop = Stop::new().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let moment = Some(Duration::from_millis(1));
        assert_eq!(stop.wait(None, moment), Woken::Timeout);
        assert_eq!(stop.wait(Some(reader.as_fd()), moment), Woken::Timeout);
        rustix::io::write(&writer, b"x").unwrap();
        assert_eq!(stop.wait(Some(reader.as_fd()), None), Woken::Input);
        stop.clone().ask();
        assert_eq!(stop.wait(Some(reader.as_fd()), None), Woken::Stop);
        assert_eq!(stop.wait(None, None), Woken::Stop);
    }

    #[test]
    fn the_end_of_the_input_is_input() {
        let stop = Stop::new().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(writer);
        assert_eq!(stop.wait(Some(reader.as_fd()), None), Woken::Input);
    }
}
