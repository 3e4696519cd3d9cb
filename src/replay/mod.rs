//! Finished logs → what would have happened: the engine on the logs' own time, nothing executed.
//!
//! In: logs and doors. Out: events in the order of their time, and a [`Summary`]. Several logs are merged by time:
//! the kernel's lines are often in more than one file, and rotated files are rarely named in their order. Commands
//! are taken to succeed at once; after the last line the clock runs on until everything is closed.

mod blocks;
mod feed;
mod findings;
pub mod lines;

use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use feed::Feed;
use findings::{Finding, Findings, Form, Found};

use crate::calendar::{Calendar, Zone};
use crate::dialect;
use crate::engine::attempts::Limits;
use crate::engine::detection::Detection;
use crate::engine::door::Door;
use crate::engine::event::{Event, EventKind, Whence};
use crate::engine::grant::Grants;
use crate::engine::knock::{KnockerPrefix, Logged};
use crate::engine::loss::Losses;
use crate::engine::reason::{Reason, Tally};
use crate::engine::time::Time;
use crate::engine::timeline::{Placed, Timeline, Wall};
use crate::engine::{self, Sighting};

/// This many threads keep the detecting one busy; each costs 1.5 MiB of the 32 that a flood may take.
const MOST_FINDERS: usize = 4;

/// A header so far from the kernel's stamp says when its line was written, and not when it was logged.
const LATE: Duration = Duration::from_secs(3);

/// A log to run through.
pub struct Input {
    /// What is in it; already uncompressed.
    pub content: Box<dyn Read + Send>,
    /// When it was last written to, from the Unix epoch: its year-less stamps are not later.
    pub written: Time,
    /// How its lines are taken; `None` as those of most.
    pub own: Option<dialect::Feed>,
}

/// An event, with the time to show for it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The event.
    pub event: Event,
    /// From the Unix epoch: what the header of its line says, or when it was due; when it was logged, where its
    /// line was written long after. `None` where the log has no wall clock at all.
    pub time: Option<Time>,
}

/// Something that happened while the logs were run through.
#[derive(Debug)]
pub enum Seen<'a> {
    /// An event.
    Event(Shown),
    /// A packet, after its events: whether it counted.
    Packet {
        /// Its source address.
        src: IpAddr,
        /// The whole of it, with its place on the clock of the logs, and what the doors are.
        whole: Option<(&'a Sighting<'a>, &'a Detection)>,
        /// When it was logged, from the Unix epoch.
        time: Option<Time>,
        /// Why it did not count.
        verdict: Result<(), Reason>,
    },
    /// A line that looked like a packet's and is not to be believed.
    Line {
        /// Its bytes.
        bytes: &'a [u8],
        /// Where it stands.
        whence: Whence,
        /// What the doors are.
        detection: &'a Detection,
        /// Why not.
        reason: Reason,
    },
}

/// What was in the logs.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Lines, of any kind.
    pub lines: u64,
    /// Packet lines that counted.
    pub hits: u64,
    /// Lines that looked like packets and did not count.
    pub rejected: Tally,
    /// Opens.
    pub opens: u64,
    /// What the logs say of messages that are missing; only [`watch`] looks for it.
    pub losses: Losses,
    /// The first line of a form that is not read, why it is not, and at which column its log prefix stands.
    pub unread: Option<(Whence, Reason, usize)>,
}

/// Runs `inputs` through `doors`; `prefix` says which addresses are one knocker. `show` gets every event.
pub fn run(
    inputs: Vec<Input>,
    form: &dialect::Reader,
    doors: Vec<Arc<Door>>,
    prefix: KnockerPrefix,
    zone: Zone,
    show: &mut dyn FnMut(Shown) -> io::Result<()>,
) -> io::Result<Summary> {
    let pace = Pace::new(inputs.len());
    let mut watch = |seen: Seen<'_>| match seen {
        Seen::Event(shown) => show(shown),
        Seen::Packet { .. } | Seen::Line { .. } => Ok(()),
    };
    watch_by(pace, inputs, form, doors, prefix, zone, &mut watch)
}

