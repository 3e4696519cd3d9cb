//! Which sources may be believed with the config at hand: the daemon's refusal.

use std::path::{Path, PathBuf};

use super::exit::Failure;
use super::settings::{Global, Settings};
use crate::config::{Config, Diagnostic, ErrorKind, Severity};
use crate::engine::command::Template;
use crate::engine::door::{Door, GrantRule, Rule};
use crate::engine::one_time::Origin;
use crate::source::{Trouble, is_mount_point};
use crate::source_spec::SourceSpec;
use crate::trust::{self, Finding, Machine};

/// Refuses sources whose lines anybody could have written, or whose files anybody could have made,
/// unless the operator accepts it. Answers what is worth a warning all the same.
pub(super) fn require(
    settings: &Settings,
    sources: &[SourceSpec],
    state_dir: Option<&Path>,
) -> Result<Vec<Finding>, Failure> {
    let machine = Machine::look();
    let graded = trust::grade(&settings.config, sources, &machine);
    let mut findings: Vec<_> = graded
        .into_iter()
        .flat_map(|trust| trust.findings)
        .collect();
    findings.extend(state_dir.into_iter().flat_map(trust::state_dir));
    findings.extend(trust::machine(&machine));
    findings.extend(trust::readers(&machine));
    match refusal(&findings) {
        Some(failure) => Err(failure),
        None => Ok(findings),
    }
}

/// Records that lie where the configuration or the open grants are, or what the doors run or mark.
pub(super) fn records(global: &Global, config: &Config) -> Vec<Finding> {
    let mut kept = vec![global.config.clone(), global.state_dir.clone()];
    kept.extend(config.doors.iter().flat_map(|door| files_of(door)));
    trust::records(&config.daemon, &kept)
}

/// Followed files that are mounts of their own.
pub(super) fn mounts(sources: &[SourceSpec]) -> impl Iterator<Item = Finding> {
    sources.iter().filter_map(|source| match source {
        SourceSpec::File(path) if is_mount_point(path) => Some(Finding {
            diagnostic: Diagnostic {
                severity: Severity::Warning,
                path: path.display().to_string(),
                place: None,
                message: Trouble::MountPoint.to_string(),
                fix: None,
            },
            kind: ErrorKind::Invalid,
        }),
        _ => None,
    })
}

/// The programs and scripts that are words of a door's commands, and its list of sequences.
fn files_of(door: &Door) -> Vec<PathBuf> {
    let GrantRule {
        open,
        close,
        refresh,
        ..
    } = &door.grant;
    let commands = [open, close, refresh].map(|command| [&command.v4, &command.v6]);
    let words = commands.iter().flatten().flat_map(|command| command.iter());
    let mut files: Vec<_> = words
        .flat_map(Template::fixed_words)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute() && path.is_file())
        .collect();
    if let Rule::OneTime(rule) = &door.rule
        && let Origin::List(list) = &rule.origin
    {
        files.push(list.file.to_path_buf());
    }
    files
}

/// Refuses them.
pub(super) fn require_records_apart(global: &Global, config: &Config) -> Result<(), Failure> {
    refusal(&records(global, config)).map_or(Ok(()), Err)
}

/// The failure that the errors among `findings` are, in all their words.
pub(super) fn refusal(findings: &[Finding]) -> Option<Failure> {
    let errors = findings.iter().filter(|finding| finding.is_error());
    let kind = errors.clone().map(|finding| finding.kind).max()?;
    let words = errors.map(|error| format!("logknock: {}", error.diagnostic.styled()));
    Some(Failure::new(
        kind.into(),
        words.collect::<Vec<_>>().join("\n"),
    ))
}
