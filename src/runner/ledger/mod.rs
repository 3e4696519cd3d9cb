//! The open grants, on disk: what must be closed whatever crashes.
//!
//! In: what happens to grants. Out: after a restart, every grant that may be open, with the close
//! command it was opened with. The file is a journal of JSON lines, `grants.jsonl`, that is rewritten
//! at each start and when it has grown. Only a begin is waited for: whatever else is lost makes a grant
//! close once more, or sooner.
//!
//! What surprises: after a failed write or sync the file is never appended to again, because nobody
//! knows what of it is on the disk (Linux drops a page that it could not write). It is written anew,
//! from memory, before the next grant begins.

mod boot;
mod disk;
mod error;
mod found;
mod opened;
mod reading;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use rustix::io::Errno;
use rustix::process::geteuid;

pub use self::boot::Boot;
use self::disk::{Disk, Journal, Nowhere};
pub use self::error::{Notice, OpenError, Trouble};
pub use self::opened::Opened;
pub use self::reading::Damage;
use self::reading::{Entry, Reading};
use self::record::{Answered, Due, MAX_ID, Record, VERSION};
use crate::clock;
use crate::engine::action::GrantId;
use crate::engine::answered::{Answers, Last};
use crate::engine::command::Invocation;
use crate::engine::time::Time;

const JOURNAL: &str = "grants.jsonl";
const FRESH: &str = "grants.jsonl.new";

/// Nothing more begins when the journal would be larger than this. 10 000 grants are some 8 MiB, unless their
/// commands are long. What becomes of them adds to it, up to half as much, before it is rewritten.
const LARGEST: usize = 48 * 1024 * 1024;

/// A journal shorter than this is not worth rewriting.
const MIN_GROWTH: usize = 1024 * 1024;

/// How often a disk that refused is tried again while nothing begins.
const RETRY: Duration = Duration::from_secs(30);

/// The open grants and their journal.
pub struct Ledger {
    disk: Box<dyn Disk>,
    /// `None` until the first rewrite.
    journal: Option<Box<dyn Journal>>,
    boot: Box<str>,
    open: BTreeMap<u64, Entry>,
    /// By door, before which Unix time its one-time sequences are used. Nothing leaves this: there are
    /// no more doors than a config has had.
    used: BTreeMap<Arc<str>, i64>,
    answers: Answers,
    next: u64,
    /// A sequence was used since the last commit.
    spent: bool,
    /// Begun since the last commit.
    staged: Vec<u64>,
    /// Lines since the last commit.
    lines: Vec<u8>,
    /// Why the journal must be written anew before it is relied on again.
    trouble: Option<Trouble>,
    retry_at: Time,
    length: usize,
    compact_at: usize,
    /// [`LARGEST`], or less in a test.
    largest: usize,
}

impl Ledger {
    /// A ledger that is on no disk: for a dry run, or where a crash may leave doors open.
    pub fn in_memory() -> Self {
        Self {
            journal: Some(Box::new(io::sink())),
            ..Self::new(Box::new(Nowhere), "", Reading::default())
        }
    }

    fn new(disk: Box<dyn Disk>, boot: &str, reading: Reading) -> Self {
        Self {
            disk,
            journal: None,
            boot: boot.into(),
            open: reading.open,
            used: reading.used,
            answers: Answers::default(),
            spent: false,
            next: reading.next.max(1),
            staged: Vec::new(),
            lines: Vec::new(),
            trouble: None,
            retry_at: Time::default(),
            length: 0,
            compact_at: MIN_GROWTH,
            largest: LARGEST,
        }
    }

    /// A grant is to begin. Its open command may run once [`commit`](Self::commit) has succeeded.
    pub(super) fn begin(
        &mut self,
        id: GrantId,
        door: &Arc<str>,
        src: IpAddr,
        deadline: Time,
        close: Invocation,
    ) {
        let entry = Entry {
            door: Arc::clone(door),
            src,
            due: self.due(deadline),
            close,
            proven: false,
        };
        entry.write(id.0, &mut self.lines);
        self.open.insert(id.0, entry);
        self.next = self.next.max(id.0.saturating_add(1)).min(MAX_ID);
        self.staged.push(id.0);
    }

