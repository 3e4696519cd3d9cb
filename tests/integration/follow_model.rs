//! Random histories of a log file, against a model of it.
//!
//! A history is a list of what writers, log rotation and administrators do, with looks of the
//! follower in between. It is done twice: to real files, and to a model that has every file as a
//! byte vector and remembers all that was read of it. After each look both must have yielded the
//! same lines in the same order. A second test has no model: where nothing is truncated, every
//! line ever written must come out once. A failure prints its seed; `LOGKNOCK_SEED=n` runs that one
//! history, `LOGKNOCK_LONG=1` many more of them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use logknock::engine::reason::Reason;
use logknock::source::assembler::{MAX_LINE, Yield};
use logknock::source::tail::{Options, Pace, Tail};
use tempfile::TempDir;

/// How many files without the name are read on.
const MAX_RETIRED: usize = 8;

/// What came out: a line with its newline, or why one did not.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    Line(String),
    Dropped(Reason),
}

/// One step of a history. File numbers count the files in the order in which they were made.
#[derive(Clone, Debug)]
enum Step {
    /// Append to a file, which need not have the name any more.
    Write(usize, Vec<u8>),
    /// Rename the file away, so that nothing has the name.
    Rename,
    /// Give the name to an empty file.
    Create,
    /// Rename and create.
    Rotate,
    /// Put a new file with this content over the name.
    Replace(Vec<u8>),
    /// Put a link to a new file with this content over the name.
    Relink(Vec<u8>),
    /// Give the name back to a file that was renamed.
    RenameBack(usize),
    /// Cut a file to this size.
    Truncate(usize, usize),
    /// Cut a file to nothing and fill it with this.
    Refill(usize, Vec<u8>),
    /// Cut a file to nothing and let a writer that does not append go on where it was.
    Hole(usize, Vec<u8>),
    /// Delete; the writer may keep the file open or close it.
    Delete { is_closed: bool },
    /// Make a directory of the name.
    Obstruct,
    /// Rename the file's directory and make it anew.
    ReplaceDirectory,
    /// Let time pass, and look.
    Look(Duration),
}

impl Step {
    fn makes_a_file(&self) -> bool {
        matches!(
            self,
            Self::Create | Self::Rotate | Self::Replace(_) | Self::Relink(_)
        )
    }
}

/// Random numbers (splitmix64): a history is its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// The real side.
struct Real {
    dir: TempDir,
    path: PathBuf,
    files: Vec<Option<File>>,
    tail: Tail,
}

impl Real {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        let path = dir.path().join("log/kern.log");
        let tail = Tail::new(path.clone(), Options::default());
        let files = Vec::new();
        Self {
            dir,
            path,
            files,
            tail,
        }
    }

    /// The name that file `number` has when it does not have *the* name.
    fn aside(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("kern.log.{number}"))
    }

    fn make(&mut self, path: PathBuf, content: &[u8]) {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .append(true)
            .create_new(true)
            .open(path)
            .unwrap();
        file.write_all(content).unwrap();
        self.files.push(Some(file));
    }

    fn file(&mut self, number: usize) -> &mut File {
        self.files[number].as_mut().unwrap()
    }

    fn apply(&mut self, step: &Step, named: Option<usize>) {
        let count = self.files.len();
        match step {
            Step::Write(file, bytes) => self.file(*file).write_all(bytes).unwrap(),
            Step::Rename => fs::rename(&self.path, self.aside(named.unwrap())).unwrap(),
            Step::Create => {
                let _ = fs::remove_dir(&self.path);
                self.make(self.path.clone(), b"");
            }
            Step::Rotate => {
                fs::rename(&self.path, self.aside(named.unwrap())).unwrap();
                self.make(self.path.clone(), b"");
            }
            Step::Replace(content) => {
                let _ = fs::remove_dir(&self.path);
                self.make(self.aside(count), content);
                fs::rename(self.aside(count), &self.path).unwrap();
            }
            Step::Relink(content) => {
                let _ = fs::remove_dir(&self.path);
                self.make(self.dir.path().join(format!("target.{count}")), content);
                let link = self.dir.path().join("link");
                symlink(format!("../target.{count}"), &link).unwrap();
                fs::rename(link, &self.path).unwrap();
            }
            Step::RenameBack(file) => {
                let _ = fs::remove_dir(&self.path);
                fs::rename(self.aside(*file), &self.path).unwrap();
            }
            Step::Truncate(file, size) => self.file(*file).set_len(*size as u64).unwrap(),
            Step::Refill(file, bytes) => {
                self.file(*file).set_len(0).unwrap();
                self.file(*file).write_all(bytes).unwrap();
            }
            Step::Hole(file, bytes) => {
                let file = self.file(*file);
                let size = file.metadata().unwrap().len();
                file.set_len(0).unwrap();
                file.set_len(size).unwrap();
                file.write_all_at(bytes, size).unwrap(); // Linux appends, which is there as well
            }
            Step::Delete { is_closed } => {
                fs::remove_file(&self.path).unwrap();
                if *is_closed {
                    self.files[named.unwrap()] = None;
                }
            }
            Step::Obstruct => fs::create_dir(&self.path).unwrap(),
            Step::ReplaceDirectory => {
                let aside = self.dir.path().join(format!("log.{count}.{}", unique()));
                fs::rename(self.dir.path().join("log"), aside).unwrap();
                fs::create_dir(self.dir.path().join("log")).unwrap();
            }
            Step::Look(_) => {}
        }
    }

    fn look(&mut self, now: Duration) -> Vec<Got> {
        let mut got = Vec::new();
        let mut out = |yielded: Yield<'_>| match yielded {
            Yield::Lines { bytes, .. } => got.extend(
                bytes
                    .split_inclusive(|&byte| byte == b'\n')
                    .map(|line| Got::Line(String::from_utf8_lossy(line).into())),
            ),
            Yield::Dropped(reason) => got.push(Got::Dropped(reason)),
        };
        while self.tail.poll(now, &mut out) == Pace::More {}
        got
    }
}

