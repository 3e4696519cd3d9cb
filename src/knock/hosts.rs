//! Hosts that the client knows by name: `hosts.toml`.
//!
//! In: the file, whose sections are as `[host.home]`. Out: [`Hosts`], or all that is wrong at once. It
//! holds sequences, so it is refused when others can read it, and what is wrong is told by place and
//! never shown: no excerpt, no value.

use std::ffi::OsString;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::delay::{self, DelayError};
use super::private_file::{self, PrivateFileError};
use super::services::Services;
use super::step::{self, StepError};
use crate::config::duration;
use crate::config::one_time::{self, Form};
use crate::engine::sequence::{Step, Transport};

/// Longest `knock`, in steps.
const MAX_STEPS: usize = 1024;

/// A host with its knock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// What it is called.
    pub name: String,
    /// A name or an address for the resolver.
    pub address: String,
    /// What to knock.
    pub knock: Knock,
    /// How long to pause after each hit.
    pub delay: Option<Duration>,
    /// The TCP port to wait for.
    pub wait: Option<u16>,
}

/// What is knocked at a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knock {
    /// These, in order; at least one.
    Steps(Vec<Step>),
    /// What the secret in this file gives for the moment, in this form; a code behind these.
    Totp(PathBuf, Form, Vec<Step>),
}

/// All hosts of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Vec<Host>);

impl Hosts {
    /// The one of this name.
    pub fn find(&self, name: &str) -> Option<&Host> {
        self.0.iter().find(|host| host.name == name)
    }
}

/// Why there are no hosts.
#[derive(Debug)]
pub enum HostsError {
    /// The file cannot be used.
    File(PathBuf, PrivateFileError),
    /// What it says is wrong.
    Invalid(PathBuf, Vec<Mistake>),
}

impl fmt::Display for HostsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Invalid(path, mistakes) => {
                for (number, mistake) in mistakes.iter().enumerate() {
                    let newline = if number == 0 { "" } else { "\n" };
                    let (path, at) = (path.display(), &mistake.place);
                    write!(f, "{newline}{path}:{}:{}: {}", at.0, at.1, mistake.flaw)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for HostsError {}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line and column, from 1.
    pub place: (usize, usize),
    /// What it is.
    pub flaw: Flaw,
}

/// What can be wrong; nothing of it shows a value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Flaw {
    /// No TOML.
    #[error("{0}")]
    Syntax(String),
    /// Something else than `[host.NAME]`.
    #[error("unknown section; hosts are written [host.NAME]")]
    Section,
    /// A key that no host has.
    #[error("unknown key; a host has address, knock or totp, delay and wait")]
    Key,
    /// A key that every host has.
    #[error("this host has no '{0}'")]
    Missing(&'static str),
    /// A value of another type.
    #[error("expected {0}")]
    Type(&'static str),
    /// No step, or too many.
    #[error("a knock has 1 to {} steps", MAX_STEPS)]
    Steps,
    /// A step, counted from 1, that is none.
    #[error("step {0}: {1}")]
    Step(usize, StepError),
    /// Nothing to knock, or two things.
    #[error("a host has 'knock', 'totp', or a 'totp' with a 'code' behind its 'knock'")]
    Knock,
    /// A `totp` in no form that there is.
    #[error("totp: expected {0}")]
    Totp(&'static str),
    /// No delay.
    #[error(transparent)]
    Delay(DelayError),
    /// No port to wait for.
    #[error(transparent)]
    Wait(StepError),
    /// UDP answers nothing.
    #[error("only a TCP port tells whether it is open")]
    WaitUdp,
}

/// Where the file is: in `XDG_CONFIG_HOME` if that is an absolute path, else in `~/.config`.
pub fn path(config_home: Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    config_home
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(home?.join(".config")))
        .map(|directory| directory.join("logknock/hosts.toml"))
}

/// Reads the file at `path`.
pub fn load(path: &Path, services: &Services) -> Result<Hosts, HostsError> {
    let text =
        private_file::read(path).map_err(|error| HostsError::File(path.to_owned(), error))?;
    let hosts = parse(&text, services);
    let mut hosts = hosts.map_err(|found| HostsError::Invalid(path.to_owned(), found))?;
    for host in &mut hosts.0 {
        if let (Knock::Totp(secret, ..), Some(directory)) = (&mut host.knock, path.parent()) {
            *secret = directory.join(&*secret);
        }
    }
    Ok(hosts)
}

/// Reads the file's text. Touches no file but `/etc/services`, and that only for a name. Files that it names
/// are as it names them.
pub fn parse(text: &str, services: &Services) -> Result<Hosts, Vec<Mistake>> {
    let mut reader = Reader {
        services,
        found: Vec::new(),
    };
    let hosts = reader.document(text);
    if reader.found.is_empty() {
        return Ok(Hosts(hosts));
    }
    reader.found.sort_by_key(|(at, _)| *at);
    let mistake = |(at, flaw)| Mistake {
        place: place(text, at),
        flaw,
    };
    Err(reader.found.into_iter().map(mistake).collect())
}

/// Reads values and collects what is wrong with them, by its byte.
struct Reader<'a> {
    services: &'a Services,
    found: Vec<(usize, Flaw)>,
}

type Value<'a> = Spanned<DeValue<'a>>;

impl Reader<'_> {
    fn refuse<T>(&mut self, span: Range<usize>, flaw: Flaw) -> Option<T> {
        self.found.push((span.start, flaw));
        None
    }

