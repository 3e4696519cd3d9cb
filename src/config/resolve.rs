//! The config as meant: every rule about settings, and about doors next to each other.
//!
//! In: the [`Schema`]. Out: a [`Config`], or what it breaks in the report. What concerns one door
//! alone is in [`super::door`].

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::door::Door;
use crate::engine::event::Occasion;
use crate::engine::sequence::Step;
use crate::firewall::Backend;
use crate::source_spec::SourceSpec;

use super::document::Document;
use super::files;
use super::prefix::{Prefix, PrefixError};
use super::report::{Report, Where, error, warning};
use super::schema::{DaemonTable, FirewallTable, LogTable, NamedDoor, NotifyTable, Schema};
use super::value::{Group, Occasions, Optional as _, User, Within};
use super::{
    Config, Daemon, Firewall, Log, Notify, OwnSource, Written, command, door, fleet, grant,
};

/// Longest default of `max_line_age`.
const MAX_LINE_AGE: Duration = Duration::from_secs(30);

const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
const COMMAND_TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);
const MAX_COMMANDS: Within<1, 64> = Within(8);

/// What `schema` means. Only to be used when nothing in `report` is an error.
pub(super) fn resolve(schema: &Schema, documents: &[Document<'_>], report: &Report) -> Config {
    if schema.doors.is_empty() && !report.has_errors() {
        let path = documents.first().map_or("", |document| document.name);
        let fix = if schema.is_knockds {
            "add a section: [NAME], and in it 'sequence', 'tcpflags' and 'start_command'"
        } else {
            "add a [door.NAME] with 'sequence' and 'start_command'"
        };
        report.add(error(Path::new(path), "there is no door").fix(fix));
    }
    let backend = schema.firewall.backend.value();
    let doors: Vec<Arc<Door>> = schema
        .doors
        .iter()
        .filter_map(|own| door::resolve(own, schema, report))
        .map(Arc::new)
        .collect();
    warn_of_same_sequences(&schema.doors, report);
    if backend.is_none() {
        refuse_without_backend(&schema.firewall, report);
    }
    let firewall = backend.map(|backend| firewall(backend, schema, report));
    Config {
        log: log(schema, &doors, report),
        fleet: fleet::resolve(&schema.fleet, &doors, report),
        daemon: daemon(&schema.daemon, report),
        firewall,
        notify: notify(&schema.notify, report),
        doors,
        is_knockds: schema.is_knockds,
        warnings: Vec::new(),
        written: Written::default(),
    }
}

fn log(schema: &Schema, doors: &[Arc<Door>], report: &Report) -> Log {
    let table = &schema.log;
    let udp_peers = table.udp_peers.value().unwrap_or_default();
    if let Some(sources) = table.sources.as_ref().filter(|_| udp_peers.is_empty())
        && let Some(specs) = &sources.value
        && specs.iter().any(SourceSpec::is_open_to_the_network)
    {
        let message = "any host that reaches the UDP source could send lines to it";
        let fix = "add udp_peers = [\"192.0.2.1\"] with the hosts that may, or listen at 127.0.0.1";
        report.add(error(sources.span, message).fix(fix));
    }
    let longest = doors.iter().map(|door| door.rule.window()).max();
    let usual_age = longest.map_or(MAX_LINE_AGE, |longest| longest.min(MAX_LINE_AGE));
    let mut sources = table.sources.value().unwrap_or_default();
    let own = own_sources(table, doors, &sources, report);
    sources.extend(own.iter().map(|own| own.source.clone()));
    Log {
        sources,
        own,
        prefix: prefix(schema, report),
        format: table.format.value().unwrap_or_default(),
        accept_forgeable: table.accept_forgeable.value().unwrap_or(false),
        max_line_age: table.max_line_age.value().unwrap_or(usual_age),
        knocker_prefix: table.knocker_prefix_v6.value().unwrap_or_default(),
        udp_peers,
        relay_user: table.relay_user.value().map(|User(name)| name),
    }
}

/// What `[[log.source]]` says.
fn own_sources(
    table: &LogTable,
    doors: &[Arc<Door>],
    sources: &[SourceSpec],
    report: &Report,
) -> Vec<OwnSource> {
    let mut own: Vec<OwnSource> = Vec::new();
    for source in table.source.value().unwrap_or_default() {
        let Some(path) = &source.path else { continue };
        let Some(spec) = source.path.value() else {
            continue;
        };
        let is_twice = sources.contains(&spec) || own.iter().any(|own| own.source == spec);
        if is_twice {
            let message = "this source is listed twice";
            let fix = "keep one [[log.source]] for it, and remove it from 'sources'";
            report.add(error(path.span, message).fix(fix));
        }
        if let Some(names) = &source.doors
            && source.doors.set().is_some_and(|names| names.0.is_empty())
        {
            let message = "no door takes lines from this source";
            report.add(error(names.span, message).fix("remove the whole [[log.source]]"));
        }
        let doors = source.doors.value().map(|names| names.among(doors, report));
        own.push(OwnSource {
            source: spec,
            prefix: source.prefix.value(),
            doors: doors.map(Option::unwrap_or_default),
        });
    }
    own
}

/// The log prefix: what a file holds that was named, or else what is written.
fn prefix(schema: &Schema, report: &Report) -> Option<Prefix> {
    if let Some(path) = report.prefix_file.clone() {
        return prefix_in(&path, &*path, report);
    }
    match &schema.prefix_file {
        Some(given) => prefix_in(given.value.as_ref()?, given.span, report),
        None => schema.log.prefix.value(),
    }
}

/// The log prefix that the file at `path` holds, which is named at `at`.
pub(super) fn prefix_in(path: &Path, at: impl Into<Where>, report: &Report) -> Option<Prefix> {
    let text = files::read_named(path, at, report)?;
    let read = str::from_utf8(&text).map_err(|_| PrefixError::Control);
    let read = read.and_then(|text| text.trim_end_matches(['\r', '\n']).parse());
    read.map_err(|why: PrefixError| {
        let fix = "write the prefix of the LOG rule into it, and nothing else";
        report.add(error(path, why.to_string()).fix(fix));
    })
    .ok()
}

/// Keys that say how a backend is used, where none is named.
fn refuse_without_backend(table: &FirewallTable, report: &Report) {
    let keys = [
        table.always_allow.written(),
        table.public.written(),
        table.heal.written(),
    ];
    if table.backend.is_none()
        && let Some(at) = keys.into_iter().flatten().min()
    {
        let fix = "add backend = \"nft\", \"ipset\" or \"iptables\"";
        report.add(error(at, "this needs a 'backend'").fix(fix));
    }
}

/// What each door opens. An element of a set has no owner; a rule has.
fn firewall(backend: Backend, schema: &Schema, report: &Report) -> Firewall {
    let mut first: HashMap<Step, &NamedDoor> = HashMap::new();
    let mut opens = Vec::new();
    for own in &schema.doors {
        let ports = grant::opened(own, &schema.defaults);
        let other = ports
            .iter()
            .map(|port| *first.entry(*port).or_insert(own))
            .find(|other| other.name != own.name);
        if let Some(other) = other
            && backend != Backend::Iptables
        {
            let (door, other) = (&own.name, &other.name);
            let message = format!(
                "door '{door}' opens a port that door '{other}' opens too: closing one closes both"
            );
            report.add(warning(own.at, message).fix("give the port to one of them"));
        }
        if !ports.is_empty() {
            opens.push((Arc::clone(&own.name), ports.into()));
        }
    }
    let table = &schema.firewall;
    Firewall {
        backend,
        opens,
        always_allow: table.always_allow.value().unwrap_or_default(),
        public: table.public.value().unwrap_or_default().0,
        heal: table.heal.value().unwrap_or(false),
    }
}

fn notify(table: &NotifyTable, report: &Report) -> Option<Notify> {
    let Some(given) = &table.command else {
        let keys = [table.on.written(), table.user.written()];
        if let Some(at) = keys.into_iter().flatten().min() {
            let fix = "add command = [\"/path/of/program\"]";
            report.add(error(at, "[notify] has no 'command'").fix(fix));
        }
        return None;
    };
    let every = Occasions(Occasion::ALL.into());
    let Occasions(on) = table.on.value().unwrap_or(every);
    Some(Notify {
        argv: command::words(given, report)?,
        account: command::account(table.user.as_ref(), report),
        on,
    })
}

fn daemon(table: &DaemonTable, report: &Report) -> Daemon {
    if let Some(given) = &table.command_timeout
        && let Some(timeout) = given.value
        && !COMMAND_TIMEOUTS.contains(&timeout)
    {
        let (least, most) = COMMAND_TIMEOUTS.into_inner();
        let message = format!("must be from {} to {} s", least.as_secs(), most.as_secs());
        report.add(error(given.span, message));
    }
    let Within(max_commands) = table.max_commands.value().unwrap_or(MAX_COMMANDS);
    Daemon {
        on_exit: table.on_exit.value().unwrap_or_default(),
        stop_timeout: table.stop_timeout.value().unwrap_or(STOP_TIMEOUT),
        command_timeout: table.command_timeout.value().unwrap_or(COMMAND_TIMEOUT),
        max_commands: usize::try_from(max_commands).unwrap_or(1),
        ephemeral: table.ephemeral.value().unwrap_or(false),
        control: table.control.value(),
        group: table.group.value().map(|Group(name)| name),
        metrics_file: table.metrics_file.value(),
        event_log: table.event_log.value(),
        knockd_log: table.knockd_log.value(),
        knockd_syslog: table.knockd_syslog.value().unwrap_or(false),
    }
}

fn warn_of_same_sequences(doors: &[NamedDoor], report: &Report) {
    let mut first: HashMap<&[Step], &NamedDoor> = HashMap::new();
    for door in doors {
        // Before a code it opens nothing by itself.
        let sequence = door.table.sequence.as_ref();
        let Some(given) = sequence.filter(|_| door.table.totp.is_none()) else {
            continue;
        };
        let Some(sequence) = &given.value else {
            continue;
        };
        let other = first.entry(sequence.steps()).or_insert(door);
        if other.name != door.name {
            let (name, other) = (&door.name, &other.name);
            let message = format!("door '{name}' has the sequence of door '{other}': both open");
            report.add(warning(given.key, message).fix("give each door a sequence of its own"));
        }
    }
}