/// A number that no other call gets.
fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// One file of the model: what it holds, and what the follower knows of it.
#[derive(Clone, Debug, Default)]
struct Inode {
    content: Vec<u8>,
    is_writable: bool,
    is_aside: bool,
    read: Vec<u8>,
    begun: Vec<u8>,
    is_unwanted: bool,
    lines: usize,
    active: Duration,
}

impl Inode {
    fn new(content: &[u8]) -> Self {
        Self {
            content: content.to_vec(),
            is_writable: true,
            ..Self::default()
        }
    }

    fn forget(&mut self, now: Duration) {
        self.read.clear();
        self.begun.clear();
        self.is_unwanted = false;
        self.lines = 0;
        self.active = now;
    }

    fn discard(&mut self, got: &mut Vec<Got>) {
        if !self.begun.is_empty() {
            got.push(Got::Dropped(Reason::Partial));
        }
        self.begun.clear();
        self.is_unwanted = false;
    }

    fn look(&mut self, now: Duration, got: &mut Vec<Got>) {
        if !self.content.starts_with(&self.read) {
            self.discard(got);
            self.read.clear();
        }
        for &byte in &self.content[self.read.len()..] {
            self.active = now;
            match byte {
                b'\n' if self.is_unwanted => self.is_unwanted = false,
                b'\n' => {
                    self.begun.push(byte);
                    let line = std::mem::take(&mut self.begun);
                    got.push(Got::Line(String::from_utf8_lossy(&line).into()));
                    self.lines += 1;
                }
                0 if self.begun.is_empty() => {}
                _ if self.is_unwanted => {}
                _ if self.begun.len() == MAX_LINE => {
                    got.push(Got::Dropped(Reason::TooLong));
                    self.begun.clear();
                    self.is_unwanted = true;
                }
                byte => self.begun.push(byte),
            }
        }
        self.read.clone_from(&self.content);
    }
}

/// What has the followed name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Nothing,
    Directory,
    File(usize),
    Link(usize),
}

impl Named {
    fn file(self) -> Option<usize> {
        match self {
            Self::File(file) | Self::Link(file) => Some(file),
            Self::Nothing | Self::Directory => None,
        }
    }
}

/// The model side.
struct Model {
    inodes: Vec<Inode>,
    named: Named,
    current: Option<usize>,
    retired: Vec<usize>,
    now: Duration,
}

impl Model {
    fn new() -> Self {
        Self {
            inodes: Vec::new(),
            named: Named::Nothing,
            current: None,
            retired: Vec::new(),
            now: Duration::from_secs(1),
        }
    }

