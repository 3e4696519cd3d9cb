//! Which keys there are, and which may be shown.

use super::*;

#[test]
fn the_example_has_every_key() {
    let example = include_str!("../../packaging/examples/logknock.toml");
    for (_, key) in keys() {
        let line = format!("{key} = ");
        let has = |text: &str| text.trim_start_matches("# ").starts_with(&line);
        assert!(example.lines().any(has), "{key}");
    }
}

#[test]
fn passwords_are_secrets() {
    let tables = [LogTable::KEYS, DaemonTable::KEYS, DoorTable::KEYS];
    let secrets = tables
        .into_iter()
        .flatten()
        .filter(|key| key.secrecy == Secrecy::Secret);
    assert!(secrets.map(|key| key.name).eq([
        "source", "prefix", "format", "sequence", "counts", "port", "totp"
    ]));
}

#[test]
fn what_a_secret_could_hide_in_does_not_look_like_a_key() {
    for name in ["ports", "start-command", "stop_command_6", "USER"] {
        assert!(looks_like_a_key(name), "{name}");
    }
    for name in ["7000", "lk-4f9a1c7e", "", "two words", "_6_6", "clé"] {
        assert!(!looks_like_a_key(name), "{name}");
    }
}
