//! The thread that follows one log file, or all whose names match a pattern.
//!
//! In: wake-ups from inotify (`watch`), and a tick when there are none. Out: what [`tail`](super::tail) found, as
//! [`Report`]s with numbered lines. A file that has been quiet for a day is read as soon as a busy one: knocks are
//! rare.
//!
//! With a pattern, the directory is listed when a name in it has changed, and each file has a [`Tail`] of its own. A
//! file is what it is and not what it is called: under two names it is read once, and a file renamed from one
//! matching name to another is read on. A link's target in another directory is looked at only at the tick.
#![expect(
    clippy::disallowed_methods,
    reason = "the tick and the quiet time of renamed files are this thread's own"
)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use super::assembler::Yield;
use super::checkpoint::{Checkpoint, FileId};
use super::outbox::Outbox;
use super::stream;
pub use super::tail::Options;
use super::tail::{Pace, Tail};
use super::watch::Watch;
use super::{Closed, Handle, Health, Read, Report, Sink, Trouble};

/// How often a renamed file is looked at: its events may be in a directory that is not watched.
const DRAIN_TICK: Duration = Duration::from_millis(100);

/// How many files are followed at once.
const MAX_FILES: usize = 64;
/// How often the directory is listed though nothing is known to have changed.
const LIST_TICK: Duration = Duration::from_secs(1);
/// A file whose name is gone is closed when it has been quiet for this long.
const GONE_WAIT: Duration = Duration::from_secs(60);

/// Follows the file at `path` in a thread of its own. An existing file is followed from its end on, or
/// from where a checkpoint says that it was read to; one that appears later from its first line. `sink`
/// may wait, and ends the thread with [`Closed`].
pub fn spawn(source: u16, path: PathBuf, options: Options, sink: impl Sink) -> io::Result<Handle> {
    let tail = Tail::new(path.clone(), options);
    start(source, path.clone(), One::new(path, tail), sink)
}

/// Follows the files in `directory` whose names are `meant`, in a thread of its own. Those that are there
/// are followed from their ends on, those that appear later from their first lines.
pub fn spawn_matching(
    source: u16,
    directory: PathBuf,
    meant: impl Fn(&OsStr) -> bool + Send + 'static,
    options: Options,
    sink: impl Sink,
) -> io::Result<Handle> {
    let watched = directory.join("*");
    let many = Many {
        directory,
        meant: Box::new(meant),
        options,
        files: Vec::new(),
        is_first: true,
        list_at: Duration::ZERO,
        trouble: None,
    };
    start(source, watched, many, sink)
}

/// What such a thread follows.
trait Subject: Send + 'static {
    /// Hands over what is there.
    fn follow(&mut self, now: Duration, watch: &Watch, outbox: &mut Outbox) -> Pace;
    /// What keeps it from being followed.
    fn trouble(&self) -> Option<Trouble>;
    /// Whether a file that lost its name may still get lines.
    fn is_draining(&self, now: Duration) -> bool;
}

