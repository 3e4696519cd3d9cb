//! How far each source may be believed, and what that rests on.
//!
//! In: the sources, `[log]`, and the machine as it is. Out: a [`Grade`] for each source, and findings in the words
//! that `check` prints and the daemon refuses with. Reads metadata and changes nothing. A log file is no proof by
//! itself: syslog takes lines from anybody, so what counts there is a log prefix that only the firewall and the
//! daemon know. Where the kernel's own transport vouches for a line, a prefix is needed too, if only a known text at
//! column 0: names that users choose occur in real messages of the kernel.

mod machine;

use std::fmt;
use std::path::{Path, PathBuf};

use strum::IntoStaticStr;

use crate::config::{Config, Daemon, Diagnostic, ErrorKind, Log, Prefix, Severity};
use crate::rights::{self, Flaw, Role, Trusted};
use crate::source_spec::{Pattern, SourceSpec};

pub use machine::Machine;

/// What vouches for the lines of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Grade {
    /// The transport: only the kernel can have written them.
    Kernel,
    /// A log prefix that a forger would have to know.
    #[strum(serialize = "secret_prefix")]
    Secret,
    /// Nothing.
    Forgeable,
}

impl Grade {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "secret prefix",
            other => other.as_str(),
        })
    }
}

/// A source with its grade and findings.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The source.
    pub source: SourceSpec,
    /// What vouches for it.
    pub grade: Grade,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// What would serve better.
    pub advice: Option<&'static str>,
    /// The only doors that it may knock at, where the config lists them.
    pub doors: Option<Vec<String>>,
}

/// A reason against trusting a source.
#[derive(Clone, Debug)]
pub struct Finding {
    /// In words.
    pub diagnostic: Diagnostic,
    /// How a daemon that refuses for it ends.
    pub kind: ErrorKind,
}

impl Finding {
    /// Whether the daemon refuses for it.
    pub fn is_error(&self) -> bool {
        self.diagnostic.severity == Severity::Error
    }

    fn new(
        severity: Severity,
        kind: ErrorKind,
        path: impl fmt::Display,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let diagnostic = Diagnostic {
            severity,
            path: path.to_string(),
            message: message.into(),
            fix: Some(fix.into()),
            place: None,
        };
        Self { diagnostic, kind }
    }

    /// That others could change what a path leads to.
    fn of_flaw(severity: Severity, flaw: &Flaw) -> Self {
        let path = flaw.path().display();
        Self::new(
            severity,
            ErrorKind::Permission,
            path,
            flaw.to_string(),
            flaw.fix(),
        )
    }
}

/// Grades `sources` as `config` would have them read on this `machine`.
pub fn grade(config: &Config, sources: &[SourceSpec], machine: &Machine) -> Vec<Trust> {
    let grade_one = |source: &SourceSpec| grade_one(config, source, machine);
    sources.iter().map(grade_one).collect()
}

fn grade_one(config: &Config, source: &SourceSpec, machine: &Machine) -> Trust {
    let log = &config.log;
    let is_kernels = matches!(
        source,
        SourceSpec::Kmsg | SourceSpec::Journald | SourceSpec::Nflog(_)
    );
    let why_forgeable = why_forgeable(log, log.prefix_of(source), is_kernels);
    let grade = match why_forgeable {
        Some(_) => Grade::Forgeable,
        None if is_kernels => Grade::Kernel,
        None => Grade::Secret,
    };
    let mut findings = Vec::new();
    if let Some(why) = why_forgeable
        && !log.accept_forgeable
    {
        findings.push(forgeable(config, source, why));
    }
    for flaw in flaws(source, machine) {
        let severity = match flaw {
            Flaw::Missing(_) => Severity::Warning,
            _ if log.accept_forgeable => Severity::Warning,
            _ => Severity::Error,
        };
        findings.push(Finding::of_flaw(severity, &flaw));
    }
    if grade == Grade::Secret {
        let read = logs_of(source).into_iter();
        let read = read.filter(|path| rights::is_read_by_everybody(path));
        findings.extend(read.map(|path| {
            Finding::new(
                Severity::Warning,
                ErrorKind::Permission,
                path.display(),
                "can be read by everybody, so the log prefix in it is not secret",
                format!("chmod 0640 {}", rights::quoted(&path)),
            )
        }));
    }
    let is_slower = *source == SourceSpec::Journald && machine.can_read_kmsg;
    Trust {
        source: source.clone(),
        doors: log
            .doors_of(source)
            .map(|doors| doors.iter().map(ToString::to_string).collect()),
        grade,
        findings,
        advice: is_slower
            .then_some("kmsg can be read here, and delivers each line half a second sooner"),
    }
}

