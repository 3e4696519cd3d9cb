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

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::refused::Refused;
use crate::clock;
use crate::engine::action::{Action, Command, GrantId, Outcome};
use crate::engine::answered::{self, Answers};
use crate::engine::door::{Door, Rule};
use crate::engine::grant::{Grants, SavedGrant, TRIES_AFTER_REBOOT};
use crate::engine::knock::is_nobody;
use crate::engine::one_time::{MAX_SKEW, Origin, Token, Used};
use crate::engine::time::Time;
use crate::privsep::{Knock, Last, Restored, Spend};

/// How late a follower may be with a close before it is done without it.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How far a kernel's stamp may be ahead of the boot clock; of one that is further nothing is believed.
const AHEAD: Duration = Duration::from_secs(60);
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

    /// Notes that a knock is answered, and what is to be put on disk of it.
    fn answered(
        &mut self,
        door: &Arc<str>,
        src: IpAddr,
        last: Option<Last>,
        now: Time,
    ) -> Option<answered::Last> {
        let mut last = last?.last();
        // It would hide knocks that are still to come.
        last.kernel = last.kernel.filter(|&kernel| kernel <= now.after(AHEAD));
        self.answers.note(door, src, now, last);
        Some(last)
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

    /// A new grant.
    pub(super) fn open(
        &mut self,
        grant: u64,
        knock: &Knock,
        deadline: i64,
        spend: Option<Spend>,
        last: Option<Last>,
        now: Time,
    ) -> Result<Action, Refused> {
        // Whatever becomes of it, the number is used up; the follower counts on by itself.
        if Some(grant) != self.last_id.checked_add(1) {
            return Err(Refused::Number);
        }
        self.last_id = grant;
        let (door, grant, deadline) = (
            self.door(knock)?,
            GrantId(grant),
            Time::from_nanos(deadline),
        );
        let rule = &door.grant;
        if rule.open.of(knock.src).is_none() || rule.close.of(knock.src).is_none() {
            return Err(Refused::Command);
        }
        if deadline > now.after(rule.hold) {
            return Err(Refused::Deadline);
        }
        if self.held.len() >= MAX_GRANTS {
            return Err(Refused::Crowded);
        }
        let facts = knock.facts(&door.name, Some(rule.hold));
        let spend = spend.map(|spend| self.token(&door, spend)).transpose()?;
        self.restore(SavedGrant {
            id: grant,
            door: Arc::clone(&door.name),
            src: knock.src,
            deadline,
            proven: false,
            rebooted: false,
        });
        self.own.extend(grant, deadline.after(self.grace));
        let last = self.answered(&door.name, knock.src, last, now);
        Ok(Action::Open {
            grant,
            door,
            facts,
            deadline,
            spend,
            last,
        })
    }

    /// The command of a door that holds nothing open.
    pub(super) fn run(
        &mut self,
        knock: &Knock,
        spend: Option<Spend>,
        last: Option<Last>,
        now: Time,
    ) -> Result<Action, Refused> {
        let door = self.door(knock)?;
        if door.grant.open.of(knock.src).is_none() || door.grant.close.of(knock.src).is_some() {
            return Err(Refused::Command);
        }
        let facts = knock.facts(&door.name, None);
        let spend = spend.map(|spend| self.token(&door, spend)).transpose()?;
        let last = self.answered(&door.name, knock.src, last, now);
        Ok(Action::Run {
            door,
            facts,
            spend,
            last,
        })
    }

    /// A sequence that is used and opens nothing.
    pub(super) fn spend(&mut self, door: &str, spend: Spend) -> Result<Action, Refused> {
        let mut doors = self.doors.iter();
        let door = doors.find(|other| *other.name == *door);
        let door = Arc::clone(door.ok_or(Refused::Door)?);
        self.token(&door, spend).map(Action::Spend)
    }

    /// What puts a use on disk: the file and the line are the runner's own. A time that has not come
    /// would shut the door to its owner.
    fn token(&mut self, door: &Door, spend: Spend) -> Result<Token, Refused> {
        let Rule::OneTime(rule) = &door.rule else {
            return Err(Refused::Spend);
        };
        let used = match (&rule.origin, spend) {
            (Origin::Totp(totp), Spend::Until(until)) => {
                let ahead = i64::from(totp.step()) * (i64::from(MAX_SKEW) + 2);
                let unix = clock::wall_now().as_nanos() / 1_000_000_000;
                if until > unix.saturating_add(ahead) {
                    return Err(Refused::Spend);
                }
                self.restore_used(Arc::clone(&door.name), until);
                Used::Until(until)
            }
            (Origin::List(list), Spend::Line(number)) => {
                let mut lines = list.lines.iter();
                let line = lines.find(|line| line.number == number);
                Used::Line {
                    file: Arc::clone(&list.file),
                    number,
                    text: Arc::clone(&line.ok_or(Refused::Spend)?.text),
                }
            }
            _ => return Err(Refused::Spend),
        };
        Ok(Token {
            door: Arc::clone(&door.name),
            used,
        })
    }

    /// The command that renews what is open.
    pub(super) fn refresh(&self, knock: &Knock) -> Result<Action, Refused> {
        let door = self.door(knock)?;
        if door.grant.refresh.of(knock.src).is_none() {
            return Err(Refused::Command);
        }
        let mut held = self.held.values();
        if !held.any(|held| held.saved.door == door.name && held.saved.src == knock.src) {
            return Err(Refused::Grant);
        }
        let facts = knock.facts(&door.name, Some(door.grant.hold));
        Ok(Action::Refresh { door, facts })
    }

    /// Another deadline.
    pub(super) fn extend(
        &mut self,
        grant: u64,
        deadline: i64,
        last: Option<Last>,
        now: Time,
    ) -> Result<Action, Refused> {
        let (grant, deadline) = (GrantId(grant), Time::from_nanos(deadline));
        let standing = self.held.get_mut(&grant).ok_or(Refused::Grant)?;
        let mut doors = self.doors.iter();
        let door = doors.find(|door| door.name == standing.saved.door);
        let hold = door.ok_or(Refused::Door)?.grant.hold;
        if deadline > now.after(hold) {
            return Err(Refused::Deadline);
        }
        standing.saved.deadline = deadline;
        let (door, src) = (Arc::clone(&standing.saved.door), standing.saved.src);
        self.own.extend(grant, deadline.after(self.grace));
        let last = self.answered(&door, src, last, now);
        Ok(Action::Extend {
            grant,
            deadline,
            last,
        })
    }

    /// The command that closes.
    pub(super) fn close(&self, grant: u64) -> Result<Action, Refused> {
        let grant = GrantId(grant);
        let is_held = self.held.contains_key(&grant);
        is_held
            .then_some(Action::Close { grant })
            .ok_or(Refused::Grant)
    }

    /// A grant whose close cannot succeed.
    pub(super) fn forget(&mut self, grant: u64) -> Result<Action, Refused> {
        let grant = GrantId(grant);
        let held = self.held.get(&grant).ok_or(Refused::Grant)?;
        if held.tries.is_none_or(|tries| held.failed < tries) {
            return Err(Refused::Forget);
        }
        self.gone(grant);
        Ok(Action::Forget { grant })
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
            (Command::Close, Outcome::Failed) => held.failed = held.failed.saturating_add(1),
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

    /// The door that a knock is for, if it may be.
    fn door(&self, knock: &Knock) -> Result<Arc<Door>, Refused> {
        let mut doors = self.doors.iter();
        let door = doors.find(|door| *door.name == *knock.door);
        let door = door.ok_or(Refused::Door)?;
        let scope = &door.scope;
        let is_right = !is_nobody(knock.src)
            && knock.src == knock.src.to_canonical()
            && scope.lets_in(knock.src)
            && scope.target.is_none_or(|target| target == knock.dst)
            && scope
                .interface
                .as_deref()
                .is_none_or(|name| name == knock.interface);
        is_right.then(|| Arc::clone(door)).ok_or(Refused::Scope)
    }
}

#[cfg(test)]
#[path = "book_test.rs"]
mod tests;
