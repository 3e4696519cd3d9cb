//! Documents that cannot go stale: what they name is there, and what is there is named where its users
//! look for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use logknock::{cli, config};

const EXAMPLE: &str = include_str!("../../packaging/examples/logknock.toml");
const MAN_PAGE: &str = include_str!("../../packaging/man/logknock.8");
const CONFIG_MAN_PAGE: &str = include_str!("../../packaging/man/logknock.toml.5");
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
        // A terminal of 80 columns would break a line that is in columns.
        let too_wide = help.lines().find(|line| line.chars().count() > 80);
        assert_eq!(too_wide, None, "{}", command.get_name());
        let (_, examples) = help.split_once("Examples:\n").unwrap();
        let examples = examples.lines().take_while(|line| !line.is_empty());
        for example in examples.filter(|line| line.trim_start().starts_with("logknock ")) {
            // What it does stands behind it, in a column.
            let example = example.trim_start().split("   ").next().unwrap();
            is_understood(example, command.get_name());
        }
    }
}

/// The commands in `document`: in shell blocks, behind a prompt, and in backticks.
pub(crate) fn commands(document: &str) -> Vec<String> {
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

pub(crate) fn is_understood(command: &str, place: &str) {
    let end = command
        .find(['|', '>', '#', '&', ';'])
        .unwrap_or(command.len());
    let words = shlex::split(&command[..end]).unwrap();
    if let Err(error) = cli::definitions().try_get_matches_from(words) {
        panic!("{place}: '{command}': {error}");
    }
}

// ── the man pages ──

#[test]
fn the_man_page_has_every_command_and_every_option_and_no_other() {
    let definitions = cli::definitions();
    let common = listed_options(".Sh OPTIONS");
    let all = long(definitions.get_arguments());
    let mut options: BTreeSet<_> = all.intersection(&common).cloned().collect();
    // clap's own.
    options.extend(["help".to_owned(), "version".to_owned()]);
    assert_eq!(common, options);
    let daemons: BTreeSet<_> = all.difference(&common).cloned().collect();
    assert_eq!(listed_options(".Ss logknock"), daemons);
    let named = definitions.get_subcommands().map(clap::Command::get_name);
    let headings = MAN_PAGE
        .lines()
        .filter_map(|line| line.strip_prefix(".Ss logknock "));
    assert_eq!(
        headings.collect::<BTreeSet<_>>(),
        named.collect::<BTreeSet<_>>()
    );
    for command in definitions.get_subcommands() {
        let heading = format!(".Ss logknock {}", command.get_name());
        let options = long(command.get_arguments());
        let mut listed = listed_options(&heading);
        let mut lines = section(MAN_PAGE, &heading);
        if lines.any(|line| line == "Common options:") {
            let named = options_in(lines.next().unwrap());
            assert!(named.is_subset(&common), "{heading}");
            listed.extend(named);
        }
        assert_eq!(listed, options, "{heading}");
    }
}

#[test]
fn the_man_page_has_every_key_of_every_table_and_no_other() {
    let mut tables: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (table, key) in config::keys() {
        tables.entry(table).or_default().insert(key);
    }
    for (table, keys) in tables {
        let heading = match table {
            "defaults" => continue, // keys of a door
            "door" | "fleet.peer" => format!(".Ss [{table}.NAME]"),
            table => format!(".Ss [{table}]"),
        };
        let items = section(CONFIG_MAN_PAGE, &heading);
        let items = items.filter_map(|line| line.strip_prefix(".It Ic "));
        let listed: BTreeSet<_> = items.filter_map(|item| item.split(' ').next()).collect();
        assert_eq!(listed, keys, "{heading}");
    }
}

#[test]
fn the_man_page_has_the_exit_status_of_the_help() {
    let help = cli::definitions()
        .get_after_long_help()
        .unwrap()
        .to_string();
    let (_, table) = help.split_once("Exit status:\n").unwrap();
    let told: Vec<_> = table
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let items = section(MAN_PAGE, ".Sh EXIT STATUS");
    let listed: Vec<_> = items.filter_map(|line| line.strip_prefix(".It ")).collect();
    assert_eq!(listed, told);
}

#[test]
fn every_example_in_the_man_page_is_a_command() {
    let examples: Vec<_> = section(MAN_PAGE, ".Sh EXAMPLES")
        .filter(|line| line.starts_with("logknock"))
        .collect();
    assert!(examples.len() > 8, "{examples:?}");
    for example in examples {
        is_understood(&example.replace("\\-", "-"), "logknock.8");
    }
}

#[test]
fn the_examples_in_the_man_page_of_the_configuration_are_doors() {
    let mut lines = section(CONFIG_MAN_PAGE, ".Sh EXAMPLES");
    let mut example = || {
        let shown = lines.by_ref().skip_while(|line| !line.starts_with(".Bd"));
        let shown = shown.skip(1).take_while(|line| !line.starts_with(".Ed"));
        shown.collect::<Vec<_>>().join("\n")
    };
    let (whole, commands) = (example(), example());
    let with_commands = whole.replace("opens = [\"22:tcp\"]", &commands);
    assert_ne!(whole, with_commands);
    for text in [whole, with_commands] {
        let config = config::parse("logknock.toml", &text).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
}

/// The lines of `page` below the heading that begins with `heading`, down to the next one.
fn section<'a>(page: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
    let is_it = |line: &str| {
        let rest = line.strip_prefix(heading);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    };
    let mut lines = page.lines();
    assert!(lines.any(is_it), "there is no '{heading}'");
    lines.take_while(|line| !line.starts_with(".Sh ") && !line.starts_with(".Ss "))
}

/// The long names of the options that the items below `heading` are about.
fn listed_options(heading: &str) -> BTreeSet<String> {
    let items = section(MAN_PAGE, heading).filter(|line| line.starts_with(".It Fl "));
    items.flat_map(options_in).collect()
}

/// The long names of the options in a line of a man page.
fn options_in(line: &str) -> BTreeSet<String> {
    let names = line.split_whitespace();
    let names = names.filter_map(|word| word.strip_prefix("\\-"));
    names.map(|name| name.replace("\\-", "-")).collect()
}

/// The long names of `options`.
fn long<'a>(options: impl IntoIterator<Item = &'a clap::Arg>) -> BTreeSet<String> {
    // What is hidden is for a process of our own.
    let shown = options.into_iter().filter(|option| !option.is_hide_set());
    let names = shown.filter_map(clap::Arg::get_long);
    names.map(str::to_owned).collect()
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
