//! A [`Report`] → one page of HTML that needs nothing else: no script, no font, no picture from elsewhere.
//!
//! In: what was kept, and the totals of the replay. Out: HTML for any browser, from `file://`, with a policy that
//! forbids every request. It can be used by keyboard, read aloud and printed, and follows the reader's light or dark
//! setting. Every text that is not ours is escaped. Steps have numbers.

use std::cmp::Reverse;
use std::fmt::Display;
use std::net::IpAddr;

use super::{Counts, MAX_EVENTS, MAX_EVENTS_EACH, MAX_SOURCES, Report, Source};
use crate::calendar::rfc3339;
use crate::engine::event::EventKind;
use crate::render::{span, what};
use crate::replay::{Shown, Summary};

/// Events beside steps and resets, in the order of a table.
const WORDS: [&str; 6] = [
    "open",
    "refresh",
    "close",
    "refused",
    "locked_out",
    "codes_refused",
];
/// How many of the addresses that sent most are listed.
const TOP: usize = 20;
/// The picture of a timeline, in units of its own.
const WIDTH: f64 = 720.0;
const MARGIN: f64 = 8.0;
const LANE: f64 = 64.0;
const CLIMB: f64 = 30.0;
/// A gap of a minute or more that is drawn so wide has its length below it.
const LABEL: f64 = 48.0;

/// The page for logs of these names.
pub fn page(report: &Report, summary: &Summary, files: &[String]) -> String {
    let mut sources: Vec<_> = report.sources.iter().collect();
    sources.sort_by_key(|(src, source)| (Reverse(source.sent()), **src));
    let top: Vec<_> = sources.iter().copied().take(TOP).collect();
    sources.retain(|(_, source)| source.happened > 0);
    sources.sort_by_key(|(_, source)| Reverse(source.rank()));
    sources.truncate(MAX_SOURCES);
    let tables = [
        knockers(&sources),
        doors(report),
        rejected(summary),
        most(&top),
    ];
    format!(
        include_str!("page.html"),
        file = escaped(files.first().map_or("", String::as_str)),
        style = include_str!("page.css"),
        period = period(report),
        totals = totals(report, summary),
        files = list(files),
        tables = tables.concat(),
        losses = losses(summary),
        timelines = timelines(&sources, files),
        version = env!("CARGO_PKG_VERSION"),
        sources = MAX_SOURCES,
        each = MAX_EVENTS_EACH,
        events = grouped(MAX_EVENTS as u64),
        left_out = left_out(report),
    )
}

type Sources<'a> = [(&'a IpAddr, &'a Source)];

fn period(report: &Report) -> String {
    report.period.map_or_else(String::new, |(first, last)| {
        let (first, last) = (rfc3339(first), rfc3339(last));
        format!("<time>{first}</time> to <time>{last}</time>")
    })
}

fn totals(report: &Report, summary: &Summary) -> String {
    let rejected = summary.rejected.iter().map(|(_, count)| count).sum();
    let totals = [
        ("lines", summary.lines),
        ("packets counted", summary.hits),
        ("did not count", rejected),
        ("events", report.events),
        ("opened", summary.opens),
        ("losses", summary.losses.times),
    ];
    let total = |(what, count)| format!("<div><dt>{what}</dt><dd>{}</dd></div>\n", grouped(count));
    totals.map(total).concat()
}

/// The files by number, where there are several.
fn list(files: &[String]) -> String {
    if files.len() < 2 {
        return String::new();
    }
    let file = |file: &String| format!("<li><span class=\"file\">{}</span></li>\n", escaped(file));
    let files: String = files.iter().map(file).collect();
    format!("<p>Files, by their number:</p>\n<ol>\n{files}</ol>\n")
}

fn left_out(report: &Report) -> String {
    if report.left_out == 0 {
        return String::new();
    }
    let times = grouped(report.left_out);
    format!(
        " There were more: addresses that came less far and sent fewer packets were left out {times} times. One \
         that came again is counted again."
    )
}

