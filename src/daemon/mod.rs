//! The daemon's loop: sources in, engine in the middle, actions out; it never blocks on any of them.
//!
//! In: a [`Plan`]. Out: what the runner is asked to do, until it says stop. Every decision is the
//! engine's. The loop waits for the next message or the next deadline, hands over what came (`lines`),
//! and has carried out what follows (`carry`, `hands`); nothing else happens here. It is the part of
//! the daemon that reads what anybody may have written, so it has no rights (`start`, `confine`): the
//! commands are the runner's, which is another process (`supervisor`). In a dry run there is none.

mod carry;
mod checkpoints;
mod control;
mod follow;
mod hands;
mod inbox;
mod knockd_log;
mod lines;
mod notices;
mod plan;
mod records;
mod report;
mod requests;
mod start;
mod status;

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use self::checkpoints::Checkpoints;
use self::control::Control;
pub use self::control::Socket;
use self::follow::Followed;
use self::hands::Hands;
use self::inbox::{Inbox, Message, Next};
use self::notices::Notify;
pub use self::plan::{Office, OnExit, Plan, Reload, Rules, Told};
pub use self::records::Files;
use self::records::Records;
use self::report::{Losses, Reboots, Rejections};
use self::start::LATENESS;
pub use self::start::StartError;
use self::status::Counts;
use crate::calendar::Calendar;
use crate::clock;
use crate::confine::Confined;
use crate::dialect::Reader;
use crate::engine::Engine;
use crate::engine::time::Time;
use crate::engine::timeline::Timeline;
use crate::memory::Memory;
use crate::metrics;
use crate::protocol::Reply;
use crate::signals::{self, Signal};

/// Runs `plan` until it is told to stop. Returns how many doors were left open though they were to be
/// closed.
pub fn run(plan: Plan) -> Result<usize, StartError> {
    let (inbox, messages) = Inbox::new();
    let mut daemon = Daemon::start(plan, &inbox, messages)?;
    daemon.tell_knockd([daemon.starting()]);
    Ok(match daemon.work() {
        Stop::Asked => daemon.stop(),
        // Whoever would close a door is gone, and what it left on disk is for the next one.
        Stop::Deserted => 0,
    })
}

/// How often attempts are looked at. Any local user can count our wake-ups (`/proc/PID/status`), and
/// deadlines of their own would tell a right knock from a wrong one. So every line arms this, on the
/// whole seconds of the boot clock.
const TICK: Duration = Duration::from_secs(1);

struct Daemon {
    engine: Engine,
    rules: Rules,
    calendar: Calendar,
    hands: Hands,
    messages: Inbox,
    sources: Vec<Followed>,
    /// One for each source, in their order.
    feeds: Vec<Feed>,
    on_exit: OnExit,
    stop_timeout: Duration,
    rejections: Rejections,
    losses: Losses,
    reboots: Reboots,
    tell: Box<dyn FnMut(Told<'_>)>,
    notify: Notify,
    counts: Counts,
    /// Until when an attempt may be alive, were the last line a right knock.
    attempts_until: Time,
    /// What this process has given up; nothing in a dry run.
    confined: Option<Confined>,
    /// How often this process has been started before.
    restarts: u32,
    memory: Memory,
    records: Option<Records>,
    /// How far files are read, where that is kept.
    checkpoints: Option<Checkpoints>,
    control: Option<Control>,
    /// Clients that wait for a reload.
    awaiting: Vec<SyncSender<Reply>>,
    signals: Option<signals::Handle>,
}

/// How the lines of one source are taken.
struct Feed {
    reader: Reader,
    timeline: Timeline,
}

/// Why the loop ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// A signal said so, or every source has come to its end.
    Asked,
    /// The runner is gone.
    Deserted,
}

