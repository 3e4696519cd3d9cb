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
    // A command is marked with its own number, by the process that becomes it.
    let marked = format!("{VARIABLE}={mark}:$$ exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &marked, "sh"]).args(words);
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

/// A process with the mark of another one, in a session of its own.
fn background(mark: &str) -> Left {
    let mut command = Command::new("setsid");
    command
        .args(["sleep", "600"])
        .env(VARIABLE, format!("{mark}:1"));
    Left(command.spawn().unwrap())
}

#[test]
fn commands_with_the_mark_are_ended_and_nothing_else() {
    let mark = format!("test-{}", std::process::id());
    // It leads no group of its own, so it becomes what it starts, in a session of its own.
    let mut ours = start(&mark, None, &["setsid", "sleep", "600"]);
    let mut others = [
        start("another", None, &["setsid", "sleep", "600"]),
        start(&format!("{mark}0"), None, &["setsid", "sleep", "600"]),
        start(&mark, None, &["sleep", "600"]),
        start(&mark, Some(0), &["sleep", "600"]),
        // What a command has put into the background, in a session of its own.
        background(&mark),
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

#[test]
fn a_session_that_has_not_become_its_command_yet_is_ended_too() {
    let mark = format!("test-session-{}", std::process::id());
    let mut command = Command::new("sleep");
    let mut session = Left(command.arg("600").env(VARIABLE, &mark).spawn().unwrap());
    let ourselves = rustix::process::geteuid().as_raw();
    assert_eq!(end(&mark, &BTreeSet::from([ourselves])), 1);
    let ended = session.0.wait().unwrap();
    assert_eq!(ended.signal(), Some(Signal::KILL.as_raw()));
}