fn losses(summary: &Summary) -> String {
    let losses = summary.losses;
    if losses.times == 0 {
        return "The log mentions no missing messages.".to_owned();
    }
    let (times, messages) = (grouped(losses.times), grouped(losses.messages));
    format!(
        "Messages are missing. Times that the log says so: {times}; messages, at least: {messages}. Knocks may have been \
         among them."
    )
}

fn knockers(sources: &Sources<'_>) -> String {
    let row = |(number, (src, source)): (usize, &(&IpAddr, &Source))| {
        let (stage, of) = source.furthest;
        vec![
            format!("<a href=\"#a{number}\">{src}</a>"),
            grouped(source.opens),
            format!("{stage} of {of}"),
            grouped(source.packets),
            grouped(source.rejected),
        ]
    };
    let columns = [
        "Address",
        "Opened",
        "Furthest step",
        "Packets",
        "Did not count",
    ];
    let rows = sources.iter().enumerate().map(row).collect();
    let none = "Nobody: no packet was the first step of a door.";
    section("Who knocked", none, &columns, rows)
}

fn doors(report: &Report) -> String {
    let mut rows = Vec::new();
    for (door, counts) in &report.doors {
        let counts = told(counts);
        let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
        for (what, count) in counts {
            rows.push(vec![escaped(door), what, grouped(count), bar(count, most)]);
        }
    }
    let columns = ["Door", "What happened", "Times", ""];
    section("Doors", "Nothing happened at any door.", &columns, rows)
}

/// What happened at a door, in words.
fn told(counts: &Counts) -> Vec<(String, u64)> {
    let words = |word: &str| word.replace('_', " ");
    let steps = counts.steps.iter().zip(1..);
    let steps = steps.map(|(count, step)| (format!("step {step} reached"), *count));
    let others = WORDS
        .iter()
        .filter_map(|word| Some((words(word), *counts.others.get(word)?)));
    let resets = counts.resets.iter();
    let resets = resets.map(|(reason, count)| (format!("reset: {}", words(reason)), *count));
    steps.chain(others).chain(resets).collect()
}

fn rejected(summary: &Summary) -> String {
    let most = summary.rejected.iter().map(|(_, count)| count).max();
    let most = most.unwrap_or(0);
    let rows = summary.rejected.iter().map(|(reason, count)| {
        let (word, meaning) = (reason.as_str().to_owned(), escaped(reason.meaning()));
        vec![word, meaning, grouped(count), bar(count, most)]
    });
    let columns = ["Reason", "Meaning", "Lines", ""];
    let (title, none) = (
        "Lines that did not count",
        "None: every packet line counted.",
    );
    section(title, none, &columns, rows.collect())
}

fn most(top: &Sources<'_>) -> String {
    let most = top.first().map_or(0, |(_, source)| source.sent());
    let row = |(src, source): &(&IpAddr, &Source)| {
        let [packets, rejected] = [source.packets, source.rejected].map(grouped);
        vec![src.to_string(), packets, rejected, bar(source.sent(), most)]
    };
    let columns = ["Address", "Packets", "Did not count", ""];
    let rows = top.iter().map(row).collect();
    section("Top sources", "No packet was read.", &columns, rows)
}

fn timelines(sources: &Sources<'_>, files: &[String]) -> String {
    let mut room = MAX_EVENTS;
    let article = |(number, (src, source)): (usize, &(&IpAddr, &Source))| {
        let count = source.events.len().min(room);
        room -= count;
        let skipped = source.events.len() - count;
        let events: Vec<_> = source.events.iter().skip(skipped).collect();
        let (opens, sent) = (grouped(source.opens), grouped(source.sent()));
        let happened = grouped(source.happened);
        let missing = match source.happened - count as u64 {
            0 => String::new(),
            missing => format!(" The first {} events are left out.", grouped(missing)),
        };
        let body = if count > 0 {
            let (picture, table) = (picture(**src, &events), happenings(**src, &events, files));
            format!("{picture}<details>\n<summary>Events of {src}</summary>\n{table}</details>\n")
        } else {
            String::new()
        };
        format!(
            "<article id=\"a{number}\" tabindex=\"-1\">\n<h3>{src}</h3>\n<p>{happened} events, {opens} opens, {sent} \
             packets.{missing}</p>\n{body}</article>\n"
        )
    };
    sources.iter().enumerate().map(article).collect()
}

