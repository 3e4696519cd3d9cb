//! A followed file by the follower's own thread, which inotify wakes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use logknock::engine::reason::Reason;
use logknock::source::{Health, Trouble};

use super::follower::{Follower, append, assert_is_woken, log, write};
use super::namespace;

#[test]
fn a_written_line_arrives() {
    let (_dir, path) = log();
    let writer = append(&path);
    write(&writer, "before\n");
    let mut follower = Follower::start(&path);
    assert!(follower.is_following());
    write(&writer, "one\n");
    follower.expect("one\n");
    write(&writer, "two\nthree\n");
    follower.expect("two\nthree\n");
    follower.stop();
}

#[test]
fn a_line_arrives_long_before_the_next_tick() {
    let (_dir, path) = log();
    let writer = append(&path);
    let mut follower = Follower::start(&path);
    let mut took: Vec<_> = (0..101)
        .map(|_| {
            let start = Instant::now();
            write(&writer, "x\n");
            follower.expect("x\n");
            start.elapsed()
        })
        .collect();
    took.sort();
    eprintln!("median {:?}, slowest {:?}", took[50], took[100]);
    assert!(took[50] < Duration::from_millis(100), "{:?}", took[50]);
    follower.stop();
}

#[test]
fn a_file_that_appears_is_followed_from_its_first_line() {
    let (_dir, path) = log();
    let mut follower = Follower::start(&path);
    assert_eq!(follower.health, Some(Health::Degraded(Trouble::Missing)));
    write(&append(&path), "first\n");
    follower.expect("first\n");
    follower.wait("following", Follower::is_following);
    follower.stop();
}

#[test]
fn a_rotation_by_rename_loses_nothing_of_either_file() {
    let (dir, path) = log();
    let old = append(&path);
    let mut follower = Follower::start(&path);
    fs::rename(&path, dir.path().join("kern.log.1")).unwrap();
    write(&old, "1\n");
    follower.expect("1\n");
    let new = append(&path);
    write(&new, "2\n");
    follower.expect("2\n");
    write(&old, "3\n");
    follower.expect("3\n");
    assert!(follower.is_following());
    follower.stop();
}

#[test]
fn a_file_renamed_out_of_its_directory_is_read_on() {
    let (dir, path) = log();
    fs::create_dir(dir.path().join("old")).unwrap();
    let old = append(&path);
    let mut follower = Follower::start(&path);
    fs::rename(&path, dir.path().join("old/kern.log.1")).unwrap();
    let _new = append(&path);
    write(&old, "1\n");
    follower.expect("1\n");
    follower.stop();
}

#[test]
fn a_replaced_directory_is_followed_and_woken_by() {
    let dir = tempfile::tempdir().unwrap();
    let (log, path) = (dir.path().join("log"), dir.path().join("log/kern.log"));
    fs::create_dir(&log).unwrap();
    let mut old = append(&path);
    let mut follower = Follower::start(&path);
    for round in 1..=2 {
        fs::rename(&log, dir.path().join(format!("gone{round}"))).unwrap();
        fs::create_dir(&log).unwrap();
        write(&old, "old\n");
        follower.expect("old\n");
        let new = append(&path);
        write(&new, "new\n");
        follower.expect("new\n");
        assert_is_woken(&mut follower, &new);
        old = new;
    }
    follower.stop();
}

#[test]
fn a_directory_removed_and_made_again_is_followed_and_woken_by() {
    let dir = tempfile::tempdir().unwrap();
    let (log, path) = (dir.path().join("log"), dir.path().join("log/kern.log"));
    let mut follower = Follower::start(&path);
    for round in 1..=3 {
        fs::create_dir(&log).unwrap();
        let writer = append(&path);
        write(&writer, &format!("{round}\n"));
        follower.expect(&format!("{round}\n"));
        assert_is_woken(&mut follower, &writer);
        fs::remove_dir_all(&log).unwrap();
    }
    follower.stop();
}

#[test]
fn a_link_into_another_directory_is_woken_by_its_target() {
    let (dir, path) = log();
    fs::create_dir(dir.path().join("far")).unwrap();
    let target = dir.path().join("far/target");
    let writer = append(&target);
    std::os::unix::fs::symlink(&target, &path).unwrap();
    let mut follower = Follower::start(&path);
    assert_is_woken(&mut follower, &writer);
    follower.stop();
}

#[test]
fn a_flood_arrives_whole_though_the_inbox_is_full() {
    let (_dir, path) = log();
    let writer = append(&path);
    let mut follower = Follower::with_inbox(&path, 2);
    let count = 50_000;
    for number in 0..count {
        write(&writer, &format!("{number}\n"));
    }
    follower.wait("last line", |it| it.lines == count);
    let expected: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    assert!(follower.take_text().lines().eq(expected));
    follower.stop();
}

#[test]
fn a_dropped_line_is_reported_and_numbered() {
    let (_dir, path) = log();
    let writer = append(&path);
    let mut follower = Follower::start(&path);
    write(&writer, &("x".repeat(10_000) + "\n"));
    follower.wait("rejection", |it| it.rejected == [Reason::TooLong]);
    write(&writer, "next\n");
    follower.expect("next\n");
    follower.stop();
}

#[test]
fn stopping_does_not_wait_for_the_tick_nor_for_a_full_inbox() {
    let (_dir, path) = log();
    let writer = append(&path);
    let start = Instant::now();
    Follower::start(&path).stop();
    let flooded = Follower::with_inbox(&path, 1);
    for _ in 0..64 {
        write(&writer, &"x\n".repeat(64 << 10));
    }
    flooded.stop();
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// Follows a file that is polled because of `trouble`.
fn assert_is_polled(trouble: Trouble) {
    let (_dir, path) = log();
    let writer = append(&path);
    let mut follower = Follower::start(&path);
    assert_eq!(follower.health, Some(Health::Degraded(trouble)));
    let start = Instant::now();
    for _ in 0..4 {
        write(&writer, "x\n");
        follower.expect("x\n");
    }
    // Four seconds would be the ticks.
    assert!(start.elapsed() < Duration::from_secs(3));
    follower.stop();
}

#[test]
fn a_file_is_polled_when_no_inotify_instance_is_left() {
    let name = "follow_live::a_file_is_polled_when_no_inotify_instance_is_left";
    if namespace::is_inside(name, "echo 0 > /proc/sys/user/max_inotify_instances") {
        assert_is_polled(Trouble::Instances);
    }
}

#[test]
fn a_file_is_polled_when_no_inotify_watch_is_left() {
    let name = "follow_live::a_file_is_polled_when_no_inotify_watch_is_left";
    if namespace::is_inside(name, "echo 0 > /proc/sys/user/max_inotify_watches") {
        assert_is_polled(Trouble::Watches);
    }
}

#[test]
fn a_file_that_overlayfs_copies_up_is_followed_on() {
    let name = "follow_live::a_file_that_overlayfs_copies_up_is_followed_on";
    let prepare = "mount -t tmpfs none /mnt && mkdir /mnt/lower /mnt/upper /mnt/work /mnt/log \
        && echo before > /mnt/lower/kern.log \
        && mount -t overlay none -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work /mnt/log";
    if namespace::is_inside(name, prepare) {
        let path = Path::new("/mnt/log/kern.log");
        let mut follower = Follower::start(path);
        write(&append(path), "after\n");
        follower.expect("after\n");
        follower.stop();
    }
}
