//! The edge that acts: carries out what the engine decides.
//!
//! In: [`Action`]s, which [`Runner::submit`] takes without ever blocking. Out: [`Carried`], through one
//! callback on a thread of its own. A grant is on disk before its open command runs, and off the disk
//! before anybody hears that it is closed. No decision about doors is taken here.
//!
//! `exec` starts processes, [`run_as`] makes one somebody else's, `orphans` ends those of a run that was killed, [`ledger`] keeps the open
//! grants, `queue` says which command is next, and `dispatch` is the loop between them.

mod dispatch;
mod ended;
mod exec;
mod job;
pub mod ledger;
mod list;
mod orphans;
mod queue;
pub mod run_as;
mod spare;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::dispatch::{Dispatcher, Message};
pub use self::ended::{Ended, HEAD, How, NotStarted};
pub use self::exec::locate;
use self::job::Way;
use self::ledger::{Ledger, Trouble};
use crate::clock;
use crate::engine::action::{Action, Command, GrantId, Outcome};
use crate::engine::command::Invocation;

/// How commands are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many at a time. From two on, one place is kept for closing and one for all other commands.
    pub max_commands: usize,
    /// How long one may take before its process group is killed.
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

/// What was done, or came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// A command of a grant ended: the answer to [`Action::Open`] and [`Action::Close`], once each, for
    /// the engine's `handle_finished`.
    Finished {
        /// The grant.
        grant: GrantId,
        /// Which of its commands.
        command: Command,
        /// Whether it did what it was for.
        outcome: Outcome,
        /// How it ended, for people.
        ended: Ended,
    },
    /// The command of an [`Action::Run`] ended.
    Ran {
        /// The door.
        door: Arc<str>,
        /// Who knocked.
        src: IpAddr,
        /// How it ended.
        ended: Ended,
    },
    /// What an [`Action::Spend`] was to put on disk is not there: it could not be, and so it opens
    /// nothing before the next start either, only then it might.
    NotSpent {
        /// The door.
        door: Arc<str>,
        /// Why not.
        why: NotStarted,
    },
    /// In a dry run: this is what would be run now.
    Would(Invocation),
    /// The disk refuses, and nothing is opened until [`Carried::Recovered`].
    Degraded(Trouble),
    /// The disk has taken the grants again.
    Recovered,
}

/// Carries out actions, on threads of its own, until it is stopped or dropped.
#[derive(Debug)]
pub struct Runner {
    inbox: Sender<Message>,
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<usize>>,
}

impl Runner {
    /// Runs commands, with the open grants in `ledger`, once those that an earlier run left behind have
    /// been ended. `reports` may block: that holds up other
    /// reports and further commands, never [`submit`](Self::submit).
    pub fn start(
        options: Options,
        ledger: Ledger,
        reports: impl FnMut(Carried) + Send + 'static,
    ) -> io::Result<Self> {
        let mark = ledger.mark().map(str::to_owned);
        // Only who was killed leaves a grant, and a command that may still be at it.
        if let Some(mark) = mark.as_deref().filter(|_| !ledger.is_empty()) {
            orphans::end(mark, &ledger.users());
        }
        Self::spawn(Way::run(options.timeout, mark)?, options, ledger, reports)
    }

    /// Runs nothing and writes nothing: says what it would run, and that it succeeded.
    pub fn dry(reports: impl FnMut(Carried) + Send + 'static) -> io::Result<Self> {
        Self::spawn(Way::Dry, Options::default(), Ledger::in_memory(), reports)
    }

    fn spawn(
        way: Way,
        options: Options,
        ledger: Ledger,
        reports: impl FnMut(Carried) + Send + 'static,
    ) -> io::Result<Self> {
        let (inbox, messages) = mpsc::channel();
        let waiting = Arc::default();
        let queues = (inbox.clone(), Arc::clone(&waiting));
        let dispatcher = Dispatcher::new(way, options.max_commands, ledger, queues);
        let thread = thread::Builder::new()
            .name("runner".to_owned())
            .spawn(move || dispatcher.run(&messages, reports))?;
        Ok(Self {
            inbox,
            waiting,
            thread: Some(thread),
        })
    }

    /// Carries out `action` after all earlier ones of its address. Never blocks.
    pub fn submit(&self, action: Action) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // Only `stop` ends the other side.
        let _ = self.inbox.send(Message::Do(action));
    }

    /// How many actions are not looked at yet. The disk can hold them up.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Lets what was submitted end, `within` this time; kills the commands that still run then and
    /// starts no other. Reports go on meanwhile: they must not wait for the caller of this. Returns how many were killed or not started; they have been reported as failed,
    /// and their grants stay on disk.
    pub fn stop(mut self, within: Duration) -> usize {
        self.send_stop(within);
        let ended = self.thread.take().map(JoinHandle::join);
        ended.map_or(0, |unfinished| unfinished.unwrap_or(0))
    }

    fn send_stop(&self, within: Duration) {
        let until = clock::monotonic_now().after(within);
        let _ = self.inbox.send(Message::Stop(until));
    }
}

impl Drop for Runner {
    /// Stops at once, without waiting for it.
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.send_stop(Duration::ZERO);
        }
    }
}

#[cfg(test)]
#[path = "runner_test.rs"]
mod tests;
