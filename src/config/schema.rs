//! The config as written: which tables and keys there are.
//!
//! In: TOML trees. Out: [`Schema`], each key with its value and its place, and unknown keys into the
//! report. It knows names and types and no rule about values. To add a key, add its row to a `table!`
//! below: its type says how it is read and whether it is a secret. Read by hand instead of by a
//! serde derive because that stops at the first mistake, and all are to be shown.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::dialect::{Dialect, Format};
use crate::engine::door::{Lockout, OnRepeat};
use crate::firewall::Backend;
use crate::source_spec::SourceSpec;

use super::OnExit;
use super::command::CommandText;
use super::counts::{CountedPort, Counts};
use super::document::{Content, Document};
use super::knockd;
use super::nearest::nearest;
use super::one_time::TotpText;
use super::prefix::Prefix;
use super::problem::{Problem, UnknownKey};
use super::report::{Report, Span};
use super::scope::{Flags, Interface, Networks, Target};
use super::steps::{Opens, Steps};
use super::value::{Group, User, Value, Written};

/// A key of a table.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// Whether its value must never be shown.
    pub(super) secret: bool,
}

/// What was given for a key.
#[derive(Clone)]
pub(super) struct Given<T> {
    /// Where the key stands.
    pub(super) key: Span,
    /// Where the value stands.
    pub(super) span: Span,
    /// The value; `None` when it was none, which has been reported.
    pub(super) value: Option<T>,
}

/// A table whose keys are known.
pub(super) trait Table {
    /// They, in the order in which a man page would have them.
    const KEYS: &'static [Key];

    /// Sets `key` to what is written, in place of what it was. `false` if there is no such key.
    fn set(&mut self, key: &str, at: Span, written: Written<'_>, report: &mut Report) -> bool;

    /// What is set here, and what only `defaults` has.
    #[must_use]
    fn or(&self, defaults: &Self) -> Self;
}

macro_rules! table {
    ($(#[$doc:meta])* $table:ident { $($key:ident: $value:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Default)]
        pub(super) struct $table {
            $(pub(super) $key: Option<Given<$value>>,)*
        }

        impl Table for $table {
            const KEYS: &'static [Key] = &[
                $(Key { name: stringify!($key), secret: <$value as Value>::SECRET },)*
            ];

            fn set(&mut self, key: &str, at: Span, written: Written<'_>, report: &mut Report) -> bool {
                match key {
                    $(stringify!($key) => {
                        let value = <$value as Value>::read(written, report);
                        self.$key = Some(Given { key: at, span: written.span, value });
                    })*
                    _ => return false,
                }
                true
            }

            fn or(&self, defaults: &Self) -> Self {
                Self { $($key: self.$key.clone().or_else(|| defaults.$key.clone()),)* }
            }
        }
    };
}

table! {
    /// `[log]`
    LogTable {
        sources: Vec<SourceSpec>,
        prefix: Prefix,
        dialect: Dialect,
        format: Format,
        accept_forgeable: bool,
        max_line_age: Duration,
        knocker_prefix_v6: i64,
        udp_peers: Networks,
        relay_user: User,
    }
}

table! {
    /// `[daemon]`
    DaemonTable {
        on_exit: OnExit,
        stop_timeout: Duration,
        command_timeout: Duration,
        max_commands: i64,
        ephemeral: bool,
        control: PathBuf,
        group: Group,
        metrics_file: PathBuf,
        event_log: PathBuf,
        knockd_log: PathBuf,
    }
}

table! {
    /// `[firewall]`
    FirewallTable {
        backend: Backend,
    }
}

table! {
    /// `[door.NAME]`, and but for sequences `[defaults]`
    DoorTable {
        sequence: Steps,
        seq_timeout: Duration,
        knock_timeout: Duration,
        min_gap: Duration,
        tcpflags: Flags,
        interface: Interface,
        target: Target,
        allow: Networks,
        deny: Networks,
        strict: bool,
        counts: Counts,
        port: CountedPort,
        window: Duration,
        totp: TotpText,
        one_time_sequences: PathBuf,
        look_ahead: i64,
        lockout: Lockout,
        cooldown: Duration,
        opens: Opens,
        start_command: CommandText,
        start_command_6: CommandText,
        stop_command: CommandText,
        stop_command_6: CommandText,
        shell: bool,
        user: User,
        cmd_timeout: Duration,
        on_repeat: OnRepeat,
        once: bool,
    }
}

/// Tables at the top of a file.
const SECTIONS: [(&str, Section); 5] = [
    ("log", Section::Keys(LogTable::KEYS)),
    ("daemon", Section::Keys(DaemonTable::KEYS)),
    ("firewall", Section::Keys(FirewallTable::KEYS)),
    ("defaults", Section::Keys(DoorTable::KEYS)),
    ("door", Section::Doors(DoorTable::KEYS)),
];

/// What a table at the top of a file holds.
#[derive(Clone, Copy)]
pub(super) enum Section {
    /// Keys.
    Keys(&'static [Key]),
    /// A table of such keys for each door.
    Doors(&'static [Key]),
}

/// The table at the top of a file that is called `name`.
pub(super) fn section(name: &str) -> Option<Section> {
    SECTIONS
        .iter()
        .find(|(section, _)| *section == name)
        .map(|(_, section)| *section)
}

/// Every table with every key of it.
pub(super) fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    SECTIONS.into_iter().flat_map(|(name, section)| {
        let (Section::Keys(keys) | Section::Doors(keys)) = section;
        keys.iter().map(move |key| (name, key.name))
    })
}

/// The key called `name`, in whatever table.
pub(super) fn key(name: &str) -> Option<&'static Key> {
    let tables = [
        LogTable::KEYS,
        DaemonTable::KEYS,
        FirewallTable::KEYS,
        DoorTable::KEYS,
    ];
    tables.into_iter().flatten().find(|key| key.name == name)
}

/// Whether a door may be called `name`.
pub(super) fn is_door_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(valid)
}

