//! What the command line of the daemon says: the sources, and how much is logged. Both of its processes have it.

use std::io::{self, IsTerminal as _};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::exit::{Code, Failure};
use super::journal::Stderr;
use super::settings::Settings;
use crate::accounts;
use crate::source_spec::SourceSpec;

/// Arguments of the daemon.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The source of log lines, instead of the configured ones: a log file or a pattern of names
    /// ('/var/log/fw/*.log'), kmsg, journald, nflog:GROUP, -, unix:PATH or udp:ADDR:PORT (repeatable)
    #[arg(long, value_name = "SOURCE")]
    follow: Vec<SourceSpec>,
    /// Print commands instead of running them; open doors are not written to disk
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Log more: -v attempts, -vv everything
    #[arg(long, short, action = clap::ArgAction::Count)]
    verbose: u8,
}

impl Args {
    /// The sources: those of the command line, or else those of the config.
    pub(super) fn sources(&self, settings: &Settings) -> Vec<SourceSpec> {
        if self.follow.is_empty() {
            settings.config.log.sources.clone()
        } else {
            self.follow.clone()
        }
    }
}

/// The number of the user who may send to our socket.
pub(super) fn relay(settings: &Settings) -> Result<Option<u32>, Failure> {
    let Some(name) = &settings.config.log.relay_user else {
        return Ok(None);
    };
    let number = accounts::user_number(name).ok_or_else(|| {
        let message = format!("relay_user: there is no user '{name}' in /etc/passwd");
        Failure::new(Code::Config, message)
    })?;
    Ok(Some(number))
}

/// Says what is to be said on standard error, as much as was asked for.
pub(super) fn log_to_stderr(args: &Args) {
    let level = match args.verbose {
        0 => Level::INFO,
        1 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(Stderr::new())
        .with_target(false)
        .with_ansi(
            io::stderr().is_terminal()
                && anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never,
        );
    // systemd stamps lines itself.
    let stamped = io::stderr().is_terminal();
    let targets = Targets::new().with_target("logknock", level);
    let registry = tracing_subscriber::registry().with(targets);
    if stamped {
        registry.with(lines).init();
    } else {
        registry.with(lines.without_time()).init();
    }
}
