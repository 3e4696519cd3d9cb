//! `logknock status`, `open`, `close`, `reload`: one request to the running daemon each.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::Format;
use super::exit::{Code, Failure};
use super::settings::Global;
use super::table::{self, Cell, span};
use crate::config;
use crate::metrics;
use crate::protocol::{
    self, AskError, FleetStatus, GivenUp, GrantStatus, Phase, REPLY_TIMEOUT, Reply, Request,
    SourceStatus, Status, Whose,
};

/// How long the daemon may take to answer …
const PATIENCE: Duration = Duration::from_secs(5);
/// … and to open a door, whose command runs first.
const OPEN_PATIENCE: Duration = REPLY_TIMEOUT.saturating_add(PATIENCE);

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// Print the counters as Prometheus reads them
    #[arg(long, conflicts_with = "json")]
    prometheus: bool,
}

/// Arguments of `open`.
#[derive(Debug, clap::Args)]
pub(super) struct OpenArgs {
    /// The door's name
    #[arg(value_name = "DOOR")]
    door: String,
    /// The address to open it for
    #[arg(value_name = "ADDRESS")]
    src: IpAddr,
}

/// Arguments of `close`.
#[derive(Debug, clap::Args)]
pub(super) struct CloseArgs {
    /// The address whose doors to close
    #[arg(
        value_name = "ADDRESS",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    src: Option<IpAddr>,
    /// Close everybody's doors
    #[arg(long)]
    all: bool,
}

/// Runs `status`.
pub(super) fn status(args: &StatusArgs, global: &Global, format: Format) -> Result<(), Failure> {
    let Reply::Status(status) = ask(global, &Request::Status)? else {
        return Err(misunderstood());
    };
    let mut out = anstream::stdout();
    match (args.prometheus, format) {
        (true, _) => write!(out, "{}", metrics::render(&status))?,
        (false, Format::Json) => writeln!(out, "{}", serde_json::to_string(&status)?)?,
        (false, Format::Text) => write_status(&mut out, &status)?,
    }
    Ok(())
}

/// Runs `open`.
pub(super) fn open(args: &OpenArgs, global: &Global, format: Format) -> Result<(), Failure> {
    let (door, src) = (args.door.clone(), args.src);
    let count = done(ask(global, &Request::Open { door, src })?)?;
    say(format, count, &format!("opened {} for {src}", args.door))
}

/// Runs `close`.
pub(super) fn close(args: &CloseArgs, global: &Global, format: Format) -> Result<(), Failure> {
    let whose = args.src.map_or(Whose::Everybody, Whose::Of);
    let count = done(ask(global, &Request::Close(whose))?)?;
    let text = match (whose, count) {
        (Whose::Of(src), 0) => {
            let message = format!("logknock: nothing is open for {src}");
            return Err(Failure::new(Code::Failed, message));
        }
        (Whose::Everybody, 0) => "nothing is open".to_owned(),
        (_, 1) => "closing 1 door".to_owned(),
        (_, count) => format!("closing {count} doors"),
    };
    say(format, count, &text)
}

/// Runs `reload`.
pub(super) fn reload(global: &Global, format: Format) -> Result<(), Failure> {
    let count = done(ask(global, &Request::Reload)?)?;
    let text = match count {
        1 => "reloaded, 1 door".to_owned(),
        count => format!("reloaded, {count} doors"),
    };
    say(format, count, &text)
}

/// Asks the daemon that `global` means.
pub(super) fn ask(global: &Global, request: &Request) -> Result<Reply, Failure> {
    // Who may ask the daemon need not be allowed to read its configuration.
    let configured = || config::load(&global.config).ok()?.daemon.control;
    let configured = match global.control {
        Some(_) => None,
        None => configured(),
    };
    let path = global.control_path(configured.as_deref());
    let patience = match request {
        Request::Open { .. } | Request::PutBack => OPEN_PATIENCE,
        _ => PATIENCE,
    };
    protocol::ask(&path, request, patience).map_err(|error| unanswered(&path, &error))
}

