//! The real systemd-journald, started by hand in a mount namespace of its own, so that a machine's
//! own journal is neither used nor disturbed.
//!
//! Out: a mount namespace in which `journalctl -k` shows what the kernel logs. It needs no systemd
//! as the first process.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::lab::{Lab, PATIENCE};
use crate::process::{self, Running, eventually, find};

/// Hides the places that journald uses behind empty ones of its own, then becomes it.
const ALONE: &str = "set -e
mkdir -p /run/systemd /run/log
mount -t tmpfs none /run/systemd
mount -t tmpfs none /run/log
[ ! -d /var/log/journal ] || mount -t tmpfs none /var/log/journal
mkdir -p /run/systemd/journal /run/log/journal
exec \"$0\"";

/// A running journald.
#[derive(Debug)]
pub(crate) struct Journald {
    running: Running,
    /// Holds the namespace open while journald is down.
    namespace: Option<File>,
}

impl Journald {
    /// Starts it, and returns when it shows what the kernel logs now.
    pub(crate) fn start(lab: &Lab) -> Self {
        let journald = find("systemd-journald").expect("need() found it");
        let journald = journald.to_str().expect("a plain path");
        let running = Running::start(
            "systemd-journald",
            [
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                ALONE,
                journald,
            ],
            |_| {},
        );
        let mut journald = Self {
            running,
            namespace: None,
        };
        journald.catch_up(lab);
        let namespace = format!("/proc/{}/ns/mnt", journald.running.pid());
        journald.namespace = Some(File::open(namespace).expect("it is there"));
        journald
    }

    /// Ends it; the journal stays.
    pub(crate) fn stop(&mut self, signal: Signal) {
        self.running.signal(signal);
        eventually("journald ends", PATIENCE, || self.running.ended().is_some());
    }

    /// Starts it once more on the journal that is there.
    pub(crate) fn start_again(&mut self, lab: &Lab) {
        let journald = find("systemd-journald").expect("need() found it");
        let journald = journald.to_str().expect("a plain path");
        let words = self.beside();
        let argv = words.iter().map(String::as_str).chain([journald]);
        self.running = Running::start("systemd-journald", argv, |_| {});
        self.catch_up(lab);
    }

    /// The words that put a command where this journal is the machine's.
    pub(crate) fn beside(&self) -> [String; 3] {
        let namespace = match &self.namespace {
            Some(open) => format!("{}/fd/{}", std::process::id(), open.as_raw_fd()),
            None => format!("{}/ns/mnt", self.running.pid()),
        };
        let namespace = format!("--mount=/proc/{namespace}");
        ["nsenter".to_owned(), namespace, "--".to_owned()]
    }

    /// What `journalctl -k` prints of the kernel's messages of this boot.
    pub(crate) fn text(&self) -> String {
        self.print(&["-k"])
    }

    /// The last `count` of them.
    pub(crate) fn latest(&self, count: usize) -> String {
        self.print(&["-k", "-n", &count.to_string()])
    }

    /// Has journalctl do something to the journal.
    pub(crate) fn control(&self, args: &[&str]) {
        let [nsenter, words @ ..] = self.beside();
        let mut command = process::command(&nsenter);
        process::finish(command.args(words).arg("journalctl").args(args));
    }

    /// The same of all messages, whoever sent them.
    pub(crate) fn everything(&self) -> String {
        self.print(&[])
    }

    /// The messages of one sender, by its tag.
    pub(crate) fn of(&self, tag: &str) -> String {
        self.print(&["-t", tag])
    }

    fn print(&self, which: &[&str]) -> String {
        let [nsenter, words @ ..] = self.beside();
        let mut command: Command = process::command(&nsenter);
        command.args(words);
        command.args(["journalctl", "-o", "cat", "--no-pager"]);
        command.args(which);
        let done = command.output().expect("journalctl runs");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Makes it begin a new file.
    pub(crate) fn rotate(&self) {
        self.running.signal(Signal::USR2);
    }

    /// One of its sockets, as processes of any user reach it.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        let their_root = Path::new("/proc").join(self.running.pid().to_string());
        let journal = their_root.join("root").join("run/systemd/journal");
        journal.join(name)
    }

    fn catch_up(&mut self, lab: &Lab) {
        let mark = lab.mark();
        eventually("journald shows what the kernel logs", PATIENCE, || {
            self.running.must_run();
            Lab::has_mark(&self.text(), &mark)
        });
    }
}