/// The same; `watch` gets every packet and every rejected line, too. It takes a little longer: each line may tell of
/// a loss.
pub fn watch(
    inputs: Vec<Input>,
    form: &dialect::Reader,
    doors: Vec<Arc<Door>>,
    prefix: KnockerPrefix,
    zone: Zone,
    watch: &mut dyn FnMut(Seen<'_>) -> io::Result<()>,
) -> io::Result<Summary> {
    let pace = Pace {
        looks_for_losses: true,
        ..Pace::new(inputs.len())
    };
    watch_by(pace, inputs, form, doors, prefix, zone, watch)
}

/// How logs are read; no packet that is found depends on it.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Bytes at a time.
    piece: usize,
    /// Threads that find.
    finders: usize,
    /// Whether lines are searched that tell of losses.
    looks_for_losses: bool,
}

impl Pace {
    fn new(logs: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // Of many logs each has a smaller share of the memory.
        Self {
            piece: blocks::PIECE / logs.clamp(1, 16),
            finders: cores.min(MOST_FINDERS),
            looks_for_losses: false,
        }
    }
}

fn watch_by(
    pace: Pace,
    inputs: Vec<Input>,
    form: &dialect::Reader,
    doors: Vec<Arc<Door>>,
    prefix: KnockerPrefix,
    zone: Zone,
    watch: &mut dyn FnMut(Seen<'_>) -> io::Result<()>,
) -> io::Result<Summary> {
    let usual = Arc::new(form.clone());
    let mut detection = Detection::new(doors, Duration::ZERO, Limits::default());
    detection.attempts.set_knocker_prefix(prefix);
    let readers = inputs.into_iter().zip(0..).map(|(input, source)| {
        let reader = input.own.map(|own| {
            detection.attempts.set_audience(source, own.doors);
            Arc::new(own.reader)
        });
        let form = Form {
            reader: reader.unwrap_or_else(|| Arc::clone(&usual)),
            calendar: Calendar::new(zone, input.written),
            looks_for_losses: pace.looks_for_losses,
        };
        Reader::new(Feed::new(input.content, form, pace), source)
    });
    let mut readers: Vec<_> = readers.collect();
    let mut run = Run {
        detection,
        grants: Grants::default(),
        form,
        summary: Summary::default(),
        has_wall: false,
        watch,
    };
    for reader in &mut readers {
        reader.next_packet(&mut run)?;
    }
    while let Some(reader) = readers
        .iter_mut()
        .filter(|reader| reader.placed.is_some())
        .min_by_key(|reader| {
            // Of lines at one time the first file's comes first: `min_by_key` keeps the first minimum.
            reader.placed.map(|placed| placed.at)
        })
    {
        run.packet(reader)?;
        reader.next_packet(&mut run)?;
    }
    run.finish()
}

/// One log, read as far as its next packet line.
struct Reader {
    source: u16,
    feed: Feed,
    findings: Findings,
    /// The next of the findings.
    next: usize,
    /// Lines before the findings' block.
    before: u64,
    timeline: Timeline,
    /// Where the packet line belongs; `None` after the last one.
    placed: Option<Placed>,
    /// When it was logged, from the Unix epoch: what its header says, unless that came late.
    wall: Option<Time>,
}

impl Reader {
    fn new(feed: Feed, source: u16) -> Self {
        Self {
            source,
            feed,
            findings: Findings::default(),
            next: 0,
            before: 0,
            timeline: Timeline::new(Duration::ZERO, *b""),
            placed: None,
            wall: None,
        }
    }

    /// The packet line that is next, and where it stands.
    fn packet(&self) -> Option<(&Found, Whence)> {
        let finding = self.findings.get(self.next.checked_sub(1)?)?;
        let found = finding.what.as_ref().ok()?;
        Some((found, self.whence(finding)))
    }

    fn whence(&self, finding: &Finding) -> Whence {
        Whence {
            source: self.source,
            line: self.before + finding.line + 1,
        }
    }

    fn next_packet(&mut self, run: &mut Run<'_>) -> io::Result<()> {
        self.placed = None;
        loop {
            while let Some(finding) = self.findings.get(self.next) {
                self.next += 1;
                match &finding.what {
                    Err((line, reason)) => {
                        let bytes = self.findings.text(*line);
                        run.reject(bytes, self.whence(finding), *reason)?;
                    }
                    Ok(found) => {
                        let ahead = self.findings.behind(self.next);
                        let stamps = self.findings.stamps(found);
                        self.placed = Some(self.timeline.place_logged(stamps, ahead));
                        let at = self.placed.map(|placed| placed.at).unwrap_or_default();
                        let is_late = |wall: Time| wall > at.after(LATE) || at > wall.after(LATE);
                        let wall = found.wall.map(Wall::time);
                        let is_stamped = found.uptime.is_some();
                        self.wall = wall.map(|wall| {
                            if is_stamped && is_late(wall) {
                                at
                            } else {
                                wall
                            }
                        });
                        return Ok(());
                    }
                }
            }
            self.before += self.findings.lines;
            let used = std::mem::take(&mut self.findings);
            let Some(findings) = self.feed.next(used)? else {
                return Ok(());
            };
            run.summary.lines += findings.lines;
            run.summary.losses.times += findings.losses.times;
            run.summary.losses.messages += findings.losses.messages;
            (self.findings, self.next) = (findings, 0);
        }
    }
}

struct Run<'a> {
    detection: Detection,
    grants: Grants,
    form: &'a dialect::Reader,
    summary: Summary,
    /// Some line had a wall clock, so the engine's clock is one.
    has_wall: bool,
    watch: &'a mut dyn FnMut(Seen<'_>) -> io::Result<()>,
}

