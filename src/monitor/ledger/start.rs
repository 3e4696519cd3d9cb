//! What an earlier run has left: the ledger as it is opened.
//!
//! In: the state directory. Out: the grants, and the rewritten ledger. To close what is due needs only a readable
//! journal: a disk that is full or read-only keeps new doors shut, and nothing else.

use std::io;
use std::path::Path;

use super::disk::{Disk, StateDir};
use super::error::{Notice, OpenError, Trouble};
use super::reading::{Damage, Reading};
use super::{JOURNAL, Ledger, MAX_LENGTH};
use crate::clock;
use crate::engine::grant::Grants;
use crate::engine::time::Time;

/// Damaged journals are kept under this name, with a number.
const ASIDE: &str = "grants.corrupt-";

/// How many damaged journals are kept, the newest ones.
const MAX_ASIDE: usize = 3;

/// More than this of a journal is not read; none that we write is so large.
const MAX_JOURNAL: u64 = 2 * MAX_LENGTH as u64;

/// This boot, and what its clock shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The kernel's number for it.
    pub id: Box<str>,
    /// The time on its clock.
    pub now: Time,
}

impl Boot {
    /// As it is now.
    pub fn read() -> io::Result<Self> {
        Ok(Self {
            id: clock::boot_id()?,
            now: clock::boot_now(),
        })
    }
}

/// A ledger just opened.
#[derive(Debug)]
pub struct Opened {
    /// It.
    pub ledger: Ledger,
    /// What was open, or perhaps open, when the program ended. The deadlines are on this boot's clock;
    /// what another boot opened is due at once.
    pub grants: Grants,
    /// What is wrong, if anything.
    pub notice: Option<Notice>,
}

impl Ledger {
    /// Opens the ledger in the state directory `dir`, which is made if its parent exists.
    pub fn open(dir: &Path, boot: &Boot) -> Result<Opened, OpenError> {
        let disk = StateDir::open(dir)?;
        Self::recover(Box::new(disk), boot).map_err(|error| OpenError::failed(dir, error))
    }

    pub(in crate::monitor) fn recover(mut disk: Box<dyn Disk>, boot: &Boot) -> io::Result<Opened> {
        let (reading, found) = read(&mut *disk)?;
        let (grants, damage) = reading.grants(boot);
        let mut opened = Opened {
            grants,
            ledger: Self::new(disk, &boot.id),
            notice: None,
        };
        if let Some(damage) = damage.filter(|_| found) {
            let (name, first) = set_aside(&mut *opened.ledger.disk);
            opened.grants.continue_from(first);
            opened.notice = Some(Notice { damage, name });
        }
        let Opened { ledger, grants, .. } = &mut opened;
        if let Err(error) = ledger.rewrite(grants, usize::MAX) {
            ledger.trouble = Some(Trouble::from(&error));
        }
        Ok(opened)
    }
}

/// What the journal says, and whether there is one.
fn read(disk: &mut dyn Disk) -> io::Result<(Reading, bool)> {
    let mut bytes = Vec::new();
    let result = disk.read(JOURNAL, MAX_JOURNAL + 1, &mut bytes);
    let too_large = u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_JOURNAL);
    let mut reading = Reading::of(&bytes);
    match result {
        Ok(()) if too_large => reading.damage = Some(Damage::TooLarge),
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((reading, false)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
        Err(_) => reading.damage = Some(Damage::Unreadable),
    }
    Ok((reading, true))
}

/// Gives the damaged journal a second name, which it keeps when the rewritten one takes the first.
/// Returns that name, if it could be given, and a number that no grant can have had: with each damage
/// they go on 2³² higher, because the lines that are lost may have held any lower one.
fn set_aside(disk: &mut dyn Disk) -> (Option<Box<str>>, u64) {
    let number = |name: &String| {
        let number: u32 = name.strip_prefix(ASIDE)?.parse().ok()?;
        (number < 1 << 20).then_some(number)
    };
    let names = disk.names().unwrap_or_default();
    let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    let new = numbers.last().map_or(1, |last| last + 1);
    let name = format!("{ASIDE}{new}");
    let kept = disk.link(JOURNAL, &name).is_ok();
    let surplus = (numbers.len() + usize::from(kept)).saturating_sub(MAX_ASIDE);
    for old in numbers.into_iter().take(surplus) {
        // Too many grants are no reason to leave the door unguarded.
        let _ = disk.remove(&format!("{ASIDE}{old}"));
    }
    (kept.then(|| name.into()), u64::from(new) << 32)
}