/// The events of an address in a table.
fn happenings(src: IpAddr, events: &[&Shown], files: &[String]) -> String {
    let mut before = None;
    let rows = events.iter().map(|Shown { event, time }| {
        let gap = before
            .replace(event.at)
            .map(|before| event.at.since(before));
        let gap = gap.map_or_else(String::new, |gap| match gap.as_secs() {
            0..60 => format!("{:.3} s", gap.as_secs_f64()),
            seconds => span(seconds),
        });
        let line = event
            .whence
            .map_or_else(String::new, |whence| match files.len() {
                0 | 1 => whence.line.to_string(),
                _ => format!("{}:{}", u32::from(whence.source) + 1, whence.line),
            });
        let time = time.map(rfc3339);
        let time = time.map_or_else(String::new, |time| format!("<time>{time}</time>"));
        let (word, what) = (event.kind.as_str(), what(event.kind));
        let what = format!("<span class=\"{word}\">{what}</span>");
        vec![time, gap, escaped(&event.door), what, line]
    });
    let line = if files.len() > 1 { "File:line" } else { "Line" };
    let columns = ["Time", "After", "Door", "Event", line];
    table(&format!("Events of {src}"), &columns, rows.collect())
}

/// A timeline with a lane for each door: it climbs with each step, falls at a reset, and has a bar while open.
fn picture(src: IpAddr, events: &[&Shown]) -> String {
    let places = places(events);
    let mut doors: Vec<_> = events.iter().map(|shown| &shown.event.door).collect();
    doors.sort_unstable();
    doors.dedup();
    let height = LANE * float(doors.len()) + 18.0;
    let ends = places.iter().zip(places.iter().skip(1));
    let pairs = events.iter().zip(events.iter().skip(1)).zip(ends);
    let gaps = pairs.filter_map(|((one, next), (from, to))| {
        let gap = next.event.at.since(one.event.at).as_secs();
        let (x, y) = (f64::midpoint(*from, *to), height - 4.0);
        let is_told = gap >= 60 && to - from >= LABEL;
        let gap = span(gap);
        is_told.then(|| format!("<text class=\"gap\" x=\"{x:.1}\" y=\"{y}\">{gap}</text>\n"))
    });
    let lanes = doors.into_iter().enumerate().map(|(number, door)| {
        let marks = events.iter().copied().zip(places.iter().copied());
        let marks = marks.filter(|(shown, _)| shown.event.door == *door);
        lane(LANE * float(number), door, marks)
    });
    let svg: String = gaps.chain(lanes).collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Timeline of {src}\">\n<svg \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Timeline of {src}; the table below has each \
         event\">\n{svg}</svg></div>\n"
    )
}

