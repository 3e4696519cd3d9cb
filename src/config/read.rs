//! The files of a config, read into the one schema.
//!
//! In: documents, in order. Out: a [`Schema`]; unknown keys and doors with the same name go into the report.

use std::collections::HashMap;

use toml::de::{DeTable, DeValue};

use super::document::{Content, Document};
use super::knockd;
use super::report::{Finding, Report, Span, error};
use super::schema::{
    DaemonTable, DoorTable, FirewallTable, FleetTable, LogTable, NamedDoor, NotifyTable, SECTIONS,
    Schema, SourceTable, Table, is_door_name, looks_like_a_key,
};
use super::value::{Given, Optional as _, Written, nearest};

impl Schema {
    /// Reads the files in order. A later file overrides an earlier one; a door may be in one of them only.
    pub(super) fn read(documents: &[Document<'_>], report: &Report) -> Self {
        let mut schema = Self::default();
        for document in documents {
            let tree = match &document.content {
                Content::Toml(tree) => tree,
                Content::Broken => continue,
                Content::Knockd(lines) => {
                    knockd::read(document, lines, &mut schema);
                    continue;
                }
            };
            for (name, value) in tree {
                let at = document.span(name.span());
                let section = name.get_ref().as_ref();
                let DeValue::Table(keys) = value.get_ref() else {
                    report.add(match section {
                        "door" => door_without_name(at),
                        _ => not_a_section(section, at),
                    });
                    continue;
                };
                let title = format!("[{section}]");
                let whole = document.span(0..0);
                match section {
                    "log" => {
                        let earlier = schema.log.source.take();
                        fill(&mut schema.log, &title, keys, whole, report);
                        add_sources(&mut schema.log, earlier);
                    }
                    "daemon" => fill(&mut schema.daemon, &title, keys, whole, report),
                    "firewall" => fill(&mut schema.firewall, &title, keys, whole, report),
                    "notify" => fill(&mut schema.notify, &title, keys, whole, report),
                    "fleet" => fill(&mut schema.fleet, &title, keys, whole, report),
                    "defaults" => fill(&mut schema.defaults, &title, keys, whole, report),
                    "door" => add_doors(&mut schema.doors, keys, whole, report),
                    _ => report.add(not_a_section(section, at)),
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
            let message = "a sequence is the password of one door and cannot be a default";
            report.add(error(at, message).fix("move it to a [door.NAME]"));
        }
        schema.doors.sort_by_key(|door| door.at);
        refuse_duplicates(&schema.doors, documents, report);
        schema
    }
}

/// Puts the sources of `earlier` files before those of `log`: a drop-in adds one.
fn add_sources(log: &mut LogTable, earlier: Option<Given<Vec<SourceTable>>>) {
    let tables = |given: &Option<Given<Vec<SourceTable>>>| given.value();
    let (before, after) = (tables(&earlier), tables(&log.source));
    let Some(given) = log.source.as_mut() else {
        log.source = earlier;
        return;
    };
    given.value = before.into_iter().chain(after).reduce(|mut all, more| {
        all.extend(more);
        all
    });
}

/// Adds the doors that `tables` are, which stand in the file that `whole` is of.
fn add_doors(doors: &mut Vec<NamedDoor>, tables: &DeTable<'_>, whole: Span, report: &Report) {
    let mut nameless = false;
    for (name, value) in tables {
        let at = whole.beside(name.span());
        let DeValue::Table(keys) = value.get_ref() else {
            if !std::mem::replace(&mut nameless, true) {
                report.add(door_without_name(at));
            }
            continue;
        };
        let name = name.get_ref();
        if !is_door_name(name) {
            let message = "a door's name has 1 to 64 characters of A-Z a-z 0-9 . _ -";
            report.add(error(at, message));
            continue;
        }
        let mut table = DoorTable::default();
        fill(&mut table, &format!("[door.{name}]"), keys, whole, report);
        doors.push(NamedDoor {
            name: name.as_ref().into(),
            at,
            table,
        });
    }
}

fn not_a_section(name: &str, at: Span) -> Finding {
    let names = SECTIONS.map(|(section, _)| section);
    if names.contains(&name) {
        let message = format!("'{name}' must be a table");
        error(at, message).fix(format!("write [{name}] above its keys"))
    } else {
        unknown_key(at, name, "outside of the tables", owner(name), &names)
    }
}

fn door_without_name(at: Span) -> Finding {
    error(at, "a door needs a name").fix("write [door.NAME] above its keys, as in [door.ssh]")
}

/// Sets in `table` what the `keys` of a `section` say, which stand in the file that `at` is in.
pub(super) fn fill<T: Table>(
    table: &mut T,
    section: &str,
    keys: &DeTable<'_>,
    at: Span,
    report: &Report,
) {
    for (name, value) in keys {
        let (key, name) = (at.beside(name.span()), name.get_ref());
        let written = Written {
            value: value.get_ref(),
            span: at.beside(value.span()),
            report,
        };
        if !table.set(name, key, written) {
            let valid: Vec<_> = T::KEYS.iter().map(|key| key.name).collect();
            let section = format!("in {section}");
            report.add(unknown_key(key, name, &section, owner(name), &valid));
        }
    }
}

/// The table that has a key called `name`.
fn owner(name: &str) -> Option<&'static str> {
    let owners = [
        ("[log]", LogTable::KEYS),
        ("[daemon]", DaemonTable::KEYS),
        ("[firewall]", FirewallTable::KEYS),
        ("[notify]", NotifyTable::KEYS),
        ("[fleet]", FleetTable::KEYS),
        ("[door.NAME] or [defaults]", DoorTable::KEYS),
    ];
    let mut owners = owners.into_iter();
    let owner = owners.find(|(_, keys)| keys.iter().any(|key| key.name == name));
    owner.map(|(owner, _)| owner)
}

/// A key that does not exist where it stands. It is named if it looks like a name and not like a lost value.
pub(super) fn unknown_key(
    at: Span,
    name: &str,
    section: &str,
    elsewhere: Option<&str>,
    valid: &[&'static str],
) -> Finding {
    let found = error(
        at,
        if looks_like_a_key(name) {
            format!("unknown key '{name}' {section}")
        } else {
            format!("unknown key {section}")
        },
    );
    match (elsewhere, nearest(name, valid)) {
        (Some(owner), _) => found.fix(format!("it belongs in {owner}")),
        (None, Some(near)) => found.fix(format!("did you mean '{near}'?")),
        (None, None) => found.fix(format!("valid are {}", valid.join(", "))),
    }
}

fn refuse_duplicates(doors: &[NamedDoor], documents: &[Document<'_>], report: &Report) {
    let mut first = HashMap::new();
    for door in doors {
        let earlier = first.entry(&door.name).or_insert(door.at);
        if *earlier != door.at {
            let path = documents.get(earlier.document);
            let path = path.map_or("", |document| document.name);
            let message = format!("door '{}' is already in '{path}'", door.name);
            report.add(error(door.at, message).fix("rename one of them, or remove one"));
        }
    }
}
