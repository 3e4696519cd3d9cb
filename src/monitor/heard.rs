//! What the detector says, one by one.
//!
//! In: messages of a process that reads what anybody may have written. Out: findings for the grants, where the door
//! is configured and lets the address in; journalctls started; answers to questions. A detector that lies can have a
//! configured door opened for an allowed address. It can close a `once` or `counts` door early, and use up sequences
//! that open once; it can do nothing else.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::{Monitor, report};
use crate::clock;
use crate::engine::door::Door;
use crate::engine::event::Occasion;
use crate::engine::finding::{Finding, Knocked};
use crate::engine::grant::may_open;
use crate::engine::one_time::{Origin, Used};
use crate::engine::time::Time;
use crate::engine::totp::{MAX_SKEW, REFUSAL};
use crate::privsep::{Broken, EndJournal, Journal, Record, ToDetector, ToMonitor, Wanted};
use crate::systemd;

/// How far a kernel's stamp may be ahead of the boot clock; one that is further is not kept.
const MAX_AHEAD: Duration = Duration::from_secs(60);
/// Between two warnings of refused findings, or of grants.
pub(super) const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// A journalctl that runs.
pub(super) struct Running {
    source: u16,
    /// Whether it shows only the latest entry.
    is_latest: bool,
    end: EndJournal,
}

impl Monitor {
    /// Takes what the detector has said; why nothing more can come from it, if nothing can.
    pub(super) fn hear(&mut self) -> Option<Broken> {
        let detector = self.detector.as_mut()?;
        if let Err(broken) = detector.flush() {
            return Some(broken);
        }
        let (heard, broken) = detector.hear();
        for message in heard {
            self.heard(message);
        }
        // It may have been given up meanwhile.
        broken.filter(|_| self.detector.is_some())
    }

    /// A finding was refused.
    fn refuse(&mut self, now: Time) {
        if let Some(count) = self.refusals.add(1, now) {
            report::refused(count);
        }
    }

    fn heard(&mut self, message: ToMonitor) {
        match message {
            ToMonitor::Following => {
                self.has_followed = true;
                self.look_at_firewall();
            }
            ToMonitor::Found(Finding::Knocked(knocked)) => self.knocked(knocked),
            ToMonitor::Found(finding) => self.found(finding),
            ToMonitor::Alive(text) => {
                systemd::alive();
                if let Some(text) = text {
                    if !std::mem::replace(&mut self.is_ready, true) {
                        systemd::ready();
                    }
                    systemd::status(&text);
                }
            }
            ToMonitor::Reloaded => self.reloaded(),
            ToMonitor::Answer { to, piece } => self.answered(to, &piece),
            ToMonitor::Journal { source, wanted } => self.start_journal(source, &wanted),
            ToMonitor::JournalEnd { source, latest } => self.end_journal(source, latest),
            ToMonitor::SourceLost(number) => {
                if let Some(source) = self.plan.sources.get(usize::from(number)) {
                    let about = vec![("SOURCE", source.clone())];
                    self.notifier.tell(Occasion::SourceLost, about);
                }
            }
            ToMonitor::ReconnectSyslog => self.reconnect_syslog(),
            // While there is more to read, nothing else may end the daemon.
            ToMonitor::Exhausted if self.plan.has_end => self.begin_end(),
            // The end of its socket follows.
            ToMonitor::Exhausted | ToMonitor::Done => {}
        }
    }

    fn knocked(&mut self, mut knocked: Knocked) {
        let now = clock::boot_now();
        let door = self.door(&knocked.facts.door);
        let Some(door) = door.filter(|door| admits(door, &knocked)) else {
            return self.refuse(now);
        };
        let facts = &mut knocked.facts;
        facts.door = Arc::clone(&door.name);
        facts.hold = door.hold(facts.src);
        if let Some(last) = &mut knocked.last {
            // It would hide knocks that are still to come.
            last.kernel = last.kernel.filter(|&kernel| kernel <= now.after(MAX_AHEAD));
        }
        // What comes from now on is left to the next start.
        if self.end.is_none() {
            self.open_or_claim(&door, knocked, now);
        }
    }

    fn found(&mut self, finding: Finding) {
        let now = clock::boot_now();
        let door = self.door(finding.door());
        let is_sound = |door: &Arc<Door>| match &finding {
            Finding::CodesFailed { until, .. } => has_come(door, *until, REFUSAL),
            _ => true,
        };
        match door.filter(is_sound) {
            Some(door) => {
                if let Finding::CodesFailed { .. } = finding {
                    let about = vec![("DOOR", door.name.to_string())];
                    self.notifier.tell(Occasion::CodesRefused, about);
                }
                self.executor.grants.handle_finding(&door, finding, now);
            }
            None => self.refuse(now),
        }
    }

    fn reconnect_syslog(&mut self) {
        let opened = self.plan.records.open();
        let syslog = opened.filter_map(|(record, file)| Some((record, file.ok()?)));
        let syslog = syslog.filter(|(record, _)| *record == Record::KnockdSyslog);
        for (record, file) in syslog.collect::<Vec<_>>() {
            self.tell(&ToDetector::Record(record), Some(file));
        }
    }

    fn start_journal(&mut self, source: u16, wanted: &Wanted) {
        let is_latest = *wanted == Wanted::Latest;
        self.running
            .retain(|other| (other.source, other.is_latest) != (source, is_latest));
        let started = if self.plan.journals.contains(&source) {
            (self.plan.journal)(wanted)
        } else {
            Err(Errno::PERM.into())
        };
        match started {
            Ok(Journal { output, end }) => {
                // No copy stays here: it ends when its only reader does.
                self.tell(&ToDetector::Journal(source), Some(output));
                self.running.push(Running {
                    source,
                    is_latest,
                    end,
                });
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
                self.tell(&ToDetector::NoJournal(source, errno), None);
            }
        }
    }

    fn end_journal(&mut self, source: u16, is_latest: bool) {
        let is_meant = |other: &Running| (other.source, other.is_latest) == (source, is_latest);
        let at = self.running.iter().position(is_meant);
        let running = at.map(|at| self.running.swap_remove(at));
        let how = running.and_then(|mut running| (running.end)());
        let how = how.map(ExitStatusExt::into_raw);
        self.tell(&ToDetector::JournalEnded(source, how), None);
    }
}

/// Whether `door` may be opened by this knock, as far as that does not depend on the log.
fn admits(door: &Door, knocked: &Knocked) -> bool {
    let (facts, scope) = (&knocked.facts, &door.scope);
    may_open(door, facts.src).is_ok()
        && facts.src == facts.src.to_canonical()
        && scope.target.is_none_or(|target| target == facts.dst)
        && scope
            .interface
            .as_deref()
            .is_none_or(|name| name == &*facts.interface)
        && match (door.rule.origin(), knocked.used) {
            (Some(Origin::Totp(_)), Some(Used::Until(until))) => has_come(door, until, 0),
            (Some(origin), Some(used)) => origin.mark(used).is_some(),
            (origin, used) => origin.is_none() && used.is_none(),
        }
}

/// Whether the time of a sequence has come, or comes within some seconds: a later one would shut the door to its
/// owner.
fn has_come(door: &Door, until: i64, seconds: i64) -> bool {
    let Some(Origin::Totp(totp)) = door.rule.origin() else {
        return false;
    };
    let ahead = i64::from(totp.step()) * (i64::from(MAX_SKEW) + 2);
    let unix = clock::wall_now().as_nanos() / 1_000_000_000;
    until <= unix.saturating_add(ahead).saturating_add(seconds)
}
