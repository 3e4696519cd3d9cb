//! The config, as its users meet it: files in, diagnostics out.
//!
//! A file in `fixtures/config/bad` is answered with the `.stderr` beside it to the letter, one in
//! `ok` is accepted, with the warnings in its `.stderr` if it has one. `BLESS=1` writes them anew.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use logknock::config::{Config, Errors, parse};

/// The files below the package's `directory` that are TOML, in order.
fn toml_files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = directory.read_dir().unwrap();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension() == Some(OsStr::new("toml")))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", directory.display());
    paths
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn parsed(path: &Path) -> Result<Config, Errors> {
    let name = path.file_name().unwrap().to_str().unwrap();
    parse(name, &text(path))
}

fn warnings(config: &Config) -> String {
    let lines: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Compares `said` with what the file beside `path` expects; with `BLESS=1`, writes it there.
fn expect_said(path: &Path, said: &str) {
    let expected = path.with_extension("stderr");
    let said = if said.is_empty() {
        String::new()
    } else {
        format!("{said}\n")
    };
    if std::env::var_os("BLESS").is_some() && (expected.exists() || !said.is_empty()) {
        fs::write(&expected, &said).unwrap();
    }
    let expected = if expected.exists() {
        text(&expected)
    } else {
        String::new()
    };
    assert_eq!(said, expected, "{}", path.display());
}

#[test]
fn every_bad_config_is_answered_to_the_letter() {
    let paths = toml_files("fixtures/config/bad");
    for path in &paths {
        let Err(errors) = parsed(path) else {
            panic!("{} was accepted", path.display());
        };
        expect_said(path, &errors.to_string());
    }
}

#[test]
fn every_good_config_is_accepted() {
    for path in toml_files("fixtures/config/ok") {
        let config = parsed(&path).unwrap_or_else(|errors| panic!("{errors}"));
        expect_said(&path, &warnings(&config));
    }
}

#[test]
fn every_example_is_accepted_without_a_warning() {
    for path in toml_files("packaging/examples") {
        let config = parsed(&path).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(warnings(&config), "", "{}", path.display());
    }
}

/// The example's keys that are commented out are as right as the others.
#[test]
fn the_example_is_accepted_with_every_key_uncommented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/examples/logknock.toml");
    let mut keys = 0;
    let mut uncommented = String::new();
    for line in text(&path).lines() {
        let key = line.strip_prefix("# ").filter(|rest| {
            let name = rest.split(" = ").next().unwrap();
            let is_key = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            let is_section = rest.starts_with('[') && rest.ends_with(']');
            is_section || (name != *rest && name.bytes().all(is_key))
        });
        keys += usize::from(key.is_some());
        uncommented += key.unwrap_or(line);
        uncommented.push('\n');
    }
    assert!(keys > 10, "{keys}");
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&list, "7000,8000:udp,9000\n").unwrap();
    let uncommented =
        uncommented.replace("/var/lib/logknock/by_a_list", list.path().to_str().unwrap());
    let config = parse("logknock.toml", &uncommented).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(warnings(&config), "");
}

/// The fixtures have few secrets, so that all of their diagnostics can be searched for them.
#[test]
fn no_diagnostic_of_a_fixture_holds_a_secret() {
    for path in toml_files("fixtures/config/bad") {
        let said = parsed(&path).unwrap_err().to_string();
        for secret in ["7001", "8002", "9003", "4f9a1c7e"] {
            assert!(!said.contains(secret), "{}", path.display());
        }
    }
}