/// The finding that every source needs a log prefix, before any source is named.
pub fn prefix(config: &Config, path: &Path) -> Option<Finding> {
    let why = why_forgeable(&config.log, config.log.prefix.as_ref(), true)
        .filter(|_| !config.log.accept_forgeable)?;
    let message = format!("{why}, and every source needs one");
    let fix = ways_out(config, "");
    let kind = ErrorKind::Invalid;
    Some(Finding::new(
        Severity::Error,
        kind,
        path.display(),
        message,
        fix,
    ))
}

/// The log files that are there.
fn logs_of(source: &SourceSpec) -> Vec<PathBuf> {
    let of_pattern = |pattern: &Pattern| {
        let directory = pattern.directory();
        let entries = directory.read_dir().into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name());
        let logs = names.filter(|name| pattern.means(name));
        let mut logs: Vec<_> = logs.map(|name| directory.join(name)).collect();
        logs.sort();
        logs
    };
    match source {
        SourceSpec::File(path) => vec![path.clone()],
        SourceSpec::Files(pattern) => of_pattern(pattern),
        _ => Vec::new(),
    }
}

/// What is wrong on the way to what a source names. Syslog's own account may own and write logs.
fn flaws(source: &SourceSpec, machine: &Machine) -> Vec<Flaw> {
    let trusted = Trusted {
        owners: machine.log_owners.clone(),
        groups: machine.log_groups.clone(),
    };
    let mut flaws = match source {
        SourceSpec::Files(pattern) => rights::flaws(pattern.directory(), Role::File, &trusted),
        // Each start makes it again, so any user who can write to the directory can be first.
        SourceSpec::Unix(path) => {
            let directory = path.parent().unwrap_or(Path::new("/"));
            rights::flaws(directory, Role::Directory, &trusted)
        }
        _ => Vec::new(),
    };
    for path in logs_of(source) {
        for flaw in rights::flaws(&path, Role::File, &trusted) {
            if !flaws.contains(&flaw) {
                flaws.push(flaw);
            }
        }
    }
    flaws
}

/// Why somebody else could write lines that count; `is_kernels` where the transport proves that the kernel wrote one.
fn why_forgeable(log: &Log, prefix: Option<&Prefix>, is_kernels: bool) -> Option<&'static str> {
    match prefix {
        _ if !log.format.checks_prefix() => Some("[log.format] has no group 'prefix' to check"),
        None => Some("no log prefix is configured"),
        Some(prefix) if !is_kernels && !prefix.is_secret() => Some("the log prefix can be guessed"),
        Some(_) => None,
    }
}

/// How to make a secret prefix, and where to write it.
const SECRET_FIX: &str = "\
give [log] prefix or --prefix-file (and the LOG rule) at least 8 random letters and digits, such as 'lk-' and the output of
  od -An -N4 -tx1 /dev/urandom | tr -d ' \\n'";

