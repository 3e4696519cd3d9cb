//! The files that the client reads, and why one of them is not read.
//!
//! In: the user's `hosts.toml`, `PortKnocker`'s settings, secrets. Out: what they say, or a [`Failure`]: what holds
//! a knock must be its owner's alone.
#![expect(
    clippy::disallowed_methods,
    reason = "XDG_CONFIG_HOME says where a user's files are"
)]

use std::fmt;
use std::io;
use std::path::Path;

use super::exit::{Code, Failure};
use crate::knock::hosts::{self, Host, HostsError};
use crate::knock::portknocker::SettingsError;
use crate::knock::{PrivateFileError, Services};

/// The host called `name` in the user's hosts.toml.
pub(super) fn host(name: &str, services: &Services) -> Result<Host, Failure> {
    let unknown = |place: &str| {
        let message = format!(
            "there are no ports to knock for '{name}'; write them, as in\n    \
             logknock knock {name} 7000 8000:udp 9000\nor {place}"
        );
        Failure::new(Code::Usage, message)
    };
    let path = hosts::path(std::env::var_os("XDG_CONFIG_HOME"), std::env::home_dir());
    let Some(path) = path else {
        return Err(unknown("set HOME, for hosts.toml"));
    };
    let place = format!("a section [host.{}] in {}", toml_key(name), path.display());
    let hosts = hosts::load(&path, services).map_err(|error| match error {
        HostsError::File(_, PrivateFileError::Unreadable(error))
            if error.kind() == io::ErrorKind::NotFound =>
        {
            unknown(&place)
        }
        HostsError::File(_, ref file) => private_file_failure(file, &error),
        HostsError::Invalid(..) => Failure::new(Code::Config, error),
    })?;
    let mut hosts = hosts.into_iter();
    let named = hosts.find(|host| host.name == name);
    named.ok_or_else(|| unknown(&place))
}

/// A name as TOML wants it.
fn toml_key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.bytes().all(is_bare) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

/// Why `PortKnocker`'s settings are not read.
pub(super) fn settings_failure(path: &Path, error: &SettingsError) -> Failure {
    let said = format!("{}: {error}", path.display());
    match error {
        SettingsError::File(file) => private_file_failure(file, &said),
        _ => Failure::new(Code::Config, said),
    }
}

/// Why a file that must be private is not read, as it is `said`.
pub(super) fn private_file_failure(error: &PrivateFileError, said: &impl fmt::Display) -> Failure {
    let code = match error {
        PrivateFileError::Owner(_) | PrivateFileError::ForOthers(_) => Code::Permission,
        PrivateFileError::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Code::Permission
        }
        _ => Code::Config,
    };
    Failure::new(code, said)
}
