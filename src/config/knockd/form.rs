//! Whether a config is knockd's or TOML.
//!
//! In: a file's name and text. Out: which. The name is asked first: `.toml` is TOML, and
//! `knockd….conf` is knockd's. Any other name says nothing; then a table `[door.NAME]` is TOML's, and
//! else one value that is written as only knockd writes it makes the file knockd's. A file that says
//! nothing of either is TOML, whose errors explain more.

use std::path::Path;

use super::Key;
use super::lines::{Line, lines};

/// Whether the file called `name` that says `text` is to be read as knockd reads it.
pub(in crate::config) fn is_knockd(name: &str, text: &str) -> bool {
    let name = Path::new(name);
    let ends = |end: &str| name.extension().is_some_and(|found| found == end);
    let stem = name.file_stem().unwrap_or_default().as_encoded_bytes();
    if ends("toml") {
        return false;
    }
    if ends("conf") && stem.starts_with(b"knockd") {
        return true;
    }
    let lines = lines(text);
    let toml = |line: &Line<'_>| match line {
        Line::Section(name) => {
            let word = name.text.trim_start_matches(['[', ' ']);
            word.starts_with("door.")
        }
        _ => false,
    };
    !lines.iter().any(toml) && lines.iter().any(is_knockds_way)
}

/// Whether `text` is OpenWrt's UCI, from which its init script writes a knockd.conf.
pub(in crate::config) fn is_uci(text: &str) -> bool {
    let begins = |wanted: &str, words: usize| {
        text.lines().any(|line| {
            let mut found = line.split_whitespace();
            found.next() == Some(wanted)
                && found.clone().count() >= words
                && found.next() != Some("=")
        })
    };
    begins("config", 1) && begins("option", 2)
}

/// Whether `line` has a key of knockd's with a value that no TOML could have.
fn is_knockds_way(line: &Line<'_>) -> bool {
    let (key, value) = match line {
        Line::Directive { key, value } => (key, value),
        Line::Ours { .. } => return true,
        _ => return false,
    };
    let Some(key) = Key::of(key.text) else {
        return false;
    };
    let Some(value) = value else {
        return key == Key::UseSyslog;
    };
    let first = value.text.chars().next().unwrap_or(' ');
    match key {
        Key::Sequence => first.is_ascii_digit(),
        Key::TcpFlags => first.is_ascii_alphabetic() || first == '!',
        Key::LogFile | Key::PidFile | Key::OneTimeSequences => first == '/',
        Key::Interface => first.is_ascii_alphabetic(),
        Key::Target => first.is_ascii_hexdigit(),
        Key::SeqTimeout | Key::CmdTimeout | Key::UseSyslog => false,
        _ => first.is_ascii_alphanumeric() || "/{(".contains(first),
    }
}

#[cfg(test)]
#[path = "form_test.rs"]
mod tests;
