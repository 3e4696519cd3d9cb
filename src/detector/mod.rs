//! The detector's loop: sources in, detection in the middle, findings out; it never blocks on any source.
//!
//! In: a [`Plan`]. Out: messages to the monitor, until it says stop. Every decision is the engine's. The loop waits
//! for the next message or the next deadline, hands over what came (`lines`), and passes on what follows (`carry`);
//! nothing else happens here. This part of the daemon reads text of strangers, so it has no rights (`start`,
//! `confine`). The monitor, another process, holds the grants.

mod alive;
mod carry;
mod checkpoints;
mod disk_thread;
mod follow;
mod inbox;
mod knockd_log;
mod lines;
mod plan;
mod records;
mod report;
mod start;
mod status;

use std::time::Duration;

use self::alive::Alive;
use self::checkpoints::Checkpoints;
use self::follow::Followed;
use self::inbox::{Inbox, Message, Next};
pub use self::plan::{Plan, Reload, Rules, Tell};
use self::records::Records;
use self::report::{Losses, Reboots, Rejections};
use self::start::LATENESS;
pub use self::start::StartError;
use self::status::Counts;
use crate::calendar::Calendar;
use crate::clock;
use crate::confine::Confined;
use crate::dialect::Reader;
use crate::engine::detection::Detection;
use crate::engine::time::Time;
use crate::engine::timeline::Timeline;
use crate::memory::Memory;
use crate::privsep::{Link, ToMonitor};

/// Runs `plan` until the monitor or a signal stops it.
pub fn run(plan: Plan) -> Result<(), StartError> {
    let (inbox, messages) = Inbox::new();
    let mut detector = DetectorLoop::start(plan, &inbox, messages)?;
    detector.tell_knockd([detector.starting()]);
    if detector.work() == Stop::Asked {
        detector.stop();
    }
    Ok(())
}

/// How often attempts are looked at. Any local user can count our wake-ups (`/proc/PID/status`), and
/// deadlines of their own would tell a right knock from a wrong one. So every line arms this, on the
/// whole seconds of the boot clock.
const TICK: Duration = Duration::from_secs(1);

struct DetectorLoop {
    detection: Detection,
    link: Link,
    rules: Rules,
    calendar: Calendar,
    messages: Inbox,
    sources: Vec<Followed>,
    /// One for each source, in their order.
    feeds: Vec<Feed>,
    rejections: Rejections,
    losses: Losses,
    reboots: Reboots,
    reload: Reload,
    tell: Tell,
    alive: Alive,
    counts: Counts,
    /// Until when an attempt may be alive, were the last line a right knock.
    attempts_until: Time,
    /// What this process has given up.
    confined: Confined,
    memory: Memory,
    records: Option<Records>,
    /// How far files are read, where that is kept.
    checkpoints: Option<Checkpoints>,
    /// No more lines are read.
    is_stopping: bool,
}

/// How the lines of one source are taken.
struct Feed {
    reader: Reader,
    /// Whether the configuration named its source apart.
    is_own: bool,
    timeline: Timeline,
}

/// Why the loop ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The monitor said so.
    Asked,
    /// The monitor is gone.
    Deserted,
}

impl DetectorLoop {
    /// Until it is stopped.
    fn work(&mut self) -> Stop {
        loop {
            self.carry_out();
            if !self.is_stopping && self.sources.iter().all(|followed| followed.ended) {
                self.link.say(&ToMonitor::Exhausted);
                self.stop_reading();
            }
            match self.messages.wait(self.poll_timeout()) {
                Next::Due => {}
                Next::Deserted => return Stop::Deserted,
                Next::Message(Message::Source(number, report)) => self.source(number, report),
                Next::Message(Message::Heard(heard)) => {
                    if let Some(stop) = self.heard(heard) {
                        return stop;
                    }
                }
            }
            self.handle_timeout();
        }
    }

    /// When there is something to do though nothing has come.
    fn poll_timeout(&self) -> Option<Time> {
        let checkpoints = self.checkpoints.as_ref();
        let dues = [
            self.detection.attempts.poll_opening(),
            next_tick(clock::boot_now()).filter(|&tick| tick <= self.attempts_until),
            self.alive.poll_timeout(),
            checkpoints.and_then(Checkpoints::poll_timeout),
        ];
        dues.into_iter().flatten().min()
    }

    /// Notes that a line came, whatever it holds.
    fn expect_attempts(&mut self, now: Time) {
        let longest = self.detection.longest_window().saturating_add(LATENESS);
        self.attempts_until = now.after(longest.saturating_add(TICK));
    }

    /// Does what is due.
    fn handle_timeout(&mut self) {
        let now = clock::boot_now();
        self.detection.handle_timeout(now);
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.handle_timeout(now);
        }
        let status = status::in_short(&self.detection, &self.sources);
        if let Some(message) = self.alive.message(now, status) {
            self.link.say(&message);
        }
    }

    /// Reads no more lines. What comes from now on is left to the next start.
    fn stop_reading(&mut self) {
        self.is_stopping = true;
        if let Some(checkpoints) = self.checkpoints.take() {
            checkpoints.stop();
        }
        self.sources.clear();
    }

    /// Lets the records end.
    fn stop(mut self) {
        self.tell_knockd([knockd_log::STOPPING.to_owned()]);
        self.stop_reading();
        self.carry_out();
        if let Some(records) = self.records {
            records.stop();
        }
        self.link.say(&ToMonitor::Done);
    }
}

/// The first whole second after `now`.
fn next_tick(now: Time) -> Option<Time> {
    let second = now.as_nanos().div_euclid(1_000_000_000);
    second.checked_add(1).map(Time::from_secs)
}
