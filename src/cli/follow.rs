//! `logknock --follow …`: the daemon on this command line.

use std::io::{self, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Format;
use super::exit::{Code, Failure};
use super::journal::Stderr;
use super::settings::{Global, Settings};
use crate::accounts;
use crate::detector::{self, Plan, Reload, Rules, StartError, Told};
use crate::monitor::{self, Files};
use crate::privsep::{Link, Record, Welcome};
use crate::render::Row;
use crate::source::RefusalKind;
use crate::source_spec::SourceSpec;

/// Arguments of the daemon.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The source of log lines, instead of the configured ones: a log file or a pattern of names
    /// ('/var/log/fw/*.log'), kmsg, journald, nflog:GROUP, -, unix:PATH or udp:ADDR:PORT (repeatable)
    #[arg(long, value_name = "SOURCE")]
    follow: Vec<SourceSpec>,
    /// Print commands instead of running them; open doors are not written to disk
    #[arg(long)]
    dry_run: bool,
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

/// How long what is due may take to be closed by a start that cannot follow.
const LAST_CLOSES: Duration = Duration::from_secs(15);

/// Runs the daemon until a signal stops it.
pub(super) fn run(args: &Args, global: &Global, format: Format) -> Result<(), Failure> {
    let prepared = prepare(args, global);
    log_to_stderr(args);
    let (settings, sources) = prepared.inspect_err(|_| {
        if !args.dry_run {
            monitor::close_due(&global.state_dir, LAST_CLOSES);
        }
    })?;
    if !args.dry_run {
        return super::monitor::run(global, &settings, &sources);
    }
    let (again, followed) = (global.clone(), sources.clone());
    let reload = Box::new(move |_: &str| {
        let settings = again.load().map_err(|errors| errors.styled())?;
        super::trust::require(&settings, &followed, None).map_err(|failure| failure.message)?;
        Ok(rules(settings))
    });
    work(args, global, settings, sources, format, None, reload)
}

/// What is to be followed and how, if that is as it must be.
fn prepare(args: &Args, global: &Global) -> Result<(Settings, Vec<SourceSpec>), Failure> {
    let settings = if args.dry_run {
        global.load()
    } else {
        global.load_to_run()
    };
    let settings = settings.map_err(|errors| {
        let mut failure = Failure::from(errors);
        if !global.config.exists() {
            failure.message +=
                "\n'logknock init' writes one; 'logknock demo' shows a knock without any";
        }
        failure
    })?;
    let sources = args.sources(&settings);
    if sources.is_empty() {
        let message = "nothing to follow: give --follow PATH, or 'sources' in [log]";
        return Err(Failure::new(Code::Config, message));
    }
    let state_dir =
        (!args.dry_run && !settings.config.daemon.ephemeral).then_some(global.state_dir.as_path());
    for warning in super::trust::require(&settings, &sources, state_dir)? {
        writeln!(anstream::stderr(), "logknock: {}", warning.diagnostic)?;
    }
    relay(&settings)?;
    Ok((settings, sources))
}

/// The number of the user who may send to our socket.
fn relay(settings: &Settings) -> Result<Option<u32>, Failure> {
    let Some(name) = &settings.config.log.relay_user else {
        return Ok(None);
    };
    let number = accounts::user_number(name).ok_or_else(|| {
        let message = format!("relay_user: there is no user '{name}' in /etc/passwd");
        Failure::new(Code::Config, message)
    })?;
    Ok(Some(number))
}

/// Runs the daemon's loop in this process.
pub(super) fn work(
    args: &Args,
    global: &Global,
    settings: Settings,
    sources: Vec<SourceSpec>,
    format: Format,
    monitor: Option<(Link, Welcome)>,
    reload: Reload,
) -> Result<(), Failure> {
    let daemon = &settings.config.daemon;
    let plan = Plan {
        udp_peers: settings.config.log.udp_peers.clone(),
        relay: relay(&settings)?,
        monitor,
        records: if args.dry_run {
            dry_records(daemon.event_log.clone())?
        } else {
            Vec::new()
        },
        confined: confined(global, &sources),
        sources,
        rules: rules(settings),
        reload,
        tell: Box::new(move |told| {
            // The reader of our output may have gone; doors must still be closed.
            drop(tell(&told, format));
        }),
    };
    detector::run(plan).map_err(|error| failure(&error))
}

/// The records of a dry run. It runs no command, so knockd's log must not say that it does.
fn dry_records(event_log: Option<PathBuf>) -> Result<Vec<(Record, Option<OwnedFd>)>, Failure> {
    let files = Files {
        event_log,
        ..Files::default()
    };
    let opened = files.open().map(|(record, file)| Ok((record, Some(file?))));
    opened.collect::<io::Result<_>>().map_err(Failure::from)
}

/// What is done when all rights have been given up: nothing.
#[cfg(not(debug_assertions))]
fn confined(_: &Global, _: &[SourceSpec]) -> Box<dyn FnOnce()> {
    Box::new(|| ())
}

/// What is done when all rights have been given up: a test may try what is left.
#[cfg(debug_assertions)]
fn confined(global: &Global, sources: &[SourceSpec]) -> Box<dyn FnOnce()> {
    let (state, config) = (global.state_dir.clone(), global.config.clone());
    let log = sources.iter().find_map(|source| match source {
        SourceSpec::File(path) => Some(path.clone()),
        _ => None,
    });
    Box::new(move || super::attack::rehearse(&state, &config, &log.unwrap_or_default()))
}

/// What the daemon's loop needs of the config.
pub(super) fn rules(settings: Settings) -> Rules {
    Rules {
        doors: settings.config.doors,
        readers: settings.readers,
        max_line_age: settings.config.log.max_line_age,
        knocker_prefix: settings.config.log.knocker_prefix,
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

fn failure(error: &StartError) -> Failure {
    let code = match error {
        StartError::System(_) => Code::Internal,
        StartError::Source(_, refusal) => match refusal.kind() {
            RefusalKind::Permission => Code::Permission,
            RefusalKind::Source => Code::Unavailable,
            RefusalKind::Configuration => Code::Config,
            RefusalKind::System => Code::Internal,
        },
    };
    Failure::new(code, error)
}
