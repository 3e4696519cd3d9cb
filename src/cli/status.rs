//! `logknock status`: what the daemon says of itself, in words and tables.

use std::fmt::Display;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::Format;
use super::ask::{Asked, PATIENCE};
use super::exit::Failure;
use super::settings::Global;
use super::table::{self, Cell, counted, counts, span};
use crate::metrics;
use crate::protocol::{FleetStatus, GrantStatus, JumpStatus, Phase, SourceStatus, Status};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the counters in the format of Prometheus
    #[arg(long, conflicts_with = "json")]
    prometheus: bool,
    /// Refresh it each second, with the last events; q quits, s changes the order of the open doors
    #[arg(long, conflicts_with_all = ["json", "prometheus"])]
    pub(super) watch: bool,
}

/// Runs `status`.
pub(super) fn run(args: &Args, global: &Global, format: Format) -> Result<(), Failure> {
    let status = Asked::of(global).status(PATIENCE)?;
    let mut out = anstream::stdout();
    match (args.prometheus, format) {
        (true, _) => write!(out, "{}", metrics::render(&status))?,
        (false, Format::Json) => writeln!(out, "{}", serde_json::to_string(&status)?)?,
        (false, Format::Text) => write(&mut out, &status, usize::MAX)?,
    }
    Ok(())
}

/// What stands above the sources.
const SOURCE_HEAD: [&str; 7] = [
    "source",
    "trust",
    "lines",
    "last line",
    "lag",
    "lost",
    "health",
];

/// How it is drawn that something is wrong.
const ALARM: Style = AnsiColor::Red.on_default().bold();

/// Says that something is wrong.
fn alarm(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "{ALARM}{text}{ALARM:#}")
}

/// What the wall clock has done.
pub(super) fn jumped(jump: JumpStatus) -> String {
    let way = if jump.ahead_seconds > 0 {
        "ahead"
    } else {
        "back"
    };
    let by = span(jump.ahead_seconds.unsigned_abs());
    format!("was set {way} by {by}, {} ago", span(jump.seconds_ago))
}

/// The status in words and tables; of each table `limit` rows.
pub(super) fn write(out: &mut impl Write, status: &Status, limit: usize) -> io::Result<()> {
    let Status { version, .. } = status;
    let up = span(status.uptime_seconds);
    writeln!(out, "logknock {version}, up {up}")?;
    if let Some(trouble) = &status.detector_trouble {
        alarm(out, &format!("detector: {trouble}"))?;
    }
    if let Some(trouble) = &status.disk_trouble {
        let text = format!("no door opens until the ledger can be written: {trouble}");
        alarm(out, &text)?;
    }
    if let Some(jump) = &status.jump {
        alarm(out, &format!("the clock {}", jumped(*jump)))?;
    }
    if let Some(firewall) = &status.firewall {
        let style = match (&firewall.unknown, firewall.faults.is_empty()) {
            (Some(_), _) => AnsiColor::Yellow.on_default(),
            (None, true) => AnsiColor::Green.on_default(),
            (None, false) => ALARM,
        };
        let looked = span(firewall.looked_seconds);
        writeln!(out, "firewall: {style}{firewall}{style:#} ({looked} ago)")?;
        if let Some(why) = &firewall.not_healed {
            alarm(out, &format!("the rules cannot be restored: {why}"))?;
        }
    }
    let doors = status.doors.iter().map(|door| {
        let counts = [door.steps, door.attempts].map(Cell::from);
        let [steps, attempts] = counts;
        [Cell::from(&door.name), steps, attempts]
    });
    let head = ["door", "steps", "in progress"];
    write_table(out, head, &doors.collect::<Vec<_>>(), limit)?;
    let sources: Vec<_> = status.sources.iter().map(source_row).collect();
    write_table(out, SOURCE_HEAD, &sources, limit)?;
    if let Some(fleet) = &status.fleet {
        write_fleet(out, fleet, limit)?;
    }
    let warn = AnsiColor::Yellow.on_default();
    for source in &status.sources {
        let trouble = source.trouble.as_ref();
        let text = trouble.map(|trouble| format!("{}: {trouble}", source.source));
        for line in text
            .iter()
            .flat_map(|text| table::fold(text, table::width_or(usize::MAX)))
        {
            writeln!(out, "{warn}{line}{warn:#}")?;
        }
    }
    let grants: Vec<_> = status.grants.iter().map(grant_row).collect();
    write_table(out, ["address", "door", "state", "left"], &grants, limit)?;
    let standing = status.grants_open + status.grants_closing;
    match standing.saturating_sub(status.grants.len()) {
        0 if standing == 0 => writeln!(out, "\nno door is open")?,
        more if more > 0 && grants.len() <= limit.saturating_add(1) => {
            writeln!(out, "… and {more} more")?;
        }
        _ => {}
    }
    for given_up in &status.given_up {
        let (door, src) = (&given_up.door, given_up.src);
        let tries = failures(given_up.failed, &given_up.words);
        let text = format!("{door} may still be open for {src}: {tries}; not tried again");
        alarm(out, &text)?;
    }
    for (door, seconds) in &status.codes_refused {
        let left = span(*seconds);
        let text = format!("{door} refuses every code for {left}: too many failed within an hour");
        alarm(out, &text)?;
    }
    write_counts(out, status)
}

