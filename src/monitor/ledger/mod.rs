//! The grants on disk: what must be closed whatever crashes.
//!
//! In: the grants and what changed of them. Out: a journal of JSON lines, `grants.jsonl`, that is
//! rewritten at each start and when it has grown; after a restart, every grant that may be open. Only a
//! begin and a used sequence are waited for: whatever else is lost makes a grant close once more, or
//! sooner.
//!
//! After a failed write or sync the file is never appended to again, because its content on disk is unknown (Linux
//! drops a page that it could not write). It is rewritten from the grants before the next one begins.

mod disk;
mod error;
mod reading;
mod record;
mod start;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use rustix::io::Errno;

use self::disk::{Disk, Journal};
pub use self::error::{Notice, OpenError, Trouble};
pub use self::reading::Damage;
use self::record::{Answered, Begin, Due, MAX_ID, Record, VERSION};
pub use self::start::{Boot, Opened};
use crate::clock;
use crate::engine::answered::Last;
use crate::engine::grant::{Change, Grant, GrantId, Grants};
use crate::engine::time::Time;

const JOURNAL: &str = "grants.jsonl";
const FRESH: &str = "grants.jsonl.new";

/// Nothing more begins when the journal would be larger than this. 10 000 grants are some 8 MiB, unless their
/// commands are long. What becomes of them adds to it, up to half as much, before it is rewritten.
const MAX_LENGTH: usize = 48 * 1024 * 1024;

/// A journal shorter than this is not worth rewriting.
const MIN_GROWTH: usize = 1024 * 1024;

/// How often a disk that refused is tried again while nothing begins.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// The journal of the grants.
pub struct Ledger {
    disk: Box<dyn Disk>,
    /// `None` until the first rewrite.
    journal: Option<Box<dyn Journal>>,
    boot: Box<str>,
    /// Why the journal must be rewritten before it is used again.
    pub(super) trouble: Option<Trouble>,
    retry_at: Time,
    length: usize,
    compact_at: usize,
    /// [`MAX_LENGTH`], or less in a test.
    max_length: usize,
}

impl Ledger {
    fn new(disk: Box<dyn Disk>, boot: &str) -> Self {
        Self {
            disk,
            journal: None,
            boot: boot.into(),
            trouble: None,
            retry_at: Time::default(),
            length: 0,
            compact_at: MIN_GROWTH,
            max_length: MAX_LENGTH,
        }
    }

    /// What tells this state directory from every other of the machine; none where there is no disk.
    pub(super) fn mark(&self) -> Option<&str> {
        self.disk.mark()
    }

    /// When a disk that refused is to be tried again, if nothing begins before.
    pub(super) fn retry_at(&self) -> Option<Time> {
        self.trouble.map(|_| self.retry_at)
    }

    /// Has the next commit try a disk that refused.
    pub(super) fn retry_now(&mut self) {
        self.retry_at = Time::default();
    }

    /// Writes what changed since the last call, and returns when what is awaited is on the disk. On an
    /// error nothing that began with these changes may run.
    pub(super) fn commit(&mut self, grants: &Grants, changes: &[Change]) -> Result<(), Trouble> {
        let begins = |change: &Change| matches!(change, Change::Begun(_));
        let awaited = changes.iter().any(Change::is_awaited);
        let most = if changes.iter().any(begins) {
            self.max_length
        } else {
            usize::MAX
        };
        let result = match self.trouble {
            None if changes.is_empty() => return Ok(()),
            // Ten thousand closes do not try a full disk ten thousand times.
            Some(trouble) if !awaited && clock::monotonic_now() < self.retry_at => {
                return Err(trouble);
            }
            Some(_) => self.rewrite(grants, most),
            None => {
                let lines = self.lines(grants, changes);
                if self.length + lines.len() > most {
                    // What has become of the others may make room.
                    self.rewrite(grants, most)
                } else {
                    self.append(&lines, awaited)
                }
            }
        };
        if let Err(error) = result {
            let trouble = Trouble::from(&error);
            self.trouble = Some(trouble);
            self.retry_at = clock::monotonic_now().after(RETRY_INTERVAL);
            return Err(trouble);
        }
        if self.length > self.compact_at && self.rewrite(grants, usize::MAX).is_err() {
            // The old journal stays in use.
            self.compact_at = self.length.saturating_mul(2);
        }
        Ok(())
    }

    fn lines(&self, grants: &Grants, changes: &[Change]) -> Vec<u8> {
        let mut lines = Vec::new();
        for change in changes {
            match change {
                Change::Begun(id) => {
                    if let Some(grant) = grants.get(*id) {
                        self.write_grant(*id, grant, &mut lines);
                    }
                }
                Change::Opened(id) => Record::Opened { id: *id }.write(&mut lines),
                Change::Moved(id) => {
                    if let Some(grant) = grants.get(*id) {
                        let due = self.due(grant.deadline);
                        let origin = grant.origin.as_deref().map(Box::from);
                        let id = *id;
                        Record::Extend { id, due, origin }.write(&mut lines);
                    }
                }
                Change::Closed(id) => Record::Closed { id: *id }.write(&mut lines),
                Change::Used(door) => {
                    let used = grants.used().find(|(other, _)| *other == door);
                    if let Some((door, until)) = used {
                        let door = Arc::clone(door);
                        Record::Used { door, until }.write(&mut lines);
                    }
                }
                Change::Answered(door, src) => {
                    if let Some((at, last)) = grants.answers().get(door, *src) {
                        self.answered(door, *src, at, last).write(&mut lines);
                    }
                }
            }
        }
        lines
    }

    fn write_grant(&self, id: GrantId, grant: &Grant, lines: &mut Vec<u8>) {
        Record::Begin(Begin::of(id, grant, self.due(grant.deadline))).write(lines);
        if grant.opened.is_some() {
            Record::Opened { id }.write(lines);
        }
    }

    fn answered(&self, door: &Arc<str>, src: IpAddr, at: Time, last: Last) -> Record {
        Record::Answered(Answered {
            door: Arc::clone(door),
            src,
            boot: self.boot.clone(),
            at,
            last,
        })
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

    /// Rewrites the journal and replaces the old one, unless it is larger than `most`.
    fn rewrite(&mut self, grants: &Grants, most: usize) -> io::Result<()> {
        let mut lines = Vec::new();
        let (version, next) = (VERSION, grants.next_id().min(MAX_ID));
        Record::Header { version, next }.write(&mut lines);
        for (door, until) in grants.used() {
            let door = Arc::clone(door);
            Record::Used { door, until }.write(&mut lines);
        }
        for (door, src, at, last) in grants.answers().iter() {
            self.answered(door, src, at, last).write(&mut lines);
        }
        for (id, grant) in grants.iter() {
            self.write_grant(id, grant, &mut lines);
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
        self.compact_at = twice.clamp(MIN_GROWTH, MAX_LENGTH / 2 * 3);
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
            at,
            deadline,
            wall: clock::wall_now().after(deadline.since(at)).as_nanos() / 1_000_000_000,
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({} bytes)", self.length)
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
#[path = "faulty_disk_test.rs"]
pub(super) mod faulty_disk;
#[cfg(test)]
#[path = "ledger_test.rs"]
mod tests;
#[cfg(test)]
#[path = "used_test.rs"]
mod used_tests;
