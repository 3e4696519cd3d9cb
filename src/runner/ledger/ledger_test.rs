#![expect(
    clippy::disallowed_methods,
    reason = "a test makes files, and reads what came of them"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::forgetful_disk::ForgetfulDisk;
use super::*;
use crate::engine::account::Account;

fn this_boot() -> Boot {
    Boot {
        id: "this".into(),
        now: clock::boot_now(),
    }
}

fn other_boot() -> Boot {
    Boot {
        id: "other".into(),
        now: Time::from_secs(5),
    }
}

fn address(id: u64) -> IpAddr {
    IpAddr::from(u32::try_from(id).unwrap().to_be_bytes())
}

fn knock() -> Account {
    Account {
        name: "knock".into(),
        uid: 998,
        gid: 997,
        groups: vec![997, 4],
        home: "/var/lib/knock".into(),
    }
}

fn close(id: u64) -> Invocation {
    Invocation {
        argv: vec!["nft".to_owned(), format!("delete \"{id}\"\n")],
        env: vec![("LOGKNOCK_IP".to_owned(), address(id).to_string())],
        account: id.is_multiple_of(2).then(|| Arc::new(knock())),
    }
}

fn in_an_hour() -> Time {
    clock::boot_now().after(Duration::from_secs(3600))
}

fn begin(ledger: &mut Ledger, id: u64, deadline: Time) {
    ledger.begin(GrantId(id), &"ssh".into(), address(id), deadline, close(id));
}

fn recover(disk: &ForgetfulDisk, boot: &Boot) -> Opened {
    Ledger::recover(Box::new(disk.clone()), boot).unwrap()
}

fn ids(opened: &Opened) -> Vec<u64> {
    opened.grants.iter().map(|grant| grant.id.0).collect()
}

#[test]
fn a_grant_comes_back_with_its_deadline_and_the_close_command_it_was_opened_with() {
    let disk = ForgetfulDisk::default();
    let mut ledger = recover(&disk, &this_boot()).ledger;
    let (first, second) = (in_an_hour(), in_an_hour());
    begin(&mut ledger, 1, first);
    begin(&mut ledger, 2, first);
    begin(&mut ledger, 3, first);
    ledger.commit().unwrap();
    ledger.opened(GrantId(1));
    ledger.extend(GrantId(1), second);
    ledger.closed(GrantId(2));
    ledger.commit().unwrap();
    drop(ledger);

    let opened = recover(&disk, &this_boot());
    let saved = |id, deadline, proven| SavedGrant {
        id: GrantId(id),
        door: "ssh".into(),
        src: address(id),
        deadline,
        proven,
        rebooted: false,
    };
    assert_eq!(
        opened.grants,
        [saved(1, second, true), saved(3, first, false)]
    );
    assert_eq!((opened.next, opened.notice), (GrantId(4), None));
    let close_of = opened.ledger.close_of(GrantId(1));
    assert_eq!(close_of, Some((address(1), &close(1))));
}

#[test]
fn after_another_boot_every_grant_is_due_at_once() {
    let disk = ForgetfulDisk::default();
    let mut ledger = recover(&disk, &this_boot()).ledger;
    begin(&mut ledger, 1, in_an_hour());
    ledger.commit().unwrap();
    let opened = recover(&disk, &other_boot());
    assert_eq!(opened.grants[0].deadline, other_boot().now);
    let later = Boot {
        now: Time::from_secs(60),
        ..other_boot()
    };
    let again = recover(&disk, &later);
    assert_eq!(again.grants[0].deadline, other_boot().now, "and stays so");
}

#[test]
fn a_boot_clock_that_was_turned_back_makes_no_hour_a_year() {
    let disk = ForgetfulDisk::default();
    let mut ledger = recover(&disk, &this_boot()).ledger;
    begin(&mut ledger, 1, in_an_hour());
    ledger.commit().unwrap();
    let turned_back = Boot {
        now: Time::from_nanos(1),
        ..this_boot()
    };
    let opened = recover(&disk, &turned_back);
    assert_eq!(opened.grants[0].deadline, turned_back.now);
}