/// Follows `subject`, woken by what happens around `path`.
fn start(source: u16, path: PathBuf, subject: impl Subject, sink: impl Sink) -> io::Result<Handle> {
    let (wake, woken) = mpsc::sync_channel(1);
    let stop = Arc::new(AtomicBool::new(false));
    let follower = Follower {
        watch: Watch::new(path, wake.clone()),
        subject,
        outbox: Outbox::new(sink),
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

struct Follower<T> {
    watch: Watch,
    subject: T,
    outbox: Outbox,
    woken: Receiver<()>,
    stop: Arc<AtomicBool>,
}

impl<T: Subject> Follower<T> {
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
                .overflowed(self.watch.pending().take_overflows());
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
struct One {
    path: PathBuf,
    tail: Tail,
    /// The last checkpoint that was reported.
    told: Option<Checkpoint>,
    /// The last read has found the end.
    caught_up: bool,
}

impl One {
    fn new(path: PathBuf, tail: Tail) -> Self {
        Self {
            path,
            tail,
            told: None,
            caught_up: true,
        }
    }

    /// Collects what is new, and how far that is.
    fn read(&mut self, now: Duration, outbox: &mut Outbox) -> Pace {
        outbox.set_late(self.tail.is_late());
        let pace = self.tail.poll(now, &mut |yielded| outbox.take(yielded));
        self.caught_up = pace == Pace::CaughtUp;
        if self.tail.take_lost() {
            outbox.lose(None);
        }
        if self.tail.take_unproven() {
            outbox.send(Report::Unproven(self.path.clone()));
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
    fn follow(&mut self, now: Duration, watch: &Watch, outbox: &mut Outbox) -> Pace {
        let pending = watch.pending();
        // The files that had the name one after another, as long as none must be let go for it unread.
        while (self.caught_up || self.tail.has_room())
            && let Some(file) = pending.next()
        {
            let mut out = |yielded: Yield<'_>| outbox.take(yielded);
            self.tail.succeed(file, now, &mut out);
            self.caught_up = false;
        }
        let pace = self.read(now, outbox);
        if pending.take_missed() {
            outbox.lose(None);
        }
        if pending.is_empty() { pace } else { Pace::More }
    }

    fn trouble(&self) -> Option<Trouble> {
        self.tail.trouble().cloned()
    }

    fn is_draining(&self, now: Duration) -> bool {
        self.tail.is_draining(now)
    }
}

/// The files that match.
struct Many {
    directory: PathBuf,
    meant: Box<dyn Fn(&OsStr) -> bool + Send>,
    options: Options,
    files: Vec<One>,
    /// The directory was not listed yet: what is in it was there before us.
    is_first: bool,
    list_at: Duration,
    trouble: Option<Trouble>,
}

impl Subject for Many {
    fn follow(&mut self, now: Duration, watch: &Watch, outbox: &mut Outbox) -> Pace {
        let mut pace = self.read(now, outbox);
        // Behind the reading: a file that was renamed is without a name by now, and known.
        if watch.pending().take_changed() || now >= self.list_at {
            self.list_at = now + LIST_TICK;
            let before = self.files.len();
            self.files.retain(|file| !file.tail.is_gone(now, GONE_WAIT));
            self.trouble = self.list().err();
            if self.files.len() > before {
                pace = pace.max(self.read(now, outbox));
            }
        }
        pace
    }

    fn trouble(&self) -> Option<Trouble> {
        let of_one = || {
            let mut files = self.files.iter();
            files.find_map(|file| match file.tail.trouble()? {
                // Its name is gone: other files have names.
                Trouble::Missing => None,
                trouble => Some(Trouble::Of(file.path.clone(), Box::new(trouble.clone()))),
            })
        };
        self.trouble.clone().or_else(of_one)
    }

    fn is_draining(&self, now: Duration) -> bool {
        self.files.iter().any(|file| file.tail.is_draining(now))
    }
}

impl Many {
    fn read(&mut self, now: Duration, outbox: &mut Outbox) -> Pace {
        let mut pace = Pace::CaughtUp;
        for file in &mut self.files {
            pace = pace.max(file.read(now, outbox));
            // The sink may have closed: the caller sees that when it sends for itself.
            let _ = outbox.flush();
        }
        pace
    }

    /// Takes up the files that are not followed yet.
    fn list(&mut self) -> Result<(), Trouble> {
        let names = match self.names() {
            Ok(names) => names,
            Err(error) => {
                let trouble = Trouble::from(stream::errno(&error));
                // What is in a directory that may not be read was there before.
                self.is_first &= trouble != Trouble::Missing;
                return Err(trouble);
            }
        };
        let mut is_full = false;
        for path in &names {
            if self.files.iter().any(|file| file.path == *path) {
                continue;
            }
            let Ok(found) = fs::metadata(path) else {
                continue;
            };
            if found.is_file() && !self.is_followed(FileId::of(&found)) {
                is_full |= self.files.len() == MAX_FILES;
                if !is_full {
                    self.take_up(path, FileId::of(&found));
                }
            }
        }
        self.is_first = false;
        match names.as_slice() {
            _ if is_full => Err(Trouble::TooMany(MAX_FILES)),
            [] => Err(Trouble::NoMatch),
            _ => Ok(()),
        }
    }

    fn names(&self) -> io::Result<Vec<PathBuf>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            if (self.meant)(&name) {
                names.push(self.directory.join(name));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Whether it has another name that it is followed under.
    fn is_followed(&self, id: FileId) -> bool {
        self.files.iter().any(|file| file.tail.is_at(id))
    }

    fn take_up(&mut self, path: &Path, id: FileId) {
        let mut files = self.files.iter_mut();
        let renamed = files.find_map(|file| file.tail.give_up(id));
        let options = self.options.clone();
        let mut tail = Tail::new(path.to_owned(), options);
        if let Some(renamed) = renamed {
            tail.take_over(renamed);
        } else if !self.is_first {
            tail.take_as_new();
        }
        self.files.push(One::new(path.to_owned(), tail));
    }
}