/// The same for a knockd.conf.
const KNOCKD_FIX: &str = "\
write a prefix with at least 8 random letters and digits into a file that only root can read
  (umask 077; echo \"lk-$(od -An -N4 -tx1 /dev/urandom | tr -d ' \\n'): \" > /etc/knockd.prefix)
name it in the knockd.conf with the comment below, or with --prefix-file, and have the LOG rule write it
  #logknock: prefix-file = /etc/knockd.prefix";

/// How to keep lines of other programs out of a file, and other users from reading it.
const RSYSLOG_FIX: &str = "
and let rsyslog write the kernel's messages, and nothing else, to a separate file
  if $inputname == \"imklog\" and $syslogfacility == 0 then
      action(type=\"omfile\" file=\"/var/log/logknock.log\" FileCreateMode=\"0600\")";

fn forgeable(config: &Config, source: &SourceSpec, why: &str) -> Finding {
    let who = match source {
        SourceSpec::Udp(_) => "any host that can send a datagram can write lines here",
        SourceSpec::Stdin => "logknock cannot tell who writes to its standard input",
        SourceSpec::Nflog(_) => "packets that other rules send to this group count too",
        SourceSpec::Kmsg | SourceSpec::Journald => {
            "any local user can make the kernel log a name that looks like a packet line"
        }
        _ => "any local user can write lines here",
    };
    let for_file = match source {
        SourceSpec::File(_) | SourceSpec::Files(_) => RSYSLOG_FIX,
        _ => "",
    };
    Finding::new(
        Severity::Error,
        ErrorKind::Invalid,
        source,
        format!("{who}, and {why}"),
        ways_out(config, for_file),
    )
}

fn ways_out(config: &Config, for_file: &str) -> String {
    let (secret, accept) = if config.is_knockds {
        (KNOCKD_FIX, "give --accept-forgeable")
    } else {
        (SECRET_FIX, "set accept_forgeable = true")
    };
    format!("{secret}{for_file}\nor {accept} to open doors for forged lines")
}

/// What is wrong with the state directory, if it is there. Nothing makes this acceptable: a user who writes
/// there can have any command run.
pub fn state_dir(path: &Path) -> Vec<Finding> {
    let flaws = if path.exists() {
        rights::flaws(path, Role::Directory, &Trusted::ours())
    } else {
        rights::flaws(path, Role::File, &Trusted::ours())
    };
    let refused = |flaw| Finding::of_flaw(Severity::Error, flaw);
    flaws.iter().map(refused).collect()
}

/// Records whose directory does not exist.
pub fn records_nowhere(records: &Daemon) -> Vec<Finding> {
    let parent = |file: &'_ PathBuf| file.parent().map(Path::to_owned);
    let missing = files_of(records).filter_map(|file| Some((file, parent(file)?)));
    let missing = missing.filter(|(_, directory)| !directory.is_dir());
    let warning = |(file, directory): (&PathBuf, PathBuf)| {
        let message = "cannot be written: its directory does not exist";
        let fix = format!("mkdir -p {}", rights::quoted(&directory));
        let path = file.display();
        Finding::new(Severity::Warning, ErrorKind::Missing, path, message, fix)
    };
    missing.map(warning).collect()
}

fn files_of(records: &Daemon) -> impl Iterator<Item = &PathBuf> {
    let files = [
        &records.event_log,
        &records.knockd_log,
        &records.metrics_file,
    ];
    files.into_iter().flatten()
}

/// What the machine lets others do, whatever the source.
pub fn machine(machine: &Machine) -> Option<Finding> {
    machine.logs_all_netns.then(|| {
        Finding::new(
            Severity::Warning,
            ErrorKind::Permission,
            "net.netfilter.nf_log_all_netns",
            "the kernel also logs packets of containers and user namespaces, which can forge knocks",
            "sysctl -w net.netfilter.nf_log_all_netns=0",
        )
    })
}

/// What the machine shows to others, whatever the rights of a log file are.
pub fn readers(machine: &Machine) -> Option<Finding> {
    machine.shows_kernel_log.then(|| {
        Finding::new(
            Severity::Warning,
            ErrorKind::Permission,
            "kernel.dmesg_restrict",
            "is 0: every local user can read the kernel's log (dmesg), with the knocks and the log prefix",
            "sysctl -w kernel.dmesg_restrict=1",
        )
    })
}

#[cfg(test)]
#[path = "trust_test.rs"]
mod tests;
