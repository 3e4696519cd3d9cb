//! What an earlier run has left: a ledger as it is opened.
//!
//! In: the state directory. Out: the ledger, written anew, and what was in it.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, StateDir};
use super::error::{Notice, OpenError};
use super::reading::Entry;
use super::{Boot, Ledger, found};
use crate::engine::action::GrantId;
use crate::engine::answered::Answers;
use crate::engine::grant::SavedGrant;
use crate::engine::time::Time;

/// A ledger just opened.
#[derive(Debug)]
pub struct Opened {
    /// It.
    pub ledger: Ledger,
    /// What was open, or perhaps open, when the program ended, by number. The deadlines are on this boot's
    /// clock; what another boot opened is due at once.
    pub grants: Vec<SavedGrant>,
    /// By door, before which Unix time (in seconds) its one-time sequences are used.
    pub used: Vec<(Arc<str>, i64)>,
    /// The knocks that were answered in this boot.
    pub answers: Answers,
    /// The number of the next grant: no grant of this state directory has had it or a higher one.
    pub next: GrantId,
    /// What is wrong, if anything.
    pub notice: Option<Notice>,
}

impl Ledger {
    /// Opens the ledger in the state directory `dir`, which is made if its parent exists.
    pub fn open(dir: &Path, boot: &Boot) -> Result<Opened, OpenError> {
        let disk = StateDir::open(dir)?;
        Self::recover(Box::new(disk), boot).map_err(|error| OpenError::failed(dir, error))
    }

    pub(in crate::runner) fn recover(mut disk: Box<dyn Disk>, boot: &Boot) -> io::Result<Opened> {
        let (mut reading, found) = found::read(&mut *disk)?;
        let mut rebooted = BTreeSet::new();
        for (id, entry) in &mut reading.open {
            if entry.due.boot != boot.id {
                rebooted.insert(*id);
            }
            entry.due = entry.due.under(boot);
        }
        let notice = reading.damage.filter(|_| found).map(|damage| {
            let (name, first) = found::set_aside(&mut *disk);
            reading.next = reading.next.max(first);
            Notice::SetAside { damage, name }
        });
        let saved = |(&id, entry): (&u64, &Entry)| SavedGrant {
            id: GrantId(id),
            door: Arc::clone(&entry.door),
            src: entry.src,
            deadline: Time::from_nanos(entry.due.deadline),
            proven: entry.proven,
            rebooted: rebooted.contains(&id),
        };
        let grants = reading.open.iter().map(saved).collect();
        let used = reading.used.clone().into_iter().collect();
        let mut answers = Answers::default();
        for answered in std::mem::take(&mut reading.answered) {
            answered.note(&mut answers, boot);
        }
        let mut ledger = Self::new(disk, &boot.id, reading);
        ledger.answers = answers.clone();
        ledger.rewrite(usize::MAX)?;
        Ok(Opened {
            grants,
            used,
            answers,
            next: GrantId(ledger.next),
            ledger,
            notice,
        })
    }
}
