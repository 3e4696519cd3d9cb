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
mod table;
mod tool;
mod totp;
mod trust;
mod watch;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use exit::{Code, Failure};
use settings::Global;

use crate::engine::reason::Tally;
use crate::monitor::session;

/// A port-knock detector that reads the firewall's own log
#[derive(Debug, Parser)]
#[command(
    name = "logknock",
    version,
    about,
    long_about = "Follows the packet lines that a Linux firewall already logs (iptables -j LOG, nft log), \
        finds port knocks in them and runs open and close commands. No packet capture, no open port.",
    after_help = "Examples:
  logknock --follow /var/log/kern.log        the daemon, beside an iptables LOG rule
  logknock --dry-run --follow /var/log/kern.log
                                             the same, commands printed instead of run
  logknock --config /etc/knockd.conf --prefix-file /etc/logknock/prefix --follow kmsg
                                             a knockd.conf as it is
  logknock replay /var/log/kern.log.1        what would have happened
  logknock parse --json /var/log/kern.log    every line as logknock reads it
  logknock check                             is the configuration right?
  logknock knock gw.example 7000 8000 9000   knock at a door
  logknock demo                              see a knock open and close a door, without root",
    after_long_help = "Examples:
  logknock --follow /var/log/kern.log        the daemon, beside an iptables LOG rule
  logknock --dry-run --follow /var/log/kern.log
                                             the same, commands printed instead of run
  logknock --config /etc/knockd.conf --prefix-file /etc/logknock/prefix --follow kmsg
                                             a knockd.conf as it is
  logknock replay /var/log/kern.log.1        what would have happened
  logknock parse --json /var/log/kern.log    every line as logknock reads it
  logknock check                             is the configuration right?
  logknock knock gw.example 7000 8000 9000   knock at a door
  logknock demo                              see a knock open and close a door, without root

Exit status:
   0  done
   1  the request failed
   2  the command line is wrong
  69  a source or the daemon is unavailable
  70  internal error
  75  another instance runs, or doors are left open
  77  not permitted
  78  the configuration is wrong"
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
    #[command(after_help = "Examples:
  logknock replay /var/log/kern.log
  logknock replay --json kern.log.1 kern.log | jq 'select(.event==\"open\")'
  logknock replay --report knocks.html kern.log.*.gz kern.log
  logknock replay --expect kern.expect kern.log")]
    Replay(replay::Args),
    /// Show how each line is read, or why it is rejected
    #[command(after_help = "Examples:
  logknock parse /var/log/kern.log
  journalctl -k -o short-iso | logknock parse --json")]
    Parse(parse::Args),
    /// Check the configuration: every error at once, with line, column and fix
    #[command(after_help = "Examples:
  logknock check
  logknock check --config ./logknock.toml --json
  logknock check --config /etc/knockd.conf --follow kmsg")]
    Check(check::Args),
    /// Check each step from a packet to an open door, and print what is broken and how to fix it
    #[command(after_help = "Examples:
  logknock doctor
  logknock doctor --live 203.0.113.7 --for 60s

Exit status 0: all is well; 1: something is broken. No sequence, port of one or prefix is shown.")]
    Doctor(doctor::Args),
    /// Print a knockd.conf as TOML with the same meaning, and warn about lines that knockd misreads
    #[command(after_help = "Examples:
  logknock convert /etc/knockd.conf
  logknock convert /etc/knockd.conf --prefix-file /etc/logknock/prefix

A knockd.conf also works as it is, for every command, with --prefix-file or with a comment in it:
  #logknock: prefix-file = /etc/logknock/prefix
What is printed holds the sequences, which are secrets; warnings go to standard error.")]
    Convert(convert::Args),
    /// Write a new configuration with a random sequence and a random log prefix
    #[command(after_help = "Examples:
  logknock init
  logknock init --config ./logknock.toml
  logknock init --print > logknock.toml

