//! `logknock explain`: why did this address's knock open nothing, or why did it?
//!
//! In: what the running daemon remembers of an address, or logs and what the same engine makes of them.
//! Out: what happened, in order, each with its reason in plain words. The order of a sequence is told
//! by numbers of steps; no port is.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};

use super::exit::{Code, Failure};
use super::settings::Global;
use super::table::span;
use super::{Format, ask, input};
use crate::calendar::Zone;
use crate::engine::reason::Reason;
use crate::memory::{Limits, Memory};
use crate::protocol::{FleetRefusal, Happening, Reply, Request, Story};
use crate::replay::{self, Input, Seen};

/// Of a log, so many things are told: the last ones.
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
        Format::Text => write_story(&mut out, &story)?,
    }
    Ok(())
}

/// What the engine makes of the logs, as far as it concerns `src`.
fn from_logs(src: IpAddr, files: &[PathBuf], global: &Global) -> Result<Story, Failure> {
    let settings = global.load()?;
    let inputs = files.iter().map(|path| {
        let (content, written) = input::open(path)?;
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
    replay::watch(
        inputs,
        &settings.readers.usual,
        settings.doors,
        settings.config.log.knocker_prefix,
        Zone::Local,
        &mut |seen| {
            match seen {
                Seen::Event(shown) if shown.event.src == src => {
                    memory.event(&shown.event, shown.time);
                }
                Seen::Packet {
                    src: from,
                    whence,
                    time,
                    verdict,
                } if from == src => memory.packet(src, time, whence, verdict),
                Seen::Line {
                    bytes,
                    whence,
                    reason,
                } if names(bytes, src) => memory.packet(src, None, whence, Err(reason)),
                Seen::Event(_) | Seen::Packet { .. } | Seen::Line { .. } => {}
            }
            Ok(())
        },
    )
    .map_err(|error| {
        let message = format!("logknock: reading a log failed: {error}");
        Failure::new(Code::Unavailable, message)
    })?;
    let name = |source: u16| Some(files.get(usize::from(source))?.display().to_string());
    Ok(Story {
        src,
        happenings: memory.of(src, name),
        grants: Vec::new(),
        refused: Vec::new(),
    })
}

/// Whether a line that is not believed says that it is about a packet from `src`.
fn names(line: &[u8], src: IpAddr) -> bool {
    let mut rest = line;
    while let Some(place) = memchr::memmem::find(rest, b"SRC=") {
        rest = rest.get(place + 4..).unwrap_or_default();
        let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
        let word = rest.get(..end).and_then(|word| str::from_utf8(word).ok());
        let address = word.and_then(|word| word.parse::<IpAddr>().ok());
        if address.is_some_and(|address| address.to_canonical() == src) {
            return true;
        }
    }
    false
}

fn write_story(out: &mut impl Write, story: &Story) -> io::Result<()> {
    for happening in &story.happenings {
        let time = happening.time.as_deref().unwrap_or("");
        let door = happening.door.as_deref().unwrap_or("");
        let (text, style) = sentence(happening);
        let times = match happening.times {
            1 => String::new(),
            times => format!(" ({times} times)"),
        };
        let whence = match (&happening.file, happening.line) {
            (Some(file), Some(line)) => format!("  [{file}:{line}]"),
            _ => String::new(),
        };
        let dim = Style::new().dimmed();
        writeln!(
            out,
            "{time:<27}  {door:<8}  {style}{text}{style:#}{times}{dim}{whence}{dim:#}"
        )?;
    }
    if !story.happenings.is_empty() {
        writeln!(out)?;
    }
    for grant in &story.grants {
        let left = span(grant.left_seconds);
        let by = grant.origin.as_ref();
        let by = by.map_or(String::new(), |by| format!(", opened by {by}"));
        writeln!(
            out,
            "{} is open for {}{by}, {left} left",
            grant.door, story.src
        )?;
    }
    for refusal in &story.refused {
        let FleetRefusal {
            seconds_ago,
            gateway,
            door,
            reason,
        } = refusal;
        let ago = span(*seconds_ago);
        writeln!(
            out,
            "{gateway} opened {door} {ago} ago, which does not count here: {reason}"
        )?;
    }
    if story.grants.is_empty() {
        writeln!(out, "{}", conclusion(story))?;
    }
    Ok(())
}

/// What a happening means.
fn sentence(happening: &Happening) -> (String, Style) {
    let plain = Style::new();
    let Happening { stage, of, .. } = happening;
    let (stage, of) = (stage.unwrap_or(0), of.unwrap_or(0));
    let reason = happening.reason.as_deref().unwrap_or("");
    match happening.event.as_str() {
        "stage" => (format!("knock {stage} of {of} was right"), plain),
        "open" => (
            "the door opened".to_owned(),
            AnsiColor::Green.on_default().bold(),
        ),
        "refresh" => (
            "it was open, and stays so for longer".to_owned(),
            AnsiColor::Green.on_default(),
        ),
        "close" => ("the door closed".to_owned(), AnsiColor::Yellow.on_default()),
        "refused" => (
            format!("the sequence was right, but {}", why_refused(reason)),
            AnsiColor::Red.on_default().bold(),
        ),
        "reset" => (
            format!(
                "back to the start after {stage} of {of}: {}",
                why_reset(reason)
            ),
            AnsiColor::Yellow.on_default(),
        ),
        "codes_refused" => (
            "too many codes failed: all are refused for an hour".to_owned(),
            AnsiColor::Red.on_default().bold(),
        ),
        "hit" => (
            "a packet that was no next knock of any door".to_owned(),
            Style::new().dimmed(),
        ),
        "rejected" => (
            format!("did not count: {}", why_rejected(reason)),
            AnsiColor::Red.on_default(),
        ),
        other => (other.to_owned(), plain),
    }
}

fn why_reset(reason: &str) -> &str {
    match reason {
        "wrong_port" => "this was not the next knock",
        "timeout" => "not complete within seq_timeout",
        "too_fast" => "sooner after the last knock than min_gap",
        "gap" => "longer after the last knock than knock_timeout",
        "evicted" => "too many addresses were knocking at once",
        other => other,
    }
}

fn why_refused(reason: &str) -> &str {
    match reason {
        "used" => "it opens once and has been used, or a later one has",
        "failed_codes" => "too many codes failed, and all are refused for an hour",
        "used_elsewhere" => "it opens once, and another gateway has used it",
        "no_bus" => "it opens once, and the other gateways could not be asked whether it was used",
        _ => "too many doors are open",
    }
}

fn why_rejected(reason: &str) -> &str {
    Reason::of(reason).map_or(reason, |reason| reason.meaning())
}

/// What it comes to, when nothing is open.
fn conclusion(story: &Story) -> String {
    let src = story.src;
    let opened = |happening: &&Happening| matches!(&*happening.event, "open" | "refresh");
    let moved = |happening: &&Happening| matches!(&*happening.event, "stage" | "reset");
    let happenings = || story.happenings.iter().rev();
    if story.happenings.is_empty() {
        return format!(
            "no packet line of {src} is known: does the LOG rule see its packets, with the configured \
             prefix, before any other rule takes them?"
        );
    }
    if happenings().find(opened).is_some() {
        return format!("nothing is open for {src} now");
    }
    let refused = |happening: &&Happening| &*happening.event == "refused";
    if let Some(last) = happenings().find(|happening| moved(happening) || refused(happening)) {
        let reason = last.reason.as_deref();
        if let Some(reason) = reason.filter(|_| refused(&last)) {
            let door = last.door.as_deref().unwrap_or("");
            return format!(
                "{door} did not open: the sequence was right, but {}",
                why_refused(reason)
            );
        }
        let (stage, of) = (last.stage.unwrap_or(0), last.of.unwrap_or(0));
        let door = last.door.as_deref().unwrap_or("");
        return match last.reason.as_deref() {
            Some(reason) => format!(
                "{door} did not open: {stage} of {of} knocks, then {}",
                why_reset(reason)
            ),
            None => format!("{door} waits for knock {} of {of}", stage + 1),
        };
    }
    "none of its packets was a first knock: look at the sequence, at tcpflags, and at interface, \
     target, allow and deny of the door"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_put_in_words() {
        for reason in Reason::ALL {
            let words = why_rejected(reason.as_str());
            assert_ne!(words, reason.as_str());
        }
    }

    #[test]
    fn a_line_names_an_address_in_any_spelling() {
        let v6 = "2001:db8::7".parse().unwrap();
        assert!(names(
            b"SRC=2001:0db8:0000:0000:0000:0000:0000:0007 DST=::1",
            v6
        ));
        let v4 = "192.0.2.7".parse().unwrap();
        assert!(names(b"x SRC=192.0.2.7", v4));
        assert!(names(b"SRC=? SRC=::ffff:192.0.2.7 \xff", v4));
        for other in [&b"SRC=192.0.2.77 "[..], b"DST=192.0.2.7 ", b"SRC=", b""] {
            assert!(!names(other, v4));
        }
    }
}