impl Daemon {
    /// Until it is told to stop, or every source has come to its end.
    fn work(&mut self) -> Stop {
        while !self.sources.iter().all(|followed| followed.ended) {
            self.carry_out();
            match self.messages.wait(self.poll_timeout()) {
                Next::Due => {}
                Next::Message(Message::Signal(Signal::Stop)) => return Stop::Asked,
                Next::Deserted => return Stop::Deserted,
                Next::Message(Message::Signal(Signal::Reload)) => self.reloaded(Ok(String::new())),
                Next::Message(Message::Source(report)) => self.source(report),
                Next::Message(Message::Carried(carried)) => self.carried(carried),
                Next::Message(Message::Heard(heard)) => {
                    if let Some(stop) = self.heard(heard) {
                        return stop;
                    }
                }
                Next::Message(Message::Request(request, reply)) => self.asked(request, reply),
            }
            self.handle_timeout();
        }
        Stop::Asked
    }

    /// When there is something to do though nothing has come.
    fn poll_timeout(&self) -> Option<Time> {
        let records = self.records.as_ref().and_then(Records::poll_timeout);
        let dues = [
            self.engine.poll_grants(),
            next_tick(clock::boot_now()).filter(|&tick| tick <= self.attempts_until),
            self.notify.poll_timeout(),
            records,
            self.checkpoints
                .as_ref()
                .and_then(Checkpoints::poll_timeout),
        ];
        dues.into_iter().flatten().min()
    }

    /// Notes that a line came, whatever it holds.
    fn expect_attempts(&mut self, now: Time) {
        let longest = self.engine.longest_window().saturating_add(LATENESS);
        self.attempts_until = now.after(longest.saturating_add(TICK));
    }

    /// Does what is due.
    fn handle_timeout(&mut self) {
        let now = clock::boot_now();
        self.engine.handle_timeout(now);
        self.notify.handle_timeout(now);
        let metrics = || metrics::render(&self.counts.status(&self.engine, &self.sources, now));
        if let Some(records) = &mut self.records {
            records.handle_timeout(now, metrics);
        }
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.handle_timeout(now);
        }
        if let Some(status) = status::in_short(&self.engine, &self.sources) {
            self.notify.ready();
            self.notify.status(status);
        }
    }

    /// Closes what is to be closed and waits for it, then for whoever carries it out.
    fn stop(mut self) -> usize {
        self.tell_knockd([knockd_log::STOPPING.to_owned()]);
        report::stopping(self.engine.grants());
        let end = clock::boot_now().after(self.stop_timeout);
        // What comes from now on is not looked at, so it is left to the next start.
        if let Some(checkpoints) = self.checkpoints.take() {
            checkpoints.stop();
        }
        self.control = None;
        self.sources.clear();
        if self.on_exit == OnExit::Close {
            self.engine.handle_close_all(clock::boot_now(), None);
        }
        while self.on_exit == OnExit::Close && self.engine.grants() > 0 {
            self.carry_out();
            let due = [self.engine.poll_timeout(), self.notify.poll_timeout()];
            let due = due.into_iter().flatten().fold(end, Time::min);
            match self.messages.wait(Some(due)) {
                Next::Due if clock::boot_now() >= end => break,
                Next::Due => {
                    self.engine.handle_timeout(clock::boot_now());
                    self.notify.handle_timeout(clock::boot_now());
                }
                Next::Message(Message::Carried(carried)) => self.carried(carried),
                Next::Message(Message::Heard(heard)) => {
                    if self.heard(heard) == Some(Stop::Deserted) {
                        return 0;
                    }
                }
                Next::Message(_) => {}
                Next::Deserted => break,
            }
        }
        self.carry_out();
        let left = if self.on_exit == OnExit::Close {
            self.engine.grants()
        } else {
            0
        };
        let status = self.status();
        // Reports that still come have no reader: let go of the queue, so that nobody waits in it.
        drop(self.messages);
        self.hands.stop(end.since(clock::boot_now()));
        if let Some(records) = self.records {
            records.stop(|| metrics::render(&status));
        }
        if let Some(signals) = self.signals {
            signals.close();
        }
        if self.confined.is_none() {
            report::stopped();
        }
        left
    }
}

/// The first whole second after `now`.
fn next_tick(now: Time) -> Option<Time> {
    let second = now.as_nanos().div_euclid(1_000_000_000);
    second.checked_add(1).map(Time::from_secs)
}
