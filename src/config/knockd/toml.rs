//! A schema that was read from a knockd.conf, written down as TOML.
//!
//! In: the schema. Out: a text that means the same. Only what a knockd.conf can say is written.

use std::fmt::Write as _;
use std::time::Duration;

use crate::config::command::CommandText;
use crate::config::prefix::Prefix;
use crate::config::report::{Report, error};
use crate::config::schema::{NamedDoor, Schema};
use crate::config::scope::Flags;
use crate::config::sequence::steps;
use crate::config::value::{Given, Optional as _};
use crate::engine::packet::TcpFlags;

use super::door::is_ambiguous;

/// What the file begins with.
const HEAD: &str = "\
# Written by 'logknock convert'. A sequence is a password: keep this file at mode 0600.

[log]
# Where the lines of your LOG rule are: \"kmsg\", \"journald\", or a file. A file needs a secret prefix that
# only the rule and this file have.
# sources = [\"kmsg\"]
";

/// What stands above the doors.
const DEFAULTS: &str = "\
[defaults]
# As in knockd: other ports are ignored, so a scan in random order can open a door. With true, any other
# port resets the attempt; then the LOG rule must see every closed port.
strict = false
# As in knockd: /bin/sh runs the commands, and their exit status is only logged.
shell  = true
ignore_status = true
";

/// Reports what cannot be written in TOML.
pub(in crate::config) fn check(schema: &Schema, report: &Report) {
    for door in &schema.doors {
        let table = &door.table;
        let commands = [
            &table.start_command,
            &table.start_command_6,
            &table.stop_command,
            &table.stop_command_6,
        ];
        for given in commands.into_iter().flatten() {
            if let Some(CommandText::Script(script)) = &given.value
                && is_ambiguous(script)
            {
                let message = "a word between percent signs that knockd leaves alone would be a placeholder in TOML";
                let fix = "put the command into a script of its own";
                report.add(error(given.span, message).fix(fix));
            }
        }
    }
}

/// `schema` as TOML, with the log prefix if there is one.
pub(in crate::config) fn write(schema: &Schema, prefix: Option<&Prefix>) -> String {
    let mut text = HEAD.to_owned();
    match prefix.and_then(|prefix| str::from_utf8(prefix.as_bytes()).ok()) {
        Some(prefix) => line(&mut text, "prefix", &quoted(prefix)),
        None => text.push_str("# prefix  = \"…\"\n"),
    }
    let daemon = &schema.daemon;
    let log = daemon.knockd_log.set().and_then(|path| path.to_str());
    let syslog = daemon.knockd_syslog.set().filter(|syslog| **syslog);
    if log.is_some() || syslog.is_some() {
        text.push_str("\n[daemon]\n");
    }
    if let Some(path) = log {
        line(&mut text, "knockd_log", &quoted(path));
    }
    if syslog.is_some() {
        line(&mut text, "knockd_syslog", "true");
    }
    text.push('\n');
    text.push_str(DEFAULTS);
    if let Some(interface) = schema.defaults.interface.set() {
        line(&mut text, "interface", &quoted(&interface.0));
    }
    for door in &schema.doors {
        write_door(&mut text, door);
    }
    text
}

fn write_door(text: &mut String, door: &NamedDoor) {
    let name = &*door.name;
    let name = if name.contains('.') {
        quoted(name)
    } else {
        name.to_owned()
    };
    text.push_str("\n[door.");
    text.push_str(&name);
    text.push_str("]\n");
    let table = &door.table;
    let path = table
        .one_time_sequences
        .set()
        .and_then(|path| path.to_str());
    let command = |given: &Option<Given<CommandText>>| match given.set() {
        Some(CommandText::Script(script)) => Some(quoted(script)),
        _ => None,
    };
    let seconds = |given: &Option<Given<Duration>>| given.set().map(|span| duration(*span));
    let keys = [
        (
            "sequence",
            table.sequence.set().map(|sequence| steps(sequence.steps())),
        ),
        ("one_time_sequences", path.map(quoted)),
        (
            "look_ahead",
            table.look_ahead.set().map(|ahead| ahead.0.to_string()),
        ),
        ("seq_timeout", seconds(&table.seq_timeout)),
        ("tcpflags", table.tcpflags.set().map(|flags| words(*flags))),
        (
            "target",
            table
                .target
                .set()
                .map(|target| quoted(&target.0.to_string())),
        ),
        ("start_command", command(&table.start_command)),
        ("start_command_6", command(&table.start_command_6)),
        ("stop_command", command(&table.stop_command)),
        ("stop_command_6", command(&table.stop_command_6)),
        ("cmd_timeout", seconds(&table.cmd_timeout)),
    ];
    for (key, value) in keys {
        if let Some(value) = value {
            line(text, key, &value);
        }
    }
}

/// One key.
fn line(text: &mut String, key: &str, value: &str) {
    // A String takes everything.
    let _ = writeln!(text, "{key} = {value}");
}

fn words(flags: Flags) -> String {
    let of = |flags: TcpFlags, mark: &str| -> Vec<String> {
        flags
            .names()
            .map(|name| format!("\"{mark}{name}\""))
            .collect()
    };
    let words = [of(flags.set, ""), of(flags.clear, "!")].concat();
    format!("[{}]", words.join(", "))
}

fn duration(span: Duration) -> String {
    match (span.as_secs(), span.subsec_millis()) {
        (seconds, 0) => format!("\"{seconds}s\""),
        _ => format!("\"{}ms\"", span.as_millis()),
    }
}

/// A string of TOML: as it is where that is possible.
fn quoted(text: &str) -> String {
    let plain = !text.chars().any(char::is_control);
    if plain && !text.contains(['"', '\\']) {
        return format!("\"{text}\"");
    }
    if plain && !text.contains('\'') {
        return format!("'{text}'");
    }
    let mut escaped = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => escaped.extend(['\\', character]),
            _ if character.is_control() => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(character));
            }
            _ => escaped.push(character),
        }
    }
    escaped.push('"');
    escaped
}

#[cfg(test)]
#[path = "toml_test.rs"]
mod tests;
