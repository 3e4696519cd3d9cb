//! The config: a file and its drop-ins become doors and settings.
//!
//! In: `logknock.toml` and `conf.d/*.toml` in its directory, or a knockd.conf as it is. Out: a [`Config`] that keeps
//! every rule, or [`Errors`] with all that is wrong at once. It never accepts a part of what was written. The walk is
//! `files`, `document`, `schema`, `resolve`; only `files` touches the file system. The config holds secrets: nothing
//! that comes out of here shows one, not even the line that an error is about.

mod command;
pub mod delay;
mod document;
mod door;
pub(crate) mod duration;
mod files;
mod fleet;
mod grant;
pub mod hosts;
mod knockd;
mod mask;
pub mod one_time;
mod prefix;
mod read;
mod report;
mod resolve;
mod schema;
mod scope;
mod sequence;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use crate::dialect::Format;
use crate::engine::account::Account;
use crate::engine::door::Door;
use crate::engine::event::Occasion;
use crate::engine::knock::KnockerPrefix;
use crate::engine::sequence::Step;
use crate::firewall::Backend;
use crate::source_spec::SourceSpec;

pub use document::MAX_BYTES;
pub use fleet::Fleet;
pub use prefix::{MAX_PREFIX, Prefix, PrefixError};
pub use report::{Diagnostic, ErrorKind, Errors, Place, Severity};
pub use sequence::steps;

use document::{Document, Text};
use files::Files;
use report::{Report, error};
use schema::Schema;

/// Everything that the config says, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which lines count.
    pub log: Log,
    /// How the daemon runs.
    pub daemon: Daemon,
    /// Where doors with `opens` open; `None` when the config does not say.
    pub firewall: Option<Firewall>,
    /// The command that is run for events, if there is one.
    pub notify: Option<Notify>,
    /// This gateway among others; `None` when it is on its own.
    pub fleet: Option<Fleet>,
    /// The doors, in the order of the files; at least one.
    pub doors: Vec<Arc<Door>>,
    /// Whether a knockd.conf says it.
    pub is_knockds: bool,
    /// What the operator should change nevertheless.
    pub warnings: Vec<Diagnostic>,
    /// The files as they are written, for [`reread`].
    pub written: Written,
}

impl Config {
    /// Whether the firewall has to open ports for some door.
    pub fn opens_ports(&self) -> bool {
        let firewall = self.firewall.as_ref();
        firewall.is_some_and(|firewall| !firewall.opens.is_empty())
    }

    /// Every port that the firewall opens for some door, once, in order.
    pub fn guarded(&self) -> Vec<Step> {
        let firewall = self.firewall.as_ref();
        firewall.map(Firewall::guarded).unwrap_or_default()
    }
}

/// The text of each file of a config, and of those that it names, with its name. It holds secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    texts: Vec<(String, String)>,
    named: Vec<(String, Vec<u8>)>,
    prefix_file: Option<PathBuf>,
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Written({} files)", self.texts.len())
    }
}

/// `[log]`: which lines count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Where lines come from; may be empty, for `--follow` to say.
    pub sources: Vec<SourceSpec>,
    /// What a packet line begins with.
    pub prefix: Option<Prefix>,
    /// What is said of single sources, each of them one of `sources`.
    pub own: Vec<OwnSource>,
    /// How lines are written.
    pub format: Format,
    /// Whether lines count that others than the kernel could have written.
    pub accept_forgeable: bool,
    /// How old a line may be and still be a knock.
    pub max_line_age: Duration,
    /// Which IPv6 addresses are one knocker.
    pub knocker_prefix: KnockerPrefix,
    /// Networks that may send to a `udp:` source; none means this machine.
    pub udp_peers: Vec<IpNet>,
    /// The user that may send to a `unix:` source, beside root and the daemon's own user.
    pub relay_user: Option<Box<str>>,
}