    /// The open command of a grant has succeeded.
    pub(super) fn opened(&mut self, id: GrantId) {
        if let Some(entry) = self.open.get_mut(&id.0) {
            entry.proven = true;
            Record::Opened { id: id.0 }.write(&mut self.lines);
        }
    }

    /// The one-time sequences of `door` that begin before the Unix time `until` are used. What is opened
    /// with one may run once [`commit`](Self::commit) has succeeded.
    pub(super) fn spend(&mut self, door: &Arc<str>, until: i64) {
        let used = self.used.entry(Arc::clone(door)).or_insert(until);
        *used = until.max(*used);
        let (door, until) = (door.to_string(), *used);
        Record::Used { door, until }.write(&mut self.lines);
        self.spent = true;
    }

    /// The knock that `last` completed is answered. It needs no sync: a process that is killed loses
    /// nothing that was written, and after a loss of power no line is read again.
    pub(super) fn answered(&mut self, door: &Arc<str>, src: IpAddr, last: Option<Last>) {
        let Some(last) = last else { return };
        let at = clock::boot_now();
        self.answers.note(door, src, at, last);
        let answered = Answered::new(door, src, &self.boot, at, last);
        Record::Answered(answered).write(&mut self.lines);
    }

    /// The same of a knock that goes on with an open grant.
    pub(super) fn answered_by(&mut self, id: GrantId, last: Option<Last>) {
        if let Some(entry) = self.open.get(&id.0) {
            let (door, src) = (Arc::clone(&entry.door), entry.src);
            self.answered(&door, src, last);
        }
    }

    /// A grant has another deadline.
    pub(super) fn extend(&mut self, id: GrantId, deadline: Time) {
        let due = self.due(deadline);
        if let Some(entry) = self.open.get_mut(&id.0) {
            entry.due = due.clone();
            Record::Extend { id: id.0, due }.write(&mut self.lines);
        }
    }

    /// A grant is being closed: after a crash it is due at once, whatever its deadline was.
    pub(super) fn closing(&mut self, id: GrantId) {
        let now = clock::boot_now();
        let early = |entry: &Entry| entry.due.deadline > now.as_nanos();
        if self.open.get(&id.0).is_some_and(early) {
            self.extend(id, now);
        }
    }

    /// A grant is over.
    pub(super) fn closed(&mut self, id: GrantId) {
        if self.open.remove(&id.0).is_some() {
            Record::Closed { id: id.0 }.write(&mut self.lines);
        }
    }

    /// Whom a grant is for, and what closes it.
    pub(super) fn close_of(&self, id: GrantId) -> Option<(IpAddr, &Invocation)> {
        self.open.get(&id.0).map(|entry| (entry.src, &entry.close))
    }

    /// What tells this state directory from every other of the machine; none where there is no disk.
    pub(super) fn mark(&self) -> Option<&str> {
        self.disk.mark()
    }

    /// The users, by number, whose processes the commands of open grants are.
    pub(super) fn users(&self) -> BTreeSet<u32> {
        let accounts = self
            .open
            .values()
            .filter_map(|entry| entry.close.account.as_ref());
        let users = accounts.map(|account| account.uid);
        users.chain([geteuid().as_raw()]).collect()
    }

    /// Whether no grant is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Why nothing can be opened at present.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// When a disk that refused is to be tried again, if nothing begins before.
    pub(super) fn retry_at(&self) -> Option<Time> {
        self.trouble.map(|_| self.retry_at)
    }

    /// Has the next commit try a disk that refused.
    pub(super) fn retry_now(&mut self) {
        self.retry_at = Time::default();
    }

