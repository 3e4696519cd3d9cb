//! `logknock explain`: why the knock of an address opened a door, or did not.
//!
//! In: what the running daemon remembers of an address, or logs and what the same engine makes of them. Out: for each
//! door a line of time, what happened on it in order, and one sentence of advice. [`picture`] works out the meaning;
//! here it is drawn. Steps of a sequence are shown by number; no port of one is.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};

use super::exit::{Code, Failure};
use super::settings::Global;
use super::table::{self, fold, width_or};
use super::{Format, ask, input};
use crate::calendar::{self, Calendar, Zone};
use crate::dialect;
use crate::engine::time::Time;
use crate::engine::timeline::Wall;
use crate::memory::picture::{self, Kind, Lane, Mark};
use crate::memory::{self, Limits, Memory};
use crate::protocol::{FleetRefusal, Reply, Request, Story};
use crate::replay::{self, Input, Seen};

/// How many events of a log are shown: the last ones.
const MOST: usize = 10_000;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The address that knocked
    #[arg(value_name = "ADDRESS")]
    src: IpAddr,
    /// Read these logs instead of asking the daemon; `-` is standard input
    #[arg(long, value_name = "FILE", num_args = 1..)]
    log: Vec<PathBuf>,
}

/// Runs `explain`.
pub(super) fn run(args: &Args, global: &Global, format: Format) -> Result<(), Failure> {
    let src = args.src.to_canonical();
    let story = if args.log.is_empty() {
        match ask::ask(global, &Request::Explain(src))? {
            Reply::Story(story) => story,
            other => return Err(ask::refusal(other)),
        }
    } else {
        from_logs(src, &args.log, global)?
    };
    let mut out = anstream::stdout();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string(&story)?)?,
        Format::Text => draw(&mut out, &story, width_or(80), Zone::Local)?,
    }
    Ok(())
}

/// What the engine makes of the logs, as far as it concerns `src`.
fn from_logs(src: IpAddr, files: &[PathBuf], global: &Global) -> Result<Story, Failure> {
    let settings = global.load()?;
    let mut calendars = Vec::new();
    let inputs = files.iter().map(|path| {
        let (content, written) = input::open(path)?;
        calendars.push(Calendar::new(Zone::Local, written));
        Ok(Input {
            content,
            written,
            own: settings.readers.of_file(path),
        })
    });
    let inputs = inputs.collect::<Result<Vec<_>, Failure>>()?;
    let mut memory = Memory::new(Limits {
        addresses: 1,
        notes: MOST,
    });
    let (mut latest, mut has_wall) = (Time::default(), false);
    let doors = &settings.config.doors;
    replay::watch(
        inputs,
        &settings.readers.usual,
        doors.clone(),
        settings.config.log.knocker_prefix,
        Zone::Local,
        &mut |seen| {
            match seen {
                Seen::Event(shown) if shown.event.src == src => memory.event(&shown.event),
                Seen::Packet {
                    whole: Some((sighting, detection)),
                    time,
                    verdict,
                    ..
                } => {
                    (latest, has_wall) = (sighting.at, has_wall | time.is_some());
                    if sighting.packet.headers.src == src {
                        let (packet, whence) = (&sighting.packet, sighting.whence);
                        memory.packet(detection, packet, sighting.at, whence, verdict, None);
                    }
                }
                Seen::Line {
                    bytes,
                    whence,
                    detection,
                    reason,
                } if memory::named(bytes).any(|named| named == src) => {
                    let reading = dialect::read(bytes);
                    let record = reading.record();
                    let calendar = calendars.get_mut(usize::from(whence.source));
                    let wall = calendar.zip(record.stamp);
                    let wall = wall.and_then(|(calendar, stamp)| calendar.resolve(stamp));
                    has_wall |= wall.is_some();
                    let at = wall.map(Wall::time).or(record.uptime).unwrap_or(latest);
                    memory.line(detection, (bytes, src), at, whence, reason);
                }
                Seen::Event(_) | Seen::Packet { .. } | Seen::Line { .. } => {}
            }
            Ok(())
        },
    )
    .map_err(|error| {
        let message = format!("reading a log failed: {error}");
        Failure::new(Code::Unavailable, message)
    })?;
    let reader = memory::Reader {
        name: &|source| Some(files.get(usize::from(source))?.display().to_string()),
        wall: &|at| has_wall.then_some(at),
        is_secret: &|port| doors.iter().any(|door| door.rule.step_at(port).is_some()),
    };
    Ok(Story {
        src,
        happenings: memory.of(src, &reader),
        grants: Vec::new(),
        refused: Vec::new(),
    })
}