impl Log {
    /// What a packet line of `source` begins with.
    pub fn prefix_of(&self, source: &SourceSpec) -> Option<&Prefix> {
        let own = self.own.iter().find(|own| own.source == *source);
        let own = own.and_then(|own| own.prefix.as_ref());
        own.or(self.prefix.as_ref())
    }

    /// The only doors that `source` may knock at; `None` means all doors.
    pub fn doors_of(&self, source: &SourceSpec) -> Option<&[Arc<str>]> {
        let own = self.own.iter().find(|own| own.source == *source)?;
        own.doors.as_deref()
    }
}

/// `[[log.source]]`: a source with a prefix or doors of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnSource {
    /// Where its lines come from.
    pub source: SourceSpec,
    /// What its packet lines begin with, instead of the common prefix.
    pub prefix: Option<Prefix>,
    /// The only doors that it may knock at.
    pub doors: Option<Arc<[Arc<str>]>>,
}

/// `[daemon]`: how the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// What stopping does to open doors.
    pub on_exit: OnExit,
    /// How long stopping waits for close commands.
    pub stop_timeout: Duration,
    /// How long a command may run.
    pub command_timeout: Duration,
    /// How many commands run at once.
    pub max_commands: usize,
    /// Whether it runs without a state directory.
    pub ephemeral: bool,
    /// Where it is asked; `None` for the usual place.
    pub control: Option<PathBuf>,
    /// A group that may ask it too.
    pub group: Option<Box<str>>,
    /// Where its counters are written.
    pub metrics_file: Option<PathBuf>,
    /// Where its events are appended.
    pub event_log: Option<PathBuf>,
    /// Where they are appended in knockd's words.
    pub knockd_log: Option<PathBuf>,
    /// Whether they are sent to syslog(3) in knockd's words.
    pub knockd_syslog: bool,
}

/// `[notify]`: a command that is run for events.
#[derive(Clone, PartialEq, Eq)]
pub struct Notify {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The user that runs it; the daemon's own if there is none.
    pub account: Option<Arc<Account>>,
    /// The events that it is run for.
    pub on: Vec<Occasion>,
}

impl fmt::Debug for Notify {
    /// Arguments may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Notify({:?})", self.on)
    }
}

/// `[firewall]`: where doors with `opens` open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// What holds open what is open.
    pub backend: Backend,
    /// The doors with `opens`, and what each opens.
    pub opens: Vec<(Arc<str>, Box<[Step]>)>,
    /// Networks that reach what is guarded without a knock.
    pub always_allow: Vec<IpNet>,
    /// Ports that are open to everybody, each once, in order.
    pub public: Box<[Step]>,
    /// Whether rules that somebody took away are put back.
    pub heal: bool,
}

impl Firewall {
    /// Every port that some door opens, once, in order.
    pub fn guarded(&self) -> Vec<Step> {
        sorted(self.opens.iter().flat_map(|(_, ports)| ports))
    }
}

/// Every port of which some door lets in one connection, once, in order.
pub fn entered_once(doors: &[Arc<Door>]) -> Vec<Step> {
    sorted(doors.iter().flat_map(|door| &door.grant.once))
}

fn sorted<'a>(ports: impl Iterator<Item = &'a Step>) -> Vec<Step> {
    let mut ports: Vec<_> = ports.copied().collect();
    ports.sort_unstable_by_key(|port| (port.transport, port.port));
    ports.dedup();
    ports
}

/// `on_exit`: what stopping does to open doors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum OnExit {
    /// Closes them.
    #[default]
    Close,
    /// Leaves them to the next start.
    Keep,
}

/// How a config is loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// A file that contains the log prefix, instead of the configured one.
    pub prefix_file: Option<&'a Path>,
    /// Whether this process runs the commands of its doors: a `user` that it has no right to become is an error then.
    pub is_to_run: bool,
}

/// Reads the config at `path` and its drop-ins. A file that others could have written is refused.
pub fn load(path: &Path) -> Result<Config, Errors> {
    load_with(path, Options::default())
}

