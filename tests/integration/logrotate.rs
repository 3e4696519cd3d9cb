//! The real logrotate over a file that is written to and followed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;

use super::follower::Follower;
use super::need;

/// How often the log is rotated.
const ROTATIONS: u64 = 20;

/// A syslog daemon: appends numbered lines, and opens its file anew when it is told to, as rsyslogd
/// does at SIGHUP.
struct Writer {
    reopen: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(path: PathBuf) -> Self {
        let (reopen, stop, written) =
            <(Arc<AtomicBool>, Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let told = (Arc::clone(&reopen), Arc::clone(&stop), Arc::clone(&written));
        let thread = thread::Builder::new().spawn(move || {
            let (reopen, stop, written) = told;
            let mut file = append(&path);
            while !stop.load(Ordering::Acquire) {
                if reopen.swap(false, Ordering::AcqRel) {
                    file = append(&path);
                }
                let number = written.fetch_add(1, Ordering::AcqRel);
                file.write_all(line(number).as_bytes()).unwrap();
                // About two thousand lines a second, so that some fall into each rotation.
                thread::park_timeout(Duration::from_micros(500));
            }
        });
        Self {
            reopen,
            stop,
            written,
            thread: thread.unwrap(),
        }
    }

    /// Lets it write so many more lines; returns the number of the last of them.
    fn write_more(&self, lines: u64) -> u64 {
        let goal = self.written.load(Ordering::Acquire) + lines;
        while self.written.load(Ordering::Acquire) < goal {
            thread::park_timeout(Duration::from_millis(1));
        }
        goal - 1
    }

    /// Ends it; returns how many lines it has written.
    fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap();
        self.written.load(Ordering::Acquire)
    }
}

fn append(path: &Path) -> File {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
}

/// Line `number`: as long as a packet line, and with the same end as each other one.
pub(crate) fn line(number: u64) -> String {
    format!(
        "{number:>8} {:200} SYN URGP=0 \n",
        "SRC=192.0.2.7 DST=192.0.2.1"
    )
}

/// The number of the line that came last. Only the last line is looked at: a follower that is ahead
/// of its reader must not make the reader slower still.
pub(crate) fn number_of_last(follower: &Follower) -> Option<u64> {
    number(follower.text().lines().next_back()?)
}

fn number(line: &str) -> Option<u64> {
    line.split_whitespace().next()?.parse().ok()
}

/// How often each number was seen.
pub(crate) fn numbers(text: &str) -> BTreeMap<u64, u64> {
    let mut seen = BTreeMap::new();
    for text in text.lines() {
        let number = number(text).unwrap();
        assert_eq!(text.trim_end(), line(number).trim_end(), "a whole line");
        *seen.entry(number).or_default() += 1;
    }
    seen
}

/// One directory with a log, a logrotate configuration and its state.
pub(crate) struct Rotated {
    dir: TempDir,
    pub(crate) path: PathBuf,
}

impl Rotated {
    fn new(directives: &str) -> Self {
        Self::with(|_| directives.to_owned())
    }

    /// With directives that name the directory.
    pub(crate) fn with(directives: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let directives = directives(dir.path());
        let path = dir.path().join("kern.log");
        fs::create_dir(dir.path().join("old")).unwrap();
        let config = format!(
            "{} {{\n size 1\n rotate 1000\n missingok\n {directives}\n}}\n",
            path.display(),
        );
        fs::write(dir.path().join("logrotate.conf"), config).unwrap();
        Self { dir, path }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn rotate(&self) {
        let output = Command::new("logrotate")
            .arg("--force")
            .arg("--state")
            .arg(self.dir.path().join("state"))
            .arg(self.dir.path().join("logrotate.conf"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// What all of the log's files hold together.
    fn files(&self) -> Vec<String> {
        let old = fs::read_dir(self.dir.path().join("old")).unwrap();
        let here = fs::read_dir(self.dir.path()).unwrap();
        here.chain(old)
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .filter(|path| {
                path.file_name()
                    .unwrap()
                    .to_string_lossy()
                    .starts_with("kern.log")
            })
            .map(|path| fs::read_to_string(path).unwrap())
            .collect()
    }
}

/// Rotates under a running writer; `tell` is whether the writer is told, some lines later. Returns
/// how many lines were written and what the follower has seen of them.
fn run(log: &Rotated, tell: bool) -> (u64, BTreeMap<u64, u64>) {
    append(&log.path);
    let mut follower = Follower::start(&log.path);
    let writer = Writer::start(log.path.clone());
    for _ in 0..ROTATIONS {
        writer.write_more(40);
        log.rotate();
        writer.write_more(20);
        writer.reopen.store(tell, Ordering::Release);
        // The next rotation begins when this one is over: the writer has opened the new file, and
        // the follower too. A file that comes and goes unseen is lost to everybody.
        let new = writer.write_more(2);
        follower.wait("line in the new file", |it| number_of_last(it) >= Some(new));
    }
    let written = writer.finish();
    follower.wait("last line", |it| number_of_last(it) == Some(written - 1));
    let seen = numbers(&follower.take_text());
    follower.stop();
    (written, seen)
}

/// Asserts that each line was seen once.
fn assert_all_once((written, seen): (u64, BTreeMap<u64, u64>)) {
    let wrong: Vec<_> = (0..written)
        .filter(|number| seen.get(number) != Some(&1))
        .collect();
    assert!(wrong.is_empty(), "of {written} lines not once: {wrong:?}");
}

#[test]
fn create_loses_and_repeats_nothing() {
    if need::program("logrotate") {
        assert_all_once(run(&Rotated::new("create 0640"), true));
    }
}

#[test]
fn nocreate_loses_and_repeats_nothing() {
    if need::program("logrotate") {
        assert_all_once(run(&Rotated::new("nocreate"), true));
    }
}

#[test]
fn delayed_compression_loses_and_repeats_nothing() {
    if need::program("logrotate") {
        assert_all_once(run(
            &Rotated::new("create 0640\n compress\n delaycompress"),
            true,
        ));
    }
}

#[test]
fn another_directory_for_old_files_loses_and_repeats_nothing() {
    if need::program("logrotate") {
        assert_all_once(run(&Rotated::new("create 0640\n olddir old"), true));
    }
}

#[test]
fn copytruncate_repeats_nothing_and_loses_only_what_was_cut_off_unread() {
    if need::program("logrotate") {
        let log = Rotated::new("copytruncate");
        let (written, seen) = run(&log, false);
        assert!(seen.values().all(|&times| times == 1), "a line came twice");
        for copy in log.files() {
            // logrotate cuts the file when it has its copy: what a busy machine has not let the
            // follower read by then is at the end of that copy, and nothing is lost before it.
            let unseen = numbers(&copy)
                .into_keys()
                .map(|number| !seen.contains_key(&number));
            assert!(unseen.is_sorted(), "a hole among {written} lines");
        }
        let last: u64 = written - 1;
        assert!(seen.contains_key(&last), "the last line");
        let seen = u64::try_from(seen.len()).unwrap();
        assert!(seen * 2 > written, "only {seen} of {written} lines");
    }
}
