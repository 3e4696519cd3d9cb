//! The man page says what the program does.

use std::collections::BTreeSet;

use clap::{CommandFactory as _, Parser as _};

use crate::Args;

const PAGE: &str = include_str!("../packaging/man/logknock-fleet.8");

/// The long options of the items below the heading, in plain text.
fn listed(heading: &str) -> BTreeSet<String> {
    let (_, rest) = PAGE.split_once(&format!("{heading}\n")).unwrap();
    let lines = rest.lines().take_while(|line| !line.starts_with(".S"));
    let items = lines.filter(|line| line.starts_with(".It Fl "));
    let words = items.flat_map(str::split_whitespace);
    let names = words.filter_map(|word| word.strip_prefix("\\-"));
    names.map(|name| name.replace("\\-", "-")).collect()
}

#[test]
fn the_man_page_has_every_command_and_every_option_and_no_other() {
    let definitions = Args::command();
    let long = |command: &clap::Command| {
        let names = command.get_arguments().filter_map(clap::Arg::get_long);
        names.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let mut options = long(&definitions);
    options.extend(["help".to_owned(), "version".to_owned()]);
    assert_eq!(listed(".Sh OPTIONS"), options);
    let headings = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix(".Ss logknock-fleet "));
    let named = definitions.get_subcommands().map(clap::Command::get_name);
    assert_eq!(
        headings.collect::<BTreeSet<_>>(),
        named.collect::<BTreeSet<_>>()
    );
    for command in definitions.get_subcommands() {
        let heading = format!(".Ss logknock-fleet {}", command.get_name());
        assert_eq!(listed(&heading), long(command), "{heading}");
    }
}

#[test]
fn the_examples_of_the_man_page_are_commands() {
    let examples = PAGE
        .lines()
        .filter(|line| line.starts_with("logknock-fleet "));
    assert_eq!(examples.clone().count(), 2);
    for example in examples {
        let plain = example.replace("\\-", "-");
        let words = plain.split_whitespace();
        if let Err(why) = Args::try_parse_from(words) {
            unreachable!("{example}: {why}");
        }
    }
}