/// As [`load`], with `options`.
pub fn load_with(path: &Path, options: Options<'_>) -> Result<Config, Errors> {
    let report = Report {
        prefix_file: options.prefix_file.map(Path::to_owned),
        is_to_run: options.is_to_run,
        ..Report::default()
    };
    let files = files::read(path, &report);
    build(&files, &report)
}

/// Reads a config from texts that another process has read. It opens no file, so its commands have no `user`.
pub fn reread(written: &Written) -> Result<Config, Errors> {
    let texts = written.texts.iter();
    let texts = texts.map(|(name, content)| Text::new(name, content.as_bytes()));
    let files = Files {
        texts: texts.collect(),
        complete: true,
    };
    let report = Report {
        named: written.named.clone().into(),
        prefix_file: written.prefix_file.clone(),
        is_handed_over: true,
        ..Report::default()
    };
    build(&files, &report)
}

/// Reads the config `text`, which diagnostics call `name`. It opens only the files of its doors' secrets and one-time
/// sequences.
pub fn parse(name: &str, text: &str) -> Result<Config, Errors> {
    build(&alone(name, text.as_bytes()), &Report::default())
}

/// Converts the knockd.conf `text`, called `name`, to TOML, with warnings. The warnings contain no secret; the TOML
/// does. `prefix` is the log prefix to write into it, instead of its own.
pub fn convert(
    name: &str,
    text: &[u8],
    prefix: Option<&Prefix>,
) -> Result<(String, Vec<Diagnostic>), Errors> {
    let report = Report::default();
    let files = alone(name, text);
    let documents = documents(&files, &report);
    if let Some(document) = documents.first()
        && !document.is_knockds()
    {
        let is_uci = knockd::is_uci(&String::from_utf8_lossy(text));
        if !is_uci {
            let found = error(Path::new(name), "this is TOML already, not a knockd.conf");
            report.add(found.fix("use it as it is"));
        }
        return Err(report.errors(&documents));
    }
    let schema = Schema::read(&documents, &report);
    knockd::check(&schema, &report);
    let config = resolve::resolve(&schema, &documents, &report);
    if report.has_errors() {
        return Err(report.errors(&documents));
    }
    let text = knockd::write(&schema, prefix.or(config.log.prefix.as_ref()));
    Ok((text, report.errors(&documents).diagnostics))
}

/// The log prefix that the file at `path` holds.
pub fn read_prefix(path: &Path) -> Result<Prefix, Errors> {
    let report = Report::default();
    let prefix = resolve::prefix_in(path, path, &report);
    prefix.ok_or_else(|| report.errors(&[]))
}

fn alone(name: &str, text: &[u8]) -> Files {
    Files {
        texts: vec![Text::new(name, text)],
        complete: true,
    }
}

/// Every table with every key of it, for documents that must agree with them.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    schema::keys()
}

/// One stage after the other. No rule is looked at while a file is missing or its syntax is broken:
/// what was not read would be reported as not being there.
fn build(files: &Files, report: &Report) -> Result<Config, Errors> {
    let documents = documents(files, report);
    if !files.complete || documents.iter().any(Document::is_broken) {
        return Err(report.errors(&documents));
    }
    let schema = Schema::read(&documents, report);
    let config = resolve::resolve(&schema, &documents, report);
    if report.has_errors() {
        return Err(report.errors(&documents));
    }
    let texts = files.texts.iter();
    let written = Written {
        texts: texts
            .map(|text| (text.name.clone(), text.content.clone()))
            .collect(),
        named: report.named.take(),
        prefix_file: report.prefix_file.clone(),
    };
    let warnings = report.errors(&documents).diagnostics;
    Ok(Config {
        warnings,
        written,
        ..config
    })
}

fn documents<'a>(files: &'a Files, report: &'a Report) -> Vec<Document<'a>> {
    let texts = files.texts.iter().enumerate();
    texts
        .map(|(number, text)| Document::parse(number, text, report))
        .collect()
}

#[cfg(test)]
#[path = "config_test.rs"]
mod tests;
