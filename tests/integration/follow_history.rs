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
use std::path::{Path, PathBuf};
use std::time::Duration;

use logknock::source::assembler::Yield;
use logknock::source::tail::{Options, Pace, Tail};
use tempfile::TempDir;

use super::follow_model::{Got, Inode, MAX_RETIRED, Model, Named, Step};

/// The real side.
struct Real {
    dir: TempDir,
    path: PathBuf,
    files: Vec<Option<File>>,
    tail: Tail,
}

impl Real {
    /// In memory, where it is fast; one of eight on the disk, whose file system gives the inode
    /// number of a deleted file to the next one.
    fn new(seed: u64) -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if !seed.is_multiple_of(8) && memory.is_dir() {
            tempfile::tempdir_in(memory).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        };
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
        None if std::env::var_os("LOGKNOCK_LONG").is_some() => 0..100_000,
        None => 0..4_000,
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
        let (mut model, mut real) = (Model::new(), Real::new(seed));
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
        let (mut model, mut real) = (Model::new(), Real::new(seed));
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
