//! The one queue of the daemon: whatever happens comes through here, in the order in which it did.
//!
//! It is bounded. A source that finds it full waits, so a flood of lines is held back in the kernel
//! and in the files, not in memory; the loop itself never waits for anybody who could wait for it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::signal::Signal;
use crate::clock;
use crate::engine::time::Time;
use crate::protocol::{Reply, Request};
use crate::runner::Carried;
use crate::source;

/// Messages in the queue; a batch of lines is one.
const ROOM: usize = 64;
/// The wait is cut into pieces: a timer that must count suspend cannot wait on a clock that does not.
const PIECE: Duration = Duration::from_secs(1);

/// What can happen to the daemon.
#[derive(Debug)]
pub(super) enum Message {
    /// A source has something to say.
    Source(source::Report),
    /// A command ended, or the disk refused.
    Carried(Carried),
    /// A signal came.
    Signal(Signal),
    /// Somebody asks; the reply fits into its place without waiting.
    Request(Request, SyncSender<Reply>),
}

/// The receiving end.
#[derive(Debug)]
pub(super) struct Inbox(Receiver<Message>);

/// What waiting brought.
#[derive(Debug)]
pub(super) enum Next {
    /// A message.
    Message(Message),
    /// The moment waited for has come.
    Due,
    /// There is nobody left who could say anything.
    Deserted,
}

impl Inbox {
    /// A queue: the end to send to, and the end to wait at.
    pub(super) fn new() -> (SyncSender<Message>, Self) {
        let (sender, receiver) = sync_channel(ROOM);
        (sender, Self(receiver))
    }

    /// Waits for a message, at most until `due` on the boot clock.
    pub(super) fn wait(&self, due: Option<Time>) -> Next {
        let Some(due) = due else {
            return self.0.recv().map_or(Next::Deserted, Next::Message);
        };
        loop {
            let left = due.since(clock::boot_now());
            match self.0.recv_timeout(left.min(PIECE)) {
                Ok(message) => return Next::Message(message),
                Err(RecvTimeoutError::Disconnected) => return Next::Deserted,
                Err(RecvTimeoutError::Timeout) if left <= PIECE => return Next::Due,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}
