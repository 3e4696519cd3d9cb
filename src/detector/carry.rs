//! Passes on findings, and reports their outcome.
//!
//! In: findings and events of the engine, messages of the monitor. Out: findings to the monitor,
//! events to the listeners: the log, the counters, the memory, the records.

use std::os::fd::OwnedFd;

use super::{DetectorLoop, Rules, Stop, knockd_log, report};
use crate::clock;
use crate::engine::event::{Event, EventKind};
use crate::engine::finding;
use crate::memory::{self, Memory};
use crate::privsep::{Heard, Question, ToDetector, ToMonitor, pieces};
use crate::render::Row;

impl DetectorLoop {
    /// Sends findings to the monitor, and events to their listeners.
    pub(super) fn carry_out(&mut self) {
        // The findings first: the reader of our log may be slow.
        while let Some(finding) = self.detection.poll_finding() {
            self.link.say(&ToMonitor::Found(finding));
        }
        while let Some(event) = self.detection.poll_event() {
            self.happened(&event);
            if event.kind == EventKind::Open {
                report::sequences_left(&self.detection);
            }
        }
    }

    fn happened(&mut self, event: &Event) {
        report::event(event);
        self.counts.event(event);
        let now = clock::boot_now();
        let time = clock::wall_now().before(now.since(event.at));
        self.memory.event(event);
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
        (self.tell)(event, time, source);
    }

    /// Takes what the monitor says; why to stop, if it is time to.
    pub(super) fn heard(&mut self, heard: Heard) -> Option<Stop> {
        match heard {
            Heard::Gone => return Some(Stop::Deserted),
            Heard::Rules(text) => self.reload(&text),
            Heard::Message(ToDetector::Stop, _) => self.stop_reading(),
            Heard::Message(ToDetector::End, _) => return Some(Stop::Asked),
            Heard::Message(message, along) => self.told(message, along),
        }
        None
    }

    fn told(&mut self, message: ToDetector, along: Option<OwnedFd>) {
        let now = clock::boot_now();
        match message {
            ToDetector::Told(told) => {
                self.detection.handle_told(&told, now);
                if let finding::Told::Event(event) = told {
                    self.detection.tell(event);
                }
            }
            ToDetector::Ended(door, status) => {
                self.tell_knockd(knockd_log::finished(&door, status));
            }
            ToDetector::Record(record) => self.record(record, along),
            ToDetector::Ask(number, question) => self.answer(number, question),
            // The rest is said at the start, or is for the journals.
            _ => {}
        }
    }

    fn answer(&self, to: u32, question: Question) {
        let answer = match question {
            Question::Status => serde_json::to_string(&self.status()),
            Question::Explain(src) => {
                serde_json::to_string(&self.remembered(|memory, reader| memory.of(src, reader)))
            }
        };
        for piece in pieces(&answer.unwrap_or_default()) {
            self.link.say(&ToMonitor::Answer { to, piece });
        }
    }

    /// What `ask` takes from the memory.
    fn remembered<T>(&self, ask: impl FnOnce(&Memory, &memory::Reader<'_>) -> T) -> T {
        let (now, wall) = (clock::boot_now(), clock::wall_now());
        let reader = memory::Reader {
            name: &|source| {
                let followed = self.sources.get(usize::from(source))?;
                Some(followed.spec.to_string())
            },
            wall: &|at| Some(wall.before(now.since(at))),
            is_secret: &|port| {
                let mut doors = self.detection.doors().iter();
                doors.any(|door| door.rule.step_at(port).is_some())
            },
        };
        ask(&self.memory, &reader)
    }

    /// How the sources and attempts are.
    fn status(&self) -> crate::protocol::Status {
        let now = clock::boot_now();
        let status = self.counts.status(&self.detection, &self.sources, now);
        crate::protocol::Status {
            confined: Some(self.confined.clone()),
            recent: self.remembered(Memory::recent),
            ..status
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

    /// Takes the rules of `text`, or leaves everything as it is and says why.
    pub(super) fn reload(&mut self, text: &str) {
        match (self.reload)(text) {
            Ok(rules) => {
                let count = self.take(rules);
                report::reloaded(count);
            }
            Err(message) => report::not_reloaded(&message),
        }
        self.link.say(&ToMonitor::Reloaded);
    }

    /// Takes new rules. Returns how many doors there are now.
    fn take(&mut self, rules: Rules) -> usize {
        let attempts = &mut self.detection.attempts;
        attempts.replace_doors(rules.doors.clone());
        attempts.set_knocker_prefix(rules.knocker_prefix);
        for ((feed, source), number) in self.feeds.iter_mut().zip(&self.sources).zip(0..) {
            let taken = rules.readers.of(&source.spec, feed.is_own);
            attempts.set_audience(number, taken.doors);
            feed.reader = taken.reader;
            feed.timeline.set_max_age(rules.max_line_age);
        }
        let doors = rules.doors.len();
        self.rules = rules;
        doors
    }
}