    fn document(&mut self, text: &str) -> Vec<Host> {
        let tree = match DeTable::parse(text) {
            Ok(tree) => tree.into_inner(),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                self.refuse::<()>(span, Flaw::Syntax(error.message().to_owned()));
                return Vec::new();
            }
        };
        let mut hosts = Vec::new();
        for (name, value) in &tree {
            match value.get_ref() {
                DeValue::Table(table) if name.get_ref() == "host" => {
                    let read = |(name, value): (&Spanned<_>, _)| self.host(name, value);
                    hosts.extend(table.iter().filter_map(read));
                }
                _ => {
                    self.refuse::<()>(name.span(), Flaw::Section);
                }
            }
        }
        hosts
    }

    fn host(&mut self, name: &Spanned<impl AsRef<str>>, value: &Value<'_>) -> Option<Host> {
        let DeValue::Table(keys) = value.get_ref() else {
            return self.refuse(name.span(), Flaw::Section);
        };
        for (key, _) in keys {
            if !["address", "knock", "totp", "delay", "wait"].contains(&key.get_ref().as_ref()) {
                self.refuse::<()>(key.span(), Flaw::Key);
            }
        }
        // All are read before one that is wrong ends it, so that all mistakes are found.
        let address = match keys.get("address") {
            Some(value) => self.address(value),
            None => self.refuse(name.span(), Flaw::Missing("address")),
        };
        let knock = match (keys.get("knock"), keys.get("totp")) {
            (Some(value), None) => self.knock(value).map(Knock::Steps),
            (beginning, Some(value)) => self.totp(value, beginning),
            _ => self.refuse(name.span(), Flaw::Knock),
        };
        let delay = keys.get("delay").map(|value| self.delay(value));
        let wait = keys.get("wait").map(|value| self.wait(value));
        Some(Host {
            name: name.get_ref().as_ref().to_owned(),
            address: address?,
            knock: knock?,
            delay: delay.flatten(),
            wait: wait.flatten(),
        })
    }

    fn address(&mut self, value: &Value<'_>) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) if !text.is_empty() => Some(text.to_string()),
            _ => self.refuse(value.span(), Flaw::Type("a name or an address")),
        }
    }

    fn knock(&mut self, value: &Value<'_>) -> Option<Vec<Step>> {
        let DeValue::Array(items) = value.get_ref() else {
            let expected = Flaw::Type("an array of ports, as in [7000, \"8000:udp\"]");
            return self.refuse(value.span(), expected);
        };
        if !(1..=MAX_STEPS).contains(&items.len()) {
            return self.refuse(value.span(), Flaw::Steps);
        }
        let steps: Vec<Option<Step>> = (1..)
            .zip(items.iter())
            .map(|(number, item)| self.step(item, |error| Flaw::Step(number, error)))
            .collect();
        steps.into_iter().collect()
    }

    /// A file, or a table with `secret_file` and what a door's `totp` has beside it.
    fn totp(&mut self, value: &Value<'_>, beginning: Option<&Value<'_>>) -> Option<Knock> {
        let mut form = Form {
            knocks: None,
            ports: None,
            step: None,
            transport: Transport::Tcp,
            code: None,
        };
        let (mut file, mut right) = (None, true);
        match value.get_ref() {
            DeValue::String(path) if !path.is_empty() => file = Some(PathBuf::from(&**path)),
            DeValue::Table(keys) => {
                for (key, item) in keys {
                    let text = match item.get_ref() {
                        DeValue::String(text) => text.as_ref(),
                        DeValue::Integer(number) => number.as_str(),
                        _ => "",
                    };
                    if key.get_ref() == "secret_file" && !text.is_empty() {
                        file = Some(PathBuf::from(text));
                    } else if let (DeValue::Table(keys), "code") =
                        (item.get_ref(), key.get_ref().as_ref())
                    {
                        form.code = code(keys);
                        if form.code.is_none() {
                            let expected = "code = { digits = 6, per_knock = 2, base = 21000 }";
                            self.refuse::<()>(item.span(), Flaw::Totp(expected));
                            right = false;
                        }
                    } else if let Err(expected) = with(&mut form, key.get_ref(), text) {
                        self.refuse::<()>(item.span(), Flaw::Totp(expected));
                        right = false;
                    }
                }
            }
            _ => {}
        }
        if file.is_none() && right {
            let expected = "the file of a secret, or { secret_file = \"…\" }";
            return self.refuse(value.span(), Flaw::Totp(expected));
        }
        let beginning = match beginning {
            Some(value) if form.code.is_some() => self.knock(value)?,
            None if form.code.is_none() => Vec::new(),
            _ => return self.refuse(value.span(), Flaw::Knock),
        };
        Some(Knock::Totp(file?, form, beginning))
    }

    fn step(&mut self, value: &Value<'_>, flaw: impl Fn(StepError) -> Flaw) -> Option<Step> {
        let read = match value.get_ref() {
            DeValue::String(text) => step::parse(text, Transport::Tcp, self.services),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| StepError::Port)
                .and_then(|port| step::parse(&port.to_string(), Transport::Tcp, self.services)),
            _ => return self.refuse(value.span(), Flaw::Type("a port, as 7000 or \"8000:udp\"")),
        };
        match read {
            Ok(step) => Some(step),
            Err(error) => self.refuse(value.span(), flaw(error)),
        }
    }

    fn delay(&mut self, value: &Value<'_>) -> Option<Duration> {
        match value.get_ref() {
            DeValue::String(text) => match delay::with_unit(text) {
                Ok(delay) => Some(delay),
                Err(error) => self.refuse(value.span(), Flaw::Delay(error)),
            },
            _ => self.refuse(
                value.span(),
                Flaw::Type("a delay with its unit, as \"200ms\""),
            ),
        }
    }

    fn wait(&mut self, value: &Value<'_>) -> Option<u16> {
        match self.step(value, Flaw::Wait)? {
            Step {
                port,
                transport: Transport::Tcp,
            } => Some(port),
            _ => self.refuse(value.span(), Flaw::WaitUdp),
        }
    }
}

