//! Completed knocks → what is open, for whom and until when, and what is still to be closed.
//!
//! In: knocks, requests by hand, the ends of commands, time. Out: [`Order`]s to run, [`Change`]s to put
//! on disk before them, and what to tell. This table is the only one: the ledger writes it, status
//! shows it, and no other process can name a grant.
//!
//! Every grant that was opened is closed exactly once. A close that fails is owed: it is tried again
//! 1 s later and then twice as long each time, up to a minute. It never holds up an open: while a newer
//! grant of the same door and address is open, the older close waits, because it could remove the newer
//! rule. No grant is ever evicted: at the limit a new knock is refused.

mod order;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::order::{Answer, Change, NotOpened, Order, Outcome, Task};
use super::answered::{Answers, Last};
use super::command::{Facts, Invocation};
use super::door::{Door, Judging, OnRepeat, Rule};
use super::event::{Event, EventKind, RefusedReason, Whence};
use super::finding::{Finding, Knocked, Told};
use super::knock;
use super::one_time::{Mark, Used};
use super::time::Time;

/// Grants at a time. Only completed knocks make one.
pub const MAX_GRANTS: usize = 65_536;
/// A close that failed is tried again after this, then after twice as long each time …
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// … up to this.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// Failed closes after which a grant of an earlier boot is dropped: the reboot has taken its rule away.
const TRIES_AFTER_REBOOT: u32 = 3;
/// Closes of commands in knockd's manner: knockd ignores their status, so more would be strange to its users.
const TRIES_OF_KNOCKD: u32 = 3;
/// Closes of own commands owed to one address at one door; the oldest is given up first.
const MAX_OWED: usize = 8;
/// How long a failing command is repeated before it is given up.
const MAX_OWED_TIME: Duration = Duration::from_secs(24 * 3600);
/// Closes given up that status still shows.
const MAX_GIVEN_UP: usize = 64;
/// How many characters of a failed close command's output are kept.
const MAX_WORDS: usize = 200;

/// The number of a grant: unique in one state directory for ever, counted up from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GrantId(pub u64);

/// How far a grant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The open command has been ordered or has succeeded.
    Open,
    /// The close command has been ordered.
    Closing,
    /// The close command failed and is to be ordered again.
    #[serde(rename = "failed")]
    Owed,
}

/// A door that is open for an address, or whose close is still owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its door's name, which the configuration may no longer have.
    pub door: Arc<str>,
    /// Its address.
    pub src: IpAddr,
    /// When it is to be closed; once closing has begun, when that was.
    pub deadline: Time,
    /// The gateway whose grant moved the deadline last; none where a knock or a hand here did.
    pub origin: Option<Arc<str>>,
    /// What closes it. A new configuration cannot change how an old grant is closed.
    pub close: Invocation,
    /// How the ends of its commands are judged.
    pub judging: Judging,
    /// How far it is.
    pub phase: Phase,
    /// Since when its open command is known to have succeeded.
    pub opened: Option<Time>,
    /// How often its close command failed.
    pub failed: u32,
    /// The last line that its failed close command wrote.
    pub words: Box<str>,
    /// When its close command first failed.
    failing_since: Option<Time>,
    /// Failed closes after which it is dropped; `None` for the rule of [`Judging`].
    tries: Option<u32>,
    /// It took the place of an owed close: its own close must run, whatever becomes of its open command.
    took_over: bool,
    /// An earlier run ended before its open command did, so it is unknown whether it opened anything.
    in_doubt: bool,
    /// The deadline, or the next try; none while it waits for something else.
    timer: Option<Time>,
}

impl Grant {
    /// When its deadline or its next try is; `None` while a command runs or a newer grant is open.
    pub fn timer(&self) -> Option<Time> {
        self.timer
    }

    /// Whether its close command is the one that `door` has now.
    fn is_closed_by(&self, door: &Door) -> bool {
        let close = door.grant.close.of(self.src);
        close.is_some_and(|close| close.has_made(&self.close))
    }
}

