//! Who may import whom, read from the sources: the picture of ARCHITECTURE.md as a table and a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");

/// Each room of `src`, and the rooms that it may know.
const ROOMS: [(&str, &[&str]); 28] = [
    ("engine", &[]),
    ("accounts", &["engine"]),
    ("fleet", &["engine"]),
    ("source_spec", &[]),
    ("rights", &[]),
    ("clock", &["engine"]),
    ("child", &[]),
    ("calendar", &["engine"]),
    ("firewall", &["engine"]),
    ("dialect", &["engine", "source_spec"]),
    ("render", &["engine", "calendar"]),
    ("source", &["engine", "clock", "child", "privsep"]),
    ("signals", &[]),
    ("confine", &[]),
    ("privsep", &["engine"]),
    ("systemd", &[]),
    (
        "config",
        &[
            "engine",
            "accounts",
            "source_spec",
            "rights",
            "dialect",
            "firewall",
            "fleet",
        ],
    ),
    ("knock", &["engine", "clock", "config"]),
    ("trust", &["accounts", "source_spec", "rights", "config"]),
    ("memory", &["engine", "calendar", "dialect", "protocol"]),
    ("protocol", &["engine", "clock", "confine"]),
    ("metrics", &["protocol"]),
    ("replay", &["engine", "calendar", "dialect"]),
    ("report", &["engine", "calendar", "render", "replay"]),
    (
        "monitor",
        &[
            "engine", "accounts", "clock", "child", "firewall", "fleet", "privsep", "signals",
            "systemd", "protocol", "metrics",
        ],
    ),
    (
        "detector",
        &[
            "engine",
            "source_spec",
            "clock",
            "calendar",
            "dialect",
            "render",
            "source",
            "privsep",
            "confine",
            "signals",
            "memory",
            "protocol",
        ],
    ),
    (
        "cli",
        &[
            "engine",
            "accounts",
            "source_spec",
            "clock",
            "calendar",
            "dialect",
            "firewall",
            "fleet",
            "rights",
            "render",
            "source",
            "config",
            "knock",
            "trust",
            "replay",
            "report",
            "memory",
            "protocol",
            "metrics",
            "privsep",
            "monitor",
            "detector",
        ],
    ),
    ("main", &["cli"]),
];

/// The engine's modules in the order of the walk: each may know only those before it.
const WALK: [&str; 29] = [
    "reason",
    "time",
    "scan",
    "line",
    "loss",
    "packet",
    "reading",
    "kernel",
    "timeline",
    "sequence",
    "totp",
    "one_time",
    "account",
    "command",
    "door",
    "knock",
    "identity",
    "bloom",
    "dedup",
    "answered",
    "event",
    "finding",
    "attempt",
    "lockouts",
    "knockers",
    "attempts",
    "detection",
    "grant",
    "mod",
];

