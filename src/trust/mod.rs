//! How far each source may be believed, and what that rests on.
//!
//! In: the sources, `[log]`, and the machine as it is. Out: a [`Grade`] for each source, and findings
//! in the words that `check` prints and the daemon refuses with. Reads metadata and changes nothing.
//! A log file is no proof by itself: syslog takes lines from anybody, so what counts there is a log
//! prefix that only the firewall and the daemon know.

mod machine;
mod rights;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::{Daemon, Diagnostic, ErrorKind, Log, Severity};
use crate::source_spec::SourceSpec;

pub use machine::Machine;

use rights::Flaw;

/// What vouches for the lines of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// The transport: nobody but the kernel can have written them.
    Kernel,
    /// A log prefix that a forger would have to know.
    Secret,
    /// Nothing.
    Forgeable,
}

impl Grade {
    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Secret => "secret_prefix",
            Self::Forgeable => "forgeable",
        }
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

/// A source and what is to be thought of it.
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
}

/// Something that speaks against believing.
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
        path: &str,
        message: String,
        fix: Option<String>,
    ) -> Self {
        let diagnostic = Diagnostic {
            severity,
            path: path.to_owned(),
            place: None,
            message,
            fix,
        };
        Self { diagnostic, kind }
    }
}

/// Grades `sources` as `log` would read them on this `machine`.
pub fn grade(log: &Log, sources: &[SourceSpec], machine: &Machine) -> Vec<Trust> {
    let grade_one = |source: &SourceSpec| grade_one(log, source, machine);
    sources.iter().map(grade_one).collect()
}

fn grade_one(log: &Log, source: &SourceSpec, machine: &Machine) -> Trust {
    let grade = match source {
        SourceSpec::Kmsg | SourceSpec::Journald | SourceSpec::Nflog(_) => Grade::Kernel,
        _ if why_no_secret(log).is_none() => Grade::Secret,
        _ => Grade::Forgeable,
    };
    let mut findings = Vec::new();
    if grade == Grade::Forgeable && !log.accept_forgeable {
        findings.push(forgeable(log, source));
    }
    let flaws = match source {
        SourceSpec::File(path) => rights::of_log(path, machine),
        SourceSpec::Files(pattern) => rights::of_logs(pattern, machine),
        _ => Vec::new(),
    };
    let about = |flaw| log_flaw(flaw, grade, log.accept_forgeable);
    findings.extend(flaws.iter().filter_map(about));
    let is_slower = *source == SourceSpec::Journald && machine.can_read_kmsg;
    Trust {
        source: source.clone(),
        grade,
        findings,
        advice: is_slower
            .then_some("kmsg can be read here, and has each line half a second sooner"),
    }
}

/// Why the prefix does not work as a shared secret.
fn why_no_secret(log: &Log) -> Option<&'static str> {
    match &log.prefix {
        _ if !log.format.checks_prefix() => Some("[log.format] has no group 'prefix' to check"),
        None => Some("no log prefix is configured"),
        Some(prefix) if !prefix.is_secret() => Some("the log prefix can be guessed"),
        Some(_) => None,
    }
}

/// How to make a secret prefix.
const SECRET_FIX: &str = "\
give [log] prefix or --prefix (and the LOG rule) at least 8 random letters and digits, such as 'lk-' and the output of
         od -An -N4 -tx1 /dev/urandom | tr -d ' \\n'";

