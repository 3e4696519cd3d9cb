//! Carries out orders: changes on disk first, then commands, up to the number of places at a time.
//!
//! In: the orders of [`Grants`], which live here. Out: what came of them, as [`Report`]s. A grant is on disk before
//! its open command runs, and off the disk before the next command of its address starts. All changes of one turn of
//! the loop share a single sync. Nothing here waits but for the disk. In a dry run every command succeeds at once, and
//! none is run.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::geteuid;

use super::command::{self, Command};
use super::ended::{Ended, How, NotStarted};
use super::ledger::{Ledger, Trouble};
use super::nftables::Nftables;
use super::queue::{Lane, Queue};
use super::session::Sessions;
use super::{list, orphans};
use crate::clock;
use crate::engine::command::Invocation;
use crate::engine::grant::{GrantId, Grants, Order, Outcome, Phase, Task};
use crate::engine::time::Time;
use crate::firewall::netlink::{Batch, Verdict};

/// No more commands than this wait to open: further ones fail. Closes are never refused; there are no
/// more of them than grants.
const MAX_WAITING: usize = 16 * 1024;

/// Gets the words of each command that a dry run would run.
pub type DryRun = Box<dyn FnMut(&[String])>;

/// How commands are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many at a time. From two on, one place is kept for closing and one for all other commands.
    pub max_commands: usize,
    /// How long one may take before its session is killed.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_commands: 8,
            timeout: Duration::from_secs(10),
        }
    }
}

/// What came of an order, or of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// A command ended, or was not run.
    Ended {
        /// What it was for.
        task: Task,
        /// Its door.
        door: Arc<str>,
        /// Whose it was.
        src: IpAddr,
        /// How.
        ended: Ended,
    },
    /// The disk refuses, and nothing is opened until [`Report::Recovered`].
    Degraded(Trouble),
    /// The disk has taken the grants again.
    Recovered,
}

/// A command that runs, and what it is for.
struct Running {
    command: Command,
    task: Task,
    src: IpAddr,
    door: Arc<str>,
}

/// The grants, their ledger and the commands that run for them.
pub(super) struct Executor {
    pub(super) grants: Grants,
    /// None where a crash may leave doors open.
    ledger: Option<Ledger>,
    options: Options,
    queue: Queue<Order>,
    running: Vec<Running>,
    nftables: Nftables,
    sessions: Sessions,
    /// Children that even SIGKILL has not ended yet.
    undead: Vec<Child>,
    reports: Vec<Report>,
    /// What was last reported of the disk.
    pub(super) trouble: Option<Trouble>,
    /// Commands that were not let end, once we stop.
    unfinished: usize,
    dry_run: Option<DryRun>,
}

impl Executor {
    /// An executor that continues with `grants`, after commands of an earlier run have been ended.
    pub(super) fn new(
        options: Options,
        ledger: Option<Ledger>,
        grants: Grants,
        dry_run: Option<DryRun>,
    ) -> std::io::Result<Self> {
        command::hear_of_children()?;
        let mark = ledger.as_ref().and_then(Ledger::mark).map(str::to_owned);
        // Only a run that was killed leaves a grant, and a command that may still be at it.
        if let Some(mark) = mark.as_deref().filter(|_| !grants.is_empty()) {
            orphans::end(mark, &users(&grants));
        }
        Ok(Self {
            grants,
            ledger,
            options,
            queue: Queue::new(options.max_commands),
            running: Vec::new(),
            nftables: Nftables::default(),
            sessions: Sessions::new(mark),
            undead: Vec::new(),
            reports: Vec::new(),
            trouble: None,
            unfinished: 0,
            dry_run,
        })
    }

    /// Does what is to be done now, and returns what came of it. Calling it early or often does nothing.
    pub(super) fn turn(&mut self, now: Time) -> Vec<Report> {
        self.reap(now);
        self.grants.handle_timeout(now);
        // What is refused or cannot be started leads to more.
        while self.commit(now) {}
        std::mem::take(&mut self.reports)
    }

