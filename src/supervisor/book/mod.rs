//! What is open, as the runner knows it: every ask is held against this before it is carried out.
//!
//! In: asks of the follower, ends of commands. Out: the engine's [`Action`] with the runner's own door
//! in it, or why not. A follower that lies can have a configured door opened for an address that the
//! door lets in, for no longer than the door stays open, and nothing else: numbers go up by one, a
//! grant is forgotten only when its close has failed as often as it may, and a command of a door that
//! is to be closed again is never run without its grant.
//!
//! The book also has the deadlines. It closes what is due by itself: at once while there is no
//! follower, and after [`GRACE`] while there is one, which should have asked for it.

mod asked;
mod refused;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::action::{Action, Command, GrantId, Outcome};
use crate::engine::answered::Answers;
use crate::engine::door::Door;
use crate::engine::grant::{Grants, SavedGrant, TRIES_AFTER_REBOOT};
use crate::engine::time::Time;
use crate::privsep::Restored;

pub(super) use self::refused::Refused;

/// How late a follower may be with a close before it is done without it.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// Grants at a time: as many as the engine has.
const MAX_GRANTS: usize = 65_536;

/// An open grant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    /// As the ledger has it.
    saved: SavedGrant,
    /// Closes that failed.
    failed: u32,
    /// Failed closes after which it may be forgotten.
    tries: Option<u32>,
    /// Its close was asked for and has not ended.
    is_closing: bool,
}

/// The doors, and what is open.
#[derive(Debug)]
pub(super) struct Book {
    doors: Vec<Arc<Door>>,
    held: BTreeMap<GrantId, Held>,
    last_id: u64,
    /// By door, before which Unix time its one-time sequences are used.
    used: BTreeMap<Arc<str>, i64>,
    /// The knocks that were answered, for the next follower.
    answers: Answers,
    /// Closes what is due and was not asked for.
    own: Grants,
    /// What is closed by that at present.
    closing: BTreeSet<GrantId>,
    /// How late the follower may be.
    grace: Duration,
}

impl Book {
    /// A book of `doors`; no grant ever had a higher number than `last_id`.
    pub(super) fn new(doors: Vec<Arc<Door>>, last_id: u64) -> Self {
        Self {
            doors,
            held: BTreeMap::new(),
            last_id,
            used: BTreeMap::new(),
            answers: Answers::default(),
            own: Grants::new(last_id),
            closing: BTreeSet::new(),
            grace: Duration::ZERO,
        }
    }

    /// Takes over a grant that an earlier run left on disk.
    pub(super) fn restore(&mut self, saved: SavedGrant) {
        let held = Held {
            saved: saved.clone(),
            failed: 0,
            tries: saved.rebooted.then_some(TRIES_AFTER_REBOOT),
            is_closing: false,
        };
        self.held.insert(saved.id, held);
        self.own.restore(saved);
    }

    /// Takes over what an earlier run has put on disk as used.
    pub(super) fn restore_used(&mut self, door: Arc<str>, until: i64) {
        let used = self.used.entry(door).or_insert(until);
        *used = until.max(*used);
    }

    /// What is used, by door.
    pub(super) fn used(&self) -> impl Iterator<Item = (&Arc<str>, i64)> {
        self.used.iter().map(|(door, until)| (door, *until))
    }

    /// Takes over which knocks an earlier run has answered.
    pub(super) fn restore_answers(&mut self, answers: Answers) {
        self.answers = answers;
    }

    /// The knocks that were answered.
    pub(super) fn answers(&mut self, now: Time) -> &Answers {
        self.answers.expire(now);
        &self.answers
    }

    /// Takes new doors. What is open stays open.
    pub(super) fn replace_doors(&mut self, doors: Vec<Arc<Door>>) {
        self.doors = doors;
    }

    /// The highest number that a grant ever had.
    pub(super) fn last_id(&self) -> u64 {
        self.last_id
    }

    /// How many grants are open.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether something is being closed that nobody has asked for.
    pub(super) fn is_closing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// The door of a grant.
    pub(super) fn door_of(&self, grant: GrantId) -> Option<Arc<str>> {
        self.held
            .get(&grant)
            .map(|held| Arc::clone(&held.saved.door))
    }

    /// What is open, for a follower to go on with.
    pub(super) fn restored(&self) -> Vec<Restored> {
        let restored = |Held { saved, .. }: &Held| Restored {
            id: saved.id.0,
            door: saved.door.to_string(),
            src: saved.src,
            deadline: saved.deadline.as_nanos(),
            proven: saved.proven,
            rebooted: saved.rebooted,
        };
        self.held.values().map(restored).collect()
    }

    /// Whether there is a follower now, who closes what is due.
    pub(super) fn attended(&mut self, is_attended: bool) {
        self.grace = if is_attended { GRACE } else { Duration::ZERO };
        self.closing.clear();
        self.own = Grants::new(self.last_id);
        for Held { saved, .. } in self.held.values() {
            self.own.restore(SavedGrant {
                deadline: saved.deadline.after(self.grace),
                ..saved.clone()
            });
        }
    }

    /// Takes the end of a command of a grant.
    pub(super) fn finished(
        &mut self,
        grant: GrantId,
        command: Command,
        outcome: Outcome,
        now: Time,
    ) {
        let Some(held) = self.held.get_mut(&grant) else {
            return;
        };
        match (command, outcome) {
            (Command::Open, Outcome::Done) => held.saved.proven = true,
            // What stands half open has perhaps nothing to close.
            (Command::Open, Outcome::Failed) => held.tries = Some(1),
            (Command::Close, Outcome::Done) => return self.gone(grant),
            (Command::Close, Outcome::Failed) => {
                held.failed = held.failed.saturating_add(1);
                held.is_closing = false;
            }
        }
        // Of the follower's own commands it decides itself what comes next.
        if self.grace.is_zero() || (command == Command::Close && self.closing.remove(&grant)) {
            let silently = &mut |_| {};
            self.own
                .handle_finished(grant, command, outcome, now, silently);
        }
    }

    /// Closes everything, whatever its deadline.
    pub(super) fn close_all(&mut self, now: Time) {
        self.own.close_all(None, now, &mut |_| {});
    }

    /// When [`Self::poll_action`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.own.poll_timeout()
    }

    /// What is due at `now` and nobody has asked for.
    pub(super) fn poll_action(&mut self, now: Time) -> Option<Action> {
        self.own.handle_timeout(now, &mut |_| {});
        let action = self.own.poll_action()?;
        match action {
            Action::Close { grant } => {
                self.closing.insert(grant);
                if let Some(held) = self.held.get_mut(&grant) {
                    held.is_closing = true;
                }
            }
            Action::Forget { grant } => {
                self.held.remove(&grant);
            }
            _ => {}
        }
        Some(action)
    }

    fn gone(&mut self, grant: GrantId) {
        self.held.remove(&grant);
        self.closing.remove(&grant);
        self.own.drop_grant(grant);
    }
}

#[cfg(test)]
#[path = "book_test.rs"]
mod tests;
