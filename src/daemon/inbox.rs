//! The daemon's queue: whatever happens comes through here.
//!
//! Lines have a lane of their own, in the order in which they came; everything else (ends of commands,
//! requests, signals) goes before the lines that wait, so a flood of them holds up no close, no answer
//! and no end. Both lanes are bounded. A source that finds its lane full waits, so a flood is held back
//! in the kernel and in the files, not in memory; the loop itself never waits for anybody who could
//! wait for it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::clock;
use crate::engine::time::Time;
use crate::privsep::Heard;
use crate::protocol::{Reply, Request};
use crate::runner::Carried;
use crate::signals::Signal;
use crate::source;

/// Messages in each lane; a batch of lines is one.
const ROOM: usize = 64;
/// The wait is cut into pieces: a timer that must count suspend cannot wait on a clock that does not.
const PIECE: Duration = Duration::from_secs(1);

/// What can happen to the daemon.
#[derive(Debug)]
pub(super) enum Message {
    /// A source has something to say.
    Source(source::Report),
    /// The runner says something.
    Heard(Heard),
    /// In a dry run: a command would have been run.
    Carried(Carried),
    /// A signal came.
    Signal(Signal),
    /// Somebody asks; the reply fits into its place without waiting.
    Request(Request, SyncSender<Reply>),
}

/// The sending end.
#[derive(Clone, Debug)]
pub(super) struct Outlet {
    /// `None` only wakes the loop: something is in the other lane.
    sources: SyncSender<Option<source::Report>>,
    others: SyncSender<Message>,
}

/// The receiving end.
#[derive(Debug)]
pub(super) struct Inbox {
    sources: Receiver<Option<source::Report>>,
    others: Receiver<Message>,
}

/// The loop has ended: nobody receives any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

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

impl Outlet {
    /// Waits for room in the lane of `message`, and puts it there.
    pub(super) fn send(&self, message: Message) -> Result<(), Gone> {
        if let Message::Source(report) = message {
            return self.sources.send(Some(report)).map_err(|_| Gone);
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
                Some(left) => self.sources.recv_timeout(left.min(PIECE)),
            };
            match received {
                Ok(Some(report)) => return Next::Message(Message::Source(report)),
                Err(RecvTimeoutError::Disconnected) => {
                    let last = self.others.try_recv();
                    return last.map_or(Next::Deserted, Next::Message);
                }
                Err(RecvTimeoutError::Timeout) if left.is_some_and(|left| left <= PIECE) => {
                    return Next::Due;
                }
                Ok(None) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::source::Report;

    fn ended(source: u16) -> Message {
        Message::Source(Report::Ended { source })
    }

    fn word(next: Next) -> String {
        match next {
            Next::Message(Message::Source(Report::Ended { source })) => source.to_string(),
            Next::Message(Message::Signal(Signal::Stop)) => "stop".to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_line_goes_before_the_lines_that_wait_which_keep_their_order() {
        let (outlet, inbox) = Inbox::new();
        for source in 0..64 {
            outlet.send(ended(source)).unwrap();
        }
        assert_eq!(word(inbox.wait(None)), "0");
        outlet.send(Message::Signal(Signal::Stop)).unwrap();
        outlet.send(Message::Signal(Signal::Stop)).unwrap();
        assert_eq!(word(inbox.wait(None)), "stop");
        assert_eq!(word(inbox.wait(None)), "stop");
        for source in 1..64 {
            assert_eq!(word(inbox.wait(None)), source.to_string());
        }
        assert_eq!(word(inbox.wait(Some(Time::default()))), "Due");
    }

    #[test]
    fn what_is_no_line_ends_a_wait_for_lines() {
        let (outlet, inbox) = Inbox::new();
        thread::scope(|scope| {
            let waiting = scope.spawn(move || word(inbox.wait(None)));
            outlet.send(Message::Signal(Signal::Stop)).unwrap();
            assert_eq!(waiting.join().unwrap(), "stop");
        });
    }

    #[test]
    fn what_was_sent_last_is_received_before_the_loop_is_deserted() {
        let (outlet, inbox) = Inbox::new();
        outlet.send(ended(1)).unwrap();
        outlet.send(Message::Signal(Signal::Stop)).unwrap();
        drop(outlet);
        let words = [(); 3].map(|()| word(inbox.wait(None)));
        assert_eq!(words, ["stop", "1", "Deserted"]);
    }

    #[test]
    fn who_sends_when_the_loop_has_ended_is_told() {
        let (outlet, inbox) = Inbox::new();
        drop(inbox);
        assert_eq!(outlet.send(ended(1)), Err(Gone));
        assert_eq!(outlet.send(Message::Signal(Signal::Stop)), Err(Gone));
    }
}