/// What came, what became of it, and what failed.
fn write_counts(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let rejected: u64 = status.rejected.values().sum();
    let reasons = counts(&status.rejected);
    let hits = counted(status.hits, "hit");
    writeln!(out, "\n{hits}, {rejected} rejected{reasons}")?;
    let resets = status.resets.values().sum::<u64>();
    let opened = status.events.get("open").copied().unwrap_or(0);
    let (resets, reasons) = (counted(resets, "attempt"), counts(&status.resets));
    writeln!(out, "{opened} opened, {resets} failed{reasons}")?;
    let failed: u64 = status.failed_commands.values().sum();
    if failed > 0 {
        let kinds = counts(&status.failed_commands);
        writeln!(out, "{} failed{kinds}", counted(failed, "command"))?;
    }
    Ok(())
}

/// A table behind an empty line: its first `limit` rows, and how many more there are.
fn write_table<const N: usize>(
    out: &mut impl Write,
    head: [&str; N],
    rows: &[[Cell; N]],
    limit: usize,
) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    // A row takes no more room than the line that says that there is one more.
    let shown = match rows.len() {
        all if all <= limit.saturating_add(1) => all,
        _ => limit,
    };
    let lines = table::lines(head, rows.get(..shown).unwrap_or(rows));
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    match rows.len() - shown {
        0 => Ok(()),
        more => writeln!(out, "… and {more} more"),
    }
}

const ALONE: &str = "this gateway works alone";

/// Whether the other gateways are reached, and what came from each.
fn write_fleet(out: &mut impl Write, fleet: &FleetStatus, limit: usize) -> io::Result<()> {
    let peers = fleet.peers.iter().map(|peer| {
        [
            Cell::from(match &*peer.name {
                "" => "(unknown)",
                name => name,
            }),
            peer.grants.into(),
            ago(peer.last_grant_seconds).into(),
            lag(peer.lag_ms).into(),
            counts(&peer.refused)
                .trim_matches([' ', '(', ')'])
                .to_owned()
                .into(),
        ]
    });
    let head = ["gateway", "grants", "last", "lag", "refused"];
    write_table(out, head, &peers.collect::<Vec<_>>(), limit)?;
    match (fleet.agent, fleet.connected) {
        (false, _) => alarm(out, &format!("logknock-fleet does not run: {ALONE}"))?,
        (true, false) => alarm(out, &format!("the fleet cannot be reached: {ALONE}"))?,
        (true, true) => {
            let count = fleet.unpublished;
            writeln!(out, "connected to the fleet, {count} grants to publish")?;
        }
    }
    let claims = [
        fleet.claims_won,
        fleet.claims_lost,
        fleet.claims_without_bus,
    ];
    let [won, lost, without] = claims;
    if claims != [0; 3] {
        let used = format!("{won} used here, {lost} used elsewhere");
        writeln!(out, "codes: {used}, {without} decided without the fleet")?;
    }
    Ok(())
}

fn ago(seconds: Option<u64>) -> String {
    seconds.map_or("never".to_owned(), |last| format!("{} ago", span(last)))
}

fn lag(millis: Option<impl Display>) -> String {
    millis.map_or(String::new(), |lag| format!("{lag} ms"))
}

fn source_row(source: &SourceStatus) -> [Cell; 7] {
    let health = match &source.trouble {
        Some(_) => Cell::styled(&source.health, AnsiColor::Yellow.on_default()),
        None => Cell::from(&source.health),
    };
    [
        Cell::from(&source.source),
        match &source.doors {
            Some(doors) if doors.is_empty() => {
                Cell::styled("no door", AnsiColor::Yellow.on_default())
            }
            Some(doors) => format!("{}, only {}", source.trust, doors.join(" ")).into(),
            None => Cell::from(&source.trust),
        },
        source.lines.into(),
        ago(source.last_line_seconds).into(),
        lag(source.lag_ms).into(),
        match (source.gaps, source.lost_lines) {
            (0, _) => "0".into(),
            // Of some gaps it is not known how many lines they are.
            (_, lines) => Cell::styled(format!("{lines} or more"), AnsiColor::Yellow.on_default()),
        },
        health,
    ]
}

fn grant_row(grant: &GrantStatus) -> [Cell; 4] {
    let (state, style) = state(grant);
    [
        grant.src.into(),
        Cell::from(&grant.door),
        Cell::styled(state, style),
        match grant.phase {
            Phase::Closing => "".into(),
            Phase::Open | Phase::Owed => span(grant.left_seconds).into(),
        },
    ]
}

fn state(grant: &GrantStatus) -> (String, Style) {
    let tries = match grant.failed {
        0 => String::new(),
        failed => failures(failed, &grant.words),
    };
    match grant.phase {
        Phase::Open => ("open".to_owned(), AnsiColor::Green.on_default().bold()),
        Phase::Closing if tries.is_empty() => {
            ("closing".to_owned(), AnsiColor::Yellow.on_default())
        }
        Phase::Closing => (format!("closing; {tries}"), AnsiColor::Yellow.on_default()),
        Phase::Owed => (tries, AnsiColor::Red.on_default().bold()),
    }
}

/// How often a close failed, and the last line that its command wrote.
fn failures(failed: u32, words: &str) -> String {
    let count = match failed {
        1 => "once".to_owned(),
        failed => format!("{failed} times"),
    };
    match words {
        "" => format!("close failed ({count})"),
        words => format!("close failed ({count}): {words}"),
    }
}
