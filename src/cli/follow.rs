//! `logknock --follow …`: the daemon on this command line.

use std::io::{self, IsTerminal, Write};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Format;
use super::exit::{Code, Failure};
use super::settings::{Global, Settings};
use crate::config;
use crate::daemon::{self, Files, Mode, OnExit, Plan, Rules, Socket, StartError, Told};
use crate::render::Row;
use crate::runner;
use crate::runner::ledger::OpenError;
use crate::source::RefusalKind;
use crate::source_spec::SourceSpec;
use crate::trust;

/// Arguments of the daemon.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where lines come from, instead of the configured sources: a log file or a pattern of
    /// names ('/var/log/fw/*.log'), kmsg, journald, -, unix:PATH or udp:ADDR:PORT (repeatable)
    #[arg(long, value_name = "SOURCE")]
    follow: Vec<SourceSpec>,
    /// Print commands instead of running them; open grants are not kept
    #[arg(long)]
    dry_run: bool,
    /// Say more: -v attempts, -vv everything
    #[arg(long, short, action = clap::ArgAction::Count)]
    verbose: u8,
}

impl Args {
    /// Refuses options of the daemon in front of a command, where they would mean nothing. (clap could
    /// do so itself, but only together with the options that every command takes.)
    pub(super) fn refuse_beside_a_command(&self) -> Result<(), Failure> {
        let given = [
            ("--follow", !self.follow.is_empty()),
            ("--dry-run", self.dry_run),
            ("--verbose", self.verbose > 0),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(Failure::new(
                Code::Usage,
                format!("{name} is for the daemon, which runs without a command"),
            )),
            None => Ok(()),
        }
    }
}

/// Runs the daemon until it is told to stop.
pub(super) fn run(args: &Args, global: &Global, format: Format) -> Result<(), Failure> {
    let settings = global.load()?;
    let sources = if args.follow.is_empty() {
        settings.config.log.sources.clone()
    } else {
        args.follow.clone()
    };
    if sources.is_empty() {
        let message = "nothing to follow: give --follow PATH, or 'sources' in [log]";
        return Err(Failure::new(Code::Config, message));
    }
    let state_dir =
        (!args.dry_run && !settings.config.daemon.ephemeral).then_some(global.state_dir.as_path());
    for warning in super::trust::require(&settings, &sources, state_dir)? {
        writeln!(anstream::stderr(), "logknock: {}", warning.diagnostic)?;
    }
    let relay = relay(settings.config.log.relay_user.as_deref())?;
    log_to_stderr(args.verbose);
    let left = daemon::run(plan(args, global, settings, sources, relay, format))
        .map_err(|error| failure(&error))?;
    if left > 0 {
        return Err(Failure {
            code: Code::Busy,
            message: String::new(),
        });
    }
    Ok(())
}

/// The number of the user who may send to our socket.
fn relay(name: Option<&str>) -> Result<Option<u32>, Failure> {
    let Some(name) = name else { return Ok(None) };
    let number = trust::user_number(name).ok_or_else(|| {
        let message = format!("relay_user: there is no user '{name}' in /etc/passwd");
        Failure::new(Code::Config, message)
    })?;
    Ok(Some(number))
}

fn plan(
    args: &Args,
    global: &Global,
    settings: Settings,
    sources: Vec<SourceSpec>,
    relay: Option<u32>,
    format: Format,
) -> Plan {
    let daemon = &settings.config.daemon;
    let mode = match (args.dry_run, daemon.ephemeral) {
        (true, _) => Mode::Dry,
        (false, true) => Mode::Ephemeral,
        (false, false) => Mode::Run(global.state_dir.clone()),
    };
    let (again, followed) = (global.clone(), sources.clone());
    Plan {
        sources,
        udp_peers: settings.config.log.udp_peers.clone(),
        relay,
        mode,
        commands: runner::Options {
            max_commands: daemon.max_commands,
            timeout: daemon.command_timeout,
        },
        on_exit: match daemon.on_exit {
            config::OnExit::Close => OnExit::Close,
            config::OnExit::Keep => OnExit::Keep,
        },
        stop_timeout: daemon.stop_timeout,
        // A dry run leaves nothing behind, and there is nothing to ask of it.
        control: (!args.dry_run).then(|| Socket {
            path: global.control_path(daemon.control.as_deref()),
            group: daemon.group.clone(),
        }),
        records: Files {
            event_log: daemon.event_log.clone(),
            // A dry run runs no command, so nobody is to read that it does.
            knockd_log: daemon.knockd_log.clone().filter(|_| !args.dry_run),
            metrics: daemon.metrics_file.clone(),
        },
        rules: rules(settings),
        reload: Box::new(move || {
            let settings = again.load().map_err(|failure| failure.message)?;
            super::trust::require(&settings, &followed, None).map_err(|failure| failure.message)?;
            Ok(rules(settings))
        }),
        tell: Box::new(move |told| {
            // Whoever reads our results may have gone; doors must still be closed.
            drop(tell(&told, format));
        }),
    }
}

fn rules(settings: Settings) -> Rules {
    Rules {
        doors: settings.doors,
        reader: settings.reader,
        max_line_age: settings.config.log.max_line_age,
    }
}

/// What goes to stdout: the event log as JSON, and the commands of a dry run.
fn tell(told: &Told<'_>, format: Format) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    match (told, format) {
        (Told::Event(event, time, source), Format::Json) => {
            let file = source.map(ToString::to_string);
            let row = Row {
                event,
                time: Some(*time),
                file: file.as_deref(),
            };
            writeln!(out, "{}", row.json()?)
        }
        (Told::Would(argv), Format::Json) => {
            writeln!(
                out,
                "{}",
                serde_json::json!({"event": "would_run", "argv": argv})
            )
        }
        (Told::Would(argv), Format::Text) => {
            let words = argv.iter().map(String::as_str);
            writeln!(
                out,
                "would run: {}",
                shlex::try_join(words).unwrap_or_default()
            )
        }
        (Told::Event(..), Format::Text) => Ok(()),
    }?;
    out.flush()
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => Level::INFO,
        1 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
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

fn failure(error: &StartError) -> Failure {
    let code = match error {
        StartError::State(OpenError::Locked(_)) => Code::Busy,
        StartError::State(OpenError::Insecure(_)) => Code::Permission,
        StartError::State(OpenError::Failed { error, .. })
            if error.kind() == io::ErrorKind::PermissionDenied =>
        {
            Code::Permission
        }
        StartError::State(_) | StartError::System(_) => Code::Internal,
        StartError::Source(_, refusal) => match refusal.kind() {
            RefusalKind::Permission => Code::Permission,
            RefusalKind::Source => Code::Unavailable,
            RefusalKind::Configuration => Code::Config,
            RefusalKind::System => Code::Internal,
        },
    };
    Failure::new(code, format!("logknock: {error}"))
}
