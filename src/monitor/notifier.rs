//! `[notify]`: runs the administrator's command for events.
//!
//! In: occasions. Out: one command at a time with the occasion in its environment; nothing waits for it, and nothing
//! secret is in it. Messages beyond [`MAX_A_MINUTE`] or [`MAX_WAITING`] are only counted, and the next command gets
//! their number. A command that fails is reported once until one succeeds.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use super::command::Command;
use super::ended::{Ended, How};
use super::report;
use super::session::Sessions;
use crate::clock;
use crate::engine::account::Account;
use crate::engine::command::Invocation;
use crate::engine::event::Occasion;
use crate::engine::grant::Outcome;
use crate::engine::time::Time;

/// Occasions that wait for their turn.
const MAX_WAITING: usize = 32;
/// Commands that start within a [`MINUTE`].
const MAX_A_MINUTE: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// The command, and the events that it is run for.
#[derive(Clone, PartialEq, Eq)]
pub struct Notify {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The user that runs it; the daemon's own if there is none.
    pub account: Option<Arc<Account>>,
    /// Its environment.
    pub on: Vec<Occasion>,
    /// How long it may take.
    pub timeout: Duration,
}

/// What an occasion is about: names of variables, without `LOGKNOCK_`, and their values.
pub(super) type About = Vec<(&'static str, String)>;

/// Occasions that wait, and the command that runs.
#[derive(Default)]
pub(super) struct Notifier {
    notify: Option<Notify>,
    waiting: VecDeque<(Occasion, About)>,
    /// Occasions that were only counted.
    missed: u64,
    running: Option<Command>,
    /// A command that survived even SIGKILL; no other starts meanwhile.
    undead: Option<Child>,
    /// When the minute began, on the monotonic clock, and how many commands have started in it.
    minute: Time,
    started: u32,
    is_failing: bool,
}

impl Notifier {
    /// Tells as `told` says from now on.
    pub(super) fn set(&mut self, told: Option<Notify>) {
        self.notify = told;
    }

    /// Has the administrator told.
    pub(super) fn tell(&mut self, occasion: Occasion, about: About) {
        let is_wanted = |notify: &Notify| notify.on.contains(&occasion);
        if !self.notify.as_ref().is_some_and(is_wanted) {
            return;
        }
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back((occasion, about));
        } else {
            self.missed += 1;
        }
    }

    /// Does what is to be done now. Calling it early or often does nothing.
    pub(super) fn turn(&mut self) {
        if let Some(child) = &mut self.undead
            && !matches!(child.try_wait(), Ok(None))
        {
            self.undead = None;
        }
        if let Some(how) = self.running.as_mut().and_then(Command::advance)
            && let Some(command) = self.running.take()
        {
            let (ended, undead) = command.end(how);
            self.undead = undead;
            self.ended(&ended);
        }
        let now = clock::monotonic_now();
        if now >= self.minute.after(MINUTE) {
            (self.minute, self.started) = (now, 0);
        }
        while self.may_start()
            && let Some((occasion, about)) = self.waiting.pop_front()
        {
            self.started += 1;
            self.start(occasion, about, now);
        }
    }

    /// When [`Self::turn`] has something to do though nothing has become readable, on the boot clock.
    pub(super) fn due(&self) -> Option<Time> {
        let running = self.running.as_ref().map(Command::due);
        let waits = running.is_none() && !self.waiting.is_empty();
        let due = running.or_else(|| waits.then(|| self.minute.after(MINUTE)))?;
        Some(clock::boot_now().after(due.since(clock::monotonic_now())))
    }

    /// What becomes readable when [`Self::turn`] has something to do.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.running.iter().flat_map(Command::descriptors)
    }

    /// Whether nothing runs, and nothing may start.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none() && (self.waiting.is_empty() || !self.may_start())
    }

    /// Ends what runs and drops what waits.
    pub(super) fn cut_short(&mut self) {
        self.waiting.clear();
        if let Some(running) = &mut self.running {
            running.stop();
        }
    }

    fn may_start(&self) -> bool {
        self.running.is_none() && self.undead.is_none() && self.started < MAX_A_MINUTE
    }

    fn start(&mut self, occasion: Occasion, about: About, now: Time) {
        let Some(notify) = &self.notify else {
            return; // it was taken out of the configuration
        };
        let missed = std::mem::take(&mut self.missed);
        let invocation = Invocation {
            argv: notify.argv.clone(),
            env: environment(occasion, about, missed),
            account: notify.account.clone(),
        };
        match Command::start(
            &invocation,
            now.after(notify.timeout),
            &mut Sessions::default(),
        ) {
            Ok(command) => self.running = Some(command),
            Err(why) => self.ended(&Ended::not_started(Some(&invocation), why)),
        }
    }

    fn ended(&mut self, ended: &Ended) {
        let is_failing = !matches!(ended.outcome(), Outcome::Done) && ended.how != How::Stopped;
        if is_failing && !self.is_failing {
            report::not_notified(ended);
        }
        self.is_failing = is_failing;
    }
}

/// The variables of an occasion.
fn environment(occasion: Occasion, about: About, missed: u64) -> Vec<(String, String)> {
    let (word, sentence) = occasion.texts();
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let mut message = format!("logknock on {host}: {sentence}");
    for (name, value) in &about {
        message = format!("{message}; {} {value}", name.to_lowercase());
    }
    if missed > 0 {
        message = format!("{message}; {missed} more were left out");
    }
    let more = [
        ("EVENT", word.to_owned()),
        ("HOST", host.into_owned()),
        ("MISSED", missed.to_string()),
        // One line: it may become the subject of a mail.
        ("MESSAGE", message.replace(char::is_control, " ")),
    ];
    let variables = about.into_iter().chain(more);
    let name = |(name, value)| (format!("LOGKNOCK_{name}"), value);
    variables.map(name).collect()
}

#[cfg(test)]
#[path = "notifier_test.rs"]
mod tests;
