//! The thread that follows one log file.
//!
//! In: wake-ups from inotify (`watch`), and a tick when there are none. Out: what
//! [`tail`](super::tail) found, as [`Report`]s with numbered lines. It decides nothing about files.
//! A file that has been quiet for a day is looked at as soon as one that is busy: knocks are rare.
#![expect(
    clippy::disallowed_methods,
    reason = "the tick and the quiet time of renamed files are this thread's own"
)]

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::assembler::Yield;
use super::checkpoint::Checkpoint;
use super::outbox::Outbox;
pub use super::tail::Options;
use super::tail::{Pace, Tail};
use super::watch::Watch;
use super::{Closed, Handle, Health, Read, Report, Trouble};

/// How often a renamed file is looked at: its events may be in a directory that is not watched.
const DRAIN_TICK: Duration = Duration::from_millis(100);

/// Follows the file at `path` in a thread of its own. An existing file is followed from its end on, or
/// from where a checkpoint says that it was read to; one that appears later from its first line. `sink`
/// may wait, and ends the thread with [`Closed`].
pub fn spawn(
    source: u16,
    path: PathBuf,
    options: Options,
    sink: impl FnMut(Report) -> Result<(), Closed> + Send + 'static,
) -> io::Result<Handle> {
    let tail = Tail::new(path.clone(), options);
    start(source, path.clone(), One::new(source, path, tail), sink)
}

/// What such a thread follows.
pub(super) trait Subject: Send + 'static {
    /// Hands over what is there.
    fn follow<S: FnMut(Report) -> Result<(), Closed>>(
        &mut self,
        now: Duration,
        watch: &Watch,
        outbox: &mut Outbox<S>,
    ) -> Pace;
    /// What keeps it from being followed.
    fn trouble(&self) -> Option<Trouble>;
    /// Whether a file that lost its name may still get lines.
    fn is_draining(&self, now: Duration) -> bool;
}

/// Follows `subject`, woken by what happens around `path`.
pub(super) fn start(
    source: u16,
    path: PathBuf,
    subject: impl Subject,
    sink: impl FnMut(Report) -> Result<(), Closed> + Send + 'static,
) -> io::Result<Handle> {
    let (wake, woken) = mpsc::sync_channel(1);
    let stop = Arc::new(AtomicBool::new(false));
    let follower = Follower {
        watch: Watch::new(path, wake.clone()),
        subject,
        outbox: Outbox::new(source, sink),
        woken,
        stop: Arc::clone(&stop),
    };
    let thread = thread::Builder::new()
        .name(format!("follow-{source}"))
        .spawn(move || follower.run())?;
    Ok(Handle::new(thread, move || {
        stop.store(true, Ordering::Release);
        // Full means that it is about to wake up anyway.
        let _ = wake.try_send(());
    }))
}

struct Follower<T, S> {
    watch: Watch,
    subject: T,
    outbox: Outbox<S>,
    woken: Receiver<()>,
    stop: Arc<AtomicBool>,
}

impl<T: Subject, S: FnMut(Report) -> Result<(), Closed>> Follower<T, S> {
    fn run(mut self) {
        let start = Instant::now();
        let mut arm_at = Duration::ZERO;
        while !self.stop.load(Ordering::Acquire) {
            let now = start.elapsed();
            if now >= arm_at {
                self.watch.arm();
                arm_at = now + self.watch.interval();
            }
            let pace = self.subject.follow(now, &self.watch, &mut self.outbox);
            self.outbox
                .overflowed(self.watch.lookout().take_overflows());
            let health = self.health();
            if self.outbox.send_all(health) == Err(Closed) {
                return;
            }
            if pace == Pace::CaughtUp {
                self.wait(start.elapsed(), arm_at);
            }
        }
    }

    fn wait(&self, now: Duration, arm_at: Duration) {
        let tick = arm_at.saturating_sub(now);
        let timeout = if self.subject.is_draining(now) {
            tick.min(DRAIN_TICK)
        } else {
            tick
        };
        // Woken or not, the file is looked at; the other end is in this struct and cannot close.
        let _ = self.woken.recv_timeout(timeout);
    }

    fn health(&self) -> Health {
        let trouble = self.subject.trouble();
        let trouble = trouble.or_else(|| self.watch.trouble().cloned());
        trouble.map_or(Health::Following, Health::Degraded)
    }
}

/// One file.
pub(super) struct One {
    pub(super) path: PathBuf,
    pub(super) tail: Tail,
    source: u16,
    /// The last checkpoint that was told.
    told: Option<Checkpoint>,
    /// The last read has found the end.
    caught_up: bool,
}

impl One {
    pub(super) fn new(source: u16, path: PathBuf, tail: Tail) -> Self {
        Self {
            path,
            tail,
            source,
            told: None,
            caught_up: true,
        }
    }

    /// Collects what is new, and how far that is.
    pub(super) fn read<S: FnMut(Report) -> Result<(), Closed>>(
        &mut self,
        now: Duration,
        outbox: &mut Outbox<S>,
    ) -> Pace {
        outbox.set_late(self.tail.is_late());
        let pace = self.tail.poll(now, &mut |yielded| outbox.take(yielded));
        self.caught_up = pace == Pace::CaughtUp;
        if self.tail.take_lost() {
            outbox.lose(None);
        }
        if self.tail.take_unproven() {
            let (source, path) = (self.source, self.path.clone());
            outbox.send(Report::Unproven { source, path });
        }
        let now = self.tail.checkpoint();
        if let Some(checkpoint) = now.filter(|_| now != self.told) {
            self.told = now;
            let path = self.path.clone();
            outbox.read(Read { path, checkpoint });
        }
        pace
    }
}

impl Subject for One {
    fn follow<S: FnMut(Report) -> Result<(), Closed>>(
        &mut self,
        now: Duration,
        watch: &Watch,
        outbox: &mut Outbox<S>,
    ) -> Pace {
        let lookout = watch.lookout();
        // The files that had the name one after another, as long as none must be let go for it unread.
        while (self.caught_up || self.tail.has_room())
            && let Some(file) = lookout.next()
        {
            let mut out = |yielded: Yield<'_>| outbox.take(yielded);
            self.tail.succeed(file, now, &mut out);
            self.caught_up = false;
        }
        let pace = self.read(now, outbox);
        if lookout.take_missed() {
            outbox.lose(None);
        }
        if lookout.is_empty() { pace } else { Pace::More }
    }

    fn trouble(&self) -> Option<Trouble> {
        self.tail.trouble().cloned()
    }

    fn is_draining(&self, now: Duration) -> bool {
        self.tail.is_draining(now)
    }
}
