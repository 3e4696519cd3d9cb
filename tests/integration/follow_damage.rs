//! One file through what is done to its content and its rights: truncation, holes, overlong lines,
//! other things in its place. The tail has no clock, so nothing here waits.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use logknock::engine::reason::Reason;
use logknock::source::assembler::MAX_LINE;
use logknock::source::tail::Pace;
use logknock::source::{FileKind, Trouble};
use rustix::fs::{CWD, FileType, Mode};

use super::followed::{Followed, write};

#[test]
fn copytruncate_loses_nothing_that_could_be_read() {
    let mut log = Followed::empty();
    let writer = log.create();
    write(&writer, "1\n2\n");
    assert_eq!(log.read(), "1\n2\n");
    fs::copy(&log.path, log.at("kern.log.1")).unwrap();
    writer.set_len(0).unwrap();
    assert_eq!(log.read(), "");
    write(&writer, "3\n");
    assert_eq!(log.read(), "3\n");
}

#[test]
fn a_half_line_before_a_truncation_is_counted_and_not_joined() {
    let mut log = Followed::empty();
    let writer = log.create();
    write(&writer, "half");
    assert_eq!(log.read(), "");
    writer.set_len(0).unwrap();
    write(&writer, "whole\n");
    assert_eq!(log.read(), "<partial>whole\n");
}

/// A TCP SYN as the kernel logs it: the last 60 bytes are the same for nearly all of them.
fn syn(id: u32) -> String {
    format!(
        "Jan  1 00:00:00 gw kernel: [{id:>5}.123456] IN=eth0 OUT= SRC=192.0.2.7 DST=192.0.2.1 \
         LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID={id} DF PROTO=TCP SPT=40504 DPT=7000 \
         WINDOW=64240 RES=0x00 SYN URGP=0 \n"
    )
}

#[test]
fn a_truncated_file_that_grew_to_the_same_size_is_read_from_its_start() {
    let mut log = Followed::empty();
    let writer = log.create();
    let lines = |first: u32| (first..first + 50).map(syn).collect::<String>();
    write(&writer, lines(10_000));
    assert_eq!(log.read(), lines(10_000));
    writer.set_len(0).unwrap();
    write(&writer, lines(20_000));
    assert_eq!(log.read(), lines(20_000));
}

#[test]
fn a_truncated_file_that_grew_beyond_the_position_is_read_from_its_start() {
    let mut log = Followed::empty();
    let writer = log.create();
    write(&writer, syn(10_000));
    assert_eq!(log.read(), syn(10_000));
    writer.set_len(0).unwrap();
    let refill: String = (20_000..21_000).map(syn).collect();
    write(&writer, &refill);
    assert_eq!(log.read(), refill);
}

#[test]
fn a_hole_before_the_next_line_is_skipped_and_not_read() {
    let mut log = Followed::empty();
    let writer = File::options().write(true).open(&log.path).unwrap();
    writer.write_all_at(b"1\n", 0).unwrap();
    assert_eq!(log.read(), "1\n");
    writer.set_len(0).unwrap();
    // A writer that does not append goes on where it was.
    writer.write_all_at(b"2\n", 10 << 30).unwrap();
    let mut got = String::new();
    assert_eq!(log.poll(&mut got), Pace::CaughtUp, "10 GiB in one turn");
    assert_eq!(got, "2\n");
    writer.set_len(20 << 30).unwrap();
    assert_eq!(log.read(), "");
    writer.write_all_at(b"3\n", 20 << 30).unwrap();
    assert_eq!(log.read(), "3\n");
}

#[test]
fn written_nuls_before_a_line_are_skipped() {
    let mut log = Followed::empty();
    let writer = log.create();
    write(&writer, vec![0; 1 << 20]);
    write(&writer, "1\n");
    assert_eq!(log.read(), "1\n");
}

