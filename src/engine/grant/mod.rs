//! Progress → action: who has which door open, and until when.
//!
//! In: completed knocks, the ends of commands, time. Out: [`Action`]s and what to tell about them.
//! Every grant that was opened is closed exactly once, and a close that fails is tried again for
//! ever, 1 s later and then twice as long each time up to a minute. No grant is ever evicted: at the
//! limit a new knock is refused.

mod table;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use self::table::{Grant, Table};
pub use self::table::{Phase, Standing};
use super::action::{Action, Command, GrantId, Outcome};
use super::answered::Last;
use super::command::Facts;
use super::door::{Door, OnRepeat};
use super::event::{EventKind, RefusedReason};
use super::one_time::Token;
use super::time::Time;

/// Grants at a time. Only completed knocks make one.
const MAX_GRANTS: usize = 65_536;
/// A close that failed is tried again after this, then after twice as long each time …
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// … up to this.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// Failed closes after which a grant of an earlier boot is forgotten: the reboot has taken its rule away.
pub const TRIES_AFTER_REBOOT: u32 = 3;

/// A grant that an earlier run left on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedGrant {
    /// Its number.
    pub id: GrantId,
    /// Its door's name, which the config may no longer have.
    pub door: Arc<str>,
    /// Its address.
    pub src: IpAddr,
    /// When it is to be closed.
    pub deadline: Time,
    /// Whether its open command is known to have succeeded.
    pub proven: bool,
    /// Whether it was opened in an earlier boot, which took most rules away with it.
    pub rebooted: bool,
}

/// A completed knock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// What the door's commands may know.
    pub facts: Facts,
    /// What is used for it, of sequences that open once.
    pub spend: Option<Token>,
    /// When it ends, where that is before the door's own end.
    pub until: Option<Time>,
    /// The packet that completed it; none when it was done by hand.
    pub last: Option<Last>,
}

impl Completed {
    fn deadline(&self, door: &Door, now: Time) -> Time {
        let end = now.after(door.grant.hold);
        self.until.map_or(end, |until| until.min(end))
    }
}

/// What to tell about a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: Time,
    /// Its door.
    pub door: Arc<str>,
    /// Its address.
    pub src: IpAddr,
    /// What.
    pub kind: EventKind,
}

/// Everything that is open or being closed.
#[derive(Debug, Default)]
pub struct Grants {
    table: Table,
    actions: VecDeque<Action>,
    last_id: u64,
}

impl Grants {
    /// Grants whose numbers go on after `last_id`, the highest that was ever on this disk.
    pub fn new(last_id: u64) -> Self {
        Self {
            last_id,
            ..Self::default()
        }
    }

    /// Takes over a grant of an earlier run.
    pub fn restore(&mut self, saved: SavedGrant) {
        let SavedGrant {
            id,
            door,
            src,
            deadline,
            proven,
            rebooted,
        } = saved;
        self.last_id = self.last_id.max(id.0);
        let mut grant = Grant::new(door, src, deadline);
        grant.opened = Some(Time::from_nanos(i64::MIN));
        grant.tries = rebooted.then_some(TRIES_AFTER_REBOOT);
        grant.in_doubt = !proven;
        self.table.insert(id, grant);
    }

    /// Moves the deadline of an open grant.
    pub fn extend(&mut self, id: GrantId, deadline: Time) {
        let grant = self.table.get(id);
        if grant.is_some_and(|grant| grant.phase == Phase::Open) {
            self.table.set_timer(id, deadline);
        }
    }

    /// Drops a grant of which nothing is left to be done.
    pub fn drop_grant(&mut self, id: GrantId) {
        self.table.remove(id);
    }

