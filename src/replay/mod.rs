//! Finished logs → what would have happened: the engine on the logs' own time, nothing executed.
//!
//! In: logs and doors. Out: events in the order of their time, and a [`Summary`]. Several logs are
//! merged by time, as the kernel's lines often stand in more than one file, and rotated files are
//! rarely named in their order. Commands are taken to succeed at once; after the last line the clock
//! runs on until everything is closed.

pub mod lines;

use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lines::{Line, Lines};

use crate::calendar::{Calendar, Zone};
use crate::dialect;
use crate::engine::action::{Action, Command, Outcome};
use crate::engine::detector::Limits;
use crate::engine::door::Door;
use crate::engine::event::{Event, EventKind, Whence};
use crate::engine::reason::{Reason, Tally};
use crate::engine::time::Time;
use crate::engine::timeline::{Placed, Stamps, Timeline, Wall};
use crate::engine::{Engine, Sighting};

/// A log to run through.
pub struct Input {
    /// What is in it; already uncompressed.
    pub content: Box<dyn Read>,
    /// When it was last written to, from the Unix epoch: its year-less stamps are not later.
    pub written: Time,
}

/// An event, with the time to show for it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The event.
    pub event: Event,
    /// From the Unix epoch: what the header of its line says, or when it was due. `None` where the
    /// log has no wall clock at all.
    pub time: Option<Time>,
}

/// Something that happened while the logs were run through.
#[derive(Debug)]
pub enum Seen<'a> {
    /// An event.
    Event(Shown),
    /// A packet, after its events: whether it counted.
    Packet {
        /// Who sent it.
        src: IpAddr,
        /// Its line.
        whence: Whence,
        /// What the line's header says, from the Unix epoch.
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
}

/// Runs `inputs` through `doors`. `show` gets every event.
pub fn run(
    inputs: Vec<Input>,
    form: &dialect::Reader,
    doors: Vec<Arc<Door>>,
    zone: Zone,
    show: &mut dyn FnMut(Shown) -> io::Result<()>,
) -> io::Result<Summary> {
    watch(inputs, form, doors, zone, &mut |seen| match seen {
        Seen::Event(shown) => show(shown),
        Seen::Packet { .. } | Seen::Line { .. } => Ok(()),
    })
}

