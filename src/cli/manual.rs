//! `logknock man` and `logknock completions`: the man pages and the shell completions.

use std::io::{self, Write};

use clap::ValueEnum;
use clap_complete::Shell;

use super::exit::Failure;

/// Which page.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Page {
    /// The commands: logknock(8).
    #[value(name = "logknock")]
    Commands,
    /// The configuration: logknock.toml(5).
    #[value(name = "logknock.toml")]
    Configuration,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// The page
    #[arg(value_enum, default_value = "logknock")]
    page: Page,
}

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell that is to complete
    shell: Shell,
}

/// Prints a manual page, for man(1).
pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    let page = match args.page {
        Page::Commands => include_str!("../../packaging/man/logknock.8"),
        Page::Configuration => include_str!("../../packaging/man/logknock.toml.5"),
    };
    Ok(io::stdout().write_all(page.as_bytes())?)
}

/// Prints what a shell reads to complete our commands and options.
pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    // It cannot report a closed pipe, so it writes to memory first.
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut super::definitions(),
        "logknock",
        &mut script,
    );
    Ok(io::stdout().write_all(&script)?)
}