    /// Takes a completed knock.
    pub fn handle_knock(
        &mut self,
        door: &Arc<Door>,
        completed: Completed,
        now: Time,
        tell: &mut impl FnMut(Told),
    ) {
        let src = completed.facts.src;
        let told = |at, kind| Told {
            at,
            door: Arc::clone(&door.name),
            src,
            kind,
        };
        if door.grant.close.of(src).is_none() {
            let Completed {
                facts, spend, last, ..
            } = completed;
            self.actions.push_back(Action::Run {
                door: Arc::clone(door),
                facts,
                spend,
                last,
            });
            tell(told(now, EventKind::Open));
            return;
        }
        let Some(id) = self.table.id_of(&door.name, src) else {
            if self.table.len() < MAX_GRANTS {
                self.open(door, completed, now, tell);
            } else {
                self.actions.extend(completed.spend.map(Action::Spend));
                let reason = RefusedReason::Full;
                tell(told(now, EventKind::Refused { reason }));
            }
            return;
        };
        let Some(grant) = self.table.get_mut(id) else {
            return;
        };
        // To extend what may not be open would lock its owner out for as long as they knock.
        let on_repeat = if grant.in_doubt {
            OnRepeat::Reopen
        } else {
            door.grant.on_repeat
        };
        match (grant.phase, on_repeat) {
            (Phase::Open, OnRepeat::Ignore) => {
                self.actions.extend(completed.spend.map(Action::Spend));
                // A later run must not take it for one that is still to be answered.
                let (deadline, last) = (grant.timer(), completed.last);
                self.actions.push_back(Action::Extend {
                    grant: id,
                    deadline,
                    last,
                });
            }
            (Phase::Open, OnRepeat::Extend) => {
                let deadline = completed.deadline(door, now);
                let Completed {
                    facts, spend, last, ..
                } = completed;
                self.actions.extend(spend.map(Action::Spend));
                self.table.set_timer(id, deadline);
                self.actions.push_back(Action::Extend {
                    grant: id,
                    deadline,
                    last,
                });
                if door.grant.refresh.of(src).is_some() {
                    let door = Arc::clone(door);
                    self.actions.push_back(Action::Refresh { door, facts });
                }
                tell(told(now, EventKind::Refresh));
            }
            (phase, _) => {
                // A knock that is not answered any more is used all the same.
                let before = grant.again.replace((Arc::clone(door), completed));
                let before = before.and_then(|(_, completed)| completed.spend);
                self.actions.extend(before.map(Action::Spend));
                if phase == Phase::Open {
                    self.close(id, now, tell);
                }
            }
        }
    }

    /// Takes the end of a command that an [`Action`] asked for.
    pub fn handle_finished(
        &mut self,
        id: GrantId,
        command: Command,
        outcome: Outcome,
        now: Time,
        tell: &mut impl FnMut(Told),
    ) {
        let Some(grant) = self.table.get_mut(id) else {
            return;
        };
        match (command, outcome) {
            (Command::Open, Outcome::Done) => grant.opened = Some(now),
            (Command::Open, Outcome::Failed) => {
                // Half of it may stand, so the close is run; but it may well have nothing to close.
                grant.tries = Some(1);
                if grant.phase == Phase::Open {
                    self.close(id, now, tell);
                }
            }
            (Command::Close, Outcome::Done) => self.forget(id, now, tell),
            (Command::Close, Outcome::Failed) => {
                grant.failed = grant.failed.saturating_add(1);
                if grant.tries.is_some_and(|tries| grant.failed >= tries) {
                    self.actions.push_back(Action::Forget { grant: id });
                    self.forget(id, now, tell);
                } else {
                    grant.phase = Phase::Waiting;
                    let doublings = grant.failed.min(16) - 1;
                    self.table.set_timer(
                        id,
                        now.after((FIRST_RETRY * 2_u32.pow(doublings)).min(LAST_RETRY)),
                    );
                }
            }
        }
    }

    /// Closes what is due at `now`. Calling it early or often does nothing.
    pub fn handle_timeout(&mut self, now: Time, tell: &mut impl FnMut(Told)) {
        while let Some((at, id)) = self.table.first_timer().filter(|&(at, _)| at <= now) {
            self.close(id, at, tell);
        }
    }

