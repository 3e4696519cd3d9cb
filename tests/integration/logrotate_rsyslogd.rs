//! The real logrotate over the file of a real rsyslogd: each line is read once. A few rotations each; with `LOGKNOCK_LONG=1` 200, at a thousand lines a second.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use super::follower::{Follower, append};
use super::logknock::eventually;
use super::logrotate::{Rotated, line, number_of_last, numbers};
use super::need;
use super::rsyslogd::{Rsyslogd, send};

fn rotations() -> u64 {
    let long = std::env::var_os("LOGKNOCK_LONG").is_some();
    if long { 200 } else { 4 }
}

/// A program that logs numbered lines through a socket, about a thousand a second.
struct Sender {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Sender {
    fn start(socket: UnixDatagram) -> Self {
        let (stop, sent) = <(Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let told = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = thread::spawn(move || {
            let (stop, sent) = told;
            while !stop.load(Ordering::Acquire) {
                send(&socket, &line(sent.load(Ordering::Acquire)));
                sent.fetch_add(1, Ordering::AcqRel);
                thread::park_timeout(Duration::from_micros(900));
            }
        });
        Self { stop, sent, thread }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Lets it send so many more; returns the number of the last of them.
    fn send_more(&self, lines: u64) -> u64 {
        let goal = self.sent() + lines;
        eventually(|| self.sent() >= goal, || "nothing is sent".to_owned());
        goal - 1
    }

    fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap();
        self.sent.load(Ordering::Acquire)
    }
}

/// Rotates with these directives under load; returns how many lines were sent, how often each was seen, and
/// how often lines were told as lost.
fn run(directives: &str) -> (u64, BTreeMap<u64, u64>, u32) {
    let log = Rotated::with(|dir| directives.replace("HUP", &hup(dir)));
    append(&log.path);
    let syslog = Rsyslogd::start(log.dir(), &log.path);
    let mut follower = Follower::start(&log.path);
    let sender = Sender::start(syslog.socket());
    for _ in 0..rotations() {
        let last = sender.send_more(100);
        follower.wait("lines", |it| number_of_last(it) >= Some(last));
        let second = SystemTime::now();
        log.rotate();
        if directives.contains("%s") {
            // A second rotation in one second has no name of its own.
            eventually(
                || {
                    second
                        .elapsed()
                        .is_ok_and(|passed| passed > Duration::from_secs(1))
                },
                || "time stands still".to_owned(),
            );
        }
    }
    sender.send_more(100);
    let sent = sender.finish();
    follower.wait("last line", |it| number_of_last(it) == Some(sent - 1));
    let seen = numbers(&follower.take_text());
    let lost = follower.lost;
    follower.stop();
    (sent, seen, lost)
}

/// What logrotate runs to have rsyslogd open its file anew, as on Debian.
fn hup(dir: &Path) -> String {
    let pid_file = dir.join("rsyslogd.pid");
    format!(
        "postrotate\n  kill -HUP $(cat {})\n endscript",
        pid_file.display()
    )
}

fn every_line_once(directives: &str) {
    if need::program("logrotate") && need::program("rsyslogd") {
        let (sent, seen, lost) = run(directives);
        let wrong: Vec<_> = (0..sent)
            .filter(|number| seen.get(number) != Some(&1))
            .collect();
        assert!(
            wrong.is_empty() && lost == 0,
            "{lost} gaps, of {sent} lines not once: {wrong:?}"
        );
    }
}

#[test]
fn create_and_hup_lose_and_repeat_nothing() {
    every_line_once("create 0600\n HUP");
}

#[test]
fn nocreate_and_hup_lose_and_repeat_nothing() {
    every_line_once("nocreate\n HUP");
}

#[test]
fn compression_at_the_next_rotation_loses_and_repeats_nothing() {
    every_line_once("create 0600\n compress\n delaycompress\n HUP");
}

#[test]
fn dates_as_extensions_lose_and_repeat_nothing() {
    every_line_once("create 0600\n dateext\n dateformat -%Y%m%d-%s\n HUP");
}

#[test]
fn another_directory_loses_and_repeats_nothing() {
    every_line_once("create 0600\n olddir old\n HUP");
}

#[test]
fn shared_scripts_lose_and_repeat_nothing() {
    every_line_once("create 0600\n sharedscripts\n HUP");
}

#[test]
fn a_copy_of_the_renamed_file_loses_and_repeats_nothing() {
    every_line_once("create 0600\n renamecopy\n olddir old\n HUP");
}

#[test]
fn copytruncate_under_rsyslogd_repeats_nothing() {
    if need::program("logrotate") && need::program("rsyslogd") {
        let (sent, seen, _) = run("copytruncate");
        assert!(seen.values().all(|&times| times == 1), "a line came twice");
        assert!(
            seen.contains_key(&(sent - 1)) && seen.len() as u64 * 2 > sent,
            "{} of {sent}",
            seen.len()
        );
    }
}