/// The `code` of a `totp`.
fn code(keys: &DeTable<'_>) -> Option<one_time::Code> {
    let mut code = one_time::Code::default();
    for (key, item) in keys {
        let number = item.get_ref().as_integer()?.as_str();
        match key.get_ref().as_ref() {
            "digits" => code.digits = number.parse().ok()?,
            "per_knock" => code.per_knock = number.parse().ok()?,
            "base" => code.base = number.parse().ok()?,
            _ => return None,
        }
    }
    code.knocks().ok().map(|_| code)
}

/// Puts a key of `totp` into its form; an error says what was expected.
fn with(form: &mut Form, key: &str, text: &str) -> Result<(), &'static str> {
    match key {
        "knocks" => form.knocks = Some(text.parse().map_err(|_| "a number of knocks")?),
        "ports" => form.ports = Some(one_time::ports(text).ok_or("ports as \"20000-29999\"")?),
        "step" => {
            let step = duration::from_text(text).ok();
            let step = step.filter(|step| step.subsec_nanos() == 0);
            let step = step.and_then(|step| u32::try_from(step.as_secs()).ok());
            form.step = Some(step.ok_or("a step in whole seconds, as \"30s\"")?);
        }
        "proto" => {
            form.transport = match text {
                "tcp" => Transport::Tcp,
                "udp" => Transport::Udp,
                _ => return Err("\"tcp\" or \"udp\""),
            }
        }
        _ => return Err("secret_file, knocks, ports, step, proto and code"),
    }
    Ok(())
}

/// Line and column, in characters from 1, of the byte at `offset`.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or("").chars().count();
    (before.matches('\n').count() + 1, column + 1)
}

#[cfg(test)]
#[path = "hosts_test.rs"]
mod tests;