/// A grant that an earlier run left on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedGrant {
    /// Its number.
    pub id: GrantId,
    /// Its door's name.
    pub door: Arc<str>,
    /// Its address.
    pub src: IpAddr,
    /// When it is to be closed, on this boot's clock.
    pub deadline: Time,
    /// The gateway whose grant it is, if it is not ours.
    pub origin: Option<Arc<str>>,
    /// What closes it.
    pub close: Invocation,
    /// How the ends of its commands are judged.
    pub judging: Judging,
    /// Whether its open command is known to have succeeded.
    pub proven: bool,
    /// Whether it was opened in an earlier boot, which took most rules away with it.
    pub rebooted: bool,
}

/// A close that is not tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// The door.
    pub door: Arc<str>,
    /// The address.
    pub src: IpAddr,
    /// How often it was tried.
    pub failed: u32,
    /// The last line that it wrote.
    pub words: Box<str>,
}

type Pair = (Arc<str>, IpAddr);

/// All open and owed grants, used codes and answered knocks.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    table: BTreeMap<GrantId, Grant>,
    /// The grants of each door and address, the oldest first. Only the last one can be open.
    pairs: HashMap<Pair, Vec<GrantId>>,
    timers: BTreeSet<(Time, GrantId)>,
    /// By door, before which Unix time its one-time sequences are used. Nothing leaves this: there are
    /// no more doors than a configuration has had.
    used: BTreeMap<Arc<str>, i64>,
    answers: Answers,
    given_up: VecDeque<GivenUp>,
    last_id: u64,
    orders: VecDeque<Order>,
    changes: Vec<Change>,
    told: VecDeque<Told>,
}

impl Grants {
    /// Creates an empty table. Numbers continue after `last_id`, the highest that was ever on this disk.
    pub fn new(last_id: u64) -> Self {
        Self {
            last_id,
            ..Self::default()
        }
    }

    /// Takes over a grant of an earlier run.
    pub fn restore(&mut self, saved: SavedGrant) {
        let id = saved.id;
        self.last_id = self.last_id.max(id.0);
        let grant = Grant {
            opened: Some(Time::from_nanos(i64::MIN)).filter(|_| saved.proven),
            tries: saved.rebooted.then_some(TRIES_AFTER_REBOOT),
            in_doubt: !saved.proven,
            origin: saved.origin,
            ..Grant::new(
                saved.door,
                saved.src,
                saved.deadline,
                saved.close,
                saved.judging,
            )
        };
        // A pair has one open grant at most; of two that were left, the older was being closed.
        for earlier in self.of_pair(&grant.door, grant.src) {
            if let Some(earlier) = self.table.get_mut(&earlier) {
                earlier.phase = Phase::Owed;
            }
            self.set_timer(earlier, None);
        }
        self.insert(id, grant);
    }

    /// Takes over that all sequences of `door` that begin before the Unix time `until` are used.
    pub fn restore_used(&mut self, door: Arc<str>, until: i64) {
        let used = self.used.entry(door).or_insert(until);
        *used = until.max(*used);
    }

    /// Continues the numbers at `next` or higher: lower ones may have been used.
    pub fn continue_from(&mut self, next: u64) {
        self.last_id = self.last_id.max(next.saturating_sub(1));
    }

    /// Takes over the answers of an earlier run.
    pub fn restore_answers(&mut self, answers: Answers) {
        self.answers = answers;
    }

