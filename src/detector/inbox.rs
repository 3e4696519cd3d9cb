//! The daemon's queue: whatever happens comes through here.
//!
//! Lines have a lane of their own, in the order in which they came; everything else (the monitor's messages)
//! goes before the lines that wait, so a flood of lines delays neither an answer nor the end. Both lanes are bounded.
//! A source that finds its lane full waits, so a flood is held back in the kernel and in the files, not in memory;
//! the loop never waits for a thread that could wait for it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::clock;
use crate::engine::time::Time;
use crate::privsep::Heard;
use crate::source;

/// Messages in each lane; a batch of lines is one.
const ROOM: usize = 64;
/// The wait is cut into pieces: a timer that must count suspend cannot wait on a clock that does not.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// What can happen to the daemon.
#[derive(Debug)]
pub(super) enum Message {
    /// The source of this number has something to say.
    Source(u16, source::Report),
    /// The monitor says something.
    Heard(Heard),
}

/// The sending end.
#[derive(Clone, Debug)]
pub(super) struct Outlet {
    /// `None` only wakes the loop: something is in the other lane.
    sources: SyncSender<Option<(u16, source::Report)>>,
    others: SyncSender<Message>,
}

/// The receiving end.
#[derive(Debug)]
pub(super) struct Inbox {
    sources: Receiver<Option<(u16, source::Report)>>,
    others: Receiver<Message>,
}

/// The loop has ended: there is no receiver any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// What waiting brought.
#[derive(Debug)]
pub(super) enum Next {
    /// A message.
    Message(Message),
    /// The moment waited for has come.
    Due,
    /// There is no sender left.
    Deserted,
}

impl Outlet {
    /// Waits for room in the lane of `message`, and puts it there.
    pub(super) fn send(&self, message: Message) -> Result<(), Gone> {
        if let Message::Source(number, report) = message {
            return self.sources.send(Some((number, report))).map_err(|_| Gone);
        }
        self.others.send(message).map_err(|_| Gone)?;
        // Where there is no room the loop is awake, and looks at the other lane before its next line.
        drop(self.sources.try_send(None));
        Ok(())
    }
}

impl Inbox {
    /// A queue: the end to send to, and the end to wait at.
    pub(super) fn new() -> (Outlet, Self) {
        let (source, sources) = sync_channel(ROOM);
        let (other, others) = sync_channel(ROOM);
        let outlet = Outlet {
            sources: source,
            others: other,
        };
        (outlet, Self { sources, others })
    }

    /// Waits for a message, at most until `due` on the boot clock.
    pub(super) fn wait(&self, due: Option<Time>) -> Next {
        loop {
            if let Ok(message) = self.others.try_recv() {
                return Next::Message(message);
            }
            let left = due.map(|due| due.since(clock::boot_now()));
            let received = match left {
                None => self.sources.recv().map_err(RecvTimeoutError::from),
                Some(left) => self.sources.recv_timeout(left.min(MAX_WAIT)),
            };
            match received {
                Ok(Some((number, report))) => {
                    return Next::Message(Message::Source(number, report));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let last = self.others.try_recv();
                    return last.map_or(Next::Deserted, Next::Message);
                }
                Err(RecvTimeoutError::Timeout) if left.is_some_and(|left| left <= MAX_WAIT) => {
                    return Next::Due;
                }
                Ok(None) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

#[cfg(test)]
#[path = "inbox_test.rs"]
mod tests;