fn unanswered(path: &Path, error: &AskError) -> Failure {
    let path = path.display();
    match error {
        AskError::NoDaemon(error) => Failure::new(
            Code::Unavailable,
            format!(
                "logknock: no daemon answers at '{path}': {error}\n\
                 start one ('systemctl start logknock'), or say where it is with --control PATH"
            ),
        ),
        AskError::Denied => Failure::new(
            Code::Permission,
            format!(
                "logknock: '{path}': not permitted; root, the daemon's user and the members of 'group' in [daemon] may ask"
            ),
        ),
        AskError::NoReply(error) => Failure::new(
            Code::Unavailable,
            format!("logknock: the daemon at '{path}' did not answer: {error}"),
        ),
    }
}

fn done(reply: Reply) -> Result<usize, Failure> {
    match reply {
        Reply::Done { count } => Ok(count),
        other => Err(refusal(other)),
    }
}

/// What the daemon says instead of what it was asked for.
pub(super) fn refusal(reply: Reply) -> Failure {
    match reply {
        Reply::Failed { message } => Failure::new(Code::Failed, message),
        Reply::Busy => {
            let message = "logknock: too many others are asking the daemon; try again";
            Failure::new(Code::Busy, message)
        }
        _ => misunderstood(),
    }
}

fn misunderstood() -> Failure {
    Failure::new(
        Code::Internal,
        "logknock: the daemon answered something else",
    )
}

fn say(format: Format, count: usize, text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::json!({ "count": count }))?,
        Format::Text => writeln!(out, "{text}")?,
    }
    Ok(())
}

fn write_status(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let Status { version, hits, .. } = status;
    let up = span(status.uptime_seconds);
    writeln!(out, "logknock {version}, up {up}")?;
    let bad = AnsiColor::Red.on_default().bold();
    if let Some(trouble) = &status.detector_trouble {
        writeln!(out, "{bad}the process that reads the log: {trouble}{bad:#}")?;
    }
    if let Some(trouble) = &status.disk_trouble {
        writeln!(
            out,
            "{bad}no door opens until the disk takes it: {trouble}{bad:#}"
        )?;
    }
    if let Some(firewall) = &status.firewall {
        let style = match (&firewall.unknown, firewall.faults.is_empty()) {
            (Some(_), _) => AnsiColor::Yellow.on_default(),
            (None, true) => AnsiColor::Green.on_default(),
            (None, false) => bad,
        };
        let looked = span(firewall.looked_seconds);
        writeln!(out, "firewall: {style}{firewall}{style:#} ({looked} ago)")?;
        if let Some(why) = &firewall.not_healed {
            writeln!(out, "{bad}its rules cannot be put back: {why}{bad:#}")?;
        }
    }
    let doors = status.doors.iter().map(|door| {
        [
            Cell::from(&door.name),
            door.steps.into(),
            door.attempts.into(),
        ]
    });
    write_table(
        out,
        ["door", "knocks", "attempts"],
        &doors.collect::<Vec<_>>(),
    )?;
    let sources: Vec<_> = status.sources.iter().map(source_row).collect();
    write_table(
        out,
        [
            "source",
            "trust",
            "lines",
            "last line",
            "lag",
            "lost",
            "health",
        ],
        &sources,
    )?;
    if let Some(fleet) = &status.fleet {
        write_fleet(out, fleet)?;
    }
    let grants: Vec<_> = status.grants.iter().map(grant_row).collect();
    write_table(out, ["address", "door", "state", "left"], &grants)?;
    let standing = status.grants_open + status.grants_closing;
    match standing.saturating_sub(status.grants.len()) {
        0 if standing == 0 => writeln!(out, "\nno door is open")?,
        0 => {}
        more => writeln!(out, "… and {more} more")?,
    }
    for GivenUp {
        door,
        src,
        failed,
        words,
    } in &status.given_up
    {
        let tries = failures(*failed, words);
        writeln!(
            out,
            "{bad}{door} may stand open for {src}: {tries}; not tried again{bad:#}"
        )?;
    }
    for (door, seconds) in &status.codes_refused {
        let left = span(*seconds);
        writeln!(
            out,
            "{bad}{door} refuses every code for {left}: too many failed within an hour{bad:#}"
        )?;
    }
    let rejected: u64 = status.rejected.values().sum();
    let reasons = counts(&status.rejected);
    writeln!(out, "\n{hits} hits, {rejected} rejected{reasons}")?;
    let resets = status.resets.values().sum::<u64>();
    let opened = status.events.get("open").copied().unwrap_or(0);
    writeln!(
        out,
        "{opened} opened, {resets} attempts failed{}",
        counts(&status.resets)
    )?;
    let failed: u64 = status.failed_commands.values().sum();
    if failed > 0 {
        let kinds = counts(&status.failed_commands);
        writeln!(out, "{failed} commands failed{kinds}")?;
    }
    Ok(())
}

