//! Journals that are cut, damaged, too long or something else: good lines count, the rest is set aside.

#![expect(
    clippy::disallowed_methods,
    reason = "a test makes files, and reads what came of them"
)]

use std::fs;

use super::faulty_disk::FaultyDisk;
use super::tests::{begin, ids, in_an_hour, recover, start, this_boot};
use super::*;

/// A journal with a life of some grants, and the length at which each of its lines ends.
fn journal() -> (Vec<u8>, Vec<usize>) {
    let disk = FaultyDisk::default();
    let mut book = start(&disk);
    for id in 1..=4 {
        begin(&mut book, id, in_an_hour());
        book.commit().unwrap();
        book.opened(id);
        book.commit().unwrap();
    }
    book.extend(2, in_an_hour());
    book.closed(3);
    begin(&mut book, 5, in_an_hour());
    book.commit().unwrap();
    let bytes = disk.content(JOURNAL).unwrap();
    let ends = (1..=bytes.len())
        .filter(|&end| bytes[end - 1] == b'\n')
        .collect();
    (bytes, ends)
}

#[test]
fn a_journal_cut_at_any_byte_holds_every_grant_whose_line_is_whole() {
    let (bytes, ends) = journal();
    // Open after the header, begin 1, opened 1, begin 2, …, extend 2, closed 3, begin 5.
    let open: [&[u64]; 12] = [
        &[],
        &[1],
        &[1],
        &[1, 2],
        &[1, 2],
        &[1, 2, 3],
        &[1, 2, 3],
        &[1, 2, 3, 4],
        &[1, 2, 3, 4],
        &[1, 2, 3, 4],
        &[1, 2, 4],
        &[1, 2, 4, 5],
    ];
    assert_eq!(ends.len(), open.len());
    for cut in 0..=bytes.len() {
        let disk = FaultyDisk::default();
        disk.put(JOURNAL, &bytes[..cut]);
        let opened = recover(&disk, &this_boot());
        // A line is whole without its newline too.
        let whole = ends.iter().filter(|&&end| end <= cut + 1).count();
        let expected = whole.checked_sub(1).map_or(&[][..], |last| open[last]);
        assert_eq!(ids(&opened), expected, "cut at {cut}");
        assert_eq!(opened.notice.is_some(), whole == 0, "cut at {cut}");
        assert!(
            opened
                .grants
                .iter()
                .all(|(_, grant)| grant.deadline <= in_an_hour())
        );
    }
}

#[test]
fn damage_at_any_place_costs_the_damaged_lines_and_no_other() {
    let (bytes, ends) = journal();
    for (line, &end) in ends.iter().enumerate() {
        let begin = line.checked_sub(1).map_or(0, |before| ends[before]);
        let mut damaged = bytes.clone();
        damaged[begin + (end - begin) / 2] ^= 4;
        let disk = FaultyDisk::default();
        disk.put(JOURNAL, &damaged);
        let opened = recover(&disk, &this_boot());
        let damage = if line == 0 {
            Damage::NoHeader
        } else {
            Damage::Lines(1)
        };
        let name = Some("grants.corrupt-1".into());
        assert_eq!(opened.notice, Some(Notice { damage, name }));
        let expected: &[u64] = match line {
            1 => &[2, 4, 5],
            3 => &[1, 4, 5],
            7 => &[1, 2, 5],
            10 => &[1, 2, 3, 4, 5],
            11 => &[1, 2, 4],
            _ => &[1, 2, 4, 5],
        };
        assert_eq!(ids(&opened), expected, "line {line}");
        assert_eq!(disk.content("grants.corrupt-1"), Some(damaged));
        assert_eq!(recover(&disk, &this_boot()).notice, None, "told once");
    }
}

#[test]
fn at_most_three_damaged_journals_are_kept_the_newest() {
    let disk = FaultyDisk::default();
    for number in 1..=10 {
        disk.put(JOURNAL, format!("damage {number}\n").as_bytes());
        recover(&disk, &this_boot());
    }
    let mut names = disk.clone().names().unwrap();
    names.sort();
    let expected = [
        "grants.corrupt-10",
        "grants.corrupt-8",
        "grants.corrupt-9",
        JOURNAL,
    ];
    assert_eq!(names, expected);
    assert_eq!(disk.content("grants.corrupt-10").unwrap(), b"damage 10\n");
}

#[test]
fn where_a_damaged_journal_cannot_be_kept_its_good_lines_count_all_the_same() {
    let (mut bytes, _) = journal();
    bytes.extend(b"garbage\n");
    let disk = FaultyDisk::default();
    disk.put(JOURNAL, &bytes);
    disk.schedule(&[0, 0, 15]); // it is read, the names are listed, the link is refused
    let opened = recover(&disk, &this_boot());
    assert_eq!(ids(&opened), [1, 2, 4, 5]);
    let Some(Notice { name, .. }) = opened.notice else {
        panic!("no notice");
    };
    assert_eq!(name, None);
}

#[test]
fn anything_else_in_the_journals_place_is_set_aside() {
    let (good, _) = journal();
    let later = {
        let mut lines = Vec::new();
        let (version, next) = (VERSION + 1, 77);
        Record::Header { version, next }.write(&mut lines);
        lines
    };
    let cases = [
        (b"".to_vec(), Damage::NoHeader),
        (b"\xff\xfegarbage\0{}[]\n\n\n".to_vec(), Damage::NoHeader),
        (
            b"{\"record\":\"begin\",\"id\":1,".to_vec(),
            Damage::NoHeader,
        ),
        (vec![0; 100_000], Damage::NoHeader),
        (b"[".repeat(100_000), Damage::NoHeader),
        (later, Damage::Schema(VERSION + 1)),
        ([&good[..], b"{}\n"].concat(), Damage::Lines(1)),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (number, (content, damage)) in (1..).zip(cases) {
        fs::write(dir.path().join(JOURNAL), &content).unwrap();
        let opened = Ledger::open(dir.path(), &this_boot()).unwrap();
        let aside = format!("grants.corrupt-{number}");
        assert_eq!(fs::read(dir.path().join(&aside)).unwrap(), content);
        let name = Some(aside.into());
        assert_eq!(opened.notice, Some(Notice { damage, name }));
    }
}

#[test]
fn a_journal_of_a_hundred_megabytes_is_not_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (mut bytes, _) = journal();
    bytes.resize(100 * 1024 * 1024, 0);
    fs::write(dir.path().join(JOURNAL), &bytes).unwrap();
    let opened = Ledger::open(dir.path(), &this_boot()).unwrap();
    assert_eq!(ids(&opened), [1, 2, 4, 5], "its good lines count");
    let Some(Notice { damage, .. }) = opened.notice else {
        panic!("no notice");
    };
    assert_eq!(damage, Damage::TooLarge);
}
