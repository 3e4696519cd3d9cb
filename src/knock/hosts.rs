//! Where `hosts.toml` is, and who may read it.
//!
//! In: the user's directories. Out: the [`Host`]s of the file, or all that is wrong at once. It holds sequences, so
//! it is refused if others can read it. Errors name the place and never show the text: no excerpt, no value.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::private_file::{self, PrivateFileError};
use super::services::Services;
use super::step;
use crate::config::hosts::hosts;
use crate::config::{Diagnostic, Errors, Place};
use crate::engine::sequence::Transport;

pub use crate::config::hosts::{Host, Knock};

/// Why there are no hosts.
#[derive(Debug, Error)]
pub enum HostsError {
    /// The file cannot be used.
    #[error("{path}: {1}", path = .0.display())]
    File(PathBuf, PrivateFileError),
    /// What it says is wrong.
    #[error("{}", told(.0))]
    Invalid(Errors),
}

/// The errors by their places, a line each.
fn told(errors: &Errors) -> String {
    let line = |found: &Diagnostic| match &found.place {
        Some(Place { line, column, .. }) => {
            format!("{}:{line}:{column}: {}", found.path, found.message)
        }
        None => format!("{}: {}", found.path, found.message),
    };
    let lines: Vec<_> = errors.diagnostics.iter().map(line).collect();
    lines.join("\n")
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
pub fn load(path: &Path, services: &Services) -> Result<Vec<Host>, HostsError> {
    let text =
        private_file::read(path).map_err(|error| HostsError::File(path.to_owned(), error))?;
    let mut hosts = parse(&path.display().to_string(), &text, services)?;
    for host in &mut hosts {
        if let (Knock::Totp(secret, ..), Some(directory)) = (&mut host.knock, path.parent()) {
            *secret = directory.join(&*secret);
        }
    }
    Ok(hosts)
}

/// Reads the text of a file called `name`. Touches no file but `/etc/services`, and that only for a name. Files that
/// it names are as it names them.
pub fn parse(name: &str, text: &str, services: &Services) -> Result<Vec<Host>, HostsError> {
    let step = |word: &str| {
        let step = step::parse(word, Transport::Tcp, services);
        step.map_err(|error| error.to_string())
    };
    hosts(name, text, &step).map_err(HostsError::Invalid)
}

#[cfg(test)]
#[path = "hosts_test.rs"]
mod tests;
