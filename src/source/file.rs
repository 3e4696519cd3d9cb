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

use super::checkpoint::Checkpoint;
use super::outbox::Outbox;
pub use super::tail::Options;
use super::tail::{Pace, Tail};
use super::watch::Watch;
use super::{Closed, Handle, Health, Read, Report};

/// How often a renamed file is looked at: its events may be in a directory that is not watched.
const DRAIN_TICK: Duration = Duration::from_millis(100);

/// Follows the file at `path` in a thread of its own. An existing file is followed from its end on,
/// one that appears later from its first line. `sink` may wait, and ends the thread with [`Closed`].
pub fn spawn(
    source: u16,
    path: PathBuf,
    options: Options,
    sink: impl FnMut(Report) -> Result<(), Closed> + Send + 'static,
) -> io::Result<Handle> {
    let (wake, woken) = mpsc::sync_channel(1);
    let stop = Arc::new(AtomicBool::new(false));
    let follower = Follower {
        watch: Watch::new(path.clone(), wake.clone()),
        tail: Tail::new(path.clone(), options),
        path,
        source,
        told: None,
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

struct Follower<S> {
    watch: Watch,
    tail: Tail,
    outbox: Outbox<S>,
    path: PathBuf,
    source: u16,
    /// The last checkpoint that was told.
    told: Option<Checkpoint>,
    woken: Receiver<()>,
    stop: Arc<AtomicBool>,
}

impl<S: FnMut(Report) -> Result<(), Closed>> Follower<S> {
    fn run(mut self) {
        let start = Instant::now();
        let mut arm_at = Duration::ZERO;
        while !self.stop.load(Ordering::Acquire) {
            let now = start.elapsed();
            if now >= arm_at {
                self.watch.arm();
                arm_at = now + self.watch.interval();
            }
            self.outbox.set_late(self.tail.is_late());
            let outbox = &mut self.outbox;
            let pace = self.tail.poll(now, &mut |yielded| outbox.take(yielded));
            self.tell_place();
            let health = self.health();
            if self.outbox.send_all(health) == Err(Closed) {
                return;
            }
            if pace == Pace::CaughtUp {
                self.wait(start.elapsed(), arm_at);
            }
        }
    }

    /// Tells how far the file is read, when that is news.
    fn tell_place(&mut self) {
        let (source, path) = (self.source, &self.path);
        if self.tail.take_unproven() {
            let path = path.clone();
            self.outbox.send(Report::Unproven { source, path });
        }
        let now = self.tail.checkpoint();
        if let Some(checkpoint) = now.filter(|_| now != self.told) {
            self.told = now;
            let path = path.clone();
            self.outbox.read(Read { path, checkpoint });
        }
    }

    fn wait(&self, now: Duration, arm_at: Duration) {
        let tick = arm_at.saturating_sub(now);
        let timeout = if self.tail.is_draining(now) {
            tick.min(DRAIN_TICK)
        } else {
            tick
        };
        // Woken or not, the file is looked at; the other end is in this struct and cannot close.
        let _ = self.woken.recv_timeout(timeout);
    }

    fn health(&self) -> Health {
        let trouble = self.tail.trouble().or(self.watch.trouble());
        trouble.map_or(Health::Following, |trouble| {
            Health::Degraded(trouble.clone())
        })
    }
}
