//! What is open, over restarts, reboots, set clocks and disks that refuse.
#![expect(
    clippy::disallowed_methods,
    reason = "a test makes files, and reads what came of them"
)]

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::faulty_disk::FaultyDisk;
use super::*;
use crate::engine::account::Account;
use crate::engine::answered::Last;
use crate::engine::command::Invocation;
use crate::engine::door::Judging;
use crate::engine::grant::{Outcome, SavedGrant, Task};

/// Grants with their ledger, and what has changed since the last commit.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) ledger: Ledger,
    pub(super) grants: Grants,
    changes: Vec<Change>,
}

impl Book {
    pub(super) fn of(opened: Opened) -> Self {
        let Opened { ledger, grants, .. } = opened;
        Self {
            ledger,
            grants,
            changes: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self, id: u64, src: IpAddr, deadline: Time, close: Invocation) {
        let id = GrantId(id);
        self.grants.restore(SavedGrant {
            id,
            door: "ssh".into(),
            src,
            deadline,
            origin: None,
            close,
            judging: Judging::Own,
            proven: false,
            rebooted: false,
        });
        self.changes.push(Change::Begun(id));
    }

    pub(super) fn opened(&mut self, id: u64) {
        self.ended(&Task::Open(GrantId(id)), Outcome::Done);
    }

    pub(super) fn extend(&mut self, id: u64, deadline: Time) {
        self.grants.move_deadline(GrantId(id), deadline);
        self.changes.extend(self.grants.take_changes());
    }

    pub(super) fn closed(&mut self, id: u64) {
        self.ended(&Task::Close(GrantId(id)), Outcome::Done);
    }

    pub(super) fn use_up(&mut self, door: &str, until: i64) {
        self.grants.restore_used(door.into(), until);
        self.changes.push(Change::Used(door.into()));
    }

    pub(super) fn answered(&mut self, door: &str, src: IpAddr, last: Option<Last>) {
        self.started(&Task::Run(door.into()), src, last);
    }

    pub(super) fn started(&mut self, task: &Task, src: IpAddr, last: Option<Last>) {
        self.grants
            .handle_started(task, src, last, clock::boot_now());
        self.changes.extend(self.grants.take_changes());
    }

    /// Writes it; what cannot be begun is over.
    pub(super) fn commit(&mut self) -> Result<(), Trouble> {
        let changes = std::mem::take(&mut self.changes);
        let result = self.ledger.commit(&self.grants, &changes);
        if result.is_err() {
            for change in changes {
                if let Change::Begun(id) = change {
                    self.ended(&Task::Open(id), Outcome::NotRun);
                }
            }
        }
        result
    }

    fn ended(&mut self, task: &Task, outcome: Outcome) {
        self.grants
            .handle_finished(task, outcome, "", clock::boot_now());
        self.changes.extend(self.grants.take_changes());
    }
}

pub(super) fn this_boot() -> Boot {
    Boot {
        id: "this".into(),
        now: clock::boot_now(),
    }
}

fn other_boot() -> Boot {
    Boot {
        id: "other".into(),
        now: clock::boot_now(),
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

pub(super) fn begin(book: &mut Book, id: u64, deadline: Time) {
    book.begin(id, address(id), deadline, close(id));
}

pub(super) fn recover(disk: &FaultyDisk, boot: &Boot) -> Opened {
    Ledger::recover(Box::new(disk.clone()), boot).unwrap()
}

pub(super) fn start(disk: &FaultyDisk) -> Book {
    Book::of(recover(disk, &this_boot()))
}

/// The only grant.
fn grant(opened: &Opened) -> &Grant {
    assert_eq!(opened.grants.len(), 1);
    opened.grants.iter().next().unwrap().1
}

pub(super) fn ids(opened: &Opened) -> Vec<u64> {
    opened.grants.iter().map(|(id, _)| id.0).collect()
}

#[test]
fn a_grant_comes_back_with_its_deadline_and_the_close_command_it_was_opened_with() {
    let disk = FaultyDisk::default();
    let mut book = start(&disk);
    let (first, second) = (in_an_hour(), in_an_hour());
    begin(&mut book, 1, first);
    begin(&mut book, 2, first);
    begin(&mut book, 3, first);
    book.commit().unwrap();
    book.opened(1);
    book.extend(1, second);
    book.closed(2);
    book.commit().unwrap();
    drop(book);

    let opened = recover(&disk, &this_boot());
    let found: Vec<_> = opened
        .grants
        .iter()
        .map(|(id, grant)| (id.0, grant.src, grant.deadline, grant.opened.is_some()))
        .collect();
    assert_eq!(
        found,
        [(1, address(1), second, true), (3, address(3), first, false)]
    );
    assert_eq!((opened.grants.next_id(), opened.notice.as_ref()), (4, None));
    for (id, grant) in opened.grants.iter() {
        assert_eq!((&*grant.door, &grant.close), ("ssh", &close(id.0)));
    }
}

#[test]
fn after_another_boot_every_grant_is_due_at_once() {
    let disk = FaultyDisk::default();
    let mut book = start(&disk);
    begin(&mut book, 1, in_an_hour());
    book.commit().unwrap();
    let other = other_boot();
    let opened = recover(&disk, &other);
    assert_eq!(grant(&opened).deadline, other.now);
    let again = recover(&disk, &other_boot());
    assert_eq!(grant(&again).deadline, other.now, "and stays so");
}

#[test]
fn a_boot_clock_that_was_turned_back_makes_no_hour_a_year() {
    let disk = FaultyDisk::default();
    let mut book = start(&disk);
    begin(&mut book, 1, in_an_hour());
    book.commit().unwrap();
    let turned_back = Boot {
        now: Time::from_nanos(1),
        ..this_boot()
    };
    let opened = recover(&disk, &turned_back);
    assert_eq!(grant(&opened).deadline, turned_back.now);
}

#[test]
fn a_wall_clock_that_was_set_moves_no_deadline() {
    const YEAR: i64 = 365 * 24 * 3600;
    for by in [-YEAR, -3600, 3600, YEAR] {
        let disk = FaultyDisk::default();
        let mut book = start(&disk);
        let deadline = in_an_hour();
        begin(&mut book, 1, deadline);
        book.commit().unwrap();
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
        let opened = recover(&disk, &this_boot());
        assert_eq!(grant(&opened).deadline, deadline, "{by} s");
    }
}

#[test]
fn numbers_are_never_given_again() {
    let disk = FaultyDisk::default();
    let mut book = start(&disk);
    assert_eq!(book.grants.next_id(), 1);
    begin(&mut book, 41, in_an_hour());
    book.closed(41);
    book.commit().unwrap();
    for _ in 0..3 {
        assert_eq!(start(&disk).grants.next_id(), 42);
    }
    for damage in 1..5 {
        disk.put(JOURNAL, b"nothing is left\n");
        assert_eq!(start(&disk).grants.next_id(), damage << 32);
    }
}

#[test]
fn a_journal_that_has_grown_is_made_short_again() {
    let disk = FaultyDisk::default();
    let mut book = start(&disk);
    begin(&mut book, 1, in_an_hour());
    for id in 2..10_000 {
        begin(&mut book, id, in_an_hour());
        book.commit().unwrap();
        book.closed(id);
        let length = disk.content(JOURNAL).unwrap().len();
        assert!(length < MIN_GROWTH + 1024, "{length} bytes for two grants");
    }
    book.commit().unwrap();
    assert_eq!(ids(&recover(&disk, &this_boot())), [1]);
}

#[test]
fn when_it_cannot_be_rewritten_the_long_journal_stays_in_use() {
    let disk = FaultyDisk::default();
    let mut book = start(&disk);
    book.ledger.compact_at = 0;
    begin(&mut book, 1, in_an_hour());
    disk.schedule(&[0, 0, 14]); // write and sync succeed, the new file cannot be made
    assert_eq!(book.commit(), Ok(()));
    assert_eq!((disk.failed(), book.ledger.trouble), (1, None));
    begin(&mut book, 2, in_an_hour());
    assert_eq!(book.commit(), Ok(()));
    assert_eq!(ids(&recover(&disk, &this_boot())), [1, 2]);
}

#[test]
fn without_the_disk_no_grant_begins_and_those_that_are_open_can_be_closed() {
    let disk = FaultyDisk::default();
    let mut book = start(&disk);
    begin(&mut book, 1, in_an_hour());
    book.commit().unwrap();
    disk.schedule(&[14; 100]);
    begin(&mut book, 2, in_an_hour());
    let trouble = book.commit().unwrap_err();
    assert!(
        trouble
            .to_string()
            .starts_with("cannot write grants to disk: ")
    );
    assert_eq!(book.ledger.trouble, Some(trouble));
    assert_eq!(book.grants.get(GrantId(2)), None);
    assert_eq!(book.grants.get(GrantId(1)).unwrap().close, close(1));
    let failed = disk.failed();
    book.closed(1);
    assert_eq!(book.commit(), Err(trouble));
    assert_eq!(
        disk.failed(),
        failed,
        "a close does not wait for a disk that refused"
    );

    disk.schedule(&[]);
    assert!(book.ledger.retry_at() > Some(clock::monotonic_now()));
    book.ledger.retry_now();
    assert_eq!((book.commit(), book.ledger.trouble), (Ok(()), None));
    assert_eq!(ids(&recover(&disk, &this_boot())), [0; 0]);
}

#[test]
fn the_state_directory_is_made_for_us_alone() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state");
    let mut book = Book::of(Ledger::open(&dir, &this_boot()).unwrap());
    begin(&mut book, 1, in_an_hour());
    book.commit().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join(JOURNAL)), 0o600);
    assert_eq!(mode(&dir.join("lock")), 0o600);
    drop(book);
    let opened = Ledger::open(&dir, &this_boot()).unwrap();
    assert_eq!(ids(&opened), [1]);
}