#[test]
fn a_wall_clock_that_was_set_moves_no_deadline() {
    const YEAR: i64 = 365 * 24 * 3600;
    for by in [-YEAR, -3600, 3600, YEAR] {
        let disk = ForgetfulDisk::default();
        let mut ledger = recover(&disk, &this_boot()).ledger;
        let deadline = in_an_hour();
        begin(&mut ledger, 1, deadline);
        ledger.commit().unwrap();
        // As it would stand there had `date` been called before.
        let mut journal = Vec::new();
        for line in disk.content(JOURNAL).unwrap().split(|&byte| byte == b'\n') {
            match Record::parse(line) {
                Some(Record::Begin(mut begin)) => {
                    begin.due.wall += by;
                    Record::Begin(begin).write(&mut journal);
                }
                Some(record) => record.write(&mut journal),
                None => assert!(line.is_empty()),
            }
        }
        disk.put(JOURNAL, &journal);
        let grants = recover(&disk, &this_boot()).grants;
        assert_eq!(grants[0].deadline, deadline, "{by} s");
    }
}

#[test]
fn numbers_are_never_given_again() {
    let disk = ForgetfulDisk::default();
    let mut opened = recover(&disk, &this_boot());
    assert_eq!(opened.next, GrantId(1));
    begin(&mut opened.ledger, 41, in_an_hour());
    opened.ledger.closed(GrantId(41));
    opened.ledger.commit().unwrap();
    for _ in 0..3 {
        assert_eq!(recover(&disk, &this_boot()).next, GrantId(42));
    }
    for damage in 1..5 {
        disk.put(JOURNAL, b"nothing is left\n");
        assert_eq!(recover(&disk, &this_boot()).next, GrantId(damage << 32));
    }
}

#[test]
fn a_journal_that_has_grown_is_made_short_again() {
    let disk = ForgetfulDisk::default();
    let mut ledger = recover(&disk, &this_boot()).ledger;
    begin(&mut ledger, 1, in_an_hour());
    for id in 2..10_000 {
        begin(&mut ledger, id, in_an_hour());
        ledger.commit().unwrap();
        ledger.closed(GrantId(id));
        let length = disk.content(JOURNAL).unwrap().len();
        assert!(length < MIN_GROWTH + 1024, "{length} bytes for two grants");
    }
    ledger.commit().unwrap();
    assert_eq!(ids(&recover(&disk, &this_boot())), [1]);
}

#[test]
fn when_it_cannot_be_made_short_the_long_one_goes_on() {
    let disk = ForgetfulDisk::default();
    let mut ledger = recover(&disk, &this_boot()).ledger;
    ledger.compact_at = 0;
    begin(&mut ledger, 1, in_an_hour());
    disk.schedule(&[0, 0, 14]); // write and sync succeed, the new file cannot be made
    assert_eq!(ledger.commit(), Ok(()));
    assert_eq!((disk.failed(), ledger.trouble()), (1, None));
    begin(&mut ledger, 2, in_an_hour());
    assert_eq!(ledger.commit(), Ok(()));
    assert_eq!(ids(&recover(&disk, &this_boot())), [1, 2]);
}

#[test]
fn without_the_disk_no_grant_begins_and_those_that_are_open_can_be_closed() {
    let disk = ForgetfulDisk::default();
    let mut ledger = recover(&disk, &this_boot()).ledger;
    begin(&mut ledger, 1, in_an_hour());
    ledger.commit().unwrap();
    disk.schedule(&[14; 100]);
    begin(&mut ledger, 2, in_an_hour());
    let trouble = ledger.commit().unwrap_err();
    assert!(
        trouble
            .to_string()
            .starts_with("cannot put grants on disk: ")
    );
    assert_eq!(ledger.trouble(), Some(trouble));
    assert_eq!(ledger.close_of(GrantId(2)), None);
    assert_eq!(ledger.close_of(GrantId(1)), Some((address(1), &close(1))));
    let failed = disk.failed();
    ledger.closed(GrantId(1));
    assert_eq!(ledger.commit(), Err(trouble));
    assert_eq!(
        disk.failed(),
        failed,
        "a close does not wait for a disk that refused"
    );

    disk.schedule(&[]);
    assert!(ledger.retry_at() > Some(clock::monotonic_now()));
    ledger.retry_now();
    assert_eq!((ledger.commit(), ledger.trouble()), (Ok(()), None));
    assert_eq!(ids(&recover(&disk, &this_boot())), [0; 0]);
}

