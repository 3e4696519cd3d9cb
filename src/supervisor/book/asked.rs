//! Each ask, held against the book.
//!
//! In: an ask of the follower. Out: the engine's [`Action`] with the runner's own door in it, or why not.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::refused::Refused;
use super::{Book, MAX_GRANTS};
use crate::clock;
use crate::engine::action::{Action, GrantId};
use crate::engine::answered;
use crate::engine::door::{Door, Rule};
use crate::engine::grant::SavedGrant;
use crate::engine::knock::is_nobody;
use crate::engine::one_time::{Origin, Token, Used};
use crate::engine::time::Time;
use crate::engine::totp::MAX_SKEW;
use crate::privsep::{Knock, Last, Spend};

/// How far a kernel's stamp may be ahead of the boot clock; of one that is further nothing is believed.
const AHEAD: Duration = Duration::from_secs(60);

impl Book {
    /// A new grant.
    pub(in crate::supervisor) fn open(
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
    pub(in crate::supervisor) fn run(
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
    pub(in crate::supervisor) fn spend(
        &mut self,
        door: &str,
        spend: Spend,
    ) -> Result<Action, Refused> {
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
    pub(in crate::supervisor) fn refresh(&self, knock: &Knock) -> Result<Action, Refused> {
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
    pub(in crate::supervisor) fn extend(
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
        let door = door.ok_or(Refused::Door)?;
        // A reload may have shut it to whom it is open for: then it closes when due.
        if !door.scope.lets_in(standing.saved.src) {
            return Err(Refused::Scope);
        }
        if deadline > now.after(door.grant.hold) {
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

    /// The command that closes; once, until it has ended.
    pub(in crate::supervisor) fn close(&mut self, grant: u64) -> Result<Action, Refused> {
        let grant = GrantId(grant);
        let held = self.held.get_mut(&grant).ok_or(Refused::Grant)?;
        if std::mem::replace(&mut held.is_closing, true) {
            return Err(Refused::Closing);
        }
        Ok(Action::Close { grant })
    }

    /// A grant whose close cannot succeed.
    pub(in crate::supervisor) fn forget(&mut self, grant: u64) -> Result<Action, Refused> {
        let grant = GrantId(grant);
        let held = self.held.get(&grant).ok_or(Refused::Grant)?;
        if held.tries.is_none_or(|tries| held.failed < tries) {
            return Err(Refused::Forget);
        }
        self.gone(grant);
        Ok(Action::Forget { grant })
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
