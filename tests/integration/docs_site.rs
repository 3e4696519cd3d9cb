//! The pages under `docs/`: every page is in the summary, every link leads somewhere, every command and
//! configuration is a real one. `reference.md` is generated from the program: `BLESS=1` writes it anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use logknock::engine::reason::Reason;
use logknock::{cli, config};

use super::docs;

const EXAMPLE: &str = include_str!("../../packaging/examples/logknock.toml");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// The pages: the name and text of each.
fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "md") {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            pages.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    pages.sort();
    assert!(pages.len() > 10, "{}", pages.len());
    pages
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = fs::read_to_string(folder().join("SUMMARY.md")).unwrap();
    let listed: BTreeSet<_> = links(&summary).into_iter().collect();
    let pages: BTreeSet<_> = pages().into_iter().map(|(name, _)| name).collect();
    let pages = pages.into_iter().filter(|name| name != "SUMMARY.md");
    assert_eq!(listed, pages.collect());
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts: Vec<_> = pages()
        .into_iter()
        .map(|(name, text)| (root.join("docs").join(name), text))
        .collect();
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "packaging/README.md",
        "benches/README.md",
    ] {
        let path = root.join(name);
        let text = fs::read_to_string(&path).unwrap();
        texts.push((path, text));
    }
    for (path, text) in &texts {
        for link in links(text) {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(target).unwrap();
                let mut anchors = text
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .map(anchor);
                assert!(
                    anchors.any(|anchor| anchor == heading),
                    "{}: {link}",
                    path.display()
                );
            }
        }
    }
}

/// The targets of the links in `text`, outside of code.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if !in_code {
            let targets = line.split("](").skip(1);
            links.extend(targets.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())));
        }
    }
    links
}

/// How a heading is named in a link: letters and digits in lower case, hyphens for spaces.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_command_of_the_pages_is_one() {
    // The reference shows what other tests check, each where it stands.
    for (name, text) in pages()
        .into_iter()
        .filter(|(name, _)| name != "reference.md")
    {
        for command in docs::commands(&text) {
            docs::is_understood(&command, &name);
        }
    }
}

const SECRET_FILE: &str = "secret_file = \"/etc/logknock/ssh.key\"";

/// What a page leaves out of a configuration, as it is about something else.
const REST: [(&str, &str); 3] = [
    (
        "log",
        "[log]\nsources = [\"kmsg\"]\nprefix = \"lk-example0: \"\n",
    ),
    ("firewall", "[firewall]\nbackend = \"nft\"\n"),
    (
        "door",
        "[door.ssh]\nsequence = [11111, 33333, 22222]\nopens = [\"22:tcp\"]\n",
    ),
];

#[test]
fn every_configuration_of_the_pages_is_accepted() {
    let mut checked = 0;
    let mut texts = pages();
    texts.push((
        "README.md".to_owned(),
        include_str!("../../README.md").to_owned(),
    ));
    for (name, text) in texts {
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let block: Vec<_> = block.lines().map(str::trim).collect();
            // A file of the reader's, in whose place the secret itself may stand.
            let block = block
                .join("\n")
                .replace(SECRET_FILE, "secret = \"MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U\"");
            let mut block = block + "\n";
            let tables: toml::Table = block
                .parse()
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            for (table, rest) in REST {
                if !tables.contains_key(table) {
                    block.push_str(rest);
                }
            }
            if let Err(error) = config::parse("logknock.toml", &block) {
                panic!("{name}: {error:?}\n{block}");
            }
            checked += 1;
        }
    }
    assert!(checked > 4, "{checked}");
}

#[test]
fn the_reference_is_what_the_program_has() {
    let path = folder().join("reference.md");
    let text = reference();
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/reference.md is stale: run this test with BLESS=1"
    );
}

fn reference() -> String {
    let mut page = String::from(
        "# Reference\n\nThis page is generated from the program; a test keeps it current.\n\n## Commands\n",
    );
    let definitions = cli::definitions();
    for command in std::iter::once(&definitions).chain(definitions.get_subcommands()) {
        let name = match command.get_name() {
            "logknock" => "logknock".to_owned(),
            name => format!("logknock {name}"),
        };
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        let _ = write!(page, "\n### {name}\n\n{about}.\n\n");
        let arguments = command
            .get_arguments()
            .filter(|argument| !argument.is_hide_set());
        let mut rows = arguments.map(|argument| {
            let value = argument.get_value_names().unwrap_or_default().first();
            let takes = argument.get_action().takes_values();
            let value = value.filter(|_| takes).map(|value| format!(" {value}"));
            let value = value.unwrap_or_default();
            let word = match argument.get_long() {
                Some(long) => format!("--{long}{value}"),
                None => value.trim().to_owned(),
            };
            let help = argument
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            format!(
                "| `{word}` | {} |\n",
                help.replace('|', "\\|").replace('\n', " ")
            )
        });
        if let Some(first) = rows.next() {
            let _ = write!(page, "| option | meaning |\n|---|---|\n{first}");
            page.extend(rows);
        }
    }
    let help = definitions.get_after_long_help().unwrap().to_string();
    let (_, statuses) = help.split_once("Exit status:\n").unwrap();
    page.push_str("\n## Exit status\n\n| status | meaning |\n|---|---|\n");
    for line in statuses.lines() {
        if let Some((status, meaning)) = line.trim().split_once("  ") {
            let _ = writeln!(page, "| {status} | {meaning} |");
        }
    }
    page.push_str("\n## Reasons\n\nWhy a line or a packet did not count, as in `status`, `parse` and the metrics.\n\n| reason | meaning |\n|---|---|\n");
    for reason in Reason::ALL {
        let _ = writeln!(page, "| `{}` | {} |", reason.as_str(), reason.meaning());
    }
    page.push_str("\n## Configuration\n\nEvery key with its default or an example. logknock.toml(5) describes each of them.\n\n```\n");
    page.push_str(EXAMPLE);
    page.push_str("```\n");
    page
}