/// Crates, and parts of the standard library, that only some rooms may use.
const KEPT: [(&str, &[&str]); 38] = [
    (
        "std::fs",
        &[
            "accounts", "clock", "config", "knock", "monitor", "source", "trust", "detector",
            "cli", "rights",
        ],
    ),
    (
        "std::io",
        &[
            "clock", "config", "knock", "monitor", "source", "trust", "replay", "protocol",
            "detector", "cli", "privsep", "signals", "monitor",
        ],
    ),
    (
        "std::process",
        &["child", "monitor", "source", "privsep", "cli", "main"],
    ),
    (
        "std::thread",
        &[
            "child", "knock", "monitor", "source", "replay", "privsep", "signals", "systemd",
            "monitor", "detector", "cli",
        ],
    ),
    ("std::env", &["cli"]),
    (
        "std::os",
        &[
            "config", "knock", "monitor", "source", "trust", "protocol", "signals", "detector",
            "cli", "privsep", "rights",
        ],
    ),
    ("anstream", &["cli"]),
    ("anstyle", &["render", "cli"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("async_nats", &[]),
    ("data_encoding", &["config", "fleet"]),
    ("ed25519_dalek", &["config", "fleet", "monitor", "cli"]),
    ("rcgen", &[]),
    ("tokio", &[]),
    ("flate2", &["cli"]),
    ("hashbrown", &["engine"]),
    ("hmac", &["engine"]),
    ("indicatif", &["cli"]),
    ("notify", &["source"]),
    (
        "strum",
        &["engine", "config", "firewall", "fleet", "confine", "trust"],
    ),
    ("regex", &["dialect"]),
    (
        "rustix",
        &[
            "child", "accounts", "clock", "config", "knock", "monitor", "source", "trust",
            "detector", "cli", "signals", "privsep", "confine", "rights",
        ],
    ),
    ("landlock", &["confine"]),
    ("libc", &["confine"]),
    ("qrcode", &["cli"]),
    ("ruzstd", &["cli"]),
    ("seccompiler", &["confine"]),
    ("sd_notify", &["systemd"]),
    (
        "serde_json",
        &[
            "dialect", "firewall", "fleet", "render", "monitor", "source", "memory", "protocol",
            "metrics", "privsep", "detector", "cli",
        ],
    ),
    ("sha1", &["engine"]),
    ("sha2", &["engine"]),
    ("signal_hook", &["monitor", "signals", "cli"]),
    ("similar", &["cli"]),
    ("toml", &["config", "knock"]),
    ("tracing", &["monitor", "detector", "cli"]),
    ("tracing_subscriber", &["cli"]),
    ("zeroize", &["engine", "config"]),
];

/// A file of `src`: its path in it, its room, and its text without comments and tests.
struct Source {
    path: PathBuf,
    room: String,
    code: String,
}

#[test]
fn every_room_knows_those_that_it_may_and_no_other() {
    let import = Regex::new("(?:crate|logknock)::([a-z_]+)").unwrap();
    let mut unused: BTreeSet<(&str, &str)> = ROOMS
        .iter()
        .flat_map(|(room, may)| may.iter().map(move |known| (*room, *known)))
        .collect();
    for Source { path, room, code } in sources() {
        let may = ROOMS.iter().find(|(name, _)| *name == room);
        let (_, may) = may.unwrap_or_else(|| panic!("{room} is in no table: what may it know?"));
        for import in names(&import, &code) {
            let known = import == room || may.contains(&import);
            assert!(known, "{}: {room} imports {import}", path.display());
            unused.retain(|(from, to)| *from != room || *to != import);
        }
    }
    assert!(unused.is_empty(), "the table allows too much: {unused:?}");
}

#[test]
fn in_the_picture_of_the_architecture_every_room_knows_only_those_to_its_right() {
    let (_, picture) = ARCHITECTURE.split_once("```\nmain → cli").unwrap();
    let (picture, _) = picture.split_once("```").unwrap();
    // The last one is of crates.
    let mut columns: Vec<_> = picture.split('→').collect();
    columns.pop();
    let word = Regex::new("[a-z_]+").unwrap();
    let column_of = |room: &str| {
        let has = |column: &&str| word.find_iter(column).any(|found| found.as_str() == room);
        columns.iter().position(has)
    };
    for (room, may) in ROOMS {
        // These two stand before the first arrow.
        let of_room = if ["main", "cli"].contains(&room) {
            0
        } else {
            column_of(room).unwrap_or_else(|| panic!("{room} is not in the picture"))
        };
        for known in may {
            let right = *known == "cli" || column_of(known) > Some(of_room);
            assert!(right, "{room} knows {known}");
        }
    }
}

#[test]
fn the_engines_modules_know_only_those_before_them_in_the_walk() {
    let import = Regex::new("super::([a-z_]+)").unwrap();
    let place = |name: &str| WALK.iter().position(|module| *module == name);
    for Source { path, code, .. } in sources() {
        let Ok(inside) = path.strip_prefix("engine") else {
            continue;
        };
        let depth = inside.components().count();
        let module = inside.iter().next().unwrap().to_str().unwrap();
        let module = module.trim_end_matches(".rs");
        let here = place(module).unwrap_or_else(|| panic!("{module} has no place in the walk"));
        // In a directory, `super` is the module itself, but for its `mod.rs`.
        if depth > 1 && !inside.ends_with("mod.rs") {
            continue;
        }
        for import in names(&import, &code) {
            if let Some(there) = place(import) {
                assert!(there < here, "{}: {module} knows {import}", path.display());
            }
        }
    }
}

#[test]
fn crates_and_the_world_are_used_only_where_they_may_be() {
    let sources = sources();
    for (name, rooms) in KEPT {
        let direct = Regex::new(&format!(r"(?-u:\b){name}(::|;)")).unwrap();
        for Source { path, room, code } in &sources {
            let used = direct.is_match(code) || is_in_a_list(code, name);
            let may = rooms.contains(&room.as_str());
            assert!(!used || may, "{}: {name}", path.display());
        }
    }
}

#[test]
fn nothing_but_the_command_line_prints() {
    let print = Regex::new(r"(?-u:\b)(e?print(ln)?!|dbg!|std(out|err)\(\))").unwrap();
    for Source { path, room, code } in sources() {
        let found = print.find(&code).map(|found| found.as_str());
        assert!(
            room == "cli" || found.is_none(),
            "{}: {found:?}",
            path.display()
        );
    }
}

#[test]
fn one_file_of_each_process_says_what_the_daemon_logs() {
    let may = ["detector/report.rs", "monitor/report.rs"];
    let word = Regex::new(r"(?-u:\b)(trace|debug|info|warn|error)!\(").unwrap();
    for Source { path, code, .. } in sources() {
        let says = word.is_match(&code);
        assert!(
            !says || may.iter().any(|may| path == Path::new(may)),
            "{}",
            path.display()
        );
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    read(&root, &root, &mut sources);
    // It only lists the rooms.
    sources.retain(|source| source.room != "lib");
    assert!(sources.len() > 80, "the sources are missing");
    sources
}

fn read(root: &Path, directory: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().path();
        if file.is_dir() {
            read(root, &file, sources);
        } else if !file.to_str().unwrap().ends_with("_test.rs") {
            let path = file.strip_prefix(root).unwrap().to_owned();
            let first = path.iter().next().unwrap().to_str().unwrap();
            sources.push(Source {
                room: first.trim_end_matches(".rs").to_owned(),
                code: without_comments_and_tests(&fs::read_to_string(&file).unwrap()),
                path,
            });
        }
    }
}

fn without_comments_and_tests(text: &str) -> String {
    let code = text.lines().take_while(|line| *line != "#[cfg(test)]");
    let code = code.filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

fn names<'a>(pattern: &Regex, code: &'a str) -> BTreeSet<&'a str> {
    let found = pattern.captures_iter(code);
    found.map(|found| found.get(1).unwrap().as_str()).collect()
}

/// Whether `std::name` is imported with others, as in `use std::{fmt, io}`.
fn is_in_a_list(code: &str, name: &str) -> bool {
    let Some(name) = name.strip_prefix("std::") else {
        return false;
    };
    let mut lists = code
        .lines()
        .filter_map(|line| line.strip_prefix("use std::{"));
    lists.any(|list| {
        let mut words = list.split(|character: char| !character.is_ascii_alphanumeric());
        words.any(|word| word == name)
    })
}
