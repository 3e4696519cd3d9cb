//! `logknock open`, `close`, `reload`: one request to the running daemon each; and how every command asks it.

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Format;
use super::exit::{Code, Failure};
use super::settings::Global;
use super::table::counted;
use crate::config;
use crate::protocol::{self, AskError, REPLY_TIMEOUT, Reply, Request, Status, Whose};

/// How long the daemon may take to answer …
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// … and to open a door, whose command runs first.
const OPEN_PATIENCE: Duration = REPLY_TIMEOUT.saturating_add(PATIENCE);

/// Arguments of `open`.
#[derive(Debug, clap::Args)]
pub(super) struct OpenArgs {
    /// The door's name
    #[arg(value_name = "DOOR")]
    door: String,
    /// The address to open it for
    #[arg(value_name = "ADDRESS")]
    src: IpAddr,
}

/// Arguments of `close`.
#[derive(Debug, clap::Args)]
pub(super) struct CloseArgs {
    /// The address whose doors are closed
    #[arg(
        value_name = "ADDRESS",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    src: Option<IpAddr>,
    /// Close all open doors
    #[arg(long)]
    all: bool,
}

/// Runs `open`.
pub(super) fn open(args: &OpenArgs, global: &Global, format: Format) -> Result<(), Failure> {
    let (door, src) = (args.door.clone(), args.src);
    let count = done(ask(global, &Request::Open { door, src })?)?;
    say(format, count, &format!("opened {} for {src}", args.door))
}

/// Runs `close`.
pub(super) fn close(args: &CloseArgs, global: &Global, format: Format) -> Result<(), Failure> {
    let whose = args.src.map_or(Whose::Everybody, Whose::Of);
    let count = done(ask(global, &Request::Close(whose))?)?;
    let text = match (whose, count) {
        (Whose::Of(src), 0) => {
            let message = format!("nothing is open for {src}");
            return Err(Failure::new(Code::Failed, message));
        }
        (Whose::Everybody, 0) => "nothing is open".to_owned(),
        (_, 1) => "closing 1 door".to_owned(),
        (_, count) => format!("closing {count} doors"),
    };
    say(format, count, &text)
}

/// Runs `reload`.
pub(super) fn reload(global: &Global, format: Format) -> Result<(), Failure> {
    let count = done(ask(global, &Request::Reload)?)?;
    let text = format!("reloaded, {}", counted(count, "door"));
    say(format, count, &text)
}

/// Asks the daemon that `global` means.
pub(super) fn ask(global: &Global, request: &Request) -> Result<Reply, Failure> {
    let patience = match request {
        Request::Open { .. } => OPEN_PATIENCE,
        _ => PATIENCE,
    };
    Asked::of(global).ask(request, patience)
}

/// A daemon that is asked.
pub(super) struct Asked {
    path: PathBuf,
}

impl Asked {
    /// The one that `global` means.
    pub(super) fn of(global: &Global) -> Self {
        // A user that may ask the daemon may lack the right to read its configuration.
        let configured = || config::load(&global.config).ok()?.daemon.control;
        let configured = match global.control {
            Some(_) => None,
            None => configured(),
        };
        Self {
            path: global.control_path(configured.as_deref()),
        }
    }

    /// What it answers to `request`, if it does so within a time.
    pub(super) fn ask(&self, request: &Request, within: Duration) -> Result<Reply, Failure> {
        let reply = protocol::ask(&self.path, request, within);
        reply.map_err(|error| unanswered(&self.path, &error))
    }

    /// How it is, if it says so within a time.
    pub(super) fn status(&self, within: Duration) -> Result<Box<Status>, Failure> {
        match self.ask(&Request::Status, within)? {
            Reply::Status(status) => Ok(status),
            other => Err(refusal(other)),
        }
    }
}

fn unanswered(path: &Path, error: &AskError) -> Failure {
    let path = path.display();
    let (code, message) = match error {
        AskError::NoDaemon(error) => {
            let fix =
                "start one ('systemctl start logknock'), or name its socket with --control PATH";
            let message = format!("no daemon answers at '{path}': {error}\n{fix}");
            (Code::Unavailable, message)
        }
        AskError::Denied => {
            let who =
                "root, the daemon's user and members of 'group' in [daemon] may use this socket";
            (Code::Permission, format!("'{path}': not permitted; {who}"))
        }
        AskError::NoReply(error) => {
            let message = format!("the daemon at '{path}' did not answer: {error}");
            (Code::Unavailable, message)
        }
    };
    Failure::new(code, message)
}

fn done(reply: Reply) -> Result<usize, Failure> {
    match reply {
        Reply::Done { count } => Ok(count),
        other => Err(refusal(other)),
    }
}

/// What the daemon says instead of what it was asked for.
pub(super) fn refusal(reply: Reply) -> Failure {
    match reply {
        Reply::Failed { message } => Failure::new(Code::Failed, message),
        Reply::Busy => {
            let message = "the daemon is busy with other requests; try again";
            Failure::new(Code::Busy, message)
        }
        _ => misunderstood(),
    }
}

fn misunderstood() -> Failure {
    Failure::new(Code::Internal, "the daemon's answer was not expected")
}

fn say(format: Format, count: usize, text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::json!({ "count": count }))?,
        Format::Text => writeln!(out, "{text}")?,
    }
    Ok(())
}
