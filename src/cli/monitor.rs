//! `logknock --follow …`: the daemon on this command line, whose first process is the monitor.
//!
//! In: the command line and the config. Out: its plan. It starts this program once more, as the detector, under
//! another name with its own arguments, and tells it what the files say.

#![expect(
    clippy::disallowed_methods,
    reason = "the file of the key that signs grants"
)]

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use ed25519_dalek::SigningKey;

use super::exit::{Code, Failure};
use super::look::LOOK;
use super::settings::{Global, Settings};
use super::{Format, follow, trust};
use crate::config::{self, Config, OnExit};
use crate::fleet::grant;
use crate::fleet::message::{Bus, VERSION};
use crate::monitor::ledger::OpenError;
use crate::monitor::{
    self, Configuration, DryRun, End, Files, Membership, Notify, Options, Plan, Socket, Start,
    StartError,
};
use crate::rights::{self, Role, Trusted};
use crate::source::journal::Journalctl;
use crate::source_spec::SourceSpec;

/// The name that tells this program that it is the detector.
pub(super) const DETECTOR: &str = "logknock-detector";

/// How long what is due may take to be closed by a start that cannot follow.
const LAST_CLOSES: Duration = Duration::from_secs(15);

/// Runs the daemon until a signal stops it.
pub(super) fn run(args: &follow::Args, global: &Global, format: Format) -> Result<(), Failure> {
    let prepared = prepare(args, global);
    follow::log_to_stderr(args);
    let (settings, sources) = prepared.inspect_err(|_| {
        if !args.dry_run {
            monitor::close_due(&global.state_dir, LAST_CLOSES);
        }
    })?;
    run_monitor(args, global, &settings, &sources, format)
}

/// What is to be followed and how, if that is as it must be.
fn prepare(args: &follow::Args, global: &Global) -> Result<(Settings, Vec<SourceSpec>), Failure> {
    let settings = global.load_for(!args.dry_run)?;
    let sources = args.sources(&settings);
    if sources.is_empty() {
        let message = "nothing to follow: give --follow PATH, or 'sources' in [log]";
        return Err(Failure::new(Code::Config, message));
    }
    let state_dir =
        (!args.dry_run && !settings.config.daemon.ephemeral).then_some(global.state_dir.as_path());
    for warning in trust::require(&settings, &sources, state_dir)? {
        writeln!(anstream::stderr(), "logknock: {}", warning.diagnostic)?;
    }
    follow::relay(&settings)?;
    Ok((settings, sources))
}

/// Runs the monitor, which starts the detector.
fn run_monitor(
    args: &follow::Args,
    global: &Global,
    settings: &Settings,
    sources: &[SourceSpec],
    format: Format,
) -> Result<(), Failure> {
    let daemon = &settings.config.daemon;
    let is_dry = args.dry_run;
    let is_kept = !is_dry && !daemon.ephemeral;
    let (again, followed) = (global.clone(), sources.to_vec());
    let (before, args_again) = (settings.config.clone(), args.clone());
    let meant = move |settings: &Settings| args_again.sources(settings);
    let reads_stdin = sources.contains(&SourceSpec::Stdin);
    let stdin = reads_stdin.then(|| io::stdin().as_fd().try_clone_to_owned());
    let sockets = sources.iter().filter_map(|source| match source {
        SourceSpec::Unix(path) => Some(path.clone()),
        _ => None,
    });
    let journals = sources.iter().zip(0..);
    let journals = journals.filter(|(source, _)| **source == SourceSpec::Journald);
    let state_dir = is_kept.then(|| global.state_dir.clone());
    let plan = Plan {
        configuration: configuration(global, settings, is_dry)?,
        state_dir: state_dir.clone(),
        commands: Options {
            max_commands: daemon.max_commands,
            timeout: daemon.command_timeout,
        },
        firewall: Start {
            name: LOOK,
            arguments: arguments(),
        },
        control: (!is_dry).then(|| Socket {
            path: global.control_path(daemon.control.as_deref()),
            group: daemon.group.clone(),
        }),
        dry_run: is_dry.then(|| -> DryRun {
            // The reader of our output may have gone.
            Box::new(move |argv| drop(would_run(argv, format)))
        }),
        settings: monitor::Settings {
            close_at_end: is_dry || daemon.on_exit == OnExit::Close,
            stop_timeout: daemon.stop_timeout,
            detector: Start {
                name: DETECTOR,
                arguments: arguments(),
            },
            records: Files {
                event_log: daemon.event_log.clone(),
                // A dry run runs no command, so knockd's log must not say that it does.
                knockd_log: daemon.knockd_log.clone().filter(|_| !is_dry),
                knockd_syslog: daemon.knockd_syslog && !is_dry,
                state_dir,
                metrics: daemon.metrics_file.clone().filter(|_| !is_dry),
            },
            stdin: stdin.transpose()?,
            has_end: sources.iter().all(|source| *source == SourceSpec::Stdin),
            sources: sources.iter().map(ToString::to_string).collect(),
            sockets: sockets.collect(),
            journals: journals.map(|(_, number)| number).collect(),
            journal: Box::new(|wanted| Journalctl::of_this_system()?.start(wanted)),
            reload: Box::new(move || {
                let read = again.load_for(!is_dry).map_err(Failure::from);
                let read = read.and_then(|settings| {
                    refuse_other_start(&before, &settings, &followed, &meant(&settings))?;
                    trust::require(&settings, &followed, None)?;
                    configuration(&again, &settings, is_dry)
                });
                // It is said in the log too, which takes no colours.
                let plain = |text: &str| anstream::adapter::strip_str(text).to_string();
                read.map_err(|failure| plain(&failure.message))
            }),
        },
    };
    match monitor::run(plan).map_err(|error| failure(&error))? {
        End::Stopped { left: 0 } => Ok(()),
        End::Stopped { .. } => Err(Failure::new(Code::Busy, "")),
        End::NotStarted(None) => {
            let message = "the detector was killed before it followed";
            Err(Failure::new(Code::Internal, message))
        }
        // It has said why.
        End::NotStarted(status) => Err(Failure::new(Code::of(status), "")),
    }
}

