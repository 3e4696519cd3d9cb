//! What is open, over restarts, reboots, set clocks and disks that refuse.
#![expect(
    clippy::disallowed_methods,
    reason = "a test makes files, and reads what came of them"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::forgetful_disk::ForgetfulDisk;
use super::*;
use crate::engine::account::Account;
use crate::engine::grant::SavedGrant;

pub(super) fn this_boot() -> Boot {
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

pub(super) fn in_an_hour() -> Time {
    clock::boot_now().after(Duration::from_secs(3600))
}

pub(super) fn begin(ledger: &mut Ledger, id: u64, deadline: Time) {
    ledger.begin(GrantId(id), &"ssh".into(), address(id), deadline, close(id));
}

pub(super) fn recover(disk: &ForgetfulDisk, boot: &Boot) -> Opened {
    Ledger::recover(Box::new(disk.clone()), boot).unwrap()
}

pub(super) fn ids(opened: &Opened) -> Vec<u64> {
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

#[test]
fn no_more_begins_than_can_be_read_again() {
    const LONG: usize = 100_000;
    let disk = ForgetfulDisk::default();
    let mut ledger = recover(&disk, &this_boot()).ledger;
    ledger.largest = 8 * LONG;
    let is_taken = |ledger: &mut Ledger, id| {
        let mut close = close(id);
        close.argv.push("x".repeat(LONG));
        ledger.begin(GrantId(id), &"ssh".into(), address(id), in_an_hour(), close);
        ledger.commit().is_ok()
    };
    let begun = (1..10)
        .take_while(|&id| is_taken(&mut ledger, id))
        .collect::<Vec<_>>();
    assert_eq!(begun.len(), 7);
    let opened = recover(&disk, &this_boot());
    assert_eq!((ids(&opened), opened.notice), (begun, None));
    ledger.closed(GrantId(3));
    assert!(is_taken(&mut ledger, 9));
    assert_eq!(ledger.trouble(), None);
    assert_eq!(ids(&recover(&disk, &this_boot())), [1, 2, 4, 5, 6, 7, 9]);
}
