//! The runner: the process that may act, and that reads nothing but what the follower asks.
//!
//! In: a [`Plan`]. Out: commands run, grants on disk, until a signal says stop. It starts the follower
//! (`follower`), holds every ask of it against the configuration and what is open (`book`), and has the
//! rest carried out by [`Runner`]. It is the process that systemd and signals know. The loop never
//! waits for the follower: what is open is closed when due, with one or without.

mod asks;
mod book;
mod carried;
mod follower;
mod plan;
mod report;
mod sockets;
mod succession;
mod unattended;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use self::book::Book;
use self::follower::Follower;
pub use self::follower::Start;
pub use self::plan::{End, EndOfJournal, Journal, Kept, Plan, Rules, StartError, StartOfJournal};
use self::succession::PAUSE;
pub use self::unattended::close_due;
use crate::clock;
use crate::engine::answered::Answers;
use crate::engine::time::Time;
use crate::privsep::{Ask, Broken, Notice, Tell, pieces};
use crate::runner::ledger::{Boot, Ledger, Opened};
use crate::runner::{Carried, Runner};
use crate::signals::{self, Signal};
use crate::systemd;

/// Messages in the queue. Whoever finds it full waits: a follower that asks too much, and reports.
const ROOM: usize = 1024;
/// So many actions before the runner are enough: no more is taken from the follower. It writes and syncs so
/// many at once.
const BEHIND: usize = 1024;
/// How soon to look whether it has caught up.
const CATCH_UP: Duration = Duration::from_millis(5);
/// The wait is cut into pieces: a timer that must count suspend cannot wait on a clock that does not.
const PIECE: Duration = Duration::from_secs(1);
/// How much longer than the daemon may take to stop the follower may.
const MARGIN: Duration = Duration::from_secs(2);

/// What can happen to the runner.
#[derive(Debug)]
enum Event {
    /// The follower of this number asks.
    Asked(u32, Ask),
    /// It is gone.
    Gone(u32, Broken),
    /// A command ended, or the disk refused.
    Carried(Carried),
    /// A signal came.
    Signal(Signal),
}

/// Runs `plan` until a signal says stop.
pub fn run(plan: Plan) -> Result<End, StartError> {
    let (inbox, events) = sync_channel(ROOM);
    let mut supervisor = Supervisor::start(plan, inbox, events)?;
    let over = supervisor.work();
    let left = supervisor.stop();
    Ok(match over {
        Over::NotStarted(status) => End::NotStarted(status.and_then(|status| status.code())),
        Over::Done => End::Stopped { left },
    })
}

/// Why the work is over.
enum Over {
    /// There is nothing left of it.
    Done,
    /// The first follower has ended before it followed.
    NotStarted(Option<ExitStatus>),
}

struct Supervisor {
    book: Book,
    runner: Runner,
    inbox: SyncSender<Event>,
    events: Receiver<Event>,
    follower: Option<Follower>,
    /// Asks of it that have been taken and not answered for, as the runner is behind.
    taken: usize,
    /// The number of the follower, and when it was started.
    number: u32,
    since: Time,
    /// Whether it, or one before it, has followed.
    has_started: bool,
    pause: Duration,
    /// When it is started again.
    again: Option<Time>,
    /// What it is told first.
    text: String,
    start: Start,
    stdin: Option<OwnedFd>,
    has_end: bool,
    sockets: Vec<PathBuf>,
    journals: Vec<u16>,
    journal: StartOfJournal,
    /// By source, and whether it shows only the latest entry.
    running: Vec<((u16, bool), EndOfJournal)>,
    reload: Box<dyn FnMut() -> Result<Rules, String>>,
    alive_every: Option<Duration>,
    close_at_end: bool,
    stop_timeout: Duration,
    /// When the end has begun: the latest that it may take.
    end: Option<Time>,
    signals: signals::Handle,
}

impl Supervisor {
    fn start(
        plan: Plan,
        inbox: SyncSender<Event>,
        events: Receiver<Event>,
    ) -> Result<Self, StartError> {
        let signalled = inbox.clone();
        let signals = signals::listen(move |signal| signalled.send(Event::Signal(signal)).is_ok())?;
        // It gets on its legs while the disk is waited for, and does nothing before it is told what.
        let first = Follower::start(&plan.follower, 1, &inbox)?;
        let (ledger, saved, used, answers, last_id) = match &plan.kept {
            Kept::Nowhere => {
                let answers = Answers::default();
                (Ledger::in_memory(), Vec::new(), Vec::new(), answers, 0)
            }
            Kept::In(dir) => {
                let Opened {
                    ledger,
                    grants,
                    used,
                    answers,
                    next,
                    notice,
                } = Ledger::open(dir, &Boot::read()?).map_err(StartError::State)?;
                notice.iter().for_each(report::notice);
                (ledger, grants, used, answers, next.0.saturating_sub(1))
            }
        };
        let carried = inbox.clone();
        let runner = Runner::start(plan.commands, ledger, move |done| {
            // Nobody listens only once we have stopped.
            drop(carried.send(Event::Carried(done)));
        })?;
        report::restored(saved.len());
        let mut book = Book::new(plan.rules.doors, last_id);
        for grant in saved {
            book.restore(grant);
        }
        for (door, until) in used {
            book.restore_used(door, until);
        }
        book.restore_answers(answers);
        let mut supervisor = Self {
            book,
            runner,
            inbox,
            events,
            follower: None,
            taken: 0,
            number: 1,
            since: clock::boot_now(),
            has_started: false,
            pause: PAUSE,
            again: None,
            text: plan.rules.text,
            start: plan.follower,
            stdin: plan.stdin,
            has_end: plan.has_end,
            sockets: plan.sockets,
            journals: plan.journals,
            journal: plan.journal,
            running: Vec::new(),
            reload: plan.reload,
            alive_every: systemd::alive_every(),
            close_at_end: plan.close_at_end,
            stop_timeout: plan.stop_timeout,
            end: None,
            signals,
        };
        supervisor.welcome(first)?;
        Ok(supervisor)
    }