/// Whether `name` is one that a key could have, and nothing that a key could hide: ports have
/// digits, and so has a prefix that is a secret.
pub(super) fn looks_like_a_key(name: &str) -> bool {
    let word = name.strip_suffix("_6").unwrap_or(name);
    let valid = |byte: u8| byte.is_ascii_alphabetic() || b"_-".contains(&byte);
    (1..=64).contains(&name.len()) && word.bytes().all(valid)
}

/// Everything that the files of a config say.
#[derive(Default)]
pub(super) struct Schema {
    pub(super) log: LogTable,
    pub(super) daemon: DaemonTable,
    pub(super) firewall: FirewallTable,
    pub(super) defaults: DoorTable,
    pub(super) doors: Vec<NamedDoor>,
}

/// A `[door.NAME]`.
pub(super) struct NamedDoor {
    pub(super) name: Arc<str>,
    /// Where its name stands.
    pub(super) at: Span,
    pub(super) table: DoorTable,
}

impl Schema {
    /// Reads the files in order. What a later one says stands in place of what an earlier one said;
    /// a door may be in one of them only.
    pub(super) fn read(documents: &[Document<'_>], report: &mut Report) -> Self {
        let mut schema = Self::default();
        for document in documents {
            let tree = match &document.content {
                Content::Toml(tree) => tree,
                Content::Knockd(lines) => {
                    knockd::read(document, lines, &mut schema, report);
                    continue;
                }
            };
            let mut reader = Reader { document, report };
            for (name, value) in tree {
                let at = document.span(name.span());
                let section = name.get_ref().as_ref();
                match (section, value.get_ref()) {
                    ("log", DeValue::Table(keys)) => reader.keys(&mut schema.log, "[log]", keys),
                    ("daemon", DeValue::Table(keys)) => {
                        reader.keys(&mut schema.daemon, "[daemon]", keys);
                    }
                    ("firewall", DeValue::Table(keys)) => {
                        reader.keys(&mut schema.firewall, "[firewall]", keys);
                    }
                    ("defaults", DeValue::Table(keys)) => {
                        reader.keys(&mut schema.defaults, "[defaults]", keys);
                    }
                    ("door", DeValue::Table(doors)) => reader.doors(&mut schema.doors, doors),
                    ("door", _) => reader.report.add(at, Problem::DoorWithoutName),
                    _ => reader.not_a_section(section, at),
                }
            }
        }
        let defaults = &mut schema.defaults;
        let passwords = [
            defaults.sequence.take().map(|given| given.key),
            defaults.totp.take().map(|given| given.key),
            defaults.one_time_sequences.take().map(|given| given.key),
        ];
        for at in passwords.into_iter().flatten() {
            report.add(at, Problem::SequenceInDefaults);
        }
        schema.doors.sort_by_key(|door| door.at);
        refuse_duplicates(&schema.doors, documents, report);
        schema
    }
}

/// Reads the tables of one file.
struct Reader<'a, 'r> {
    document: &'a Document<'a>,
    report: &'r mut Report,
}

impl Reader<'_, '_> {
    fn keys<T: Table>(&mut self, table: &mut T, section: &str, keys: &DeTable<'_>) {
        for (name, value) in keys {
            let at = self.document.span(name.span());
            let written = Written {
                value: value.get_ref(),
                span: self.document.span(value.span()),
            };
            if !table.set(name.get_ref(), at, written, self.report) {
                let valid = T::KEYS.iter().map(|key| key.name).collect();
                let problem = unknown_key(name.get_ref(), &format!("in {section}"), valid);
                self.report.add(at, problem);
            }
        }
    }

