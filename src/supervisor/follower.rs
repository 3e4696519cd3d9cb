//! The follower as the runner sees it: a child, and a socket to it.
//!
//! In: messages for it. Out: what it asks, and that it is gone, to the inbox. It is this program
//! again, under another name. A thread reads from it and a thread writes to it, so that one that
//! neither reads nor writes holds up nobody; one that lets too much wait, or says what is no message,
//! is ended; and of one that asks too much no more is read than is carried out. When the runner is killed,
//! the kernel ends it too.
#![expect(
    clippy::disallowed_types,
    reason = "the follower is a process of its own"
)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::Duration;

use super::Event;
use crate::child::Owned;
use crate::privsep::{Ask, Broken, Channel, MAX_ASK, Tell, decode_ask};

/// This program, whatever has become of its file.
const OURSELVES: &str = "/proc/self/exe";
/// Messages that may wait for it: the ends of both commands of every grant that there may be.
const MOST: usize = 2 * 65_536;
/// A piece of the configuration takes the room of so many, …
const PIECE: usize = 64;
/// … and a descriptor of so many: the commands need some too.
const DESCRIPTOR: usize = MOST / 16;
/// Asks that wait to be carried out; further ones wait with it. Signals and the ends of commands wait behind
/// no more of them than this.
const AT_ONCE: usize = 16;
/// How long it may take to write its records when it has nothing more to ask.
const LAST_MOMENT: Duration = Duration::from_secs(3);

/// What it is started with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The name that tells it what it is.
    pub name: &'static str,
    /// Our own arguments.
    pub arguments: Vec<OsString>,
}

/// The child.
pub(super) struct Follower {
    child: Owned,
    tells: Sender<(Tell, Option<OwnedFd>)>,
    waiting: Arc<AtomicUsize>,
    /// One for each ask that waits to be carried out.
    asked: Receiver<()>,
}

impl Follower {
    /// Starts it, as number `number`; what it says comes to `inbox` under that number.
    pub(super) fn start(start: &Start, number: u32, inbox: &SyncSender<Event>) -> io::Result<Self> {
        let (ours, theirs) = Channel::pair()?;
        let reading = ours.try_clone()?;
        let child = Command::new(OURSELVES)
            .arg0(start.name)
            .args(&start.arguments)
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(theirs))
            .spawn()?;
        let (tells, to_say) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let (places, asked) = mpsc::sync_channel(AT_ONCE);
        // Made before its threads, so that it is ended if they cannot be.
        let follower = Self {
            child: Owned::new(child),
            tells,
            waiting: Arc::clone(&waiting),
            asked,
        };
        let inbox = inbox.clone();
        thread::Builder::new()
            .name("asked".to_owned())
            .spawn(move || {
                let why = read(&reading, number, &inbox, &places);
                // Nobody listens only once we have stopped.
                drop(inbox.send(Event::Gone(number, why)));
            })?;
        thread::Builder::new()
            .name("tell".to_owned())
            .spawn(move || write(&ours, &to_say, &waiting))?;
        Ok(follower)
    }

    /// Tells it something. Never waits; whether there was room.
    pub(super) fn tell(&self, tell: Tell, along: Option<OwnedFd>) -> bool {
        let room = room(&tell, along.as_ref());
        let has_room = self.waiting.fetch_add(room, Ordering::Relaxed) < MOST;
        // It comes to hear nothing more when it is gone.
        drop(self.tells.send((tell, along)));
        has_room
    }

    /// So many of its asks have been carried out, and as many more may come.
    pub(super) fn answered(&self, asks: usize) {
        for () in self.asked.try_iter().take(asks) {}
    }

    /// Ends it, if it has not ended, and says how it did.
    pub(super) fn end(mut self) -> Option<ExitStatus> {
        self.child.end(Duration::ZERO)
    }

    /// Lets it end by itself, for a moment.
    pub(super) fn let_end(mut self) {
        self.child.end(LAST_MOMENT);
    }
}

/// The room that a message takes while it waits.
fn room(tell: &Tell, along: Option<&OwnedFd>) -> usize {
    match (tell, along) {
        (_, Some(_)) => DESCRIPTOR,
        (Tell::Rules { .. }, None) => PIECE,
        _ => 1,
    }
}

fn read(
    channel: &Channel,
    number: u32,
    inbox: &SyncSender<Event>,
    places: &SyncSender<()>,
) -> Broken {
    let mut room = [0; MAX_ASK];
    loop {
        let ask = match channel.receive(&mut room) {
            Ok(bytes) => decode_ask(bytes),
            Err(why) => return why,
        };
        let Some(ask) = ask else {
            return Broken::Garbage;
        };
        let is_last = ask == Ask::Done;
        if places.send(()).is_err() {
            return Broken::Ended;
        }
        if inbox.send(Event::Asked(number, ask)).is_err() || is_last {
            return Broken::Ended;
        }
    }
}

fn write(channel: &Channel, tells: &Receiver<(Tell, Option<OwnedFd>)>, waiting: &AtomicUsize) {
    for (tell, along) in tells {
        waiting.fetch_sub(room(&tell, along.as_ref()), Ordering::Relaxed);
        let along = along.as_ref().map(AsFd::as_fd);
        if channel.tell(&tell, along).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;
    use crate::privsep::pieces;

    #[test]
    fn what_waits_for_one_that_does_not_read_is_little_and_few_descriptors() {
        let room = || {
            let (tells, unread) = mpsc::channel();
            let (_, asked) = mpsc::channel();
            let child = Owned::new(Command::new("sleep").arg("600").spawn().unwrap());
            let waiting = Arc::default();
            let follower = Follower {
                child,
                tells,
                waiting,
                asked,
            };
            (follower, unread)
        };
        let (follower, _unread) = room();
        let descriptor = || Some(Channel::pair().unwrap().1);
        let told = iter::repeat_with(|| follower.tell(Tell::Journal(0), descriptor()));
        assert_eq!(told.take_while(|had_room| *had_room).count(), 16);

        let (follower, _unread) = room();
        let piece = pieces(&"x".repeat(8192)).remove(0);
        let told = iter::repeat_with(|| follower.tell(piece.clone(), None));
        let bytes = told.take_while(|had_room| *had_room).count() * 8192;
        assert!((1 << 22..=1 << 24).contains(&bytes), "{bytes}");
    }

    #[test]
    fn no_more_is_read_of_what_is_asked_than_is_carried_out() {
        let (ours, theirs) = Channel::pair().unwrap();
        let (inbox, events) = mpsc::sync_channel(1024);
        let (places, asked) = mpsc::sync_channel(AT_ONCE);
        thread::scope(|scope| {
            let reading = scope.spawn(move || read(&ours, 1, &inbox, &places));
            for _ in 0..100 {
                rustix::io::write(&theirs, br#"{"close":1}"#).unwrap();
            }
            for number in 0..40 {
                assert!(
                    matches!(events.recv().unwrap(), Event::Asked(1, Ask::Close(1))),
                    "{number}"
                );
                if number < 40 - AT_ONCE {
                    asked.recv().unwrap();
                }
            }
            drop(asked);
            assert_eq!(reading.join().unwrap(), Broken::Ended);
            assert_eq!(events.try_iter().count(), 0);
        });
    }
}
