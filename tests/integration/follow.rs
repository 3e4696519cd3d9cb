//! One file through everything that rotation does to it, step by step. The tail has no clock, so
//! nothing here waits.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use logknock::engine::reason::Reason;
use logknock::source::assembler::{MAX_LINE, Yield};
use logknock::source::tail::{Options, Pace, Tail};
use logknock::source::{FileKind, Trouble};
use rustix::fs::{CWD, FileType, Mode};
use tempfile::TempDir;

/// A followed file in a directory of its own.
struct Followed {
    dir: TempDir,
    path: PathBuf,
    tail: Tail,
    now: Duration,
}

impl Followed {
    /// Nothing is at the path yet, and the tail has noticed.
    fn missing() -> Self {
        let mut followed = Self::unseen("kern.log");
        assert_eq!(followed.read(), "");
        followed
    }

    /// An empty file is at the path and followed.
    fn empty() -> Self {
        let mut followed = Self::unseen("kern.log");
        followed.create();
        assert_eq!(followed.read(), "");
        assert_eq!(followed.tail.trouble(), None);
        followed
    }

    /// There was no look yet.
    fn unseen(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        Self {
            tail: Tail::new(path.clone(), Options::default()),
            now: Duration::from_secs(1000),
            dir,
            path,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn create(&self) -> File {
        append(&self.path)
    }

    fn rename_to(&self, name: &str) {
        fs::rename(&self.path, self.at(name)).unwrap();
    }

    /// Everything that is read now: the lines as they are, `<reason>` for each dropped one.
    fn read(&mut self) -> String {
        let mut got = String::new();
        while self.poll(&mut got) == Pace::More {}
        got
    }

    fn poll(&mut self, got: &mut String) -> Pace {
        self.tail.poll(self.now, &mut |yielded| match yielded {
            Yield::Lines { bytes, .. } => got.push_str(&String::from_utf8_lossy(bytes)),
            Yield::Dropped(reason) => got.extend(["<", reason.as_str(), ">"]),
        })
    }

    fn read_after(&mut self, seconds: u64) -> String {
        self.now += Duration::from_secs(seconds);
        self.read()
    }
}

/// A writer as syslog daemons are: appending.
fn append(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.create(true).append(true).open(path).unwrap()
}

fn write(mut file: &File, text: impl AsRef<[u8]>) {
    file.write_all(text.as_ref()).unwrap();
}

#[test]
fn a_file_that_is_there_at_the_start_is_followed_from_its_end() {
    let mut log = Followed::unseen("kern.log");
    let writer = log.create();
    write(&writer, "old\n");
    assert_eq!(log.read(), "");
    write(&writer, "new\n");
    assert_eq!(log.read(), "new\n");
}

#[test]
fn a_line_begun_before_the_start_is_not_handed_over() {
    let mut log = Followed::unseen("kern.log");
    let writer = log.create();
    write(&writer, "old\nbegun before");
    assert_eq!(log.read(), "");
    write(&writer, " and ended after\nnew\n");
    assert_eq!(log.read(), "new\n");
}

#[test]
fn a_line_is_handed_over_when_its_newline_is_there() {
    let mut log = Followed::empty();
    let writer = log.create();
    write(&writer, "half");
    assert_eq!(log.read_after(3600), "");
    write(&writer, " whole\nnext");
    assert_eq!(log.read(), "half whole\n");
}

#[test]
fn a_missing_file_is_read_from_its_first_line_when_it_appears() {
    let mut log = Followed::missing();
    assert_eq!(log.tail.trouble(), Some(&Trouble::Missing));
    write(&log.create(), "first\n");
    assert_eq!(log.read(), "first\n");
    assert_eq!(log.tail.trouble(), None);
}

#[test]
fn missing_directories_may_appear_later() {
    let mut log = Followed::unseen("var/log/kern.log");
    assert_eq!(log.read(), "");
    assert_eq!(log.tail.trouble(), Some(&Trouble::Missing));
    fs::create_dir_all(log.at("var/log")).unwrap();
    assert_eq!(log.read(), "");
    write(&log.create(), "first\n");
    assert_eq!(log.read(), "first\n");
}

#[test]
fn lines_written_to_the_renamed_file_are_read_until_it_is_quiet() {
    let mut log = Followed::empty();
    let old = log.create();
    write(&old, "1\n");
    log.rename_to("kern.log.1");
    let new = log.create();
    assert_eq!(log.read(), "1\n");
    for second in 2..12 {
        write(&old, format!("{second}\n"));
        assert_eq!(log.read_after(1), format!("{second}\n"));
    }
    write(&new, "new\n");
    write(&old, "last\n");
    assert_eq!(log.read(), "last\nnew\n", "the older file comes first");
    assert_eq!(log.read_after(4), "");
    assert_eq!(log.tail.open_files(), 2);
    assert_eq!(log.read_after(1), "");
    assert_eq!(log.tail.open_files(), 1);
}

#[test]
fn the_renamed_file_is_kept_until_a_line_is_in_the_new_one() {
    let mut log = Followed::empty();
    let old = log.create();
    log.rename_to("kern.log.1");
    let new = log.create();
    assert_eq!(log.read_after(600), "");
    write(&old, "a writer that was never told\n");
    assert_eq!(log.read_after(600), "a writer that was never told\n");
    write(&new, "begun");
    assert_eq!(log.read_after(5), "");
    assert_eq!(log.tail.open_files(), 2, "half a line is none");
    write(&new, " and ended\n");
    assert_eq!(log.read(), "begun and ended\n");
    assert_eq!(log.tail.open_files(), 1);
}

#[test]
fn a_fragment_in_the_renamed_file_never_joins_the_new_one() {
    let mut log = Followed::empty();
    write(&log.create(), "whole\nSRC=192.0.2.1");
    assert_eq!(log.read(), "whole\n");
    log.rename_to("kern.log.1");
    write(&log.create(), "00\nnext\n");
    assert_eq!(log.read(), "00\nnext\n");
    assert_eq!(log.read_after(5), "<partial>");
}

#[test]
fn a_rotation_without_a_new_file_is_no_trouble_while_the_old_one_is_read() {
    let mut log = Followed::empty();
    let old = log.create();
    log.rename_to("kern.log.1");
    assert_eq!(log.read(), "");
    assert_eq!(log.tail.trouble(), None);
    write(&old, "still\n");
    assert_eq!(log.read_after(60), "still\n");
    assert_eq!(log.read_after(5), "");
    assert_eq!(log.tail.trouble(), Some(&Trouble::Missing));
    write(&old, "and still\n");
    write(&log.create(), "new\n");
    assert_eq!(log.read(), "and still\nnew\n");
    assert_eq!(log.tail.trouble(), None);
}

#[test]
fn a_file_renamed_away_and_back_is_not_read_again() {
    let mut log = Followed::empty();
    let writer = log.create();
    write(&writer, "1\n");
    assert_eq!(log.read(), "1\n");
    log.rename_to("aside");
    assert_eq!(log.read(), "");
    fs::rename(log.at("aside"), &log.path).unwrap();
    write(&writer, "2\n");
    assert_eq!(log.read_after(60), "2\n");
}

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
fn a_file_deleted_and_created_again_is_read_from_its_start_whatever_its_size() {
    let mut log = Followed::empty();
    let sizes = [3, 3, 1, 7];
    for (round, lines) in sizes.into_iter().enumerate() {
        fs::remove_file(&log.path).unwrap();
        let text = format!("round {round}\n").repeat(lines);
        write(&log.create(), &text);
        assert_eq!(log.read_after(6), text);
    }
}

#[test]
fn the_rest_of_a_deleted_file_is_read() {
    let mut log = Followed::empty();
    let writer = log.create();
    write(&writer, "1\n");
    log.rename_to("kern.log.1");
    let new = log.create();
    fs::remove_file(log.at("kern.log.1")).unwrap();
    fs::write(log.at("kern.log.1.gz"), "never opened\n").unwrap();
    write(&writer, "2\n");
    write(&new, "3\n");
    assert_eq!(log.read(), "1\n2\n3\n");
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
fn several_rotations_between_two_looks_lose_only_what_no_path_leads_to() {
    let mut log = Followed::empty();
    write(&log.create(), "0\n");
    for rotation in 1..=5 {
        log.rename_to(&format!("kern.log.{rotation}"));
        write(&log.create(), format!("{rotation}\n"));
    }
    assert_eq!(log.read(), "0\n5\n");
}

#[test]
fn each_rotation_that_is_seen_is_read_fully() {
    let mut log = Followed::empty();
    let mut writers = vec![log.create()];
    for rotation in 1..=5 {
        log.rename_to(&format!("kern.log.{rotation}"));
        writers.push(log.create());
        assert_eq!(log.read(), "");
    }
    for (number, writer) in writers.iter().enumerate() {
        write(writer, format!("{number}\n"));
    }
    assert_eq!(log.read(), "0\n1\n2\n3\n4\n5\n");
    assert_eq!(log.read_after(5), "");
    assert_eq!(log.tail.open_files(), 1);
}

#[test]
fn any_number_of_rotations_keeps_the_number_of_open_files_bounded() {
    let mut log = Followed::empty();
    for rotation in 0..2000 {
        log.rename_to("kern.log.1");
        write(&log.create(), format!("{rotation}\n"));
        assert_eq!(log.read(), format!("{rotation}\n"));
        assert!(log.tail.open_files() <= 9);
    }
}

#[test]
fn a_replaced_directory_is_followed_and_the_old_file_read_on() {
    let mut log = Followed::unseen("log/kern.log");
    fs::create_dir(log.at("log")).unwrap();
    let old = log.create();
    assert_eq!(log.read(), "");
    fs::rename(log.at("log"), log.at("gone")).unwrap();
    fs::create_dir(log.at("log")).unwrap();
    write(&old, "old\n");
    write(&log.create(), "new\n");
    assert_eq!(log.read(), "old\nnew\n");
}

#[test]
fn a_link_to_a_link_is_followed_to_where_it_points_now() {
    let mut log = Followed::unseen("kern.log");
    let link = |target: &str, name: &str| {
        symlink(target, log.at("next")).unwrap();
        fs::rename(log.at("next"), log.at(name)).unwrap();
    };
    link("data", "kern.log");
    link("a", "data");
    let (a, b) = (append(&log.at("a")), append(&log.at("b")));
    assert_eq!(log.read(), "");
    write(&a, "a1\n");
    write(&b, "b1\n");
    let link = |target: &str, name: &str| {
        symlink(target, log.at("next")).unwrap();
        fs::rename(log.at("next"), log.at(name)).unwrap();
    };
    link("b", "data");
    write(&a, "a2\n");
    assert_eq!(log.read(), "a1\na2\nb1\n");
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

#[test]
fn one_turn_is_bounded_and_the_rest_comes_in_the_next() {
    let mut log = Followed::empty();
    let line = "x".repeat(99) + "\n";
    write(&log.create(), line.repeat(50_000));
    let mut got = String::new();
    assert_eq!(log.poll(&mut got), Pace::More);
    assert!(got.len() <= (1 << 20) + (64 << 10), "{}", got.len());
    got += &log.read();
    assert_eq!(got.len(), 5_000_000);
}

#[test]
fn two_files_with_the_same_first_line_are_followed_apart() {
    let (mut one, mut two) = (Followed::empty(), Followed::empty());
    write(&one.create(), "same\n");
    write(&two.create(), "same\nmore\n");
    assert_eq!(one.read(), "same\n");
    assert_eq!(two.read(), "same\nmore\n");
}

#[test]
fn empty_lines_and_single_bytes_are_no_trouble() {
    let mut log = Followed::empty();
    let writer = log.create();
    write(&writer, "\n");
    assert_eq!(log.read(), "\n");
    write(&writer, "x");
    assert_eq!(log.read(), "");
    write(&writer, "\n\n\r\n");
    assert_eq!(log.read(), "x\n\n\r\n");
}