/// Draws a story, in lines of `width` columns.
fn draw(out: &mut impl Write, story: &Story, width: usize, zone: Zone) -> io::Result<()> {
    let src = story.src;
    let lanes = picture::lanes(story);
    for (number, lane) in lanes.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        draw_lane(out, lane, src, width, zone)?;
    }
    let is_drawn = |door: &str| lanes.iter().any(|lane| lane.door.as_deref() == Some(door));
    for grant in story.grants.iter().filter(|grant| !is_drawn(&grant.door)) {
        let left =
            picture::span(i64::try_from(grant.left_seconds).unwrap_or(i64::MAX / 2) * 1_000_000);
        let by = picture::opened_by(grant);
        writeln!(out, "{} is open for {src}{by}, {left} left", grant.door)?;
    }
    for refusal in &story.refused {
        let FleetRefusal {
            seconds_ago,
            gateway,
            door,
            reason,
        } = refusal;
        let ago = table::span(*seconds_ago);
        writeln!(
            out,
            "{gateway} opened {door} {ago} ago, which does not count here: {reason}"
        )?;
    }
    if lanes.is_empty() && story.grants.is_empty() && story.refused.is_empty() {
        let text = format!(
            "no packet line from {src} is known: does the LOG rule see its packets, with the configured prefix, \
             before another rule drops them? 'logknock doctor' checks each step"
        );
        for line in fold(&text, width) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

fn draw_lane(
    out: &mut impl Write,
    lane: &Lane,
    src: IpAddr,
    width: usize,
    zone: Zone,
) -> io::Result<()> {
    let bold = Style::new().bold();
    let dim = Style::new().dimmed();
    let end = if lane.opened {
        AnsiColor::Green
    } else {
        AnsiColor::Red
    };
    let end = end.on_default().bold();
    match &lane.door {
        Some(door) => write!(out, "{bold}{door}{bold:#} for {src}: ")?,
        None => write!(out, "{src}: ")?,
    }
    writeln!(out, "{end}{}{end:#}", lane.outcome)?;
    for line in axis(&lane.marks, width.saturating_sub(2)) {
        writeln!(out, "  {line}")?;
    }
    let mut day = String::new();
    for mark in &lane.marks {
        let time = mark
            .time
            .as_deref()
            .and_then(|time| calendar::millisecond(time, zone));
        // Without a clock on the wall: seconds of the kernel's own.
        let (date, clock) = time.unwrap_or_else(|| {
            let seconds = mark.at_us.div_euclid(1_000_000);
            (
                String::new(),
                format!(
                    "{seconds:>8}.{:03}",
                    mark.at_us.rem_euclid(1_000_000) / 1000
                ),
            )
        });
        if date != day {
            writeln!(out, "  {dim}{date}{dim:#}")?;
            day = date;
        }
        let (glyph, style) = glyph(mark);
        let indent = clock.len() + 6;
        let room = width.saturating_sub(indent).max(20);
        // Of a path its last name is enough here; `--json` has all of it.
        let whence = mark
            .whence
            .as_deref()
            .and_then(|whence| whence.rsplit('/').next());
        let whence = whence.unwrap_or("");
        let mut lines = fold(&mark.words, room);
        let last = lines.last().map_or(0, |line| line.chars().count());
        let fits = last + 2 + whence.chars().count() <= room;
        if !fits {
            lines.push(String::new());
        }
        let count = lines.len();
        for (number, line) in lines.iter().enumerate() {
            let start = match number {
                0 => format!("  {clock}  {style}{glyph:<1}{style:#} "),
                _ => " ".repeat(indent),
            };
            let gap = if line.is_empty() { "" } else { "  " };
            let tail = if number + 1 == count && !whence.is_empty() {
                format!("{gap}{dim}{whence}{dim:#}")
            } else {
                String::new()
            };
            writeln!(out, "{start}{style}{line}{style:#}{tail}")?;
        }
    }
    for (number, line) in fold(&lane.advice, width.saturating_sub(2))
        .iter()
        .enumerate()
    {
        let start = if number == 0 { "→ " } else { "  " };
        writeln!(out, "{start}{line}")?;
    }
    Ok(())
}

/// What stands on the line of time for a mark: the steps that are done then, or a sign.
fn glyph(mark: &Mark) -> (String, Style) {
    match mark.kind {
        Kind::Step => (mark.stage.to_string(), Style::new().bold()),
        Kind::Open => ("◆".to_owned(), AnsiColor::Green.on_default().bold()),
        Kind::Close => ("◇".to_owned(), AnsiColor::Green.on_default()),
        Kind::Failed => ("✗".to_owned(), AnsiColor::Red.on_default().bold()),
        Kind::Rejected => ("x".to_owned(), AnsiColor::Red.on_default()),
        Kind::Ignored => ("·".to_owned(), Style::new().dimmed()),
        Kind::Lost => ("?".to_owned(), AnsiColor::Yellow.on_default().bold()),
    }
}

/// The longest time that is drawn to scale, in microseconds; a longer one is cut, and drawn so.
const CUT: i64 = 30_000_000;

/// The line of time with its marks, and below it how long after the first some of them were; as many of the last
/// marks as have room.
fn axis(marks: &[Mark], width: usize) -> Vec<String> {
    let glyphs: Vec<_> = marks.iter().map(glyph).collect();
    let mut room = width;
    let mut shown = 0;
    for (text, _) in glyphs.iter().rev() {
        room = match room.checked_sub(text.chars().count() + 1) {
            Some(room) => room,
            None => break,
        };
        shown += 1;
    }
    let skipped = marks.len() - shown;
    let marks = marks.get(skipped..).unwrap_or_default();
    let (Some(first), Some(last)) = (marks.first(), marks.last()) else {
        return Vec::new();
    };
    let gaps = || {
        marks.windows(2).map(|pair| match pair {
            [one, next] => (next.at_us - one.at_us).max(0),
            _ => 0,
        })
    };
    let whole: i64 = gaps().map(|gap| gap.min(CUT)).sum();
    let dim = Style::new().dimmed();
    let (mut line, mut below) = (Vec::new(), String::new());
    let mut column = 0;
    let before = std::iter::once(0).chain(gaps());
    for ((gap, mark), (text, style)) in before.zip(marks).zip(glyphs.iter().skip(skipped)) {
        let share = usize::try_from(gap.min(CUT)).unwrap_or(0) * room
            / usize::try_from(whole.max(1)).unwrap_or(1);
        let stroke = if gap > CUT { "┄" } else { "─" };
        let length = if column == 0 { 0 } else { 1 + share };
        let stroke = stroke.repeat(length);
        line.push(format!("{dim}{stroke}{dim:#}{style}{text}{style:#}"));
        let since = picture::span(mark.at_us - first.at_us);
        let is_last = std::ptr::eq(mark, last);
        let place = column + length;
        column = place + text.chars().count();
        let start = place.min(width.saturating_sub(since.len()));
        let written = below.chars().count();
        let is_free = start > written + usize::from(written > 0);
        if place > 0 && is_free && (is_last || share > 4) {
            below += &" ".repeat(start - written);
            below += &since;
        }
    }
    let mut lines = vec![line.concat()];
    if !below.is_empty() {
        lines.push(format!("{dim}{below}{dim:#}"));
    }
    lines
}

#[cfg(test)]
#[path = "explain_test.rs"]
mod tests;