    fn make(&mut self, content: &[u8]) -> usize {
        self.inodes.push(Inode::new(content));
        self.inodes.len() - 1
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Write(file, bytes) => self.inodes[*file].content.extend(bytes),
            Step::Rename | Step::Rotate => {
                // A renamed link is still no file of its own.
                if let Named::File(file) = self.named {
                    self.inodes[file].is_aside = true;
                }
                self.named = Named::Nothing;
                if matches!(step, Step::Rotate) {
                    self.named = Named::File(self.make(b""));
                }
            }
            Step::Create => self.named = Named::File(self.make(b"")),
            Step::Replace(content) => self.named = Named::File(self.make(content)),
            Step::Relink(content) => self.named = Named::Link(self.make(content)),
            Step::RenameBack(file) => {
                self.inodes[*file].is_aside = false;
                self.named = Named::File(*file);
            }
            Step::Truncate(file, size) => self.inodes[*file].content.truncate(*size),
            Step::Refill(file, bytes) => self.inodes[*file].content.clone_from(bytes),
            Step::Hole(file, bytes) => {
                let content = &mut self.inodes[*file].content;
                content.fill(0);
                content.extend(bytes);
            }
            Step::Delete { is_closed } => {
                if *is_closed && let Some(file) = self.named.file() {
                    self.inodes[file].is_writable = false;
                }
                self.named = Named::Nothing;
            }
            Step::Obstruct => self.named = Named::Directory,
            Step::ReplaceDirectory => self.named = Named::Nothing,
            Step::Look(passed) => self.now += *passed,
        }
    }

    fn look(&mut self) -> Vec<Got> {
        let mut got = Vec::new();
        if self.current != self.named.file() {
            self.change_over(&mut got);
        }
        for &file in self.retired.iter().chain(&self.current) {
            self.inodes[file].look(self.now, &mut got);
        }
        let mut succeeded = self.current.is_some_and(|file| self.inodes[file].lines > 0);
        for at in (0..self.retired.len()).rev() {
            let inode = &mut self.inodes[self.retired[at]];
            let is_quiet = self.now.saturating_sub(inode.active) >= Options::default().rotate_wait;
            let may_go = succeeded && is_quiet;
            succeeded |= inode.lines > 0;
            if may_go {
                inode.discard(&mut got);
                self.retired.remove(at);
            }
        }
        got
    }

    fn change_over(&mut self, got: &mut Vec<Got>) {
        if let Some(old) = self.current.take() {
            self.inodes[old].active = self.now;
            self.retired.push(old);
            if self.retired.len() > MAX_RETIRED {
                let first = self.retired.remove(0);
                self.inodes[first].discard(got);
            }
        }
        self.current = self.named.file();
        if let Some(new) = self.current {
            match self.retired.iter().position(|&old| old == new) {
                Some(at) => drop(self.retired.remove(at)),
                None => self.inodes[new].forget(self.now),
            }
        }
    }
}

/// Makes steps that are possible in the model's present state.
struct Author {
    random: Random,
    next: usize,
    may_truncate: bool,
}

impl Author {
    /// A text that never was before; letters only behind its number.
    fn text(&mut self, length: usize) -> Vec<u8> {
        self.next += 1;
        let mut text = format!("{}:", self.next).into_bytes();
        text.extend((0..length).map(|_| b"abcdefghijklmnopqrstuvwxyz"[self.random.below(26)]));
        text
    }

    fn lines(&mut self) -> Vec<u8> {
        let mut lines = Vec::new();
        for _ in 0..=self.random.below(3) {
            let length = if self.random.chance(2) {
                9000
            } else {
                self.random.below(200)
            };
            lines.extend(self.text(length));
            if self.random.chance(80) {
                lines.push(b'\n');
            }
        }
        lines
    }

    /// Fills a file to exactly its size, or to a little less or more.
    fn refill(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = self.text(size + 20);
        bytes.truncate((size + self.random.below(3)).saturating_sub(2));
        if let Some(last) = bytes.last_mut() {
            *last = b'\n';
        }
        bytes
    }