    /// Until all is over, but for what still runs.
    fn work(&mut self) -> Over {
        while !self.is_over() {
            self.do_what_is_due();
            match self.next() {
                Some(Event::Signal(Signal::Stop)) => self.begin_end(),
                Some(Event::Signal(Signal::Reload)) => self.reload(),
                Some(Event::Carried(carried)) => self.carried(&carried),
                Some(Event::Asked(number, Ask::Done)) if number == self.number => self.done(),
                Some(Event::Asked(number, ask)) if number == self.number => {
                    self.asked(ask);
                    self.taken += 1;
                }
                Some(Event::Gone(number, why)) if number == self.number => {
                    let gone = self.follower.take().map(Follower::end);
                    self.running.clear();
                    match gone {
                        // It said before that it was done.
                        None => {}
                        Some(how) if !self.has_started && self.end.is_none() => {
                            self.close_what_is_due();
                            return Over::NotStarted(how);
                        }
                        Some(how) => self.lost(why, how),
                    }
                }
                // Nothing, or of a follower that is no more.
                None | Some(Event::Asked(..) | Event::Gone(..)) => {}
            }
        }
        Over::Done
    }

    /// Whether nothing is left to be done, or no time to do it in.
    fn is_over(&self) -> bool {
        let Some(end) = self.end else { return false };
        let is_closed = !self.close_at_end || self.book.len() == 0;
        (self.follower.is_none() && is_closed) || clock::boot_now() >= end.after(MARGIN)
    }

    /// The next event, or none when it is time for something else.
    fn next(&self) -> Option<Event> {
        let alive = self.alive_every.filter(|_| self.follower.is_none());
        let dues = [
            self.book.poll_timeout(),
            self.again,
            self.end.map(|end| end.after(MARGIN)),
            alive.map(|every| clock::boot_now().after(every)),
        ];
        let dues = dues.into_iter().chain([self.look_again()]);
        let Some(due) = dues.flatten().min() else {
            return self.events.recv().ok();
        };
        let left = due.since(clock::boot_now());
        self.events.recv_timeout(left.min(PIECE)).ok()
    }

    /// When to look again whether the runner has caught up with what was asked.
    fn look_again(&self) -> Option<Time> {
        (self.taken > 0).then(|| clock::boot_now().after(CATCH_UP))
    }

    fn do_what_is_due(&mut self) {
        let now = clock::boot_now();
        if self.runner.waiting() < BEHIND {
            let taken = std::mem::take(&mut self.taken);
            self.follower
                .iter()
                .for_each(|follower| follower.answered(taken));
        }
        while let Some(action) = self.book.poll_action(now) {
            self.runner.submit(action);
        }
        if self.follower.is_none() {
            // Whose loop proves that we are not stuck; now it is ours.
            systemd::tell(&Notice::Alive);
        }
        if self.again.is_some_and(|again| now >= again) && self.end.is_none() {
            self.again = None;
            if let Err(error) = self.start_follower() {
                report::not_started(&error);
                self.try_again();
            }
        }
    }

    fn begin_end(&mut self) {
        if self.end.is_some() {
            return;
        }
        systemd::stopping();
        self.end = Some(clock::boot_now().after(self.stop_timeout));
        match &self.follower {
            Some(_) => self.tell(Tell::Stop(millis(self.stop_timeout)), None),
            None => self.close_all(),
        }
    }

    fn close_all(&mut self) {
        if self.close_at_end {
            self.book.close_all(clock::boot_now());
        }
    }

    fn tell(&mut self, tell: Tell, along: Option<OwnedFd>) {
        let had_room = self
            .follower
            .as_ref()
            .is_none_or(|follower| follower.tell(tell, along));
        if !had_room {
            // It does not listen: as good as gone. Its reader will say so when it is.
            self.follower.take().map(Follower::end);
            self.lost(Broken::Garbage, None);
        }
    }

    /// Reads the configuration again. The doors are taken at once, and the follower says when it has.
    fn reload(&mut self) {
        systemd::reloading();
        match (self.reload)() {
            Ok(Rules { doors, text }) => {
                self.book.replace_doors(doors);
                for piece in pieces(&text) {
                    self.tell(piece, None);
                }
                self.text = text;
            }
            Err(why) => self.tell(Tell::not_reloaded(why), None),
        }
        if self.follower.is_none() {
            systemd::tell(&Notice::Reloaded);
        }
    }

    /// Lets commands end, for as long as there is time.
    fn stop(self) -> usize {
        let now = clock::boot_now();
        let left = if self.close_at_end && self.has_started {
            self.book.len()
        } else {
            0
        };
        drop(self.follower);
        if self.has_started {
            sockets::remove(&self.sockets);
        }
        // Reports that still come have no reader: let go of the queue, so that nobody waits in it.
        drop(self.events);
        self.runner
            .stop(self.end.map_or(Duration::ZERO, |end| end.since(now)));
        self.signals.close();
        if self.has_started {
            report::stopped(left);
        }
        left
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
