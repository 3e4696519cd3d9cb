//! The firewall's rules, looked at again and again while the daemon runs.
//!
//! In: time, and the configuration as the detector has it. Out: what the doors need and the rules lack, reported when
//! it changes. A look is a child: this program again, under another name. It asks the firewall's own tools, loads the
//! rules again where it may, and says one line. Nothing here waits for it.
#![expect(
    clippy::disallowed_types,
    reason = "a look is a process of its own, which reads the configuration from memory"
)]

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeReader, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};

use super::detector::Start;
use super::report;
use crate::child::Owned;
use crate::engine::time::Time;
use crate::protocol::FirewallStatus;

/// Between two looks: with the time that a look takes, a flush is reported within a minute.
const INTERVAL: Duration = Duration::from_secs(50);
/// How long one may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer.
const MAX_ANSWER: usize = 64 * 1024;
/// How often the rules are loaded again within a span; after that, the flush is taken to be intended.
const MAX_HEALS: usize = 3;
const HEALS_WITHIN: Duration = Duration::from_secs(3600);

/// The looks.
pub(super) struct Firewall {
    start: Start,
    looking: Option<Looking>,
    due: Option<Time>,
    last: Option<(FirewallStatus, Time)>,
    heals: VecDeque<Time>,
}

/// A look that is under way.
struct Looking {
    child: Owned,
    /// Of its own process group.
    leader: Pid,
    answers: PipeReader,
    answer: Vec<u8>,
    until: Time,
}

impl Firewall {
    pub(super) fn new(start: Start) -> Self {
        Self {
            start,
            looking: None,
            due: None,
            last: None,
            heals: VecDeque::new(),
        }
    }

    /// Looks at the next turn, and in intervals from then on.
    pub(super) fn look_at(&mut self, now: Time) {
        self.due = Some(now);
    }

    /// The configuration needs no rules.
    pub(super) fn rest(&mut self) {
        (self.due, self.last) = (None, None);
    }

    /// What becomes readable when there is something to do.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.looking.as_ref().map(|looking| looking.answers.as_fd())
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Time> {
        let until = self.looking.as_ref().map(|looking| looking.until);
        until.or(self.due)
    }

    /// What was seen last.
    pub(super) fn status(&self, now: Time) -> Option<FirewallStatus> {
        let (status, at) = self.last.as_ref()?;
        Some(FirewallStatus {
            looked_seconds: now.since(*at).as_secs(),
            ..status.clone()
        })
    }

    /// Does what is to be done now; `text` is the configuration. Whether somebody has taken away what was there.
    pub(super) fn turn(&mut self, now: Time, text: &str) -> bool {
        let mut is_flushed = false;
        if let Some(looking) = &mut self.looking {
            let answer = match looking.read() {
                Ok(true) => parse(&looking.answer),
                Ok(false) if now < looking.until => return false,
                Ok(false) | Err(_) => None,
            };
            if answer.is_none() {
                let _ = kill_process_group(looking.leader, Signal::KILL);
            }
            if let Some(mut looking) = self.looking.take() {
                looking.child.end(Duration::ZERO);
            }
            let unknown = || FirewallStatus::unknown("the look at the rules has failed");
            is_flushed = self.saw(answer.unwrap_or_else(unknown), now);
        }
        if self.due.is_some_and(|due| now >= due) {
            self.due = Some(now.after(INTERVAL));
            let may_heal = self.may_heal(now);
            match Looking::start(self.start.command(), text, may_heal, now) {
                Ok(looking) => self.looking = Some(looking),
                Err(error) => drop(self.saw(FirewallStatus::unknown(&error.to_string()), now)),
            }
        }
        is_flushed
    }

    fn saw(&mut self, status: FirewallStatus, now: Time) -> bool {
        let is_tried = status.healed || status.not_healed.is_some();
        if is_tried && self.may_heal(now) {
            self.heals.push_back(now);
        }
        let was_well = self.last.as_ref().is_some_and(|(last, _)| last.is_well());
        let is_flushed = status.healed || was_well && !status.faults.is_empty();
        let is_new = self.last.as_ref().is_none_or(|(last, _)| *last != status);
        if is_new || status.healed {
            report::firewall(&status);
        }
        self.last = Some((status, now));
        is_flushed
    }

    /// Whether it has not been tried too often already.
    fn may_heal(&mut self, now: Time) -> bool {
        while self
            .heals
            .front()
            .is_some_and(|first| now.since(*first) > HEALS_WITHIN)
        {
            self.heals.pop_front();
        }
        self.heals.len() < MAX_HEALS
    }
}

impl Looking {
    fn start(mut command: Command, text: &str, may_heal: bool, now: Time) -> io::Result<Self> {
        // A file in memory never makes the writer wait.
        let mut asked = File::from(memfd_create("logknock", MemfdFlags::CLOEXEC)?);
        write!(asked, "[{may_heal},{text}]")?;
        asked.rewind()?;
        let (answers, writer) = io::pipe()?;
        fcntl_setfl(&answers, OFlags::NONBLOCK)?;
        let child = command
            .process_group(0)
            .stdin(asked)
            .stdout(writer)
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            leader: Pid::from_child(&child),
            child: Owned::new(child),
            answers,
            answer: Vec::new(),
            until: now.after(LOOK_TIMEOUT),
        })
    }

    /// Reads what is there; whether that is all.
    fn read(&mut self) -> io::Result<bool> {
        let mut piece = [0; 4096];
        while self.answer.len() <= MAX_ANSWER {
            match self.answers.read(&mut piece) {
                Ok(0) => return Ok(true),
                Ok(length) => self.answer.extend(piece.iter().take(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }
}

fn parse(answer: &[u8]) -> Option<FirewallStatus> {
    serde_json::from_slice(answer).ok()
}

#[cfg(test)]
#[path = "firewall_test.rs"]
mod tests;