    /// When [`Self::turn`] has something to do though nothing has become readable, on the boot clock.
    pub(super) fn due(&self) -> Option<Time> {
        let monotonic = self.running.iter().map(|running| running.command.due());
        let monotonic = monotonic
            .chain(self.ledger.as_ref().and_then(Ledger::retry_at))
            .min();
        let monotonic = monotonic.map(|due| due.since(clock::monotonic_now()));
        let due = monotonic.map(|left| clock::boot_now().after(left));
        due.into_iter().chain(self.grants.poll_timeout()).min()
    }

    /// What becomes readable when [`Self::turn`] has something to do.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let running = self.running.iter();
        running.flat_map(|running| running.command.descriptors())
    }

    /// Whether nothing waits and nothing runs.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_idle()
    }

    /// Ends what runs and drops what waits. The grants stay on disk.
    pub(super) fn cut_short(&mut self) {
        for running in &mut self.running {
            running.command.stop();
        }
        self.unfinished += self.queue.clear().len();
    }

    /// Puts on disk what can be, and returns how many commands were not let end.
    pub(super) fn finish(mut self) -> usize {
        if let Some(ledger) = &mut self.ledger {
            ledger.retry_now();
            let changes = self.grants.take_changes();
            // What the disk refuses is closed once more by the next start.
            let _ = ledger.commit(&self.grants, &changes);
        }
        self.unfinished
    }

    /// Takes the ends of commands.
    fn reap(&mut self, now: Time) {
        self.undead
            .retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        let mut at = 0;
        while let Some(running) = self.running.get_mut(at) {
            let Some(how) = running.command.advance() else {
                at += 1;
                continue;
            };
            let Running {
                command,
                task,
                src,
                door,
            } = self.running.swap_remove(at);
            let (ended, undead) = command.end(how);
            self.undead.extend(undead);
            self.queue.ended(src, lane(&task), &door);
            self.unfinished += usize::from(how == How::Stopped);
            self.ended(task, door, src, ended, now);
            // Where one command ran the next will; beside one that runs it would only be in its way.
            if self.running.is_empty() && self.queue.is_idle() {
                self.sessions.prepare();
            }
        }
    }

    /// Puts changes on disk and starts what may run then. Whether there was anything to do.
    fn commit(&mut self, now: Time) -> bool {
        let saved = self.save();
        let mut did = false;
        while let Some(order) = self.grants.poll_order() {
            did = true;
            self.take(order, saved, now);
        }
        let mut ready = Vec::new();
        while let Some((src, door, order)) = self.queue.start() {
            self.grants
                .handle_started(&order.task, src, order.last, now);
            ready.push((src, door, order));
        }
        // Not before: a command that was only waiting when all was killed has not run, and its knock is read again.
        self.save();
        for (src, door, order) in ready {
            did = true;
            self.start(src, door, order, now);
        }
        did
    }

    /// Whether all changes are on disk.
    fn save(&mut self) -> bool {
        let changes = self.grants.take_changes();
        let Some(ledger) = &mut self.ledger else {
            return true;
        };
        let saved = ledger.commit(&self.grants, &changes).is_ok();
        let trouble = ledger.trouble;
        if trouble.is_some() != self.trouble.is_some() {
            let report = trouble.map_or(Report::Recovered, Report::Degraded);
            self.reports.push(report);
            self.trouble = trouble;
        }
        saved
    }

    /// Puts an order in the queue, unless it cannot be carried out.
    fn take(&mut self, order: Order, saved: bool, now: Time) {
        let Some(door) = self.door_of(&order.task) else {
            return;
        };
        let lane = lane(&order.task);
        let refused = if order.awaits_disk && !saved {
            Some(NotStarted::Ledger)
        } else if lane == Lane::Open && self.queue.opens() >= MAX_WAITING {
            Some(NotStarted::Crowded)
        } else if self.dry_run.is_some() {
            None
        } else {
            mark(&order).err()
        };
        match (refused, &order.task) {
            (Some(why), _) => {
                let ended = Ended::not_started(order.invocation.as_ref(), why);
                self.ended(order.task, door, order.src, ended, now);
            }
            // That was all of it.
            (None, Task::Mark(_)) => {}
            (None, _) => self.queue.push(order.src, lane, &door, order),
        }
    }

    fn start(&mut self, src: IpAddr, door: Arc<str>, order: Order, now: Time) {
        let Order {
            task,
            invocation,
            expires,
            ..
        } = order;
        let grant = |id: &GrantId| self.grants.get(*id);
        let invocation = match &task {
            Task::Close(id) => grant(id).map(|grant| grant.close.clone()),
            // Its time may have ended while it waited.
            Task::Open(id) => {
                invocation.filter(|_| grant(id).is_some_and(|grant| grant.phase == Phase::Open))
            }
            Task::Run(_) | Task::Mark(_) => {
                invocation.filter(|_| expires.is_none_or(|expires| now < expires))
            }
        };
        let mut done = |invocation: &Invocation| match &mut self.dry_run {
            Some(tell) => {
                tell(&invocation.argv);
                Some(Verdict::Done)
            }
            None => self.nftables.run(&Batch::of(&invocation.argv)?),
        };
        if let Some(invocation) = &invocation
            && let Some(verdict) = done(invocation)
        {
            self.queue.ended(src, lane(&task), &door);
            let ended = Ended::by_kernel(invocation, verdict);
            return self.ended(task, door, src, ended, now);
        }
        let started = invocation.as_ref().ok_or(NotStarted::Expired);
        let started = started.and_then(|invocation| {
            let deadline = clock::monotonic_now().after(self.options.timeout);
            Command::start(invocation, deadline, &mut self.sessions)
        });
        match started {
            Ok(command) => self.running.push(Running {
                command,
                task,
                src,
                door,
            }),
            Err(why) => {
                self.queue.ended(src, lane(&task), &door);
                let ended = Ended::not_started(invocation.as_ref(), why);
                self.ended(task, door, src, ended, now);
            }
        }
    }

    fn ended(&mut self, task: Task, door: Arc<str>, src: IpAddr, ended: Ended, now: Time) {
        let is_left = match (&task, ended.how) {
            // What we have not let end is on disk, for the next start.
            (_, How::Stopped) => true,
            // A close for a door that is no longer open.
            (Task::Close(id), How::NotStarted(NotStarted::Expired)) => {
                self.grants.get(*id).is_none()
            }
            _ => false,
        };
        if is_left {
            return;
        }
        let outcome = match (&task, ended.outcome()) {
            (Task::Close(_), Outcome::NotRun) => Outcome::Failed,
            (_, outcome) => outcome,
        };
        let words = match outcome {
            Outcome::Failed => ended.last_words(),
            Outcome::Done | Outcome::NotRun => String::new(),
        };
        self.grants.handle_finished(&task, outcome, &words, now);
        self.reports.push(Report::Ended {
            task,
            door,
            src,
            ended,
        });
    }

    fn door_of(&self, task: &Task) -> Option<Arc<str>> {
        match task {
            Task::Open(id) | Task::Close(id) => {
                self.grants.get(*id).map(|grant| Arc::clone(&grant.door))
            }
            Task::Run(door) | Task::Mark(door) => Some(Arc::clone(door)),
        }
    }
}

fn lane(task: &Task) -> Lane {
    match task {
        Task::Close(_) => Lane::Close,
        Task::Open(_) | Task::Run(_) | Task::Mark(_) => Lane::Open,
    }
}

/// Marks the line of a list that an order uses.
fn mark(order: &Order) -> Result<(), NotStarted> {
    let mark = order.mark.as_ref();
    mark.map_or(Ok(()), |mark| {
        list::mark(&mark.file, mark.number, &mark.text)
    })
}

/// The users, by number, whose processes the commands of open grants are.
fn users(grants: &Grants) -> BTreeSet<u32> {
    let accounts = grants
        .iter()
        .filter_map(|(_, grant)| grant.close.account.as_ref());
    let users = accounts.map(|account| account.uid);
    users.chain([geteuid().as_raw()]).collect()
}

#[cfg(test)]
#[path = "executor_test.rs"]
mod tests;
