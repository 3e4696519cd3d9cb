//! The secret of a `totp` door, in a file of its own.
//!
//! In: the file, in base32. Out: the secret, if nobody but the file's owner could have read it.

use std::path::Path;

use thiserror::Error;

use super::private_file::{self, PrivateFileError};
use crate::config::one_time;
use crate::engine::totp::Secret;

/// Why there is no secret.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file cannot be used.
    #[error(transparent)]
    File(PrivateFileError),
    /// It is there, but not in base32.
    #[error("the secret is not base32")]
    Base32,
}

/// Reads the secret in the file at `path`.
pub fn read_secret(path: &Path) -> Result<Secret, SecretError> {
    let text = private_file::read(path).map_err(SecretError::File)?;
    one_time::secret(&text).ok_or(SecretError::Base32)
}
