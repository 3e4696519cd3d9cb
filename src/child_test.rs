#![expect(clippy::disallowed_types, reason = "a test starts children")]

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use super::*;

fn start(program: &str, argument: &str) -> Owned {
    Owned::new(Command::new(program).arg(argument).spawn().unwrap())
}

#[test]
fn one_that_ends_by_itself_in_time_has_its_own_status_however_often_it_is_asked() {
    let mut child = Owned::new(Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap());
    for _ in 0..2 {
        let status = child.end(Duration::from_secs(20)).unwrap();
        assert_eq!(status.code(), Some(3));
    }
}

#[test]
fn one_that_does_not_is_killed() {
    let status = start("sleep", "600").end(Duration::from_millis(1));
    assert_eq!(status.unwrap().signal(), Some(9));
}

#[test]
fn one_that_is_dropped_is_gone() {
    let child = start("sleep", "600");
    let path = format!("/proc/{}", child.0.as_ref().unwrap().id());
    drop(child);
    assert!(!std::path::Path::new(&path).exists());
}