/// The same; `watch` gets every packet and every line that is not believed, too.
pub fn watch(
    inputs: Vec<Input>,
    form: &dialect::Reader,
    doors: Vec<Arc<Door>>,
    zone: Zone,
    watch: &mut dyn FnMut(Seen<'_>) -> io::Result<()>,
) -> io::Result<Summary> {
    let readers = inputs
        .into_iter()
        .zip(0..)
        .map(|(input, source)| Reader::new(input, source, zone));
    let mut readers: Vec<_> = readers.collect();
    let mut run = Run {
        engine: Engine::new(doors, Duration::ZERO, Limits::default(), 0),
        summary: Summary::default(),
        has_wall: false,
        watch,
    };
    for reader in &mut readers {
        reader.next_packet(form, &mut run)?;
    }
    while let Some(reader) = readers
        .iter_mut()
        .filter(|reader| reader.placed.is_some())
        .min_by_key(|reader| {
            // Of lines at one time the first file's comes first: `min_by_key` keeps the first minimum.
            reader.placed.map(|placed| placed.at)
        })
    {
        run.packet(reader, form)?;
        reader.next_packet(form, &mut run)?;
    }
    run.finish()
}

/// One log, read as far as its next packet line.
struct Reader {
    source: u16,
    lines: Lines<Box<dyn Read>>,
    /// The number of the line that was read last.
    number: u64,
    calendar: Calendar,
    timeline: Timeline,
    line: Vec<u8>,
    /// Where the packet line belongs; `None` after the last one.
    placed: Option<Placed>,
    /// What its header says.
    wall: Option<Time>,
}

impl Reader {
    fn new(input: Input, source: u16, zone: Zone) -> Self {
        Self {
            source,
            lines: Lines::new(input.content),
            number: 0,
            calendar: Calendar::new(zone, input.written),
            timeline: Timeline::new(Duration::ZERO, *b""),
            line: Vec::new(),
            placed: None,
            wall: None,
        }
    }

    fn next_packet(&mut self, form: &dialect::Reader, run: &mut Run<'_>) -> io::Result<()> {
        self.placed = None;
        while let Some(line) = self.lines.next_line()? {
            run.summary.lines += 1;
            self.number += 1;
            let whence = Whence {
                source: self.source,
                line: self.number,
            };
            let Line::Whole(bytes) = line else {
                run.reject(b"", whence, Reason::TooLong)?;
                continue;
            };
            let opened = form.open(bytes);
            match form.read(&opened) {
                Ok(None) => {}
                Err(reason) => run.reject(bytes, whence, reason)?,
                Ok(Some((record, _))) => {
                    let wall = record.stamp.and_then(|stamp| self.calendar.resolve(stamp));
                    let stamps = Stamps {
                        host: record.host,
                        wall,
                        uptime: record.uptime,
                    };
                    self.placed = Some(self.timeline.place_logged(stamps));
                    self.wall = wall.map(Wall::time);
                    self.line.clear();
                    self.line.extend_from_slice(bytes);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

struct Run<'a> {
    engine: Engine,
    summary: Summary,
    /// Some line had a wall clock, so the engine's clock is one.
    has_wall: bool,
    watch: &'a mut dyn FnMut(Seen<'_>) -> io::Result<()>,
}

impl Run<'_> {
    /// Counts a line that looked like a packet's and is not to be believed.
    fn reject(&mut self, bytes: &[u8], whence: Whence, reason: Reason) -> io::Result<()> {
        self.summary.rejected.add(reason);
        (self.watch)(Seen::Line {
            bytes,
            whence,
            reason,
        })
    }

    fn packet(&mut self, reader: &Reader, form: &dialect::Reader) -> io::Result<()> {
        let Some(placed) = reader.placed else {
            return Ok(());
        };
        // Read twice, so that only the bytes of the line are kept while other logs catch up.
        let opened = form.open(&reader.line);
        let Ok(Some((record, packet))) = form.read(&opened) else {
            return Ok(());
        };
        self.has_wall |= reader.wall.is_some();
        if placed.rebooted {
            self.engine.handle_gap();
        }
        self.let_pass(placed.at)?;
        let whence = Whence {
            source: reader.source,
            line: reader.number,
        };
        let sighting = Sighting {
            packet,
            at: placed.at,
            uptime: record.uptime,
            whence,
        };
        let verdict = self.engine.handle_packet(placed.at, &sighting);
        self.summary.hits += u64::from(verdict.is_ok());
        self.settle(placed.at, reader.wall)?;
        (self.watch)(Seen::Packet {
            src: packet.src,
            whence,
            time: reader.wall,
            verdict,
        })
    }

    /// Does what is due up to `now`, each thing at its own time.
    fn let_pass(&mut self, now: Time) -> io::Result<()> {
        while let Some(due) = self.engine.poll_timeout().filter(|&due| due <= now) {
            self.engine.handle_timeout(due);
            self.settle(due, None)?;
        }
        Ok(())
    }

    /// Answers every action with success and shows every event.
    fn settle(&mut self, now: Time, wall: Option<Time>) -> io::Result<()> {
        loop {
            while let Some(event) = self.engine.poll_event() {
                self.summary.opens += u64::from(event.kind == EventKind::Open);
                let due = self.has_wall.then_some(event.at);
                let time = event.whence.and(wall).or(due);
                (self.watch)(Seen::Event(Shown { event, time }))?;
            }
            let Some(action) = self.engine.poll_action() else {
                return Ok(());
            };
            let (grant, command) = match action {
                Action::Open { grant, .. } => (grant, Command::Open),
                Action::Close { grant } => (grant, Command::Close),
                Action::Run { .. }
                | Action::Extend { .. }
                | Action::Refresh { .. }
                | Action::Forget { .. } => continue,
            };
            self.engine
                .handle_finished(now, grant, command, Outcome::Done);
        }
    }

    fn finish(mut self) -> io::Result<Summary> {
        while let Some(due) = self.engine.poll_timeout() {
            self.let_pass(due)?;
        }
        for (reason, count) in self.engine.rejected().iter() {
            self.summary.rejected.add_many(reason, count);
        }
        Ok(self.summary)
    }
}
