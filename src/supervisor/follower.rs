//! The follower as the runner sees it: a child, and a socket to it.
//!
//! In: messages for it. Out: what it asks, and that it is gone, to the inbox. It is this program
//! again, under another name. A thread reads from it and a thread writes to it, so that one that
//! neither reads nor writes holds up nobody; one that lets too much wait, or says what is no message,
//! is ended. When the runner is killed, the kernel ends it too.
#![expect(
    clippy::disallowed_types,
    reason = "the follower is a process of its own"
)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Event;
use crate::privsep::{Ask, Broken, Channel, MAX_ASK, Tell, decode_ask};

/// This program, whatever has become of its file.
const OURSELVES: &str = "/proc/self/exe";
/// Messages that may wait for it: the ends of both commands of every grant that there may be.
const MOST: usize = 2 * 65_536;
/// How long it may take to write its records when it has nothing more to ask.
const LAST_MOMENT: Timespec = Timespec {
    tv_sec: 3,
    tv_nsec: 0,
};

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
    child: Child,
    tells: Sender<(Tell, Option<OwnedFd>)>,
    waiting: Arc<AtomicUsize>,
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
        // Made before its threads, so that it is ended if they cannot be.
        let follower = Self {
            child,
            tells,
            waiting: Arc::clone(&waiting),
        };
        let inbox = inbox.clone();
        thread::Builder::new()
            .name("asked".to_owned())
            .spawn(move || {
                let why = read(&reading, number, &inbox);
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
        let has_room = self.waiting.fetch_add(1, Ordering::Relaxed) < MOST;
        // It comes to hear nothing more when it is gone.
        drop(self.tells.send((tell, along)));
        has_room
    }

    /// Ends it, if it has not ended, and says how it did.
    pub(super) fn end(mut self) -> Option<ExitStatus> {
        // An end that has begun is what it was.
        let _ = self.child.kill();
        self.child.wait().ok()
    }

    /// Lets it end by itself, for a moment.
    pub(super) fn let_end(self) {
        if let Ok(ended) = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()) {
            let mut ended = [PollFd::new(&ended, PollFlags::IN)];
            // Met or not, it is over.
            let _ = poll(&mut ended, Some(&LAST_MOMENT));
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended, and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(channel: &Channel, number: u32, inbox: &SyncSender<Event>) -> Broken {
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
        if inbox.send(Event::Asked(number, ask)).is_err() || is_last {
            return Broken::Ended;
        }
    }
}

fn write(channel: &Channel, tells: &Receiver<(Tell, Option<OwnedFd>)>, waiting: &AtomicUsize) {
    for (tell, along) in tells {
        waiting.fetch_sub(1, Ordering::Relaxed);
        let along = along.as_ref().map(AsFd::as_fd);
        if channel.tell(&tell, along).is_err() {
            return;
        }
    }
}
