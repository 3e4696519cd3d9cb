//! A followed file whose file system goes, comes back, or is none of this kernel's own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use logknock::source::{Health, Trouble};

use super::follower::{Follower, append, assert_is_woken, log, write};
use super::logknock::eventually;
use super::{namespace, need};

fn mount(arguments: &[&str]) {
    let (program, arguments) = arguments.split_first().unwrap();
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

#[test]
fn an_unmounted_and_mounted_file_system_is_followed_again_and_woken_by() {
    let name = "follow_mounts::an_unmounted_and_mounted_file_system_is_followed_again_and_woken_by";
    let prepare = "mount -t tmpfs none /mnt && mkdir /mnt/log && mount -t tmpfs none /mnt/log";
    if namespace::is_inside(name, prepare) {
        let path = Path::new("/mnt/log/kern.log");
        let mut writer = append(path);
        let mut follower = Follower::start(path);
        for round in 1..=3 {
            write(&writer, &format!("before {round}\n"));
            follower.expect(&format!("before {round}\n"));
            mount(&["umount", "--lazy", "/mnt/log"]);
            write(&writer, "still open\n");
            follower.expect("still open\n");
            mount(&["mount", "-t", "tmpfs", "none", "/mnt/log"]);
            writer = append(path);
            write(&writer, "after\n");
            follower.expect("after\n");
            assert_is_woken(&mut follower, &writer);
        }
        assert!(follower.is_following());
        follower.stop();
    }
}

#[test]
fn a_file_that_is_a_mount_of_its_own_is_followed_and_said_to_be_one() {
    let name = "follow_mounts::a_file_that_is_a_mount_of_its_own_is_followed_and_said_to_be_one";
    let prepare = "mount -t tmpfs none /mnt && touch /mnt/kern.log /mnt/inside.log && \
                   mount --bind /mnt/kern.log /mnt/inside.log";
    if namespace::is_inside(name, prepare) {
        let outside = Path::new("/mnt/kern.log");
        let mut follower = Follower::start(Path::new("/mnt/inside.log"));
        write(&append(outside), "one\n");
        follower.expect("one\n");
        let mounted = Health::Degraded(Trouble::MountPoint);
        assert_eq!(follower.health, Some(mounted));
        follower.stop();
        let mut follower = Follower::start(outside);
        write(&append(outside), "two\n");
        follower.expect("two\n");
        assert_eq!(follower.health, Some(Health::Following));
        follower.stop();
    }
}

#[test]
fn a_file_behind_fuse_is_polled_and_said_to_be() {
    let name = "follow_mounts::a_file_behind_fuse_is_polled_and_said_to_be";
    let prepare = "command -v bindfs && test -w /dev/fuse && mount -t tmpfs none /mnt && mkdir /mnt/near /mnt/far";
    if namespace::is_inside(name, prepare) {
        let device = |path| fs::metadata(path).map(|found| found.dev()).ok();
        let mut server = Command::new("bindfs")
            .args(["-f", "/mnt/far", "/mnt/near"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let is_mounted = || device("/mnt/near") != device("/mnt/far");
        let mut ended = false;
        eventually(
            || {
                ended = server.try_wait().unwrap().is_some();
                ended || is_mounted()
            },
            || "bindfs does not mount".to_owned(),
        );
        if need::met(!ended, "FUSE mounts in a user namespace") {
            let writer = append(Path::new("/mnt/far/kern.log"));
            let mut follower = Follower::start(Path::new("/mnt/near/kern.log"));
            let polled = Health::Degraded(Trouble::Remote("FUSE"));
            assert_eq!(follower.health, Some(polled));
            for number in 0..4 {
                // Behind FUSE's back: this kernel tells nothing of it.
                write(&writer, &format!("{number}\n"));
                follower.expect(&format!("{number}\n"));
            }
            follower.stop();
        }
        drop(server.kill());
        drop(server.wait());
    }
}

/// The descriptors of this process that lead into `dir`, the writer's included.
fn open_in(dir: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let inside = |fd: &fs::DirEntry| fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(dir));
    open.filter(inside).count()
}

#[test]
fn thousands_of_rotations_leave_no_descriptor_and_no_file_behind() {
    let (dir, path) = log();
    let mut follower = Follower::start(&path);
    let long = std::env::var_os("LOGKNOCK_LONG").is_some();
    let mut most = 0;
    for number in 0..if long { 10_000 } else { 500 } {
        write(&append(&path), &format!("{number}\n"));
        follower.expect(&format!("{number}\n"));
        fs::rename(&path, dir.path().join("kern.log.1")).unwrap();
        most = most.max(open_in(dir.path()));
    }
    // The directory, the file, those that were rotated away, and those that are held ahead.
    assert!(most <= 1 + 1 + 8 + 8, "{most} descriptors");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    follower.stop();
}

/// How often the thread called `name` has slept until it was woken.
fn wake_ups(name: &str) -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let status = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    let mut ours =
        status.filter(|status| status.lines().any(|line| line == format!("Name:\t{name}")));
    let status = ours.next().unwrap();
    let count = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

#[test]
fn a_quiet_file_costs_a_wake_up_a_second_and_its_next_line_comes_at_once() {
    let (_dir, path) = log();
    let writer = append(&path);
    let mut follower = Follower::numbered(&path, 87);
    let before = wake_ups("follow-87");
    std::thread::sleep(std::time::Duration::from_secs(4));
    // One tick a second; a loaded machine makes fewer of them, not more.
    let woken = wake_ups("follow-87") - before;
    assert!(woken <= 12, "{woken} in four seconds");
    assert_is_woken(&mut follower, &writer);
    follower.stop();
}
