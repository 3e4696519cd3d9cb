//! Commands that a run before this one left behind when it was killed.
//!
//! In: the mark that every command of a state directory carries in its environment, and the users that
//! they run as. Out: none of them runs any more. An open command that outlived its daemon could otherwise end behind the close of the
//! next one, and what it opened would stay open for ever. (Under systemd it has died with its unit.)
//!
//! Only the command itself is ended, with its process group. What it has put into the background carries the mark
//! with another number. And an environment is memory of its process, which may lie in a file system of its user and
//! never come: of other users' processes none is read.
#![expect(
    clippy::disallowed_methods,
    reason = "the kernel lists running processes in files"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::clock;

/// The variable that holds the mark.
pub(super) const VARIABLE: &str = "LOGKNOCK_STATE";

/// A process in the kernel's uninterruptible sleep is not waited for any longer.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);

/// Ends every command with this `mark` that runs as one of `users`. Returns how many there were.
pub(super) fn end(mark: &str, users: &BTreeSet<u32>) -> usize {
    let orphans = find(mark, users);
    for &orphan in &orphans {
        // It may have ended by itself meanwhile, or lead no group yet.
        if kill_process_group(orphan, Signal::KILL).is_err() {
            let _ = kill_process(orphan, Signal::KILL);
        }
    }
    let until = clock::monotonic_now().after(KILL_TIMEOUT);
    while !orphans.is_empty() && !find(mark, users).is_empty() && clock::monotonic_now() < until {
        thread::park_timeout(Duration::from_millis(1));
    }
    orphans.len()
}

fn find(mark: &str, users: &BTreeSet<u32>) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let commands = pids.filter(|&pid| runs_as(pid, users) && is_command(pid, mark));
    commands.filter_map(Pid::from_raw).collect()
}

fn runs_as(pid: i32, users: &BTreeSet<u32>) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok_and(|process| users.contains(&process.uid()))
}

/// The mark of the command that is process `pid`.
pub(super) fn mark_of(mark: &str, pid: u32) -> String {
    format!("{mark}:{pid}")
}

/// Whether it is a command, or becomes one: only that has the mark without a number.
fn is_command(pid: i32, mark: &str) -> bool {
    // Whose environment we may not read runs with rights that we do not have.
    let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else {
        return false;
    };
    let carries = |mark: &str| {
        let mut variables = environ.split(|&byte| byte == 0);
        variables.any(|variable| variable == format!("{VARIABLE}={mark}").as_bytes())
    };
    let its_own = mark_of(mark, pid.unsigned_abs());
    carries(mark) || carries(&its_own) && leads_a_session(pid) == Some(true)
}

/// Whether it leads a session, as the commands that we start do.
fn leads_a_session(pid: i32) -> Option<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything. Then: state, parent, group, session.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(2);
    let (group, session) = (fields.next()?, fields.next()?);
    let pid = pid.to_string();
    Some(group == pid && session == pid)
}

#[cfg(test)]
#[path = "orphans_test.rs"]
mod tests;
