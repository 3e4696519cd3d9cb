//! Where lines come from, as `sources` in the config and `--follow` write it.
//!
//! In: `/var/log/kern.log`, `/var/log/fw/*.log`, `journald`, `kmsg`, `nflog:GROUP`, `-`, `unix:PATH`,
//! `udp:ADDR:PORT`. Out: a [`SourceSpec`]. Opens nothing. A path that looks like a keyword is written with its directory
//! (`./journald`), and `/dev/kmsg` is `kmsg`: as a file it would be read without its records' facility.

mod pattern;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

pub use pattern::Pattern;

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SourceSpec {
    /// A log file, followed over rotation.
    File(PathBuf),
    /// Log files with such names in one directory, followed likewise.
    Files(Pattern),
    /// The journal of systemd.
    Journald,
    /// The kernel's own ring buffer.
    Kmsg,
    /// A group of NFLOG.
    Nflog(u16),
    /// Standard input.
    Stdin,
    /// A syslog datagram socket made at this path.
    Unix(PathBuf),
    /// A syslog datagram socket bound to this address.
    Udp(SocketAddr),
}

impl SourceSpec {
    /// The path it names, if that depends on the working directory.
    pub fn relative_path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Unix(path) if path.is_relative() => Some(path),
            Self::Files(pattern) => Some(pattern.directory()).filter(|path| path.is_relative()),
            _ => None,
        }
    }

    /// Whether the log file at `path` is one of this source, perhaps under the name that rotation gave it.
    pub fn wrote(&self, path: &Path) -> bool {
        match self {
            Self::File(own) => {
                let behind = path.to_str().zip(own.to_str());
                let behind = behind.and_then(|(path, own)| path.strip_prefix(own));
                behind.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
            }
            Self::Files(pattern) => {
                let directory = path.parent().unwrap_or(Path::new("/"));
                directory == pattern.directory()
                    && path.file_name().is_some_and(|name| pattern.means(name))
            }
            _ => false,
        }
    }

    /// Whether other machines can send to it.
    pub fn is_open_to_the_network(&self) -> bool {
        matches!(self, Self::Udp(address) if !address.ip().to_canonical().is_loopback())
    }
}

/// Why a text is not a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SourceSpecError {
    /// Nothing at all, or nothing behind `unix:`.
    #[error(
        "not a source; write /PATH, journald, kmsg, nflog:GROUP, -, unix:/PATH or udp:ADDR:PORT"
    )]
    NoPath,
    /// A NUL byte, which no path can hold.
    #[error("a path cannot contain a NUL byte")]
    Nul,
    /// A wildcard in the name of a directory.
    #[error("wildcards are allowed in the file name only, as in /var/log/fw/*.log")]
    Wildcard,
    /// A pattern that cannot be understood.
    #[error("not a pattern: write *, ? and [a-z]; a bracket itself is [[]")]
    Pattern,
    /// What follows `udp:` is no address with a port.
    #[error("udp: needs an address and a port, as in udp:127.0.0.1:514 or udp:[::1]:514")]
    Address,
    /// UDP port 0.
    #[error("UDP port 0 receives nothing; ports are 1 to 65535")]
    Port,
    /// What follows `nflog:` is no group.
    #[error("nflog: needs the number of a group, 0 to 65535")]
    Group,
}

impl FromStr for SourceSpec {
    type Err = SourceSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "-" => return Ok(Self::Stdin),
            "journald" => return Ok(Self::Journald),
            "kmsg" | "/dev/kmsg" => return Ok(Self::Kmsg),
            _ => {}
        }
        if let Some(address) = text.strip_prefix("udp:") {
            let address: SocketAddr = address.parse().map_err(|_| SourceSpecError::Address)?;
            return match address.port() {
                0 => Err(SourceSpecError::Port),
                _ => Ok(Self::Udp(address)),
            };
        }
        if let Some(group) = text.strip_prefix("nflog:") {
            let is_number = !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
            let group = group.parse().ok().filter(|_| is_number);
            return group.map(Self::Nflog).ok_or(SourceSpecError::Group);
        }
        match text.strip_prefix("unix:") {
            Some(rest) => path(rest).map(Self::Unix),
            None if Pattern::is_one(text) => {
                path(text)?;
                Pattern::parse(text).map(Self::Files)
            }
            None => path(text).map(Self::File),
        }
    }
}

fn path(text: &str) -> Result<PathBuf, SourceSpecError> {
    if text.is_empty() {
        Err(SourceSpecError::NoPath)
    } else if text.contains('\0') {
        Err(SourceSpecError::Nul)
    } else {
        Ok(text.into())
    }
}

impl fmt::Display for SourceSpec {
    /// In the form that [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Files(pattern) => write!(f, "{pattern}"),
            Self::Journald => f.write_str("journald"),
            Self::Kmsg => f.write_str("kmsg"),
            Self::Nflog(group) => write!(f, "nflog:{group}"),
            Self::Stdin => f.write_str("-"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Udp(address) => write!(f, "udp:{address}"),
        }
    }
}

#[cfg(test)]
#[path = "source_spec_test.rs"]
mod tests;
