//! What the sources say: lines, and how they are.
//!
//! In: reports of sources. Out: each line that may be a packet, with its place on the engine's clock,
//! to the engine; every other line is counted. Nothing here decides what a knock is.

use super::report::Cause;
use super::{DetectorLoop, Feed, report};
use crate::calendar::Calendar;
use crate::clock;
use crate::engine::Sighting;
use crate::engine::event::Whence;
use crate::engine::knock::Logged;
use crate::engine::line::Record;
use crate::engine::loss;
use crate::engine::reason::Reason;
use crate::engine::time::Time;
use crate::engine::timeline::{Received, Stamps, Wall};
use crate::memory;
use crate::privsep::ToMonitor;
use crate::source::{self, Batch, Health, LoggedPacket, Report};

/// The newest packet line is searched for in this many of the last lines that came together.
const LOOKED_BACK: usize = 64;

impl DetectorLoop {
    /// Takes what the source of this number says.
    pub(super) fn source(&mut self, number: u16, report: Report) {
        let Some(followed) = self.sources.get_mut(usize::from(number)) else {
            return; // it is not followed any more
        };
        match report {
            Report::Lines(batch) => {
                self.lines(number, &batch);
                self.read(batch.read);
            }
            Report::Packets { packets, first } => self.packets(number, &packets, first),
            Report::Rejected { reason, count } => {
                self.detection.handle_rejected_many(reason, count);
                self.rejections.tell(reason, clock::boot_now());
            }
            Report::Lost(count) => {
                self.detection.attempts.forget_all();
                self.lost(number, Cause::Overrun, count);
            }
            Report::Ended => {
                report::ended(&followed.spec);
                followed.ended = true;
            }
            Report::Overflowed(times) => followed.overflows += times,
            Report::Read(read) => self.read(Some(read)),
            Report::Unproven(path) => report::unproven(&path),
            Report::Health(health) => {
                report::health(&followed.spec, &health);
                let was_lost = followed.health.as_ref().is_some_and(Health::is_lost);
                if health.is_lost() && !was_lost {
                    self.link.say(&ToMonitor::SourceLost(number));
                }
                followed.health = Some(health);
            }
        }
    }

    /// Notes how far a file is read, now that all of it has been decided.
    fn read(&mut self, read: Option<source::Read>) {
        if let (Some(checkpoints), Some(read)) = (&mut self.checkpoints, read) {
            checkpoints.note(read, clock::boot_now());
        }
    }

    /// Counts what a source has lost, and tells of it once in a while.
    fn lost(&mut self, source: u16, cause: Cause, count: Option<u64>) {
        let Some(followed) = self.sources.get_mut(usize::from(source)) else {
            return;
        };
        followed.gaps.add(count);
        self.memory.lost(source, clock::boot_now(), count);
        self.losses
            .tell(&followed.spec, cause, count, clock::boot_now());
    }

    fn lines(&mut self, source: u16, batch: &Batch) {
        let received = Received {
            now: clock::boot_now(),
            awake: clock::monotonic_now(),
            wall: clock::wall_now(),
            late: batch.late,
        };
        self.calendar.set_not_after(received.wall);
        self.detection.handle_unix(received.now, received.wall);
        self.expect_attempts(received.now);
        self.calibrate(source, batch, received);
        let lines = batch.bytes.split_inclusive(|&byte| byte == b'\n');
        let count = memchr::memchr_iter(b'\n', &batch.bytes).count() as u64;
        self.counts.lines(source, count, received.now);
        for (line, number) in lines.zip(batch.first_line..) {
            let whence = Whence {
                source,
                line: number,
            };
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if let Err(reason) = self.line(line, whence, received) {
                self.rejections.tell(reason, received.now);
            }
        }
    }

    /// Lets a timeline that knows nothing yet look at the newest line first.
    fn calibrate(&mut self, source: u16, batch: &Batch, received: Received) {
        let Some(Feed {
            reader, timeline, ..
        }) = self.feeds.get_mut(usize::from(source))
        else {
            return;
        };
        let lines = batch.bytes.split(|&byte| byte == b'\n');
        for line in lines.rev().take(LOOKED_BACK) {
            let opened = reader.open(line);
            if let Ok(Some((record, _))) = reader.read(&opened) {
                timeline.calibrate(stamps(&record, &mut self.calendar), received);
                return;
            }
        }
    }

