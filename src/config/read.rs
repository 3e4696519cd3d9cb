//! The files of a config, read into the one schema.
//!
//! In: documents, in order. Out: a [`Schema`]; keys that nobody knows and doors with one name go into the
//! report.

use std::collections::HashMap;

use toml::de::{DeTable, DeValue};

use super::document::{Content, Document};
use super::knockd;
use super::nearest::nearest;
use super::problem::{Problem, UnknownKey};
use super::report::{Report, Span};
use super::schema::{
    DaemonTable, DoorTable, FirewallTable, LogTable, NamedDoor, SECTIONS, Schema, Table,
    is_door_name, looks_like_a_key,
};
use super::value::Written;

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
