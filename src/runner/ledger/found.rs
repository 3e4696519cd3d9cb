//! The journal that is found at a start: read whole, and kept aside where it is damaged.

use std::io;

use super::disk::Disk;
use super::reading::{Damage, Reading};
use super::{JOURNAL, LARGEST};

const ASIDE: &str = "grants.corrupt-";

/// How many damaged journals are kept, the newest ones.
const ASIDES: usize = 3;

/// More than this of a journal is not read; none that we write is so large.
const MAX_JOURNAL: u64 = 2 * LARGEST as u64;

/// What the journal says, and whether there is one.
pub(super) fn read(disk: &mut dyn Disk) -> io::Result<(Reading, bool)> {
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
pub(super) fn set_aside(disk: &mut dyn Disk) -> (Option<Box<str>>, u64) {
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
    let surplus = (numbers.len() + usize::from(kept)).saturating_sub(ASIDES);
    for old in numbers.into_iter().take(surplus) {
        // One too many is no reason not to guard the door.
        let _ = disk.remove(&format!("{ASIDE}{old}"));
    }
    (kept.then(|| name.into()), u64::from(new) << 32)
}