    /// Writes what happened since the last call, and returns when the grants that began are on the
    /// disk, and the sequences that were used. On an error the grants are forgotten again, and only they.
    pub(super) fn commit(&mut self) -> Result<(), Trouble> {
        let lines = std::mem::take(&mut self.lines);
        let staged = std::mem::take(&mut self.staged);
        let awaited = std::mem::take(&mut self.spent) || !staged.is_empty();
        let most = if staged.is_empty() {
            usize::MAX
        } else {
            self.largest
        };
        let result = match self.trouble {
            None if lines.is_empty() => return Ok(()),
            // What has become of the others may make room.
            None if self.length + lines.len() > most => self.rewrite(most),
            None => self.append(&lines, awaited),
            // Ten thousand closes do not try a full disk ten thousand times.
            Some(trouble) if !awaited && clock::monotonic_now() < self.retry_at => {
                return Err(trouble);
            }
            Some(_) => self.rewrite(most),
        };
        if let Err(error) = result {
            let trouble = Trouble::from(&error);
            self.trouble = Some(trouble);
            self.retry_at = clock::monotonic_now().after(RETRY);
            self.open.retain(|id, _| !staged.contains(id));
            return Err(trouble);
        }
        if self.length > self.compact_at {
            self.compact();
        }
        Ok(())
    }

    fn append(&mut self, lines: &[u8], sync: bool) -> io::Result<()> {
        let journal = self.journal.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        journal.write_all(lines)?;
        if sync {
            journal.sync()?;
        }
        self.length += lines.len();
        Ok(())
    }

    /// Makes a journal that has grown short again. Where that fails, the old one goes on.
    fn compact(&mut self) {
        if self.rewrite(usize::MAX).is_err() {
            self.compact_at = self.length.saturating_mul(2);
        }
    }

    /// Writes the journal anew from memory and puts it in place of the old one, unless it is more than `most`.
    fn rewrite(&mut self, most: usize) -> io::Result<()> {
        let mut lines = Vec::new();
        let next = self.next;
        let version = VERSION;
        Record::Header { version, next }.write(&mut lines);
        for (door, &until) in &self.used {
            let door = door.to_string();
            Record::Used { door, until }.write(&mut lines);
        }
        self.answers.expire(clock::boot_now());
        for (door, src, at, last) in self.answers.iter() {
            let answered = Answered::new(door, src, &self.boot, at, last);
            Record::Answered(answered).write(&mut lines);
        }
        for (&id, entry) in &self.open {
            entry.write(id, &mut lines);
        }
        if lines.len() > most {
            return Err(Errno::FBIG.into());
        }
        let journal = self.replace(&lines);
        if journal.is_err() {
            // On a full disk its bytes may be the last ones.
            let _ = self.disk.remove(FRESH);
        }
        self.journal = Some(journal?);
        self.length = lines.len();
        let twice = lines.len().saturating_mul(2);
        self.compact_at = twice.clamp(MIN_GROWTH, LARGEST / 2 * 3);
        let known = self.disk.sync();
        self.trouble = known.as_ref().err().map(Trouble::from);
        known
    }

    fn replace(&mut self, lines: &[u8]) -> io::Result<Box<dyn Journal>> {
        let mut journal = self.disk.create(FRESH)?;
        journal.write_all(lines)?;
        journal.sync()?;
        self.disk.rename(FRESH, JOURNAL)?;
        Ok(journal)
    }

    fn due(&self, deadline: Time) -> Due {
        let at = clock::boot_now();
        Due {
            boot: self.boot.clone(),
            at: at.as_nanos(),
            deadline: deadline.as_nanos(),
            wall: clock::wall_now().after(deadline.since(at)).as_nanos() / 1_000_000_000,
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({} open)", self.open.len())
    }
}

#[cfg(test)]
#[path = "answered_test.rs"]
mod answered_tests;
#[cfg(test)]
mod crash_test;
#[cfg(test)]
#[path = "damaged_test.rs"]
mod damaged_tests;
#[cfg(test)]
pub(super) mod forgetful_disk;
#[cfg(test)]
#[path = "ledger_test.rs"]
mod tests;
#[cfg(test)]
#[path = "used_test.rs"]
mod used_tests;
