//! Documents that cannot go stale: what they name is there, and what is there is named where its users
//! look for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use logknock::{cli, config};

const EXAMPLE: &str = include_str!("../../packaging/examples/logknock.toml");
const README: &str = include_str!("../../README.md");
const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");

// ── the example ──

#[test]
fn the_example_has_every_key() {
    let named: BTreeSet<_> = EXAMPLE.lines().filter_map(key).collect();
    for (table, key) in config::keys() {
        assert!(
            named.contains(key),
            "{key} of [{table}] is not in the example"
        );
    }
}

#[test]
fn what_the_example_has_in_comments_are_keys() {
    let known: BTreeSet<_> = config::keys().map(|(_, key)| key).collect();
    for key in EXAMPLE.lines().filter_map(key) {
        assert!(known.contains(key), "{key} is in the example, but no key");
    }
}

/// The key that a line sets, or would set without its comment sign.
fn key(line: &str) -> Option<&str> {
    let (key, value) = line.strip_prefix("# ").unwrap_or(line).split_once('=')?;
    let key = key.trim_end();
    let is_key = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (is_key && value.starts_with(' ')).then_some(key)
}

// ── the command line ──

#[test]
fn every_command_in_the_readme_is_one() {
    let mut commands = commands(README);
    // The first one there: without an installation.
    commands.extend(README.lines().filter_map(|line| {
        let arguments = line.strip_prefix("$ cargo run --release -- ")?;
        Some(format!("logknock {arguments}"))
    }));
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands {
        is_understood(&command, "README.md");
    }
}

#[test]
fn every_example_in_the_help_is_a_command() {
    let definitions = cli::definitions();
    for command in std::iter::once(&definitions).chain(definitions.get_subcommands()) {
        let help = command.get_after_help().unwrap().to_string();
        let (_, examples) = help.split_once("Examples:\n").unwrap();
        let examples = examples.lines().take_while(|line| !line.is_empty());
        for example in examples.filter(|line| line.trim_start().starts_with("logknock ")) {
            // What it does stands behind it, in a column.
            let example = example.trim_start().split("   ").next().unwrap();
            is_understood(example, command.get_name());
        }
    }
}

#[test]
fn the_man_pages_have_every_option_and_every_key() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/man");
    let Ok(pages) = fs::read_dir(pages) else {
        return;
    };
    let pages: String = pages
        .map(|page| fs::read_to_string(page.unwrap().path()).unwrap())
        .collect();
    let definitions = cli::definitions();
    for command in std::iter::once(&definitions).chain(definitions.get_subcommands()) {
        let options = command.get_arguments().filter_map(clap::Arg::get_long);
        for option in options.filter(|option| !["help", "version"].contains(option)) {
            let option = format!("--{option}");
            assert!(pages.contains(&option), "{} {option}", command.get_name());
        }
    }
    for (table, key) in config::keys() {
        assert!(pages.contains(key), "{key} of [{table}]");
    }
}

/// The commands in `document`: in shell blocks, behind a prompt, and in backticks.
fn commands(document: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut block = None;
    for line in document.lines() {
        let line = line.trim();
        if let Some(language) = line.strip_prefix("```") {
            block = block.is_none().then_some(language);
            continue;
        }
        match block {
            Some("sh") => commands.push(line),
            Some(_) => commands.extend(line.strip_prefix("$ ")),
            None => commands.extend(line.split('`').skip(1).step_by(2)),
        }
    }
    commands.retain(|command| command.starts_with("logknock ") || *command == "logknock");
    commands.into_iter().map(str::to_owned).collect()
}

fn is_understood(command: &str, place: &str) {
    let end = command.find(['|', '#', '&', ';']).unwrap_or(command.len());
    let words = shlex::split(&command[..end]).unwrap();
    if let Err(error) = cli::definitions().try_get_matches_from(words) {
        panic!("{place}: '{command}': {error}");
    }
}

// ── the architecture ──

#[test]
fn every_path_in_the_documents_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [root.to_owned(), root.join("src"), root.join("src/engine")];
    let mut checked = 0;
    for document in [README, ARCHITECTURE] {
        for name in document.split('`').skip(1).step_by(2) {
            let is_file = Path::new(name).extension().is_some_and(|end| end == "rs");
            let is_path = (is_file || name.ends_with('/')) && !name.starts_with('/');
            if is_path && !name.contains("NAME") && !name.contains(char::is_whitespace) {
                let found = places.iter().any(|place| place.join(name).exists());
                assert!(found, "{name} is not there");
                checked += 1;
            }
        }
    }
    assert!(checked > 15, "{checked}");
}

#[test]
fn every_difference_from_knockd_is_a_scenario() {
    let (_, table) = ARCHITECTURE
        .split_once("## Differences from knockd")
        .unwrap();
    let rows = table.lines().filter(|line| line.ends_with("` |"));
    let names: Vec<_> = rows.filter_map(|row| row.rsplit('`').nth(1)).collect();
    assert!(names.len() >= 7, "{names:?}");
    for name in names {
        let scenario = format!("fixtures/scenarios/{name}.txt");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&scenario);
        assert!(path.exists(), "{scenario} is not there");
    }
}

// ── all files ──

#[test]
fn no_file_knows_where_it_was_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Taken apart, or this file would be one of them.
    let words = [
        root.to_str().unwrap().to_owned(),
        ["\"/wo", "rk/"].concat(),
        [" /wo", "rk/"].concat(),
        ["/ro", "ot/."].concat(),
    ];
    let files = files(root);
    assert!(files.len() > 200, "{}", files.len());
    for file in files {
        let text = fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&text);
        for word in &words {
            assert!(!text.contains(word.as_str()), "{}: {word}", file.display());
        }
    }
}

/// Every file but what a build, a fuzzer and git leave there.
fn files(directory: &Path) -> Vec<PathBuf> {
    const LEFT: [&str; 5] = ["target", ".git", "corpus", "artifacts", "coverage"];
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if LEFT.iter().any(|left| name == *left) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            files.extend(self::files(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}
