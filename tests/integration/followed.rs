//! A followed file for tests: a tail in a temporary directory, and a clock that only the test turns.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use logknock::source::assembler::Yield;
use logknock::source::checkpoint::Checkpoint;
use logknock::source::tail::{Options, Pace, Tail};
use tempfile::TempDir;

/// A followed file in a directory of its own.
pub(crate) struct Followed {
    pub(crate) dir: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) tail: Tail,
    pub(crate) now: Duration,
    known: Option<Checkpoint>,
}

impl Followed {
    /// Nothing is at the path yet, and the tail has noticed.
    pub(crate) fn missing() -> Self {
        let mut followed = Self::unseen("kern.log");
        assert_eq!(followed.read(), "");
        followed
    }

    /// An empty file is at the path and followed.
    pub(crate) fn empty() -> Self {
        let mut followed = Self::unseen("kern.log");
        followed.create();
        assert_eq!(followed.read(), "");
        assert_eq!(followed.tail.trouble(), None);
        followed
    }

    /// There was no look yet.
    pub(crate) fn unseen(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        Self {
            tail: Tail::new(path.clone(), resuming()),
            now: Duration::from_secs(1000),
            known: None,
            dir,
            path,
        }
    }

    /// Another process takes over, which knows what this one has read.
    pub(crate) fn restart(&mut self) {
        self.known = self.tail.checkpoint().or(self.known);
        let known = self.known.map(|known| (self.path.clone(), known));
        let options = Options {
            checkpoints: Some(known.into_iter().collect()),
            ..Options::default()
        };
        self.tail = Tail::new(self.path.clone(), options);
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn create(&self) -> File {
        append(&self.path)
    }

    pub(crate) fn rename_to(&self, name: &str) {
        fs::rename(&self.path, self.at(name)).unwrap();
    }

    /// Everything that is read now: the lines as they are, `<reason>` for each dropped one.
    pub(crate) fn read(&mut self) -> String {
        let mut got = String::new();
        while self.poll(&mut got) == Pace::More {}
        got
    }

    pub(crate) fn poll(&mut self, got: &mut String) -> Pace {
        self.tail.poll(self.now, &mut |yielded| match yielded {
            Yield::Lines { bytes, .. } => got.push_str(&String::from_utf8_lossy(bytes)),
            Yield::Dropped(reason) => got.extend(["<", reason.as_str(), ">"]),
        })
    }

    pub(crate) fn read_after(&mut self, seconds: u64) -> String {
        self.now += Duration::from_secs(seconds);
        self.read()
    }
}

/// Nothing is known of earlier, and checkpoints are wanted.
fn resuming() -> Options {
    Options {
        checkpoints: Some(BTreeMap::new()),
        ..Options::default()
    }
}

/// A writer as syslog daemons are: appending.
pub(crate) fn append(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.create(true).append(true).open(path).unwrap()
}

pub(crate) fn write(mut file: &File, text: impl AsRef<[u8]>) {
    file.write_all(text.as_ref()).unwrap();
}