/// Refuses a configuration with other sources or another `[daemon]`: only a start reads these. A source with a table
/// of its own may be revoked.
fn refuse_other_start(
    before: &Config,
    settings: &Settings,
    followed: &[SourceSpec],
    meant: &[SourceSpec],
) -> Result<(), Failure> {
    let is_own = |source: &SourceSpec| before.log.own.iter().any(|own| own.source == *source);
    let is_kept = |source| meant.contains(source) || is_own(source);
    if followed.iter().all(is_kept)
        && meant.iter().all(|source| followed.contains(source))
        && settings.config.daemon == before.daemon
    {
        return Ok(());
    }
    let message = "'sources' or [daemon] have changed, and only a start reads them\n\
                   restart the daemon: systemctl restart logknock";
    Err(Failure::new(Code::Config, message))
}

/// What the monitor has to know of the configuration. A dry run tells nobody, and looks at nothing but the logs.
fn configuration(
    global: &Global,
    settings: &Settings,
    is_dry: bool,
) -> Result<Configuration, Failure> {
    let config = &settings.config;
    let notify = config.notify.as_ref().filter(|_| !is_dry);
    let notify = notify.map(|notify| Notify {
        argv: notify.argv.clone(),
        account: notify.account.clone(),
        on: notify.on.clone(),
        timeout: config.daemon.command_timeout,
    });
    Ok(Configuration {
        doors: config.doors.clone(),
        fleet: match &config.fleet {
            Some(fleet) if !is_dry => Some(membership(global, settings, fleet)?),
            _ => None,
        },
        notify,
        needs_rules: !is_dry && config.opens_ports(),
        text: serde_json::to_string(&config.written)?,
    })
}

/// This gateway's place in its fleet.
fn membership(
    global: &Global,
    settings: &Settings,
    fleet: &config::Fleet,
) -> Result<Membership, Failure> {
    let daemon = &settings.config.daemon;
    let control = global.control_path(daemon.control.as_deref());
    let socket = fleet.socket.clone();
    Ok(Membership {
        rules: fleet.rules.clone(),
        key: signing_key(&fleet.signing_key)?,
        bus: Bus {
            version: VERSION,
            name: fleet.rules.name.clone(),
            servers: fleet.servers.clone(),
            tls: fleet.tls.clone(),
            ping: u64::try_from(fleet.ping.as_millis()).unwrap_or(u64::MAX),
            back: 0,
        },
        socket: socket.unwrap_or_else(|| control.with_file_name("fleet.sock")),
        user: fleet.user.clone(),
        closed: (!daemon.ephemeral).then(|| global.state_dir.join("fleet")),
    })
}

/// The key that signs our grants. No other user may read or change it: with it all gateways could be opened.
fn signing_key(path: &Path) -> Result<SigningKey, Failure> {
    let failure = |code, why: &str| {
        let path = path.display();
        Failure::new(code, format!("signing_key: '{path}': {why}"))
    };
    if let Some(flaw) = rights::flaws(path, Role::File, &Trusted::ours()).first() {
        return Err(failure(Code::Permission, &flaw.to_string()));
    }
    if rights::is_read_by_everybody(path) {
        return Err(failure(Code::Permission, "can be read by everybody"));
    }
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| failure(Code::Config, &error.to_string()))?;
    grant::signing_key(&text).ok_or_else(|| failure(Code::Config, "no Ed25519 key in base64"))
}

/// Prints a command of a dry run.
fn would_run(argv: &[String], format: Format) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    match format {
        Format::Json => {
            let json = serde_json::json!({"event": "would_run", "argv": argv});
            writeln!(out, "{json}")?;
        }
        Format::Text => {
            let words = shlex::try_join(argv.iter().map(String::as_str));
            writeln!(out, "would run: {}", words.unwrap_or_default())?;
        }
    }
    out.flush()
}

/// Our own arguments, without our name.
fn arguments() -> Vec<OsString> {
    std::env::args_os().skip(1).collect()
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
    Failure::new(code, error)
}