    /// Takes a completed knock at `door`.
    pub fn handle_knocked(&mut self, door: &Arc<Door>, knocked: &Knocked, now: Time) -> Answer {
        let (src, whence) = (knocked.facts.src, knocked.whence);
        let Ok(mark) = self.use_up(door, knocked.used) else {
            let reason = RefusedReason::Used;
            self.tell(now, &door.name, src, EventKind::Refused { reason }, whence);
            return Answer::Refused(reason);
        };
        let Some(close) = door.grant.close.of(src) else {
            self.run(door, knocked, mark, now);
            return Answer::Running;
        };
        let live = self.live(&door.name, src);
        let grant = live.and_then(|id| self.table.get(&id));
        // To extend what may not be open would lock its owner out for as long as they knock.
        let on_repeat = match grant {
            Some(grant) if grant.in_doubt => OnRepeat::Reopen,
            // It is not what this configuration opens. To renew that would open what the grant's own close leaves open.
            Some(grant) if !grant.is_closed_by(door) => OnRepeat::Reopen,
            _ => door.grant.on_repeat,
        };
        match (live, on_repeat) {
            (Some(id), OnRepeat::Extend) => {
                self.mark(door, src, mark);
                let until = deadline(door, knocked, now);
                self.extend(id, until, knocked.origin.clone());
                self.answered(&door.name, src, knocked.last, now);
                if let Some(refresh) = door.grant.refresh.of(src) {
                    let task = Task::Run(Arc::clone(&door.name));
                    let invocation = Some(refresh.expand(&knocked.facts));
                    self.orders.push_back(Order {
                        invocation,
                        expires: Some(until),
                        ..Order::new(task, src)
                    });
                }
                self.tell(now, &door.name, src, EventKind::Refresh, whence);
                Answer::Extended
            }
            (Some(_), OnRepeat::Ignore) => {
                self.mark(door, src, mark);
                // A later run must not take it for one that is still to be answered.
                self.answered(&door.name, src, knocked.last, now);
                Answer::Ignored
            }
            (None, _) if self.table.len() >= MAX_GRANTS => {
                self.mark(door, src, mark);
                let reason = RefusedReason::Full;
                self.tell(now, &door.name, src, EventKind::Refused { reason }, whence);
                Answer::Refused(reason)
            }
            (open, _) => {
                if let Some(id) = open {
                    self.close(id, now, whence);
                }
                let close = close.expand(&knocked.facts);
                Answer::Opening(self.open(door, knocked, close, mark, now))
            }
        }
    }

    /// Opens `door` for `src`, as if it had knocked.
    pub fn handle_open(
        &mut self,
        door: &Arc<Door>,
        src: IpAddr,
        now: Time,
    ) -> Result<Answer, NotOpened> {
        let src = src.to_canonical();
        may_open(door, src)?;
        Ok(self.handle_knocked(door, &Knocked::by_hand(src, door), now))
    }

    /// Opens again the open grants of `door`, because they may have been removed with the rules. Their deadlines
    /// stay. Returns the addresses; each ends with [`Task::Run`].
    pub fn handle_put_back(&mut self, door: &Arc<Door>, now: Time) -> Vec<IpAddr> {
        let mut concerned = Vec::new();
        for grant in self.table.values() {
            if grant.phase != Phase::Open || grant.door != door.name {
                continue;
            }
            let facts = Facts {
                hold: Some(grant.deadline.since(now)),
                ..Knocked::by_hand(grant.src, door).facts
            };
            // A grant of an earlier configuration was not opened by this one's commands: nothing would close that.
            let refresh = door.grant.refresh.of(grant.src);
            if let Some(refresh) = refresh.filter(|_| grant.is_closed_by(door)) {
                concerned.push(grant.src);
                self.orders.push_back(Order {
                    invocation: Some(refresh.expand(&facts)),
                    expires: Some(grant.deadline),
                    ..Order::new(Task::Run(Arc::clone(&door.name)), grant.src)
                });
            }
        }
        concerned
    }

    /// Opens `door` for `src` until `until`, because the gateway `origin` has. An open grant keeps at least its
    /// deadline.
    pub fn handle_granted(
        &mut self,
        door: &Arc<Door>,
        src: IpAddr,
        until: Time,
        origin: &Arc<str>,
        now: Time,
    ) -> Result<Answer, NotOpened> {
        may_open(door, src)?;
        let knocked = Knocked {
            until: Some(until),
            origin: Some(Arc::clone(origin)),
            ..Knocked::by_hand(src, door)
        };
        let live = self.live(&door.name, src);
        let open = live.and_then(|id| self.table.get(&id));
        let is_longer = |grant: &Grant| grant.deadline >= deadline(door, &knocked, now);
        let is_kept = |grant: &Grant| {
            !grant.in_doubt && (is_longer(grant) || door.grant.on_repeat != OnRepeat::Extend)
        };
        if open.is_some_and(is_kept) {
            return Ok(Answer::Ignored);
        }
        Ok(self.handle_knocked(door, &knocked, now))
    }

    /// Takes a completed knock at `door` that opens nothing because of the other gateways of the fleet.
    pub fn handle_refused(
        &mut self,
        door: &Door,
        knocked: &Knocked,
        reason: RefusedReason,
        now: Time,
    ) {
        let src = knocked.facts.src;
        if reason == RefusedReason::Elsewhere
            && let Ok(mark) = self.use_up(door, knocked.used)
        {
            self.mark(door, src, mark);
        }
        self.tell(
            now,
            &door.name,
            src,
            EventKind::Refused { reason },
            knocked.whence,
        );
    }

