//! The thread of a source: how it waits for input, reads messages, and is asked to stop.
//!
//! The request to stop is an eventfd that is never read, so a wait that begins after it was made ends at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::outbox::Outbox;
use super::{Closed, Health, Sink};

/// How many messages are read before the sink and the request to stop are looked at again.
pub(super) const TURN: usize = 1000;
/// How long a descriptor that fails is left alone.
const RETRY_WAIT: Duration = Duration::from_secs(1);

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

    /// The same, with something more to be done when the source is asked to end.
    pub(super) fn and(self, more: impl Fn() + Send + Sync + 'static) -> Self {
        let mut handle = self;
        let ask = std::mem::replace(&mut handle.ask, Box::new(|| {}));
        handle.ask = Box::new(move || {
            ask();
            more();
        });
        handle
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
        // Without an input, the request itself takes its place.
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

/// Runs `run` in a thread called `name`; it ends soon after the request that it is given was made.
pub(super) fn start(
    name: &str,
    source: u16,
    run: impl FnOnce(Stop) + Send + 'static,
) -> io::Result<Handle> {
    let stop = Stop::new()?;
    let asked = stop.clone();
    let thread = thread::Builder::new()
        .name(format!("{name}-{source}"))
        .spawn(move || run(asked))?;
    Ok(Handle::new(thread, move || stop.ask()))
}

/// Reads the messages of `input` in a thread called `name`, until the request is made or the sink closes. `read` takes
/// the next one into the outbox and never waits; [`Errno::AGAIN`] where there is none.
pub(super) fn spawn<T: AsFd + Send + 'static>(
    name: &str,
    source: u16,
    input: T,
    mut read: impl FnMut(&T, &mut Outbox) -> Result<(), Errno> + Send + 'static,
    sink: impl Sink,
) -> io::Result<Handle> {
    let mut outbox = Outbox::new(sink);
    start(name, source, move |asked| {
        loop {
            let result = read_turn(|| read(&input, &mut outbox));
            let health = match result {
                Ok(()) => Health::Following,
                Err(errno) => Health::Degraded(errno.into()),
            };
            if outbox.send_all(health) == Err(Closed) {
                return;
            }
            let woken = match result {
                Ok(()) => asked.wait(Some(input.as_fd()), None),
                Err(_) => asked.wait(None, Some(RETRY_WAIT)),
            };
            if woken == Woken::Stop {
                return;
            }
        }
    })
}

/// Reads what there is, at most a turn's worth.
fn read_turn(mut read: impl FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    for _ in 0..TURN {
        match read() {
            Ok(()) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "thread_test.rs"]
mod tests;