fn lane<'e>(top: f64, door: &str, events: impl Iterator<Item = (&'e Shown, f64)>) -> String {
    let base = top + 20.0 + CLIMB;
    let bar = base + 2.0;
    let mut climb = vec![format!("M{MARGIN} {base}")];
    let mut opened = None;
    let mark = |(shown, x): (&Shown, f64)| {
        let kind = shown.event.kind;
        let time = shown.time.map(rfc3339).unwrap_or_default();
        let title = format!("<title>{time} {}</title>", what(kind));
        let height = |stage, of: usize| base - CLIMB * float(stage) / float(of.max(1));
        match kind {
            EventKind::Stage { stage, of } => {
                let y = height(stage, of);
                climb.push(format!("H{x:.1}V{y:.1}"));
                format!(
                    "<circle class=\"stage\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\">{title}</circle>"
                )
            }
            EventKind::Reset { stage, of, .. } => {
                climb.push(format!("H{x:.1}V{base}"));
                let (x, y) = (x - 4.0, height(stage, of) - 4.0);
                format!("<path class=\"reset\" d=\"M{x:.1} {y:.1}l8 8m0-8l-8 8\">{title}</path>")
            }
            EventKind::Open | EventKind::Refresh => {
                climb.push(format!("H{x:.1}V{base}"));
                opened = opened.or(Some(x));
                format!("<path class=\"open\" d=\"M{x:.1} {base}v9\">{title}</path>")
            }
            EventKind::Close => {
                let from = opened.take().unwrap_or(MARGIN);
                let width = (x - from).max(1.0);
                format!(
                    "<rect class=\"open\" x=\"{from:.1}\" y=\"{bar}\" width=\"{width:.1}\" height=\"7\">{title}</rect>"
                )
            }
            EventKind::LockedOut | EventKind::CodesRefused | EventKind::Refused { .. } => {
                let (x, y) = (x - 4.0, base - CLIMB - 4.0);
                format!(
                    "<rect class=\"no\" x=\"{x:.1}\" y=\"{y}\" width=\"8\" height=\"8\">{title}</rect>"
                )
            }
        }
    };
    let marks: String = events.map(mark).collect();
    let (label, end, climb) = (top + 13.0, WIDTH - MARGIN, climb.concat());
    let door = escaped(door);
    format!(
        "<text x=\"{MARGIN}\" y=\"{label}\">{door}</text>\n<path class=\"climb\" d=\"{climb}H{end}\"/>{marks}\n"
    )
}

/// Where events stand: a gap is as wide as the logarithm of its seconds, so that seconds and days can be seen alike.
fn places(events: &[&Shown]) -> Vec<f64> {
    let mut total = 0.0;
    let mut before = None;
    let sum = |shown: &&Shown| {
        let gap = before
            .replace(shown.event.at)
            .map(|before| shown.event.at.since(before));
        total += gap.unwrap_or_default().as_secs_f64().ln_1p();
        total
    };
    let sums: Vec<f64> = events.iter().map(sum).collect();
    // A mark at the end is not cut off.
    let (from, width) = (2.0 * MARGIN, WIDTH - 4.0 * MARGIN);
    let scale = if total > 0.0 { width / total } else { 0.0 };
    sums.into_iter().map(|sum| from + sum * scale).collect()
}

/// A table under a heading, or the sentence that says why there is none.
fn section(title: &str, none: &str, columns: &[&str], rows: Vec<Vec<String>>) -> String {
    let body = if rows.is_empty() {
        format!("<p>{none}</p>\n")
    } else {
        table(title, columns, rows)
    };
    format!("<section>\n<h2>{title}</h2>\n{body}</section>\n")
}

/// A table of cells that are HTML; the first one of a row is its head.
fn table(caption: &str, columns: &[&str], rows: Vec<Vec<String>>) -> String {
    let head = |column: &&str| match *column {
        "" => "<td></td>".to_owned(),
        column => format!("<th scope=\"col\">{column}</th>"),
    };
    let heads: String = columns.iter().map(head).collect();
    let row = |cells: Vec<String>| {
        let cells = cells.join("</td><td>").replacen("</td>", "</th>", 1);
        format!("<tr><th scope=\"row\">{cells}</td></tr>\n")
    };
    let rows: String = rows.into_iter().map(row).collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{caption}\"><table><caption>{caption}</caption>\n\
         <thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )
}

/// A bar for a number, relative to the greatest one.
fn bar(count: u64, most: u64) -> String {
    let width = u128::from(count) * 1000 / u128::from(most.max(1));
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 1000 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect \
         width=\"{width}\" height=\"8\"/></svg>"
    )
}

/// A number in groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let group = |(place, digit)| match (digits.len() - place) % 3 {
        0 if place > 0 => format!("\u{202f}{digit}"),
        _ => String::from(digit),
    };
    digits.char_indices().map(group).collect()
}

/// A small number.
fn float(number: usize) -> f64 {
    u32::try_from(number).map_or(0.0, f64::from)
}

/// A text that is not ours, as HTML.
fn escaped(text: impl Display) -> String {
    let mut escaped = String::new();
    for character in text.to_string().chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}