    /// The open grant of `door` for `src`.
    pub fn open_at(&self, door: &Arc<str>, src: IpAddr) -> Option<(GrantId, &Grant)> {
        let id = self.live(door, src)?;
        Some((id, self.table.get(&id)?))
    }

    /// Takes what was found at `door`.
    pub fn handle_finding(&mut self, door: &Arc<Door>, finding: Finding, now: Time) {
        match finding {
            Finding::Knocked(knocked) => {
                self.handle_knocked(door, &knocked, now);
            }
            Finding::Entered { src, whence, .. } => {
                // A door without `once` is not closed by a connection that the detector reports.
                if !door.grant.once.is_empty() {
                    self.close_live(&door.name, src, Some(whence), now);
                }
            }
            Finding::Overcount { src, whence, .. } => {
                if let Rule::Counts(_) = door.rule {
                    self.close_live(&door.name, src, whence, now);
                }
            }
            Finding::CodesFailed { until, .. } => {
                // Where as much was used before, that is as good.
                let _: Result<_, ()> = self.use_up(door, Some(Used::Until(until)));
            }
        }
    }

    /// The command of `task` is about to run: the knock that it answers is answered.
    pub fn handle_started(&mut self, task: &Task, src: IpAddr, last: Option<Last>, now: Time) {
        let door = match task {
            Task::Open(id) => self.table.get(id).map(|grant| Arc::clone(&grant.door)),
            Task::Run(door) => Some(Arc::clone(door)),
            Task::Close(_) | Task::Mark(_) => None,
        };
        if let Some(door) = door {
            self.answered(&door, src, last, now);
        }
    }

    /// Takes the end of an ordered command, with its last line of output.
    pub fn handle_finished(&mut self, task: &Task, outcome: Outcome, words: &str, now: Time) {
        match *task {
            Task::Open(id) => self.open_ended(id, outcome, now),
            Task::Close(id) if outcome == Outcome::Done => self.forget(id, now),
            Task::Close(id) => self.close_failed(id, words, now),
            Task::Run(_) | Task::Mark(_) => {}
        }
    }

