//! `knocksettings.txt`, the settings of Open Sesamy's client `PortKnocker`.
//!
//! In: `server port sequence window [interface mac]`, parted by blanks or new lines; the window is in
//! milliseconds. Out: [`Settings`]. The program sends UDP, so a port without a protocol means UDP
//! here. Interface and MAC told its forerunner where to put bare frames; the kernel's routes know.
//! It holds the counts, so it is refused when others can read it.

use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use super::counts::{Counts, CountsError, WindowError, check_window};
use super::private_file::{self, PrivateFileError};
use super::services::Services;
use super::step::{self, StepError};
use crate::engine::sequence::{Step, Transport};

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The host.
    pub server: String,
    /// What is hit.
    pub step: Step,
    /// How often.
    pub counts: Counts,
    /// In what time each.
    pub window: Duration,
}

/// What is wrong with it; does not show the text there.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file cannot be used.
    #[error(transparent)]
    File(PrivateFileError),
    /// Neither four nor six words.
    #[error(
        "found {0} words; write server, port, sequence and window, and perhaps interface and MAC"
    )]
    Words(usize),
    /// The second word.
    #[error("the port, second word: {0}")]
    Port(StepError),
    /// The third word.
    #[error("the sequence, third word: {0}")]
    Counts(CountsError),
    /// The fourth word is no number.
    #[error("the window, fourth word: not a number of milliseconds")]
    WindowForm,
    /// … or one out of bounds.
    #[error("the window, fourth word: {0}")]
    Window(WindowError),
}

/// Reads the file at `path`.
pub fn load(path: &Path, services: &Services) -> Result<Settings, SettingsError> {
    parse(
        &private_file::read(path).map_err(SettingsError::File)?,
        services,
    )
}

/// Reads the file's text.
pub fn parse(text: &str, services: &Services) -> Result<Settings, SettingsError> {
    // Windows editors mark UTF-8.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    let ([server, port, counts, window] | [server, port, counts, window, _, _]) = *words else {
        return Err(SettingsError::Words(words.len()));
    };
    let millis = window.parse().map_err(|_| SettingsError::WindowForm)?;
    Ok(Settings {
        server: server.to_owned(),
        step: step::parse(port, Transport::Udp, services).map_err(SettingsError::Port)?,
        counts: counts.parse().map_err(SettingsError::Counts)?,
        window: check_window(Duration::from_millis(millis)).map_err(SettingsError::Window)?,
    })
}

#[cfg(test)]
#[path = "portknocker_test.rs"]
mod tests;