    /// Closes what is open at `door` for `src`, whatever its deadline.
    pub fn handle_close(
        &mut self,
        door: &Arc<str>,
        src: IpAddr,
        now: Time,
        tell: &mut impl FnMut(Told),
    ) {
        let Some(id) = self.table.id_of(door, src) else {
            return;
        };
        let grant = self.table.get(id);
        if grant.is_some_and(|grant| grant.phase == Phase::Open) {
            self.close(id, now, tell);
        }
    }

    /// Since when what `door` has opened for `src` stands; `None` when nothing does.
    pub fn open_since(&self, door: &Arc<str>, src: IpAddr) -> Option<Time> {
        let grant = self.table.get(self.table.id_of(door, src)?)?;
        grant.opened.filter(|_| grant.phase == Phase::Open)
    }

    /// Closes what is open for `src`, or for everybody, whatever its deadline, and returns how many
    /// that concerns. Knocks that wait for a close are not answered any more: they would open a door
    /// behind the back of whoever closes it.
    pub fn close_all(
        &mut self,
        src: Option<IpAddr>,
        now: Time,
        tell: &mut impl FnMut(Told),
    ) -> usize {
        let meant = |grant: &Grant| src.is_none_or(|src| src == grant.src);
        let mut concerned = Vec::new();
        for (id, grant) in self.table.iter_mut().filter(|(_, grant)| meant(grant)) {
            let again = grant.again.take();
            let again = again.and_then(|(_, completed)| completed.spend);
            self.actions.extend(again.map(Action::Spend));
            concerned.push((id, grant.phase));
        }
        for (id, phase) in &concerned {
            if *phase != Phase::Closing {
                self.close(*id, now, tell);
            }
        }
        concerned.len()
    }

    /// Everything that is open or being closed, the oldest first.
    pub fn standing(&self) -> impl Iterator<Item = Standing<'_>> {
        self.table.standing()
    }

    /// When [`Self::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.table.first_timer().map(|(at, _)| at)
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The door of a grant.
    pub fn door_of(&self, id: GrantId) -> Option<Arc<str>> {
        self.table.get(id).map(|grant| Arc::clone(&grant.door))
    }

    /// How many are open or being closed.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    fn open(
        &mut self,
        door: &Arc<Door>,
        completed: Completed,
        now: Time,
        tell: &mut impl FnMut(Told),
    ) {
        let deadline = completed.deadline(door, now);
        let Completed {
            facts, spend, last, ..
        } = completed;
        self.last_id = self.last_id.saturating_add(1);
        let (id, src, name) = (GrantId(self.last_id), facts.src, &door.name);
        let grant = Grant::new(Arc::clone(name), src, deadline);
        self.table.insert(id, grant);
        self.actions.push_back(Action::Open {
            grant: id,
            door: Arc::clone(door),
            facts,
            deadline,
            spend,
            last,
        });
        tell(Told {
            at: now,
            door: Arc::clone(name),
            src,
            kind: EventKind::Open,
        });
    }

    /// Orders the close command. Told once, however often it must be tried.
    fn close(&mut self, id: GrantId, at: Time, tell: &mut impl FnMut(Told)) {
        self.table.clear_timer(id);
        let Some(grant) = self.table.get_mut(id) else {
            return;
        };
        if grant.phase == Phase::Open {
            tell(Told {
                at,
                door: Arc::clone(&grant.door),
                src: grant.src,
                kind: EventKind::Close,
            });
        }
        grant.phase = Phase::Closing;
        self.actions.push_back(Action::Close { grant: id });
    }

    /// Drops a grant that is closed, and answers the knock that waited for that.
    fn forget(&mut self, id: GrantId, now: Time, tell: &mut impl FnMut(Told)) {
        let again = self.table.remove(id).and_then(|grant| grant.again);
        if let Some((door, completed)) = again {
            self.open(&door, completed, now, tell);
        }
    }
}

#[cfg(test)]
#[path = "grant_test.rs"]
mod tests;
