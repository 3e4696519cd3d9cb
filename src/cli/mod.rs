//! The command line: definitions, dispatch, and the only printing code.

mod archive;
mod ask;
#[cfg(debug_assertions)]
mod attack;
mod check;
mod convert;
mod demo;
mod detector;
mod doctor;
mod exit;
mod expect;
mod explain;
mod follow;
mod host;
mod init;
mod input;
mod journal;
mod kernel;
mod knock;
mod knock_files;
mod knocked;
mod load;
mod look;
mod manual;
mod monitor;
mod parse;
mod replay;
mod rules;
mod secret;
mod settings;
mod status;
mod table;
mod tool;
mod totp;
mod trust;
mod watch;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use exit::{Code, Failure};
use settings::{Global, options_of};

use crate::engine::reason::Tally;
use crate::monitor::session;

/// What help says behind the options of each command.
const HELP: &str = include_str!("help.txt");

/// A port-knock detector that reads the firewall's own log
#[derive(Debug, Parser)]
#[command(
    name = "logknock",
    version,
    about,
    long_about = "Follows the packet lines that a Linux firewall already logs (iptables -j LOG, nft log), \
        finds port knocks in them and runs open and close commands. No packet capture, no open port."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(flatten)]
    follow: follow::Args,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the detection over finished logs and show what would have happened; nothing is executed
    Replay(replay::Args),
    /// Show how each line is read, or why it is rejected
    Parse(parse::Args),
    /// Check the configuration: every error at once, with line, column and fix
    Check(check::Args),
    /// Check each step from a packet to an open door, and print what is broken and how to fix it
    Doctor(doctor::Args),
    /// Print a knockd.conf as TOML with the same meaning, and warn about lines that knockd misreads
    Convert(convert::Args),
    /// Write a new configuration with a random sequence and a random log prefix
    Init(init::Args),
    /// Print or load the firewall rules that fit the configuration: what is logged, let in and dropped
    Rules(rules::Args),
    /// Knock at a door, and wait until it is open
    #[command(version)]
    Knock(Box<knock::Args>),
    /// Show the state of the running daemon: doors, sources, open doors, rejected lines and the reasons
    Status(status::Args),
    /// Open a door for an address, as if it had knocked
    Open(ask::OpenArgs),
    /// Close the open doors of an address, or all of them
    Close(ask::CloseArgs),
    /// Make the running daemon read its configuration again; if it is wrong, print the errors and exit 1
    Reload,
    /// Draw what the packets of an address did at each door, with one sentence of advice
    Explain(explain::Args),
    /// Show the ports of a totp door now, or make a secret for one
    Totp(totp::Args),
    /// Show a knock opening and closing a door, on this machine, without root and without a firewall
    Demo,
    /// Print a manual page
    Man(manual::ManArgs),
    /// Print the completions of a shell
    Completions(manual::CompletionsArgs),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let mut words = std::env::args_os();
    let name = words.next();
    if name.as_deref().is_some_and(|name| name == session::NAME) {
        let why = session::run();
        exit::tell(&format!("cannot run a command: {why}"));
        return session::REFUSED.into();
    }
    let parsed = definitions().try_get_matches().and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        Ok((cli, Global::of(&matches)))
    });
    let (mut cli, global) = match parsed {
        Ok(parsed) => parsed,
        Err(error) if error.use_stderr() => {
            // clap begins with a word of its own.
            let said = error.render().ansi().to_string();
            let (_, what) = said.split_once(' ').unwrap_or_default();
            exit::tell(what.trim_end());
            return Code::Usage.into();
        }
        Err(help_or_version) => {
            // A closed pipe is not our fault.
            drop(help_or_version.print());
            return ExitCode::SUCCESS;
        }
    };
    let is_detector = name
        .as_deref()
        .is_some_and(|name| name == monitor::DETECTOR);
    let is_look = name.is_some_and(|name| name == look::LOOK);
    let done = global.and_then(|global| {
        cli.global = global;
        if cli.global.prefix.is_some() && !is_detector && !is_look {
            exit::tell("warning: 'ps' shows --prefix to every local user; write it into a file and give --prefix-file");
        }
        if is_look {
            return look::run(&cli.global);
        }
        dispatch(&cli, is_detector)
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            failure.code.into()
        }
    }
}

fn dispatch(cli: &Cli, is_detector: bool) -> Result<(), Failure> {
    let format = if cli.global.json {
        Format::Json
    } else {
        Format::Text
    };
    match &cli.command {
        None if is_detector => detector::run(&cli.follow, &cli.global, format),
        None => monitor::run(&cli.follow, &cli.global, format),
        Some(Command::Replay(args)) => replay::run(args, &cli.global.load()?, format),
        Some(Command::Parse(args)) => parse::run(args, format),
        Some(Command::Check(args)) => check::run(args, &cli.global, format),
        Some(Command::Doctor(args)) => doctor::run(args, &cli.global, format),
        Some(Command::Convert(args)) => convert::run(args, &cli.global),
        Some(Command::Init(args)) => init::run(args, &cli.global.config),
        Some(Command::Rules(args)) => rules::run(args, &cli.global),
        Some(Command::Knock(args)) => knock::run(args, format),
        Some(Command::Status(args)) if args.watch => watch::run(&cli.global),
        Some(Command::Status(args)) => status::run(args, &cli.global, format),
        Some(Command::Open(args)) => ask::open(args, &cli.global, format),
        Some(Command::Close(args)) => ask::close(args, &cli.global, format),
        Some(Command::Reload) => ask::reload(&cli.global, format),
        Some(Command::Explain(args)) => explain::run(args, &cli.global, format),
        Some(Command::Totp(args)) => totp::run(args, &cli.global, format),
        Some(Command::Demo) => demo::run(),
        Some(Command::Man(args)) => manual::man(args),
        Some(Command::Completions(args)) => manual::completions(args),
    }
}

/// Where results go: a terminal gets each at once, anything else in big pieces.
fn results() -> Box<dyn Write> {
    let out = anstream::stdout();
    if io::stdout().is_terminal() {
        Box::new(out)
    } else {
        Box::new(BufWriter::new(out))
    }
}

/// How many lines were rejected, and why.
fn rejected(tally: &Tally) -> String {
    let all: u64 = tally.iter().map(|(_, count)| count).sum();
    let reasons = tally.iter().map(|(reason, count)| (reason.as_str(), count));
    format!("{all} rejected{}", table::counts(reasons))
}

/// The text of [`HELP`] that is called `name`.
fn help(name: &str) -> &'static str {
    let mut texts = HELP.split("\n== ");
    let text = texts.find_map(|text| text.strip_prefix(name)?.strip_prefix('\n'));
    text.unwrap_or_default().trim_end()
}

/// The definitions, for documents that must agree with them.
pub fn definitions() -> clap::Command {
    let whole = format!("{}\n\n{}", help("logknock"), help("exit status"));
    Cli::command()
        .mut_subcommands(|command| {
            let (options, help) = (options_of(command.get_name()), help(command.get_name()));
            command.args(options).after_help(help)
        })
        .after_help(help("logknock"))
        .after_long_help(whole)
}
