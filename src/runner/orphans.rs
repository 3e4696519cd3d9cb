//! Commands that a run before this one left behind when it was killed.
//!
//! In: the mark that every command of a state directory carries in its environment, and the users that
//! they run as. Out: none of them runs any more. An open command that outlived its daemon could otherwise end behind the close of the
//! next one, and what it opened would stay open for ever. (Under systemd it has died with its unit.)
//!
//! What surprises: only a command itself is ended, with its process group. What it has put into the
//! background carries the mark too; it is nobody's group any more, or has a session of its own. And
//! an environment is memory of its process, which may lie in a file system of its user and never
//! come: of other users' processes none is read.
#![expect(
    clippy::disallowed_methods,
    reason = "the kernel tells in files who runs"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::clock;

/// The variable that holds the mark.
pub(super) const VARIABLE: &str = "LOGKNOCK_STATE";

/// A process in the kernel's uninterruptible sleep is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ends every command with this `mark` that runs as one of `users`. Returns how many there were.
pub(super) fn end(mark: &str, users: &BTreeSet<u32>) -> usize {
    let orphans = find(mark, users);
    for &orphan in &orphans {
        // It may have ended by itself meanwhile.
        let _ = kill_process_group(orphan, Signal::KILL);
    }
    let until = clock::monotonic_now().after(PATIENCE);
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

fn is_command(pid: i32, mark: &str) -> bool {
    let carries = |environ: Vec<u8>| {
        let mut variables = environ.split(|&byte| byte == 0);
        variables.any(|variable| variable == format!("{VARIABLE}={mark}").as_bytes())
    };
    // Whose environment we may not read runs with rights that we do not have.
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(carries) && leads_a_group(pid) == Some(true)
}

/// Whether it leads its process group in a session of others, as we start commands.
fn leads_a_group(pid: i32) -> Option<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything. Then: state, parent, group, session.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(2);
    let (group, session) = (fields.next()?, fields.next()?);
    let pid = pid.to_string();
    Some(group == pid && session != pid)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_types, reason = "a test leaves processes behind")]

    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command};

    use super::*;

    /// A process that is ended with the test, however that ends.
    struct Left(Child);

    impl Drop for Left {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    /// Starts `words`, and waits until the kernel shows the last of them with its environment: for a
    /// moment after it has become another program it shows none.
    fn start(mark: &str, group: Option<i32>, words: &[&str]) -> Left {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env(VARIABLE, mark);
        if let Some(group) = group {
            command.process_group(group);
        }
        let child = Left(command.spawn().unwrap());
        let shown = |what: &str| fs::read(format!("/proc/{}/{what}", child.0.id())).unwrap();
        let until = clock::monotonic_now().after(Duration::from_secs(30));
        while !shown("cmdline").starts_with(b"sleep\0") || shown("environ").is_empty() {
            assert!(clock::monotonic_now() < until, "{words:?} does not run");
            thread::park_timeout(Duration::from_millis(1));
        }
        child
    }

    #[test]
    fn commands_with_the_mark_are_ended_and_nothing_else() {
        let mark = format!("test-{}", std::process::id());
        let mut ours = start(&mark, Some(0), &["sleep", "600"]);
        let mut others = [
            start("another", Some(0), &["sleep", "600"]),
            start(&format!("{mark}0"), Some(0), &["sleep", "600"]),
            start(&mark, None, &["sleep", "600"]),
            start(&mark, None, &["setsid", "sleep", "600"]),
        ];
        let ourselves = rustix::process::geteuid().as_raw();
        let users = BTreeSet::from([ourselves]);
        assert_eq!(end(&mark, &BTreeSet::from([ourselves + 1])), 0);
        assert_eq!(ours.0.try_wait().unwrap(), None);
        assert_eq!(end(&mark, &users), 1);
        let how = ours.0.wait().unwrap();
        assert_eq!(how.signal(), Some(Signal::KILL.as_raw()));
        assert_eq!(end(&mark, &users), 0);
        for other in &mut others {
            assert_eq!(other.0.try_wait().unwrap(), None);
        }
    }
}
