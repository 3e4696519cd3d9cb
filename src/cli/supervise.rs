//! `logknock --follow …` for good: the runner and the follower, which are this program twice.
//!
//! In: the command line and the config. Out: the plans of both. The first starts the second under
//! another name with its own arguments, and tells it what the files say.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::exit::{Code, Failure};
use super::follow;
use super::settings::{Global, Settings};
use super::{Format, trust};
use crate::config::{self, OnExit};
use crate::daemon::Office;
use crate::privsep::{Link, Read};
use crate::runner;
use crate::runner::ledger::OpenError;
use crate::source::journal::{Journalctl, Start as _, Wanted};
use crate::source_spec::SourceSpec;
use crate::supervisor::{self, End, Journal, Kept, Plan, Rules, Start, StartError};

/// The name that tells this program that it is the follower.
pub(super) const FOLLOWER: &str = "logknock-follower";

/// Runs the runner, which starts the follower.
pub(super) fn run(
    global: &Global,
    settings: &Settings,
    sources: &[SourceSpec],
) -> Result<(), Failure> {
    let daemon = &settings.config.daemon;
    let (again, followed) = (global.clone(), sources.to_vec());
    let reads_stdin = sources.contains(&SourceSpec::Stdin);
    let stdin = reads_stdin.then(|| io::stdin().as_fd().try_clone_to_owned());
    let journals = sources.iter().zip(0..);
    let journals = journals.filter(|(source, _)| **source == SourceSpec::Journald);
    let plan = Plan {
        rules: rules(settings)?,
        kept: if daemon.ephemeral {
            Kept::Nowhere
        } else {
            Kept::In(global.state_dir.clone())
        },
        commands: runner::Options {
            max_commands: daemon.max_commands,
            timeout: daemon.command_timeout,
        },
        close_at_end: daemon.on_exit == OnExit::Close,
        stop_timeout: daemon.stop_timeout,
        follower: Start {
            name: FOLLOWER,
            arguments: arguments(),
        },
        stdin: stdin.transpose()?,
        journals: journals.map(|(_, number)| number).collect(),
        journal: Box::new(journal),
        reload: Box::new(move || {
            let settings = again.load_to_run().map_err(|failure| failure.message)?;
            trust::require(&settings, &followed, None).map_err(|failure| failure.message)?;
            rules(&settings).map_err(|failure| failure.message)
        }),
    };
    match supervisor::run(plan).map_err(|error| failure(&error))? {
        End::Stopped { left: 0 } => Ok(()),
        End::Stopped { .. } => Err(Failure::new(Code::Busy, "")),
        // It has said why.
        End::NotStarted(status) => Err(Failure::new(Code::of(status), "")),
    }
}

/// Runs the follower, whom the runner has started.
pub(super) fn follow(args: &follow::Args, global: &Global, format: Format) -> Result<(), Failure> {
    follow::log_to_stderr(args);
    // Whatever becomes of the runner, nobody goes on without it.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let (link, mut welcome) =
        Link::open(socket).map_err(|error| Failure::new(Code::Usage, error))?;
    if !link.is_attended() {
        // It was gone before we asked to go with it.
        return Err(Failure::new(Code::Internal, ""));
    }
    let settings = reread(global, &std::mem::take(&mut welcome.rules))
        .map_err(|message| Failure::new(Code::Internal, message))?;
    let sources = args.sources(&settings);
    let again = global.clone();
    let reload = Box::new(move |text: &str| Ok(follow::rules(reread(&again, text)?)));
    let office = Office::Runner(link, Box::new(welcome));
    follow::work(args, global, settings, sources, format, office, reload)
}

fn reread(global: &Global, text: &str) -> Result<Settings, String> {
    let written = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let config = config::reread(&written).map_err(|errors| errors.to_string())?;
    Ok(global.settings(config))
}

fn rules(settings: &Settings) -> Result<Rules, Failure> {
    Ok(Rules {
        doors: settings.doors.clone(),
        text: serde_json::to_string(&settings.config.written)?,
    })
}

/// Our own arguments, without our name.
fn arguments() -> Vec<OsString> {
    std::env::args_os().skip(1).collect()
}

fn journal(read: &Read) -> io::Result<Journal> {
    let wanted = match read {
        Read::Latest => Wanted::Latest,
        Read::From(cursor) => Wanted::From(cursor.clone()),
    };
    let running = Journalctl::of_this_system()?.start(&wanted)?;
    Ok(Journal {
        output: running.output,
        end: running.end,
    })
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
    };
    Failure::new(code, format!("logknock: {error}"))
}