/// How to keep what others write out of a file, and the file from others.
const RSYSLOG_FIX: &str = "
       and let rsyslog write what the kernel itself logs, and nothing else, to a file of its own
         if $inputname == \"imklog\" and $syslogfacility == 0 then
             action(type=\"omfile\" file=\"/var/log/logknock.log\" FileCreateMode=\"0600\")";

const ACCEPT_FIX: &str = "\n       or set accept_forgeable = true to open doors for forged lines";

fn forgeable(log: &Log, source: &SourceSpec) -> Finding {
    let who = match source {
        SourceSpec::Udp(_) => "whoever can send a datagram may write lines that end up here",
        SourceSpec::Stdin => "logknock cannot tell who writes to its standard input",
        _ => "any local user may write lines that end up here",
    };
    let why = why_no_secret(log).unwrap_or("nothing vouches for them");
    let for_file = match source {
        SourceSpec::File(_) | SourceSpec::Files(_) => RSYSLOG_FIX,
        _ => "",
    };
    Finding::new(
        Severity::Error,
        ErrorKind::Invalid,
        &source.to_string(),
        format!("{who}, and {why}"),
        Some(format!("{SECRET_FIX}{for_file}{ACCEPT_FIX}")),
    )
}

/// What a flaw in the rights of a log means; `None` when it means nothing for this grade.
fn log_flaw(flaw: &Flaw, grade: Grade, accepted: bool) -> Option<Finding> {
    let severity = match flaw {
        Flaw::Readable { .. } if grade != Grade::Secret => return None,
        Flaw::Readable { .. } | Flaw::Missing { .. } => Severity::Warning,
        _ if accepted => Severity::Warning,
        _ => Severity::Error,
    };
    let path = flaw.path().display().to_string();
    let (message, fix) = (flaw.to_string(), flaw.fix());
    Some(Finding::new(
        severity,
        ErrorKind::Permission,
        &path,
        message,
        Some(fix),
    ))
}

/// What is wrong with the state directory, if it is there. Nothing makes this acceptable: who writes
/// there can have any command run.
pub fn state_dir(path: &Path, machine: &Machine) -> Vec<Finding> {
    let refused = |flaw: Flaw| {
        let path = flaw.path().display().to_string();
        let (message, fix) = (flaw.to_string(), Some(flaw.fix()));
        Finding::new(Severity::Error, ErrorKind::Permission, &path, message, fix)
    };
    let flaws = rights::of_state_dir(path, machine).into_iter();
    flaws.map(refused).collect()
}

/// Records that lie where the files in `kept` are. Who reads the log writes records, and so has the right to
/// write in their directories: it could say there what is run. Nothing makes that acceptable.
pub fn records(records: &Daemon, kept: &[PathBuf]) -> Vec<Finding> {
    let whole = |path: &Path| {
        let there = path.ancestors().find(|path| path.exists())?;
        Some(
            there
                .canonicalize()
                .ok()?
                .join(path.strip_prefix(there).ok()?),
        )
    };
    let kept: Vec<_> = kept.iter().filter_map(|path| whole(path)).collect();
    let files = [
        &records.event_log,
        &records.knockd_log,
        &records.metrics_file,
    ];
    let amiss = files.into_iter().flatten().filter_map(|file| {
        let directory = whole(file.parent()?)?;
        let kept = kept.iter().find(|kept| kept.starts_with(&directory))?;
        let message = format!(
            "lies where {} is: who reads the log may write in this directory, and could say there what is run",
            kept.display()
        );
        let fix = "give records a directory of their own, such as /var/log/logknock";
        Some(Finding::new(
            Severity::Error,
            ErrorKind::Invalid,
            &file.display().to_string(),
            message,
            Some(fix.to_owned()),
        ))
    });
    amiss.collect()
}

/// What the machine lets others do, whatever the source.
pub fn machine(machine: &Machine) -> Option<Finding> {
    machine.logs_all_netns.then(|| {
        Finding::new(
            Severity::Warning,
            ErrorKind::Permission,
            "net.netfilter.nf_log_all_netns",
            "is 1: the kernel logs what containers and users' own namespaces make it log, and they \
             can forge knocks"
                .to_owned(),
            Some("sysctl -w net.netfilter.nf_log_all_netns=0".to_owned()),
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
            "is 0: every local user can read the kernel's log (dmesg), and so what is knocked and the log prefix"
                .to_owned(),
            Some("sysctl -w kernel.dmesg_restrict=1".to_owned()),
        )
    })
}

#[cfg(test)]
#[path = "trust_test.rs"]
mod tests;
