//! `logknock totp`: the ports of a `totp` door at a moment, or a new secret for one.
//!
//! In: a door of the config, or a secret's file and what goes with it. Out: the ports of the step that
//! holds the moment, and how long it lasts. The secret itself is shown only when it is made.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anstyle::Ansi256Color;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
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
use crate::engine::door::{OneTimeRule, Rule};
use crate::engine::one_time::Origin;
use crate::engine::sequence::{Sequence, Step, Transport};
use crate::engine::time::Time;
use crate::engine::totp::Totp;
use crate::knock::read_secret;

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
    /// Make the secret for an authenticator app, and draw it in the terminal for the app to scan
    #[arg(long, requires = "new")]
    qr: bool,
    #[command(flatten)]
    form: FormArgs,
    /// Use UDP ports
    #[arg(long, requires = "secret_file")]
    udp: bool,
    /// Show the ports of this time, RFC 3339 or seconds since 1970, instead of now
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<i64>,
}

/// What goes with a secret, as the door's `totp` has it.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct FormArgs {
    /// With a secret's file: the number of knocks [default: 4]
    #[arg(long, value_name = "N")]
    knocks: Option<u8>,
    /// With a secret's file: the range of ports [default: 20000-29999]
    #[arg(long = "ports", id = "range", value_name = "LOW-HIGH", value_parser = range)]
    range: Option<(u16, u16)>,
    /// With a secret's file: how long a sequence lasts, in seconds [default: 30]
    #[arg(long, value_name = "SECONDS")]
    step: Option<u32>,
    /// With a secret's file: the code of an authenticator app, with this port for the digits 00
    #[arg(long, value_name = "PORT", conflicts_with_all = ["knocks", "range", "step"])]
    code_base: Option<u16>,
    /// How many digits the code has, 6 or 8 [default: 6]
    #[arg(long, value_name = "N", requires = "code_base")]
    digits: Option<u8>,
    /// How many digits each knock sends, 2 or 4 [default: 2]
    #[arg(long, value_name = "N", requires = "code_base")]
    per_knock: Option<u8>,
}

impl FormArgs {
    /// The sequences of the secret in the file at `path`, a code behind `beginning`.
    pub(super) fn totp(self, path: &Path, udp: bool, beginning: &[Step]) -> Result<Totp, Failure> {
        of(path, self.over(Form::default(), udp), beginning)
    }

    /// Whether it is the code of an authenticator app.
    pub(super) fn has_code(self) -> bool {
        self.code_base.is_some()
    }

    /// What is said here, and else what `form` says.
    pub(super) fn over(self, form: Form, udp: bool) -> Form {
        Form {
            knocks: self.knocks.or(form.knocks),
            ports: self.range.or(form.ports),
            step: self.step.or(form.step),
            transport: if udp { Transport::Udp } else { form.transport },
            code: self.code_or(form.code),
        }
    }

    /// The code that is said here, and else `code`.
    fn code_or(self, code: Option<one_time::Code>) -> Option<one_time::Code> {
        let Some(base) = self.code_base else {
            return code;
        };
        let usual = one_time::Code::default();
        Some(one_time::Code {
            digits: self.digits.unwrap_or(usual.digits),
            per_knock: self.per_knock.unwrap_or(usual.per_knock),
            base,
        })
    }
}

/// The sequences of the secret in the file at `path`, a code behind `beginning`.
pub(super) fn of(path: &Path, form: Form, beginning: &[Step]) -> Result<Totp, Failure> {
    let secret = read_secret(path).map_err(|error| {
        let said = format!("{}: {error}", path.display());
        private_file_failure(&error, &said)
    })?;
    let wrong = match form.knocks() {
        Err(why) => why,
        Ok(_) => "there are 1 to 32 knocks, and a step lasts at least a second",
    };
    form.totp(secret, None, beginning)
        .ok_or_else(|| Failure::new(Code::Usage, wrong))
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
        let code = args.qr.then_some(one_time::Code::default());
        let file = Some(file.as_path()).filter(|file| *file != Path::new("-"));
        return make(file, args.form.code_or(code), args.qr);
    }
    let totp = match (&args.door, &args.secret_file) {
        (Some(name), _) => door(name, global)?,
        (None, Some(path)) => args.form.totp(path, args.udp, &[])?,
        (None, None) => return Ok(()), // clap asks for one of them
    };
    let now = args.at.unwrap_or_else(|| now(Duration::ZERO));
    let number = totp.number_at(now).unwrap_or(0);
    let until = totp.begin_of(number.saturating_add(1));
    let sequence = totp.sequence(number);
    let steps = sequence.iter().flat_map(Sequence::steps);
    show(&steps.copied().collect::<Vec<_>>(), now, until, format)?;
    Ok(())
}

/// The Unix time in seconds that it is after `lead`.
pub(super) fn now(lead: Duration) -> i64 {
    let then = clock::wall_now().after(lead);
    then.as_nanos().div_euclid(1_000_000_000)
}

fn door(name: &str, global: &Global) -> Result<Totp, Failure> {
    let settings = global.load()?;
    let found = settings
        .config
        .doors
        .iter()
        .find(|door| *door.name == *name);
    let found = found.ok_or_else(|| {
        let said = format!("no door is called '{name}'");
        Failure::new(Code::Failed, said)
    })?;
    let totp = match &found.rule {
        Rule::OneTime(OneTimeRule {
            origin: Origin::Totp(totp),
            ..
        }) => Some(totp.clone()),
        _ => None,
    };
    totp.ok_or_else(|| {
        let said = format!("door '{name}' has no 'totp'");
        Failure::new(Code::Failed, said)
    })
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

fn make(file: Option<&Path>, code: Option<one_time::Code>, qr: bool) -> Result<(), Failure> {
    let key = match code {
        None => secret::totp::<32>()?,
        Some(_) => secret::totp::<20>()?,
    };
    let one_time::Code {
        digits,
        per_knock,
        base,
    } = code.unwrap_or_default();
    let code = code.map_or(String::new(), |_| {
        format!(", code = {{ digits = {digits}, per_knock = {per_knock}, base = {base} }}")
    });
    let mut out = anstream::stdout();
    match file {
        None => writeln!(out, "totp = {{ secret = \"{key}\"{code} }}")?,
        Some(path) => {
            init::write(path, &format!("{key}\n")).map_err(|error| {
                let said = format!("'{}' cannot be written: {error}", path.display());
                Failure::new(Code::Failed, said)
            })?;
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let path = path.display().to_string();
            writeln!(out, "totp = {{ secret_file = {path:?}{code} }}")?;
        }
    }
    if qr {
        draw(&mut out, &key, digits)?;
    }
    Ok(())
}

/// Draws what an authenticator app scans (its Key Uri Format), light on dark, as most terminals are without
/// colours too.
fn draw(out: &mut impl Write, key: &str, digits: u8) -> Result<(), Failure> {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || ".-".contains(*letter);
    // So short that the picture fits into 24 lines.
    let name: String = name.chars().filter(is_plain).take(16).collect();
    let digits = match digits {
        6 => String::new(),
        digits => format!("&digits={digits}"),
    };
    let uri = format!("otpauth://totp/logknock:{name}?secret={key}&issuer=logknock{digits}");
    let code = QrCode::with_error_correction_level(uri, EcLevel::L);
    let code = code.map_err(|error| Failure::new(Code::Internal, error))?;
    let mut picture = code.render();
    picture
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark);
    let on = Ansi256Color(231).on(Ansi256Color(16));
    for line in picture.build().lines() {
        writeln!(out, "{on}{line}{on:#}")?;
    }
    Ok(())
}