impl Run<'_> {
    /// Counts a line that looked like a packet's and is not to be believed.
    fn reject(&mut self, bytes: &[u8], whence: Whence, reason: Reason) -> io::Result<()> {
        self.summary.rejected.add(reason);
        let is_unread = matches!(reason, Reason::Header | Reason::Multiline);
        if is_unread && self.summary.unread.is_none() {
            let column = self.form.column(bytes);
            self.summary.unread = column.map(|column| (whence, reason, column));
        }
        (self.watch)(Seen::Line {
            bytes,
            whence,
            detection: &self.detection,
            reason,
        })
    }

    fn packet(&mut self, reader: &Reader) -> io::Result<()> {
        let (Some(placed), Some((found, whence))) = (reader.placed, reader.packet()) else {
            return Ok(());
        };
        self.has_wall |= reader.wall.is_some();
        if let Some(kernel) = placed.rebooted {
            self.detection
                .attempts
                .forget_fed_by((whence.source, kernel));
        }
        self.let_pass(placed.at)?;
        if let Some(unix) = reader.wall {
            self.detection.handle_unix(placed.at, unix);
        }
        let packet = reader.findings.packet(found);
        let sighting = Sighting {
            packet,
            at: placed.at,
            uptime: found.uptime,
            logged: Logged {
                clock: placed.kernel,
                ..Logged::default()
            },
            whence,
        };
        // What was due for the grants has passed, and what is found is settled below.
        let verdict = self.detection.handle_packet(placed.at, &sighting);
        self.summary.hits += u64::from(verdict.is_ok());
        self.settle(placed.at, reader.wall)?;
        (self.watch)(Seen::Packet {
            src: packet.headers.src,
            whole: Some((&sighting, &self.detection)),
            time: reader.wall,
            verdict,
        })
    }

    /// Does what is due up to `now`, each thing at its own time.
    fn let_pass(&mut self, now: Time) -> io::Result<()> {
        while let Some(due) = self.poll_timeout().filter(|&due| due <= now) {
            self.detection.handle_timeout(due);
            self.grants.handle_timeout(due);
            self.settle(due, None)?;
        }
        Ok(())
    }

    fn poll_timeout(&self) -> Option<Time> {
        let dues = [self.detection.poll_timeout(), self.grants.poll_timeout()];
        dues.into_iter().flatten().min()
    }

    /// Answers every action with success and shows every event.
    fn settle(&mut self, now: Time, wall: Option<Time>) -> io::Result<()> {
        engine::settle(&mut self.detection, &mut self.grants, now, &mut |_, _| {});
        while let Some(event) = self.detection.poll_event() {
            self.summary.opens += u64::from(event.kind == EventKind::Open);
            let due = self.has_wall.then_some(event.at);
            let time = event.whence.and(wall).or(due);
            (self.watch)(Seen::Event(Shown { event, time }))?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Summary> {
        while let Some(due) = self.poll_timeout() {
            self.let_pass(due)?;
        }
        for (reason, count) in self.detection.rejected().iter() {
            self.summary.rejected.add_many(reason, count);
        }
        Ok(self.summary)
    }
}

#[cfg(test)]
#[path = "replay_test.rs"]
mod tests;