It detects the firewall, the port of sshd and a source that can be trusted, and prints the next steps.
It overwrites nothing. Only the owner can read the file, which is a secret; without --print, none of it is printed.")]
    Init(init::Args),
    /// Print or load the firewall rules that fit the configuration: what is logged, let in and dropped
    #[command(after_help = "Examples:
  logknock rules --for nft                   read them
  logknock rules --for nft --try 10m         load them; confirm, or they are undone
  logknock rules --confirm
  logknock rules --for nft --install         load them at each boot too
  logknock rules --remove                    remove all of them
  logknock rules --for iptables | sh
  logknock rules --for nft-only | nft -f -

The rules contain the log prefix, a secret: do not keep them where others can read them.
Loading them twice has the effect of loading them once. No policy changes; only new connections to ports in
'opens' are dropped.
ufw takes every backend; firewalld and openwrt want \"nft\".
iptables-recent and nft-only need no daemon: they contain the knock, and each knock lets in one TCP
connection. Door keys that the kernel cannot enforce are errors.")]
    Rules(rules::Args),
    /// Knock at a door, and wait until it is open
    #[command(version, after_help = knock::EXAMPLES)]
    Knock(Box<knock::Args>),
    /// Show the state of the running daemon: doors, sources, open doors, rejected lines and the reasons
    #[command(after_help = "Examples:
  logknock status
  logknock status --watch
  logknock status --json")]
    Status(ask::StatusArgs),
    /// Open a door for an address, as if it had knocked
    #[command(after_help = "Examples:
  logknock open ssh 203.0.113.7")]
    Open(ask::OpenArgs),
    /// Close the open doors of an address, or all of them
    #[command(after_help = "Examples:
  logknock close 203.0.113.7
  logknock close --all")]
    Close(ask::CloseArgs),
    /// Make the running daemon read its configuration again; if it is wrong, print the errors and exit 1
    #[command(after_help = "Examples:
  logknock reload")]
    Reload,
    /// Draw what the packets of an address did at each door, with one sentence of advice
    #[command(after_help = "Examples:
  logknock explain 203.0.113.7
  logknock explain 203.0.113.7 --log /var/log/kern.log")]
    Explain(explain::Args),
    /// Show the ports of a totp door now, or make a secret for one
    #[command(after_help = totp::EXAMPLES)]
    Totp(totp::Args),
    /// Show a knock opening and closing a door, on this machine, without root and without a firewall
    #[command(after_help = "Examples:
  logknock demo

It takes a few seconds, needs no configuration and leaves nothing behind.")]
    Demo,
    /// Print a manual page
    #[command(after_help = "Examples:
  logknock man | man -l -
  logknock man logknock.toml | man -l -")]
    Man(manual::ManArgs),
    /// Print the completions of a shell
    #[command(after_help = "Examples:
  logknock completions bash > /usr/share/bash-completion/completions/logknock
  logknock completions zsh > /usr/local/share/zsh/site-functions/_logknock")]
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
    if cli.command.is_some() {
        cli.follow.refuse_beside_a_command()?;
    }
    let format = if cli.global.json {
        Format::Json
    } else {
        Format::Text
    };
    match &cli.command {
        None if is_detector => detector::run(&cli.follow, &cli.global, format),
        None => follow::run(&cli.follow, &cli.global, format),
        Some(Command::Replay(args)) => replay::run(args, &cli.global.load()?, format),
        Some(Command::Parse(args)) => parse::run(args, format),
        Some(Command::Check(args)) => check::run(args, &cli.global, format),
        Some(Command::Doctor(args)) => doctor::run(args, &cli.global, format),
        Some(Command::Convert(args)) => convert::run(args, &cli.global),
        Some(Command::Init(args)) => init::run(args, &cli.global.config),
        Some(Command::Rules(args)) => rules::run(args, &cli.global),
        Some(Command::Knock(args)) => knock::run(args, format),
        Some(Command::Status(args)) => ask::status(args, &cli.global, format),
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

/// Reasons and how often each was given, in brackets behind a number; nothing when there are none.
fn reasons(tally: &Tally) -> String {
    let reasons: Vec<_> = tally
        .iter()
        .map(|(reason, count)| format!("{} {count}", reason.as_str()))
        .collect();
    if reasons.is_empty() {
        String::new()
    } else {
        format!(" ({})", reasons.join(", "))
    }
}

/// The definitions, for documents that must agree with them.
pub fn definitions() -> clap::Command {
    settings::with_options(Cli::command())
}
