//! Which sources may be believed with the config at hand: the daemon's refusal.

use std::path::Path;

use super::exit::Failure;
use super::settings::Settings;
use crate::config::{Diagnostic, ErrorKind, Severity};
use crate::source::{Trouble, is_mount_point};
use crate::source_spec::SourceSpec;
use crate::trust::{self, Finding, Machine};

/// Refuses sources whose lines anybody could have written, or whose files anybody could have made, unless the
/// operator accepts it. Answers what is nevertheless worth a warning.
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