    fn step(&mut self, model: &Model) -> Step {
        let named = model.named.file();
        let files = model.inodes.len();
        let writable: Vec<_> = (0..files)
            .filter(|&file| model.inodes[file].is_writable)
            .collect();
        let file = self.any_of(&writable, named);
        let aside: Vec<_> = (0..files)
            .filter(|&file| model.inodes[file].is_aside)
            .collect();
        let aside = self.any_of(&aside, None);
        match (
            self.random.below(if self.may_truncate { 30 } else { 24 }),
            file,
        ) {
            (0..8, Some(file)) => Step::Write(file, self.lines()),
            (8, _) if named.is_some() => Step::Rename,
            (9, _) if named.is_none() => Step::Create,
            (10 | 11, _) if named.is_some() => Step::Rotate,
            (12, _) => Step::Replace(self.lines()),
            (13, _) => Step::Relink(self.lines()),
            (14, _) if named.is_some() => Step::Delete {
                is_closed: self.may_truncate && self.random.chance(50),
            },
            (15, _) if model.named == Named::Nothing => Step::Obstruct,
            (16, _) if model.named != Named::Directory => Step::ReplaceDirectory,
            (17, _) if aside.is_some() => Step::RenameBack(aside.unwrap()),
            (24, Some(file)) => Step::Truncate(file, 0),
            (25, Some(file)) => {
                let size = model.inodes[file].content.len();
                Step::Truncate(file, self.random.below(size + 1))
            }
            (26 | 27, Some(file)) => {
                let size = model.inodes[file].content.len();
                Step::Refill(file, self.refill(size))
            }
            (28, Some(file)) => Step::Hole(file, self.lines()),
            _ => Step::Look(Duration::from_millis([0, 300, 6000][self.random.below(3)])),
        }
    }

    /// One of `files`, most often the preferred one.
    fn any_of(&mut self, files: &[usize], preferred: Option<usize>) -> Option<usize> {
        if files.is_empty() {
            return None;
        }
        let any = files[self.random.below(files.len())];
        Some(
            preferred
                .filter(|file| files.contains(file) && self.random.chance(70))
                .unwrap_or(any),
        )
    }
}

/// The seeds to run: a few thousand, or the one that is asked for.
fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("LOGKNOCK_SEED")
        .ok()
        .map(|seed| seed.parse::<u64>().unwrap());
    match asked {
        Some(seed) => seed..seed + 1,
        None if std::env::var_os("LOGKNOCK_LONG").is_some() => 0..200_000,
        None => 0..2_000,
    }
}

#[test]
fn every_history_of_a_file_is_read_as_the_model_says() {
    let (mut lines, mut dropped) = (0, 0);
    for seed in seeds() {
        let mut author = Author {
            random: Random(seed),
            next: 0,
            may_truncate: true,
        };
        let (mut model, mut real) = (Model::new(), Real::new());
        let mut history = vec![Step::Look(Duration::ZERO)];
        assert_eq!(real.look(model.now), model.look());
        for _ in 0..60 {
            let step = author.step(&model);
            real.apply(&step, model.named.file());
            model.apply(&step);
            history.push(step.clone());
            if let Step::Look(_) = step {
                let (got, expected) = (real.look(model.now), model.look());
                assert_eq!(got, expected, "seed {seed}, after {history:?}");
                lines += got.iter().filter(|got| matches!(got, Got::Line(_))).count();
                dropped += got
                    .iter()
                    .filter(|got| matches!(got, Got::Dropped(_)))
                    .count();
                assert_eq!(
                    real.tail.open_files(),
                    model.retired.len() + usize::from(model.current.is_some()),
                    "seed {seed}, after {history:?}"
                );
            }
        }
    }
    eprintln!("{lines} lines and {dropped} dropped ones agree");
    assert!(lines > 0);
}

#[test]
fn without_truncation_every_line_is_read_exactly_once() {
    for seed in seeds() {
        let mut author = Author {
            random: Random(seed),
            next: 0,
            may_truncate: false,
        };
        let (mut model, mut real) = (Model::new(), Real::new());
        let mut got = real.look(model.now);
        for _ in 0..60 {
            let is_full = model.inodes.len() >= MAX_RETIRED;
            let step = match author.step(&model) {
                Step::Look(_) => Step::Look(Duration::from_millis(10)),
                // With one file more the oldest would be let go unread.
                step if is_full && step.makes_a_file() => continue,
                step => step,
            };
            real.apply(&step, model.named.file());
            model.apply(&step);
            // A file that comes and goes between two looks cannot be found; all others are.
            if !matches!(step, Step::Write(..)) {
                got.extend(real.look(model.now));
            }
        }
        got.extend(real.look(model.now));
        let mut expected = Vec::new();
        for inode in &model.inodes {
            Inode::new(&inode.content).look(model.now, &mut expected);
        }
        assert_eq!(sorted(got), sorted(expected), "seed {seed}");
    }
}

/// The lines, regardless of their order.
fn sorted(got: Vec<Got>) -> Vec<String> {
    let lines = got.into_iter().filter_map(|got| match got {
        Got::Line(line) => Some(line),
        Got::Dropped(_) => None,
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}