fn write_table<const N: usize>(
    out: &mut impl Write,
    head: [&str; N],
    rows: &[[Cell; N]],
) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let lines = table::lines(head, rows);
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// Whether the other gateways are reached, and what came from each.
fn write_fleet(out: &mut impl Write, fleet: &FleetStatus) -> io::Result<()> {
    let bad = AnsiColor::Red.on_default().bold();
    let peers = fleet.peers.iter().map(|peer| {
        let last = peer.last_grant_seconds;
        [
            Cell::from(if peer.name.is_empty() {
                "(unknown)"
            } else {
                &peer.name
            }),
            peer.grants.into(),
            last.map_or("never".to_owned(), |last| format!("{} ago", span(last)))
                .into(),
            peer.lag_ms
                .map_or(String::new(), |lag| format!("{lag} ms"))
                .into(),
            counts(&peer.refused)
                .trim_matches([' ', '(', ')'])
                .to_owned()
                .into(),
        ]
    });
    let head = ["gateway", "grants", "last", "lag", "refused"];
    write_table(out, head, &peers.collect::<Vec<_>>())?;
    match (fleet.agent, fleet.connected) {
        (false, _) => writeln!(
            out,
            "{bad}logknock-fleet does not run: this gateway is on its own{bad:#}"
        )?,
        (true, false) => writeln!(
            out,
            "{bad}the fleet cannot be reached: this gateway is on its own{bad:#}"
        )?,
        (true, true) => writeln!(
            out,
            "connected to the fleet, {} grants to publish",
            fleet.unpublished
        )?,
    }
    let claims = [
        fleet.claims_won,
        fleet.claims_lost,
        fleet.claims_without_bus,
    ];
    let [won, lost, without] = claims;
    if claims != [0; 3] {
        writeln!(
            out,
            "codes: {won} used here, {lost} used elsewhere, {without} decided without the fleet"
        )?;
    }
    Ok(())
}

fn source_row(source: &SourceStatus) -> [Cell; 7] {
    let last = source.last_line_seconds;
    let health = match &source.trouble {
        Some(trouble) => Cell::styled(trouble, AnsiColor::Yellow.on_default()),
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
        last.map_or("never".to_owned(), |last| format!("{} ago", span(last)))
            .into(),
        source
            .lag_ms
            .map_or(String::new(), |lag| format!("{lag} ms"))
            .into(),
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

/// Words and how often each, in brackets; nothing when there are none.
fn counts(words: &BTreeMap<String, u64>) -> String {
    if words.is_empty() {
        return String::new();
    }
    let words = words.iter().map(|(word, count)| format!("{word} {count}"));
    format!(" ({})", words.collect::<Vec<_>>().join(", "))
}
