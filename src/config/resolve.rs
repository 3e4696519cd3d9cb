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
use crate::engine::knock::KnockerPrefix;
use crate::engine::sequence::Step;
use crate::firewall::Backend;
use crate::source_spec::SourceSpec;

use super::document::Document;
use super::files;
use super::prefix::{Prefix, PrefixError};
use super::report::{Report, Where, error, warning};
use super::schema::{DaemonTable, FirewallTable, LogTable, NamedDoor, NotifyTable, Schema};
use super::sequence::Ports;
use super::value::{DoorNames, Given, Group, Occasions, User, out_of, value, written};
use super::{
    Config, Daemon, Firewall, Log, Notify, OwnSource, Written, command, door, fleet, grant,
};

/// Longest default of `max_line_age`.
const MAX_LINE_AGE: Duration = Duration::from_secs(30);

const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const MAX_COMMANDS: i64 = 8;

/// What `schema` means. Only to be used when nothing in `report` is an error.
pub(super) fn resolve(schema: &Schema, documents: &[Document<'_>], report: &mut Report) -> Config {
    if schema.doors.is_empty() && !report.has_errors() {
        let path = documents.first().map_or("", |document| document.name);
        let fix = if schema.is_knockds {
            "add a section: [NAME], and in it 'sequence', 'tcpflags' and 'start_command'"
        } else {
            "add a [door.NAME] with 'sequence' and 'start_command'"
        };
        report.add(error(Path::new(path), "there is no door").fix(fix));
    }
    let backend = value(schema.firewall.backend.as_ref());
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

fn log(schema: &Schema, doors: &[Arc<Door>], report: &mut Report) -> Log {
    let table = &schema.log;
    let udp_peers = value(table.udp_peers.as_ref()).unwrap_or_default();
    if let Some(sources) = table.sources.as_ref().filter(|_| udp_peers.is_empty())
        && let Some(specs) = &sources.value
        && specs.iter().any(SourceSpec::is_open_to_the_network)
    {
        let message = "any host that reaches the UDP source could send lines to it";
        let fix = "add udp_peers = [\"192.0.2.1\"] with the hosts that may, or listen at 127.0.0.1";
        report.add(error(sources.span, message).fix(fix));
    }
    let longest = doors
        .iter()
        .map(|door| door.rule.window())
        .max()
        .unwrap_or(MAX_LINE_AGE);
    let knockers = within(
        table.knocker_prefix_v6.as_ref(),
        i64::from(KnockerPrefix::LEAST)..=i64::from(KnockerPrefix::MOST),
        out_of,
        report,
    );
    let knockers = knockers.and_then(|bits| KnockerPrefix::new(u8::try_from(bits).ok()?));
    let mut sources = value(table.sources.as_ref()).unwrap_or_default();
    let own = own_sources(table, doors, &sources, report);
    sources.extend(own.iter().map(|own| own.source.clone()));
    Log {
        sources,
        own,
        prefix: prefix(schema, report),
        format: value(table.format.as_ref()).unwrap_or_default(),
        accept_forgeable: value(table.accept_forgeable.as_ref()).unwrap_or(false),
        max_line_age: value(table.max_line_age.as_ref()).unwrap_or(longest.min(MAX_LINE_AGE)),
        knocker_prefix: knockers.unwrap_or_default(),
        udp_peers,
        relay_user: value(table.relay_user.as_ref()).map(|User(name)| name),
    }
}

/// What `[[log.source]]` says.
fn own_sources(
    table: &LogTable,
    doors: &[Arc<Door>],
    sources: &[SourceSpec],
    report: &mut Report,
) -> Vec<OwnSource> {
    let mut own: Vec<OwnSource> = Vec::new();
    for source in value(table.source.as_ref()).unwrap_or_default() {
        let Some(path) = &source.path else { continue };
        let Some(spec) = path.value.clone() else {
            continue;
        };
        let is_twice = sources.contains(&spec) || own.iter().any(|own| own.source == spec);
        if is_twice {
            let message = "this source is listed twice";
            let fix = "keep one [[log.source]] for it, and remove it from 'sources'";
            report.add(error(path.span, message).fix(fix));
        }
        if let Some(names) = &source.doors
            && names
                .value
                .as_ref()
                .is_some_and(|DoorNames(names)| names.is_empty())
        {
            let message = "no door takes lines from this source";
            report.add(error(names.span, message).fix("remove the whole [[log.source]]"));
        }
        let doors = value(source.doors.as_ref()).map(|names| names.among(doors, report));
        own.push(OwnSource {
            source: spec,
            prefix: value(source.prefix.as_ref()),
            doors: doors.map(Option::unwrap_or_default),
        });
    }
    own
}

/// The log prefix: what a file holds that was named, or else what is written.
fn prefix(schema: &Schema, report: &mut Report) -> Option<Prefix> {
    if let Some(path) = report.prefix_file.clone() {
        return prefix_in(&path, &*path, report);
    }
    match &schema.prefix_file {
        Some(given) => prefix_in(given.value.as_ref()?, given.span, report),
        None => value(schema.log.prefix.as_ref()),
    }
}

/// The log prefix that the file at `path` holds, which is named at `at`.
pub(super) fn prefix_in(path: &Path, at: impl Into<Where>, report: &mut Report) -> Option<Prefix> {
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
fn refuse_without_backend(table: &FirewallTable, report: &mut Report) {
    let keys = [
        written(table.always_allow.as_ref()),
        written(table.public.as_ref()),
        written(table.heal.as_ref()),
    ];
    if table.backend.is_none()
        && let Some(at) = keys.into_iter().flatten().min()
    {
        let fix = "add backend = \"nft\", \"ipset\" or \"iptables\"";
        report.add(error(at, "this needs a 'backend'").fix(fix));
    }
}

/// What each door opens. An element of a set has no owner; a rule has.
fn firewall(backend: Backend, schema: &Schema, report: &mut Report) -> Firewall {
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
        always_allow: value(table.always_allow.as_ref()).unwrap_or_default(),
        public: value(table.public.as_ref()).map_or_else(Box::default, |Ports(ports)| ports),
        heal: value(table.heal.as_ref()).unwrap_or(false),
    }
}

fn notify(table: &NotifyTable, report: &mut Report) -> Option<Notify> {
    let Some(given) = &table.command else {
        let keys = [written(table.on.as_ref()), written(table.user.as_ref())];
        if let Some(at) = keys.into_iter().flatten().min() {
            let fix = "add command = [\"/path/of/program\"]";
            report.add(error(at, "[notify] has no 'command'").fix(fix));
        }
        return None;
    };
    let every = Occasions(Occasion::ALL.into());
    let Occasions(on) = value(table.on.as_ref()).unwrap_or(every);
    Some(Notify {
        argv: command::words(given, report)?,
        account: command::account(table.user.as_ref(), report),
        on,
    })
}

fn daemon(table: &DaemonTable, report: &mut Report) -> Daemon {
    let command_timeout = within(
        table.command_timeout.as_ref(),
        SECOND..=HOUR,
        |range| {
            let (least, most) = (range.start().as_secs(), range.end().as_secs());
            format!("must be from {least} to {most} s")
        },
        report,
    );
    let max_commands = within(table.max_commands.as_ref(), 1..=64, out_of, report);
    Daemon {
        on_exit: value(table.on_exit.as_ref()).unwrap_or_default(),
        stop_timeout: value(table.stop_timeout.as_ref()).unwrap_or(STOP_TIMEOUT),
        command_timeout: command_timeout.unwrap_or(COMMAND_TIMEOUT),
        max_commands: usize::try_from(max_commands.unwrap_or(MAX_COMMANDS)).unwrap_or(1),
        ephemeral: value(table.ephemeral.as_ref()).unwrap_or(false),
        control: value(table.control.as_ref()),
        group: value(table.group.as_ref()).map(|Group(name)| name),
        metrics_file: value(table.metrics_file.as_ref()),
        event_log: value(table.event_log.as_ref()),
        knockd_log: value(table.knockd_log.as_ref()),
        knockd_syslog: value(table.knockd_syslog.as_ref()).unwrap_or(false),
    }
}

/// The value of a key, if it is in `range`.
fn within<T: Copy + PartialOrd>(
    given: Option<&Given<T>>,
    range: RangeInclusive<T>,
    problem: impl Fn(&RangeInclusive<T>) -> String,
    report: &mut Report,
) -> Option<T> {
    let given = given?;
    let value = given.value?;
    if !range.contains(&value) {
        report.add(error(given.span, problem(&range)));
    }
    Some(value)
}

fn warn_of_same_sequences(doors: &[NamedDoor], report: &mut Report) {
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
