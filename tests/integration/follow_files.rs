//! The files of a pattern, followed by the real thread.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;

use logknock::source::{Health, Trouble, file};
use logknock::source_spec::SourceSpec;
use tempfile::TempDir;

use super::follower::{Follower, append, write};
use super::logknock::Logknock;

fn start(dir: &Path, pattern: &str) -> Follower {
    let spec: SourceSpec = format!("{}/{pattern}", dir.display()).parse().unwrap();
    let SourceSpec::Files(pattern) = spec else {
        panic!("{spec} is no pattern");
    };
    let directory = pattern.directory().to_path_buf();
    let meant = move |name: &OsStr| pattern.means(name);
    Follower::spawned(100_000, |sink| {
        file::spawn_matching(3, directory, meant, file::Options::default(), sink)
    })
}

fn log(dir: &TempDir, name: &str) -> File {
    append(&dir.path().join(name))
}

#[test]
fn files_that_are_there_are_followed_from_their_ends_and_new_ones_from_their_first_lines() {
    let dir = tempfile::tempdir().unwrap();
    let a = log(&dir, "a.log");
    write(&a, "old\n");
    let mut follower = start(dir.path(), "*.log");
    assert!(follower.is_following());
    write(&a, "a\n");
    follower.expect("a\n");
    write(&log(&dir, "b.log"), "b\n");
    follower.expect("b\n");
    write(&log(&dir, "other"), "not meant\n");
    write(&a, "a again\n");
    follower.expect("a again\n");
    follower.stop();
}

#[test]
fn rotated_files_are_not_read_again_whatever_they_are_called() {
    let dir = tempfile::tempdir().unwrap();
    let old = log(&dir, "fw.log");
    let mut follower = start(dir.path(), "*");
    write(&old, "1\n");
    follower.expect("1\n");
    for name in ["fw.log.1", "fw.log-20260101", "fw.1.log", "fw.log.2.gz"] {
        fs::copy(dir.path().join("fw.log"), dir.path().join(name)).unwrap();
    }
    fs::rename(dir.path().join("fw.log"), dir.path().join("fw.log.3")).unwrap();
    write(&old, "2\n");
    follower.expect("2\n");
    write(&log(&dir, "fw.log"), "3\n");
    follower.expect("3\n");
    write(&old, "4\n");
    follower.expect("4\n");
    follower.stop();
}

#[test]
fn a_file_under_two_names_is_read_once_and_followed_while_it_has_one() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a.log"), dir.path().join("b.log"));
    let writer = append(&a);
    let mut follower = start(dir.path(), "*.log");
    fs::hard_link(&a, &b).unwrap();
    std::os::unix::fs::symlink("a.log", dir.path().join("c.log")).unwrap();
    write(&writer, "1\n");
    follower.expect("1\n");
    fs::remove_file(&a).unwrap();
    write(&writer, "2\n");
    follower.expect("2\n");
    fs::rename(&b, dir.path().join("d.log")).unwrap();
    write(&writer, "3\n");
    follower.expect("3\n");
    write(&append(&a), "4\n");
    follower.expect("4\n");
    follower.stop();
}

#[test]
fn a_file_that_vanishes_is_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let writer = log(&dir, "a.log");
    let mut follower = start(dir.path(), "*.log");
    fs::remove_file(dir.path().join("a.log")).unwrap();
    write(&writer, "last\n");
    follower.expect("last\n");
    follower.stop();
}

#[test]
fn without_any_file_it_waits_for_one_and_for_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut follower = start(dir.path(), "*.log");
    assert_eq!(follower.health, Some(Health::Degraded(Trouble::NoMatch)));
    follower.stop();
    let deeper = dir.path().join("deeper");
    follower = start(&deeper, "*.log");
    assert_eq!(follower.health, Some(Health::Degraded(Trouble::Missing)));
    fs::create_dir(&deeper).unwrap();
    write(&append(&deeper.join("a.log")), "first\n");
    follower.expect("first\n");
    follower.wait("following", Follower::is_following);
    follower.stop();
}

#[test]
fn too_many_files_are_reported_and_the_first_ones_followed() {
    let dir = tempfile::tempdir().unwrap();
    let writers: Vec<_> = (10..80)
        .map(|number| log(&dir, &format!("{number}.log")))
        .collect();
    let mut follower = start(dir.path(), "*.log");
    assert_eq!(
        follower.health,
        Some(Health::Degraded(Trouble::TooMany(64)))
    );
    write(&writers[69], "not followed\n");
    write(&writers[63], "the last that is\n");
    follower.expect("the last that is\n");
    follower.stop();
}

#[test]
fn a_pattern_opens_doors_and_goes_on_where_it_was_after_a_restart() {
    let logknock = Logknock::new().door("");
    logknock.append("kern.log", "");
    let (pattern, state) = (logknock.path("*.log"), logknock.path("state"));
    let arguments = format!(
        "--state-dir {} --follow {}",
        state.display(),
        pattern.display()
    );
    for knocker in ["203.0.113.1", "203.0.113.2"] {
        let mut running = logknock.start(&arguments);
        running.says("following");
        logknock.knock(knocker);
        logknock.awaits_act(&format!("open {knocker}"));
        running.signal(rustix::process::Signal::TERM);
        assert_eq!(running.ends(), 0);
    }
    logknock.knock("203.0.113.3");
    let mut running = logknock.start(&arguments);
    running.says("following");
    logknock.awaits_act("open 203.0.113.3");
    assert_eq!(logknock.read("acts").matches("open").count(), 3);
}