    fn doors(&mut self, doors: &mut Vec<NamedDoor>, tables: &DeTable<'_>) {
        let mut nameless = false;
        for (name, value) in tables {
            let at = self.document.span(name.span());
            let DeValue::Table(keys) = value.get_ref() else {
                if !std::mem::replace(&mut nameless, true) {
                    self.report.add(at, Problem::DoorWithoutName);
                }
                continue;
            };
            if !is_door_name(name.get_ref()) {
                self.report.add(at, Problem::DoorName);
                continue;
            }
            let mut table = DoorTable::default();
            self.keys(&mut table, &format!("[door.{}]", name.get_ref()), keys);
            doors.push(NamedDoor {
                name: name.get_ref().as_ref().into(),
                at,
                table,
            });
        }
    }

    fn not_a_section(&mut self, name: &str, at: Span) {
        let names = SECTIONS.map(|(section, _)| section);
        let problem = if let Some(section) = names.into_iter().find(|section| *section == name) {
            Problem::NotATable { section }
        } else {
            unknown_key(name, "outside of the tables", names.to_vec())
        };
        self.report.add(at, problem);
    }
}

fn unknown_key(name: &str, section: &str, valid: Vec<&'static str>) -> Problem {
    let owners = [
        ("[log]", LogTable::KEYS),
        ("[daemon]", DaemonTable::KEYS),
        ("[firewall]", FirewallTable::KEYS),
        ("[door.NAME] or [defaults]", DoorTable::KEYS),
    ];
    let elsewhere = owners
        .into_iter()
        .find(|(_, keys)| keys.iter().any(|key| key.name == name));
    Problem::UnknownKey(UnknownKey {
        name: looks_like_a_key(name).then(|| name.to_owned()),
        section: section.to_owned(),
        nearest: nearest(name, valid.iter().copied()),
        elsewhere: elsewhere.map(|(section, _)| section),
        valid,
    })
}

fn refuse_duplicates(doors: &[NamedDoor], documents: &[Document<'_>], report: &mut Report) {
    let mut first = HashMap::new();
    for door in doors {
        let earlier = first.entry(&door.name).or_insert(door.at);
        if *earlier != door.at {
            let path = documents.get(earlier.document);
            report.add(
                door.at,
                Problem::DuplicateDoor {
                    door: door.name.to_string(),
                    path: path.map_or("", |document| document.name).to_owned(),
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_every_key() {
        let example = include_str!("../../packaging/examples/logknock.toml");
        let tables = [LogTable::KEYS, DaemonTable::KEYS, DoorTable::KEYS];
        for key in tables.into_iter().flatten() {
            let line = format!("{} = ", key.name);
            let has = |text: &str| text.trim_start_matches("# ").starts_with(&line);
            assert!(example.lines().any(has), "{}", key.name);
        }
    }

    #[test]
    fn passwords_are_secrets() {
        let tables = [LogTable::KEYS, DaemonTable::KEYS, DoorTable::KEYS];
        let secrets = tables.into_iter().flatten().filter(|key| key.secret);
        assert!(
            secrets
                .map(|key| key.name)
                .eq(["prefix", "format", "sequence", "counts", "port", "totp"])
        );
    }

    #[test]
    fn what_a_secret_could_hide_in_does_not_look_like_a_key() {
        for name in ["ports", "start-command", "stop_command_6", "USER"] {
            assert!(looks_like_a_key(name), "{name}");
        }
        for name in ["7000", "lk-4f9a1c7e", "", "two words", "_6_6", "clé"] {
            assert!(!looks_like_a_key(name), "{name}");
        }
    }
}