#[test]
fn whatever_is_no_regular_file_is_named_and_never_waited_for() {
    let mut log = Followed::empty();
    let old = log.create();
    let mut became = |kind, make: &dyn Fn(&Path)| {
        let _ = fs::remove_file(&log.path).or_else(|_| fs::remove_dir(&log.path));
        make(&log.path);
        write(&old, "read on\n");
        assert_eq!(log.read(), "read on\n");
        assert_eq!(log.tail.trouble(), Some(&Trouble::NotRegular(kind)));
    };
    let node =
        |kind| move |path: &Path| rustix::fs::mknodat(CWD, path, kind, Mode::RUSR, 0).unwrap();
    became(FileKind::Directory, &|path| fs::create_dir(path).unwrap());
    became(FileKind::Fifo, &node(FileType::Fifo));
    became(FileKind::Socket, &node(FileType::Socket));
    became(FileKind::Device, &|path| symlink("/dev/tty", path).unwrap());
    fs::remove_file(&log.path).unwrap();
    write(&log.create(), "again\n");
    assert_eq!(log.read(), "again\n");
    assert_eq!(log.tail.trouble(), None);
}

#[test]
fn a_file_that_fails_to_be_read_is_tried_again_and_left_for_a_better_one() {
    let mut log = Followed::unseen("kern.log");
    // A regular file whose first page cannot be read: EIO.
    symlink("/proc/self/mem", &log.path).unwrap();
    assert_eq!(log.read(), "");
    assert_eq!(
        log.tail.trouble(),
        Some(&Trouble::Unreadable(rustix::io::Errno::IO))
    );
    assert_eq!(log.read_after(60), "");
    fs::remove_file(&log.path).unwrap();
    write(&log.create(), "better\n");
    assert_eq!(log.read(), "better\n");
    assert_eq!(log.tail.trouble(), None);
}

/// Does `work` without root's rights, in a thread that has given them up.
fn unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let nobody = rustix::fs::Uid::from_raw(65534);
    let in_thread = || {
        if rustix::process::geteuid().is_root() {
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        work()
    };
    std::thread::scope(|scope| scope.spawn(in_thread).join().unwrap())
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_new_file_that_may_not_be_read_yet_is_read_from_its_start_when_it_may() {
    let mut log = Followed::empty();
    allow(log.dir.path(), 0o755);
    log.rename_to("kern.log.1");
    let writer = log.create();
    allow(&log.path, 0);
    write(&writer, "1\n");
    assert_eq!(unprivileged(|| log.read()), "");
    assert_eq!(log.tail.trouble(), Some(&Trouble::Denied));
    allow(&log.path, 0o644);
    assert_eq!(unprivileged(|| log.read()), "1\n");
    assert_eq!(log.tail.trouble(), None);
}

#[test]
fn a_file_that_may_not_be_read_at_the_start_is_followed_from_where_it_ended_then() {
    let mut log = Followed::unseen("kern.log");
    allow(log.dir.path(), 0o755);
    let writer = log.create();
    allow(&log.path, 0);
    write(&writer, "old\n");
    assert_eq!(unprivileged(|| log.read()), "");
    write(&writer, "new\n");
    allow(&log.path, 0o644);
    assert_eq!(unprivileged(|| log.read()), "new\n");
}

#[test]
fn a_directory_that_may_not_be_searched_hides_old_lines_for_good() {
    let mut log = Followed::unseen("kern.log");
    let writer = log.create();
    write(&writer, "old\n");
    allow(log.dir.path(), 0);
    assert_eq!(unprivileged(|| log.read()), "");
    assert_eq!(log.tail.trouble(), Some(&Trouble::Denied));
    allow(log.dir.path(), 0o755);
    assert_eq!(unprivileged(|| log.read()), "");
    write(&writer, "new\n");
    assert_eq!(unprivileged(|| log.read()), "new\n");
}

#[test]
fn an_overlong_line_is_dropped_to_its_newline() {
    let mut log = Followed::empty();
    let writer = log.create();
    for size in [MAX_LINE + 1, 64 << 10, 4 << 20] {
        write(&writer, vec![b'x'; size]);
        write(&writer, "\nnext\n");
        assert_eq!(log.read(), format!("<{}>next\n", Reason::TooLong.as_str()));
    }
}