/// A journal with a life of some grants, and the length at which each of its lines ends.
fn journal() -> (Vec<u8>, Vec<usize>) {
    let disk = ForgetfulDisk::default();
    let mut ledger = recover(&disk, &this_boot()).ledger;
    for id in 1..=4 {
        begin(&mut ledger, id, in_an_hour());
        ledger.opened(GrantId(id));
    }
    ledger.extend(GrantId(2), in_an_hour());
    ledger.closed(GrantId(3));
    begin(&mut ledger, 5, in_an_hour());
    ledger.commit().unwrap();
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
        let disk = ForgetfulDisk::default();
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
                .all(|grant| grant.deadline <= in_an_hour())
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
        let disk = ForgetfulDisk::default();
        disk.put(JOURNAL, &damaged);
        let opened = recover(&disk, &this_boot());
        let damage = if line == 0 {
            Damage::NoHeader
        } else {
            Damage::Lines(1)
        };
        let name = Some("grants.corrupt-1".into());
        assert_eq!(opened.notice, Some(Notice::SetAside { damage, name }));
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
    let disk = ForgetfulDisk::default();
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
    let disk = ForgetfulDisk::default();
    disk.put(JOURNAL, &bytes);
    disk.schedule(&[0, 0, 15]); // it is read, the names are listed, the link is refused
    let opened = recover(&disk, &this_boot());
    assert_eq!(ids(&opened), [1, 2, 4, 5]);
    let Some(Notice::SetAside { name, .. }) = opened.notice else {
        panic!("no notice");
    };
    assert_eq!(name, None);
}

#[test]
fn the_state_directory_is_made_for_us_alone() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state");
    let mut opened = Ledger::open(&dir, &this_boot()).unwrap();
    begin(&mut opened.ledger, 1, in_an_hour());
    opened.ledger.commit().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join(JOURNAL)), 0o600);
    assert_eq!(mode(&dir.join("lock")), 0o600);
    drop(opened);
    let opened = Ledger::open(&dir, &this_boot()).unwrap();
    assert_eq!(ids(&opened), [1]);
}

#[test]
fn a_second_instance_is_told_who_is_first_and_disturbs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Ledger::open(dir.path(), &this_boot()).unwrap().ledger;
    let error = Ledger::open(dir.path(), &this_boot()).unwrap_err();
    assert!(matches!(error, OpenError::Locked(Some(pid)) if pid == std::process::id()));
    let sentence = format!(
        "another instance is running: process {}",
        std::process::id()
    );
    assert_eq!(error.to_string(), sentence);
    begin(&mut first, 1, in_an_hour());
    first.commit().unwrap();
    drop(first);
    assert_eq!(ids(&Ledger::open(dir.path(), &this_boot()).unwrap()), [1]);
}

#[test]
fn a_state_directory_that_cannot_be_used_is_an_error_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let blocked = dir.path().join("blocked");
    fs::create_dir_all(blocked.join(FRESH)).unwrap();
    fs::set_permissions(&blocked, fs::Permissions::from_mode(0o700)).unwrap();
    for path in [
        dir.path().join("no/parent"),
        file.clone(),
        file.join("x"),
        blocked,
    ] {
        let error = Ledger::open(&path, &this_boot()).unwrap_err();
        assert!(matches!(error, OpenError::Failed { .. }), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
    let open = dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o775)).unwrap();
    let error = Ledger::open(&open, &this_boot()).unwrap_err();
    assert!(matches!(error, OpenError::Insecure(_)), "{error}");
}

#[test]
fn whatever_stands_in_the_journals_place_is_set_aside() {
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
        assert_eq!(opened.notice, Some(Notice::SetAside { damage, name }));
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
    let Some(Notice::SetAside { damage, .. }) = opened.notice else {
        panic!("no notice");
    };
    assert_eq!(damage, Damage::TooLarge);
}

#[test]
fn debug_shows_no_command() {
    let disk = ForgetfulDisk::default();
    let mut opened = recover(&disk, &this_boot());
    begin(&mut opened.ledger, 1, in_an_hour());
    let text = format!("{opened:?}");
    assert!(
        text.contains("Ledger(1 open)") && !text.contains("nft"),
        "{text}"
    );
}
