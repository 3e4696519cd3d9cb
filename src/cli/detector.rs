//! The detector as the monitor has started it: it reads the logs, and reports its findings to the monitor.
//!
//! In: the command line, and what the monitor says of the configuration. Out: the detector's loop, until its end.

use std::io::{self, Write as _};
use std::os::fd::AsFd;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::Format;
use super::exit::{Code, Failure};
use super::follow;
use super::settings::{Global, Settings};
use crate::config::{self, Written};
use crate::detector::{self, Plan, Rules, StartError};
use crate::engine::event::Event;
use crate::engine::time::Time;
use crate::privsep::Link;
use crate::render::Row;
use crate::source::RefusalKind;
use crate::source_spec::SourceSpec;

/// Runs the detector, which the monitor has started.
pub(super) fn run(args: &follow::Args, global: &Global, format: Format) -> Result<(), Failure> {
    follow::log_to_stderr(args);
    // It ends with the monitor, however that ends.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let (link, mut welcome) =
        Link::open(socket).map_err(|error| Failure::new(Code::Usage, error))?;
    if !link.is_attended() {
        // It was gone before we asked to go with it.
        return Err(Failure::new(Code::Internal, ""));
    }
    let settings = read(global, &std::mem::take(&mut welcome.rules))
        .map_err(|message| Failure::new(Code::Internal, message))?;
    let sources = args.sources(&settings);
    let again = global.clone();
    let plan = Plan {
        udp_peers: settings.config.log.udp_peers.clone(),
        relay: follow::relay(&settings)?,
        monitor: (link, welcome),
        confined: confined(global, &sources),
        sources,
        rules: rules(settings),
        reload: Box::new(move |text: &str| Ok(rules(read(&again, text)?))),
        tell: Box::new(move |event, time, source| {
            if format == Format::Json {
                // The reader of our output may have gone; doors must still be closed.
                drop(print(event, time, source));
            }
        }),
    };
    detector::run(plan).map_err(|error| failure(&error))
}

/// Prints an event as JSON.
fn print(event: &Event, time: Time, source: Option<&SourceSpec>) -> io::Result<()> {
    let file = source.map(ToString::to_string);
    let row = Row {
        event,
        time: Some(time),
        file: file.as_deref(),
    };
    let mut out = anstream::stdout().lock();
    writeln!(out, "{}", row.json()?)?;
    out.flush()
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
fn rules(settings: Settings) -> Rules {
    Rules {
        doors: settings.config.doors,
        readers: settings.readers,
        max_line_age: settings.config.log.max_line_age,
        knocker_prefix: settings.config.log.knocker_prefix,
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

fn read(global: &Global, text: &str) -> Result<Settings, String> {
    let written = serde_json::from_str(text).map_err(|error| error.to_string())?;
    reread(global, &written)
}

/// What the monitor has read.
pub(super) fn reread(global: &Global, written: &Written) -> Result<Settings, String> {
    let config = config::reread(written).map_err(|errors| errors.to_string())?;
    Ok(global.settings(config))
}
