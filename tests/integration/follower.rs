//! The follower as the daemon runs it: its own thread, real inotify, real time. Whoever waits for
//! something waits up to a limit that is far beyond what it takes.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, TrySendError};
use std::time::{Duration, Instant};

use logknock::engine::reason::Reason;
use logknock::source::file::{self, Options};
use logknock::source::{Closed, Handle, Health, Report};
use tempfile::TempDir;

/// How long anything may take at most.
const LIMIT: Duration = Duration::from_secs(20);

/// A running follower and all it has reported so far.
pub(crate) struct Follower {
    reports: Receiver<Report>,
    /// How often it has waited because its reports were not taken.
    waits: Arc<AtomicU64>,
    handle: Handle,
    pub(crate) health: Option<Health>,
    text: String,
    pub(crate) lines: u64,
    pub(crate) rejected: Vec<Reason>,
    /// How often lines were lost.
    pub(crate) lost: u32,
}

impl Follower {
    /// Follows `path`; returns when its first look is done.
    pub(crate) fn start(path: &Path) -> Self {
        Self::with_inbox(path, 100_000)
    }

    /// The same; the follower waits when so many reports are not taken.
    pub(crate) fn with_inbox(path: &Path, size: usize) -> Self {
        Self::spawned(size, |sink| {
            file::spawn(3, path.into(), Options::default(), sink)
        })
    }

    /// The same, as another source.
    pub(crate) fn numbered(path: &Path, number: u16) -> Self {
        Self::spawned(100_000, |sink| {
            file::spawn(number, path.into(), Options::default(), sink)
        })
    }

    /// One that `spawn` starts.
    pub(crate) fn spawned(
        size: usize,
        spawn: impl FnOnce(
            Box<dyn FnMut(Report) -> Result<(), Closed> + Send>,
        ) -> std::io::Result<Handle>,
    ) -> Self {
        let (inbox, reports) = mpsc::sync_channel(size);
        let waits = Arc::new(AtomicU64::new(0));
        let waiting = Arc::clone(&waits);
        let sink = move |report| match inbox.try_send(report) {
            Ok(()) => Ok(()),
            Err(TrySendError::Disconnected(_)) => Err(Closed),
            Err(TrySendError::Full(report)) => {
                waiting.fetch_add(1, Ordering::AcqRel);
                inbox.send(report).map_err(|_| Closed)
            }
        };
        let handle = spawn(Box::new(sink)).unwrap();
        let mut follower = Self {
            waits,
            reports,
            handle,
            health: None,
            text: String::new(),
            lines: 0,
            rejected: Vec::new(),
            lost: 0,
        };
        follower.wait("health", |it| it.health.is_some());
        follower
    }

    /// Takes reports until `is_done`.
    pub(crate) fn wait(&mut self, what: &str, is_done: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !is_done(self) {
            let left = limit.saturating_duration_since(Instant::now());
            match self.reports.recv_timeout(left) {
                Ok(report) if !left.is_zero() => self.take(report),
                _ => panic!("no {what}; health {:?}", self.health),
            }
        }
    }

    /// Waits until the follower waits in its sink.
    pub(crate) fn wait_until_full(&self) {
        super::logknock::eventually(
            || self.waits.load(Ordering::Acquire) > 0,
            || "the inbox is not full".to_owned(),
        );
    }

    /// Waits for exactly these lines, since the last call.
    pub(crate) fn expect(&mut self, text: &str) {
        self.wait(text, |it| it.text.len() >= text.len());
        assert_eq!(std::mem::take(&mut self.text), text);
    }

    /// Everything that came since the last call.
    pub(crate) fn take_text(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// Everything that came since the last call of [`take_text`](Self::take_text).
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Lines(batch) => {
                assert_eq!(batch.bytes.last(), Some(&b'\n'));
                assert_eq!(
                    batch.first_line,
                    self.lines + self.rejected.len() as u64 + 1
                );
                let text = String::from_utf8(batch.bytes).unwrap();
                self.lines += text.lines().count() as u64;
                self.text += &text;
            }
            Report::Rejected { reason, count, .. } => {
                self.rejected.extend((0..count).map(|_| reason));
            }
            Report::Lost { .. } => self.lost += 1,
            Report::Overflowed { .. } => {}
            other @ (Report::Packets { .. }
            | Report::Ended
            | Report::Read { .. }
            | Report::Unproven { .. }) => panic!("{other:?}"),
            Report::Health(health) => self.health = Some(health),
        }
    }

    pub(crate) fn is_following(&self) -> bool {
        self.health == Some(Health::Following)
    }

    /// Ends it as the daemon does.
    pub(crate) fn stop(self) {
        drop(self.reports);
        self.handle.stop();
    }
}

pub(crate) fn log() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kern.log");
    (dir, path)
}

pub(crate) fn append(path: &Path) -> File {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
}

pub(crate) fn write(mut file: &File, text: &str) {
    file.write_all(text.as_bytes()).unwrap();
}

/// Asserts that events bring the lines: the shortest tick, 100 ms, would take five seconds.
pub(crate) fn assert_is_woken(follower: &mut Follower, writer: &File) {
    let start = Instant::now();
    for _ in 0..50 {
        write(writer, "x\n");
        follower.expect("x\n");
    }
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
}
