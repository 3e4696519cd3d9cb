//! What the engine decides, carried out; what came of it, told to the engine.
//!
//! In: actions and events of the engine, ends of commands. Out: actions to whoever carries them out,
//! events to whoever listens: the log, the counters, the memory, the records.

use std::time::Duration;

use super::{Daemon, Rules, Stop, Told, knockd_log, report};
use crate::clock;
use crate::engine::action::{Command, GrantId, Outcome};
use crate::engine::event::{Event, EventKind};
use crate::privsep::{Heard, Tell};
use crate::protocol::Reply;
use crate::render::Row;
use crate::runner::Carried;

impl Daemon {
    /// Hands the engine's actions to the runner and its events to whoever listens.
    pub(super) fn carry_out(&mut self) {
        // The command first: whoever reads our log may be slow.
        while let Some(action) = self.engine.poll_action() {
            self.hands.submit(action);
        }
        while let Some(event) = self.engine.poll_event() {
            self.happened(&event);
            if event.kind == EventKind::Open {
                report::sequences_left(&self.engine);
            }
        }
    }

    fn happened(&mut self, event: &Event) {
        report::event(event);
        self.counts.event(event);
        let now = clock::boot_now();
        let time = clock::wall_now().before(now.since(event.at));
        self.memory.event(event, Some(time));
        let source = event
            .whence
            .and_then(|whence| self.sources.get(usize::from(whence.source)))
            .map(|source| &source.spec);
        if let Some(records) = &mut self.records {
            let doors = &self.rules.doors;
            records.knockd(event.kind, now, time, || knockd_log::lines(event, doors));
            records.event(event.kind, now, || {
                let file = source.map(ToString::to_string);
                let row = Row {
                    event,
                    time: Some(time),
                    file: file.as_deref(),
                };
                row.json().ok()
            });
        }
        (self.tell)(Told::Event(event, time, source));
    }

    /// Takes what the runner says; why to stop, if it is time to.
    pub(super) fn heard(&mut self, heard: Heard) -> Option<Stop> {
        match heard {
            Heard::Gone => return Some(Stop::Deserted),
            Heard::Rules(read) => self.reloaded(read),
            Heard::Tell(Tell::Stop(within)) => {
                self.stop_timeout = Duration::from_millis(within);
                return Some(Stop::Asked);
            }
            Heard::Tell(Tell::Finished {
                grant,
                close,
                done,
                status,
            }) => {
                let door = self.engine.door_of(GrantId(grant)).unwrap_or_default();
                self.tell_knockd(knockd_log::finished(&door, status));
                let command = if close { Command::Close } else { Command::Open };
                let outcome = if done { Outcome::Done } else { Outcome::Failed };
                self.finished(GrantId(grant), command, outcome);
            }
            Heard::Tell(Tell::Ran { door, done, status }) => {
                self.tell_knockd(knockd_log::finished(&door, status));
                if !done {
                    self.counts.failed(None);
                }
            }
            Heard::Tell(Tell::Degraded(trouble)) => self.counts.disk(Some(trouble)),
            Heard::Tell(Tell::Recovered) => self.counts.disk(None),
            Heard::Tell(_) => {}
        }
        None
    }

    /// In a dry run: what came of an action.
    pub(super) fn carried(&mut self, carried: Carried) {
        match carried {
            Carried::Finished {
                grant,
                command,
                outcome,
                ..
            } => self.finished(grant, command, outcome),
            Carried::Would(invocation) => (self.tell)(Told::Would(&invocation.argv)),
            // There is no disk, and nothing that could fail.
            Carried::Ran { .. }
            | Carried::NotSpent { .. }
            | Carried::Degraded(_)
            | Carried::Recovered => {}
        }
    }

    /// What a knockd would say at its start.
    pub(super) fn starting(&self) -> String {
        let sources: Vec<_> = self.sources.iter().map(|source| &source.spec).collect();
        knockd_log::starting(&sources)
    }

    /// Puts a line into the log in knockd's words, if there is one.
    pub(super) fn tell_knockd(&mut self, line: impl IntoIterator<Item = String>) {
        if let Some(records) = &mut self.records {
            for line in line {
                records.knockd_line(&line, clock::wall_now());
            }
        }
    }

    fn finished(&mut self, grant: GrantId, command: Command, outcome: Outcome) {
        if outcome == Outcome::Failed {
            self.counts.failed(Some(command));
        }
        self.engine
            .handle_finished(clock::boot_now(), grant, command, outcome);
    }

    /// Takes the rules that were read, or leaves everything as it is and says why.
    pub(super) fn reloaded(&mut self, read: Result<String, String>) {
        if let Some(records) = &self.records {
            records.reopen();
        }
        let rules = read.and_then(|text| self.hands.read(&text));
        let reply = match rules.map(|rules| self.take(rules)) {
            Ok(count) => {
                report::reloaded(count);
                Reply::Done { count }
            }
            Err(message) => {
                report::not_reloaded(&message);
                Reply::Failed { message }
            }
        };
        self.notify.reloaded();
        for waiting in self.awaiting.drain(..) {
            // A client that has gone does not want to know.
            drop(waiting.try_send(reply.clone()));
        }
    }

    /// Takes the rules anew. Returns how many doors there are now.
    fn take(&mut self, rules: Rules) -> usize {
        self.engine.handle_reload(rules.doors.clone());
        self.engine.set_knocker_prefix(rules.knocker_prefix);
        for (feed, source) in self.feeds.iter_mut().zip(&self.sources) {
            feed.reader = rules.reader.of(&source.spec);
            feed.timeline.set_max_age(rules.max_line_age);
        }
        let doors = rules.doors.len();
        self.rules = rules;
        doors
    }
}
