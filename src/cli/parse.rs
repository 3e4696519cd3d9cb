//! `logknock parse`: shows how each line is read, or why it is rejected.

use std::io::{self, IsTerminal, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::exit::{Failure, tell};
use super::{Format, input, results};
use crate::calendar::{Calendar, Zone, rfc3339};
use crate::dialect::{self, Verdict};
use crate::engine::packet::{Packet, Proto};
use crate::engine::reason::{Reason, Tally};
use crate::engine::time::Time;
use crate::engine::timeline::Wall;
use crate::replay::lines::{Line, Lines};

/// Arguments of `parse`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Logs to read, also as `.gz` or `.zst`; standard input when none is given, or for `-`
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Runs `parse`.
pub(super) fn run(args: &Args, format: Format) -> Result<(), Failure> {
    let mut out = results();
    let mut counts = Counts::default();
    let stdin = [PathBuf::from("-")];
    let files = if args.files.is_empty() {
        if io::stdin().is_terminal() {
            tell("reading lines from the terminal; end with Ctrl-D");
        }
        &stdin[..]
    } else {
        &args.files
    };
    let name_width = files.iter().map(|path| path.display().to_string().len());
    let width = name_width.max().unwrap_or(0) + ":123456".len();
    for path in files {
        let (content, written) = input::open(path)?;
        let name = path.display().to_string();
        let mut calendar = Calendar::new(Zone::Local, written);
        let mut lines = Lines::new(content);
        for number in 1.. {
            let Some(line) = lines
                .next_line()
                .map_err(|error| input::unreadable(path, &error))?
            else {
                break;
            };
            let reading = match line {
                Line::Whole(bytes) => Some(dialect::read(bytes)),
                Line::TooLong => None,
            };
            let record = reading.as_ref().map(dialect::Reading::record);
            let row = Row {
                file: &name,
                line: number,
                time: record
                    .and_then(|record| calendar.resolve(record.stamp?))
                    .map(Wall::time),
                host: record.map_or(&b""[..], |record| record.host),
                verdict: reading.as_ref().map_or(
                    Verdict::Rejected(Reason::TooLong),
                    dialect::Reading::verdict,
                ),
            };
            counts.add(row.verdict);
            match format {
                Format::Json => writeln!(out, "{}", row.json()?)?,
                Format::Text => writeln!(out, "{}", row.text(width))?,
            }
        }
    }
    out.flush()?;
    if format == Format::Text {
        counts.write(&mut anstream::stderr())?;
    }
    Ok(())
}

/// One line as it is shown.
struct Row<'a> {
    file: &'a str,
    line: u64,
    time: Option<Time>,
    host: &'a [u8],
    verdict: Verdict<'a>,
}

#[derive(Serialize)]
struct Json<'a> {
    file: &'a str,
    line: u64,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(flatten)]
    packet: Option<PacketJson>,
}

#[derive(Serialize)]
struct PacketJson {
    prefix: String,
    #[serde(rename = "in")]
    iif: String,
    out: String,
    src: IpAddr,
    dst: IpAddr,
    proto: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    spt: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dpt: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<Vec<&'static str>>,
}

impl Row<'_> {
    fn json(&self) -> serde_json::Result<String> {
        let (verdict, reason, packet) = match self.verdict {
            Verdict::Packet(packet) => ("packet", None, Some(PacketJson::from(packet))),
            Verdict::Other => ("other", None, None),
            Verdict::Rejected(reason) => ("rejected", Some(reason.as_str()), None),
        };
        serde_json::to_string(&Json {
            file: self.file,
            line: self.line,
            verdict,
            reason,
            // What a file says of itself is a claim; only a live source can know better.
            origin: "claimed",
            host: (!self.host.is_empty()).then(|| lossy(self.host)),
            time: self.time.map(rfc3339),
            packet,
        })
    }

    /// One line of a table whose first column is `width` wide.
    fn text(&self, width: usize) -> String {
        let bad = AnsiColor::Red.on_default();
        let dim = Style::new().dimmed();
        let place = format!("{}:{}", self.file, self.line);
        match self.verdict {
            Verdict::Packet(packet) => format!("{place:<width$}  packet    {packet}"),
            Verdict::Other => format!("{dim}{place:<width$}  other{dim:#}"),
            Verdict::Rejected(reason) => {
                let (word, why) = (reason.as_str(), reason.meaning());
                format!("{place:<width$}  {bad}rejected{bad:#}  {word}: {why}")
            }
        }
    }
}

impl From<Packet<'_>> for PacketJson {
    fn from(packet: Packet<'_>) -> Self {
        Self {
            prefix: lossy(packet.prefix),
            iif: lossy(packet.iif),
            out: lossy(packet.oif),
            src: packet.headers.src,
            dst: packet.headers.dst,
            proto: packet.headers.proto.to_string(),
            spt: packet.headers.ports.map(|ports| ports.src),
            dpt: packet.headers.ports.map(|ports| ports.dst),
            flags: (packet.headers.proto == Proto::Tcp && packet.headers.ports.is_some())
                .then(|| packet.headers.flags.names().collect()),
        }
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[derive(Default)]
struct Counts {
    packets: u64,
    other: u64,
    rejected: Tally,
}

impl Counts {
    fn add(&mut self, verdict: Verdict<'_>) {
        match verdict {
            Verdict::Packet(_) => self.packets += 1,
            Verdict::Other => self.other += 1,
            Verdict::Rejected(reason) => self.rejected.add(reason),
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { packets, other, .. } = self;
        let rejected = super::rejected(&self.rejected);
        writeln!(out, "{packets} packets, {rejected}, {other} other")
    }
}