    fn line(&mut self, line: &[u8], whence: Whence, received: Received) -> Result<(), Reason> {
        let Some(Feed {
            reader, timeline, ..
        }) = self.feeds.get_mut(usize::from(whence.source))
        else {
            return Ok(()); // of a source that is not followed any more
        };
        let opened = reader.open(line);
        let read = reader.read(&opened);
        let read = read.inspect_err(|&reason| {
            self.detection.handle_rejected(reason);
            if let Some(src) = memory::named(line).next() {
                let (memory, detection) = (&mut self.memory, &self.detection);
                memory.line(detection, (line, src), received.now, whence, reason);
            }
        })?;
        let Some((record, packet)) = read else {
            if let Some(loss) = loss::read(line) {
                self.lost(whence.source, Cause::Said, loss.count);
            }
            return Ok(());
        };
        let stamps = stamps(&record, &mut self.calendar);
        let logged = Logged {
            kernel: record.uptime.filter(|_| timeline.is_ours(record.host)),
            header: stamps.wall.map(Wall::time),
            late: received.late,
            clock: 0,
        };
        let placed = timeline.place_live(stamps, received);
        let placed = placed.inspect_err(|&reason| {
            self.detection.handle_rejected(reason);
            let age = stamps.wall.map(|wall| received.wall.since(wall.time()));
            let age = age.or(record.uptime.map(|uptime| received.awake.since(uptime)));
            let (memory, detection) = (&mut self.memory, &self.detection);
            memory.packet(detection, &packet, received.now, whence, Err(reason), age);
        })?;
        self.counts
            .lag(whence.source, received.now.since(placed.at));
        if let Some(kernel) = placed.rebooted {
            self.detection
                .attempts
                .forget_fed_by((whence.source, kernel));
            self.reboots.tell(received.now);
        }
        let sighting = Sighting {
            packet,
            at: placed.at,
            uptime: record.uptime,
            logged: Logged {
                clock: placed.kernel,
                ..logged
            },
            whence,
        };
        self.sighted(&sighting, received.now)
    }

    /// Takes packets that the kernel has handed over itself.
    fn packets(&mut self, source: u16, packets: &[LoggedPacket], first: u64) {
        let (now, wall) = (clock::boot_now(), clock::wall_now());
        self.detection.handle_unix(now, wall);
        self.expect_attempts(now);
        self.counts.lines(source, packets.len() as u64, now);
        for (packet, line) in packets.iter().zip(first..) {
            let whence = Whence { source, line };
            if let Err(reason) = self.packet(packet, whence, now, wall) {
                self.rejections.tell(reason, now);
            }
        }
    }

    fn packet(
        &mut self,
        logged: &LoggedPacket,
        whence: Whence,
        now: Time,
        wall: Time,
    ) -> Result<(), Reason> {
        let Some(feed) = self.feeds.get(usize::from(whence.source)) else {
            return Ok(()); // of a source that is not followed any more
        };
        let packet = logged.packet.as_packet();
        let age = now.since(logged.at);
        let counts = match () {
            () if !feed.reader.expects(packet.prefix) => Err(Reason::Prefix),
            () if age > self.rules.max_line_age => Err(Reason::Stale),
            () => Ok(()),
        };
        counts.inspect_err(|&reason| {
            self.detection.handle_rejected(reason);
            let late = (reason == Reason::Stale).then_some(age);
            let (memory, detection) = (&mut self.memory, &self.detection);
            memory.packet(detection, &packet, now, whence, Err(reason), late);
        })?;
        self.counts.lag(whence.source, age);
        let sighting = Sighting {
            packet,
            at: logged.at,
            // No stamp of the kernel's log clock, which others could be compared with.
            uptime: None,
            logged: Logged {
                kernel: None,
                header: Some(wall.before(age)),
                late: false,
                clock: 0,
            },
            whence,
        };
        self.sighted(&sighting, now)
    }

    /// Has the engine decide about a packet, and notes what it said.
    fn sighted(&mut self, sighting: &Sighting<'_>, now: Time) -> Result<(), Reason> {
        let verdict = self.detection.handle_packet(now, sighting);
        self.carry_out();
        let Sighting {
            packet, at, whence, ..
        } = sighting;
        let (memory, detection) = (&mut self.memory, &self.detection);
        memory.packet(detection, packet, *at, *whence, verdict, None);
        verdict.inspect(|()| self.counts.hit())
    }
}

/// What a line says of its time, its header in UTC.
fn stamps<'a>(record: &Record<'a>, calendar: &mut Calendar) -> Stamps<'a> {
    Stamps {
        host: record.host,
        wall: record.stamp.and_then(|stamp| calendar.resolve(stamp)),
        uptime: record.uptime,
    }
}
