//! `logknock totp`: the ports of a `totp` door at a moment, or a new secret for one.
//!
//! In: a door of the config, or a secret's file and what goes with it. Out: the ports of the step that
//! holds the moment, and how long it lasts. The secret itself is shown only when it is made.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::exit::{Code, Failure};
use super::knock_files::private_file_failure;
use super::settings::Global;
use super::{Format, init, secret};
use crate::calendar::rfc3339;
use crate::clock;
use crate::config::one_time::{self, Form};
use crate::engine::door::Rule;
use crate::engine::one_time::Origin;
use crate::engine::sequence::{Sequence, Step, Transport};
use crate::engine::time::Time;
use crate::engine::totp::Totp;
use crate::knock::totp::{SecretError, read_secret};

pub(super) const EXAMPLES: &str = "Examples:
  logknock totp --new /etc/logknock/ssh.key    a new secret in a file of mode 0600, and the line for the config
  logknock totp --door ssh                     the ports of this moment
  logknock totp --secret-file ssh.key --at 2026-11-21T12:00:00Z --json
  logknock knock gw.example --totp ssh.key     knocks them";

/// Arguments of `totp`.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false, id = "what", args = ["door", "secret_file", "new"])]
pub(super) struct Args {
    /// A door of the configuration
    #[arg(long, value_name = "NAME")]
    door: Option<String>,
    /// A file with the secret in base32
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Make a secret: in a new file, or on standard output
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    new: Option<PathBuf>,
    #[command(flatten)]
    form: FormArgs,
    /// Derive UDP ports
    #[arg(long, requires = "secret_file")]
    udp: bool,
    /// At this time, RFC 3339 or seconds since 1970, instead of now
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<i64>,
}

/// What goes with a secret, as the door's `totp` has it.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct FormArgs {
    /// With a secret's file: how many knocks [default: 4]
    #[arg(long, value_name = "N")]
    knocks: Option<u8>,
    /// With a secret's file: the range of ports [default: 20000-29999]
    #[arg(long = "ports", id = "range", value_name = "LOW-HIGH", value_parser = range)]
    range: Option<(u16, u16)>,
    /// With a secret's file: how long a sequence lasts, in seconds [default: 30]
    #[arg(long, value_name = "SECONDS")]
    step: Option<u32>,
}

impl FormArgs {
    /// The sequences of the secret in the file at `path`.
    pub(super) fn totp(self, path: &Path, udp: bool) -> Result<Totp, Failure> {
        let usual = Form {
            knocks: None,
            ports: None,
            step: None,
            transport: Transport::Tcp,
        };
        of(path, self.over(usual, udp))
    }

    /// What is said here, and else what `form` says.
    pub(super) fn over(self, form: Form, udp: bool) -> Form {
        Form {
            knocks: self.knocks.or(form.knocks),
            ports: self.range.or(form.ports),
            step: self.step.or(form.step),
            transport: if udp { Transport::Udp } else { form.transport },
        }
    }
}

/// The sequences of the secret in the file at `path`.
pub(super) fn of(path: &Path, form: Form) -> Result<Totp, Failure> {
    let secret = read_secret(path).map_err(|error| {
        let said = format!("{}: {error}", path.display());
        match &error {
            SecretError::File(file) => private_file_failure(file, &said),
            SecretError::Base32 => Failure::new(Code::Config, format!("logknock: {said}")),
        }
    })?;
    let wrong = "logknock: there are 1 to 32 knocks, and a step lasts at least a second";
    one_time::totp_of(secret, form).ok_or_else(|| Failure::new(Code::Usage, wrong))
}

fn range(text: &str) -> Result<(u16, u16), String> {
    one_time::ports(text).ok_or_else(|| "write LOW-HIGH, as 20000-29999".to_owned())
}

fn moment(text: &str) -> Result<i64, String> {
    text.parse()
        .ok()
        .or_else(|| Some(OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp()))
        .filter(|unix| *unix >= 0)
        .ok_or_else(|| "write it as 2026-11-21T12:00:00Z, or as seconds since 1970".to_owned())
}

#[derive(Serialize)]
struct Json {
    time: String,
    until: String,
    seconds_left: i64,
    ports: Vec<String>,
}

/// Runs `totp`.
pub(super) fn run(args: &Args, global: &Global, format: Format) -> Result<(), Failure> {
    if let Some(file) = &args.new {
        return make(Some(file.as_path()).filter(|file| *file != Path::new("-")));
    }
    let totp = match (&args.door, &args.secret_file) {
        (Some(name), _) => door(name, global)?,
        (None, Some(path)) => args.form.totp(path, args.udp)?,
        (None, None) => return Ok(()), // clap asks for one of them
    };
    let now = args.at.unwrap_or_else(now);
    let number = totp.number_at(now).unwrap_or(0);
    let until = totp.begin_of(number.saturating_add(1));
    let sequence = totp.sequence(number);
    let steps = sequence.iter().flat_map(Sequence::steps);
    show(&steps.copied().collect::<Vec<_>>(), now, until, format)?;
    Ok(())
}

/// The present Unix time in seconds.
pub(super) fn now() -> i64 {
    clock::wall_now().as_nanos().div_euclid(1_000_000_000)
}

fn door(name: &str, global: &Global) -> Result<Totp, Failure> {
    let settings = global.load()?;
    let found = settings.doors.iter().find(|door| *door.name == *name);
    let found = found.ok_or_else(|| {
        let said = format!("logknock: no door is called '{name}'");
        Failure::new(Code::Failed, said)
    })?;
    match &found.rule {
        Rule::OneTime(rule) => match &rule.origin {
            Origin::Totp(totp) => Ok(totp.clone()),
            Origin::List(_) => Err(not_totp(name)),
        },
        _ => Err(not_totp(name)),
    }
}

fn not_totp(name: &str) -> Failure {
    Failure::new(
        Code::Failed,
        format!("logknock: door '{name}' has no 'totp'"),
    )
}

fn show(steps: &[Step], now: i64, until: i64, format: Format) -> io::Result<()> {
    let word = |step: &Step| match step.transport {
        Transport::Tcp => step.port.to_string(),
        Transport::Udp => format!("{}:udp", step.port),
    };
    let ports: Vec<_> = steps.iter().map(word).collect();
    let mut out = anstream::stdout();
    let seconds_left = until.saturating_sub(now);
    match format {
        Format::Text => writeln!(out, "{}\n{seconds_left} s left", ports.join(" ")),
        Format::Json => {
            let json = Json {
                time: rfc3339(Time::from_secs(now)),
                until: rfc3339(Time::from_secs(until)),
                seconds_left,
                ports,
            };
            writeln!(out, "{}", serde_json::to_string(&json)?)
        }
    }
}

fn make(file: Option<&Path>) -> Result<(), Failure> {
    let key = secret::totp()?;
    let mut out = anstream::stdout();
    match file {
        None => writeln!(out, "totp = {{ secret = \"{key}\" }}")?,
        Some(path) => {
            init::write(path, &format!("{key}\n")).map_err(|error| {
                let said = format!("logknock: '{}' cannot be written: {error}", path.display());
                Failure::new(Code::Failed, said)
            })?;
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            writeln!(
                out,
                "totp = {{ secret_file = {:?} }}",
                path.display().to_string()
            )?;
        }
    }
    Ok(())
}