    /// Closes grants that are due at `now`. Calling it early or often is harmless.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.close(id, at, None);
        }
        self.answers.expire(now);
    }

    /// Closes all open or owed grants of `src`, or all grants, before their deadlines. Returns the number of grants.
    pub fn close_all(&mut self, src: Option<IpAddr>, now: Time) -> usize {
        let src = src.map(|src| src.to_canonical());
        let theirs = |grant: &Grant| src.is_none_or(|src| src == grant.src);
        let concerned: Vec<_> = self
            .table
            .iter()
            .filter(|(_, grant)| theirs(grant))
            .map(|(id, grant)| (*id, grant.phase))
            .collect();
        for &(id, phase) in &concerned {
            if phase != Phase::Closing {
                self.close(id, now, None);
            }
        }
        concerned.len()
    }

    /// The next order.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// The changes to write to disk before the orders since the last call are run.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// What to tell next.
    pub fn poll_told(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    /// When [`Self::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A grant by its number.
    pub fn get(&self, id: GrantId) -> Option<&Grant> {
        self.table.get(&id)
    }

    /// All of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (GrantId, &Grant)> {
        self.table.iter().map(|(id, grant)| (*id, grant))
    }

    /// The number of open and owed grants.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no open or owed grant.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The closes that were given up last.
    pub fn given_up(&self) -> impl Iterator<Item = &GivenUp> {
        self.given_up.iter()
    }

    /// For each door, the Unix time in seconds before which its one-time sequences are used.
    pub fn used(&self) -> impl Iterator<Item = (&Arc<str>, i64)> {
        self.used.iter().map(|(door, until)| (door, *until))
    }

    /// The answered knocks.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// The lowest number that no grant has had.
    pub fn next_id(&self) -> u64 {
        self.last_id.saturating_add(1)
    }

    /// Takes a sequence that opens once; `Err` when it, or one after it, was used before. What is left to
    /// be done is to mark it in its list.
    fn use_up(&mut self, door: &Door, used: Option<Used>) -> Result<Option<Mark>, ()> {
        if let Some(Used::Until(until)) = used {
            let door = &door.name;
            if self.used.get(door).is_some_and(|used| *used >= until) {
                return Err(());
            }
            self.used.insert(Arc::clone(door), until);
            self.changes.push(Change::Used(Arc::clone(door)));
        }
        Ok(used.and_then(|used| door.rule.origin()?.mark(used)))
    }

    /// Orders that a sequence is marked which opens nothing.
    fn mark(&mut self, door: &Door, src: IpAddr, mark: Option<Mark>) {
        if mark.is_some() {
            let task = Task::Mark(Arc::clone(&door.name));
            self.orders.push_back(Order {
                mark,
                ..Order::new(task, src)
            });
        }
    }

    fn run(&mut self, door: &Arc<Door>, knocked: &Knocked, mark: Option<Mark>, now: Time) {
        let src = knocked.facts.src;
        self.note(knocked, now);
        let open = door.grant.open.of(src);
        self.orders.push_back(Order {
            invocation: open.map(|open| open.expand(&knocked.facts)),
            awaits_disk: knocked.used.is_some(),
            mark,
            last: knocked.last,
            expires: Some(now.after(door.grant.hold.max(LAST_RETRY))),
            ..Order::new(Task::Run(Arc::clone(&door.name)), src)
        });
        self.tell(now, &door.name, src, EventKind::Open, knocked.whence);
    }

    fn open(
        &mut self,
        door: &Arc<Door>,
        knocked: &Knocked,
        close: Invocation,
        mark: Option<Mark>,
        now: Time,
    ) -> GrantId {
        self.last_id = self.last_id.saturating_add(1);
        let (id, src, name) = (GrantId(self.last_id), knocked.facts.src, &door.name);
        let until = deadline(door, knocked, now);
        let judging = door.grant.judging;
        let mut superseded = Vec::new();
        for earlier in self.of_pair(name, src) {
            // What closes one of a firewall's set closes the other.
            let is_same = |grant: &&Grant| judging == Judging::Firewall && grant.close == close;
            let owed = |grant: &&Grant| grant.phase == Phase::Owed;
            let grant = self.table.get(&earlier).filter(owed);
            if grant.as_ref().is_some_and(is_same) {
                self.remove(earlier);
                superseded.push(Change::Closed(earlier));
            } else if grant.is_some() {
                self.set_timer(earlier, None);
            }
        }
        let grant = Grant {
            took_over: !superseded.is_empty(),
            origin: knocked.origin.clone(),
            ..Grant::new(Arc::clone(name), src, until, close, judging)
        };
        self.insert(id, grant);
        self.changes.push(Change::Begun(id));
        self.note(knocked, now);
        // Behind it: of a write that a crash cuts, the beginning is left.
        self.changes.append(&mut superseded);
        let open = door.grant.open.of(src);
        self.orders.push_back(Order {
            invocation: open.map(|open| open.expand(&knocked.facts)),
            awaits_disk: true,
            mark,
            last: knocked.last,
            ..Order::new(Task::Open(id), src)
        });
        self.tell(now, name, src, EventKind::Open, knocked.whence);
        id
    }

    fn extend(&mut self, id: GrantId, until: Time, origin: Option<Arc<str>>) {
        if let Some(grant) = self.table.get_mut(&id) {
            grant.deadline = until;
            grant.origin = origin;
        }
        self.set_timer(id, Some(until));
        self.changes.push(Change::Moved(id));
    }

    /// Orders the close command. Told once, however often it must be tried.
    fn close(&mut self, id: GrantId, at: Time, whence: Option<Whence>) {
        self.set_timer(id, None);
        let Some(grant) = self.table.get_mut(&id) else {
            return;
        };
        let was_open = grant.phase == Phase::Open;
        grant.phase = Phase::Closing;
        let (door, src) = (Arc::clone(&grant.door), grant.src);
        if grant.deadline > at {
            // After a crash it is due at once.
            grant.deadline = at;
            self.changes.push(Change::Moved(id));
        }
        self.orders.push_back(Order::new(Task::Close(id), src));
        if was_open {
            self.tell(at, &door, src, EventKind::Close, whence);
        }
    }

    fn close_live(&mut self, door: &Arc<str>, src: IpAddr, whence: Option<Whence>, now: Time) {
        if let Some(id) = self.live(door, src) {
            self.close(id, now, whence);
        }
    }

    fn open_ended(&mut self, id: GrantId, outcome: Outcome, now: Time) {
        let Some(grant) = self.table.get_mut(&id) else {
            return;
        };
        match (outcome, grant.judging) {
            (Outcome::NotRun, _) if grant.took_over => {
                if grant.phase == Phase::Open {
                    self.close(id, now, None);
                }
            }
            (Outcome::NotRun, _) => {
                if grant.phase == Phase::Open {
                    let (door, src) = (Arc::clone(&grant.door), grant.src);
                    self.tell(now, &door, src, EventKind::Close, None);
                }
                // A close that is ordered already finds nothing to close.
                self.forget(id, now);
            }
            (Outcome::Failed, Judging::Own | Judging::Firewall) => {
                // Half of it may stand, so the close is run; but it may well have nothing to close.
                if !grant.took_over {
                    grant.tries = Some(1);
                }
                if grant.phase == Phase::Open {
                    self.close(id, now, None);
                }
            }
            (Outcome::Done, _) | (Outcome::Failed, Judging::Knockd) => {
                grant.opened = Some(now);
                self.changes.push(Change::Opened(id));
                if grant.phase == Phase::Open {
                    let opened = Told::Opened(Arc::clone(&grant.door), grant.src);
                    self.told.push_back(opened);
                }
            }
        }
    }

    fn close_failed(&mut self, id: GrantId, words: &str, now: Time) {
        let Some(grant) = self.table.get_mut(&id) else {
            return;
        };
        grant.failed = grant.failed.saturating_add(1);
        grant.words = words.chars().take(MAX_WORDS).collect();
        let since = *grant.failing_since.get_or_insert(now);
        let (door, src) = (Arc::clone(&grant.door), grant.src);
        let tries = match grant.judging {
            Judging::Knockd => Some(grant.tries.unwrap_or(TRIES_OF_KNOCKD)),
            Judging::Own | Judging::Firewall => grant.tries,
        };
        if tries.is_some_and(|tries| grant.failed >= tries) {
            return self.forget(id, now);
        }
        if grant.judging == Judging::Own && now.since(since) >= MAX_OWED_TIME {
            return self.give_up(id, now);
        }
        grant.phase = Phase::Owed;
        let doublings = grant.failed.min(16) - 1;
        let again = now.after((FIRST_RETRY * 2_u32.pow(doublings)).min(LAST_RETRY));
        if self.live(&door, src).is_none() {
            self.set_timer(id, Some(again));
        }
        let owed = self.of_pair(&door, src).into_iter().filter(|id| {
            let own = |grant: &Grant| grant.judging == Judging::Own && grant.phase == Phase::Owed;
            self.table.get(id).is_some_and(own)
        });
        let owed: Vec<_> = owed.collect();
        let surplus = owed.len().saturating_sub(MAX_OWED);
        for id in owed.into_iter().take(surplus) {
            self.give_up(id, now);
        }
        self.resume(&door, src, now);
    }

    fn give_up(&mut self, id: GrantId, now: Time) {
        if let Some(grant) = self.table.get(&id) {
            let (door, src) = (Arc::clone(&grant.door), grant.src);
            self.given_up.push_back(GivenUp {
                door: Arc::clone(&door),
                src,
                failed: grant.failed,
                words: grant.words.clone(),
            });
            if self.given_up.len() > MAX_GIVEN_UP {
                self.given_up.pop_front();
            }
            self.told.push_back(Told::GaveUp(door, src));
        }
        self.forget(id, now);
    }

    /// Drops a grant of which nothing is left to be done.
    fn forget(&mut self, id: GrantId, now: Time) {
        if let Some(grant) = self.remove(id) {
            self.changes.push(Change::Closed(id));
            self.resume(&grant.door, grant.src, now);
        }
    }

    /// Lets the closes that waited for a newer grant go on, once no grant of the pair is open.
    fn resume(&mut self, door: &Arc<str>, src: IpAddr, now: Time) {
        let waits = |grant: &Grant| grant.phase == Phase::Owed && grant.timer.is_none();
        let all = self.of_pair(door, src);
        let busy = |id: &GrantId| {
            let grant = self.table.get(id);
            grant.is_some_and(|grant| grant.phase != Phase::Owed)
        };
        if all.iter().any(busy) {
            return;
        }
        for id in all {
            if self.table.get(&id).is_some_and(waits) {
                self.set_timer(id, Some(now));
            }
        }
    }

    /// Keeps that a knock will be answered, for a detector that begins before its command does. It is put on
    /// disk when that starts.
    fn note(&mut self, knocked: &Knocked, now: Time) {
        if let Some(last) = knocked.last {
            let facts = &knocked.facts;
            self.answers.note(&facts.door, facts.src, now, last);
        }
    }

    fn answered(&mut self, door: &Arc<str>, src: IpAddr, last: Option<Last>, now: Time) {
        if let Some(last) = last {
            self.answers.note(door, src, now, last);
            self.changes.push(Change::Answered(Arc::clone(door), src));
        }
    }

    fn tell(
        &mut self,
        at: Time,
        door: &Arc<str>,
        src: IpAddr,
        kind: EventKind,
        whence: Option<Whence>,
    ) {
        self.told.push_back(Told::Event(Event {
            at,
            door: Arc::clone(door),
            src,
            kind,
            whence,
        }));
    }

    /// The open grant of a pair.
    fn live(&self, door: &Arc<str>, src: IpAddr) -> Option<GrantId> {
        let id = *self.pairs.get(&(Arc::clone(door), src))?.last()?;
        let is_open = |grant: &&Grant| grant.phase == Phase::Open;
        self.table.get(&id).filter(is_open).map(|_| id)
    }

    fn of_pair(&self, door: &Arc<str>, src: IpAddr) -> Vec<GrantId> {
        let pair = self.pairs.get(&(Arc::clone(door), src));
        pair.cloned().unwrap_or_default()
    }

    fn insert(&mut self, id: GrantId, grant: Grant) {
        let pair = (Arc::clone(&grant.door), grant.src);
        self.pairs.entry(pair).or_default().push(id);
        self.timers.extend(grant.timer.map(|at| (at, id)));
        self.table.insert(id, grant);
    }

    fn remove(&mut self, id: GrantId) -> Option<Grant> {
        self.set_timer(id, None);
        let grant = self.table.remove(&id)?;
        let pair = (Arc::clone(&grant.door), grant.src);
        if let Some(ids) = self.pairs.get_mut(&pair) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.pairs.remove(&pair);
            }
        }
        Some(grant)
    }

    fn set_timer(&mut self, id: GrantId, at: Option<Time>) {
        if let Some(grant) = self.table.get_mut(&id) {
            if let Some(before) = grant.timer {
                self.timers.remove(&(before, id));
            }
            grant.timer = at;
            self.timers.extend(at.map(|at| (at, id)));
        }
    }
}

