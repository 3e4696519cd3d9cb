//! One file through everything that rotation does to its name, step by step. The tail has no clock,
//! so nothing here waits.

use std::fs;
use std::os::unix::fs::symlink;

use logknock::source::Trouble;
use logknock::source::tail::Pace;

use super::followed::{Followed, append, write};

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