#[test]
fn a_second_instance_is_told_who_is_first_and_disturbs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Book::of(Ledger::open(dir.path(), &this_boot()).unwrap());
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
    for path in [dir.path().join("no/parent"), file.clone(), file.join("x")] {
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
fn where_the_journal_cannot_be_rewritten_due_doors_close_and_no_door_opens() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = Book::of(Ledger::open(dir.path(), &this_boot()).unwrap());
    begin(&mut book, 1, in_an_hour());
    book.commit().unwrap();
    drop(book);
    let in_the_way = dir.path().join(FRESH);
    fs::create_dir(&in_the_way).unwrap();
    let opened = Ledger::open(dir.path(), &this_boot()).unwrap();
    assert_eq!(ids(&opened), [1]);
    let mut book = Book::of(opened);
    assert!(book.ledger.trouble.is_some());
    begin(&mut book, 2, in_an_hour());
    assert!(book.commit().is_err());
    fs::remove_dir(&in_the_way).unwrap();
    begin(&mut book, 3, in_an_hour());
    assert_eq!((book.commit(), book.ledger.trouble), (Ok(()), None));
    drop(book);
    let opened = Ledger::open(dir.path(), &this_boot()).unwrap();
    assert_eq!(ids(&opened), [1, 3]);
}

#[test]
fn debug_shows_no_command() {
    let disk = FaultyDisk::default();
    let mut book = start(&disk);
    begin(&mut book, 1, in_an_hour());
    book.commit().unwrap();
    let text = format!("{:?}", book.ledger);
    let length = disk.content(JOURNAL).unwrap().len();
    assert_eq!(text, format!("Ledger({length} bytes)"));
}

#[test]
fn no_more_begins_than_can_be_read_again() {
    const LONG: usize = 100_000;
    let disk = FaultyDisk::default();
    let mut book = start(&disk);
    book.ledger.max_length = 8 * LONG;
    let is_taken = |book: &mut Book, id| {
        let mut close = close(id);
        close.argv.push("x".repeat(LONG));
        book.begin(id, address(id), in_an_hour(), close);
        book.commit().is_ok()
    };
    let begun = (1..10)
        .take_while(|&id| is_taken(&mut book, id))
        .collect::<Vec<_>>();
    assert_eq!(begun.len(), 7);
    let opened = recover(&disk, &this_boot());
    assert_eq!((ids(&opened), opened.notice), (begun, None));
    book.closed(3);
    assert!(is_taken(&mut book, 9));
    assert_eq!(book.ledger.trouble, None);
    assert_eq!(ids(&recover(&disk, &this_boot())), [1, 2, 4, 5, 6, 7, 9]);
}