impl Grant {
    /// A grant whose open command has just been ordered.
    fn new(
        door: Arc<str>,
        src: IpAddr,
        deadline: Time,
        close: Invocation,
        judging: Judging,
    ) -> Self {
        Self {
            door,
            src,
            deadline,
            origin: None,
            close,
            judging,
            phase: Phase::Open,
            opened: None,
            failed: 0,
            words: Box::default(),
            failing_since: None,
            tries: None,
            took_over: false,
            in_doubt: false,
            timer: Some(deadline),
        }
    }
}

/// When a grant of this knock is to be closed.
fn deadline(door: &Door, knocked: &Knocked, now: Time) -> Time {
    let deadline = now.after(door.grant.hold);
    knocked.until.map_or(deadline, |until| until.min(deadline))
}

/// Whether `door` may be opened for `src` at all.
pub fn may_open(door: &Door, src: IpAddr) -> Result<(), NotOpened> {
    if door.grant.open.of(src).is_none() {
        return Err(NotOpened::NoCommand);
    }
    if knock::is_nobody(src) {
        return Err(NotOpened::Nobody);
    }
    if !door.scope.lets_in(src) {
        return Err(NotOpened::NotAllowed);
    }
    Ok(())
}

#[cfg(test)]
#[path = "grant_test.rs"]
mod tests;

#[cfg(test)]
#[path = "model_test.rs"]
mod model_tests;
